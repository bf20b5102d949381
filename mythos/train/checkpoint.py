"""Checkpoints of a run: weights and everything that resuming needs, written whole, found again, thinned out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mythos.checkpoint import aligned, load_weights, write_files
from mythos.contract.changes import differences
from mythos.contract.checkpoints import (
    QUICK_HASH,
    CheckpointInfo,
    find_checkpoint,
    list_checkpoints,
    new_checkpoint,
    read_manifest,
    remove_checkpoint,
)
from mythos.contract.config import Config
from mythos.contract.errors import CheckpointError
from mythos.contract.load import load_config
from mythos.contract.rundir import NAME, RunPaths, write_atomic
from mythos.models.build import count_parameters
from mythos.tensor_file import write_tensors
from mythos.train.loop import Trainer
from mythos.train.pieces import FOLDER, Pieces, is_split, read


@dataclass(frozen=True)
class Snapshot:
    """One moment of a training: what its checkpoint will hold. Tensors are in host memory; `guard` is JSON."""

    weights: Mapping[str, Tensor]
    finite: bool
    """Whether all weights are."""
    state: Mapping[str, Tensor]
    pieces: Pieces
    plain: dict[str, Any]
    guard: str
    config: Config
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return f"step-{self.facts['step']:08d}"


def in_host_memory(_: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors themselves where they are there already: they change as the training goes on."""
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def take(
    trainer: Trainer,
    metrics: dict[str, Any],
    guard: str = "{}",
    hold: Callable[[str, Mapping[str, Tensor]], Mapping[str, Tensor]] = in_host_memory,
) -> Snapshot:
    """The trainer as it is now, its weights and its state as `hold` has them. For rank 0; what others hold they keep."""
    model, (tensors, plain) = trainer.whole_model(), trainer.state()
    assert model is not None, "rank 0 saves"
    facts = {
        "step": trainer.steps_done,
        "tokens": trainer.tokens_done,
        "family": trainer.config.model.family,
        "parameters": count_parameters(model),
        "precision": trainer.device.precision,
        "threads": trainer.device.threads,
        "beside": trainer.ranks.beside,
        "seconds": trainer.seconds_done,
        "metrics": metrics,
        "saved": time.time(),
    }
    here = {key: tensor for key, tensor in tensors.items() if not is_split(tensor)}
    weights, state = hold("weights", model.state_dict()), hold("state", here)
    pieces = trainer.hold() if len(here) < len(tensors) else Pieces({}, trainer.ranks)
    finite = all(map(is_finite, weights.values()))
    return Snapshot(weights, finite, state, pieces, plain, guard, trainer.config, facts)


def write(paths: RunPaths, snapshot: Snapshot, tokenizer: Path) -> str:
    """Make a checkpoint of a snapshot, move `latest` and `best` to where they belong, drop old ones. Returns its name.

    Touches nothing but files. Raises CheckpointError where the disk refuses, and for weights that are not finite, since
    they would push out good ones; the checkpoints before it are whole then.
    """
    name = snapshot.name
    try:
        if not snapshot.finite:
            raise CheckpointError(
                f"{name} is not saved: its weights are not finite.",
                "Resume from the last checkpoint with a lower train.lr.",
            )
        paths.checkpoints.mkdir(exist_ok=True)  # never the run itself: a run that was removed stays away
        facts, hashes = {**snapshot.facts, "run": paths.name}, dict[str, str]()
        with new_checkpoint(paths.checkpoints / name, facts, QUICK_HASH, hashes) as directory:
            hashes["model.safetensors"] = write_files(directory, snapshot.weights, snapshot.config, tokenizer)
            hashes["state/trainer.safetensors"] = _write_state(directory / "state", snapshot)
    except OSError as error:
        raise CheckpointError(
            f"{name} cannot be saved: {error}.", "Make room for it, or mend the folder; earlier checkpoints are whole."
        ) from None
    finally:
        snapshot.pieces.drop()
    found = list_checkpoints(paths.checkpoints)
    _point(paths, name, best_of(found))
    _thin_out(paths, found, snapshot)
    return name


def is_finite(tensor: Tensor) -> bool:
    """Whether every value is; by the extremes, which NaN takes over: one pass, and no copy as `isfinite` makes."""
    return not (tensor.is_floating_point() and tensor.numel()) or bool(torch.stack(tensor.aminmax()).isfinite().all())


def save(paths: RunPaths, trainer: Trainer, tokenizer: Path, metrics: dict[str, Any]) -> str:
    """`take` and `write` at once, while the training waits."""
    return write(paths, take(trainer, metrics), tokenizer)


def _write_state(folder: Path, snapshot: Snapshot) -> str:
    """Returns XXH3 of the tensors' file."""
    folder.mkdir()
    digest = write_tensors(folder / "trainer.safetensors", snapshot.state)
    (folder / "trainer.json").write_text(json.dumps(snapshot.plain), encoding="utf-8")
    (folder / "guard.json").write_text(snapshot.guard, encoding="utf-8")
    if snapshot.pieces:
        snapshot.pieces.write(folder / FOLDER)
    return digest


