"""The prepared corpus: whole, cached, rebuilt when it should be, and never silent for long."""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mythos.contract.config import DataConfig
from mythos.contract.errors import DataError
from mythos.data import prepare as prepare_module
from mythos.data import progress as progress_module
from mythos.data.pipeline import plan as plan_module
from mythos.data.pipeline import work as work_module
from mythos.data.prepare import Cancelled, Progress, prepare
from mythos.data.progress import Tracker, supervise
from mythos.data.shards import Corpus
from mythos.data.sources import documents
from mythos.data.split import is_held_out
from mythos.data.tokenizer import Tokenizer

Config = Callable[..., DataConfig]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "text"
    root.mkdir()
    for i in range(40):
        (root / f"{i:02d}.txt").write_text(f"Document {i} says hello é 👍.\n" * (i + 1))
    return root


@pytest.fixture
def config(tmp_path: Path, folder: Path) -> Config:
    def make(**settings: Any) -> DataConfig:
        defaults = {"source": "files", "paths": (str(folder),), "cache_dir": str(tmp_path / "cache")}
        return DataConfig(**{**defaults, "held_out_percent": 20.0, **settings})

    return make


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The corpora that were built."""
    calls: list[Path] = []
    build = prepare_module._build

    def counting(job: Any, target: Path, *rest: Any) -> Any:
        calls.append(target)
        return build(job, target, *rest)

    monkeypatch.setattr(prepare_module, "_build", counting)
    return calls


def read_back(corpus: Corpus, name: Any) -> dict[str, str]:
    tokenizer = Tokenizer.load(corpus.tokenizer_path)
    split = corpus.split(name)
    found = {}
    for i, identity in enumerate(split.identities):
        tokens = split.document(i)
        assert tokens[0] == tokenizer.eot
        assert tokenizer.eot not in tokens[1:]
        found[identity] = tokenizer.decode(tokens[1:].tolist())
        assert split.byte_counts[i] == len(found[identity].encode())
    assert len(found) == split.n_documents
    return found


def leftovers(config: DataConfig) -> list[str]:
    return [p.name for p in (Path(config.cache_dir) / "corpora").iterdir() if p.suffix in (".tmp", ".work")]


def test_every_document_is_in_one_split_and_reads_back_exactly(config: Config) -> None:
    data = config()
    corpus = prepare(data, 300)
    train, held_out = read_back(corpus, "train"), read_back(corpus, "held_out")
    assert not train.keys() & held_out.keys()
    assert train | held_out == {d.id: d.text for d in documents(data)}
    assert all(is_held_out(i, 20.0) for i in held_out)
    assert train
    assert held_out


def test_totals_and_index_agree_with_the_tokens(config: Config) -> None:
    corpus = prepare(config(), 300)
    for name in ("train", "held_out"):
        split = corpus.split(name)
        assert split.n_tokens == len(split.tokens) == split.documents[:, 1].sum()
        assert split.n_bytes == split.documents[:, 2].sum()
        assert (split.documents[1:, 0] == np.cumsum(split.documents[:-1, 1])).all()
        tokens = split.tokens.slice(0, split.n_tokens)
        assert tokens.dtype == np.int64
        assert tokens.max() < corpus.meta["vocab_size"] <= 300
        with pytest.raises(IndexError):
            split.tokens.slice(0, split.n_tokens + 1)


def test_shards_roll_over_without_a_seam(config: Config, tmp_path: Path) -> None:
    small = prepare(config(shard_tokens=1024), 300)
    whole = prepare(config(), 300)
    assert small.path != whole.path
    shards = sorted(small.path.glob("train-*.bin"))
    assert len(shards) > 2
    assert {p.stat().st_size for p in shards[:-1]} == {1024 * 2}
    one, many = whole.split("train"), small.split("train")
    assert (one.tokens.slice(0, one.n_tokens) == many.tokens.slice(0, many.n_tokens)).all()
    assert (many.tokens.slice(1000, 3100) == one.tokens.slice(1000, 3100)).all()
    assert small.meta["content"] == whole.meta["content"]


def test_large_vocabularies_get_wider_tokens() -> None:
    from mythos.data.shards import token_dtype

    assert [token_dtype(v).str for v in (257, 65_536, 65_537)] == ["<u2", "<u2", "<u4"]


def test_tokenizer_never_sees_held_out_documents(config: Config, folder: Path) -> None:
    data = config()
    for path in folder.iterdir():
        word = "zyzzyva" if is_held_out(path.name, 20.0) else "quokka"
        path.write_text(f"{word} " * 300)
    vocabulary = json.loads(prepare(data, 300).tokenizer_path.read_text())["model"]["vocab"]
    assert "Ġquokka" in vocabulary
    assert not any("zy" in token for token in vocabulary)


def test_second_call_finds_the_cache(config: Config, builds: list[Path]) -> None:
    first, second = prepare(config(), 300), prepare(config(), 300)
    assert len(builds) == 1
    assert first.path == second.path
    prepare(config(), 301)
    assert len(builds) == 2


@pytest.mark.parametrize("change", ["edit", "same size", "add", "remove", "percent"])
def test_changed_inputs_rebuild(config: Config, folder: Path, builds: list[Path], change: str) -> None:
    before = prepare(config(), 300)
    if change == "edit":
        (folder / "03.txt").write_text("Something else.\n")
    elif change == "same size":
        (folder / "03.txt").write_text((folder / "03.txt").read_text().replace("hello", "HELLO"))
    elif change == "add":
        (folder / "new.txt").write_text("New.\n")
    elif change == "remove":
        (folder / "03.txt").unlink()
    data = config(held_out_percent=30.0) if change == "percent" else config()
    after = prepare(data, 300)
    assert len(builds) == 2
    assert before.path != after.path
    assert read_back(after, "train") | read_back(after, "held_out") == {d.id: d.text for d in documents(data)}


@pytest.mark.parametrize("damage", ["no meta", "bad meta", "short shard", "no tokenizer", "old format"])
def test_damaged_cache_is_rebuilt(config: Config, builds: list[Path], damage: str) -> None:
    corpus = prepare(config(), 300)
    meta = corpus.path / "meta.json"
    if damage == "no meta":
        meta.unlink()
    elif damage == "bad meta":
        meta.write_text("[1]")
    elif damage == "short shard":
        os.truncate(corpus.path / "train-00000.bin", 10)
    elif damage == "no tokenizer":
        corpus.tokenizer_path.unlink()
    else:
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 0}))
    with pytest.raises(DataError):
        Corpus(corpus.path)
    again = prepare(config(), 300)
    assert len(builds) == 2
    assert read_back(again, "train")
    assert leftovers(config()) == []


def test_one_document_has_both_splits(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "only.md"
    path.write_text("".join(f"Line {i}.\n" for i in range(200)))
    corpus = prepare(config(paths=(str(path),)), 300)
    train, held_out = read_back(corpus, "train"), read_back(corpus, "held_out")
    assert list(train) == ["only.md#leading"]
    assert list(held_out) == ["only.md#trailing"]
    assert train["only.md#leading"] + held_out["only.md#trailing"] == path.read_text()
    assert "one document" in corpus.meta["report"]["notes"][0]


def test_empty_corpus_leaves_nothing_behind(config: Config, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = config(paths=(str(tmp_path / "empty"),))
    with pytest.raises(DataError, match="No text in"):
        prepare(data, 300)
    assert leftovers(data) == []


def test_unwritable_cache_is_explained(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as caught:
        prepare(config(cache_dir=str(tmp_path / "file")), 300)
    assert "cache_dir" in caught.value.hint


def test_progress_passes_through_all_stages_and_ends_ready(config: Config) -> None:
    events: list[Progress] = []
    corpus = prepare(config(), 300, events.append)
    assert list(dict.fromkeys(e.stage for e in events)) == ["read", "tokenizer", "encode", "write", "ready"]
    assert all(0 <= e.done <= e.total for e in events)
    for stage in ("read", "tokenizer", "encode"):
        assert [e.done for e in events if e.stage == stage][-1] == next(e.total for e in events if e.stage == stage) > 0
    tokens = sum(corpus.split(name).n_tokens for name in ("train", "held_out"))
    assert (events[-1].stage, events[-1].done) == ("ready", tokens)
    again: list[Progress] = []
    prepare(config(), 300, again.append)
    assert {e.stage for e in again} == {"ready"}


class _StopAt:
    """Asks to stop once a stage has begun."""

    def __init__(self, stage: str) -> None:
        self.stage, self.reached = stage, False

    def see(self, event: Progress) -> None:
        self.reached |= event.stage == self.stage

    def wanted(self) -> bool:
        return self.reached


@pytest.mark.parametrize(("workers", "stages"), [(1, ["read", "tokenizer", "encode"]), (2, ["encode"])])
def test_a_stop_is_a_pause(
    config: Config, tmp_path: Path, workers: int, stages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was whole when it stopped is found by the next attempt, and the result is the same as without a stop."""
    monkeypatch.setattr(plan_module, "BLOCK_BYTES", 4096)
    whole = prepare(config(cache_dir=str(tmp_path / "other")), 300)
    for stage in stages:
        stop = _StopAt(stage)
        with pytest.raises(Cancelled):
            prepare(config(workers=workers), 300, stop.see, stop.wanted)
        assert len(leftovers(config())) == 1
    events: list[Progress] = []
    corpus = prepare(config(workers=workers), 300, events.append)
    first = next(event for event in events if event.stage == "read")
    assert first.found == first.done == first.total > 0
    assert leftovers(config()) == []
    assert contents(corpus.path) == contents(whole.path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_error_in_the_callback_ends_the_work(config: Config) -> None:
    def fail(event: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(config(), 300, fail)
    assert [thread.name for thread in threading.enumerate()].count("mythos-data") == 0


def test_silent_work_still_reports() -> None:
    events: list[Progress] = []
    supervise(lambda tracker: time.sleep(0.8), events.append)
    assert len(events) >= 2


def test_waiting_for_another_builder_can_be_stopped(config: Config) -> None:
    import fcntl

    data = config()
    key = plan_module.plan(data, 300).key
    lock = Path(data.cache_dir) / "corpora" / f"{key}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(Cancelled):
            prepare(data, 300, should_stop=lambda: True)


def test_a_waiting_builder_takes_what_the_first_one_built(config: Config, builds: list[Path]) -> None:
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: prepare(config(), 300).path, range(3)))
    assert len(set(paths)) == len(builds) == 1


