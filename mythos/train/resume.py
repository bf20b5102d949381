"""Going on: which checkpoint, under which settings, and what of the run's records lies beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.contract.changes import ON_RESUME, Changes, differences, refuse_others, told
from mythos.contract.checkpoints import read_manifest, sweep
from mythos.contract.config import Config, RecurrentConfig
from mythos.contract.load import load_config
from mythos.contract.rundir import RunPaths, write_atomic
from mythos.train.journal import Journal, cut_metrics, say
from mythos.train.ranks import Ranks

if TYPE_CHECKING:
    from mythos.train.loop import Trainer


def find_checkpoint(paths: RunPaths, journal: Journal, config: Config) -> Path | None:
    """The newest whole checkpoint, or None where the run has none yet; what is damaged is told of and set aside.

    Raises CheckpointError where none can be used, ConfigError where the configuration in force does not fit it, and
    MythosError where its device is not there.
    """
    from mythos.train.checkpoint import newest_whole

    sweep(paths.root)
    sweep(paths.checkpoints)
    checkpoint, faults = newest_whole(paths)
    if checkpoint is None:
        return None
    changes = differences(load_config(checkpoint / "config.yaml"), config)
    refuse_others(changes, ON_RESUME)
    changes |= _given_up(config, read_manifest(checkpoint))
    if faults:
        text = f"{' '.join(faults)} Going back to {checkpoint.name}."
        say(text)
        journal.event("alert", message=text)
        write_atomic(paths.checkpoints / "latest", checkpoint.name + "\n")
    if changes:
        say(f"changed since {checkpoint.name}: {told(changes)}")
        journal.event("setting", changed=changes)
    return checkpoint


def as_before(config: Config, checkpoint: Path) -> Config:
    """What this machine would choose by measuring stays as it was chosen when the checkpoint was made.

    But for an arithmetic that the device in force cannot do, and for threads where the cores were shared by another number
    of processes. Checkpoints that do not tell that number are taken for those of one process.
    """
    facts = read_manifest(checkpoint)
    chosen: dict[str, Any] = {}
    if (precision := _chosen_precision(config, facts)) and not _given_up(config, facts):
        chosen["precision"] = precision
    alike = facts.get("beside", 1) == Ranks.of_this_process().beside
    if config.train.threads == 0 and isinstance(facts.get("threads"), int) and alike:
        chosen["threads"] = facts["threads"]
    return config.model_copy(update={"train": config.train.model_copy(update=chosen)})


def _chosen_precision(config: Config, facts: dict[str, Any]) -> str:
    """The arithmetic of the checkpoint that these facts tell of, "" where there is none or the configuration names one."""
    known = config.train.precision == "auto" and facts.get("precision") in ("bf16", "fp16", "fp32")
    return str(facts["precision"]) if known else ""


def _given_up(config: Config, facts: dict[str, Any]) -> Changes:
    """The checkpoint's choice of arithmetic, where the device in force cannot do it: it chooses as for a new run then."""
    from mythos.train.device import can_compute

    precision = _chosen_precision(config, facts)
    return {"train.precision": (precision, "auto")} if precision and not can_compute(config.train, precision) else {}


def go_on(checkpoint: Path, trainer: Trainer, journal: Journal) -> dict[str, Any]:
    """Take the trainer to where the checkpoint was saved; lines of metrics beyond it go.

    Returns the evaluation of that step, with `step`, or nothing where there was none.
    """
    from mythos.train.checkpoint import restore

    facts = read_manifest(checkpoint)
    restore(checkpoint, trainer)
    trainer.seconds_done = max(trainer.seconds_done, float(facts.get("seconds") or 0.0))
    dropped = cut_metrics(journal.paths, trainer.steps_done)
    journal.status.update(step=trainer.steps_done, last_checkpoint=checkpoint.name)
    journal.event("resumed", checkpoint=checkpoint.name, dropped=dropped)
    say(f"resumed from {checkpoint.name}; {dropped} later lines of metrics dropped")
    metrics: dict[str, Any] = facts.get("metrics") or {}
    return {"step": trainer.steps_done, **metrics} if metrics else {}


def adopt(trainer: Trainer, config: Config) -> None:
    """Let a trainer go on under changed settings, of which only those in `changes.LIVE` may differ."""
    trainer.config, trainer.optimizer.config = config, config.train
    if trainer.sampler and isinstance(config.model, RecurrentConfig):
        trainer.sampler.model = trainer.model.config = config.model
