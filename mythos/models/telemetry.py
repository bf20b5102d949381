"""What a forward pass returns beside its logits. Nothing is left lying on modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from mythos.models.moe import RouterStats


@dataclass
class Telemetry:
    """Facts of one forward pass.

    `loops` [B, T] int64 executed per token. `signals` [B, T, L] are the exit rule's numbers, NaN where a token had
    stopped (None when no rule looked). `halt_p` [B, T, L] are ACT's per-loop halting probabilities or the gate's, likewise;
    tokens that run on after halting have them too. `gate_logits` [B, T, L] are the gate's at the executed loops and
    `ponder_cost` [B, T] is N + R of Graves, both differentiable. `expert_load` [E] counts, over all loops. `norms`
    [L] is the RMS of the state after each loop, over tokens that ran it, and `rho` [] is ρ(A). `block_evaluations` counts
    token × loop evaluations of the looped block. Only who asks for `state_norm` or `rho_a` waits for the device.
    """

    loops: Tensor
    signals: Tensor | None = None
    halt_p: Tensor | None = None
    gate_logits: Tensor | None = None
    ponder_cost: Tensor | None = None
    norms: Tensor | None = None
    rho: Tensor | None = None
    block_evaluations: int = 0
    routers: list[RouterStats] = field(default_factory=list)

    @property
    def state_norm(self) -> list[float]:
        return [] if self.norms is None else list(self.norms.tolist())

    @property
    def rho_a(self) -> float | None:
        return None if self.rho is None else float(self.rho)

    def release(self) -> None:
        """Let go of the graph once the backward pass is over; else it lives as long as whoever reads the numbers."""
        self.signals = self.gate_logits = self.ponder_cost = None
        for router in self.routers:
            router.release()

    @cached_property
    def expert_load(self) -> Tensor | None:
        """[E] int64 counts over all loops, or None without routed experts."""
        return torch.stack([router.load for router in self.routers]).sum(0) if self.routers else None

    def router_mean(self, name: str) -> Tensor | None:
        """Mean over loops of `entropy`, `balance_loss` or `z_loss`; loops that no token ran say nothing."""
        asked = self._asked()
        if not asked:
            return None
        values = torch.stack([getattr(router, name) for router in asked])
        if not _masked(asked):
            return values.mean()
        some = torch.ones_like(values[0], dtype=torch.bool)
        said = torch.stack([some if router.mask is None else router.mask.any() for router in asked])
        return torch.where(said, values, 0).sum() / said.sum().clamp(min=1)

    @property
    def router_entropy(self) -> Tensor | None:
        """`router_mean("entropy")`, worked out for all loops at once: it is asked for at every logged step."""
        asked = self._asked()
        if len(asked) < 2:
            return asked[0].entropy if asked else None
        if _masked(asked):
            return self.router_mean("entropy")
        logits = [router.active_logits.detach().T for router in asked]
        log_p = torch.cat(logits, 1).log_softmax(0)  # along the first axis: experts are few, tokens are many
        p, tokens = log_p.exp(), [loop.shape[1] for loop in logits]
        if len({*tokens}) == 1:
            return -p.flatten().dot(log_p.flatten()) / p.shape[1]
        of_loops = p.mul_(log_p).sum(0).split(tokens)
        return -torch.stack([loop.mean() for loop in of_loops]).mean()

    def _asked(self) -> list[RouterStats]:
        """Routers of loops that some token ran, as far as that is known without waiting for the device."""
        return [r for r in self.routers if r.active is None or r.mask is not None or bool(r.active.any())]


def _masked(routers: list[RouterStats]) -> bool:
    return any(router.mask is not None for router in routers)


@dataclass
class Output:
    """`logits` [B, T, V] and the telemetry of the pass."""

    logits: Tensor
    telemetry: Telemetry
