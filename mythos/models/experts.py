"""The experts' arithmetic: y = Σⱼ gateⱼ · out[eⱼ] · act(up[eⱼ] · x), by three backends that compute the same.

- `gathered`: a few tokens without gradient (decode). Their experts' weights side by side, one batched matmul.
- `padded`: tokens sorted by expert into E equal bins, one batched matmul. For even loads, and for what `grouped` cannot do.
- `grouped`: tokens sorted by expert, torch's grouped matmul. Little padding, so any skew costs the same.

Every (token, choice) pair has one row, so moving rows to experts and back is a permutation: one gather each way, and
its gradient is a gather too, never a scatter-add.

A CPU generates a kernel for every new shape of a bfloat16 matmul, which takes longer than the matmul: there, bins and groups
are whole multiples of `GRAIN` rows, so that shapes come again from step to step.

N tokens, D width, E experts, k experts per token, F hidden width of one expert, R rows, those of nobody included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mythos.models.ffn import activate

GATHER_UP_TO = 4
"""Most tokens for which gathering each token's expert weights beats sorting tokens by expert."""
GRAIN = 64
"""Rows that come and go together in bfloat16 on a CPU."""
MOST_PADDING = {torch.bfloat16: 2.0}
"""Rows of the bins against rows that are needed, beyond which the grouped matmul takes over; 1.2 where nothing is said."""


class Layout(NamedTuple):
    """Where rows lie: `slot` [N·k] is the row of every (token, choice) pair, `pair` [R] the pair of every row.

    A row of nobody has the pair N·k. `ends` [E] is the row after each expert's last.
    """

    slot: Tensor
    pair: Tensor
    ends: Tensor


def mix(
    x: Tensor, gates: Tensor, chosen: Tensor, up: Tensor, out: Tensor, activation: str, backend: str = "auto"
) -> Tensor:
    """x [N, D], gates and chosen [N, k], up [E, F or 2F, D], out [E, D, F] → [N, D].

    `backend` is for tests and benchmarks; `auto` chooses by shape and device.
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, up, out = x.to(dtype), up.to(dtype), out.to(dtype)
    gates = gates.to(x.dtype)
    if backend == "gathered" or (backend == "auto" and _is_small(x, up)):
        return _gathered(x, gates, chosen, up, out, activation)
    counts = tally(chosen, up.shape[0])
    grain = GRAIN if x.device.type == "cpu" and x.dtype == torch.bfloat16 else 1
    bin_size = -(-int(counts.max()) // grain) * grain if backend == "padded" or x.device.type == "cpu" else 0
    if backend == "auto":
        skewed = not bin_size or bin_size * len(counts) > MOST_PADDING.get(x.dtype, 1.2) * chosen.numel()
        backend = "grouped" if skewed and _can_group(x, out) else "padded"
    if backend == "grouped":
        return _grouped(
            x,
            gates,
            _lay_out(chosen, counts, counts if grain == 1 else (counts + grain - 1) // grain * grain),
            up,
            out,
            activation,
        )
    bins = torch.full_like(counts, bin_size or int(counts.max()))
    return _padded(x, gates, _lay_out(chosen, counts, bins), up, out, activation)


def tally(chosen: Tensor, experts: int, active: Tensor | None = None) -> Tensor:
    """How often each expert is chosen [N, k] by the `active` tokens [N] bool (None: all), int64 [E].

    torch.bincount on CUDA has the host wait for the largest number.
    """
    ones = torch.ones_like(chosen) if active is None else active.to(chosen.dtype).unsqueeze(1).expand_as(chosen)
    return chosen.new_zeros(experts).scatter_add_(0, chosen.reshape(-1), ones.reshape(-1))


def _is_small(x: Tensor, up: Tensor) -> bool:
    return x.shape[0] <= GATHER_UP_TO and not (torch.is_grad_enabled() and (x.requires_grad or up.requires_grad))


def _can_group(x: Tensor, out: Tensor) -> bool:
    """torch's grouped matmul wants rows of whole 16 bytes and knows no float64."""
    whole = all(width * x.element_size() % 16 == 0 for width in (x.shape[1], out.shape[2]))
    return x.dtype in (torch.float32, torch.bfloat16) and whole


