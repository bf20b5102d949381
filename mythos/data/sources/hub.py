"""Datasets of the Hugging Face hub, streamed: nothing is downloaded but what is read.

The revision is asked for once and pinned, so all processes read the same rows; where the hub cannot be reached, what
was learnt of the dataset before stands, so that a corpus that was prepared is found again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from mythos.contract.config import SourceConfig, cache_root
from mythos.contract.errors import DataError
from mythos.contract.rundir import write_json
from mythos.data.sources.document import Document, Report, Unit
from mythos.data.sources.files import walk

PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""

AT_ONCE = 10_000
"""Documents that make a unit where only some are taken: they come from all over the dataset, not from its start."""


@dataclass(frozen=True)
class Dataset:
    """Where a dataset is and which column holds its text. `files` are those to read where it has a script to load it."""

    name: str
    subset: str = ""
    text_key: str = "text"
    files: str = ""


PRESETS = {
    "wikipedia": Dataset("wikimedia/wikipedia", "20231101.en"),
    "fineweb-edu": Dataset("HuggingFaceFW/fineweb-edu", "sample-10BT"),
    "github-code": Dataset("codeparrot/github-code-clean", "", "code", "data/train-*.parquet"),
}
"""Short names. codeparrot/github-code itself, and the clean one, load by scripts that datasets 4 no longer runs."""


def hub_units(source: SourceConfig) -> list[Unit]:
    """A unit per shard, or as many groups of shards as `max_documents` needs. Raises DataError where it is not there."""
    dataset, split = _dataset(source), source.dataset_split
    if Path(dataset.name).is_dir():
        revision = _folder_state(Path(dataset.name))
        shards = _guarded(dataset, lambda: _open(dataset, split, revision).num_shards)
    else:
        revision, shards = _ask_the_hub(dataset, split)
    wanted = source.max_documents
    count = min(shards, -(-wanted // AT_ONCE)) if wanted else shards
    label = "-".join(filter(None, (dataset.subset, split)))
    return [
        Unit(
            id=f"{label}-{start:05d}",
            fingerprint=revision,
            size=0,
            name=label,
            place=dataset.name,
            start=start,
            stop=shards * (i + 1) // count,
            limit=wanted * (i + 1) // count - wanted * i // count,
        )
        for i in range(count)
        for start in [shards * i // count]
    ]


def read_hub(unit: Unit, source: SourceConfig, report: Report, consumed: Callable[[int], None]) -> Iterator[Document]:
    """The rows of the unit's shards, named by shard and row, up to its limit. Raises DataError when the hub is lost."""
    dataset = _dataset(source)
    stream = _guarded(dataset, lambda: _open(dataset, source.dataset_split, unit.fingerprint))
    return islice(_rows(stream, dataset, unit, report, consumed), unit.limit or None)


def _rows(
    stream: Any, dataset: Dataset, unit: Unit, report: Report, consumed: Callable[[int], None]
) -> Iterator[Document]:
    for shard in range(unit.start, unit.stop):
        report.files += 1
        name = f"{unit.name}-{shard:05d}"
        for row, values in _shard(stream, shard, dataset, f"{unit.place}/{name}", report):
            text, where = values.get(dataset.text_key), f"{unit.place}/{name}#{row}"
            if isinstance(text, str):
                consumed(len(text.encode("utf-8", "surrogatepass")))
                yield Document(f"{name}#{row}", text, where)
            else:
                report.skip(f"without text under {dataset.text_key!r}", where)


