"""The fit finds laws that are there, refuses what points cannot tell, and says which run would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.scaling import draw_points, draw_truth, summarize, trial
from mythos.scaling.fit import Fit, fit_points
from mythos.scaling.huber import ALPHA, Data, grid_starts, minimize, objective, refit
from mythos.scaling.law import Law
from mythos.scaling.points import Point, ScalingError

LAW = Law(E=1.7, A=500.0, B=2000.0, alpha=0.35, beta=0.37)
SIZES, TOKENS = (1e6, 1e7, 1e8, 1e9), (1e8, 1e9, 1e10, 1e11)


def measured(
    sizes: tuple[float, ...] = SIZES, tokens: tuple[float, ...] = TOKENS, noise: float = 0.0, law: Law = LAW
) -> list[Point]:
    rng = np.random.default_rng(0)
    pairs = [(n, d) for n in sizes for d in tokens]
    return [Point(f"{n:g}/{d:g}", n, d, float(law(n, d) * np.exp(noise * rng.standard_normal()))) for n, d in pairs]


def fitted(points: list[Point], samples: int = 60) -> Fit:
    return fit_points(points, samples)


def test_a_law_without_noise_is_found_exactly() -> None:
    fit = fitted(measured())
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(fit.law, name) == pytest.approx(getattr(LAW, name), rel=2e-3), name
        assert not fit.numbers[name].refusal
    assert fit.rms < 1e-5 and not fit.add


def test_the_gradient_is_that_of_the_loss() -> None:
    points = measured(noise=0.01)
    data = Data.of(*(np.array([getattr(p, key) for p in points]) for key in ("n", "d", "loss")))
    theta = np.array([0.3, 0.5, 0.4, 0.3, 0.4])
    _, gradient = objective(theta, data)
    steps = 1e-6 * np.eye(5)
    numeric = [(objective(theta + step, data)[0] - objective(theta - step, data)[0]) / 2e-6 for step in steps]
    assert gradient == pytest.approx(numeric, rel=1e-5)


def test_a_refit_ends_where_lbfgs_does() -> None:
    points = measured(noise=0.01)
    data = Data.of(*(np.array([getattr(p, key) for p in points]) for key in ("n", "d", "loss")))
    theta = minimize(data, grid_starts(data))[0]
    times = np.ones((2, len(points)))
    times[1, 0], times[1, 5] = 0, 2
    once, twice = refit(np.tile(theta, (2, 1)), data, times)[0]
    rows = [1, 2, 3, 4, 5, 5, *range(6, len(points))]
    drawn = Data(data.n[rows], data.d[rows], data.loss[rows], data.center)
    assert once == pytest.approx(theta, abs=1e-4)
    assert twice == pytest.approx(minimize(drawn, theta[None])[0], abs=2e-3)
    assert np.abs(twice - theta).max() > 1e-3


def test_intervals_are_those_of_the_seed() -> None:
    points = measured(noise=0.01)
    first, again, other = (fit_points(points, 100, seed).numbers for seed in (1, 1, 2))
    assert first == again and first != other
    assert first["alpha"].low < first["alpha"].value < first["alpha"].high


def test_one_failed_run_does_not_bend_the_law() -> None:
    points = measured(noise=0.005)
    spoilt = [replace(points[0], loss=points[0].loss * 1.3), *points[1:]]
    assert fitted(spoilt).law.alpha == pytest.approx(fitted(points).law.alpha, abs=0.02)


def test_two_sizes_do_not_identify_alpha() -> None:
    fit = fitted(measured(sizes=(1e7, 1e8), noise=0.002))
    assert "needs 3 sizes, the points have 2" in fit.numbers["alpha"].refusal
    assert np.isnan(fit.numbers["alpha"].low)
    assert fit.numbers["A"].refusal and fit.numbers["E"].refusal and fit.refused == ["alpha"]
    assert not fit.numbers["beta"].refusal and fit.numbers["beta"].value == pytest.approx(LAW.beta, abs=0.05)
    assert len(fit.residuals) == 8


def test_sizes_that_hardly_differ_are_one() -> None:
    assert "the points have 2" in fitted(measured(sizes=(1e7, 1.005e7, 1e8))).numbers["alpha"].refusal


@pytest.mark.parametrize(
    ("points", "name", "runs"),
    [
        (measured(sizes=(1e7, 1e8), noise=0.002), "alpha", 1),
        (measured(sizes=(1e7,), tokens=(1e8, 3e8, 1e9, 3e9, 1e10, 1e11), noise=0.002), "alpha", 2),
        (measured(tokens=(1e9, 1e10), noise=0.002), "beta", 1),
    ],
)
def test_the_runs_to_add_identify_what_was_refused(points: list[Point], name: str, runs: int) -> None:
    added = fitted(points).add[name]
    assert len(added) == runs
    after = fitted([*points, *(Point("new", run.n, run.d, float(LAW(run.n, run.d))) for run in added)])
    assert name not in after.refused
    assert after.numbers[name].value == pytest.approx(getattr(LAW, name), abs=0.1)


def test_an_interval_wider_than_its_value_is_refused() -> None:
    fit = fitted(measured(sizes=(1e8, 1.5e8, 2e8), noise=0.01))
    assert "is wider than its value" in fit.numbers["alpha"].refusal
    assert fit.add["alpha"][0].n > 2e8 or fit.add["alpha"][0].n < 1.2e8


def test_few_points_have_wide_intervals() -> None:
    """Refits to six points go through most of them, whatever is drawn: their spread alone would look certain."""
    fit = fitted(measured(sizes=(1e7, 2e7, 3e7), tokens=(1e9, 2e9), noise=0.01))
    assert "is wider than its value" in fit.numbers["alpha"].refusal


def test_a_loss_that_size_does_not_change_has_no_exponent() -> None:
    fit = fitted(measured(law=replace(LAW, A=1e-9)))
    assert "does not fall over the sizes" in fit.numbers["alpha"].refusal
    assert fit.numbers["beta"].value == pytest.approx(LAW.beta, abs=0.01)


def test_an_exponent_at_the_limit_of_the_search_is_refused() -> None:
    steep = Law(E=1.7, A=2.0 * 1e6**5, B=2000.0, alpha=5.0, beta=0.37)
    fit = fitted(measured(sizes=(1e6, 1.3e6, 1.7e6, 2e6), law=steep))
    assert "limit of the search, 3" in fit.numbers["alpha"].refusal


def test_five_points_are_too_few() -> None:
    with pytest.raises(ScalingError, match=r"5 points cannot carry .* at least 6"):
        fitted(measured()[:5])


def test_truths_are_found_again() -> None:
    """Six of the hundred below."""
    found = summarize([trial(seed, samples=200) for seed in range(6)])
    assert found["near"] == [6, 6, 6] and found["refused"] == 0
    assert sum(found["inside"]["shipped"][:2]) >= 11


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ninety_of_a_hundred_truths_are_found_again() -> None:
    found = summarize([trial(seed) for seed in range(100)])
    assert found["near_and_inside"][0] >= 90 and found["near_and_inside"][1] >= 90


def test_the_benchmark_draws_what_it_says() -> None:
    rng = np.random.default_rng(3)
    law = draw_truth(rng)
    points = draw_points(law, rng)
    assert 0.2 < law.alpha < 0.6 and 0.2 < law.beta < 0.6 and len(points) == 20
    off = [p.loss / float(law(p.n, p.d)) - 1 for p in points]
    assert 0.005 < np.std(off) < 0.015 and ALPHA == 3
