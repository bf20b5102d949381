"""`mythos data prepare` and `mythos data report`: text into the cache, and what became of it on the way."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mythos.cli.options import Json, Overrides, duration, print_json, quantity, say
from mythos.contract.errors import DataError
from mythos.contract.load import load_config

if TYPE_CHECKING:
    from mythos.data.prepare import Corpus, Progress

DataConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML configuration; data: and model.vocab_size of it are used.")
]
Where = Annotated[Path, typer.Argument(metavar="CORPUS|CONFIG", help="A prepared corpus, or its YAML configuration.")]
_QUIET_S = 10.0
"""Seconds between lines of progress where they cannot replace each other."""


def prepare(config: DataConfigPath, overrides: Overrides = None, as_json: Json = False) -> None:
    """Read, clean, tokenize and store the text of a configuration; a second time it is found in the cache."""
    from mythos.data.prepare import prepare as run

    loaded = load_config(config, overrides or [])
    _show(run(loaded.data, loaded.model.vocab_size, ProgressLine()), as_json)


def report(where: Where, overrides: Overrides = None, as_json: Json = False) -> None:
    """What a prepared corpus holds, and which documents each step dropped and why."""
    from mythos.data.prepare import Corpus, find

    if where.is_dir():
        return _show(Corpus(where), as_json)
    loaded = load_config(where, overrides or [])
    corpus = find(loaded.data, loaded.model.vocab_size)
    if corpus is None:
        raise DataError(f"The text of {where} is not prepared yet.", f"Do it with: mythos data prepare {where}")
    _show(corpus, as_json)


class ProgressLine:
    """Progress on stderr: one line that is written over in a terminal, else a line per stage and now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last: Progress | None = None
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        ended = self._last is not None and self._last.stage != progress.stage
        if ended or progress.stage == "ready":
            self._write(self._last if ended else None, "\n")
        elif self._terminal or time.monotonic() - self._told > _QUIET_S:
            self._write(progress, "" if self._terminal else "\n")
        self._last = progress

    def _write(self, progress: Progress | None, end: str) -> None:
        if progress:
            start = "\r\033[K" if self._terminal else ""
            print(f"{start}{progress_line(progress)}", end=end, file=sys.stderr, flush=True)
            self._told = time.monotonic()


def progress_line(progress: Progress) -> str:
    """For example `read        38 %  190 MB of 500 MB  12.1 MB/s  25s left`."""
    byte = progress.unit == "bytes"

    def amount(value: float) -> str:
        return quantity(value, "B") if byte else f"{int(value):,}"

    of = f" of {amount(progress.total)}" if progress.total else ""
    share = f"{100 * progress.done // progress.total:3d} %" if progress.total else "     "
    parts = [f"{progress.stage:<10} {share}", f"{amount(progress.done)}{of}" + ("" if byte else f" {progress.unit}")]
    if progress.rate:
        parts.append(f"{amount(progress.rate)}/s")
    if progress.eta_s:
        parts.append(f"{duration(progress.eta_s)} left")
    elif progress.done and progress.done == progress.total:
        parts.append(f"in {progress.seconds:.1f} s")
    return "  ".join(parts)


def _show(corpus: Corpus, as_json: bool) -> None:
    if as_json:
        return print_json({"path": str(corpus.path), **corpus.meta})
    say(corpus.path)
    for line in report_lines(corpus.meta):
        say(line)


def report_lines(meta: dict[str, Any]) -> Iterator[str]:
    """The report of `meta.json` as a table: what was read, what each rule dropped with an example, what is left."""
    report = meta["report"]
    yield f"read {report['documents']:,} documents, {quantity(report['bytes'], 'B')} in {report['files']:,} files"
    for step, count in report["changed"].items():
        yield f"  {step:<11}{'changed':<34}{count:>9,} documents"
    for drop in report["dropped"]:
        size = "" if drop["bytes"] is None else quantity(drop["bytes"], "B")
        yield f"  {drop['step']:<11}{drop['rule']:<34}{drop['documents']:>9,} dropped  {size:>8}  {_example(drop)}"
    for note in report["notes"]:
        yield f"  {note}"
    sources = meta["sources"] if len(meta["sources"]) > 1 else []
    for name, splits in [*((source["name"], source) for source in sources), ("", meta["splits"])]:
        for split in ("train", "held_out"):
            yield _total(f"{split:<9} {name}", splits[split])


def _example(drop: dict[str, Any]) -> str:
    """The first sample; a reason that only says the rule again is left out."""
    if not drop["samples"]:
        return ""
    sample = drop["samples"][0]
    return sample["id"] if sample["reason"] == drop["rule"] else f"{sample['id']}: {sample['reason']}"


def _total(name: str, total: dict[str, int]) -> str:
    documents, tokens, size = (total[key] for key in ("documents", "tokens", "bytes"))
    return f"{name:<28} {documents:>11,} documents {tokens:>15,} tokens {size:>16,} bytes"
