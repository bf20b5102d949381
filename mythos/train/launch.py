"""Start a training worker that outlives whoever started it: one process, or several under torchrun. Loads no torch."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mythos.contract.changes import ON_RESUME, change, changed, current_config
from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.config import Config
from mythos.contract.errors import ConfigError, RunError
from mythos.contract.rundir import RunPaths, acquire_lock, create_run, existing_run, spoken, take_commands, write_json
from mythos.contract.watch import count, read_json
from mythos.train.ranks import check_parts

SHUTDOWN_S = 10
"""Seconds that the other processes of a run have to end by themselves once one of them has failed."""


def start(config: Config, runs: str | Path, name: str, argv: list[str], processes: int = 1) -> RunPaths:
    """Create the run and start its worker, here in as many `processes` as are asked for.

    Raises RunError where the name is taken or unfit, or the folder refuses, ConfigError where so many processes cannot.
    """
    if processes > 1 and config.train.parallel == "none":
        config = config.model_copy(update={"train": config.train.model_copy(update={"parallel": "ddp"})})
    check_parts(config.train, processes)
    paths = create_run(runs, name, config, argv)
    _spawn(paths, resume=False, processes=processes)
    return paths


def resume(runs: str | Path, name: str, processes: int = 1, overrides: Sequence[str] = ()) -> RunPaths:
    """Start a worker that goes on from the latest whole checkpoint, perhaps in another number of processes.

    The overrides are put in force once nothing else is in the way. Raises RunError where there is nothing to go on with,
    ConfigError where so many processes cannot or a setting may not change.
    """
    paths = existing_run(runs, name)
    status = read_json(paths.status) or {}
    config = changed(paths, overrides, ON_RESUME) if overrides else current_config(paths)
    if status.get("state") == "finished" and config.train.length <= count(status.get("step")):
        raise RunError(
            f"The run {paths.name} is finished.",
            f"Give it more steps: mythos train --resume {spoken(paths)} --set train.steps=N.",
        )
    newest = next((info.step for info in list_checkpoints(paths.checkpoints) if info.resumable), None)
    if newest is None:
        raise RunError(
            f"The run {paths.name} has no whole checkpoint to resume from.",
            f"Start it anew: mythos train {shlex.quote(str(paths.config))} --run NAME.",
        )
    if config.train.length < newest:
        raise ConfigError(
            f"{config.train.length} steps are fewer than the {newest} that {paths.name} has done.", "Raise train.steps."
        )
    if processes > 1:
        check_parts(config.train, processes)
    _spawn(paths, resume=True, processes=processes, overrides=overrides)
    return paths


def node_command(paths: RunPaths, lock: int, nodes: int, processes: int, meet: str, identity: str) -> list[str]:
    """torchrun on one of several machines that meet at `meet` (HOST:PORT): the worker in `processes` on each."""
    meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={meet}", f"--rdzv-id={identity}"]
    return _command(paths, lock, True, [*meeting, f"--nproc-per-node={processes}", "--shutdown-timeout=120"])


def begin_again(paths: RunPaths) -> dict[str, Any] | None:
    """For whoever took the lock of a run to resume it: until its worker speaks, the run is no longer how the last one left it.

    What the last worker was asked for and did not live to answer is no business of the next. Returns what the status was.
    """
    take_commands(paths)
    status = read_json(paths.status)
    if status:
        news = {"state": "starting", "message": "resuming", "eta_s": None, "error": None, "updated": time.time()}
        _set_status(paths, {**status, **news})
    return status


def _set_status(paths: RunPaths, status: dict[str, Any]) -> None:
    with suppress(OSError):  # a disk that refuses is the worker's to tell of
        write_json(paths.status, status, durable=False)


def worker_environment(processes: int) -> dict[str, str]:
    """Of the worker: output at once, and on Apple's GPUs what they cannot compute is computed on the CPU.

    Several processes share the cores; torchrun would give each a single one.
    """
    shared = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))} if processes > 1 else {}
    return {"PYTORCH_ENABLE_MPS_FALLBACK": "1", **shared, **os.environ, "PYTHONUNBUFFERED": "1"}


def _command(paths: RunPaths, lock: int, resume: bool, torchrun: list[str]) -> list[str]:
    launcher = ["-m", "mythos.train.several", *torchrun] if torchrun else []
    worker = ["-m", "mythos.train.worker", str(paths.root.resolve()), str(lock), *(["--resume"] if resume else [])]
    return [sys.executable, "-u", *launcher, *worker]


def _spawn(paths: RunPaths, resume: bool, processes: int = 1, overrides: Sequence[str] = ()) -> None:
    """The lock is taken here and inherited, so there is no moment in which a started run looks dead.

    Of several processes it is torchrun that holds it: for as long as any of them lives.
    """
    several = ["--standalone", f"--nproc-per-node={processes}", f"--shutdown-timeout={SHUTDOWN_S}"]
    lock = acquire_lock(paths)
    before = begin_again(paths) if resume else None
    try:
        if overrides:
            change(paths, overrides, ON_RESUME)
        with open(paths.log, "ab") as log:
            subprocess.Popen(
                _command(paths, lock, resume, several if processes > 1 else []),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
                env=worker_environment(processes),
            )
    except OSError as error:
        if before:
            _set_status(paths, before)
        raise RunError(
            f"The worker of {paths.name} cannot be started: {error.strerror}.",
            "Check that the run's folder can be written.",
        ) from None
    finally:
        os.close(lock)
