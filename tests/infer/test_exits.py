"""Exit rules: what they measure, when they stop, and which model takes which."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mythos.contract.errors import MythosError
from mythos.infer.exits import KL, Act, Confidence, Fixed, StateDelta, exits_of, make_exit, resolve_exit
from mythos.models.halting import LoopView
from tests.fakes.checkpoints import tiny_config


def view(loop: int, p: list[float], before: Tensor | None = None, after: Tensor | None = None) -> LoopView:
    """One token whose prediction is p."""
    state = torch.ones(1, 1, 4)
    log_p = torch.tensor(p).log()[None, None]
    active = torch.ones(1, 1, dtype=torch.bool)
    states = state if before is None else before, state if after is None else after
    return LoopView(loop, *states, active, None, lambda: state, lambda: log_p)


def test_confidence_is_the_largest_probability() -> None:
    stop, signal = Confidence(0.6)(view(1, [0.1, 0.7, 0.2]))
    assert bool(stop) and float(signal) == pytest.approx(0.7)
    stop, _ = Confidence(0.71)(view(1, [0.1, 0.7, 0.2]))
    assert not bool(stop)


def test_kl_is_to_the_loop_before_and_forgets_at_start() -> None:
    rule = KL(0.2)
    rule.start()
    stop, signal = rule(view(1, [0.5, 0.5]))
    assert not bool(stop) and math.isnan(float(signal))
    stop, signal = rule(view(2, [0.9, 0.1]))
    assert float(signal) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2), abs=1e-6)
    assert not bool(stop)
    stop, signal = rule(view(3, [0.9, 0.1]))
    assert bool(stop) and float(signal) == pytest.approx(0.0, abs=1e-6)
    rule.start()
    assert math.isnan(float(rule(view(1, [0.9, 0.1]))[1]))


def test_state_delta_is_relative_to_the_new_state() -> None:
    before, after = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[3.0, 4.0]]])
    stop, signal = StateDelta(0.81)(view(1, [1.0], before, after))
    assert bool(stop) and float(signal) == pytest.approx(4 / 5)
    assert not bool(StateDelta(0.79)(view(1, [1.0], before, after))[0])
    zero = torch.zeros(1, 1, 2)
    assert math.isfinite(float(StateDelta(0.5)(view(1, [1.0], zero, zero))[1]))


def test_names_make_rules() -> None:
    plain, act, dense = tiny_config("recurrent"), tiny_config("recurrent", halting="act"), tiny_config("dense")
    assert isinstance(make_exit("auto", plain), Fixed) and isinstance(make_exit("auto", dense), Fixed)
    rule = make_exit("auto", act)
    assert isinstance(rule, Act) and rule.threshold == 0.99
    assert isinstance(make_exit("fixed", act), Fixed)
    assert make_exit("confidence:0.9", plain).p == 0.9  # type: ignore[attr-defined]
    assert make_exit("kl:0.01", plain).eps == 0.01  # type: ignore[attr-defined]
    assert resolve_exit("auto", act) == "act" and resolve_exit("kl:1", act) == "kl:1"
    assert exits_of(dense) == ["fixed"]
    assert exits_of(plain) == ["fixed", "confidence", "kl", "state_delta"]
    assert exits_of(act) == ["fixed", "act", "confidence", "kl", "state_delta"]


@pytest.mark.parametrize(
    ("family", "spec", "says"),
    [
        ("recurrent", "act", "needs a model trained with halting"),
        ("dense", "confidence:0.5", "needs a recurrent model"),
        ("dense", "act", "needs a recurrent model"),
        ("recurrent", "confidence:1.5", "between 0 and 1"),
        ("recurrent", "kl", "needs a threshold"),
        ("recurrent", "entropy:1", "unknown"),
    ],
)
def test_rules_that_do_not_fit_say_why(family: str, spec: str, says: str) -> None:
    with pytest.raises(MythosError, match=says) as caught:
        make_exit(spec, tiny_config(family))
    assert caught.value.hint
