"""Checkpoint directories as everyone sees them: the manifest, where they lie, which of them are whole.

    step-00001000/  model.safetensors  config.yaml  tokenizer.json  [state/…]  manifest.json (written last)

A directory without a valid manifest does not exist as far as any reader is concerned.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import xxhash

from mythos.contract.errors import CheckpointError
from mythos.contract.liveness import is_locked
from mythos.contract.rundir import RunPaths, spoken
from mythos.contract.watch import folders

FORMAT = 1
HASHES: dict[str, Callable[[], Any]] = {"sha256": hashlib.sha256, "xxh3_128": xxhash.xxh3_128}
"""By which a manifest may tell that a file is whole."""
QUICK_HASH = "xxh3_128"
"""Of what a training writes, in a tenth of the time of SHA-256, by which a published file is checked elsewhere too."""
LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<kind>tmp|old)")
REQUIRED = ("model.safetensors", "config.yaml", "tokenizer.json")


@dataclass(frozen=True)
class CheckpointInfo:
    """One whole checkpoint on disk."""

    path: Path
    step: int
    tokens: int
    family: str
    parameters: int
    size: int
    metrics: dict[str, Any]
    saved: float
    resumable: bool

    @property
    def title(self) -> str:
        """How lists name it."""
        return title_of(self.path)


def title_of(path: Path) -> str:
    """`quickstart` for a shipped checkpoint, `run/step-00001000` for one of a run."""
    parts = path.parts
    of_a_run = len(parts) > 2 and parts[-2] == "checkpoints" and parts[-1].startswith("step-")
    return f"{parts[-3]}/{parts[-1]}" if of_a_run else parts[-1]


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Of a file's bytes, in hexadecimal, by one of HASHES."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, HASHES[algorithm]).hexdigest()


def sync_directory(path: Path) -> None:
    """Make renames within a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_checkpoint(
    target: Path, facts: dict[str, Any], algorithm: str = "sha256", hashes: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Path]:
    """Fill the temporary directory that this yields; on leaving it becomes `target`, with manifest, all at once.

    `facts` go into the manifest (step, tokens, family, parameters, metrics, saved). `hashes`, by an `algorithm` of HASHES, are
    those of files, by their name within, that whoever fills it knows by then; the others are read once more. On any error the
    temporary directory is removed and an earlier `target` stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        _seal(temporary, facts, algorithm, hashes)
        if target.exists():
            discarded = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
            os.rename(target, discarded)  # dying before the next line leaves it to `sweep` to put this one back
            os.rename(temporary, target)
            shutil.rmtree(discarded, ignore_errors=True)
        else:
            os.rename(temporary, target)
        sync_directory(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_checkpoint(path: Path) -> None:
    """Take a checkpoint away at once for every reader; what dying leaves of it `sweep` clears. Errors are ignored."""
    with suppress(OSError):
        discarded = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        os.rename(path, discarded)
        shutil.rmtree(discarded, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Clear what saving left behind when it was cut off; a checkpoint that was about to be replaced comes back.

    Only for whoever alone writes to `folder`.
    """
    for path in sorted(folder.glob(".*")):
        if not (match := LEFTOVER.fullmatch(path.name)):
            continue
        if match["kind"] == "old" and not (folder / match["name"]).exists():
            os.rename(path, folder / match["name"])
        elif not path.is_dir():  # a small file that was about to replace another
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _seal(directory: Path, facts: dict[str, Any], algorithm: str, hashes: Mapping[str, str]) -> None:
    """fsync every file, then write the manifest last."""
    files = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        name = path.relative_to(directory).as_posix()
        files[name] = {"size": path.stat().st_size, algorithm: hashes.get(name) or file_hash(path, algorithm)}
    for folder in (path for path in directory.rglob("*") if path.is_dir()):
        sync_directory(folder)
    manifest = directory / "manifest.json"
    with open(manifest, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **facts, "files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)


def read_manifest(path: Path, check_hashes: bool = False) -> dict[str, Any]:
    """The manifest of a whole checkpoint. Raises CheckpointError naming the file that is missing or damaged."""
    if not path.is_dir():
        raise CheckpointError(
            f"There is no checkpoint at {path}.",
            "Name a checkpoint directory, a run directory, or checkpoints/quickstart.",
        )
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        files = {str(name): dict(entry) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} has no manifest.json, so it is no whole checkpoint.", "Name another checkpoint."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path}/manifest.json is damaged.", "Name another checkpoint.") from None
    for name in REQUIRED:
        if name not in files:
            raise CheckpointError(f"{path} lacks {name}.", "Name another checkpoint.")
    for name, entry in files.items():
        _check_file(path, name, entry, check_hashes)
    return manifest


