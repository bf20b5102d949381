"""Injection, halting, experts, position: the promises that each mechanism makes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from mythos.contract.config import RecurrentConfig
from mythos.models import ledger, moe
from mythos.models.build import build_model
from mythos.models.cache import Cache, LayerCache
from mythos.models.ffn import activate
from mythos.models.halting import Act, ActRule, Halt, Replay, unit
from mythos.models.injection import LTIInjection
from mythos.models.moe import MoE
from mythos.models.recurrent import RecurrentModel
from mythos.models.rope import Positions, Rope
from tests.fakes.checkpoints import VOCAB, tiny_model

SMALL = {
    "vocab_size": 300,
    "width": 32,
    "n_heads": 4,
    "n_kv_heads": 2,
    "ffn_width": 64,
    "context": 64,
    "expert_width": 16,
}
EXTREMES = [-1e18, -1e6, -100.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0, 1e6, 1e18]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("a_max", [0.5, 0.99, 0.996])
def test_a_stays_inside_its_bounds_with_a_gradient_everywhere(dtype: torch.dtype, a_max: float) -> None:
    injection = LTIInjection(len(EXTREMES), a_max).to(dtype)
    injection.raw_dt.data = torch.tensor(EXTREMES, dtype=dtype)
    a = injection.A()
    assert a.dtype == torch.float32
    assert bool(((a > 0) & (a <= a_max)).all())
    a.sum().backward()
    assert injection.raw_dt.grad is not None and bool((injection.raw_dt.grad != 0).all())


def test_a_starts_spread_out() -> None:
    injection = LTIInjection(64, 0.99)
    injection.reset()
    assert injection.A().min() < 0.15 and injection.A().max() > 0.85


def test_the_state_stays_bounded_for_a_thousand_loops() -> None:
    torch.manual_seed(0)
    model = build_model(RecurrentConfig(**SMALL, norm="sandwich")).eval()
    with torch.no_grad():
        norms = model(torch.randint(0, 300, (1, 8)), 1024).telemetry.state_norm
    assert len(norms) == 1024 and max(norms) < 100 and abs(norms[-1] - norms[-2]) < 0.1


def act_model(bias: float, threshold: float) -> RecurrentModel:
    torch.manual_seed(1)
    model = build_model(RecurrentConfig(**SMALL, halting="act", act_threshold=threshold))
    assert isinstance(model, RecurrentModel) and model.halt is not None
    torch.nn.init.normal_(model.halt.weight, 0, 0.2)
    model.halt.bias.data.fill_(bias)
    return model


@pytest.mark.parametrize("bias", [-20.0, -2.0, 0.0, 20.0])
@pytest.mark.parametrize("threshold", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("loops", [1, 2, 7])
def test_act_weights_of_every_token_sum_to_one(
    bias: float, threshold: float, loops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that is 1 everywhere makes the read-out equal to the sum of the weights."""
    model = act_model(bias, threshold)
    monkeypatch.setattr(model, "one_loop", lambda h, *a: (torch.ones_like(h), None))
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(model, "read_out", lambda state, *_, **__: seen.append(state) or state)
    model.unroll(torch.randint(0, 300, (2, 5)), loops, exit=ActRule(threshold))
    torch.testing.assert_close(seen[-1], torch.ones_like(seen[-1]), atol=1e-6, rtol=0)


def test_ponder_cost_is_loops_plus_remainder_and_can_be_lowered() -> None:
    model = act_model(-0.5, 0.9)
    _, telemetry = model.unroll(torch.randint(0, 300, (2, 9)), 8, exit=ActRule(0.9))
    assert telemetry.ponder_cost is not None and telemetry.halt_p is not None
    p = telemetry.halt_p.nan_to_num(0.0)
    before_last = torch.arange(8) < (telemetry.loops - 1).unsqueeze(-1)
    remainder = 1 - (p * before_last).sum(-1)
    torch.testing.assert_close(telemetry.ponder_cost.detach(), telemetry.loops + remainder, atol=1e-5, rtol=0)
    telemetry.ponder_cost.mean().backward()
    assert model.halt is not None and model.halt.bias.grad is not None
    assert float(model.halt.bias.grad) < 0  # a higher bias halts earlier and costs less


