"""The logit lens: what a model would say after each step, if this token stopped there (nostalgebraist 2020).

A recurrent model is read through Coda and head, as its exit rules do: the token itself at this loop, those before it at
the loop at which they stopped. A dense model is read through its last norm and head after each layer. At the step where a
token stopped the lens is the model's own prediction.

T positions, N steps, D width, V vocabulary, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mythos.infer.engine import Cancelled, never
from mythos.inspect.passes import Steps
from mythos.models.build import Model
from mythos.models.cache import Causal, Entries, within_window
from mythos.models.recurrent import RecurrentModel
from mythos.models.rope import Positions

LOGITS = 1 << 23
"""Logits, and attention scores, that are held at once."""


class Lens(NamedTuple):
    """Arrays of the lens. Where a token had stopped: −1 for whole numbers, NaN for others."""

    ids: np.ndarray
    """[T, N, K] int64: likeliest next tokens, first the likeliest."""
    p: np.ndarray
    """[T, N, K] float32: their probabilities."""
    entropy: np.ndarray
    """[T, N] float32, nats."""
    kl: np.ndarray
    """[T, N] float32, nats: KL(final ‖ here), what is lost by reading out here."""
    next_p: np.ndarray
    """[T, N] float32: probability of the token that came next; NaN for the last token."""
    next_rank: np.ndarray
    """[T, N] int64: its rank, from 1; −1 for the last token."""
    settled: np.ndarray
    """[T] int64: the step, from 1, from which on the likeliest token no longer changed."""


class AsTheyStopped:
    """Memory of a Coda layer: each position sees the entries that those before it left when they stopped, and its own.

    With a `window` (0: none) it sees that many in all.
    """

    def __init__(self, past: Entries, window: int) -> None:
        self.past, self.window = past, window

    def write(self, entries: Entries) -> tuple[Entries, Tensor | None, bool]:
        """entries [n, T, …] of n steps → those in view, [n, 2T, …], and the mask [1, 1, T, 2T]."""
        length, device = entries[0].shape[1], entries[0].device
        before = torch.ones(length, length, dtype=torch.bool, device=device).tril(-1)
        before = before.triu(1 - self.window) if self.window else before
        mask = torch.cat((before, torch.eye(length, dtype=torch.bool, device=device)), dim=1)[None, None]
        both = [torch.cat((old.expand_as(new), new), dim=1) for old, new in zip(self.past, entries, strict=True)]
        return tuple(both), mask, False


def read_steps(model: Model, steps: Steps, took: Tensor) -> Tensor:
    """What the head gets after each step, [N, T, D], normed. A token took `took` [T] steps; from there it is the model's own."""
    assert steps.final is not None
    states = [
        torch.where((took <= number).unsqueeze(-1), steps.final, read.to(steps.final.dtype))
        for number, read in enumerate(steps.read, 1)
    ]
    x = torch.stack(states)
    return model.norm(_coda(model, x, steps.final) if isinstance(model, RecurrentModel) else x)


def _coda(model: RecurrentModel, x: Tensor, final: Tensor) -> Tensor:
    """x [N, T, D] through the Coda, as many steps at once as memory allows."""
    length, window = x.shape[1], model.config.attention_window
    positions = Positions(torch.arange(length, device=x.device), length)
    past: list[Entries] = []
    y = final[None]
    for block in model.coda:
        memory = Causal(within_window(y, window))
        y, _ = block(y, positions, memory)
        assert memory.entries is not None
        past.append(memory.entries)
    at_once = max(1, LOGITS // (2 * length * length * model.config.n_heads))
    parts = []
    for part in x.split(at_once):
        for block, entries in zip(model.coda, past, strict=True):
            part, _ = block(part, positions, AsTheyStopped(entries, window))
        parts.append(part)
    return torch.cat(parts)


def head_of(model: Model) -> Tensor:
    """[V, D]"""
    return model.embedding.weight if model.head is None else model.head.weight


def look(
    model: Model, steps: Steps, ids: Tensor, took: Tensor, top: int, should_stop: Callable[[], bool] = never
) -> Lens:
    """The lens over a watched pass of ids [T] that took `took` [T] steps, with the `top` likeliest. Raises Cancelled."""
    x, weight = read_steps(model, steps, took), head_of(model)
    following = torch.roll(ids, -1)  # what the last token then gets is taken out below
    block = max(1, LOGITS // (len(x) * len(weight)))
    parts = []
    for start in range(0, x.shape[1], block):
        if should_stop():
            raise Cancelled
        rows = slice(start, start + block)
        parts.append(_measure(F.linear(x[:, rows], weight), following[rows], min(top, len(weight))))
    arrays = {name: torch.cat([part[name] for part in parts], dim=1).transpose(0, 1) for name in parts[0]}
    ran = (torch.arange(len(x), device=took.device) < took[:, None]).cpu()
    found = {name: _where(ran, values.cpu()) for name, values in arrays.items()}
    found["next_p"][-1], found["next_rank"][-1] = np.nan, -1
    return Lens(**found, settled=settled(found["ids"][..., 0], ran.sum(1).numpy()))


def _measure(logits: Tensor, following: Tensor, top: int) -> dict[str, Tensor]:
    """logits [N, n, V], following [n] → [N, n, …] of everything that the lens tells; the last step is the final one."""
    log_p = logits.float().log_softmax(-1)
    p = log_p.exp()
    best = p.topk(top, dim=-1)
    came = log_p.gather(-1, following.expand(len(log_p), -1)[..., None])
    return {
        "ids": best.indices,
        "p": best.values,
        "entropy": -(p * log_p).sum(-1),
        "kl": (p[-1] * (log_p[-1] - log_p)).sum(-1).clamp(min=0),
        "next_p": came[..., 0].exp(),
        "next_rank": (log_p > came).sum(-1) + 1,
    }


def _where(ran: Tensor, values: Tensor) -> Any:
    none = torch.nan if values.is_floating_point() else -1
    return torch.where(ran.reshape(ran.shape + (1,) * (values.dim() - 2)), values, none).numpy()


def settled(best: np.ndarray, ran: np.ndarray) -> np.ndarray:
    """best [T, N] likeliest tokens, ran [T] steps → [T]: the first step, from 1, from which the likeliest stays."""
    number = np.arange(1, best.shape[1] + 1)
    last = np.take_along_axis(best, ran[:, None] - 1, axis=1)
    differs = (best != last) & (number <= ran[:, None])
    return np.where(differs, number, 0).max(axis=1) + 1
