"""What is trained on: CUDA where there is one, in the arithmetic that it can, or that is measured faster."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from mythos.contract.config import TrainConfig
from mythos.contract.errors import MythosError
from mythos.contract.load import parse_config
from mythos.models.build import build_model
from mythos.train import device as room
from mythos.train.device import Device, can_compute, choose_device, matmul_peak
from mythos.train.optim import Optimizer
from mythos.train.ranks import Ranks
from tests.train.test_objective import DENSE, RECURRENT, trainer


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """A machine that is told what it has: `cuda` of some `capability`, `mps`, and FLOP/s by dtype."""
    facts: dict[Any, Any] = {"cuda": False, "mps": False, "capability": (9, 0)}
    facts |= {torch.float32: 1e9, torch.bfloat16: 1e9, torch.float16: 4e9}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: facts["cuda"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: facts["capability"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: facts["mps"])
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda name: facts.update(matmul=name))
    monkeypatch.setattr(room, "matmul_peak", lambda name, dtype: facts[dtype])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: facts.update(threads=count))
    return facts


def test_auto_takes_cuda_where_there_is_one(machine: dict[Any, Any]) -> None:
    assert choose_device(TrainConfig()).name == "cpu"
    machine["cuda"] = True
    assert choose_device(TrainConfig()).name == "cuda"
    assert choose_device(TrainConfig(device="cpu")).name == "cpu"


def test_cuda_that_is_not_there_is_refused(machine: dict[Any, Any]) -> None:
    with pytest.raises(MythosError, match=r"train\.device"):
        choose_device(TrainConfig(device="cuda"))


def test_bf16_must_be_measured_faster(machine: dict[Any, Any]) -> None:
    assert choose_device(TrainConfig()).precision == "fp32"
    machine[torch.bfloat16] = 2e9
    chosen = choose_device(TrainConfig(threads=3))
    assert (chosen.precision, chosen.peak_flops, chosen.threads, machine["threads"]) == ("bf16", 2e9, 3, 3)
    assert choose_device(TrainConfig(precision="fp32")).peak_flops == 1e9


@pytest.mark.parametrize(("capability", "auto"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((12, 0), "bf16")], ids=str)
def test_a_gpu_trains_in_bf16_where_it_can_and_else_in_fp16(
    machine: dict[Any, Any], capability: tuple[int, int], auto: str
) -> None:
    machine |= {"cuda": True, "capability": capability}
    chosen = choose_device(TrainConfig())
    assert (chosen.precision, machine["matmul"], chosen.scaler()._enabled) == (auto, "high", auto == "fp16")
    assert choose_device(TrainConfig(precision="fp16")).peak_flops == 4e9
    if auto == "fp16":
        with pytest.raises(MythosError, match="fp32 or fp16"):
            choose_device(TrainConfig(precision="bf16"))


def test_what_a_device_can_compute_is_known_before_it_is_measured(machine: dict[Any, Any]) -> None:
    machine |= {"mps": True, "cuda": True, "capability": (7, 5)}
    can = {
        (name, precision): can_compute(TrainConfig(device=name), precision)  # type: ignore[arg-type]
        for name in ("cpu", "mps", "cuda", "auto")
        for precision in ("fp32", "bf16", "fp16")
    }
    assert {key for key, able in can.items() if not able} == {
        ("cpu", "fp16"), ("mps", "fp16"), ("mps", "bf16"), ("cuda", "bf16"), ("auto", "bf16")
    }  # fmt: skip


def test_fp16_is_for_gpus_and_mps_must_be_asked_for(machine: dict[Any, Any]) -> None:
    with pytest.raises(MythosError, match="fp16"):
        choose_device(TrainConfig(precision="fp16"))
    with pytest.raises(MythosError, match="mps"):
        choose_device(TrainConfig(device="mps"))
    machine["mps"] = True
    assert choose_device(TrainConfig()).name == "cpu"
    assert (chosen := choose_device(TrainConfig(device="mps"))).name == "mps" and chosen.precision == "fp32"
    assert "matmul" not in machine


def test_processes_of_one_machine_share_its_cores(machine: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0's arithmetic is everybody's, and the peak is that of all together."""
    monkeypatch.setattr(room, "available_cores", lambda: 8)
    monkeypatch.setattr(Ranks, "connect", lambda self, name: None)
    monkeypatch.setattr(Ranks, "agree", lambda self, *values: (1,))
    chosen = choose_device(TrainConfig(), Ranks(1, 4, 1, 2))
    assert (chosen.threads, chosen.precision, chosen.peak_flops) == (4, "bf16", 4e9)


