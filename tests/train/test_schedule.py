"""Shapes of the learning rate, and runs whose length tokens or minutes decide."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from mythos.contract.load import parse_config
from mythos.train.schedule import LoopSampler, ended_by, gate_steps, lr_share, place, seconds_left

SHAPES = ["cosine", "wsd", "linear", "constant"]
BASE = [
    "train.steps=1000",
    "train.warmup_steps=100",
    "train.min_lr_ratio=0.05",
    "train.batch_size=2",
    "train.sequence=8",
]
GATED = ["model.halting=gate", "objective.gate_share=0.2"]


def shares(*overrides: str, steps: int = 1001) -> list[float]:
    config = parse_config({}, [*BASE, *overrides])
    return [lr_share(step, config) for step in range(steps)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_warms_up_never_jumps_never_rises_again_and_ends_at_its_floor(shape: str) -> None:
    found = shares(f"train.schedule={shape}")
    assert found[:101] == [*(pytest.approx((step + 1) / 100) for step in range(100)), 1.0]
    falls = [before - after for before, after in pairwise(found[100:])]
    assert min(falls) >= 0 and max(falls) < 0.08, "the root's first step is its steepest"
    assert found[1000] == pytest.approx(1.0 if shape == "constant" else 0.05)


def test_what_each_shape_is_half_way_through_its_fall() -> None:
    half = (1 + 0.05) / 2
    assert shares("train.schedule=cosine")[550] == pytest.approx(half)
    assert shares("train.schedule=linear")[550] == pytest.approx(half)
    wsd = shares("train.schedule=wsd", "train.decay_share=0.5")
    assert set(wsd[100:551]) == {1.0} and wsd[551] < 1
    assert wsd[775] == pytest.approx(0.05 + 0.95 * (1 - math.sqrt(0.5)))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gate_has_the_same_shape_for_itself(shape: str) -> None:
    found = shares(f"train.schedule={shape}", *GATED, steps=1000)
    model, gate = found[:800], found[800:]
    floor = 1.0 if shape == "constant" else 0.05
    assert gate[0] == 1.0 and gate == sorted(gate, reverse=True)
    assert model[-1] == pytest.approx(floor, abs=0.005) and gate[-1] == pytest.approx(floor, abs=0.03)


def test_tokens_make_the_run_shorter_and_the_schedule_with_it() -> None:
    config = parse_config({}, [*BASE, "train.max_tokens=8007"])
    assert config.train.length == 500, "at most, in whole steps of 16 tokens"
    assert lr_share(500, config) == pytest.approx(0.05)
    assert [ended_by(step, config) for step in (499, 500, 1000)] == ["", "train.max_tokens", "train.steps"]
    assert parse_config({}, [*BASE, "train.max_tokens=1"]).train.length == 1
    assert parse_config({}, [*BASE, "train.max_tokens=99999999"]).train.length == 1000


def test_minutes_carry_the_schedule_on_when_they_run_out_first() -> None:
    config = parse_config({}, [*BASE, "train.max_minutes=1", "train.schedule=linear"])
    assert place(100, config, 3.0) == 100 and place(100, config, 30.0) == 500
    found = [lr_share(step, config, seconds=step / 5) for step in range(301)]  # 300 steps take the minute
    falls = [before - after for before, after in pairwise(found[100:])]
    assert found[99] > 0.7 and min(falls) > 0 and max(falls) < 0.005 and found[300] == pytest.approx(0.05)
    assert [ended_by(step, config, step / 5) for step in (299, 300)] == ["", "train.max_minutes"]
    assert seconds_left(200, config, 40.0, 0.2) == pytest.approx(20) and seconds_left(990, config, 40.0, 0.2) == 2


def test_a_fast_run_within_its_minutes_is_one_without_them() -> None:
    limited, free = (parse_config({}, [*BASE, *GATED, *extra]) for extra in (["train.max_minutes=60"], []))
    for step in range(1000):
        assert lr_share(step, limited, seconds=step / 100) == lr_share(step, free)


def test_the_gate_gets_its_share_of_the_minutes_and_warm_up_loops_their_bound() -> None:
    late = ["objective.warmup_loops=3", "objective.warmup_loops_from=0"]
    sampler = LoopSampler(parse_config({}, [*BASE, *GATED, *late, "train.max_minutes=1"]))
    plans = [sampler.draw(step, seconds=0.25 * step) for step in range(240)]
    assert [plan.gate_only for plan in plans] == [False] * 192 + [True] * 48
    assert max(plan.loops - plan.gradient_loops for plan in plans[:192]) == 3


def test_a_gate_without_a_choice_of_loops_never_learns_alone() -> None:
    """It has no shallower read-out to learn from: the first step of its own ended the run."""
    config = parse_config({}, [*BASE, *GATED, "model.loops=1", "model.max_loops=1"])
    sampler = LoopSampler(config)
    assert gate_steps(config) == 0 and not any(sampler.draw(step).gate_only for step in range(1000))
    assert lr_share(999, config) == pytest.approx(0.05, abs=0.005)
