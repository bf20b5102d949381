"""What attention and routing did, by hooks on the attention products and mixtures of experts of a model.

T positions, n positions that a row computes (n ≤ T), S positions in view, H heads, R rows: a layer each, a loop each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mythos.models.attention import AttentionProduct
from mythos.models.build import Model
from mythos.models.moe import MoE

QUERIES = 1024
"""Queries whose distributions are held at once."""

_PARTS = {"layers": "layer", "prelude": "prelude", "coda": "coda"}


def attention_probabilities(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """The distributions behind an `AttentionProduct`, in float32 (float64 for float64 input).

    q [B, H, n, d], k [B, K, S, d] with K dividing H, mask [B or 1, 1, n, S] or None → [B, H, n, S].
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    k = k.to(wide).repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = q.to(wide) @ k.transpose(-1, -2) * scale
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1)


def attention_entropy(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """Entropy in nats of what each head of each query attends to, [B, H, n]."""
    if causal and mask is None:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()[None, None]
    parts = []
    for start in range(0, q.shape[2], QUERIES):
        rows = slice(start, start + QUERIES)
        part = None if mask is None else mask[:, :, rows]
        parts.append(torch.special.entr(attention_probabilities(q[:, :, rows], k, part, False, scale)).sum(-1))
    return torch.cat(parts, dim=2)


class Recorder:
    """What the hooks of one pass over one sequence saw, in order of computation.

    `rows` are names: "layer 1"… for dense models, else "prelude 1"…, "loop 1"…, "coda 1"…. `entropies` holds [H, n] for each,
    `routes` and `gates` [n, k] for each loop, experts' numbers and their weights; both are empty without routed experts.
    """

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.entropies: list[np.ndarray] = []
        self.routes: list[np.ndarray] = []
        self.gates: list[np.ndarray] = []
        self._loops = 0

    def attention(self, module_name: str, inputs: tuple[Any, ...]) -> None:
        part, _, rest = module_name.partition(".")
        if part in _PARTS:
            name = f"{_PARTS[part]} {int(rest.partition('.')[0]) + 1}"
        else:
            self._loops += 1
            name = f"loop {self._loops}"
        self.rows.append(name)
        q, k, _, mask, causal, scale = inputs
        self.measure(q, k, mask, causal, scale)

    def measure(self, q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> None:
        """Take down the row that was named last."""
        self.entropies.append(attention_entropy(q, k, mask, causal, scale)[0].float().cpu().numpy())

    def routing(self, module: MoE, inputs: tuple[Any, ...]) -> None:
        """The router is asked again: it is a function of its input alone."""
        x = inputs[0]
        gates, chosen, _ = module.route(x.reshape(-1, x.shape[-1]), None)
        self.routes.append(chosen.cpu().numpy())
        self.gates.append(gates.float().cpu().numpy())


class PatternRecorder(Recorder):
    """The distributions of one head at one row, `pattern` [n, S]; None where no row has this number (from 0)."""

    def __init__(self, row: int, head: int) -> None:
        super().__init__()
        self.row, self.head = row, head
        self.pattern: np.ndarray | None = None

    def measure(self, q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> None:
        if len(self.rows) - 1 == self.row and self.head < q.shape[1]:
            shared = self.head * k.shape[1] // q.shape[1]
            one_q, one_k = q[:, self.head : self.head + 1], k[:, shared : shared + 1]
            self.pattern = attention_probabilities(one_q, one_k, mask, causal, scale)[0, 0].float().cpu().numpy()

    def routing(self, module: MoE, inputs: tuple[Any, ...]) -> None: ...


@contextmanager
def recording(model: Model, recorder: Recorder) -> Iterator[None]:
    """Hooks on every attention product and every mixture of experts, for one pass without gradient; removed after."""
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, AttentionProduct):
            hooks.append(
                module.register_forward_hook(lambda _, inputs, __, name=name: recorder.attention(name, inputs))
            )
        elif isinstance(module, MoE):
            hooks.append(module.register_forward_hook(lambda moe, inputs, _: recorder.routing(moe, inputs)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
