"""What a machine is expected to do, learnt from its runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mythos.contract.budget import flops_training
from mythos.contract.config import Config, RecurrentConfig, TrainConfig
from mythos.contract.machine import ASSUMED_UTILISATION, Machine, known_machine
from tests.fakes.runs import FakeRun


def ran(
    runs: Path, name: str, family: str = "recurrent", peak: float = 4e11, age: float = 0, **metrics: float
) -> FakeRun:
    run = FakeRun(runs, name, family, locked=False)
    run.status("finished", 20)
    run.event("device", device="cpu", precision="bf16", threads=2, matmul_peak_flops=peak, memory_bytes=8e9)
    run.metrics(10, 20, 30, **metrics)
    moment = os.stat(run.paths.identity).st_mtime - age
    os.utime(run.paths.identity, (moment, moment))
    return run


def test_speed_is_the_share_of_the_peak_over_the_flops_of_a_token():
    config = Config(model=RecurrentConfig(), train=TrainConfig(steps=100, batch_size=4, sequence=64))
    machine = Machine("cpu", "bf16", 2, 1e12, 0.25)
    assert machine.tokens_per_s(config) == pytest.approx(0.25e12 / flops_training(config))
    assert machine.seconds(config) == pytest.approx(100 * 4 * 64 / machine.tokens_per_s(config))


def test_minutes_bound_the_time():
    config = Config(train=TrainConfig(steps=10**8, max_minutes=3))
    assert Machine("cpu", "fp32", 1, 1e9).seconds(config) == 180


def test_the_newest_run_of_the_family_says_what_is_reached(tmp_path: Path):
    ran(tmp_path, "old", peak=1e11, age=100, utilisation=0.1)
    ran(tmp_path, "new", peak=4e11, age=50, utilisation=0.3)
    ran(tmp_path, "dense", "dense", peak=5e11, utilisation=0.5)
    found = known_machine(tmp_path, "recurrent")
    assert found == Machine("cpu", "bf16", 2, 4e11, 0.3, "new", 8_000_000_000)
    found = known_machine(tmp_path, "dense")
    assert found is not None and (found.run, found.utilisation) == ("dense", 0.5)


def test_a_run_of_another_family_is_better_than_none(tmp_path: Path):
    ran(tmp_path, "dense", "dense", utilisation=0.5)
    found = known_machine(tmp_path, "recurrent")
    assert found is not None and found.run == "dense"


@pytest.mark.parametrize("fault", ["elsewhere", "no device", "no such arithmetic", "no speed", "not a number", "no run"])
def test_what_says_nothing_of_this_machine_is_passed_over(tmp_path: Path, fault: str):
    if fault != "no run":
        run = ran(tmp_path, "run", utilisation=0.3)
        if fault == "elsewhere":
            run.paths.identity.write_text(json.dumps({"host": "another"}))
        if fault == "no device":
            run.paths.events.write_text("")
        if fault == "no such arithmetic":
            run.event("device", device="cpu", precision="fp8", threads=2, matmul_peak_flops=1e11)
        if fault == "no speed":
            run.paths.metrics.write_text("")
        if fault == "not a number":
            run.paths.metrics.write_text('{"step": 1, "utilisation": "fast"}\n{"step": 2, "utilisation": NaN}\n[]\n{')
    assert known_machine(tmp_path, "recurrent") is None


def test_memory_is_reckoned_in_the_arithmetic_of_this_machine():
    machine = Machine("cuda", "fp16", 2, 1e12)
    assert machine.precision_of(Config()) == "fp16"
    assert machine.precision_of(Config(train=TrainConfig(precision="fp32"))) == "fp32"


def test_nothing_is_assumed_to_be_fast():
    assert Machine("cpu", "fp32", 1, 1e12).utilisation == ASSUMED_UTILISATION < 0.3
