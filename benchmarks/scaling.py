"""Does the fit of a scaling law find the truth? Synthetic laws, 20 points each, 1% noise.

    python benchmarks/scaling.py [--truths N] [--decades X] [--grid 5x4] [--noise S] [--json]

Truths: α and β uniform in 0.2…0.6, E in 1.5…2 nats; each of A·N^−α and B·D^−β is 2…4 nats at the smallest size or token
count. Points: a grid of 5 sizes and 4 token counts (--grid), evenly spaced over 4 decades of either (--decades), from 1M
parameters and 100M tokens on; the loss is off by normal noise of 1% (--noise), independent for each point.

Prints how many exponents are found within ±0.03, and how many lie in their 95% interval by several kinds of it. `shipped` is
what `mythos scaling fit` gives: percentiles of refits to points drawn with replacement, at least the t interval.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np

from mythos.scaling.fit import EXPONENT, SAMPLES, fit_points, t_reach
from mythos.scaling.huber import ALPHA, BETA, Data, grid_starts, minimize, predict, refit
from mythos.scaling.law import Law
from mythos.scaling.points import Point

NEAR = 0.03
PLACES = [ALPHA, BETA]
TAILS = (0.025, 0.975)


def draw_truth(rng: np.random.Generator) -> Law:
    """A law whose terms matter over the grid."""
    alpha, beta = rng.uniform(0.2, 0.6, 2)
    size, text = rng.uniform(2, 4, 2)
    return Law(float(rng.uniform(1.5, 2)), float(size * 1e6**alpha), float(text * 1e8**beta), float(alpha), float(beta))


def draw_points(
    law: Law, rng: np.random.Generator, decades: float = 4, grid: tuple[int, int] = (5, 4), noise: float = 0.01
) -> list[Point]:
    """What training would have measured."""
    axes = (np.geomspace(start, start * 10**decades, count) for start, count in zip((1e6, 1e8), grid, strict=True))
    n, d = (axis.ravel() for axis in np.meshgrid(*axes))
    loss = law(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    return [Point(str(i), *map(float, values)) for i, values in enumerate(zip(n, d, loss, strict=True))]


def intervals(points: list[Point], seed: int) -> dict[str, np.ndarray]:
    """Other 95% intervals of (α, β) than the shipped one, [2 ends, 2 exponents] each."""
    data = Data.of(*(np.array([getattr(p, key) for p in points]) for key in ("n", "d", "loss")))
    theta, number, rng = minimize(data, grid_starts(data))[0], len(points), np.random.default_rng(seed)
    start = np.tile(theta, (SAMPLES, 1))
    drawn = refit(start, data, rng.multinomial(number, np.full(number, 1 / number), SAMPLES))[0][:, PLACES]
    fitted = predict(theta, data)[0]
    sigma = np.sqrt(np.square(fitted - data.loss).sum() / (number - 5))
    made = replace(data, loss=fitted + sigma * rng.standard_normal((SAMPLES, number)))
    again = refit(start, made, np.ones((SAMPLES, number)))[0]
    scaled = (again - theta)[:, PLACES] / standard_errors(again, made)
    low, high = np.quantile(scaled, TAILS, axis=0) * standard_errors(theta, data)
    reach = np.array([t_reach(theta, data)[name] for name in EXPONENT])
    return {
        "points drawn with replacement": np.quantile(drawn, TAILS, axis=0),
        "t, Gauss-Newton": theta[PLACES] + np.outer((-1, 1), reach),
        "normal noise drawn (parametric)": np.quantile(again[:, PLACES], TAILS, axis=0),
        "the same, studentised": theta[PLACES] - np.stack((high, low)),
    }


def standard_errors(theta: np.ndarray, data: Data) -> np.ndarray:
    """Of α and β by the Gauss-Newton covariance at θ [..., 5], [..., 2]."""
    fitted, slopes = predict(theta, data)
    variance = np.square(fitted - data.loss).sum(axis=-1) / (len(data.n) - 5)
    covariance = np.linalg.pinv(slopes @ slopes.swapaxes(-1, -2))
    return np.sqrt(covariance[..., PLACES, PLACES] * variance[..., None])


def trial(seed: int, compare: bool = False, samples: int = SAMPLES, **design: Any) -> dict[str, Any]:
    """One truth: `near` [2], which exponents are refused, and by kind of interval `inside` [2] and mean `width`."""
    rng = np.random.default_rng([7, seed])
    law = draw_truth(rng)
    points = draw_points(law, rng, **design)
    fit = fit_points(points, samples, seed)
    numbers, truth = [fit.numbers[name] for name in EXPONENT], np.array([law.alpha, law.beta])
    kinds = {"shipped": np.array([[x.low for x in numbers], [x.high for x in numbers]])}
    kinds |= intervals(points, seed) if compare else {}
    return {
        "near": np.abs([x.value for x in numbers] - truth) <= NEAR,
        "refused": fit.refused,
        "inside": {kind: (ends[0] <= truth) & (truth <= ends[1]) for kind, ends in kinds.items()},
        "width": {kind: float((ends[1] - ends[0]).mean()) for kind, ends in kinds.items()},
    }


def count(rows: list[np.ndarray]) -> list[int]:
    """How often for α, for β, for both at once."""
    return [*map(int, np.sum(rows, axis=0)), int(np.all(rows, axis=1).sum())]


def summarize(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts over trials, [α, β, both] each, and mean widths."""
    kinds = trials[0]["inside"]
    return {
        "truths": len(trials),
        "refused": sum(bool(t["refused"]) for t in trials),
        "near": count([t["near"] for t in trials]),
        "near_and_inside": count([t["near"] & t["inside"]["shipped"] for t in trials]),
        "inside": {kind: count([t["inside"][kind] for t in trials]) for kind in kinds},
        "width": {kind: float(np.mean([t["width"][kind] for t in trials])) for kind in kinds},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truths", type=int, default=100)
    parser.add_argument("--decades", type=float, default=4.0)
    parser.add_argument("--grid", default="5x4", help="sizes x token counts")
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    sizes, tokens = map(int, options.grid.split("x"))
    design = {"decades": options.decades, "grid": (sizes, tokens), "noise": options.noise}
    began = time.process_time()
    found = summarize([trial(seed, compare=True, **design) for seed in range(options.truths)])
    found["cpu_s"] = round(time.process_time() - began, 1)
    if options.json:
        print(json.dumps(design | found))
        return
    print(f"{sizes} sizes x {tokens} token counts over {options.decades:g} decades each, noise {options.noise:.1%}")
    print(f"{'of ' + str(found['truths']) + ' truths':<44}{'α':>5}{'β':>5}{'both':>6}{'width':>9}")
    for what, row in (
        ("within ±0.03", found["near"]),
        ("within ±0.03 and inside the shipped interval", found["near_and_inside"]),
    ):
        print(f"{what:<44}{row[0]:>5}{row[1]:>5}{row[2]:>6}")
    for kind, row in found["inside"].items():
        print(f"{'inside: ' + kind:<44}{row[0]:>5}{row[1]:>5}{row[2]:>6}{found['width'][kind]:>9.4f}")
    print(f"an exponent refused: {found['refused']}; {found['cpu_s']} CPU seconds")


if __name__ == "__main__":
    main()