def test_a_stopped_token_is_not_computed() -> None:
    model = act_model(-0.5, 0.9).eval()
    with torch.no_grad():
        telemetry = model(torch.randint(0, 300, (1, 20)), 8).telemetry
    assert telemetry.loops.unique().numel() > 1
    assert telemetry.block_evaluations == int(telemetry.loops.sum()) < 8 * 20


@pytest.mark.parametrize("loops", [0, -1])
def test_a_loop_count_below_one_is_refused(loops: int) -> None:
    with pytest.raises(ValueError, match="n_loops"):
        build_model(RecurrentConfig(**SMALL))(torch.zeros(1, 3, dtype=torch.int64), loops)


def test_a_sequence_beyond_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match="65 tokens exceeds the model's context of 64"):
        build_model(RecurrentConfig(**SMALL))(torch.zeros(1, 65, dtype=torch.int64))


def plain_moe(moe: MoE, x: torch.Tensor) -> torch.Tensor:
    """The definition, token by token."""
    rows = []
    for row in x:
        p = F.linear(row, moe.router.weight).softmax(-1)
        chosen = (F.linear(row, moe.router.weight) + moe.router_bias).topk(moe.k).indices
        gates = p[chosen] / p[chosen].sum()
        y = sum(g * moe.out[e] @ activate(moe.up[e] @ row, moe.activation) for g, e in zip(gates, chosen, strict=True))
        rows.append(y + moe.shared(row)[0])
    return torch.stack(rows)


def routed(experts: int = 6) -> MoE:
    torch.manual_seed(2)
    moe = MoE(RecurrentConfig(**SMALL, n_experts=experts, experts_per_token=2))
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return moe


def test_experts_compute_their_definition_forward_and_backward() -> None:
    moe, x = routed(), torch.randn(40, 32, requires_grad=True)
    moe.router_bias += torch.tensor([-100.0, 0, 0, 0, 0, 0.5])  # one expert stays empty
    y, stats = moe(x[None])
    expected = plain_moe(moe, x)
    torch.testing.assert_close(y[0], expected, atol=1e-5, rtol=1e-5)
    assert int(stats.load[0]) == 0 and int(stats.load.sum()) == 80
    weights = [x, moe.up, moe.out, moe.router.weight]
    ours = torch.autograd.grad(y.square().sum(), weights)
    theirs = torch.autograd.grad(expected.square().sum(), weights)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)


def test_the_decode_backend_agrees_with_the_definition() -> None:
    moe, x = routed(), torch.randn(1, 3, 32)
    with torch.no_grad():
        torch.testing.assert_close(moe(x)[0], plain_moe(moe, x[0])[None], atol=1e-5, rtol=1e-5)


def test_the_router_bias_changes_the_choice_and_not_the_gate() -> None:
    moe, x = routed(), torch.randn(50, 32)
    gates, chosen, _ = moe.route(x, None)
    moe.router_bias += 3.0  # the same for all: nothing may change
    same_gates, same_chosen, _ = moe.route(x, None)
    assert torch.equal(chosen, same_chosen) and torch.equal(gates, same_gates)
    moe.router_bias[0] += 100
    gates, chosen, _ = moe.route(x, None)
    assert bool((chosen[:, 0] == 0).all())
    p = F.linear(x, moe.router.weight).softmax(-1).gather(1, chosen)
    torch.testing.assert_close(gates, p / p.sum(-1, keepdim=True))


def test_the_bias_evens_out_a_skewed_load() -> None:
    moe, x = routed(), torch.randn(400, 32)
    moe.router.weight.data[0] += 0.3 * x.mean(0) + 0.2
    moe.router_bias[0] = 2.0
    skewed = moe.route(x, None)[2].load
    for _ in range(400):
        moe.update_bias(moe.route(x, None)[2].load, 0.01)
    even = moe.route(x, None)[2].load
    assert skewed.max() > 2 * skewed.float().mean() and even.max() < 1.3 * even.float().mean()
    assert abs(float(moe.router_bias.mean())) < 1e-5