def _shard(
    stream: Any, shard: int, dataset: Dataset, where: str, report: Report
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The shard's rows, counted from 1. A damaged file ends it; a hub that is lost ends everything."""
    row = 0
    try:
        for row, values in enumerate(stream.shard(stream.num_shards, shard), start=1):
            yield row, values
    except Exception as error:  # of several libraries, which share no base class
        damaged = isinstance(error, ValueError) or (type(error) is OSError and error.errno is None)  # as pyarrow says
        if not damaged:
            raise _lost(dataset, error) from error
        report.skip("broken", f"{where} after row {row}: {_first_line(error)}")


def _dataset(source: SourceConfig) -> Dataset:
    preset = PRESETS.get(source.dataset) or Dataset(os.path.expanduser(source.dataset))
    if preset.name.startswith(("/", ".", "~")) and not Path(preset.name).is_dir():
        raise DataError(f"data.dataset: {preset.name} is not a folder.", "Name one, or a dataset as owner/name.")
    if preset.files and source.subset:
        raise DataError(f"data.subset: {source.dataset} has no subsets.", "Leave data.subset empty.")
    key = preset.text_key if source.text_key == Dataset.text_key else source.text_key
    return replace(preset, subset=source.subset or preset.subset, text_key=key)


@lru_cache(maxsize=4)
def _open(dataset: Dataset, split: str, revision: str) -> Any:
    """The dataset's stream of the one column; opened once per process."""
    import datasets

    datasets.disable_progress_bars()
    if dataset.files:
        pattern = f"hf://datasets/{dataset.name}@{revision}/{dataset.files}"
        stream = datasets.load_dataset("parquet", data_files=pattern, split=split, streaming=True)
    else:
        pinned = None if Path(dataset.name).is_dir() else revision
        stream = datasets.load_dataset(
            dataset.name, dataset.subset or None, revision=pinned, split=split, streaming=True
        )
    if stream.column_names and dataset.text_key not in stream.column_names:
        raise DataError(
            f"{dataset.name} has no column {dataset.text_key!r}; it has {', '.join(stream.column_names)}.",
            "Name the one with the text in data.text_key.",
        )
    return stream.select_columns([dataset.text_key]) if stream.column_names else stream


def _ask_the_hub(dataset: Dataset, split: str) -> tuple[str, int]:
    """The dataset's revision and its number of shards, or those remembered where the hub cannot be reached."""
    from huggingface_hub import HfApi

    identity = blake2b(json.dumps([dataset.name, dataset.subset, dataset.files, split]).encode(), digest_size=8)
    memory = cache_root() / "hub" / f"{identity.hexdigest()}.json"
    try:
        revision = _guarded(dataset, lambda: HfApi().dataset_info(dataset.name, timeout=PATIENCE).sha)
        shards = _guarded(dataset, lambda: _open(dataset, split, revision).num_shards)
    except Unreachable:
        with suppress(OSError, ValueError, TypeError):
            revision, shards = json.loads(memory.read_text())
            return str(revision), int(shards)
        raise
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, [revision, shards])
    return revision, shards


class Unreachable(DataError):
    """The hub does not answer."""


def _guarded(dataset: Dataset, ask: Callable[[], Any]) -> Any:
    """The answer. Whatever the hub's libraries raise becomes a DataError that says what to do."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return ask()
    except DataError:
        raise
    except (RepositoryNotFoundError, FileNotFoundError) as error:
        raise DataError(
            f"There is no dataset {dataset.name}, or it is not public: {_first_line(error)}.",
            "Check data.dataset; for one that asks for an account, set HF_TOKEN.",
        ) from error
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(
            f"The dataset {dataset.name} cannot be opened: {_first_line(error)}.",
            "Check data.subset and data.dataset_split, or download its files and name them with data.source=files.",
        ) from error
    except Exception as error:  # of several network libraries, which share no base class
        raise _lost(dataset, error) from error


def _lost(dataset: Dataset, error: Exception) -> DataError:
    return Unreachable(
        f"The dataset {dataset.name} cannot be reached: {_first_line(error)}.",
        "Check the network and data.dataset, or use text on this machine with data.source=files.",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _folder_state(folder: Path) -> str:
    """Changes when a file of the folder does."""
    digest = blake2b(str(folder.resolve()).encode("utf-8", "surrogateescape"), digest_size=16)
    for relative in walk(folder):
        stat = (folder / relative).stat()
        digest.update(json.dumps([relative, stat.st_size, stat.st_mtime_ns]).encode())
    return digest.hexdigest()
