"""What a budget should buy: the N and D of the lowest loss for C = 6·N·D FLOPs, and the presets next to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mythos.scaling.design import Run
from mythos.scaling.fit import LEVEL, Fit
from mythos.scaling.law import FLOPS_PER_PARAMETER_AND_TOKEN, Law
from mythos.scaling.points import ScalingError, parameters_of

NEAREST = 3
"""Presets that are shown."""
WORDS = {"alpha": "α", "beta": "β"}


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, which published laws come without."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Choice:
    """A model for the budget: `n` parameters, `d` tokens and the expected `loss` in nats per token."""

    name: str
    n: Estimate
    d: Estimate
    loss: Estimate

    @property
    def ratio(self) -> float:
        """Tokens per parameter."""
        return self.d.value / self.n.value


@dataclass(frozen=True)
class Plan:
    """`best` for `flops`, and the nearest presets trained with as many. `beyond`: how far the optimum lies outside the points,
    as the larger of the two factors in N and D; 1 within them, None for published laws."""

    flops: float
    best: Choice
    presets: tuple[Choice, ...]
    beyond: float | None


def plan(flops: float, law: Law, draws: Sequence[Law] = (), presets: dict[str, int] | None = None) -> Plan:
    """Spend `flops` by a law; `draws` are laws that its points allow as well."""
    if not (math.isfinite(flops) and flops >= FLOPS_PER_PARAMETER_AND_TOKEN):
        raise ScalingError(
            f"A budget of {flops:g} FLOPs buys nothing.", "Give the FLOPs of the whole training, as in 1e18."
        )
    n, d = law.optimum(flops)
    optima = [draw.optimum(flops) for draw in draws]
    sizes, tokens = ([pair[i] for pair in optima] for i in (0, 1))
    best = Choice("optimum", estimate(n, sizes), estimate(d, tokens), predicted(law, draws, n, d))
    nearest = sorted((presets or {}).items(), key=lambda preset: abs(math.log(preset[1] / n)))[:NEAREST]
    pairs = flops / FLOPS_PER_PARAMETER_AND_TOKEN
    choices = (
        Choice(name, Estimate(size), Estimate(pairs / size), predicted(law, draws, size, pairs / size))
        for name, size in sorted(nearest, key=lambda preset: preset[1])
    )
    return Plan(flops, best, tuple(choices), None)


def plan_by_fit(flops: float, fit: Fit, presets: dict[str, int]) -> Plan:
    """`plan` by points of one's own. Raises ScalingError where they do not identify both exponents."""
    if fit.refused:
        raise ScalingError(*refusal(fit))
    found = plan(flops, fit.law, fit.draws, presets)
    reached = [
        max(best.value / max(values), min(values) / best.value)
        for best, values in (
            (found.best.n, [point.n for point in fit.points]),
            (found.best.d, [point.d for point in fit.points]),
        )
    ]
    return Plan(flops, found.best, found.presets, max(1.0, *reached))


def refusal(fit: Fit) -> tuple[str, str]:
    """(what the points do not identify and why, which runs to add)."""
    whys = [f"{WORDS[name]} is not identified: {fit.numbers[name].refusal}." for name in fit.refused]
    return " ".join(whys), f"{advice(fit)} Or plan by published constants: --published besiroglu."


def advice(fit: Fit, words: Callable[[Run], str] | None = None) -> str:
    """Which runs would identify what is refused, in a sentence each."""
    tell = words or (lambda run: f"{run.n:,.0f} parameters on {run.d:,.0f} tokens")
    return " ".join(f"For {WORDS[name]} add {' and '.join(map(tell, fit.add[name]))}." for name in fit.refused)


def estimate(value: float, draws: Sequence[float]) -> Estimate:
    """A value with the percentile interval of its draws, if there are any."""
    if not len(draws):
        return Estimate(value)
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value, float(low), float(high))


def predicted(law: Law, draws: Sequence[Law], n: float, d: float) -> Estimate:
    """Loss at N and D."""
    return estimate(float(law(n, d)), [float(draw(n, d)) for draw in draws])


def dense_presets(folder: Path, count: str) -> dict[str, int]:
    """Parameters of the dense presets in a folder, by file name; a file that is none is passed over."""
    from mythos.contract.config import DenseConfig
    from mythos.contract.errors import ConfigError
    from mythos.contract.load import load_config

    found = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            model = load_config(path).model
        except ConfigError:
            continue
        if isinstance(model, DenseConfig):
            found[path.stem] = parameters_of(model, count)
    return found
