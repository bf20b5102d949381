"""The run directory: names, layout and writers. Readers are in `watch`, liveness in `liveness`.

    runs/<run>/ config.yaml run.json status.json worker.lock metrics.jsonl events.jsonl output.log control/ checkpoints/
                alerts/ (once there was one)

The worker is the only writer, except for `control/`, into which anyone may put a command.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import re
import secrets
import shlex
import shutil
import socket
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.contract.errors import RunError

if TYPE_CHECKING:  # readers start without pydantic
    from mythos.contract.config import Config

USUAL_RUNS = Path("runs")
"""Where runs lie unless somebody says otherwise."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
COMMAND_BYTES = 1 << 16
"""Largest file that is read as a command."""
COMMANDS = ("pause", "resume", "save", "set", "stop", "kill")
LINES_WAITING = 10_000
"""Most lines that wait for a disk to take them again."""
STATES = ("preparing", "running", "paused", "finished", "failed", "stopped")


@dataclass(frozen=True)
class RunPaths:
    """Where everything of one run lies."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    config = property(lambda self: self.root / "config.yaml")
    identity = property(lambda self: self.root / "run.json")
    status = property(lambda self: self.root / "status.json")
    lock = property(lambda self: self.root / "worker.lock")
    metrics = property(lambda self: self.root / "metrics.jsonl")
    events = property(lambda self: self.root / "events.jsonl")
    log = property(lambda self: self.root / "output.log")
    control = property(lambda self: self.root / "control")
    checkpoints = property(lambda self: self.root / "checkpoints")
    alerts = property(lambda self: self.root / "alerts")


def run_paths(runs: str | Path, name: str) -> RunPaths:
    """Paths of run `name` in the folder `runs`. Raises RunError where the name could leave that folder."""
    if not NAME.fullmatch(name):
        raise RunError(
            f"{name!r} cannot be the name of a run.",
            "Use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 100; no slashes.",
        )
    return RunPaths(Path(runs) / name)


def existing_run(runs: str | Path, name: str) -> RunPaths:
    """Paths of a run that is there. What has a slash, `.` and `..` are paths to its directory. Raises RunError."""
    is_path = "/" in name or name in (".", "..")
    paths = RunPaths(Path(os.path.realpath(name))) if is_path else run_paths(runs, name)
    if not paths.identity.is_file():
        raise RunError(
            f"There is no run at {name!r}." if is_path else f"There is no run {name!r} in {Path(runs)}.",
            "`mythos runs` lists what is there; --runs names another folder.",
        )
    return paths


def spoken(paths: RunPaths) -> str:
    """How a command in this shell names a run: by its name, or by its directory where that lies elsewhere."""
    usual = os.environ.get("MYTHOS_RUNS", USUAL_RUNS)
    if os.path.realpath(paths.root.parent) == os.path.realpath(usual):
        return paths.name
    folder = str(paths.root)
    return shlex.quote(folder if "/" in folder else f"./{folder}")


def fresh_name(stem: str = "run") -> str:
    """A name that sorts by time and collides with no other: `quickstart-1120-101530-3f`."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "run"
    return f"{stem[:60]}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(1)}"


def create_run(runs: str | Path, name: str, config: Config, argv: list[str], parent: str | None = None) -> RunPaths:
    """Make the directory of a new run. Raises RunError if it exists or cannot be written; nothing is overwritten."""
    from mythos.contract.load import dump_config

    paths = run_paths(runs, name)
    if Path(runs).exists() and not Path(runs).is_dir():
        raise RunError(f"{Path(runs)} is not a folder, so no run can be created in it.", "Name a folder with --runs.")
    try:
        paths.root.parent.mkdir(parents=True, exist_ok=True)
        paths.root.mkdir()
    except FileExistsError:
        raise RunError(
            f"A run {name!r} exists already in {Path(runs)}.", "Choose another --run name, or go on with --resume."
        ) from None
    except OSError as error:
        raise _refused(paths, error) from None
    try:
        paths.control.mkdir()
        paths.checkpoints.mkdir()
        write_atomic(paths.config, dump_config(config))
        write_json(paths.identity, _identity(name, config, argv, parent))
    except OSError as error:
        shutil.rmtree(paths.root, ignore_errors=True)  # half a run would only keep its name from being used
        raise _refused(paths, error) from None
    return paths


def _refused(paths: RunPaths, error: OSError) -> RunError:
    return RunError(
        f"The run {paths.name!r} cannot be created in {paths.root.parent}: {error.strerror}.",
        "Name a folder you may write with --runs.",
    )


def _identity(name: str, config: Config, argv: list[str], parent: str | None) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "unknown"

    return {
        "id": secrets.token_hex(8),
        "name": name,
        "created": time.time(),
        "argv": argv,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "versions": {package: installed(package) for package in ("mythos-tui", "torch", "numpy", "tokenizers")},
        "executable": sys.executable,
        "seed": config.train.seed,
        "parent": parent,
    }


