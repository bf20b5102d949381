"""The run list, cheaply: what has ended and did not change is not read again, what may live always is."""

from __future__ import annotations

import os
from pathlib import Path

from mythos.contract.rundir import RunPaths
from mythos.contract.watch import RunSummary, folders
from mythos_tui.runs.summary import read_summary

ENDED = ("finished", "failed", "stopped")
Stamp = tuple[int, int, int]
MISSING: Stamp = (0, 0, 0)


def stamp_of(path: Path) -> Stamp:
    """Inode, size and time of a file, which tell whether it has changed; zeros where it is missing."""
    try:
        stat = os.stat(path)
    except OSError:
        return MISSING
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


class RunLister:
    """Lists the runs of a folder, newest first."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[Stamp, RunSummary]] = {}

    def list(self) -> tuple[RunSummary, ...]:
        """All runs now; a folder that is missing is an empty list."""
        names = (name for name in folders(self._root) if not name.startswith("."))
        found = {name: known for name in names if (known := self._look(name)) is not None}
        self._known = found
        return tuple(sorted((run for _, run in found.values()), key=lambda run: (run.created, run.name), reverse=True))

    def _look(self, name: str) -> tuple[Stamp, RunSummary] | None:
        paths = RunPaths(self._root / name)
        stamp = stamp_of(paths.status)
        known = self._known.get(name)
        if known is not None and known[1].state in ENDED and known[0] == stamp:
            return known
        summary = read_summary(paths)
        if summary is None:
            return known if stamp_of(paths.identity) != MISSING else None
        return stamp, summary
