"""Fine-grained mixture of experts with shared experts (DeepSeekMoE 2024), dropless token choice.

The router bias shifts which experts are selected, never their gates (Wang et al. 2024, auxiliary-loss-free balancing).
Nothing here updates it: the trainer does, once per optimizer step, from counts that the forward pass returns.

N tokens, D width, E experts, k experts per token, F hidden width of one expert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mythos.contract.config import RecurrentConfig
from mythos.models.cache import expand_to
from mythos.models.experts import mix, tally
from mythos.models.ffn import MLP


def is_free_to_read(x: Tensor) -> bool:
    """Whether the host knows the values of x without waiting for a device: rows may then be picked by them."""
    return x.device.type == "cpu"


@dataclass
class RouterStats:
    """What a router did with N tokens, of which `active` [N] bool count (None: all); worked out when it is asked for.

    `logits` [N, E] carry gradient, `chosen` [N, k] are the experts' numbers. Means over no token at all are 0 or NaN.
    """

    logits: Tensor
    chosen: Tensor
    active: Tensor | None = None

    @cached_property
    def load(self) -> Tensor:
        """[E] int64: choices of active tokens per expert."""
        return tally(self.chosen, self.logits.shape[1], self.active)

    @property
    def mask(self) -> Tensor | None:
        """Which rows of `active_logits` count, [N] bool; None: all of them."""
        return None if self.active is None or is_free_to_read(self.active) else self.active

    @cached_property
    def active_logits(self) -> Tensor:
        """[tokens that count, E]; on a GPU all tokens, under `mask`, since picking rows makes the host wait."""
        return self.logits if self.active is None or self.mask is not None else self.logits[self.active]

    def release(self) -> None:
        """Let go of the graph that the logits came from; what is worked out later stays the same."""
        for name in ("logits", "active_logits"):
            if name in self.__dict__:
                setattr(self, name, self.__dict__[name].detach())

    @property
    def entropy(self) -> Tensor:
        """Mean entropy of the router's distribution, in nats."""
        p = self.active_logits.detach().softmax(-1)
        return self._mean(torch.special.entr(p).sum(-1))

    @property
    def balance_loss(self) -> Tensor:
        """E · Σ (share of choices · mean probability), 1 when even (Switch Transformer 2021, eq. 4)."""
        share = self.load / self.load.sum().clamp(min=1)
        return len(share) * (share * self._mean(self.active_logits.softmax(-1))).sum()

    @property
    def z_loss(self) -> Tensor:
        """Mean squared log of the partition function (ST-MoE 2022, eq. 5)."""
        return self._mean(self.active_logits.logsumexp(-1).square())

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over the tokens that count, of a value per row of `active_logits` [n, …]."""
        if self.mask is None:
            return values.mean(0)
        return torch.where(expand_to(self.mask, values), values, 0).sum(0) / self.mask.sum().clamp(min=1)


class MoE(nn.Module):
    """Shared experts (one fused MLP) plus k of E routed experts per token, gates renormalised to sum to 1."""

    router_bias: Tensor

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.experts, self.k = config.n_experts, config.experts_per_token
        self.activation = config.activation
        hidden = config.expert_width * (2 if config.activation == "swiglu" else 1)
        self.router = nn.Linear(config.width, self.experts, bias=False)
        self.router.weight.requires_grad_(config.router == "learned")
        self.register_buffer("router_bias", torch.zeros(self.experts))
        self.up = nn.Parameter(torch.empty(self.experts, hidden, config.width))
        self.out = nn.Parameter(torch.empty(self.experts, config.width, config.expert_width))
        self.mix: Callable[..., Tensor] = mix  # `compile_for_training` keeps the compiler out of it
        self._cast: tuple[Tensor, Tensor] | None = None
        self.shared = MLP(config.width, config.shared_width, config.activation) if config.shared_width else None

    def forward(self, x: Tensor, active: Tensor | None = None) -> tuple[Tensor, RouterStats]:
        """x [B, T, D]; `active` [B, T] bool are the tokens that count (None: all) → ([B, T, D], statistics)."""
        flat = x.reshape(-1, x.shape[-1])
        gates, chosen, stats = self.route(flat, None if active is None else active.reshape(-1))
        up, out = self._cast or (self.up, self.out)
        y = self.mix(flat, gates, chosen, up, out, self.activation)
        if self.shared is not None:
            y = y + self.shared(flat)[0]
        return y.view_as(x), stats

    def route(self, x: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor, RouterStats]:
        """x [N, D] → gates [N, k], chosen experts [N, k], statistics. In float32 under any autocast."""
        wide = torch.promote_types(x.dtype, torch.float32)
        autocast = torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=False) if autocast else nullcontext():
            logits = F.linear(x.to(wide), self.router.weight.to(wide))
            chosen = (logits.detach() + self.router_bias).topk(self.k, dim=-1).indices
            gates = logits.gather(1, chosen).softmax(dim=-1)  # the probabilities of the chosen, renormalised
        return gates, chosen, RouterStats(logits, chosen, active)

    @contextmanager
    def cast_once(self) -> Iterator[None]:
        """Within it, autocast's copy of the experts' weights is made once instead of at every loop.

        Autocast caches such copies by itself for parameters, but not for the views that a batched matmul takes.
        """
        device = self.up.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            self._cast = self.up.to(dtype), self.out.to(dtype)
        try:
            yield
        finally:
            self._cast = None

    @torch.no_grad()
    def update_bias(self, load: Tensor, rate: float) -> None:
        """One step of sign-rule balancing from counts [E]; the bias stays centred on 0."""
        counts = load.to(self.router_bias)
        self.router_bias += rate * torch.sign(counts.mean() - counts)
        self.router_bias -= self.router_bias.mean()
