"""What is trained on: CUDA where there is one, and the arithmetic that is measured faster."""

from __future__ import annotations

import pytest
import torch

from mythos.contract.config import TrainConfig
from mythos.contract.errors import MythosError
from mythos.train import device as room
from mythos.train.device import choose_device


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A machine that is told what it has: `cuda`, and FLOP/s by dtype."""
    facts: dict[str, object] = {"cuda": False, torch.float32: 1e9, torch.bfloat16: 1e9}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: facts["cuda"])
    monkeypatch.setattr(room, "matmul_peak", lambda name, dtype: facts[dtype])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: facts.update(threads=count))
    return facts


def test_auto_takes_cuda_where_there_is_one(machine: dict[str, object]) -> None:
    assert choose_device(TrainConfig()).name == "cpu"
    machine["cuda"] = True
    assert choose_device(TrainConfig()).name == "cuda"
    assert choose_device(TrainConfig(device="cpu")).name == "cpu"


def test_cuda_that_is_not_there_is_refused(machine: dict[str, object]) -> None:
    with pytest.raises(MythosError, match=r"train\.device"):
        choose_device(TrainConfig(device="cuda"))


def test_bf16_must_be_measured_faster(machine: dict[str, object]) -> None:
    assert choose_device(TrainConfig()).precision == "fp32"
    machine[torch.bfloat16] = 2e9
    chosen = choose_device(TrainConfig(threads=3))
    assert (chosen.precision, chosen.peak_flops, chosen.threads, machine["threads"]) == ("bf16", 2e9, 3, 3)
    assert choose_device(TrainConfig(precision="fp32")).peak_flops == 1e9