def bits_of(info: CheckpointInfo) -> float | None:
    """Held-out bits per byte, None where they were not measured or are no number."""
    bits = info.metrics.get("bits_per_byte")
    return bits if isinstance(bits, int | float) and math.isfinite(bits) else None


def best_of(found: Sequence[CheckpointInfo]) -> CheckpointInfo | None:
    """The one with the fewest bits per byte, the earliest of several; None where none was evaluated."""
    measured = [(bits, info.step, info) for info in found if (bits := bits_of(info)) is not None]
    return min(measured, key=lambda one: one[:2])[2] if measured else None


def _point(paths: RunPaths, latest: str, best: CheckpointInfo | None) -> None:
    """Move both pointers. Where the disk refuses they are as they were, and the next checkpoint moves them."""
    with suppress(OSError):
        write_atomic(paths.checkpoints / "latest", latest + "\n")
        if best and pointer(paths, "best") != best.path.name:
            write_atomic(paths.checkpoints / "best", best.path.name + "\n")


def _thin_out(paths: RunPaths, found: Sequence[CheckpointInfo], snapshot: Snapshot) -> None:
    """Remove all but the newest `keep_checkpoints`, every `keep_every`-th step, the best, the one just written, and what a
    pointer names, which a disk that refuses leaves where it was."""
    train, best = snapshot.config.train, best_of(found)
    kept = {snapshot.name, best and best.path.name, pointer(paths, "latest"), pointer(paths, "best")}
    for info in found[train.keep_checkpoints :]:
        for_good = train.keep_every and info.step % train.keep_every == 0
        if info.path.name not in kept and not for_good:
            remove_checkpoint(info.path)


def newest_whole(paths: RunPaths) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that a run can go on from, every byte of it checked, and why newer ones cannot be used.

    Those are set aside under a hidden name. Raises CheckpointError where there are checkpoints and none can be used.
    """
    faults: dict[Path, str] = {}
    for path in sorted(paths.checkpoints.glob("step-*"), reverse=True):
        try:
            read_manifest(path, check_hashes=True)
            if not (path / "state").is_dir():
                raise CheckpointError(f"{path} holds no training state.")
        except CheckpointError as error:
            faults[path] = error.message
            continue
        for damaged in faults:
            damaged.rename(damaged.with_name(f".damaged-{damaged.name}-{time.time_ns()}"))
        return path, list(faults.values())
    if faults:
        raise CheckpointError(
            f"No checkpoint of {paths.name} can be used: {' '.join(faults.values())}",
            "Put a copy back, or start a new run from the weights with train.init_from.",
        )
    return None, []


def restore(checkpoint: Path, trainer: Trainer) -> None:
    """Continue exactly where a whole checkpoint was saved. Raises CheckpointError where its state does not fit."""
    state = checkpoint / "state"
    load_weights(trainer.model, checkpoint / "model.safetensors", trainer.device.name)
    trainer.rebind()
    try:
        tensors = {name: aligned(tensor) for name, tensor in load_file(state / "trainer.safetensors").items()}
        if (state / FOLDER).is_dir():
            tensors |= read(state / FOLDER, trainer.room)
        trainer.restore(tensors, json.loads((state / "trainer.json").read_text(encoding="utf-8")))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"The training state in {checkpoint} cannot be used: {error}.",
            "Resume from an earlier checkpoint, or start a new run from its weights with train.init_from.",
        ) from None


def start_from(source: str, trainer: Trainer, tokenizer: Path) -> Path:
    """Take over the weights of a checkpoint, or of a run's latest; everything else starts anew. Returns what was taken.

    Raises CheckpointError where there is none, where it is damaged, or where its model or tokenizer is another.
    """
    checkpoint = find_checkpoint(source)
    read_manifest(checkpoint, check_hashes=True)
    if (checkpoint / "tokenizer.json").read_bytes() != tokenizer.read_bytes():
        raise CheckpointError(
            f"{checkpoint} was trained with another tokenizer than this run's text.",
            "Set data and model.vocab_size as they are in its config.yaml.",
        )
    try:
        load_weights(trainer.model, checkpoint / "model.safetensors", trainer.device.name)
    except CheckpointError as error:
        changes = differences(trainer.config, load_config(checkpoint / "config.yaml"))
        there = " ".join(f"--set {key}={value}" for key, (_, value) in changes.items() if key.startswith("model."))
        raise CheckpointError(error.message, f"Its model has {there}." if there else error.hint) from None
    trainer.rebind()
    return checkpoint


def pointer(paths: RunPaths, name: str) -> str | None:
    """What `latest` or `best` names, or None where that is no checkpoint's name."""
    try:
        target = (paths.checkpoints / name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return target if NAME.fullmatch(target) else None
