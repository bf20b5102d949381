"""From a data configuration to a tokenized corpus on disk, built once and then found in the cache."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mythos.contract.config import DataConfig, cache_root, check_vocabulary
from mythos.contract.errors import DataError
from mythos.data.pipeline.assemble import assemble
from mythos.data.pipeline.encode import encode
from mythos.data.pipeline.learn import learn
from mythos.data.pipeline.plan import Job, plan
from mythos.data.pipeline.read import read_blocks
from mythos.data.pipeline.select import NoText, select
from mythos.data.pipeline.work import Work, locked, sweep
from mythos.data.progress import Cancelled, Progress, Tracker, supervise
from mythos.data.shards import SPLITS, Corpus, sync_folder

__all__ = ["Cancelled", "Corpus", "Progress", "find", "prepare"]


def prepare(
    config: DataConfig,
    vocab_size: int,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Corpus:
    """The corpus of `config`, from the cache or built now, going on with what an interrupted attempt left.

    `progress` and `should_stop` are called in this thread, several times a second. Raises Cancelled when
    `should_stop` says so, DataError for sources without text or a cache that cannot be written, and ConfigError for a
    vocabulary that cannot hold every byte, or not every token of `data.tokenizer`.
    """
    if not config.tokenizer:
        check_vocabulary(vocab_size)
    return supervise(lambda tracker: _find_or_build(plan(config, vocab_size), tracker), progress, should_stop)


def find(config: DataConfig, vocab_size: int) -> Corpus | None:
    """The corpus if it is in the cache. Raises as `prepare` does where the sources are missing."""
    return _whole(_target(plan(config, vocab_size)))


def _target(job: Job) -> Path:
    return cache_root(job.data) / "corpora" / job.key


def _work(target: Path) -> Work:
    return Work(target.with_name(f"{target.name}.work"))


def _find_or_build(job: Job, tracker: Tracker) -> Corpus:
    target = _target(job)
    corpus = _whole(target)
    if corpus is None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent)
            with locked(target.with_name(f"{target.name}.lock"), tracker.check) as alone:
                corpus = _whole(target) or _build(job, target, alone, tracker)
        except OSError as error:
            hint = "Free some space, or choose another folder with data.cache_dir; then the same command goes on from here."
            raise DataError(f"Cannot write the corpus {target}: {error.strerror or error}.", hint) from error
    else:
        _work(target).remove()  # there only if an attempt ended just after its last step but one
    size = sum(corpus.meta["splits"][name]["tokens"] for name in SPLITS)
    tracker.ready(size, "tokens")
    return corpus


def _whole(target: Path) -> Corpus | None:
    """The corpus if it is whole."""
    try:
        return Corpus(target)
    except DataError:
        return None


def _build(job: Job, target: Path, alone: bool, tracker: Tracker) -> Corpus:
    """All stages, and at last the rename that makes the corpus visible."""
    with _work_folder(target, alone) as work:
        account = read_blocks(job, work, tracker)
        selection = select(job, work, account, tracker)
        learn(job, selection, tracker)
        encode(job, selection, tracker)
        assemble(job, selection, account, tracker)
        _install(work.corpus, target)
    return Corpus(target)


@contextmanager
def _work_folder(target: Path, alone: bool) -> Iterator[Work]:
    """A folder that stays after an interruption, for the next attempt; a corpus without text leaves nothing behind.

    Where there are no locks it has a name of its own, because another process may be at the same work.
    """
    work = _work(target if alone else target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}"))
    work.begin()
    try:
        yield work
    except BaseException as error:
        if isinstance(error, NoText) or not alone:
            work.remove()
        raise
    work.remove()


def _install(corpus: Path, target: Path) -> None:
    try:
        if _whole(target) is None:
            shutil.rmtree(target, ignore_errors=True)  # incomplete or damaged
        os.rename(corpus, target)
    except OSError:
        if _whole(target) is None:  # else another process was faster with the same corpus
            raise
    sync_folder(target.parent)
