"""A checkpoint on disk ↔ model, tokenizer and configuration in memory. Weights are safetensors only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mythos.contract.checkpoints import find_checkpoint, new_checkpoint, read_manifest
from mythos.contract.config import Config, InferConfig
from mythos.contract.errors import CheckpointError, ConfigError
from mythos.contract.load import dump_config, load_config
from mythos.models.build import Model, build_model, count_parameters
from mythos.tensor_file import write_tensors

if TYPE_CHECKING:
    from mythos.data.tokenizer import Tokenizer

ALIGNMENT = 64
"""Bytes at a multiple of which torch's CPU memory begins."""


@dataclass
class Checkpoint:
    """A loaded checkpoint. `model` is in evaluation mode."""

    path: Path
    model: Model
    tokenizer: Tokenizer
    config: Config
    manifest: dict[str, Any]


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Load a checkpoint directory, or the latest whole one of a run directory.

    Every file is checked against the manifest. Weights are computed with in float32. Raises CheckpointError naming what
    is missing or damaged.
    """
    from mythos.data.tokenizer import Tokenizer

    directory = find_checkpoint(path)
    manifest = read_manifest(directory, check_hashes=True)
    try:
        config = load_config(directory / "config.yaml")
    except ConfigError as error:
        raise CheckpointError(f"The configuration of {directory} cannot be used: {error.message}", error.hint) from None
    model = build_model(config.model, "meta")
    load_weights(model, directory / "model.safetensors", device)
    return Checkpoint(directory, model.eval(), Tokenizer.load(directory / "tokenizer.json"), config, manifest)


def load_weights(model: Model, file: Path, device: str | torch.device = "cpu") -> None:
    """Fill a model, possibly one on the meta device, with float32 weights from a file. Raises CheckpointError."""
    try:
        weights = load_file(file, device=str(device))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}.", "Name another checkpoint.") from None
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0]
        raise CheckpointError(
            f"{file} does not fit its config.yaml: {odd[0]} differs.", "The two files come from different models."
        )
    weights = {name: aligned(t.float() if t.is_floating_point() else t) for name, t in weights.items()}
    model.load_state_dict(weights, assign=True)
    for name, parameter in model.named_parameters():
        if name.endswith("router.weight"):
            parameter.requires_grad_(getattr(model.config, "router", "learned") == "learned")


def aligned(tensor: Tensor) -> Tensor:
    """The tensor where torch itself would have put it. A file's lie anywhere, and matrix products round by that."""
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def write_weights(
    directory: Path, model: Model, config: Config, tokenizer: Path, dtype: torch.dtype = torch.float32
) -> None:
    """The three files that every checkpoint holds."""
    write_files(directory, weights_of(model, dtype), config, tokenizer)


def weights_of(model: Model, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Parameters and buffers by name, in host memory."""
    return {
        name: t.detach().to("cpu", dtype if t.is_floating_point() else t.dtype).contiguous()
        for name, t in model.state_dict().items()
    }


def write_files(directory: Path, weights: Mapping[str, Tensor], config: Config, tokenizer: Path) -> str:
    """`write_weights` of weights in host memory. Returns XXH3 of their file."""
    digest = write_tensors(directory / "model.safetensors", weights)
    (directory / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    (directory / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return digest


def check_target(target: Path) -> None:
    """Where a person lets a checkpoint be written: at a new path, over one that is only shipped, or around a README.md.

    Raises CheckpointError if anything else is there, such as a checkpoint that can be trained on.
    """
    if (target / "state").is_dir():
        raise CheckpointError(
            f"{target} can still be trained on, and its training state would be lost.", "Name a new directory."
        )
    if target.exists() and not (target / "manifest.json").is_file():
        empty = target.is_dir() and all(path.name == "README.md" for path in target.iterdir())
        if not empty:
            raise CheckpointError(f"{target} exists and is no checkpoint.", "Name a new directory or a checkpoint.")


@contextmanager
def replace_checkpoint(target: Path, facts: dict[str, Any]) -> Iterator[Path]:
    """`new_checkpoint` where `check_target` allows it. A README.md that lies there stays."""
    check_target(target)
    card = target / "README.md"
    text = card.read_bytes() if card.is_file() else None
    with new_checkpoint(target.absolute(), facts) as directory:
        yield directory
    if text is not None:  # about the checkpoint, not part of it: a card may be edited
        card.write_bytes(text)


def export_checkpoint(
    source: str | Path, target: str | Path, dtype: torch.dtype = torch.bfloat16, infer: InferConfig | None = None
) -> Path:
    """Copy a checkpoint without its training state, for shipping: weights rounded to `dtype`, perhaps other defaults.

    A README.md that lies at the target stays there; where the run's first weights lay on this machine does not go along.
    Raises CheckpointError.
    """
    checkpoint = load_checkpoint(source)
    train = checkpoint.config.train.model_copy(update={"init_from": ""})
    config = checkpoint.config.model_copy(update={"train": train, "infer": infer or checkpoint.config.infer})
    return save_as(checkpoint, target, config, dtype)


def save_as(
    checkpoint: Checkpoint, target: str | Path, config: Config, dtype: torch.dtype | None = None, **facts: Any
) -> Path:
    """Write a loaded checkpoint with another configuration, without training state; `dtype` None is the one that it has.

    `facts` go into the manifest. A README.md that lies at the target stays there. Raises CheckpointError.
    """
    destination, manifest = Path(target), checkpoint.manifest
    dtype = dtype or getattr(torch, str(manifest.get("dtype", "float32")))
    kept = {key: manifest.get(key) for key in ("step", "tokens", "family", "metrics")}
    kept |= {"saved": time.time(), "dtype": str(dtype).removeprefix("torch.")} | facts
    tokenizer = checkpoint.path / "tokenizer.json"
    with replace_checkpoint(destination, kept | {"parameters": count_parameters(checkpoint.model)}) as directory:
        write_files(directory, weights_of(checkpoint.model, dtype), config, tokenizer)
    return destination
