"""Fit of the law: Huber loss on log L, L-BFGS from a grid of starts (Hoffmann et al. 2022, section 3.3).

    min over (a, b, e, α, β) of Σ Huber_δ( LSE(a − α·log N, b − β·log D, e) − log L ),  A = exp a, B = exp b, E = exp e

The sum, not the mean, in units of δ², so that the optimizer's tolerances do not end it early (Besiroglu et al. 2024).
P points, S starts; θ = (a, b, e, α, β) with log N and log D counted from their means, which separates a from α and b from β.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mythos.scaling.law import Law

DELTA = 1e-3
"""Residuals of log L beyond this count linearly."""
EXPONENTS = (0.01, 3.0)
"""Bounds of α and β."""
SMALLEST = 1e-4
"""Least E, A·N^−α and B·D^−β (at the mean of log N and log D), as a share of the lowest loss."""
BEST = 6
"""Starts of the grid that are followed to their minimum."""
REFIT_STEPS = 300
"""Steps of a refit."""
SIZE, TEXT, FLOOR, ALPHA, BETA = range(5)
"""Places of a, b, e, α and β in θ."""


@dataclass(frozen=True)
class Data:
    """Points as logarithms, [P] each, log N and log D counted from `center`."""

    n: np.ndarray
    d: np.ndarray
    loss: np.ndarray
    center: tuple[float, float]

    @classmethod
    def of(cls, n: np.ndarray, d: np.ndarray, loss: np.ndarray) -> Data:
        log_n, log_d = np.log(n), np.log(d)
        center = float(log_n.mean()), float(log_d.mean())
        return cls(log_n - center[0], log_d - center[1], np.log(loss), center)

    def join(self, other: Data, row: int) -> Data:
        """With one point of another set that is counted from the same center."""
        mine, theirs = (self.n, self.d, self.loss), (other.n, other.d, other.loss)
        n, d, loss = (np.append(x, y[row]) for x, y in zip(mine, theirs, strict=True))
        return Data(n, d, loss, self.center)

    def law(self, theta: np.ndarray) -> Law:
        """θ in the units of people."""
        a, b, e, alpha, beta = theta
        size, text = a + alpha * self.center[0], b + beta * self.center[1]
        return Law(float(np.exp(e)), float(np.exp(size)), float(np.exp(text)), float(alpha), float(beta))


def predict(theta: np.ndarray, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """(log L [..., P], its derivative by θ [..., 5, P]) of θ [..., 5]. The derivative by a, b or e is that term's share of L."""
    a, b, e, alpha, beta = np.moveaxis(theta, -1, 0)[..., None]
    terms = np.stack(np.broadcast_arrays(a - alpha * data.n, b - beta * data.d, e), axis=-2)
    top = terms.max(axis=-2)
    powers = np.exp(terms - top[..., None, :])
    total = powers.sum(axis=-2)
    shares = powers / total[..., None, :]
    slopes = np.concatenate((shares, -shares[..., :1, :] * data.n, -shares[..., 1:2, :] * data.d), axis=-2)
    return top + np.log(total), slopes


def objective(theta: np.ndarray, data: Data) -> tuple[float, np.ndarray]:
    """(Huber loss in units of δ², its gradient [5])."""
    fitted, slopes = predict(theta, data)
    residual = (fitted - data.loss) / DELTA
    clipped = np.clip(residual, -1, 1)
    return float((clipped * (residual - clipped / 2)).sum()), slopes @ clipped / DELTA


def minimize(data: Data, starts: np.ndarray) -> np.ndarray:
    """Where L-BFGS ends from each of `starts` [S, 5], best first."""
    from scipy.optimize import minimize as search

    limits, stop = bounds(data), {"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-6, "maxcor": 20}
    found = [search(objective, x, (data,), "L-BFGS-B", jac=True, bounds=limits, options=stop) for x in starts]
    return np.stack([one.x for one in sorted(found, key=lambda one: one.fun)])


def refit(theta: np.ndarray, data: Data, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(θ [R, 5], Huber loss [R]) where the minimum moves from `theta` [R, 5] when points count `times` [R, P]; all R at once.

    Each step minimises the parabola that lies on the Huber loss from above (Huber & Ronchetti 2009, section 7.8), damped as
    Levenberg and Marquardt do; a step that does not help is dropped.
    """
    low, high = np.array(bounds(data)).T
    theta, damping = theta.copy(), np.full((len(theta), 1, 1), 1e-3)
    value, slope, curvature = _parabola(theta, data, times)
    for _ in range(REFIT_STEPS):
        diagonal = np.eye(5) * (np.einsum("rii->ri", curvature)[:, None] * damping + 1e-9)
        moved = np.clip(theta - np.linalg.solve(curvature + diagonal, slope[..., None])[..., 0], low, high)
        found = _parabola(moved, data, times)
        better = found[0] < value
        damping *= np.where(better, 0.3, 4.0)[:, None, None]
        for old, new in ((theta, moved), (value, found[0]), (slope, found[1]), (curvature, found[2])):
            old[better] = new[better]
    return theta, value


def _parabola(theta: np.ndarray, data: Data, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Huber loss [R], its gradient [R, 5], curvature [R, 5, 5] of a parabola from above) in units of δ²."""
    fitted, slopes = predict(theta, data)
    residual = (fitted - data.loss) / DELTA
    size = np.maximum(np.abs(residual), 1)
    weights = times / size
    value = (times * np.where(size > 1, size - 0.5, np.square(residual) / 2)).sum(axis=-1)
    scaled = slopes / DELTA
    return (
        value,
        (scaled @ (weights * residual)[..., None])[..., 0],
        (scaled * weights[:, None]) @ scaled.swapaxes(1, 2),
    )


def bounds(data: Data) -> list[tuple[float, float]]:
    """Lower and upper bound of each of θ. E is at most the lowest loss; neither term is more than all of the highest."""
    least, most = data.loss.min() + np.log(SMALLEST), data.loss.max()
    return [(least, most), (least, most), (least, float(data.loss.min())), EXPONENTS, EXPONENTS]


def grid_starts(data: Data, best: int = BEST) -> np.ndarray:
    """The `best` of a grid of α and β, with E, A and B solved for at each: linear, with errors relative to the loss. [S, 5]"""
    axis = np.geomspace(0.05, 1.5, 14)
    alpha, beta = (grid.ravel() for grid in np.meshgrid(axis, axis))
    powers = (np.exp(-np.outer(alpha, data.n)), np.exp(-np.outer(beta, data.d)), np.ones((len(alpha), len(data.n))))
    basis = np.stack(powers, axis=-1) / np.exp(data.loss)[:, None]
    weights = np.linalg.pinv(basis) @ np.ones(len(data.n))
    limits = np.array(bounds(data)[:3])
    logs = np.clip(np.log(np.maximum(weights, 1e-300)), limits[:, 0], limits[:, 1])
    starts = np.column_stack((logs, alpha, beta))
    order = np.argsort([objective(start, data)[0] for start in starts])
    return starts[order[:best]]
