"""The optimum of a budget is where nothing is better, and published constants give the published advice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mythos.scaling.fit import fit_points
from mythos.scaling.law import PUBLISHED, Law
from mythos.scaling.plan import dense_presets, plan, plan_by_fit
from mythos.scaling.points import Point, ScalingError

ROOT = Path(__file__).parents[2]
LAW = Law(E=1.7, A=500.0, B=2000.0, alpha=0.35, beta=0.37)
CHINCHILLA = 5.76e23
"""FLOPs of Gopher and Chinchilla (Hoffmann et al. 2022)."""


@pytest.mark.parametrize("law", [LAW, *PUBLISHED.values()])
@pytest.mark.parametrize("flops", [1e15, 1e21])
def test_no_other_size_is_better(law: Law, flops: float) -> None:
    n, d = law.optimum(flops)
    assert 6 * n * d == pytest.approx(flops)
    others = n * np.geomspace(0.2, 5, 201)
    assert others[np.argmin(law(others, flops / 6 / others))] == pytest.approx(n, rel=0.01)


def test_published_constants_give_the_published_advice() -> None:
    """Besiroglu et al. 2024: about 20 tokens per parameter, as Chinchilla had; the constants of 2022 ask for far more."""
    ours, theirs = (plan(CHINCHILLA, PUBLISHED[name]).best for name in ("besiroglu", "hoffmann"))
    assert 15 < ours.ratio < 30 and theirs.ratio > 60
    assert 60e9 < ours.n.value < 80e9
    assert float(PUBLISHED["hoffmann"](70e9, 1.4e12)) == pytest.approx(1.69 + 0.083 + 0.163, abs=0.002)


def test_presets_are_counted_and_the_nearest_shown() -> None:
    presets = dense_presets(ROOT / "configs/model/dense", "total")
    assert presets["80m"] == 75_509_120 or 75e6 < presets["80m"] < 76e6
    assert dense_presets(ROOT / "configs/model/dense", "non-embedding")["80m"] < presets["80m"]
    found = plan(1e18, PUBLISHED["besiroglu"], presets=presets)
    assert {choice.name for choice in found.presets} == {"80m", "150m", "172m"} or len(found.presets) == 3
    for choice in found.presets:
        assert 6 * choice.n.value * choice.d.value == pytest.approx(1e18)
        assert choice.loss.value >= found.best.loss.value


def points(sizes: tuple[float, ...]) -> list[Point]:
    rng = np.random.default_rng(1)
    pairs = [(n, d) for n in sizes for d in (1e8, 1e9, 1e10, 1e11)]
    return [Point("", n, d, float(LAW(n, d)) * float(np.exp(0.005 * rng.standard_normal()))) for n, d in pairs]


def test_a_plan_by_points_has_intervals() -> None:
    found = plan_by_fit(1e19, fit_points(points((1e6, 1e7, 1e8, 1e9)), 100), {})
    n, d = LAW.optimum(1e19)
    for estimate, truth in ((found.best.n, n), (found.best.d, d), (found.best.loss, float(LAW(n, d)))):
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low < estimate.value < estimate.high and estimate.value == pytest.approx(truth, rel=0.3)
    assert found.beyond == 1.0
    assert plan_by_fit(1e24, fit_points(points((1e6, 1e7, 1e8, 1e9)), 50), {}).beyond > 10


def test_no_plan_without_both_exponents() -> None:
    with pytest.raises(
        ScalingError, match=r"α is not identified: .*2\. For α add .* parameters on .*--published besiroglu"
    ):
        plan_by_fit(1e19, fit_points(points((1e7, 1e8)), 50), {})


@pytest.mark.parametrize("flops", [0.0, -1e18, float("nan"), float("inf")])
def test_a_budget_that_is_none(flops: float) -> None:
    with pytest.raises(ScalingError, match="buys nothing"):
        plan(flops, LAW)
