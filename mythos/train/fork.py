"""A new run that goes on from a checkpoint of another one under other settings. Loads no torch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from mythos.contract.changes import differences, refuse_bound
from mythos.contract.checkpoints import QUICK_HASH, CheckpointInfo, list_checkpoints, new_checkpoint, read_manifest
from mythos.contract.config import Config
from mythos.contract.errors import CheckpointError, ConfigError, RunError
from mythos.contract.load import dump_config, load_config, parse_config
from mythos.contract.rundir import RunPaths, create_run, existing_run, spoken, write_atomic
from mythos.train import launch


def fork(
    runs: str | Path, parent: str, step: int | None, overrides: Sequence[str], name: str, argv: list[str]
) -> RunPaths:
    """Start the run `name` from the checkpoint of `parent` at `step`, or its newest whole one; the parent stays as it is.

    Weights, optimizer, position in the data and random generators go along. Raises ConfigError for settings that
    cannot apply to them, CheckpointError where there is no such checkpoint, RunError where the name is taken.
    """
    source = _checkpoint(existing_run(runs, parent), step)
    config = _changed(source, overrides)
    child = create_run(runs, name, config, argv, parent=source.title)
    try:
        _copy(source.path, child, config)
    except (OSError, CheckpointError) as error:
        shutil.rmtree(child.root, ignore_errors=True)
        if isinstance(error, CheckpointError):
            raise
        raise RunError(f"{source.title} cannot be copied: {error.strerror}.", "Make room for it.") from None
    return launch.resume(runs, child.name)


def _checkpoint(parent: RunPaths, step: int | None) -> CheckpointInfo:
    found = [info for info in list_checkpoints(parent.checkpoints) if info.resumable]
    chosen = [info for info in found if step is None or info.step == step]
    if not chosen:
        there = ", ".join(str(info.step) for info in reversed(found))
        raise CheckpointError(
            f"The run {parent.name} has no whole checkpoint{'' if step is None else f' at step {step}'}.",
            f"It has those of steps {there}." if there else f"Ask a running one for it: mythos save {spoken(parent)}",
        )
    return chosen[0]


def _changed(source: CheckpointInfo, overrides: Sequence[str]) -> Config:
    before = load_config(source.path / "config.yaml")
    after = parse_config(before.model_dump(mode="json"), overrides, where=source.title)
    changes = differences(before, after)
    refuse_bound(changes)
    if after.train.max_tokens and "train.batch_size" in changes:
        raise ConfigError(
            "train.batch_size cannot be changed under train.max_tokens: the steps done so far had other numbers of tokens.",
            "Add --set train.max_tokens=0 --set train.steps=N.",
        )
    if after.train.length <= source.step:
        raise ConfigError(
            f"{source.title} has done {source.step} of {after.train.length} steps, so the fork has nothing to do.",
            "Raise train.steps with --set, or fork an earlier step with --at.",
        )
    return after


def _copy(source: Path, child: RunPaths, config: Config) -> None:
    """The child's first checkpoint: the parent's, checked byte by byte, with the child's configuration."""
    facts = {key: value for key, value in read_manifest(source, check_hashes=True).items() if key != "files"}
    with new_checkpoint(child.checkpoints / source.name, {**facts, "run": child.name}, QUICK_HASH) as directory:
        shutil.copytree(source, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        (directory / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    write_atomic(child.checkpoints / "latest", source.name + "\n")
