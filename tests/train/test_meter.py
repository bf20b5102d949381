"""Numbers of a training step: losses in float32, FLOPs that were spent, time that was training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mythos.contract.budget import flops_forward, flops_training
from mythos.contract.load import parse_config
from mythos.models.build import build_model
from mythos.train.meter import Meter
from mythos.train.objectives import compute_loss, cross_entropy
from mythos.train.schedule import Plan
from tests.train.test_objective import ACT, RECURRENT, trainer

PLAIN = [*RECURRENT, "model.n_experts=0", "model.loops=4", "model.max_loops=4", "objective.loop_sampling=fixed"]


@pytest.mark.parametrize("depths", [(4,), (3, 4)], ids=str)
@pytest.mark.parametrize("backprop", [0, 2])
def test_flops_of_a_step_are_those_that_torch_counts(
    backprop: int, depths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops without gradient have no backward pass. Left out on both sides: the attention product itself."""
    monkeypatch.setattr("mythos.models.attention.MATERIALISE_UP_TO", 0)
    config = parse_config({}, [*PLAIN, f"objective.backprop_loops={backprop}"])
    model, ids = build_model(config.model), torch.zeros(2, 16, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        compute_loss(model, ids, ids, config, Plan(4, depths, backprop or 4), 0).total.backward()
    forward, backward = (
        flops_forward(config.model, 8.5, loops, len(depths)) - flops_forward(config.model, 0, loops, len(depths))
        for loops in (4, backprop or 4)
    )
    counted = counter.get_total_flops() / ids.numel() + forward + 2 * backward
    assert counted == flops_training(config, 4, len(depths))


def test_act_reads_out_once_however_many_depths_were_drawn() -> None:
    config = parse_config({}, [*ACT, "objective.supervised_depths=2"])
    assert flops_training(config, 2, 2) == 3 * flops_forward(config.model, 8.5, 2, 1)


def test_a_loss_is_taken_in_float32() -> None:
    logits, targets = torch.randn(2, 7, 300).bfloat16(), torch.randint(0, 300, (2, 7))
    assert cross_entropy(logits, targets).item() == cross_entropy(logits.float(), targets).item()


def test_a_step_reads_no_number_off_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU it would wait for all that was asked of it. Experts are left out: on a CPU they are counted first."""
    run = trainer(tmp_path, PLAIN)
    run.step()  # the optimizer counts its first step
    read: list[str] = []
    for name in ("item", "tolist", "__float__", "__int__", "__bool__"):
        monkeypatch.setattr(torch.Tensor, name, lambda tensor, name=name: read.append(name) or 0)
    monkeypatch.setattr("mythos.train.objectives.cross_entropy", _as_on_a_gpu)
    run.step()
    monkeypatch.undo()
    assert read == []


def _as_on_a_gpu(logits: torch.Tensor, targets: torch.Tensor, _: None) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


@pytest.mark.parametrize("overrides", [RECURRENT, ACT, [*RECURRENT, "train.accumulate=2"]], ids=str)
def test_what_a_step_tells_holds_no_graph(tmp_path: Path, overrides: list[str]) -> None:
    """It would stay until its line is written, ten steps later, with all that the graph holds."""
    result = trainer(tmp_path, overrides).step()
    told, routers = result.telemetry, result.telemetry.routers
    held = [vars(owner).values() for owner in (result, told, *routers)] + [result.parts.values()]
    tensors = [value for values in held for value in values if isinstance(value, torch.Tensor)]
    assert len(tensors) > 5 and not any(tensor.requires_grad for tensor in tensors)


def test_throughput_is_that_of_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("mythos.train.meter.time.perf_counter", lambda: clock[0])
    run, meter = trainer(tmp_path, RECURRENT), Meter(1e9, 3)
    results = [run.step(), run.step()]
    for result in results:
        meter.add(result)
    clock[0] = 10.0
    meter.exclude(8.0)
    meter.close()
    clock[0] = 50.0
    (line,) = meter.flush()
    assert line["tokens_per_s"] == 2 * 4 * 16 / 2.0
    assert line["utilisation"] == pytest.approx(sum(result.flops for result in results) / 2.0 / 1e9)
    assert line["ponder"] == sum(result.loops for result in results) / 2 and not meter.has_lines