def write_atomic(path: Path, text: str, durable: bool = True) -> None:
    """Replace a small file of a run so that a reader sees the old or the new text, never a part.

    A link there is replaced: nothing outside the run is written. What is not `durable` is not waited for until the disk has
    it: a power cut may leave an empty file.
    """
    with _beside(path) as place, open(place, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def write_named(path: Path, text: str) -> None:
    """Write the text file that somebody named, as `replacing` does."""
    with replacing(path) as place:
        place.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what shall be the file that somebody named: beside it, and put into its place on leaving without an error.

    A link stays, and what it points to is replaced. A stream is written into as it is. Raises OSError where neither a file nor
    a stream lies there, or the disk refuses.
    """
    if is_stream(path):
        yield path
        return
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Not a file", str(path))
    with _beside(target) as place:
        yield place


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_stream(path: Path) -> bool:
    """Whether a pipe, a terminal or the like lies there, of which nothing is lost when it is written into."""
    return path.is_fifo() or path.is_char_device()


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """`write_atomic` of one JSON object."""
    write_atomic(path, json.dumps(value) + "\n", durable)


class LineWriter:
    """Appends whole lines of JSON. NaN and infinities are written as Python's json reads them back."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(self._file).st_size  # a predecessor may have died in the middle of a line
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        self._waiting: deque[bytes] = deque(maxlen=LINES_WAITING)

    def write(self, *values: dict[str, Any]) -> bool:
        """One call of write(2) for all lines, so that those of a killed worker are whole but for the last.

        False where the disk refuses: lines wait for the next call. What there is of one is taken back, since the worker may die
        before the disk has room; where that is refused too, it is ended before the line comes again.
        """
        self._waiting.extend(map(_line, values))
        try:
            left = os.write(self._file, b"\n" * self._torn + b"".join(self._waiting)) - self._torn
        except OSError:
            return False
        while self._waiting and left >= len(self._waiting[0]):
            left -= len(self._waiting.popleft())
        self._torn = left != 0 and not self._take_back(left)
        return not self._waiting

    def _take_back(self, count: int) -> bool:
        """Whether the last bytes of the file are gone."""
        try:
            os.ftruncate(self._file, os.fstat(self._file).st_size - count)
        except OSError:
            return False
        return True

    def close(self) -> None:
        os.close(self._file)


def _line(value: dict[str, Any]) -> bytes:
    """Pydantic is seven times as fast as json, which escapes whatever is not ASCII and knows half surrogate pairs."""
    from pydantic_core import to_json  # readers start without

    try:
        line = to_json(value, inf_nan_mode="constants", fallback=float)
    except ValueError:
        line = b"\xff"
    return (line if line.isascii() else json.dumps(value, default=float).encode()) + b"\n"


def send_command(paths: RunPaths, command: str, **arguments: Any) -> str:
    """Put a command into the inbox of a run; returns the id under which the worker acknowledges it in events.jsonl."""
    if command not in COMMANDS:
        raise RunError(f"{command!r} is no command.", f"Commands are {', '.join(COMMANDS)}.")
    identity = f"{time.time_ns()}-{secrets.token_hex(4)}"
    try:
        write_json(
            paths.control / f"{identity}.json",
            {"id": identity, "command": command, "arguments": arguments, "sent": time.time()},
        )
    except OSError as error:
        raise RunError(
            f"{command} cannot be sent to {paths.name}: {error.strerror}.",
            "Check that the run's folder can be written.",
        ) from None
    return identity


def take_commands(paths: RunPaths) -> list[dict[str, Any]]:
    """Worker: read and remove what lies in the inbox, oldest first. A damaged command is dropped with an `error`.

    Folders, links and pipes are no commands and stay where they are; what cannot be removed is not obeyed, since it
    would be obeyed again and again.
    """
    taken = []
    try:
        names = os.listdir(paths.control)  # several times a second, where a glob would cost too much
    except OSError:
        return []
    for path in sorted(paths.control / name for name in names if name.endswith(".json") and name[0] != "."):
        try:
            facts = path.lstat()
            if not stat.S_ISREG(facts.st_mode):
                continue
            text = path.read_bytes() if facts.st_size <= COMMAND_BYTES else b""
            path.unlink()
        except OSError:
            continue
        try:
            command = json.loads(text)
            if not isinstance(command, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            command = {"id": path.stem, "command": "", "error": str(error)}
        taken.append(command)
    return taken


def acquire_lock(paths: RunPaths, wait_s: float = 1.0) -> int:
    """Take the worker's lock and return its file descriptor, held until the process that owns it ends.

    The lock belongs to the open file, so a child that inherits the descriptor holds it too. A reader that tests the lock
    holds it for an instant, hence the short wait. Raises RunError if another worker lives or the folder refuses.
    """
    try:
        descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(
            f"{paths.name} cannot be locked: {error.strerror}.", "Check that the run's folder can be written."
        ) from None
    give_up = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > give_up:
                os.close(descriptor)
                raise RunError(
                    f"A worker is already running {paths.name}.", f"Watch it with `mythos watch {spoken(paths)}`."
                ) from None
            time.sleep(0.02)
