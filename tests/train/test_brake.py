"""A step that spikes is left out before anything moves, is told of, and is left out again by a run that resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mythos.contract.load import parse_config
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import JsonTail
from mythos.models.recurrent import moe_layers
from mythos.train.brake import Brake
from mythos.train.loop import Trainer
from tests.alert_runs import STEADY, make_run, poisoned_text
from tests.crash_runs import equal_checkpoints
from tests.train.inside import die_after, events, in_this_process, run  # noqa: F401
from tests.train.ranked import bits
from tests.train.test_objective import DENSE, RECURRENT, trainer

SKIP = ["alerts.nan=skip", "alerts.loss_spike=skip", "alerts.gradient_spike=skip"]
NAN, LOSS, GRADIENT = [True, False, False], [False, True, False], [False, False, True]
NOTHING = [False, False, False]


def judged(brake: Brake, loss: float, norm: float = 1.0, kind: str = "4 a", overflow: bool = False) -> list[bool]:
    found: list[bool] = brake.judge(kind, torch.tensor(loss), torch.tensor(norm), overflow).tolist()
    return found


def usual(brake: Brake, steps: int, kind: str = "4 a") -> None:
    """Steps with the spread of real ones."""
    noise = torch.randn(steps, 2, generator=torch.Generator().manual_seed(0)).tolist()
    for a, b in noise:
        assert judged(brake, 2 * math.exp(0.03 * a), math.exp(0.3 * b), kind) == NOTHING


def test_a_step_is_held_against_its_like() -> None:
    brake = Brake(parse_config({}, SKIP).alerts)
    assert judged(brake, 2.0) == judged(brake, 90.0) == NOTHING  # nothing is known yet
    usual(brake, 60)
    assert judged(brake, 9.0, kind="1 a") == NOTHING
    assert judged(brake, 9.0) == LOSS and judged(brake, 2.0, 60.0) == GRADIENT
    assert judged(brake, 0.5, 0.01) == NOTHING
    assert judged(brake, math.nan) == judged(brake, 2.0, math.inf) == NAN
    assert judged(brake, 2.0, math.inf, overflow=True) == NOTHING  # the loss scale sees to it
    assert judged(brake, 9.0) == LOSS  # what was not finite widened nothing


def test_only_what_the_policy_says_is_left_out() -> None:
    assert not Brake(parse_config({}).alerts)
    brake = Brake(parse_config({}, ["alerts.gradient_spike=skip"]).alerts)
    usual(brake, 60)
    assert judged(brake, 9.0) == judged(brake, math.nan) == NOTHING and judged(brake, 9.0, 60.0) == GRADIENT


def test_a_loss_that_stays_up_becomes_the_usual_one() -> None:
    brake = Brake(parse_config({}, SKIP).alerts)
    usual(brake, 60)
    left_out = [judged(brake, 9.0) == LOSS for _ in range(20)]
    assert all(left_out[:8]) and not any(left_out[9:])


def say_bad(reasons: Sequence[bool], run: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(kind: str, loss: Tensor, norm: Tensor, may_overflow: bool = False) -> Tensor:
        return torch.tensor(reasons)

    monkeypatch.setattr(run.brake, "judge", judge)


@pytest.mark.parametrize("overrides", [DENSE, RECURRENT, [*DENSE, "train.optimizer=adamw"]])
def test_what_is_left_out_moves_no_bit(tmp_path: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, moments, counts of steps, router biases; also where the gradient is NaN, and at the first step of all."""
    skipping, plain = (trainer(tmp_path, [*overrides, *more]) for more in (SKIP, []))
    for steps in (0, 3):
        for _ in range(steps):
            assert torch.equal(skipping.step().grad_norm, plain.step().grad_norm)
        before = bits(skipping)
        with monkeypatch.context() as patch:
            say_bad(LOSS, skipping, patch)
            weight = skipping.optimizer.parameters[0]
            hook = weight.register_hook(lambda gradient: gradient * math.nan)
            result = skipping.step()
            hook.remove()
            assert result.skipped is not None and result.skipped.tolist() == LOSS and not result.grad_norm.isfinite()
        after = bits(skipping)
        assert after == before or (not steps and not any(any(x) for x in after[len(before) :]))
        plain.loader.next()
        if plain.sampler:
            plain.sampler.draw(plain.steps_done)
        plain.steps_done += 1


def test_a_step_that_is_not_left_out_is_that_of_a_run_that_never_does(tmp_path: Path) -> None:
    runs = [trainer(tmp_path, [*RECURRENT, *more]) for more in (SKIP, [])]
    for _ in range(4):
        assert runs[0].step().skipped is not None and runs[1].step().skipped is None
    assert bits(runs[0]) == bits(runs[1])
    biases = [[layer.router_bias.tolist() for layer in moe_layers(run.model)] for run in runs]
    assert biases[0] == biases[1] and any(map(any, biases[0]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_judgement_waits_for_nothing_on_a_gpu() -> None:
    brake, value = Brake(parse_config({}, SKIP).alerts), torch.ones((), device="cuda")
    brake.judge("a", value, value)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert brake.judge("a", value, value).shape == (3,)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def outlook(paths: RunPaths) -> list[tuple[object, ...]]:
    """What the lines say of steps that were left out, and the files of alerts, without what a clock says."""
    lines = JsonTail(paths.metrics).read_objects(5)
    timed = ("time", "tokens_per_s", "flops_per_s", "utilisation")
    files = []
    for path in sorted(paths.alerts.glob("*.json")):
        content = json.loads(path.read_text())
        records = [{key: value for key, value in record.items() if key not in timed} for record in content["records"]]
        files.append((path.name, records, content["batches"], content["evidence"]))
    return [(line["step"], line.get("skipped")) for line in lines] + files


def test_a_resumed_run_leaves_out_the_same_steps(tmp_path: Path) -> None:
    """To the last bit, with the same files around each alert; and those hold the step, its text and its metrics."""
    settings = (
        *poisoned_text(tmp_path),
        *STEADY,
        *SKIP,
        "train.steps=45",
        "train.checkpoint_every=10",
        "train.lr=0.01",
    )
    whole, cut = (make_run(tmp_path, name, *settings, "train.keep_checkpoints=99") for name in ("whole", "cut"))
    assert run(whole) == 0
    left_out = {step for event in events(whole, "skipped") for step, _ in event["steps"].get("loss_spike", [])}
    alert = next(event for event in events(whole, "alert") if event["alert"] == "loss_spike")
    assert left_out and alert["action"] == "skip" and "left out: step" in alert["evidence"]
    die_after(cut, 25)
    die_after(cut, 35, resume=True)  # between an alert and the records after it
    assert 30 < min(left_out) < 35 and run(cut, resume=True) == 0
    assert equal_checkpoints(whole, cut) == 5 and outlook(cut) == outlook(whole)
    assert len([*whole.alerts.glob("*-loss_spike.json")]) >= 1
