"""Configuration → model."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mythos.contract.config import DenseConfig, RecurrentConfig
from mythos.models.block import Block
from mythos.models.dense import DenseModel
from mythos.models.recurrent import RecurrentModel, moe_layers

Model = DenseModel | RecurrentModel


def build_model(config: DenseConfig | RecurrentConfig, device: str | torch.device = "cpu") -> Model:
    """A freshly initialised model on a device; on `meta` it has shapes and no memory."""
    with torch.device(device), NoDraws() if torch.device(device).type == "meta" else nullcontext():
        return DenseModel(config) if isinstance(config, DenseConfig) else RecurrentModel(config)


class NoDraws(TorchFunctionMode):
    """Leaves out drawing random weights, for which torch would load its compiler on `meta`: more than a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What draws in place gives back the tensor as it was."""
        if func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def compile_for_training(model: Model) -> None:
    """Have torch.compile fuse what surrounds the matmuls of one loop and of each block, where gradient is wanted.

    It happens at the first step and takes seconds to minutes; evaluation and generation, whose shapes vary, go on as
    they are.
    """
    looped = model.block if isinstance(model, RecurrentModel) else None
    if isinstance(model, RecurrentModel):
        model.fused_loop = torch.compile(model.one_loop)
        for moe in moe_layers(model):  # shapes depend on the load: a graph would be built anew for every batch
            moe.mix = torch.compiler.disable(moe.mix)
    for block in model.modules():
        if isinstance(block, Block) and block is not looped:
            block.fused = torch.compile(block.compute, dynamic=False)


def count_parameters(model: nn.Module) -> int:
    """Distinct parameters of a model; a tied head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
