"""The next-token objective is right through loader, loss and generation together, and everything resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mythos.contract.load import parse_config
from mythos.data.answers import IGNORED
from mythos.data.loader import Loader
from mythos.data.shards import Corpus, SplitWriter, write_meta
from mythos.models.build import build_model
from mythos.models.halting import GateRule, Replay
from mythos.models.recurrent import moe_layers
from mythos.train.device import Device
from mythos.train.loop import Trainer
from mythos.train.objectives import Batch, compute_loss, cross_entropy, exit_distribution, loss_of
from mythos.train.optim import Optimizer, is_hidden_matrix
from mythos.train.schedule import LoopSampler, Plan, lr_share

CYCLE = [5, 3, 9, 1, 7, 2, 8]
CPU = Device("cpu", "fp32", 1, 1e9)
TINY = [
    "model.vocab_size=257",
    "model.width=32",
    "model.ffn_width=64",
    "model.context=32",
    "train.sequence=16",
    "train.batch_size=4",
    "train.warmup_steps=5",
    "train.steps=150",
    "train.lr=0.01",
]
RECURRENT = [*TINY, "model.expert_width=16", "model.loops=2", "model.max_loops=3"]
DENSE = [*TINY, "model.family=dense", "model.n_layers=2"]
ACT = [*RECURRENT, "model.halting=act", "objective.kind=act", "objective.loop_sampling=fixed"]


def cyclic_corpus(folder: Path) -> Corpus:
    """One long document that repeats CYCLE; nothing in it is a matter of chance."""
    folder.mkdir(parents=True)
    stream = CYCLE * 300
    splits = {}
    for name in ("train", "held_out"):
        with SplitWriter(folder, name, np.dtype("<u2"), 1 << 20) as writer:  # type: ignore[arg-type]
            writer.begin("cycle", len(stream), CYCLE[-1])
            writer.extend(stream)
            splits[name] = writer.finish()
    (folder / "tokenizer.json").write_text("{}")
    write_meta(folder, {"vocab_size": 257, "dtype": "<u2", "shard_tokens": 1 << 20, "splits": splits})
    return Corpus(folder)


def trainer(tmp_path: Path, overrides: list[str], name: str = "c") -> Trainer:
    corpus = Corpus(tmp_path / name) if (tmp_path / name).exists() else cyclic_corpus(tmp_path / name)
    torch.set_num_threads(1)
    config = parse_config({}, overrides)
    precision = "bf16" if config.train.precision == "bf16" else "fp32"
    return Trainer(config, corpus.split("train"), replace(CPU, precision=precision))


@pytest.mark.parametrize("overrides", [DENSE, RECURRENT, ACT], ids=["dense", "recurrent", "act"])
def test_a_cyclic_stream_is_learnt_and_continued(tmp_path: Path, overrides: list[str]) -> None:
    """A label shifted twice would be learnt as well, and then continued by skipping every other token."""
    run = trainer(tmp_path, overrides)
    loss = 9.0
    for _ in range(run.config.train.steps):
        loss = float(run.step().parts["cross_entropy"])
    assert loss < 0.05
    ids = CYCLE[:3]
    model = run.model.eval()
    with torch.no_grad():
        for _ in range(20):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert ids == (CYCLE * 4)[:23]


SWITCHES = {
    "truncated": ["model.loops=3", "objective.backprop_loops=1"],
    "poisson": ["objective.loop_sampling=poisson"],
    "uniform": ["objective.loop_sampling=uniform", "objective.supervised_depths=3"],
    "random state": ["model.initial_state=random"],
    "no injection": ["model.injection=none", "model.norm=sandwich"],
    "no experts": ["model.n_experts=0", "model.activation=gelu"],
    "no prelude": ["model.prelude_layers=0", "model.coda_layers=0"],
    "mla": ["model.attention=mla", "model.mla_q_rank=16"],
    "frozen router": ["model.router=frozen", "objective.balance_loss=0.01"],
    "act, truncated": [*ACT[len(RECURRENT) :], "objective.backprop_loops=1"],
    "act, running on": [*ACT[len(RECURRENT) :], "model.halted_tokens=run"],
    "act, depths": ["model.halting=act"],
    "act, last state": [*ACT[len(RECURRENT) :], "model.state_read_out=last", "model.act_remainder=false"],
    "mean state": ["model.state_read_out=mean"],
    "entropy gate": ["model.halting=gate", "objective.kind=entropy_gate", "objective.gate_share=0"],
    "gate": ["model.halting=gate", "objective.gate_share=0.1"],
    "gate, one loop": ["model.halting=gate", "model.loops=1", "model.max_loops=1", "objective.gate_share=0.5", "train.steps=6"],
    "mixed exits": ["objective.mixed_exits=0.5", "model.loops=3"],
    "warm-up loops": ["objective.warmup_loops=4", "objective.warmup_loops_from=0", "objective.curriculum_steps=3"],
    "checkpointed": ["train.checkpoint_loops=true", "model.loops=3"],
    "adamw": ["train.optimizer=adamw", "train.grad_clip=0"],
    "bf16": ["train.precision=bf16", "model.loop_lora_rank=2", "model.loop_index_embedding=true"],
}


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_every_switch_trains_and_is_read_out(tmp_path: Path, switches: list[str]) -> None:
    run = trainer(tmp_path, [*RECURRENT, *switches])
    losses = [float(run.step().loss) for _ in range(6)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())
    with torch.no_grad():
        assert bool(run.model.eval()(torch.tensor([CYCLE])).logits.isfinite().all())


@pytest.mark.parametrize("overrides", [DENSE, RECURRENT], ids=["dense", "recurrent"])
def test_resuming_in_memory_gives_the_same_bits(tmp_path: Path, overrides: list[str]) -> None:
    whole = trainer(tmp_path, overrides)
    straight = [float(whole.step().loss) for _ in range(8)]
    first = trainer(tmp_path, overrides)
    losses = [float(first.step().loss) for _ in range(4)]
    weights = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    tensors, plain = first.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    second = trainer(tmp_path, overrides)
    second.model.load_state_dict(weights)
    second.restore(tensors, plain)
    losses += [float(second.step().loss) for _ in range(4)]
    assert losses == straight
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_the_router_bias_moves_once_per_step_and_never_in_evaluation(tmp_path: Path) -> None:
    run = trainer(tmp_path, RECURRENT)
    (moe,) = moe_layers(run.model)
    run.step()
    moved = moe.router_bias.clone()
    assert 0 < float(moved.abs().max()) <= 2 * run.config.objective.router_bias_rate
    with torch.no_grad():
        run.model.eval()(torch.zeros(1, 4, dtype=torch.int64))
    assert torch.equal(moe.router_bias, moved)


def test_every_parameter_is_updated(tmp_path: Path) -> None:
    switches = ["model.loop_lora_rank=2", "model.loop_index_embedding=true", "objective.loop_sampling=fixed"]
    run = trainer(tmp_path, [*RECURRENT, *switches])
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.step()
    still = [name for name, p in run.model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


def test_injection_norms_and_biases_know_neither_decay_nor_muon() -> None:
    config = parse_config({}, [*RECURRENT, "model.halting=act"])
    model = build_model(config.model)
    optimizer = Optimizer(model, config.train)
    decayed = {id(p) for group in optimizer.adamw.param_groups if group["weight_decay"] for p in group["params"]}
    plain = {id(p) for group in optimizer.adamw.param_groups if not group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 or "injection" in name:
            assert id(parameter) in plain and id(parameter) not in decayed, name
            assert not is_hidden_matrix(name, parameter)
        elif "embedding" in name or "router" in name:
            assert id(parameter) in decayed and not is_hidden_matrix(name, parameter), name
        elif "halt" not in name:
            assert is_hidden_matrix(name, parameter), name


@pytest.mark.parametrize("policy", ["skip", "note"])
def test_an_update_that_is_not_a_number_is_left_out_where_that_is_asked_for(tmp_path: Path, policy: str) -> None:
    run = trainer(tmp_path, [*RECURRENT, f"alerts.nan={policy}"])
    run.step()
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.model.norm.weight.register_hook(lambda gradient: gradient * float("nan"))
    result = run.step()
    assert not bool(result.grad_norm.isfinite()) and run.steps_done == 2
    kept = [name for name, p in run.model.named_parameters() if torch.equal(p, before[name])]
    assert len(kept) == (len(before) if policy == "skip" else 0)


def test_the_learning_rate_warms_up_and_falls_to_its_floor() -> None:
    config = parse_config({}, ["train.steps=100", "train.warmup_steps=10", "train.min_lr_ratio=0.1"])
    shares = [lr_share(step, config) for step in range(101)]
    assert shares[0] == pytest.approx(0.1) and max(shares) == shares[9] == pytest.approx(1.0, abs=1e-3)
    assert shares[100] == pytest.approx(0.1) and shares[10:] == sorted(shares[10:], reverse=True)


def test_the_gate_has_a_cosine_of_its_own_after_the_models(tmp_path: Path) -> None:
    config = parse_config(
        {}, ["train.steps=100", "train.warmup_steps=0", "model.halting=gate", "objective.gate_share=0.4"]
    )
    shares = [lr_share(step, config) for step in range(100)]
    assert shares[0] == shares[60] == 1.0 and shares[59] < 0.11 and shares[99] < 0.11


@pytest.mark.parametrize("kind", ["poisson", "uniform", "fixed"])
def test_loop_counts_keep_their_mean_and_bounds(kind: str) -> None:
    switches = ["model.loops=4", "model.max_loops=20", "objective.backprop_loops=3"]
    config = parse_config({}, [f"objective.loop_sampling={kind}", *switches])
    sampler = LoopSampler(config)
    plans = [sampler.draw(step) for step in range(2000)]
    counts = [plan.loops for plan in plans]
    assert np.mean(counts) == pytest.approx(4, abs=0.2) and 1 <= min(counts) <= max(counts) <= 20
    for plan in plans:
        assert plan.depths[-1] == plan.loops and list(plan.depths) == sorted(set(plan.depths))
        assert plan.gradient_loops == min(3, plan.loops) and plan.depths[0] > plan.loops - 3


def test_the_curriculum_raises_the_mean_and_warm_up_loops_come_late_and_without_gradient() -> None:
    switches = ["model.loops=6", "model.max_loops=30", "train.steps=4000", "objective.supervised_depths=3"]
    late = ["objective.curriculum_steps=1000", "objective.warmup_loops=8", "objective.warmup_loops_from=0.5"]
    sampler = LoopSampler(parse_config({}, [*switches, *late]))
    plans = [sampler.draw(step) for step in range(4000)]
    means = [np.mean([plan.gradient_loops for plan in plans[start : start + 500]]) for start in range(0, 4000, 500)]
    warm = [plan.loops - plan.gradient_loops for plan in plans]
    assert means[0] < means[1] < means[2] == pytest.approx(6, abs=0.4)
    assert max(warm[:2000]) == 0 and 0 < max(warm[2000:3000]) < max(warm[3500:]) == 8
    assert all(plan.depths[0] > plan.loops - plan.gradient_loops for plan in plans)


def test_mixed_exits_take_their_share_of_the_steps() -> None:
    sampler = LoopSampler(parse_config({}, [*RECURRENT, "objective.mixed_exits=0.25"]))
    assert np.mean([sampler.draw(step).mixed for step in range(2000)]) == pytest.approx(0.25, abs=0.04)


def test_mixed_exits_train_what_inference_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of such a step is that of the sparse pass with the same exits."""
    run = trainer(tmp_path, [*RECURRENT, "model.initial_state=prelude"])
    ids = torch.tensor([CYCLE[:6]])
    drawn: list[torch.Tensor] = []
    draw = torch.randint
    monkeypatch.setattr(torch, "randint", lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1])
    loss = compute_loss(run.model, ids[:, :-1], ids[:, 1:], run.config, Plan(3, (3,), 3, mixed=True), 0)
    assert len(drawn[0].unique()) > 1
    with torch.no_grad():
        sparse = run.model(ids[:, :-1], 3, exit=Replay(drawn[0]))
    torch.testing.assert_close(loss.parts["cross_entropy"], cross_entropy(sparse.logits, ids[:, 1:]))
    assert torch.equal(loss.telemetry.loops, drawn[0])


