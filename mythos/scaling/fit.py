"""A law with what is known about it: 95% intervals, and which of its numbers the points identify.

An exponent is refused, and its term with it, where fewer than three sizes (token counts) are there, where the best value lies
at a bound of the search, or where the interval is wider than the value. The interval is that of refits to points drawn with
replacement, which of all ways that were measured covers best with 20 points (docs/scaling.md). With few points such draws say
too little, so it is never narrower than the t interval of a least-squares fit. P points, R refits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mythos.contract.words import counted
from mythos.scaling.design import NEEDED, Run, distinct, runs_to_add
from mythos.scaling.huber import (
    ALPHA,
    BETA,
    EXPONENTS,
    FLOOR,
    SIZE,
    TEXT,
    Data,
    bounds,
    grid_starts,
    minimize,
    predict,
    refit,
)
from mythos.scaling.law import Law
from mythos.scaling.points import Point, ScalingError

FEWEST_POINTS = 6
"""One more than the law has numbers."""
LEVEL = 0.95
EXPONENT = {"alpha": ALPHA, "beta": BETA}
DEPENDS = {"E": ("alpha", "beta"), "A": ("alpha",), "B": ("beta",)}
AT_BOUND = 1e-3
"""Distance from a bound of θ that counts as lying at it."""
SAMPLES = 1000


@dataclass(frozen=True)
class Number:
    """One number of the law with its interval. `refusal` says why the points do not identify it, or is empty."""

    value: float
    low: float
    high: float
    refusal: str = ""


@dataclass(frozen=True)
class Fit:
    """`law` is the best law whether or not identified; `numbers` by the names E, A, B, alpha, beta say what may be read off it.

    `draws` are the laws of the refits; `add` the runs that would settle what is refused, by exponent.
    """

    points: tuple[Point, ...]
    law: Law
    numbers: dict[str, Number]
    draws: tuple[Law, ...]
    add: dict[str, tuple[Run, ...]]

    @property
    def fitted(self) -> np.ndarray:
        """Losses of the law at the points, [P]."""
        return self.law(np.array([p.n for p in self.points]), np.array([p.d for p in self.points]))

    @property
    def residuals(self) -> np.ndarray:
        """Measured over fitted loss, less 1, [P]."""
        return np.array([p.loss for p in self.points]) / self.fitted - 1

    @property
    def rms(self) -> float:
        """Root of the mean square of the residuals."""
        return float(np.sqrt(np.square(self.residuals).mean()))

    @property
    def refused(self) -> list[str]:
        """Names of the exponents that are refused."""
        return [name for name in EXPONENT if self.numbers[name].refusal]


def fit_points(points: Sequence[Point], samples: int = SAMPLES, seed: int = 0) -> Fit:
    """Fit the law. Raises ScalingError for fewer than six points."""
    if len(points) < FEWEST_POINTS:
        raise ScalingError(
            f"{counted(len(points), 'point')} cannot carry a law with five numbers.",
            f"Give at least {FEWEST_POINTS}, with {NEEDED} sizes and {NEEDED} token counts among them.",
        )
    n, d, loss = (np.array([getattr(p, key) for p in points]) for key in ("n", "d", "loss"))
    data = Data.of(n, d, loss)
    minima = minimize(data, grid_starts(data))
    thetas = bootstrap(data, minima, samples, seed)
    law, draws = data.law(minima[0]), tuple(map(data.law, thetas))
    reach = t_reach(minima[0], data)
    numbers = {name: _number(name, law, draws, reach[name]) for name in reach}
    numbers |= {name: _judge(name, numbers[name], data, minima[0]) for name in EXPONENT}
    numbers |= {name: _depend(name, numbers, data, minima[0]) for name in DEPENDS}
    add = {name: runs_to_add(EXPONENT[name], minima[0], data) for name in EXPONENT if numbers[name].refusal}
    return Fit(tuple(points), law, numbers, draws, add)


def bootstrap(data: Data, minima: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """θ of refits to `samples` draws of P points with replacement, [R, 5], from the best two of `minima` where they differ."""
    count = len(data.n)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), samples)
    starts = minima[: 1 + bool(np.abs(minima[1] - minima[0]).max() > 0.01)]
    thetas, losses = zip(*(refit(np.tile(theta, (samples, 1)), data, times) for theta in starts), strict=True)
    return np.stack(thetas)[np.argmin(losses, axis=0), np.arange(samples)]


def t_reach(theta: np.ndarray, data: Data) -> dict[str, float]:
    """Half the t interval of each number by the Gauss-Newton covariance; of E, A and B in logarithms."""
    from scipy.stats import t

    fitted, slopes = predict(theta, data)
    free = len(data.n) - len(theta)
    covariance = np.linalg.pinv(slopes @ slopes.T) * np.square(fitted - data.loss).sum() / free
    unit = np.eye(len(theta))
    of = {"E": unit[FLOOR], "alpha": unit[ALPHA], "beta": unit[BETA]}
    of |= {"A": unit[SIZE] + data.center[0] * unit[ALPHA], "B": unit[TEXT] + data.center[1] * unit[BETA]}
    factor = float(t.ppf((1 + LEVEL) / 2, free))
    return {
        name: factor * float(np.sqrt(max(0.0, of[name] @ covariance @ of[name]))) for name in ("E", "A", "B", *EXPONENT)
    }


def _number(name: str, law: Law, draws: Sequence[Law], reach: float) -> Number:
    value = getattr(law, name)
    low, high = np.quantile([getattr(draw, name) for draw in draws], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    if name in EXPONENT:
        low, high = np.clip((min(low, value - reach), max(high, value + reach)), *EXPONENTS)
        return Number(value, float(low), float(high))
    with np.errstate(over="ignore"):
        return Number(value, float(min(low, value * np.exp(-reach))), float(max(high, value * np.exp(reach))))


def _judge(name: str, number: Number, data: Data, theta: np.ndarray) -> Number:
    """Whether the points identify an exponent."""
    logs, what, term = (data.n, "sizes", SIZE) if name == "alpha" else (data.d, "token counts", TEXT)
    found = len(distinct(logs))
    if found < NEEDED:
        unknown = Number(number.value, np.nan, np.nan)
        return _refuse(unknown, f"an exponent needs {NEEDED} {what}, the points have {found}")
    if theta[term] - bounds(data)[term][0] < AT_BOUND:
        return _refuse(number, f"the loss does not fall over the {what}")
    if min(abs(number.value - bound) for bound in EXPONENTS) < AT_BOUND:
        return _refuse(number, f"the best value lies at the limit of the search, {number.value:g}")
    return _refuse_wide(number)


def _depend(name: str, numbers: dict[str, Number], data: Data, theta: np.ndarray) -> Number:
    """E, A and B mean something only with their exponents."""
    number, refused = numbers[name], [other for other in DEPENDS[name] if numbers[other].refusal]
    if refused:
        return _refuse(number, f"it hangs on {' and '.join(refused)}")
    if name == "E" and theta[FLOOR] - bounds(data)[FLOOR][0] < AT_BOUND:
        return _refuse(number, "the losses show no floor")
    return _refuse_wide(number) if name == "E" else number


def _refuse_wide(number: Number) -> Number:
    if number.high - number.low <= number.value:
        return number
    return _refuse(
        number, f"its interval, {number.low:.3g} to {number.high:.3g}, is wider than its value, {number.value:.3g}"
    )


def _refuse(number: Number, why: str) -> Number:
    return Number(number.value, number.low, number.high, why)
