"""The guard tells of each trouble once, when it begins; it is silent over healthy runs; resuming changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from mythos.contract.alerts import LIMITS, PLAYBOOK, Action, as_event
from mythos.contract.budget import training_bytes
from mythos.contract.config import AlertConfig
from mythos.contract.errors import ConfigError
from mythos.contract.load import parse_config
from mythos.models.recurrent import moe_layers
from mythos.train.alerts import Alert, Guard
from mythos.train.loop import Trainer
from mythos.train.meter import Meter
from mythos.train.preparing import lack_of_memory
from tests.fakes.runs import metrics_line
from tests.train.test_objective import DENSE, RECURRENT, trainer

ROOT = Path(__file__).parents[2]
ACT = ["model.halting=act", "objective.kind=act"]
Record = dict[str, Any]
STEP_TOKENS = 16 * 256


def healthy(number: int, family: str = "recurrent", seed: int = 0) -> Record:
    """Record `number` of a run that logs every ten steps, with the spread that real runs have."""
    rng = np.random.default_rng([seed, number])
    line = metrics_line(10 * number, family, time=10.0 * number)
    loss = line["loss"] * math.exp(0.03 * rng.standard_normal())
    line |= {"loss": loss, "loss_parts": {"cross_entropy": loss}}
    line["grad_norm"] *= math.exp(0.3 * rng.standard_normal())
    line["flops_per_s"] *= math.exp(0.1 * rng.standard_normal())
    if family == "recurrent":
        line |= {"state_norm": line["state_norm"][: 1 + int(rng.poisson(3))], "rho_a": 0.46}
    return line


def told(guard: Guard, records: list[Record]) -> list[Alert]:
    return [alert for record in records for alert in guard.observe(record)]


@pytest.mark.parametrize("overrides", [["model.family=dense"], [], ACT], ids=["dense", "recurrent", "act"])
def test_nothing_is_told_of_a_thousand_healthy_records(overrides: list[str]) -> None:
    config = parse_config({}, overrides)
    assert told(Guard(config), [healthy(n, config.model.family) for n in range(1000)]) == []


def loss(value: float) -> Record:
    return {"loss": value, "loss_parts": {"cross_entropy": value}}


TROUBLES: list[tuple[str, list[str], Record, str]] = [
    ("nan", [], loss(math.nan), "loss is nan"),
    ("nan", ["train.precision=bf16"], {"grad_norm": math.inf}, "grad_norm is inf"),
    ("nan", ["train.precision=fp16"], {"grad_norm": math.inf}, "grad_norm is inf"),
    ("loss_spike", [], loss(9.0), "robust deviations above"),
    ("gradient_spike", [], {"grad_norm": 60.0}, "robust deviations above"),
    ("expert_collapse", [], {"expert_load": [0.44] + [0.08] * 7}, "expert 0 does 3.5 times its share"),
    ("expert_collapse", [], {"expert_load": [0.0] + [1 / 7] * 7}, "1 of 8 experts get nothing: 0"),
    ("expert_collapse", [], {"router_entropy": 0.02}, "entropy is 0.020 of at most 2.08"),
    ("halting_collapse", ACT, {"loops_histogram": [10 * STEP_TOKENS] + [0] * 7, "ponder": 1.0}, "always one"),
    ("halting_collapse", ACT, {"loops_histogram": [n * STEP_TOKENS for n in (1, 3, 4, 2)]}, "none stops alone"),
    ("state_growth", [], {"state_norm": [1.0, 2.0, 4.0, 8.0]}, "1 after the first of 4 loops, 8 after the last"),
    ("rho_a", ["model.a_max=0.7"], {"rho_a": 0.699}, "0.6990 of at most 0.7"),
    ("low_throughput", [], {"flops_per_s": 1e10}, "25% of the"),
]


@pytest.mark.parametrize(("kind", "overrides", "change", "evidence"), TROUBLES, ids=lambda value: str(value)[:24])
def test_each_trouble_is_told_once_when_it_begins(
    kind: str, overrides: list[str], change: Record, evidence: str
) -> None:
    guard = Guard(parse_config({}, overrides))
    assert told(guard, [healthy(n) for n in range(100)]) == []
    (alert,) = told(guard, [healthy(n) | change for n in range(100, 120)])
    assert (alert.kind, alert.level, alert.advice) == (kind, PLAYBOOK[kind].level, PLAYBOOK[kind].advice)
    assert evidence in alert.evidence and 1000 <= alert.step <= 1100
    assert alert.action == ("stop" if kind == "nan" else "note")
    event = as_event(alert)
    assert event["alert"] == kind and alert.evidence in event["message"] and event["hint"] == alert.advice


def test_a_trouble_that_comes_back_is_told_again_but_not_if_it_only_flickers() -> None:
    guard, sick = Guard(parse_config({})), {"state_norm": [1.0, 2.0, 4.0, 8.0]}
    well = {"state_norm": [1.0, 1.2, 1.3, 1.3]}

    def phase(first: int, count: int, change: Record) -> int:
        return len(told(guard, [healthy(n) | change for n in range(first, first + count)]))

    assert phase(50, 4, sick) == 0  # not long enough
    assert phase(54, 1, well) == 0
    assert phase(55, 9, sick) == 1
    assert phase(64, 3, well) + phase(67, 20, sick) == 0
    assert phase(87, 10, well) == 0
    assert phase(97, 9, sick) == 1


def test_what_was_logged_at_every_step_must_last_as_many_steps() -> None:
    guard = Guard(parse_config({}))
    records = [healthy(30) | {"step": step, "router_entropy": 0.01} for step in range(300, 345)]
    assert [alert.step for alert in told(guard, records)] == [340]


def test_what_is_usual_at_the_beginning_is_forgiven_there() -> None:
    sick = {"router_entropy": 0.01, "loops_histogram": [10 * STEP_TOKENS]}
    guard = Guard(parse_config({}, ACT))
    assert told(guard, [healthy(n) | sick for n in range(21)]) == []
    found = told(guard, [healthy(n) | sick for n in range(21, 40)])
    assert [(alert.kind, alert.step) for alert in found] == [("expert_collapse", 250), ("halting_collapse", 250)]


def test_an_overflow_that_halves_the_loss_scale_is_no_trouble() -> None:
    records = [healthy(n) | ({"grad_norm": math.inf} if n % 5 < 2 else {}) for n in range(40)]
    assert told(Guard(parse_config({}, ["train.precision=fp16"])), records) == []
    assert [a.step for a in told(Guard(parse_config({}, ["train.precision=fp32"])), records)] == [0]


def test_a_twentieth_of_the_tokens_at_another_depth_is_no_collapse() -> None:
    histogram = [0, STEP_TOKENS // 20, 9 * STEP_TOKENS, STEP_TOKENS - STEP_TOKENS // 20]
    records = [healthy(n) | {"loops_histogram": histogram} for n in range(50, 70)]
    assert told(Guard(parse_config({}, ACT)), records) == []


def test_steps_are_held_against_their_like() -> None:
    """A step of one loop has a larger loss, and one in which the gate alone learns has another gradient and speed."""
    guard = Guard(parse_config({}, ["model.halting=gate"]))
    records = [healthy(n) | {"state_norm": [1.0] * 4, **loss(1.0)} for n in range(60)]
    for record in records[::20]:
        record |= {"state_norm": [1.0], **loss(7.0)}
    gate = {"cross_entropy": 1.0, "gate": 0.3}
    records += [healthy(n) | {"loss_parts": gate, "grad_norm": 0.01 * n, "flops_per_s": 1e9} for n in range(60, 90)]
    assert told(guard, records) == []
    assert [alert.kind for alert in told(guard, [healthy(99) | {"state_norm": [1.0] * 4, **loss(7.0)}])] == [
        "loss_spike"
    ]


def test_overfitting_needs_three_rises_while_training_gets_better() -> None:
    def kinds(held_out: list[float], training: list[float]) -> list[str]:
        guard, found = Guard(parse_config({})), []
        for n, (outside, inside) in enumerate(zip(held_out, training, strict=True)):
            guard.observe(healthy(n) | loss(inside))
            found += guard.evaluated({"step": 10 * n, "loss": outside})
        return [alert.kind for alert in found]

    falling = [2.0, 1.9, 1.8, 1.7, 1.6]
    assert kinds([2.1, 2.0, 2.05, 2.1, 2.2], falling) == ["overfitting"]
    assert kinds([2.1, 2.0, 2.05, 2.1, 2.2], falling[::-1]) == []
    assert kinds([2.1, 2.0, 2.05, 2.04, 2.2], falling) == []
    assert kinds([2.0, 2.0001, 2.0002, 2.0003, 2.0004], falling) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_out_of_memory_names_the_setting_to_change(error: Exception) -> None:
    alert = Guard(parse_config({})).out_of_memory(error)
    assert alert and alert.action == "stop" and alert.evidence == "train.batch_size 16 × train.sequence 256"
    assert alert.advice.startswith("Start anew with train.checkpoint_loops=true")
    dense = Guard(parse_config({}, ["model.family=dense", "train.batch_size=1"])).out_of_memory(error)
    assert dense and dense.advice.startswith("Start anew with train.sequence=128")
    assert Guard(parse_config({})).out_of_memory(ValueError("no memory of that")) is None


def test_a_training_that_cannot_fit_is_told_of_before_it_begins() -> None:
    config = parse_config({}, ["train.batch_size=64"])
    needed = training_bytes(config, "fp32")
    assert training_bytes(config, "fp16") == training_bytes(config, "bf16") < needed, "older GPUs compute in fp16"
    assert lack_of_memory(config, "fp32", needed) is lack_of_memory(config, "fp32", None) is None
    alert = lack_of_memory(config, "fp32", needed - 1)
    assert alert and (alert.kind, alert.action) == ("too_large", "note") and f"{needed / 1e9:.1f} GB" in alert.evidence
    assert alert.advice.startswith("Start anew with train.checkpoint_loops=true")


@pytest.mark.parametrize("cut", [20, 63, 100, 106, 130])
def test_a_resumed_run_judges_as_one_that_never_stopped(cut: int) -> None:
    def record(n: int) -> Record:
        change = (
            {"grad_norm": 90.0, "state_norm": [1.0] * 4}
            if n == 62
            else {"rho_a": 0.4995, "flops_per_s": 1e10}
            if n > 100
            else {}
        )
        return healthy(n) | change

    def judged(cut: int | None) -> list[Alert]:
        guard, found = Guard(config), []
        for n in range(140):
            if n == cut:
                state = json.loads(json.dumps(guard.state()))
                guard = Guard(config)
                guard.restore(state)
            found += guard.observe(record(n))
            found += guard.evaluated({"loss": 2.0 + n / 100}) if n % 20 == 5 else []
        return found

    config = parse_config({})
    expected = judged(None)
    assert {a.kind for a in expected} == {"gradient_spike", "rho_a", "low_throughput", "overfitting"}
    assert judged(cut) == expected


# Trainers that are made to misbehave ----------------------------------------------------------------------------------


def trained(
    run: Trainer, steps: int, sabotage: Callable[[Trainer], None] | None = None, at: int = 0, pace: int = 10
) -> list[Alert]:
    """What the guard tells of so many steps, counted as `pace` each; `sabotage` comes before step `at` of them."""
    guard, meter, found = Guard(run.config), Meter(1e9, 8), []
    for step in range(steps):
        if sabotage and step == at:
            sabotage(run)
        meter.add(run.step())
        run.steps_done += pace - 1
        meter.close()
        found += guard.observe(*meter.flush())
    return found


@torch.no_grad()
def poison(run: Trainer) -> None:
    next(run.model.parameters()).view(-1)[0] = math.nan


@torch.no_grad()
def shake(run: Trainer) -> None:
    for parameter in run.model.parameters():
        parameter.add_(torch.randn_like(parameter))


@torch.no_grad()
def favour_two(run: Trainer) -> None:
    moe_layers(run.model)[0].router_bias[:2] = 100.0


@torch.no_grad()
def halt_at_once(run: Trainer) -> None:
    run.model.halt.bias.fill_(20.0)  # type: ignore[union-attr]


@torch.no_grad()
def never_halt(run: Trainer) -> None:
    run.model.halt.bias.fill_(-20.0)  # type: ignore[union-attr]


FIXED = [*RECURRENT, "train.warmup_steps=0", "objective.loop_sampling=fixed", "objective.router_z_loss=0"]
SABOTAGE = [
    ("nan", poison, 3, 2, DENSE),
    ("loss_spike", shake, 20, 18, [*DENSE, "train.lr=1e-4", "train.muon_lr=1e-4"]),
    ("expert_collapse", favour_two, 16, 4, [*FIXED, "objective.router_bias_rate=0"]),
    ("halting_collapse", halt_at_once, 16, 4, [*FIXED, *ACT]),
    ("halting_collapse", never_halt, 16, 4, [*FIXED, *ACT]),
]


@pytest.mark.parametrize(("kind", "sabotage", "steps", "at", "overrides"), SABOTAGE)
def test_a_trainer_that_misbehaves_is_found_out(
    tmp_path: Path, kind: str, sabotage: Callable[[Trainer], None], steps: int, at: int, overrides: list[str]
) -> None:
    run = trainer(tmp_path, [*overrides, "train.steps=1000"])
    found = [alert for alert in trained(run, steps, sabotage, at) if alert.kind == kind]
    assert [alert.kind for alert in found] == [kind] and found[0].step > 10 * at


@pytest.mark.parametrize("overrides", [DENSE, [*RECURRENT, "model.loops=3"]], ids=["dense", "recurrent"])
def test_nothing_is_told_of_a_real_run(tmp_path: Path, overrides: list[str]) -> None:
    assert trained(trainer(tmp_path, [*overrides, "train.steps=40"]), 40, pace=1) == []


# Policy and documents -------------------------------------------------------------------------------------------------


def test_the_policy_is_that_of_the_configuration() -> None:
    guard = Guard(parse_config({}, ["alerts.loss_spike=pause"]))
    alerts = told(guard, [*(healthy(n) for n in range(90)), healthy(90) | loss(20.0) | {"state_norm": [1.0] * 4}])
    assert [(alert.kind, alert.action) for alert in alerts] == [("loss_spike", "pause")]
    with pytest.raises(ConfigError, match=r"alerts\.overfitting"):
        parse_config({}, ["alerts.overfitting=skip"])
    for name, field in AlertConfig.model_fields.items():
        assert name in PLAYBOOK and set(get_args(field.annotation)) <= set(get_args(Action))


def test_the_documents_hold_every_kind_and_every_limit() -> None:
    text = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    for kind, page in PLAYBOOK.items():
        assert f"`{kind}` | {page.level} | {page.symptom}" in text and page.advice in text, kind
    for name, (value, says) in LIMITS.items():
        assert f"| `{name}` | {value:g} | {says} |" in text, name
