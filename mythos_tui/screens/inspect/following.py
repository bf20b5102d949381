"""Following a run: which checkpoint is its newest. Reads directories: call it off the event loop."""

from __future__ import annotations

from pathlib import Path

from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.rundir import RunPaths

EVERY_S = 2.0
"""Seconds between two looks for a new checkpoint."""


def run_of(checkpoint: Path) -> Path | None:
    """The run directory that a checkpoint belongs to; None for one that belongs to none."""
    candidates = (checkpoint, checkpoint.parent.parent)
    return next((folder for folder in candidates if (folder / "run.json").is_file()), None)


def newest(run: Path) -> Path | None:
    """The whole checkpoint of the latest step; None where there is none yet."""
    found = list_checkpoints(RunPaths(run).checkpoints)
    return found[0].path if found else None
