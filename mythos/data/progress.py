"""Work in a thread, watched from the caller's: progress several times a second, and a stop that leaves no thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal, TypeVar

Stage = Literal["read", "duplicates", "tokenizer", "encode", "write", "ready"]
TICK = 0.25
"""Seconds between progress events when nothing else happens."""

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far one stage is. `seconds` counts from the stage's start; `total` is 0 while it is unknown.

    `found` of `done` was there already when the stage began: an earlier attempt had done it.
    """

    stage: Stage
    done: int
    total: int
    unit: str
    seconds: float
    found: int = 0

    @property
    def rate(self) -> float:
        """Units per second of this attempt; 0 before there is anything to judge by."""
        return (self.done - self.found) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end of the stage at that rate; None while total or rate is unknown."""
        return (self.total - self.done) / self.rate if self.total and self.rate else None


class Cancelled(Exception):
    """The caller asked to stop; what is whole stays, and the next attempt goes on from there."""


class Tracker:
    """The worker's side: tells how far it is and learns that it should stop."""

    def __init__(self) -> None:
        self._stage: tuple[Stage, int, str, float, int] = ("read", 0, "bytes", time.monotonic(), 0)
        self._done = 0
        self._open = False
        self._stop = threading.Event()
        self.events: SimpleQueue[Progress | None] = SimpleQueue()

    def stage(self, name: Stage, total: int, unit: str = "bytes", found: int = 0) -> None:
        """Close the stage before with its last count and open this one, of which `found` is done already."""
        self.check()
        if self._open:
            self.events.put(self.snapshot())
        self._open = True
        self._stage, self._done = (name, total, unit, time.monotonic(), found), found
        self.events.put(self.snapshot())

    def advance(self, amount: int) -> None:
        self.check()
        self._done += amount

    def check(self) -> None:
        """Raises Cancelled once the caller asked to stop."""
        if self._stop.is_set():
            raise Cancelled

    def stop(self) -> None:
        self._stop.set()

    def ready(self, total: int, unit: str) -> None:
        """The last event: everything is there."""
        self.stage("ready", total, unit)
        self.advance(total)
        self.events.put(self.snapshot())

    def snapshot(self) -> Progress:
        name, total, unit, began, found = self._stage
        done = min(self._done, total) if total else self._done
        return Progress(name, done, total, unit, time.monotonic() - began, found)


def supervise(
    work: Callable[[Tracker], T],
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> T:
    """Run `work` in a thread. Both callbacks run in the calling thread, every TICK seconds or sooner.

    Always waits for the thread to end: when this returns or raises, nothing goes on in the background.
    """
    tracker = Tracker()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(tracker))
        except BaseException as error:  # handed over to the caller below
            errors.append(error)
        finally:
            tracker.events.put(None)

    thread = threading.Thread(target=run, name="mythos-data")
    thread.start()
    try:
        _watch(tracker, progress, should_stop)
    finally:
        tracker.stop()
        thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _watch(
    tracker: Tracker, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None
) -> None:
    """Report until the worker's closing None arrives."""
    while True:
        try:
            event = tracker.events.get(timeout=TICK)
        except Empty:
            event = tracker.snapshot()
        if event is None:
            return
        if progress:
            progress(event)
        if should_stop and should_stop():
            tracker.stop()
