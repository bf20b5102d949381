"""Tolerant readers of run directories: whole lines only, bounded work per tick, nothing ever written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mythos.contract.liveness import derive_state, is_locked
from mythos.contract.rundir import NAME, RunPaths

CHUNK = 1 << 20


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None while it is missing or not (yet) whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def number(value: Any) -> float | None:
    """A number out of a file that anyone may have written, or None where it is something else."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def count(value: Any) -> int:
    """Likewise a count, 0 where it is something else."""
    return value if isinstance(value, int) else 0


class Tail:
    """Follows a growing file of lines from a byte offset.

    Only whole lines come out; a line that is still being written waits. A file that shrank or was replaced is read anew
    from the start, which `restarts` counts. `read` spends at most about `budget_s` seconds.
    """

    def __init__(self, path: Path, start_at_end_minus: int | None = None) -> None:
        self.path = path
        self.offset = 0
        self.restarts = 0
        self._inode: int | None = None
        self._skip_first = False
        if start_at_end_minus is not None:
            self._start_late(start_at_end_minus)

    def _start_late(self, size: int) -> None:
        try:
            with open(self.path, "rb") as file:
                self.offset = max(0, file.seek(0, os.SEEK_END) - size)
                if self.offset:  # in the middle of a line, the rest of that line is passed over
                    file.seek(self.offset - 1)
                    self._skip_first = file.read(1) != b"\n"
        except OSError:
            return

    def read(self, budget_s: float = 0.05) -> list[bytes]:
        """New whole lines without their line ends; an empty list if there are none."""
        return [line for lines in self._rounds(budget_s) for line in lines]

    def _rounds(self, budget_s: float) -> Iterator[list[bytes]]:
        """Lines of a block at a time, one at least, until the time is over; what is done with them in between counts."""
        deadline = time.monotonic() + budget_s
        try:
            with open(self.path, "rb") as file:
                self._notice_replacement(os.fstat(file.fileno()))
                while block := self._block(file, CHUNK):
                    yield self._split(block)
                    if time.monotonic() >= deadline:
                        return
        except OSError:
            return

    def read_block(self, most: int = CHUNK) -> bytes:
        """The next whole lines as they stand in the file, about `most` bytes; for a tail that began at the start."""
        try:
            with open(self.path, "rb") as file:
                self._notice_replacement(os.fstat(file.fileno()))
                return self._block(file, most)
        except OSError:
            return b""

    @property
    def behind(self) -> int:
        """Bytes that are there and not yet read."""
        try:
            return max(0, os.stat(self.path).st_size - self.offset)
        except OSError:
            return 0

    def _notice_replacement(self, stat: os.stat_result) -> None:
        if self._inode is not None and (stat.st_ino != self._inode or stat.st_size < self.offset):
            self.offset = 0
            self.restarts += 1
        self._inode = stat.st_ino

    def _block(self, file: Any, size: int) -> bytes:
        while True:
            file.seek(self.offset)
            block = file.read(size)
            end = block.rfind(b"\n")
            if end >= 0 or len(block) < size:
                break
            size *= 2  # one line longer than the chunk: look further rather than never advance
        self.offset += end + 1
        return bytes(block[: end + 1])

    def _split(self, block: bytes) -> list[bytes]:
        lines = block[:-1].split(b"\n")
        if self._skip_first:
            self._skip_first, lines = False, lines[1:]
        return lines


class JsonTail(Tail):
    """A Tail of JSON objects. A damaged line is counted in `damaged` and passed over."""

    damaged = 0

    def read_objects(self, budget_s: float = 0.05) -> list[dict[str, Any]]:
        return [value for lines in self._rounds(budget_s) for value in self.parse(lines)]

    def parse(self, lines: Iterable[bytes]) -> list[dict[str, Any]]:
        """The objects in these lines."""
        objects = []
        for line in lines:
            if not line.strip():
                continue
            try:
                value = _parse(line)
            except (ValueError, RecursionError):
                self.damaged += 1
                continue
            if isinstance(value, dict):
                objects.append(value)
        return objects


def _parse(line: bytes) -> Any:
    """JSON, three times as fast as by json.loads; that is asked where pydantic refuses, as it does half a surrogate pair."""
    from pydantic_core import from_json  # the workbench draws its first frame without

    try:
        return from_json(line)
    except ValueError:
        return json.loads(line)


@dataclass(frozen=True)
class RunSummary:
    """One row of the run list: a frozen picture of a run at one moment."""

    name: str
    root: Path
    state: str
    created: float
    step: int = 0
    steps: int = 0
    tokens: int = 0
    eta_s: float | None = None
    loss: float | None = None
    family: str = ""
    message: str = ""
    last_checkpoint: str | None = None
    error: dict[str, Any] | None = None
    status: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_live(self) -> bool:
        return self.state in ("starting", "preparing", "running", "paused", "stalled")


def summarize(paths: RunPaths, now: float | None = None) -> RunSummary | None:
    """The state of one run, or None if the directory is no run."""
    identity = read_json(paths.identity)
    if identity is None:
        return None
    locked = is_locked(paths)
    status = read_json(paths.status)
    known = status or {}
    return RunSummary(
        name=paths.name,
        root=paths.root,
        state=derive_state(status, locked, now),
        created=float(number(identity.get("created")) or 0.0),
        step=count(known.get("step")),
        steps=count(known.get("steps")),
        tokens=count(known.get("tokens")),
        eta_s=number(known.get("eta_s")),
        loss=number(known.get("loss")),
        family=str(known.get("family", "")),
        message=str(known.get("message", "")),
        last_checkpoint=known.get("last_checkpoint"),
        error=error if isinstance(error := known.get("error"), dict) else None,
        status=known,
    )


def folders(root: Path) -> list[str]:
    """Names of the directories inside one, sorted. An entry that cannot be looked at, such as a link to itself, is none."""
    with suppress(OSError), os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry))
    return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def list_runs(runs: str | Path) -> list[RunSummary]:
    """All runs of a folder, newest first. A missing folder is an empty list."""
    root = Path(runs)
    names = (name for name in folders(root) if NAME.fullmatch(name))
    found = [summary for name in names if (summary := summarize(RunPaths(root / name)))]
    return sorted(found, key=lambda run: run.created, reverse=True)