def test_a_frozen_router_gets_no_gradient() -> None:
    assert not MoE(RecurrentConfig(**SMALL, router="frozen")).router.weight.requires_grad


def test_rope_depends_on_distance_alone_and_survives_a_cast() -> None:
    rope, q, k = Rope(16, 10_000.0), torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def score(i: int, j: int) -> float:
        at = [rope.rotate(x, Positions(torch.tensor([p]), p + 1)) for x, p in ((q, i), (k, j))]
        return float((at[0] * at[1]).sum())

    assert score(5, 2) == pytest.approx(score(105, 102), abs=1e-4)
    assert abs(score(5, 2) - score(5, 3)) > 1e-3
    model = build_model(RecurrentConfig(**SMALL)).to(torch.bfloat16)
    table = model.block.attention.rope._table(8, torch.device("cpu"))[0]
    assert table.dtype == torch.float32 and float(table[1, 0]) == pytest.approx(math.cos(1.0), abs=1e-6)


def test_per_loop_adapters_differ_between_loops_from_the_start() -> None:
    torch.manual_seed(0)
    model = build_model(RecurrentConfig(**SMALL, loop_lora_rank=4, init_std=0.2))
    x = torch.randn(1, 2, 32)
    assert not torch.allclose(model.lora(x, 0), model.lora(x, 1))
    assert torch.equal(model.lora(x, 50), model.lora(x, model.config.max_loops - 1))


def test_a_tied_head_stays_tied_through_a_cast_and_saves_once() -> None:
    model = build_model(RecurrentConfig(**SMALL)).to(torch.bfloat16)
    assert model.head is None and not any(name.startswith("head") for name in model.state_dict())
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 3, dtype=torch.int64)).logits.shape == (1, 3, 300)


def test_truncated_loops_carry_no_gradient_to_the_adapter_rows_they_used() -> None:
    model = build_model(RecurrentConfig(**SMALL, loop_lora_rank=4, init_std=0.2))
    (logits,), _ = model.unroll(torch.randint(0, 300, (1, 5)), 5, gradient_loops=2)
    logits.sum().backward()
    used = model.lora.scale.grad.abs().sum(-1) > 0
    assert used.tolist() == [False, False, False, True, True, False, False, False]


def test_act_weights_are_never_negative_where_no_rule_stops_a_token() -> None:
    """Read-out by ACT with every loop run: what exceeds 1 in sum is cut, not taken back at the last loop."""
    act, everyone = Act(act_model(2.0, 0.99).halt), torch.ones(1, 1, dtype=torch.bool)
    weights = []
    for loop in range(4):
        act.observe(torch.zeros(1, 1, 32))
        stop = everyone if loop == 3 else ~everyone
        weights.append(act.settle(everyone, stop, stop).item())
    assert min(weights) >= 0 and sum(weights) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("gradient", [False, True], ids=["inference", "training"])
