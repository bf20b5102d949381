"""A thread that reads run directories and posts frozen pictures; the event loop never waits for a disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from mythos.contract.rundir import RunPaths
from mythos_tui.messages import CommandAcknowledged, RunsListed, RunUpdated
from mythos_tui.runs.lister import RunLister

if TYPE_CHECKING:
    from mythos_tui.runs.reader import RunReader

LIST_EVERY_S = 1.0
RUN_EVERY_S = 0.25
BUDGET_S = 0.08
REST_S = 0.02
LOADING_EVERY_S = 0.7


class RunWatcher:
    """Watches a folder of runs, and one run of it closely.

    `post` is called from the watcher's thread (Textual's `post_message` may be). `parked` is for a screen that nobody
    sees: the list goes on, the close look rests.
    """

    def __init__(self, root: Path, post: Callable[[Message], object]) -> None:
        self._root, self._post = root, post
        self._lister = RunLister(root)
        self._wanted: str | None = None
        self._reader: RunReader | None = None
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._shown: tuple[object, ...] | None = None
        self._posted = 0.0
        self.parked = False

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._run, name="run-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; the thread follows within a tick."""
        self._stop.set()
        self._wake.set()

    def select(self, name: str | None) -> None:
        """Watch this run closely from now on."""
        self._wanted = name
        self._wake.set()

    def refresh(self) -> None:
        """Look now instead of at the next tick."""
        self._wake.set()

    def _run(self) -> None:
        next_list = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_list:
                self._post(RunsListed(self._lister.list()))
                next_list = time.monotonic() + LIST_EVERY_S
            busy = self._look_closely()
            self._wake.wait(REST_S if busy else LIST_EVERY_S if self.parked else RUN_EVERY_S)
            self._wake.clear()

    def _look_closely(self) -> bool:
        """One tick of the selected run. Says whether there is more to read at once."""
        from mythos_tui.runs.reader import RunReader  # brings numpy, which the first frame does without

        wanted = self._wanted
        if wanted is None:
            self._reader = None
            return False
        if self._reader is None or self._reader.paths.name != wanted:
            self._reader, self._shown = RunReader(RunPaths(self._root / wanted)), None
        snapshot, answers = self._reader.tick(BUDGET_S)
        for answer in answers:
            self._post(CommandAcknowledged(answer))
        if snapshot is None:
            return False
        if snapshot.loading and time.monotonic() - self._posted < LOADING_EVERY_S:
            return True
        state = (snapshot.generation, snapshot.version, snapshot.log_total, snapshot.summary, snapshot.alert)
        if state != self._shown and not (self.parked and snapshot.loading):
            self._shown, self._posted = state, time.monotonic()
            self._post(RunUpdated(snapshot))
        return snapshot.loading