def test_a_float16_step_unscales_clips_and_leaves_out_an_overflow() -> None:
    """The scaler works on the CPU too: with it, a step is the one without it, and infinite gradients change nothing."""
    config = parse_config({}, [*RECURRENT, "train.grad_clip=0.5"])
    found = []
    for factor in (1.0, 1024.0):
        torch.manual_seed(0)
        model = build_model(config.model)
        scaler = torch.amp.GradScaler("cpu", init_scale=factor, enabled=factor > 1)
        optimizer = Optimizer(model, config.train, scaler)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) * factor
        scaler.scale(torch.zeros(()))  # as every loss is: the scale is made at its first use
        found.append((optimizer.step(), *(p.detach().clone() for p in model.parameters())))
    for plain, scaled in zip(*found, strict=True):
        torch.testing.assert_close(plain, scaled)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert scaler.get_scale() == 512


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["embedding.weight", "layers.0.attention.qkv.weight"])
def test_an_overflow_of_one_optimizer_s_gradients_leaves_out_the_other_s_step(name: str, value: float) -> None:
    """The scaler looks at each optimizer's gradients by themselves, and the joint norm had spoilt the others."""
    config = parse_config({}, DENSE)
    model = build_model(config.model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=True)
    optimizer = Optimizer(model, config.train, scaler)
    before: dict[str, torch.Tensor] = {}
    for bad in (False, True):
        scaler.scale(torch.zeros(()))
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) * 1024
        if bad:
            gradient = model.get_parameter(name).grad
            assert gradient is not None
            gradient[3, 3] = value
            before = {key: tensor.clone() for key, tensor in (model.state_dict() | optimizer.state()).items()}
        optimizer.step()
    after = model.state_dict() | optimizer.state()
    assert [key for key, tensor in before.items() if not torch.equal(after[key], tensor)] == []
    assert scaler.get_scale() == 512


class NothingIsRead(TorchDispatchMode):
    """Refuses what makes the host wait for a GPU, on tensors of the device `meta`, which has no values to be read."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, there = function._schema.name, any(isinstance(arg, torch.Tensor) and arg.is_meta for arg in args)
        picks = name == "aten::index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        waits = ("_local_scalar_dense", "bincount", "nonzero", "masked_select", "unique")
        assert not there or not (picks or any(word in name for word in waits)), f"{name} waits for the device"
        return function(*args, **(kwargs or {}))


STEPS = {
    "ordinary": [],
    "mixed exits": ["objective.mixed_exits=1", "model.loops=3", "objective.balance_loss=0.01"],
    "act": ["model.halting=act", "objective.kind=act"],
    "gate alone": ["model.halting=gate", "objective.gate_share=0.99", "train.steps=8"],
    "entropy gate": ["model.halting=gate", "objective.kind=entropy_gate", "objective.gate_share=0"],
}


@pytest.mark.parametrize("switches", STEPS.values(), ids=STEPS)
def test_no_step_waits_for_what_a_gpu_has_worked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switches: list[str]
) -> None:
    """Counting choices, means over some tokens and norms of some states did, at every loop."""
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *args, **options: adamw(*args, **(options | {"fused": False})))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    monkeypatch.setattr(Device, "autocast", lambda _: nullcontext())
    monkeypatch.setattr(functional, "grouped_mm", lambda rows, weights, offs: rows @ weights[0])  # of the same shape
    run = trainer(tmp_path, [*RECURRENT, *switches])
    run.device = replace(run.device, name="meta")
    run.model.to("meta")
    with NothingIsRead():
        run.step()
        assert run.step().loss.is_meta


def test_a_machine_too_busy_to_be_measured_in_time_has_a_peak_all_the_same() -> None:
    """Utilisation is a share of it: a peak of 0 ended the run at its first line."""
    assert matmul_peak("cpu", torch.float32, seconds=0.0) > 0
