"""The last steps of every import: check the tensors, then write a checkpoint whole or not at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mythos.checkpoint import replace_checkpoint, write_weights
from mythos.contract.config import DenseConfig, RecurrentConfig
from mythos.contract.errors import CheckpointError
from mythos.contract.load import parse_config
from mythos.models.build import build_model, count_parameters

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Imported:
    """A checkpoint that was made, and what a person should know about it."""

    path: Path
    model: DenseConfig | RecurrentConfig
    parameters: int
    remarks: list[str]


def check_tensors(found: dict[str, Tensor], wanted: dict[str, list[int]], fault: str) -> None:
    """Raises CheckpointError unless names and shapes are those that are wanted, and all numbers finite in float32."""
    faults = []
    if missing := [name for name in wanted if name not in found]:
        faults.append(f"it lacks {some(missing)}")
    if surplus := [name for name in found if name not in wanted]:
        faults.append(f"it holds {some(surplus)}, which the model does not have")
    shapes = {name: list(tensor.shape) for name, tensor in found.items() if name in wanted}
    if odd := [name for name, shape in shapes.items() if shape != wanted[name]]:
        faults.append(some([f"{name} is {shapes[name]} instead of {wanted[name]}" for name in odd]))
    if faults:
        raise CheckpointError(f"{fault}: {'; '.join(faults)}.", "Name the configuration that belongs to the weights.")
    if bad := [name for name, tensor in found.items() if not _is_finite(tensor)]:
        raise CheckpointError(f"{fault}: {some(bad)} must hold finite numbers.", "Name weights that are whole.")


def _is_finite(tensor: Tensor) -> bool:
    """Whether it holds numbers of a kind that is known, and they stay finite in the precision that they are kept in."""
    if tensor.dtype not in (*DTYPES, torch.float64):
        return False
    kept = tensor.float() if tensor.dtype == torch.float64 else tensor
    return bool(kept.isfinite().all())


def write_import(
    target: Path,
    config: DenseConfig | RecurrentConfig,
    weights: dict[str, Tensor],
    tokenizer: bytes,
    note: str,
    remarks: list[str],
    infer: dict[str, Any] | None = None,
    **facts: Any,
) -> Imported:
    """Make the checkpoint directory `target` of our state dict, in the precision that it has. Raises CheckpointError.

    `infer` are the defaults of generation, `facts` go into the manifest.
    """
    sections = {
        "note": " ".join([note, *remarks]),
        "model": config.model_dump(),
        "train": {"sequence": min(256, config.context)},
        "infer": infer or {},
    }
    model = build_model(config, "meta")
    model.load_state_dict(weights, assign=True)
    dtype, parameters = common_dtype(weights), count_parameters(model)
    facts = {"step": 0, "tokens": 0, "metrics": {}, "family": config.family, "parameters": parameters, **facts}
    facts |= {"saved": time.time(), "dtype": str(dtype).removeprefix("torch.")}
    with replace_checkpoint(target, facts) as directory:
        (directory / "tokenizer.json").write_bytes(tokenizer)
        write_weights(directory, model, parse_config(sections), directory / "tokenizer.json", dtype)
    return Imported(target, config, parameters, remarks)


def common_dtype(weights: dict[str, Tensor]) -> torch.dtype:
    """The precision that all of them have, else float32."""
    found = {tensor.dtype for tensor in weights.values()}
    return found.pop() if len(found) == 1 and found <= set(DTYPES) else torch.float32


def some(names: list[str], most: int = 5) -> str:
    """`a, b, c`; of more than five the first, and how many there are beside."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
