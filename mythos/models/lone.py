"""One token of one sequence on a CPU: decoding, where calls cost more than arithmetic.

The same functions as `Block` and `RecurrentModel.one_loop` in vectors [D] instead of [1, 1, D], with as few operations as it
takes: a norm is a product and one pass, a rotation a matmul, weights are looked up once per pass and lie where they are.
Taken only where nobody could tell: no gradient, no autocast, one dtype, no hooks on what is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mythos.models.attention import GQA
from mythos.models.cache import ChunkView
from mythos.models.ffn import MLP, activate
from mythos.models.moe import MoE, RouterStats
from mythos.models.norm import RMSNorm
from mythos.models.rope import Positions

if TYPE_CHECKING:
    from mythos.models.block import Block
    from mythos.models.recurrent import RecurrentModel

FEW_WEIGHTS = 8 << 20
"""Bytes of a block's weights up to which a second thread is woken for longer than it helps."""


def fits(block: Block, x: Tensor) -> bool:
    """Whether a `LoneBlock` may stand in for the block at x [B, T, D]."""
    return (
        x.numel() == x.shape[-1]
        and x.device.type == "cpu"
        and x.dtype is block.attention_norm.weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not any(part._forward_hooks or part._forward_pre_hooks for part in block.parts)
    )


@contextmanager
def few_threads(block: Block, ids: Tensor) -> Iterator[None]:
    """Within it, one thread computes where ids [B, T] are a single token and the block is small."""
    threads = torch.get_num_threads()
    if threads == 1 or ids.numel() != 1 or ids.device.type != "cpu" or block.weight_bytes > FEW_WEIGHTS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class LoneLoop:
    """One loop of a model for the token with the injection e [1, 1, D]; good for one pass. `a` is the injection's A [D]."""

    def __init__(self, model: RecurrentModel, e: Tensor, a: Tensor | None) -> None:
        self.model, self.block, self.e, self.a = model, LoneBlock(model.block), e.view(-1), a
        self.weight = model.loop_norm.weight
        self.injected = model.injection.B * self.e if model.injection is not None else None

    def __call__(
        self, h: Tensor, loop: int, positions: Positions, memory: ChunkView
    ) -> tuple[Tensor, RouterStats | None]:
        """Loop number `loop` (0-based) for the state h [1, 1, D] → (next h, router statistics)."""
        shape, h = h.shape, h.view(-1)
        entering = h + self.model.loop_code(loop, h) if self.model.config.loop_index_embedding else h
        x, stats = self.block.run(self.block.norm(entering + self.e, self.weight), positions, memory)
        if self.model.lora is not None:
            x = self.model.lora(x, loop)
        if self.injected is not None and self.a is not None:
            x = torch.addcmul(x.add_(self.injected), self.a, h)
        return x.view(shape), stats


class LoneBlock:
    """Call it as the block that it was made of; good for one pass."""

    def __init__(self, block: Block) -> None:
        norm = block.attention_norm
        assert isinstance(norm, RMSNorm)
        self.eps, self.nought = norm.eps, norm.nought(norm.weight)
        self.attention, self.gqa = block.attention, isinstance(block.attention, GQA)
        if isinstance(block.attention, GQA):
            self.qkv, self.out, self.rope = block.attention.qkv.weight, block.attention.out.weight, block.attention.rope
            self.heads, self.kv_heads, self.dim = block.attention.heads, block.attention.kv_heads, block.attention.dim
        self.before_attention, self.before_ffn = norm.weight, block.ffn_norm.weight
        self.after_attention, self.after_ffn = _weight(block.attention_after), _weight(block.ffn_after)
        self.moe = block.ffn if isinstance(block.ffn, MoE) else None
        mlp = self.moe.shared if self.moe is not None else block.ffn
        self.mlp = (mlp.up.weight, mlp.out.weight, mlp.activation) if isinstance(mlp, MLP) else None
        if self.moe is not None:
            self.router, self.bias = self.moe.router.weight, self.moe.router_bias
            self.up, self.down = self.moe.up, self.moe.out

    def __call__(self, x: Tensor, positions: Positions, memory: ChunkView) -> tuple[Tensor, RouterStats | None]:
        """x [1, 1, D] → ([1, 1, D], router statistics if the network routes)."""
        y, stats = self.run(x.view(-1), positions, memory)
        return y.view(x.shape), stats

    def run(self, x: Tensor, positions: Positions, memory: ChunkView) -> tuple[Tensor, RouterStats | None]:
        """The same for x [D] → [D], a tensor of its own."""
        y = self._attend(self.norm(x, self.before_attention), positions, memory)
        x = x + (y if self.after_attention is None else self.norm(y, self.after_attention))
        n = self.norm(x, self.before_ffn)
        dense = self._mlp(n)
        done, stats = (dense, None) if self.moe is None else self._mix(n, dense)
        assert done is not None
        return x.add_(done if self.after_ffn is None else self.norm(done, self.after_ffn)), stats

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm of x [D]."""
        return torch.addcmul(self.nought, x, weight, value=(x.dot(x).item() / len(x) + self.eps) ** -0.5)

    def _attend(self, x: Tensor, positions: Positions, memory: ChunkView) -> Tensor:
        if not self.gqa:
            return self.attention(x.view(1, 1, -1), positions, memory).view(-1)
        queries, entries = self.heads, self.heads + self.kv_heads
        heads = torch.mv(self.qkv, x).view(-1, self.dim)
        turned = torch.mm(heads[:entries], self.rope.rotation(positions, heads.dtype))
        k, v = memory.append((turned[queries:], heads[entries:]))
        q = turned[:queries].view(1, self.kv_heads, -1, self.dim)
        y = F.scaled_dot_product_attention(q, k.transpose(0, 1)[None], v.transpose(0, 1)[None])
        return torch.mv(self.out, y.reshape(-1))

    def _mlp(self, x: Tensor) -> Tensor | None:
        if self.mlp is None:
            return None
        up, out, activation = self.mlp
        return torch.mv(out, activate(torch.mv(up, x), activation))

    def _mix(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, RouterStats]:
        """Adds the chosen experts' share to the shared expert's."""
        assert self.moe is not None
        logits = torch.mv(self.router, x)
        chosen = (logits + self.bias).topk(self.moe.k).indices
        gates = logits.gather(0, chosen).softmax(0)
        y = torch.zeros_like(x) if y is None else y
        for expert, gate in zip(chosen.tolist(), gates.tolist(), strict=True):
            y.addmv_(self.down[expert], activate(torch.mv(self.up[expert], x), self.moe.activation), alpha=gate)
        return y, RouterStats(logits[None], chosen[None])


def _weight(norm: nn.Module) -> Tensor | None:
    return norm.weight if isinstance(norm, RMSNorm) else None