def _prepare_in_process(data: DataConfig, start: Any, results: Any) -> None:
    start.wait()
    corpus = prepare(data, 300)
    results.put((str(corpus.path), corpus.split("train").n_tokens))


def test_processes_that_prepare_at_once_agree(config: Config) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_prepare_in_process, args=(config(), start, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(30)
    assert [w.exitcode for w in workers] == [0, 0, 0]
    assert len(found) == 1
    assert leftovers(config()) == []
    assert read_back(prepare(config(), 300), "held_out")


def test_losing_the_race_without_locks_keeps_the_winner(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks do not work, a second builder finishes while we build; its corpus must survive ours."""
    monkeypatch.setattr(work_module, "fcntl", None)
    data = config()
    install = prepare_module._install
    winners: list[int] = []

    def overtaken(corpus: Path, target: Path) -> None:
        monkeypatch.setattr(prepare_module, "_install", install)
        winners.append(prepare(data, 300).path.stat().st_ino)
        install(corpus, target)

    monkeypatch.setattr(prepare_module, "_install", overtaken)
    assert prepare(data, 300).path.stat().st_ino == winners[0]
    assert leftovers(data) == []


def test_a_slice_of_the_standard_library_reports_every_second(config: Config, tmp_path: Path) -> None:
    import asyncio

    data = config(paths=(str(Path(asyncio.__file__).parent), str(Path(json.__file__).parent)))
    times = [time.monotonic()]
    corpus = prepare(data, 2000, lambda event: times.append(time.monotonic()))
    times.append(time.monotonic())
    assert max(np.diff(times)) < 1.5
    assert corpus.meta["vocab_size"] == 2000
    train = corpus.split("train")
    assert 2.5 < train.n_bytes / train.n_tokens < 5


def test_tokenizer_training_does_not_block_the_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """BPE training is one call into native code; were it to keep the interpreter to itself, nothing could be shown."""
    monkeypatch.setattr(progress_module, "TICK", 0.05)
    letters = np.random.default_rng(0).integers(97, 123, (60_000, 12), dtype=np.uint8)
    texts = [" ".join(word.tobytes().decode() for word in letters)]
    times = [time.monotonic()]

    def work(tracker: Tracker) -> int:
        return Tokenizer.train(texts, 3000).vocab_size

    assert supervise(work, lambda event: times.append(time.monotonic())) == 3000
    elapsed = time.monotonic() - times[0]
    assert elapsed > 0.25, "too little work to tell"
    assert len(times) > 0.4 * elapsed / 0.05
    assert max(np.diff(times)) < 1.5
