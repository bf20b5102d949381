"""What the workbench asks of a run's worker, and of its checkpoints: small file operations, called from a thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.contract.liveness import kill
from mythos.contract.rundir import RunPaths, send_command
from mythos.contract.watch import list_runs, summarize

if TYPE_CHECKING:
    from mythos.contract.checkpoints import CheckpointInfo


def command(root: Path, name: str, **arguments: Any) -> str:
    """Put a command into a run's inbox; returns its id. Raises RunError."""
    return send_command(RunPaths(root), name, **arguments)


def settings(root: Path) -> dict[str, Any]:
    """The configuration in force, {dotted key: value}. Raises ConfigError."""
    from mythos.contract.changes import current_config, flat

    return flat(current_config(RunPaths(root)).model_dump(mode="json"))


def checkpoints(root: Path) -> list[CheckpointInfo]:
    """Checkpoints that training can go on from, latest first."""
    from mythos.contract.checkpoints import list_checkpoints

    return [info for info in list_checkpoints(RunPaths(root).checkpoints) if info.resumable]


def kill_worker(root: Path) -> None:
    """End a worker at once, without a checkpoint. Raises RunError where it is not living here."""
    paths = RunPaths(root)
    summary = summarize(paths)
    kill(paths, summary.status if summary else None)


def latest_checkpoint(root: Path) -> Path:
    """The latest whole checkpoint of a run. Raises CheckpointError where there is none."""
    from mythos.contract.checkpoints import find_checkpoint

    return find_checkpoint(root)


def live_runs(runs: Path) -> list[str]:
    """Names of the runs whose workers live."""
    return [run.name for run in list_runs(runs) if run.is_live]
