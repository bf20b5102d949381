"""The law of Hoffmann et al. 2022, L(N, D) = E + A·N^−α + B·D^−β, and the best N and D for a budget of C = 6·N·D FLOPs.

N parameters, D training tokens, L loss in nats per token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FLOPS_PER_PARAMETER_AND_TOKEN = 6
"""Two for the forward pass and four for the backward pass (Kaplan et al. 2020)."""


@dataclass(frozen=True)
class Law:
    """`E`, `A` and `B` in nats per token; the exponents are positive."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def __call__(self, n: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Loss at sizes `n` and tokens `d`, which may be arrays that broadcast."""
        return self.E + self.size_term(n) + self.text_term(d)

    def size_term(self, n: np.ndarray | float) -> np.ndarray:
        """What the loss owes to a finite model."""
        return self.A * np.asarray(n, dtype=float) ** -self.alpha

    def text_term(self, d: np.ndarray | float) -> np.ndarray:
        """What the loss owes to finite text."""
        return self.B * np.asarray(d, dtype=float) ** -self.beta

    def optimum(self, flops: float) -> tuple[float, float]:
        """(N, D) of the lowest loss with 6·N·D = `flops`: Hoffmann et al. 2022, equation 4."""
        pairs = flops / FLOPS_PER_PARAMETER_AND_TOKEN
        log_g = math.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta)
        n = math.exp(log_g + self.beta / (self.alpha + self.beta) * math.log(pairs))
        return n, pairs / n


PUBLISHED = {
    "besiroglu": Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
    "hoffmann": Law(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
}
"""Besiroglu et al. 2024 (arXiv 2404.10102), fitted anew to the points of Hoffmann et al. 2022 (arXiv 2203.15556), whose own
optimizer had stopped early and whose exponents are rounded. Both are of one text, one tokenizer and large models."""