def _check_file(path: Path, name: str, entry: dict[str, Any], check_hash: bool) -> None:
    file = path / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise CheckpointError(
            f"{path}/manifest.json names a file outside the checkpoint: {name!r}.", "Do not use this checkpoint."
        )
    if name.startswith("state/") and not (path / "state").is_dir():
        return  # shipped without its training state
    try:
        size = file.stat().st_size
    except (OSError, ValueError):
        raise CheckpointError(f"{str(file)!r} is missing.", "Name another checkpoint.") from None
    if size != entry.get("size"):
        raise CheckpointError(
            f"{file} is damaged: {size} bytes instead of {entry.get('size')}.", "Name another checkpoint."
        )
    try:
        whole = not check_hash or any(kind in entry and file_hash(file, kind) == entry[kind] for kind in HASHES)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.", "Name another checkpoint.") from None
    if not whole:
        raise CheckpointError(
            f"{file} is damaged: its contents differ from what the manifest says.", "Name another checkpoint."
        )


def describe(path: Path) -> CheckpointInfo | None:
    """A whole checkpoint's facts, or None where there is none."""
    try:
        manifest = read_manifest(path)
        return CheckpointInfo(
            path=path,
            step=int(manifest.get("step", 0)),
            tokens=int(manifest.get("tokens", 0)),
            family=str(manifest.get("family", "")),
            parameters=int(manifest.get("parameters", 0)),
            size=sum(entry["size"] for name, entry in manifest["files"].items() if not name.startswith("state/")),
            metrics=dict(manifest.get("metrics") or {}),
            saved=float(manifest.get("saved", 0.0)),
            resumable=(path / "state").is_dir(),
        )
    except (CheckpointError, TypeError, ValueError):
        return None


def list_checkpoints(folder: Path) -> list[CheckpointInfo]:
    """Whole checkpoints directly inside a folder, latest step first."""
    names = (name for name in folders(folder) if not name.startswith("."))
    found = [info for name in names if (info := describe(folder / name))]
    return sorted(found, key=lambda info: (info.step, info.saved), reverse=True)


def damaged_checkpoints(folder: Path) -> list[Path]:
    """What is named like a checkpoint of a run and is none, or no whole one; latest step first."""
    return sorted((path for path in folder.glob("step-*") if path.is_dir() and not describe(path)), reverse=True)


def can_resume(folder: Path) -> bool:
    """Whether a run with these checkpoints could go on from one."""
    return any(info.resumable for info in list_checkpoints(folder))


def find_checkpoint(path: str | Path) -> Path:
    """A checkpoint directory itself, or the latest whole one of a run directory. Raises CheckpointError."""
    given = Path(path)
    if not (given / "run.json").is_file():
        read_manifest(given)
        return given
    whole = list_checkpoints(given / "checkpoints")
    if not whole:
        raise _none_in(RunPaths(Path(os.path.realpath(given))))
    return whole[0].path


def _none_in(run: RunPaths) -> CheckpointError:
    """What to say of a run without a whole checkpoint."""
    if damaged := ", ".join(path.name for path in damaged_checkpoints(run.checkpoints)):
        return CheckpointError(
            f"The run {run.name} has no whole checkpoint, only damaged ones: {damaged}.",
            f"See what they lack: mythos doctor {spoken(run)}",
        )
    way_on = f"Start it anew: mythos train {shlex.quote(str(run.config))} --run NAME"
    if is_locked(run):
        way_on = f"Ask for one: mythos save {spoken(run)}"
    return CheckpointError(f"The run {run.name} has no whole checkpoint yet.", way_on)
