"""Muon (Jordan et al. 2024): a step along the momentum of a matrix, made orthogonal.

As torch.optim.Muon but for two things. The iteration runs in an arithmetic of the caller's choice, since bfloat16, which is
fixed there, takes a hundred times as long as float32 on a processor without it. And a stack of experts [E, out, in] is one
parameter, whose matrices are orthogonalised in one batched product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x³ and x⁵ that are steepest at zero (Jordan et al. 2024): singular values end up in about 0.7 to 1.2."""
ITERATIONS = 5
SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Parameters are matrices [out, in] or stacks of them [E, out, in]; `dtype` is the arithmetic of the iteration.

    Where `found_inf` is set, a step changes nothing if that is not 0, without anyone reading it, as with AdamW's kernel.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, **{key: group[key] for key in ("lr", "weight_decay", "momentum")})
        return loss

    def _update(self, parameter: nn.Parameter, lr: float, weight_decay: float, momentum: float) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp(gradient, 1 - momentum)
        direction = orthogonal(gradient.lerp(mean, momentum).to(self.dtype))  # Nesterov's look ahead
        out, inwards = parameter.shape[-2:]
        rate = lr * max(1, out / inwards) ** 0.5
        self._put(state["momentum_buffer"], mean)
        self._put(parameter, parameter * (1 - lr * weight_decay) - rate * direction.to(parameter.dtype))

    def _put(self, place: Tensor, value: Tensor) -> None:
        place.copy_(value if self.found_inf is None else torch.where(self.found_inf.bool(), place, value))


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly the closest orthogonal matrix to each of [..., m, n], by a quintic Newton-Schulz iteration; [..., m, n]."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).reshape(-1, *sorted(matrices.shape[-2:]))
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=SMALLEST_NORM)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.mT if tall else x
    return x.reshape(matrices.shape)
