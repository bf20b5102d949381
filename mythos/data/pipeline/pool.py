"""A task per item, in this process or in several. A task leaves its result on disk, so nothing large crosses over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from mythos.contract.errors import DataError
from mythos.data.progress import Cancelled, Tracker

T = TypeVar("T")
Advance = Callable[[int], None]
"""Tells of work done, in units of the stage; raises Cancelled once it is not wanted any more."""
_POLL_S = 0.1


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(task: Callable[[T, Advance], None], items: Iterable[T], processes: int, tracker: Tracker) -> None:
    """Do all items. Whatever the end, no process is left when this returns or raises."""
    if processes > 1:
        return _run_in_pool(task, items, processes, tracker)
    for item in items:
        task(item, tracker.advance)


def _run_in_pool(task: Callable[[T, Advance], None], items: Iterable[T], processes: int, tracker: Tracker) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of this process hold
    done, stop = context.Value("q", 0), context.Event()
    counted = 0
    pool = ProcessPoolExecutor(processes, context, _begin, (done, stop))
    try:
        for _ in _finish_all(pool, task, iter(items), 2 * processes):
            now = done.value
            tracker.advance(now - counted)
            counted = now
    except BrokenProcessPool:
        raise DataError(
            "A process that prepared the text was ended from outside, perhaps for want of memory.",
            "Go on with the same command, with a smaller data.workers if memory is short.",
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    tracker.advance(done.value - counted)


def _finish_all(
    pool: ProcessPoolExecutor, task: Callable[[T, Advance], None], items: Iterable[T], ahead: int
) -> Iterator[None]:
    """Yields now and then until all is done, with at most `ahead` items handed out. Raises what a task raised."""
    running: set[Future[None]] = set()
    while True:
        running |= {pool.submit(_call, task, item) for item in islice(items, ahead - len(running))}
        if not running:
            return
        finished, running = wait(running, _POLL_S, FIRST_COMPLETED)
        for future in finished:
            future.result()
        yield


_done: Any = None
_stop: Any = None


def _begin(done: Any, stop: Any) -> None:
    """In a new process: ends with its parent however that ends, and leaves Ctrl-C to it."""
    global _done, _stop
    _done, _stop = done, stop
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(task: Callable[[T, Advance], None], item: T) -> None:
    task(item, _advance)


def _advance(amount: int) -> None:
    if _stop.is_set():
        raise Cancelled
    with _done.get_lock():
        _done.value += amount
