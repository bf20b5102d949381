"""What must hold of a recurrent model whatever its switches: exact halting, honest books, one memory, true gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mythos
from mythos.contract.budget import kv_bytes_per_token
from mythos.contract.errors import MythosError
from mythos.infer.engine import Engine
from mythos.infer.exits import exits_of
from mythos.infer.sampling import GREEDY, Sampling, sample
from mythos.models.cache import Cache, Causal
from mythos.models.halting import Act, ActRule, Replay, RunAll
from mythos.models.moe import MoE
from mythos.models.recurrent import RecurrentModel, moe_layers
from mythos.models.rope import Positions, Rope
from mythos.train.objectives import compute_loss, cross_entropy
from mythos.train.schedule import Plan
from tests.fakes.checkpoints import tiny_config, tiny_model, write_checkpoint
from tests.models.depth_cases import (
    DENSE,
    EXITS,
    RECURRENT,
    Capped,
    Case,
    assert_same,
    extreme_rule,
    in_chunks,
    rule_for,
    text,
)
from tests.train.test_objective import CYCLE, trainer
from tests.train.test_objective import RECURRENT as TINY_RUN

LENGTH = 8
CHEAP = [case for case in RECURRENT if not case.reads_out]


def looped(**settings: Any) -> RecurrentModel:
    model = tiny_model("recurrent", **settings)
    assert isinstance(model, RecurrentModel)
    return model


# Exact halting ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
@pytest.mark.parametrize("stops", [True, False], ids=["all", "none"])
@pytest.mark.parametrize("case", RECURRENT, ids=str)
def test_halting_is_exact_where_everyone_or_nobody_stops(case: Case, stops: bool, dtype: torch.dtype) -> None:
    """One pass, prefill and decode, chunks, company, and depths that change between calls."""
    model, ids = case.model(dtype), text(2, LENGTH)
    whole = model(ids, exit=extreme_rule(case, stops))
    expected = whole.logits, whole.telemetry.loops
    first = {"fixed": model.config.loops, "kl": 2}.get(case.exit, 1)  # KL needs two loops, `fixed` stops nobody
    assert expected[1].unique().tolist() == [first if stops else model.config.loops]
    for sizes in ([5, 1, 1, 1], [3, 4, 1]):
        assert_same(in_chunks(model, ids, sizes, extreme_rule(case, stops)), expected, dtype)
    for row in range(2):
        found = in_chunks(model, ids[row : row + 1], [5, 1, 1, 1], extreme_rule(case, stops))
        assert_same(found, (expected[0][row : row + 1], expected[1][row : row + 1]), dtype)

    depths, sizes = [2, 5, 3, 4], [3, 2, 1, 2]
    most = torch.tensor([depth for depth, size in zip(depths, sizes, strict=True) for _ in range(size)])
    whole = model(ids, 5, exit=Capped(extreme_rule(case, stops), most.expand(2, -1)))
    found = in_chunks(model, ids, sizes, extreme_rule(case, stops), depths)
    assert_same(found, (whole.logits, whole.telemetry.loops), dtype)


@torch.no_grad()
@pytest.mark.parametrize("case", [case for case in RECURRENT if case.reads_out], ids=str)
def test_depths_may_change_between_calls_under_rules_that_read_out(case: Case) -> None:
    model, ids = case.model(torch.float64), text(2, LENGTH)
    rule = rule_for(case, model, ids)
    most = torch.tensor([5] * 4 + [3] + [4] * 3).expand(2, -1)
    whole = model(ids, 5, exit=Capped(rule(), most))
    assert len(whole.telemetry.loops.unique()) > 1 and bool((whole.telemetry.loops < most).any())
    found = in_chunks(model, ids, [4, 1, 3], rule(), [5, 3, 4])
    assert_same(found, (whole.logits, whole.telemetry.loops), torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("case", [*DENSE, *RECURRENT[:2]], ids=str)
def test_a_chunk_of_several_tokens_continues_a_prefix(case: Case) -> None:
    model, ids = case.model(torch.float64), text(2, LENGTH)
    whole = model(ids)
    found = in_chunks(model, ids, [5, 3], rule_for(case, model, ids)())
    assert_same(found, (whole.logits, whole.telemetry.loops), torch.float64)


# A token that has stopped is not computed ------------------------------------------------------------------------------


def rows_of(model: RecurrentModel, run: Callable[[], Any]) -> set[int]:
    """Rows that go through the looped block and its parts while `run` runs, whatever telemetry says of them.

    One module at a time: hooks on the parts of a block keep it from ways of computing that pass over them.
    """

    def rows(module: nn.Module) -> int:
        seen: list[int] = []
        handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0] * args[0].shape[1]))
        try:
            run()
        finally:
            handle.remove()
        return sum(seen)

    return {rows(module) for module in (model.block, model.block.attention, model.block.ffn)}


@torch.no_grad()
@pytest.mark.parametrize("case", [case for case in CHEAP if case.mixed], ids=str)
def test_a_token_that_stopped_costs_no_further_row_of_the_block(case: Case) -> None:
    model, ids = case.model(torch.float32), text(1, 12)
    assert isinstance(model, RecurrentModel)
    rule = rule_for(case, model, ids)
    loops = model(ids, exit=rule()).telemetry.loops
    needed = int(loops.sum())
    assert needed < 12 * model.config.loops
    for sizes in ([12], [5, 3, 4], [6] + [1] * 6):
        assert rows_of(model, lambda sizes=sizes: in_chunks(model, ids, sizes, rule())) == {needed}
    assert rows_of(model, lambda: in_chunks(model, ids, [4, 1, 7], extreme_rule(case, stops=True))) == {12}


@torch.no_grad()
def test_rows_of_a_batch_are_padded_to_the_one_with_most_tokens_left_and_no_further() -> None:
    model, ids = looped(), text(2, 4)
    loops = torch.tensor([[1, 5, 1, 1], [1, 2, 2, 1]])
    assert rows_of(model, lambda: model(ids, exit=Replay(loops))) == {2 * (4 + 2 + 1 + 1 + 1)}


# Memory ----------------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("loops", [1, 3, 8])
@pytest.mark.parametrize("attention", ["gqa", "mla"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_cache_takes_what_its_formula_says(attention: str, loops: int, dtype: torch.dtype) -> None:
    model, ids = looped(attention=attention, prelude_layers=2).to(dtype), text(2, 9)
    per_token = kv_bytes_per_token(model.config, loops, bytes_per_value=dtype.itemsize)
    cache = Cache()
    for start, end in ((0, 5), (5, 6), (6, 9)):
        model(ids[:, start:end], loops, cache=cache)
        assert cache.nbytes == 2 * end * per_token
    stopped = Cache()  # loops that nobody ran are not kept
    model(ids, 8, cache=stopped, exit=Replay(torch.full_like(ids, loops)))
    assert stopped.nbytes == 2 * 9 * per_token


@torch.no_grad()
def test_mla_keeps_one_latent_and_one_rotary_key_per_token_and_not_per_head() -> None:
    model, cache = looped(attention="mla"), Cache()
    model(text(2, 7), cache=cache)
    c = model.config
    for layer in [*cache.layers.values(), *cache.loops]:
        latent, key = layer.buffers
        assert latent.dim() == key.dim() == 3
        assert (latent.shape[2], key.shape[2]) == (c.mla_kv_rank, c.mla_rope_dim)


# The books of ACT ------------------------------------------------------------------------------------------------------


def weights_of(model: RecurrentModel, ids: Tensor, loops: int, sparse: bool, threshold: float) -> tuple[Tensor, Tensor]:
    """(ACT weights [B, T, L], read-out [B, T, D]) of states e, 2e, 3e, … by one way or the other."""
    weights: list[Tensor] = []
    states: list[Tensor] = []
    settle = Act.settle

    def keep(*args: Any) -> Tensor:
        weights.append(settle(*args))
        return weights[-1]

    with pytest.MonkeyPatch.context() as patch, torch.set_grad_enabled(not sparse):
        patch.setattr(model, "one_loop", lambda h, e, *_: (h + e, None))
        patch.setattr(model, "read_out", lambda state, *_, **__: states.append(state) or state)
        patch.setattr(Act, "settle", keep)
        model(ids, loops, exit=ActRule(threshold))
    return torch.stack(weights, dim=-1).detach(), states[-1].detach()


@pytest.mark.parametrize("sparse", [True, False], ids=["inference", "training"])
@pytest.mark.parametrize("read_out", ["auto", "last", "mean"])
@pytest.mark.parametrize("threshold", [0.5, 0.99, 1.0])
def test_weights_sum_to_one_and_say_what_is_read_out(sparse: bool, read_out: str, threshold: float) -> None:
    model, ids = looped(halting="act", initial_state="zero", state_read_out=read_out), text(2, LENGTH)
    with torch.no_grad():
        e = model._run("prelude", model.embedding(ids), Positions(torch.arange(LENGTH), LENGTH), None, 0)
    for bias in (-20.0, -2.0, -0.5, 20.0):
        model.halt.bias.data.fill_(bias)
        for loops in (1, 2, 7):
            weights, state = weights_of(model, ids, loops, sparse, threshold)
            assert float(weights.min()) >= 0
            torch.testing.assert_close(weights.sum(-1), torch.ones(2, LENGTH), atol=1e-6, rtol=0)
            depth = torch.arange(1.0, weights.shape[-1] + 1)
            last = (weights > 0).float().mul(depth).amax(-1)
            factor = {"auto": (weights * depth).sum(-1), "last": last, "mean": (last + 1) / 2}[read_out]
            torch.testing.assert_close(state, factor.unsqueeze(-1) * e, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("sparse", [True, False], ids=["inference", "training"])
def test_without_the_remainder_weight_is_lost_exactly_where_a_token_never_crossed(sparse: bool) -> None:
    model, ids = looped(halting="act", act_remainder=False), text(2, 12)
    weights, _ = weights_of(model, ids, 3, sparse, 0.9)
    filled, _ = weights_of(looped(halting="act"), ids, 3, sparse, 0.9)
    crossed = (filled.sum(-1) - weights.sum(-1)).abs() < 1e-6
    assert 0 < int(crossed.sum()) < ids.numel()
    assert bool((weights.sum(-1)[~crossed] < 0.9).all())
    assert torch.equal(weights[crossed], filled[crossed])


# Gradients -------------------------------------------------------------------------------------------------------------


def truncated_by_hand(model: RecurrentModel, ids: Tensor, loops: int, kept: int) -> Tensor:
    """Logits after `loops` loops, the state and what is injected detached before the last `kept`."""
    positions = Positions(torch.arange(ids.shape[1]), ids.shape[1])
    e = model._run("prelude", model.embedding(ids), positions, None, 0)
    h = model.initial_state(e, 0)
    for loop in range(loops):
        h, _ = model.one_loop(h, e, loop, positions, Causal(), None)
        if loop < loops - kept:
            h = h.detach()
    return model.read_out(h, positions, None, 0)


@pytest.mark.parametrize("checkpoint", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("kept", [1, 2, 4])
@pytest.mark.parametrize("attention", ["gqa", "mla"])
def test_truncated_gradients_are_those_of_a_detached_state(attention: str, kept: int, checkpoint: bool) -> None:
    settings = {"attention": attention, "loop_lora_rank": 4, "loop_index_embedding": True}
    model = looped(dtype=torch.float64, **settings).train()
    ids, targets, names = text(2, LENGTH), text(2, LENGTH, seed=2), [name for name, _ in model.named_parameters()]

    def gradients(logits: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(cross_entropy(logits, targets), list(model.parameters()))
        return dict(zip(names, found, strict=True))

    (logits,), _ = model.unroll(ids, 4, gradient_loops=kept, checkpoint=checkpoint)
    found, expected = gradients(logits), gradients(truncated_by_hand(model, ids, 4, kept))
    whole = gradients(truncated_by_hand(model, ids, 4, 4))
    for name in names:
        torch.testing.assert_close(found[name], expected[name], atol=1e-10, rtol=1e-6, msg=name)
    differs = not torch.allclose(found["block.attention.out.weight"], whole["block.attention.out.weight"], rtol=1e-3)
    assert differs == (kept < 4)


def test_per_loop_adapters_differ_between_loops_and_learn_from_the_first_step() -> None:
    """At the initial weights of a real run."""
    model = looped(loop_lora_rank=4, init_std=0.02)
    e, positions = torch.randn(1, LENGTH, 32), Positions(torch.arange(LENGTH), LENGTH)
    states = [model.one_loop(e, e, loop, positions, Causal(), None)[0] for loop in range(3)]
    for other in states[1:]:
        assert float((states[0] - other).detach().abs().max()) > 1e-4
    torch.stack(states).square().sum().backward()
    for name, parameter in model.lora.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name
    assert (model.lora.scale.grad.abs().sum(-1) > 0).tolist() == [True] * 3 + [False] * 5


# The router's bias -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [False, True], ids=["kept", "recomputed"])
def test_no_pass_moves_the_router_bias_and_a_step_moves_it_once(tmp_path: Path, checkpoint: bool) -> None:
    run = trainer(tmp_path, [*TINY_RUN, f"train.checkpoint_loops={checkpoint}", "model.loops=3"])
    (moe,) = moe_layers(run.model)
    moe.router_bias += torch.linspace(0.0, 0.1, moe.experts)  # a step puts it back on its centre
    before, ids = moe.router_bias.clone(), torch.tensor([CYCLE])
    for training in (True, False):
        run.model.train(training)
        for _ in range(3):  # gradients that add up
            compute_loss(run.model, ids[:, :-1], ids[:, 1:], run.config, Plan(3, (3,), 3), 0).total.backward()
        with torch.no_grad():
            run.model(ids, cache=Cache())
    assert torch.equal(moe.router_bias, before)
    result = run.step()
    load, rate = result.telemetry.expert_load, run.config.objective.router_bias_rate
    tokens = run.config.train.batch_size * run.config.train.sequence
    assert load is not None and int(load.sum()) == tokens * result.loops * moe.k
    once = before + rate * torch.sign(load.float().mean() - load)
    torch.testing.assert_close(moe.router_bias, once - once.mean(), atol=1e-7, rtol=0)


# What casts and files must keep ----------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_tied_head_survives_initialisation_file_and_cast(tmp_path: Path) -> None:
    checkpoint = mythos.load(write_checkpoint(tmp_path / "tied"))
    ids = torch.tensor([[1, 2, 3]])
    for model in (looped(), checkpoint.model, checkpoint.model.to(torch.bfloat16)):
        assert [n for n, p in model.named_parameters() if p.shape == model.embedding.weight.shape] == [
            "embedding.weight"
        ]
        before = model(ids).logits
        model.embedding.weight[9] += 1  # not among the inputs: only its own column of the head can tell
        changed = (model(ids).logits != before).flatten(0, 1).any(0)
        assert changed.nonzero().flatten().tolist() == [9]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("attention", ["gqa", "mla"])
def test_angles_survive_a_cast_of_the_model(attention: str, dtype: torch.dtype) -> None:
    model = looped(attention=attention, prelude_layers=2)
    x = torch.randn(1, 64, 2, model.block.attention.rope.dim)

    def rotated(rope: Rope, x: Tensor) -> Tensor:
        return rope.rotate(x, Positions(torch.arange(64), 64))  # positions keep the angles that they have met

    before = rotated(model.block.attention.rope, x)
    model(text(1, LENGTH))
    assert not any("rope" in name for name in model.state_dict())
    ropes = [block.attention.rope for block in (model.to(dtype).block, *model.prelude, *model.coda)]
    assert len(ropes) == 4
    for rope in ropes:
        assert torch.equal(rotated(rope, x), before)
        assert torch.equal(rotated(rope, x.to(dtype)), rotated(rope, x.to(dtype).float()).to(dtype))


# What is refused -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_sequence_that_outgrows_the_context_is_refused_on_every_way(tmp_path: Path) -> None:
    model, cache = looped(), Cache()
    model(text(1, 60), cache=cache)
    for call in (lambda: model(text(1, 5), cache=cache), lambda: model.unroll(text(1, 65), 2)):
        with pytest.raises(ValueError, match="65 tokens exceeds the model's context of 64"):
            call()
    assert cache.length == 60
    engine = Engine(model)
    engine.prefill(text(1, 63)[0].tolist())
    assert engine.step().loops == model.config.loops and engine.full
    with pytest.raises(MythosError, match="context of 64 tokens is full") as caught:
        engine.step()
    assert caught.value.hint
    with pytest.raises(ValueError, match="n_loops must be at least 1"):
        engine.prefill([1, 2], n_loops=0)


def test_at_temperature_zero_nothing_is_left_to_chance() -> None:
    logits = torch.randn(500, 20, generator=torch.Generator().manual_seed(0))
    for sampling in (GREEDY, Sampling(0.0, top_k=5, top_p=0.5)):
        assert torch.equal(sample(logits, sampling).id, logits.argmax(-1))


def test_every_exit_rule_is_put_to_the_test() -> None:
    known = {name for halting in ("act", "gate") for name in exits_of(tiny_config("recurrent", halting=halting))}
    assert known == set(EXITS)


@pytest.mark.parametrize("how", ["training", "inference", "decode"])
def test_a_bias_that_shifts_the_choice_never_scales_what_the_experts_say(how: str) -> None:
    """Where every expert is chosen anyway, it changes nothing."""
    model, ids = looped(experts_per_token=4), text(1, LENGTH)
    sizes = [1] * LENGTH if how == "decode" else [LENGTH]

    def logits() -> Tensor:
        if how == "training":
            return model(ids).logits
        with torch.no_grad():
            return in_chunks(model, ids, sizes, RunAll())[0]

    before = logits()
    assert isinstance(model.block.ffn, MoE)
    model.block.ffn.router_bias += torch.tensor([0.0, 0.5, -0.5, 1.0])
    torch.testing.assert_close(logits(), before, atol=1e-5, rtol=1e-5)