def _lay_out(chosen: Tensor, counts: Tensor, rows: Tensor) -> Layout:
    """Pairs sorted by expert, of which expert e has counts[e] and owns rows[e] ≥ counts[e] rows."""
    flat = chosen.reshape(-1)
    order = flat.argsort(stable=True)
    ends = rows.cumsum(0)
    shift = (ends - rows) - (counts.cumsum(0) - counts)  # how far the rows of nobody before an expert push it
    row = torch.arange(flat.numel(), device=flat.device) + shift[flat[order]]
    slot = torch.empty_like(order).index_copy_(0, order, row)
    if rows is counts:
        return Layout(slot, order, ends)
    total = int(ends[-1])
    return Layout(slot, order.new_full((total,), flat.numel()).index_copy_(0, row, order), ends)


def _gather_sum(rows: Tensor, slot: Tensor, gates: Tensor | None = None) -> Tensor:
    """rows [R, D], slot [N, k] → Σⱼ gateⱼ · row of slotⱼ, [N, D], in one pass and added up in float32."""
    return F.embedding_bag(slot, rows, mode="sum", per_sample_weights=gates)


class _ToExperts(torch.autograd.Function):
    """x [N, D] → [R, D]: each pair's token at its row. Rows of nobody hold some token; nobody looks at them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, layout: Layout) -> Tensor:
        ctx.slot = layout.slot.view(-1, k)
        return x.index_select(0, (layout.pair // k).clamp_(max=len(x) - 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _gather_sum(gradient.contiguous(), ctx.slot), None, None


class _FromExperts(torch.autograd.Function):
    """done [R, D], gates [N, k] → Σ gate · row of each token, [N, D]. Rows of nobody get a gradient of zero."""

    @staticmethod
    def forward(ctx: Any, done: Tensor, gates: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        ctx.save_for_backward(done, gates)
        return _gather_sum(done, layout.slot.view_as(gates), gates)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        done, gates = ctx.saved_tensors
        share = torch.cat((gates.reshape(-1), gates.new_zeros(1))).index_select(0, ctx.layout.pair)
        token = (ctx.layout.pair // gates.shape[1]).clamp_(max=len(gates) - 1)
        there = gradient.index_select(0, token)
        for_gates = (done * there).sum(-1).index_select(0, ctx.layout.slot)
        return there.mul_(share.unsqueeze(1)), for_gates.view_as(gates), None


def _padded(x: Tensor, gates: Tensor, layout: Layout, up: Tensor, out: Tensor, activation: str) -> Tensor:
    rows = _ToExperts.apply(x, gates.shape[1], layout).view(up.shape[0], -1, x.shape[1])
    hidden = activate(torch.bmm(rows, up.transpose(1, 2)), activation)
    return _FromExperts.apply(torch.bmm(hidden, out.transpose(1, 2)).flatten(0, 1), gates, layout)


def _grouped(x: Tensor, gates: Tensor, layout: Layout, up: Tensor, out: Tensor, activation: str) -> Tensor:
    rows = _ToExperts.apply(x, gates.shape[1], layout)
    ends = layout.ends.to(torch.int32)
    hidden = activate(F.grouped_mm(rows, up.transpose(1, 2), offs=ends), activation)
    return _FromExperts.apply(F.grouped_mm(hidden, out.transpose(1, 2), offs=ends), gates, layout)


def _gathered(x: Tensor, gates: Tensor, chosen: Tensor, up: Tensor, out: Tensor, activation: str) -> Tensor:
    if x.device.type == "cpu":
        return _one_by_one(x, gates, chosen, up, out, activation)
    tokens, k = chosen.shape
    experts = chosen.reshape(-1)
    rows = x.unsqueeze(1).expand(-1, k, -1).reshape(tokens * k, -1, 1)
    hidden = activate(torch.bmm(up[experts], rows).squeeze(-1), activation).unsqueeze(-1)
    y = torch.bmm(out[experts], hidden).view(tokens, k, -1)
    return torch.bmm(gates.unsqueeze(1), y).squeeze(1)


def _one_by_one(x: Tensor, gates: Tensor, chosen: Tensor, up: Tensor, out: Tensor, activation: str) -> Tensor:
    """Where the host knows the choice at no cost, the weights are used where they lie instead of being copied together."""
    pairs = [(token, expert) for token, row in enumerate(chosen.tolist()) for expert in row]
    hidden = torch.stack([torch.mv(up[expert], x[token]) for token, expert in pairs])
    hidden = activate(hidden, activation) * gates.reshape(-1, 1)
    done = [torch.mv(out[expert], row) for (_, expert), row in zip(pairs, hidden.unbind(0), strict=True)]
    return torch.stack(done).view(*chosen.shape, -1).sum(1)
