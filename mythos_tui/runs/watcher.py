"""A thread that reads run directories and posts frozen pictures; the event loop never waits for a disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from mythos.contract.rundir import RunPaths
from mythos_tui.messages import CommandAcknowledged, MachineSeen, RunsListed, RunUpdated
from mythos_tui.runs.lister import RunLister

if TYPE_CHECKING:
    from mythos_tui.runs.machine import Gauge
    from mythos_tui.runs.reader import RunReader

LIST_EVERY_S = 1.0
RUN_EVERY_S = 0.25
BUDGET_S = 0.08
REST_S = 0.02
LOADING_EVERY_S = 0.7


class Watched:
    """One run that is watched closely, and what of it was posted last."""

    def __init__(self, reader: RunReader) -> None:
        self.reader = reader
        self.shown: object = None
        self.posted = 0.0


class RunWatcher:
    """Watches a folder of runs, and some of them closely.

    `post` is called from the watcher's thread (Textual's `post_message` may be). `parked` is for a screen that nobody
    sees: the list goes on, the close look rests. With `machine`, what the machine is doing is told too; with `settings`
    every picture has the run's settings. `every_s` is the pace of the close look.
    """

    def __init__(
        self,
        root: Path,
        post: Callable[[Message], object],
        machine: bool = False,
        settings: bool = False,
        every_s: float = RUN_EVERY_S,
    ) -> None:
        self._root, self._post, self._machine, self._settings = root, post, machine, settings
        self._every_s = every_s
        self._lister = RunLister(root)
        self._wanted: tuple[str, ...] = ()
        self._watched: dict[str, Watched] = {}
        self._gauge: Gauge | None = None
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.parked = False

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._run, name="run-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; the thread follows within a tick."""
        self._stop.set()
        self._wake.set()

    def select(self, *names: str) -> None:
        """Watch these runs closely from now on."""
        self._wanted = names
        self._wake.set()

    def refresh(self) -> None:
        """Look now instead of at the next tick."""
        self._wake.set()

    def _run(self) -> None:
        next_list = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_list:
                self._post(RunsListed(self._lister.list()))
                self._look_at_machine()
                next_list = time.monotonic() + LIST_EVERY_S
            busy = self._look_closely(self._wanted)
            self._wake.wait(REST_S if busy else LIST_EVERY_S if self.parked else self._every_s)
            self._wake.clear()

    def _look_at_machine(self) -> None:
        if not self._machine or self.parked:
            return
        from mythos_tui.runs.machine import Gauge  # brings psutil, which the first frame does without

        self._gauge = self._gauge or Gauge(self._root)
        one = next((one for one in self._watched.values()), None)
        self._post(MachineSeen(self._gauge.read(one.reader.paths if one else None)))

    def _look_closely(self, wanted: Sequence[str]) -> bool:
        """One tick of the watched runs, which share its time. Says whether there is more to read at once."""
        from mythos_tui.runs.reader import RunReader  # brings numpy, which the first frame does without

        known = self._watched
        self._watched = {
            name: known.get(name) or Watched(RunReader(RunPaths(self._root / name), self._settings)) for name in wanted
        }
        return any([self._tick(one, BUDGET_S / len(self._watched)) for one in self._watched.values()])

    def _tick(self, one: Watched, budget_s: float) -> bool:
        snapshot, answers = one.reader.tick(budget_s)
        for answer in answers:
            self._post(CommandAcknowledged(answer))
        if snapshot is None:
            return False
        if snapshot.loading and time.monotonic() - one.posted < LOADING_EVERY_S:
            return True
        state = (snapshot.generation, snapshot.version, snapshot.log_total, snapshot.summary, len(snapshot.alerts))
        if state != one.shown and not (self.parked and snapshot.loading):
            one.shown, one.posted = state, time.monotonic()
            self._post(RunUpdated(snapshot))
        return snapshot.loading
