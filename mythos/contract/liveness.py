"""Is the worker of a run alive? A file lock says so; pid, process start time and boot id back it up.

Pids are reused, so a pid alone proves nothing. The kernel drops the lock however the worker dies.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Any

from mythos.contract.errors import RunError
from mythos.contract.rundir import STATES, RunPaths

LIVE_STATES = ("starting", "preparing", "running", "paused", "stalled")
GRACE_S = 10.0
GONE = "The worker is gone without a word: killed, out of memory, or the machine went down."
"""What is said of a run that is `crashed`."""


def process_identity() -> dict[str, Any]:
    """pid, start time and boot id of this process: what tells it from a later one with the same pid."""
    return {"pid": os.getpid(), "pid_start": process_start(os.getpid()), "boot_id": boot_id()}


def boot_id() -> str:
    """Changes with every boot of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_start(pid: int) -> float | None:
    """Start time of a process, or None if there is none (or it is a zombie)."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_locked(paths: RunPaths) -> bool:
    """Whether a living worker holds the lock. Opens the file for reading only; changes nothing."""
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def derive_state(status: dict[str, Any] | None, locked: bool, now: float | None = None) -> str:
    """What a reader shows: the worker's own state, or starting, crashed or stalled where that cannot be true.

    `expect_next_in_s` is the worker's promise of its next word; a run is stalled when that and a grace have passed.
    """
    if status is None:
        return "starting" if locked else "crashed"
    state = str(status.get("state"))
    if state in ("finished", "failed", "stopped"):
        return state
    if not locked:
        return "crashed"
    if state not in STATES:
        return "starting"
    try:
        silent_s = (time.time() if now is None else now) - float(status.get("updated", 0.0))
        promise = float(status.get("expect_next_in_s") or 0.0)
    except (TypeError, ValueError):
        return "stalled"
    if state in ("preparing", "running") and silent_s > promise + max(GRACE_S, promise):
        return "stalled"
    return state


def kill(paths: RunPaths, status: dict[str, Any] | None) -> None:
    """SIGKILL the worker, if the recorded process still is that worker. Raises RunError otherwise."""
    pid = (status or {}).get("pid")
    if not isinstance(pid, int) or not is_locked(paths):
        raise RunError(f"{paths.name} has no living worker.", "There is nothing to kill.")
    assert status is not None
    same_boot = status.get("boot_id") == boot_id()
    start, recorded = process_start(pid), status.get("pid_start")
    if not same_boot or start is None or not isinstance(recorded, float) or abs(start - recorded) > 1.0:
        raise RunError(
            f"Process {pid} is not the worker of {paths.name} on this machine.",
            "Kill it on the host that run.json names.",
        )
    os.kill(pid, signal.SIGKILL)
