"""Cross-entropy in float32 over logits of any type, without a float32 copy of all of them.

N tokens, V vocabulary. For a large vocabulary the copies that softmax and its gradient make are what costs; here a few rows
at a time go to float32, and their gradient is made in the same breath and kept in the type of the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mythos.data.answers import IGNORED

ROWS = 64
"""Tokens at a time: their logits in float32 stay in the cache of a core."""


def cross_entropy(logits: Tensor, targets: Tensor, asked: Tensor | None = None) -> Tensor:
    """Mean nats per token. logits [B, T, V] predict targets [B, T] at the same positions; those IGNORED do not count.

    The sum is divided by `asked` [] where it is given, else by the number of targets that count; it is 0 where none does.
    """
    rows, wanted = logits.flatten(0, 1), targets.flatten()
    if logits.device.type != "cpu":
        total = F.cross_entropy(rows.float(), wanted, ignore_index=IGNORED, reduction="sum")
        return total / (count_asked(targets).clamp(min=1) if asked is None else asked)
    counted = wanted != IGNORED
    if not bool(counted.all()):
        rows, wanted = rows[counted], wanted[counted]
    tokens = max(1, len(wanted)) if asked is None else asked
    if logits.requires_grad:
        return _InRows.apply(rows, wanted, tokens)
    return F.cross_entropy(rows.float(), wanted, reduction="sum") / tokens


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats of each token, [B, T]; 0 where a target is IGNORED."""
    losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none", ignore_index=IGNORED)
    return losses.view(targets.shape)


def mean_asked(values: Tensor, targets: Tensor, asked: Tensor | None = None) -> Tensor:
    """Mean of values [B, T] over the tokens whose targets are not IGNORED, with the divisor of `cross_entropy`."""
    total = torch.where(targets != IGNORED, values, 0).sum()
    return total / (count_asked(targets).clamp(min=1) if asked is None else asked)


def count_asked(targets: Tensor) -> Tensor:
    """How many targets are not IGNORED, int64 []."""
    return (targets != IGNORED).sum()


class _InRows(torch.autograd.Function):
    """logits [N, V], targets [N] → sum of losses / tokens; its gradient, softmax − one-hot, is ready at once."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, tokens: Tensor | int) -> Tensor:
        gradient = torch.empty_like(logits)
        total = torch.zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
        for start in range(0, len(targets), ROWS):
            at = targets[start : start + ROWS, None]
            log_p = logits[start : start + ROWS].to(total.dtype).log_softmax(-1)
            total -= log_p.gather(1, at).sum()
            p = log_p.exp_()
            p.scatter_add_(1, at, p.new_full((len(at), 1), -1.0))
            gradient[start : start + ROWS] = p.div_(tokens)
        ctx.save_for_backward(gradient)
        return total / tokens

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient if float(outer) == 1 else gradient * outer.to(gradient.dtype), None, None
