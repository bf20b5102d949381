"""One transformer block: attention and a feed-forward network, with norms before, or before and after (sandwich)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mythos.models import lone
from mythos.models.attention import Memory, ModelConfig, build_attention
from mythos.models.cache import ChunkView
from mythos.models.ffn import MLP
from mythos.models.moe import MoE, RouterStats
from mythos.models.norm import RMSNorm
from mythos.models.rope import Positions


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(self, config: ModelConfig, ffn: MLP | MoE | None = None) -> None:
        super().__init__()
        sandwich = config.norm == "sandwich"
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = build_attention(config)
        self.attention_after: nn.Module = RMSNorm(config.width, config.norm_eps) if sandwich else nn.Identity()
        self.ffn_norm = RMSNorm(config.width, config.norm_eps)
        self.ffn = ffn if ffn is not None else MLP(config.width, config.ffn_width, config.activation)
        self.ffn_after: nn.Module = RMSNorm(config.width, config.norm_eps) if sandwich else nn.Identity()
        self.fused: Callable[..., Any] | None = None
        self.parts = tuple(self.modules())
        self.weight_bytes = sum(parameter.nbytes for parameter in self.parameters())

    def forward(
        self, x: Tensor, positions: Positions, memory: Memory, active: Tensor | None = None
    ) -> tuple[Tensor, RouterStats | None]:
        """x [B, T, D] → ([B, T, D], router statistics if the network routes)."""
        if isinstance(memory, ChunkView) and memory.is_whole and lone.fits(self, x):
            return lone.LoneBlock(self)(x, positions, memory)
        compute = self.fused if self.fused is not None and torch.is_grad_enabled() else self.compute
        return compute(x, positions, memory, active)

    def compute(
        self, x: Tensor, positions: Positions, memory: Memory, active: Tensor | None
    ) -> tuple[Tensor, RouterStats | None]:
        """The same, without looking for a faster way."""
        x = x + self.attention_after(self.attention(self.attention_norm(x), positions, memory))
        y, stats = self.ffn(self.ffn_norm(x), active)
        return x + self.ffn_after(y), stats


def initialise(module: nn.Module, std: float, depth: float) -> None:
    """Normal weights; matrices that write into the residual stream (`out`) are scaled by 1/sqrt(2·depth) (GPT-2, 2019)."""
    for name, parameter in module.named_parameters():
        if parameter.dim() < 2 or parameter.is_meta:
            continue
        writes = name.endswith((".out.weight", "ffn.out"))
        torch.nn.init.normal_(parameter, 0.0, std / (2 * depth) ** 0.5 if writes else std)


def check_length(end: int, context: int) -> None:
    """Raises ValueError where a sequence outgrows the model's context."""
    if end > context:
        raise ValueError(
            f"a sequence of {end} tokens exceeds the model's context of {context}; shorten it, or raise model.context"
        )