def test_mixed_exits_may_spare_the_tokens_that_are_asked_for_something(tmp_path: Path) -> None:
    spared = [*RECURRENT, "model.initial_state=prelude", "objective.mixed_exits_spare=true"]
    run, ids = trainer(tmp_path, spared), torch.tensor([CYCLE[:6]]).repeat(20, 1)
    targets = ids[:, 1:].clone()
    targets[:, ::2] = IGNORED
    loss = compute_loss(run.model, ids[:, :-1], targets, run.config, Plan(3, (3,), 3, mixed=True), 0)
    assert loss.telemetry.loops[targets != IGNORED].unique().tolist() == [3]
    assert loss.telemetry.loops[targets == IGNORED].unique().tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", ["dense", "depth_supervised", "mixed", "act", "entropy_gate"])
@pytest.mark.parametrize("divisor", [None, 0.25])
def test_a_batch_that_asks_for_nothing_has_no_loss_and_finite_gradients(kind: str, divisor: float | None) -> None:
    """Its mean was one of no token, NaN, and so were all weights after the step."""
    halting = {"act": "act", "entropy_gate": "gate"}.get(kind, "none")
    objective = [f"model.halting={halting}", f"objective.kind={kind if halting != 'none' else 'depth_supervised'}"]
    config = parse_config({}, DENSE if kind == "dense" else [*RECURRENT, *objective, "objective.gate_share=0"])
    model, ids = build_model(config.model), torch.tensor([CYCLE])
    plan = Plan(3, (3,) if kind in ("act", "mixed") else (2, 3), 3, mixed=kind == "mixed")
    asked = None if divisor is None else torch.tensor(divisor)
    loss = loss_of(model, Batch(ids, torch.full_like(ids, IGNORED), asked=asked), config, plan, 0)
    loss.total.backward()
    assert float(loss.parts["cross_entropy"]) == 0
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_the_exit_distribution_is_a_distribution_with_the_gate_as_hazard() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    p, hazard = exit_distribution(logits), logits.sigmoid()
    torch.testing.assert_close(p.sum(-1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(p[:, 1], (1 - hazard[:, 0]) * hazard[:, 1])
    torch.testing.assert_close(p[:, 3], (1 - hazard[:, :3]).prod(-1))


def test_in_the_last_steps_the_gate_learns_on_a_frozen_model(tmp_path: Path) -> None:
    """And it then says where stopping costs little: its exits keep the prediction, and differ between tokens."""
    switches = ["model.loops=3", "model.halting=gate", "objective.gate_share=0.5", "train.steps=120", "train.lr=0.03"]
    run = trainer(tmp_path, [*RECURRENT, *switches])
    for _ in range(60):
        run.step()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    steps = [run.step() for _ in range(60)]
    losses = [float(step.parts["gate"]) for step in steps]
    changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"halt.weight", "halt.bias"}
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert all(step.loss == step.parts["cross_entropy"] for step in steps), "the gate's loss was told as the model's"
    with pytest.raises(ValueError, match="halting 'gate'"):
        trainer(tmp_path, RECURRENT).model(torch.tensor([CYCLE]), exit=GateRule(0.5))


@pytest.mark.parametrize("kind", ["depth_supervised", "act", "entropy_gate"])
def test_recomputing_loops_changes_no_gradient_and_counts_no_expert_twice(tmp_path: Path, kind: str) -> None:
    halting = {"act": "act", "entropy_gate": "gate", "depth_supervised": "none"}[kind]
    switches = [
        f"model.halting={halting}",
        f"objective.kind={kind}",
        "objective.gate_share=0.1",
        "model.loop_lora_rank=2",
        "model.loops=3",
    ]
    found = []
    for checkpoint in (False, True):
        run = trainer(tmp_path, [*RECURRENT, *switches, f"train.checkpoint_loops={checkpoint}", "train.grad_clip=0"])
        ids = torch.tensor([CYCLE])
        loss = compute_loss(
            run.model, ids[:, :-1], ids[:, 1:], run.config, Plan(3, (3,) if kind == "act" else (2, 3), 3), 0
        )
        loss.total.backward()
        result = run.step()
        layer = moe_layers(run.model)[0]
        gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
        found.append((loss.total.detach(), result.telemetry.expert_load, layer.router_bias, *gradients))
    assert len(found[0]) == len(found[1])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again)


def test_the_loader_and_the_loss_agree_on_what_comes_next(tmp_path: Path) -> None:
    inputs, targets = Loader(cyclic_corpus(tmp_path / "c").split("train"), 16, 2, 0).next()
    following = dict(zip(CYCLE, CYCLE[1:] + CYCLE[:1], strict=True))
    assert [following[int(token)] for token in inputs.flatten()] == targets.flatten().tolist()


@pytest.mark.slow
def test_a_compiled_step_is_the_eager_one(tmp_path: Path) -> None:
    switches = [*RECURRENT, "model.loops=3", "objective.loop_sampling=fixed", "train.grad_clip=0"]
    switches += ["model.loop_lora_rank=2", "model.loop_index_embedding=true"]  # what depends on the loop's number
    eager, compiled = (trainer(tmp_path, [*switches, f"train.compile={on}"]) for on in (False, True))
    for _ in range(3):
        torch.testing.assert_close(compiled.step().loss, eager.step().loss, atol=1e-4, rtol=1e-4)
    assert compiled.model.fused_loop is not None and eager.model.fused_loop is None
