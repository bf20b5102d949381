"""Which run to add: the one that would narrow an exponent most, judged by the law as it is fitted now.

Gauss-Newton: a run at (N, D) adds g·gᵀ / σ² to the information about θ, g being the derivative of log L there (c-optimal
design; Chaloner & Verdinelli 1995). A weak prior keeps finite what the points say nothing about. P points, G proposals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mythos.scaling.huber import ALPHA, Data, predict

NEEDED = 3
"""Sizes that α needs, and token counts that β needs."""
SAME = 0.01
"""Logarithms closer than this are one size, or one token count."""
REACH = 4.0
"""How far beyond the present sizes and token counts a proposal goes, as a factor."""
NOISE = 0.01
"""σ: how far log L of a run lies off the law by chance."""
PRIOR = np.diag(1 / np.array([3.0, 3.0, 3.0, 1.0, 1.0]) ** 2)
"""Information about θ before any run."""


@dataclass(frozen=True)
class Run:
    """A proposal: `n` parameters, `d` tokens."""

    n: float
    d: float


def distinct(logs: np.ndarray) -> np.ndarray:
    """Logarithms with those of one size taken once, ascending."""
    ordered = np.sort(logs)
    return ordered[np.concatenate(([True], np.diff(ordered) > SAME))]


def runs_to_add(index: int, theta: np.ndarray, data: Data) -> tuple[Run, ...]:
    """Runs that identify θ's place `index` (α or β): as many as its sizes or token counts fall short of three, or one."""
    theta = np.array([*theta[:3], *np.clip(theta[3:], 0.2, 0.6)])  # a law at a bound tells little about other runs
    runs: list[Run] = []
    while True:
        found = distinct(data.n if index == ALPHA else data.d)
        proposals = _proposals(data, index if len(found) < NEEDED else None)
        best = int(np.argmin(_variances(index, theta, data, proposals)))
        data = data.join(proposals, best)
        runs.append(
            Run(*(float(f"{np.exp(x):.2g}") for x in (data.n[-1] + data.center[0], data.d[-1] + data.center[1])))
        )
        if len(found) + 1 >= NEEDED:
            return tuple(runs)


def _proposals(data: Data, new: int | None) -> Data:
    """A grid from the least to REACH times the greatest N and D, away from the present ones of what must be `new`.

    Nothing smaller: cheap runs would narrow the fit most, by what a law is least true of.
    """
    axes = [np.linspace(x.min(), x.max() + np.log(REACH), 9) for x in (data.n, data.d)]
    if new is not None:
        old = distinct(data.n if new == ALPHA else data.d)
        axis = axes[new != ALPHA]
        axes[new != ALPHA] = axis[np.abs(axis[:, None] - old).min(axis=1) > np.log(2)]
    n, d = (grid.ravel() for grid in np.meshgrid(*axes))
    return Data(n, d, np.zeros_like(n), data.center)


def _variances(index: int, theta: np.ndarray, data: Data, proposals: Data) -> np.ndarray:
    """Variance of θ's place `index` with each of the proposals added, [G]."""
    here, there = predict(theta, data)[1], predict(theta, proposals)[1].T
    information = PRIOR + here @ here.T / NOISE**2 + there[:, :, None] * there[:, None, :] / NOISE**2
    return np.linalg.inv(information)[:, index, index]
