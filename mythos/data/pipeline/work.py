"""The work folder of a corpus that is being prepared: what is whole in it, and how something becomes so.

<cache>/corpora/<key>.work/   texts/000000/ …   tokens/000000/ …   duplicates.npy   tokenizer.json   corpus/
                <key>.lock    locked by whoever prepares this corpus
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mythos.data.shards import sync_folder

try:
    import fcntl
except ImportError:  # no advisory locks here
    fcntl = None  # type: ignore[assignment]

STALE_S = 7 * 24 * 3600.0
"""Age at which the work that nobody went on with is removed."""
_WAIT_S = 0.05


@dataclass(frozen=True)
class Work:
    """Names within a work folder."""

    path: Path

    @property
    def texts(self) -> Path:
        return self.path / "texts"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    @property
    def duplicates(self) -> Path:
        return self.path / "duplicates.npy"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def corpus(self) -> Path:
        return self.path / "corpus"

    def begin(self) -> None:
        """Make the folder, or take over what an earlier attempt left, but for what was only half written."""
        for folder in (self.texts, self.tokens):
            folder.mkdir(parents=True, exist_ok=True)
        for leftover in [*self.path.glob("*.tmp"), *self.path.glob("*/*.tmp")]:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        shutil.rmtree(self.corpus, ignore_errors=True)
        os.utime(self.path)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def part(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}"


def whole_parts(folder: Path) -> set[int]:
    """Numbers of the parts that are there."""
    return {int(name) for name in os.listdir(folder) if name.isdigit()}


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary sibling to fill, which becomes `target` all at once; on an error nothing is left of it."""
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(temporary)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """The same for a single file."""
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, check: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock, waiting for whoever has it; `check` may raise meanwhile. False where there are no locks."""
    with path.open("a") as stream:
        while not (found := _lock(stream)):
            if found is None:
                break
            check()
            time.sleep(_WAIT_S)
        yield bool(found)


def _lock(stream: IO[str]) -> bool | None:
    """Whether the lock is ours now; None where the system or the file system has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(corpora: Path) -> None:
    """Remove work folders that nobody holds and nobody touched for a week. Never raises: it is housekeeping."""
    for folder in corpora.glob("*.work"):
        try:
            if time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir())) > STALE_S:
                with folder.with_suffix(".lock").open("a") as stream:
                    if _lock(stream):
                        shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