def test_stopped_tokens_count_neither_in_expert_load_nor_in_state_norm(
    gradient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = act_model(-0.5, 0.9).eval()
    ids, loops = torch.randint(0, 300, (2, 6)), torch.tensor([[1, 3, 2, 1, 1, 1], [1, 1, 1, 1, 4, 1]])
    with torch.set_grad_enabled(gradient):
        load = model(ids, 5, exit=Replay(loops)).telemetry.expert_load
        monkeypatch.setattr(model, "one_loop", lambda h, e, loop, *_: (torch.full_like(h, loop + 1.0), None))
        memory = Cache() if not gradient else None
        if memory is not None:
            monkeypatch.setattr(LayerCache, "copy_from", lambda *_: None)
        norms = model(ids, 4, exit=Replay(loops), cache=memory).telemetry.state_norm
    assert load is not None and int(load.sum()) == model.config.experts_per_token * int(loops.sum())
    assert norms == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_the_router_decides_in_float32_under_autocast() -> None:
    moe, x = routed(), torch.randn(200, 32)
    gates, chosen, _ = moe.route(x, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same_gates, same_chosen, _ = moe.route(x, None)
    assert torch.equal(gates, same_gates) and torch.equal(chosen, same_chosen)


def test_bfloat16_heads_are_rotated_by_float32_angles() -> None:
    rope, at = Rope(16, 10_000.0), Positions(torch.arange(500), 500)
    x = torch.randn(1, 500, 2, 16).bfloat16()
    assert torch.equal(rope.rotate(x, at), rope.rotate(x.float(), at).bfloat16())


def test_loops_after_the_last_token_has_stopped_do_not_spoil_the_router_means() -> None:
    """The mean of no token is NaN: it made the whole loss NaN as soon as every token of a batch had halted early."""
    model = tiny_model("recurrent", halting="act").train()
    ids = torch.randint(0, VOCAB, (2, 6), generator=torch.Generator().manual_seed(0))
    _, once = model.unroll(ids, 1)
    _, telemetry = model.unroll(ids, 4, exit=Replay(torch.ones(2, 6, dtype=torch.int64)))
    for name in ("entropy", "balance_loss", "z_loss"):
        torch.testing.assert_close(telemetry.router_mean(name), once.router_mean(name))


def test_the_entropy_of_all_loops_at_once_is_the_mean_of_theirs() -> None:
    """Loops that fewer tokens ran weigh as much as others."""
    model = tiny_model("recurrent", halting="act").train()
    ids = torch.randint(0, VOCAB, (2, 6), generator=torch.Generator().manual_seed(0))
    depths = torch.tensor([[1, 2, 3, 3, 1, 2], [2, 2, 1, 1, 3, 1]])
    _, telemetry = model.unroll(ids, 4, exit=Replay(depths))
    torch.testing.assert_close(telemetry.router_entropy, telemetry.router_mean("entropy"))


def test_means_over_those_who_ran_need_not_pick_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU they are masked, since picking makes the host wait. The fourth loop has nobody left."""
    model = tiny_model("recurrent", halting="act").train()
    ids = torch.randint(0, VOCAB, (2, 6), generator=torch.Generator().manual_seed(0))
    depths = torch.tensor([[1, 2, 3, 3, 1, 2], [2, 2, 1, 1, 3, 1]])
    found = []
    for free in (True, False):
        for room in (ledger, moe):
            monkeypatch.setattr(room, "is_free_to_read", lambda _, free=free: free)
        _, telemetry = model.unroll(ids, 4, exit=Replay(depths))
        names = ("entropy", "balance_loss", "z_loss")
        means = [telemetry.router_mean(name) for name in names]
        (gradient,) = torch.autograd.grad(means[1] + means[2], model.block.ffn.router.weight)
        found.append([*means, gradient, telemetry.router_entropy, telemetry.norms, telemetry.expert_load])
    for picked, masked in zip(*found, strict=True):
        torch.testing.assert_close(masked, picked)


def test_a_wide_gate_parts_what_no_plane_can() -> None:
    """w·silu(U·[h, g] + c) + b of states at RMS 1: here high on both sides of a line, low on it, and high for a good g."""
    gate = Halt(2, 2)
    assert gate.hidden is not None
    with torch.no_grad():
        gate.hidden.weight.copy_(torch.tensor([[9.0, 0.0, 0.0, 2.0], [-9.0, 0.0, 0.0, 0.0]]))
        gate.hidden.bias.zero_()
        gate.weight.fill_(1.0)
        gate.bias.fill_(-4.0)
    states = torch.tensor([[[3.0, 0.1], [-3.0, 0.1], [0.0, 3.0]]])
    before = torch.tensor([0.0, 1.0]).expand_as(states)
    said = gate(unit(before), unit(states))[0]
    x = states[0, :, 0] / states[0].square().mean(-1).sqrt()
    torch.testing.assert_close(said, F.silu(9 * x + 2 * 2**0.5) + F.silu(-9 * x) - 4, rtol=0, atol=1e-4)
    assert (said > 0).tolist() == [True, True, False]
