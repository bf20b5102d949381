"""Configuration → model."""

from __future__ import annotations

import torch
from torch import nn

from mythos.contract.config import DenseConfig, RecurrentConfig
from mythos.models.block import Block
from mythos.models.dense import DenseModel
from mythos.models.recurrent import RecurrentModel

Model = DenseModel | RecurrentModel


def build_model(config: DenseConfig | RecurrentConfig, device: str | torch.device = "cpu") -> Model:
    """A freshly initialised model on a device; on `meta` it has shapes and no memory."""
    with torch.device(device):
        return DenseModel(config) if isinstance(config, DenseConfig) else RecurrentModel(config)


def compile_for_training(model: Model) -> None:
    """Have torch.compile fuse what surrounds the matmuls of one loop and of each block, where gradient is wanted.

    It happens at the first step and takes seconds to minutes; evaluation and generation, whose shapes vary, go on as
    they are.
    """
    looped = model.block if isinstance(model, RecurrentModel) else None
    if isinstance(model, RecurrentModel):
        model.fused_loop = torch.compile(model.one_loop)
    for block in model.modules():
        if isinstance(block, Block) and block is not looped:
            block.fused = torch.compile(block.compute, dynamic=False)


def count_parameters(model: nn.Module) -> int:
    """Distinct parameters of a model; a tied head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
