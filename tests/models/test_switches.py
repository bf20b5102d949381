"""Every switch of the recurrent model changes what it says, and nothing else.

Twins are two models that differ in one switch and share every weight that both have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from mythos.contract.config import RecurrentConfig
from mythos.models.cache import Causal
from mythos.models.halting import Replay
from mythos.models.recurrent import RecurrentModel
from mythos.models.rope import Positions
from mythos_tui.screens.configure.draft import fields
from tests.fakes.checkpoints import tiny_config, tiny_model
from tests.models.depth_cases import text

LENGTH = 9
BLOCKS = ("prelude.0", "block", "coda.0")


@dataclass(frozen=True)
class Switch:
    """A setting, its two values, and the parameters that the second one adds and removes."""

    name: str
    values: tuple[Any, Any]
    adds: frozenset[str] = frozenset()
    removes: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}={self.values[1]}"

    def twins(self, **settings: Any) -> tuple[RecurrentModel, RecurrentModel]:
        first, second = (
            tiny_model("recurrent", **{**self.settings, **settings, self.name: value}) for value in self.values
        )
        assert isinstance(first, RecurrentModel) and isinstance(second, RecurrentModel)
        shared = {name: tensor for name, tensor in first.state_dict().items() if name in second.state_dict()}
        second.load_state_dict(shared, strict=False)
        return first, second


HALT = frozenset({"halt.weight", "halt.bias"})
SWITCHES = {
    str(switch): switch
    for switch in (
        Switch("injection", ("lti", "none"), removes=frozenset({"injection.raw_dt", "injection.B"})),
        Switch("loop_index_embedding", (False, True)),
        Switch("loop_lora_rank", (0, 4), adds=frozenset({"lora.down.weight", "lora.scale", "lora.up"})),
        Switch("halting", ("none", "act"), adds=HALT),
        Switch("halting", ("none", "gate"), adds=HALT),
        Switch("router", ("learned", "frozen")),
        Switch(
            "norm",
            ("pre", "sandwich"),
            adds=frozenset(f"{block}.{part}_after.weight" for block in BLOCKS for part in ("attention", "ffn")),
        ),
        Switch("initial_state", ("prelude", "zero")),
        Switch("initial_state", ("prelude", "random")),
        Switch("state_read_out", ("last", "mean")),
        Switch("state_read_out", ("auto", "last"), settings={"halting": "act"}),
        Switch("act_remainder", (True, False), settings={"halting": "act", "coda_layers": 0}),
        Switch("halted_tokens", ("freeze", "run")),
        Switch("attention_window", (0, 3)),
    )
}


def prelude(model: RecurrentModel, ids: Tensor) -> tuple[Tensor, Positions]:
    """What is injected, and where the tokens stand."""
    positions = Positions(torch.arange(ids.shape[1]), ids.shape[1])
    return model._run("prelude", model.embedding(ids), positions, None, 0), positions


def states(model: RecurrentModel, ids: Tensor, loops: int = 3) -> list[Tensor]:
    """The injected e, the initial state, and the state after every loop."""
    e, positions = prelude(model, ids)
    found = [e, model.initial_state(e, 0)]
    for loop in range(loops):
        found.append(model.one_loop(found[-1], e, loop, positions, Causal(), None)[0])
    return found


def inputs_and_outputs(model: RecurrentModel, ids: Tensor, module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """What goes into a module and comes out of it, call by call of a plain pass."""
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.append((args[0], output[0] if isinstance(output, tuple) else output))

    handle = module.register_forward_hook(keep)
    try:
        model.unroll(ids, 3)
    finally:
        handle.remove()
    return seen


def same(one: list[Tensor], other: list[Tensor]) -> list[bool]:
    """Which tensors are equal to the last bit."""
    return [torch.equal(a, b) for a, b in zip(one, other, strict=True)]


# All of them -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
def test_a_switch_adds_and_removes_its_own_parameters_alone(switch: Switch) -> None:
    first, second = (dict(model.named_parameters()) for model in switch.twins())
    assert set(second) - set(first) == switch.adds
    assert set(first) - set(second) == switch.removes
    for name in set(first) & set(second):
        assert first[name].shape == second[name].shape, name


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
def test_a_switch_is_in_the_form_with_both_its_values(switch: Switch) -> None:
    (shown,) = (one for one in fields("model", "recurrent") if one.name == switch.name)
    assert shown.kind == {str: "choice", bool: "switch", int: "whole"}[type(switch.values[0])]
    if shown.kind == "choice":
        assert set(switch.values) <= set(shown.choices)


def test_every_choice_of_the_loop_is_a_switch_here() -> None:
    """A new mechanism comes with its test."""
    own = set(RecurrentConfig.model_fields) - set(RecurrentConfig.__base__.model_fields) - {"family"}
    for name in sorted(own):
        annotation = RecurrentConfig.model_fields[name].annotation
        values = {value for switch in SWITCHES.values() if switch.name == name for value in switch.values}
        if annotation is bool or get_args(annotation):
            assert values == (set(get_args(annotation)) or {True, False}), name


# One by one ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_injection_is_the_linear_part_of_the_update() -> None:
    lti, none = SWITCHES["injection=none"].twins()
    one, other = states(lti, text(2, LENGTH)), states(none, text(2, LENGTH))
    assert same(one[:2], other[:2]) == [True, True]
    e, h = one[:2]
    torch.testing.assert_close(one[2] - other[2], lti.injection.A() * h + lti.injection.B * e, atol=1e-5, rtol=1e-5)
    assert float((one[2] - other[2]).abs().max()) > 0.1


@torch.no_grad()
def test_the_loop_index_is_added_to_an_eighth_of_what_enters_the_block() -> None:
    plain, coded = SWITCHES["loop_index_embedding=True"].twins()
    ids = text(2, LENGTH)
    assert same(states(plain, ids, 0), states(coded, ids, 0)) == [True, True]
    (one, _), *_ = inputs_and_outputs(plain, ids, plain.loop_norm)
    entered = [pair[0] for pair in inputs_and_outputs(coded, ids, coded.loop_norm)]
    eighth = plain.config.width // 8
    assert torch.equal(one[..., eighth:], entered[0][..., eighth:])
    code = (entered[0] - one)[..., :eighth]
    expected = torch.tensor([0.0] * (eighth // 2) + [1.0] * (eighth // 2))  # sines and cosines of loop 0
    torch.testing.assert_close(code, expected.expand_as(code), atol=1e-5, rtol=0)
    assert not torch.equal(coded.loop_code(0, one), coded.loop_code(1, one))
    # the code enters the block and not the state: where the block gets zeros, nothing differs
    with pytest.MonkeyPatch.context() as patch:
        for model in (plain, coded):
            patch.setattr(model.loop_norm, "forward", torch.zeros_like)
        assert all(same(states(plain, ids), states(coded, ids)))


@torch.no_grad()
def test_adapters_at_scale_zero_are_no_adapters() -> None:
    plain, adapted = SWITCHES["loop_lora_rank=4"].twins()
    ids = text(2, LENGTH)
    blocks = [inputs_and_outputs(model, ids, model.block)[0] for model in (plain, adapted)]
    assert same(*map(list, blocks)) == [True, True]
    assert same(states(plain, ids, 1), states(adapted, ids, 1)) == [True, True, False]
    adapted.lora.scale.zero_()
    assert torch.equal(plain(ids).logits, adapted(ids).logits)


@torch.no_grad()
@pytest.mark.parametrize("halting", ["act", "gate"])
def test_learned_halting_leaves_the_recurrence_alone(halting: str) -> None:
    none, learned = SWITCHES[f"halting={halting}"].twins()
    ids, never = text(2, LENGTH), Replay(torch.full((2, LENGTH), 99))
    assert all(same(states(none, ids), states(learned, ids)))
    one, other = none(ids, exit=never), learned(ids, exit=never)
    assert one.telemetry.halt_p is None and other.telemetry.halt_p is not None
    assert torch.equal(one.telemetry.loops, other.telemetry.loops)
    assert torch.equal(one.logits, other.logits) == (halting == "gate")  # ACT reads out a weighted mean
    if halting == "gate":  # which decides nothing unless it is asked
        assert torch.equal(none(ids).logits, learned(ids).logits)
    else:
        assert int(learned(ids).telemetry.loops.min()) < learned.config.loops
        _, last = SWITCHES["halting=act"].twins(state_read_out="last")
        assert torch.equal(one.logits, last(ids, exit=never).logits)


def test_a_frozen_router_computes_the_same_and_learns_nothing() -> None:
    learned, frozen = SWITCHES["router=frozen"].twins()
    gradients = []
    for model in (learned, frozen):
        logits = model(text(2, LENGTH)).logits
        logits.square().mean().backward()
        gradients.append((logits, {name: p.grad for name, p in model.named_parameters()}))
    (one, ours), (other, theirs) = gradients
    assert torch.equal(one, other)
    assert ours["block.ffn.router.weight"] is not None and theirs["block.ffn.router.weight"] is None
    for name in set(ours) - {"block.ffn.router.weight"}:
        assert torch.equal(ours[name], theirs[name]), name


@torch.no_grad()
def test_a_sandwich_norms_what_sublayers_write() -> None:
    pre, sandwich = SWITCHES["norm=sandwich"].twins()
    ids = text(2, LENGTH)
    first = [inputs_and_outputs(model, ids, model.prelude[0].attention)[0] for model in (pre, sandwich)]
    assert same(*map(list, first)) == [True, True]
    (x, y), *_ = inputs_and_outputs(sandwich, ids, sandwich.prelude[0].attention_after)
    assert torch.equal(x, first[0][1])
    torch.testing.assert_close(y.square().mean(-1), torch.ones(2, LENGTH), atol=1e-2, rtol=0)
    assert not torch.equal(prelude(pre, ids)[0], prelude(sandwich, ids)[0])
    ours = {name for name, module in sandwich.named_modules() if isinstance(module, type(sandwich.norm))}
    theirs = {name for name, module in pre.named_modules() if isinstance(module, type(pre.norm))}
    assert ours - theirs == {name.removesuffix(".weight") for name in SWITCHES["norm=sandwich"].adds}


@torch.no_grad()
@pytest.mark.parametrize("start", ["zero", "random"])
def test_the_initial_state_is_all_that_differs_before_the_first_loop(start: str) -> None:
    known, other = SWITCHES[f"initial_state={start}"].twins()
    ids = text(2, LENGTH)
    one, two = states(known, ids), states(other, ids)
    assert torch.equal(one[0], two[0]) and torch.equal(one[0], one[1])
    assert same(one, two) == [True, False, False, False, False]
    assert bool((two[1] == 0).all()) == (start == "zero")
    e, positions = prelude(known, ids)  # from the same state on they are the same function
    loop = [model.one_loop(e, e, 0, positions, Causal(), None)[0] for model in (known, other)]
    assert torch.equal(*loop)


@torch.no_grad()
def test_the_mean_state_is_the_last_one_after_a_single_loop() -> None:
    last, mean = SWITCHES["state_read_out=mean"].twins()
    auto = SWITCHES["state_read_out=last"].twins(halting="none")[0]
    ids = text(2, LENGTH)
    assert all(same(states(last, ids), states(mean, ids)))
    assert torch.equal(last(ids, 1).logits, mean(ids, 1).logits)
    assert not torch.allclose(last(ids, 3).logits, mean(ids, 3).logits, atol=1e-2)
    assert torch.equal(last(ids, 3).logits, auto(ids, 3).logits)
    wanted = torch.stack(states(mean, ids)[2:]).mean(0)
    torch.testing.assert_close(
        mean.read_out(wanted, prelude(mean, ids)[1], None, 0), mean(ids, 3).logits, atol=1e-4, rtol=0
    )


@torch.no_grad()
def test_reading_the_last_state_of_act_changes_no_decision() -> None:
    weighted, last = SWITCHES["state_read_out=last"].twins()
    ids = text(2, LENGTH)
    one, other = weighted(ids), last(ids)
    assert len(one.telemetry.loops.unique()) > 1
    for name in ("loops", "halt_p", "ponder_cost"):
        torch.testing.assert_close(
            getattr(one.telemetry, name), getattr(other.telemetry, name), rtol=0, atol=0, equal_nan=True
        )
    assert not torch.allclose(one.logits, other.logits, atol=1e-2)


@torch.no_grad()
def test_the_remainder_concerns_tokens_that_never_crossed() -> None:
    filled, lost = SWITCHES["act_remainder=False"].twins(act_threshold=0.6)
    ids = text(2, LENGTH)
    one, other = filled(ids, 2), lost(ids, 2)
    for name in ("loops", "signals", "ponder_cost"):
        torch.testing.assert_close(
            getattr(one.telemetry, name), getattr(other.telemetry, name), rtol=0, atol=0, equal_nan=True
        )
    crossed = one.telemetry.signals.nan_to_num(0).amax(-1) >= 0.6
    assert 0 < int(crossed.sum()) < ids.numel()
    assert torch.equal((one.logits == other.logits).all(-1), crossed)


def test_tokens_that_run_on_change_what_later_tokens_see_and_no_earlier_prediction() -> None:
    freeze, run = SWITCHES["halted_tokens=run"].twins(coda_layers=0)
    ids = text(2, LENGTH)
    assert torch.equal(freeze(ids).logits, run(ids).logits)
    loops = torch.full((2, LENGTH), 5)
    loops[:, 3] = 1
    one, other = (model(ids, exit=Replay(loops)) for model in (freeze, run))
    assert torch.equal(one.telemetry.loops, other.telemetry.loops)
    equal = (one.logits == other.logits).flatten(2).all(-1).all(0)
    assert equal.tolist() == [True] * 4 + [False] * (LENGTH - 4)


def test_switches_stand_at_the_values_that_these_tests_start_from() -> None:
    config = tiny_config("recurrent")
    for switch in SWITCHES.values():
        if not switch.settings and switch.name != "state_read_out":
            assert getattr(config, switch.name) == switch.values[0]


@torch.no_grad()
@pytest.mark.parametrize("attention", ["gqa", "mla"])
@pytest.mark.parametrize("loops", [1, 2, 3])
def test_a_window_is_reached_beyond_by_loops_alone(loops: int, attention: str) -> None:
    """Prelude, every loop and Coda pass on what is at most two tokens back."""
    whole, near = (model.double() for model in SWITCHES["attention_window=3"].twins(attention=attention, init_std=0.15))
    ids, other = text(1, 20), text(1, 20)
    other[0, 0] += 1
    reach = 2 * (1 + loops + 1)
    differs = ((near(ids, loops).logits - near(other, loops).logits).abs() > 1e-12).any(-1)[0]
    assert differs.tolist() == [place <= reach for place in range(20)]
    assert bool((whole(ids, loops).logits != whole(other, loops).logits).any(-1).all())
