"""Sinks never hold training up, and their failures are told once; the thread count that steps are fastest on."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mythos.contract.errors import ConfigError, MythosError
from mythos.contract.load import parse_config
from mythos.contract.rundir import RunPaths
from mythos.train import sinks, threads
from mythos.train.device import Device
from mythos.train.sinks import Sinks
from tests.train.test_objective import CPU, RECURRENT

LINE = {"step": 3, "time": 5.0, "loss": float("nan"), "loss_parts": {"ponder": 0.5}, "state_norm": [1.0, 2.0], "lr": 1}


class Kept:
    """A sink that keeps what it is given, and does as it is told with each line."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act, self.lines, self.closed = act, [], False  # type: ignore[var-annotated]

    def write(self, step: int, at: float, values: dict[str, float]) -> None:
        self.act()
        self.lines.append((step, at, values))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Sinks, list[str]]]:
    """Sinks made of the given ones by name, and what they told."""

    def make(**given: Kept) -> tuple[Sinks, list[str]]:
        monkeypatch.setattr(sinks, "require", lambda names: None)
        monkeypatch.setattr(sinks, "OPENERS", {name: lambda *_, sink=sink: sink for name, sink in given.items()})
        told: list[str] = []
        return Sinks(tuple(given), RunPaths(tmp_path), {}, told.append), told

    return make


def test_numbers_arrive_by_name_and_vectors_stay_behind(opened: Any) -> None:
    reporter, told = opened(tensorboard=(kept := Kept()))
    reporter.put(LINE)
    reporter.put({"step": 4, "time": 6.0, "loss": 2.0}, "held_out")
    reporter.close()
    (step, at, values), held_out = kept.lines
    assert (step, at, set(values)) == (3, 5.0, {"loss", "loss_parts/ponder", "lr"}) and values["loss"] != values["loss"]
    assert held_out == (4, 6.0, {"held_out/loss": 2.0}) and kept.closed and told == []


def test_a_sink_that_hangs_costs_training_nothing_and_loses_lines(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "CLOSE_S", 0.2)
    hang = threading.Event()
    reporter, told = opened(wandb=Kept(hang.wait), tensorboard=(other := Kept()))
    began = time.monotonic()
    for step in range(3 * sinks.LINES_WAITING):
        reporter.put({"step": step, "loss": 1.0})
        while step % 500 == 0 and len(other.lines) < step:  # the other one keeps up
            time.sleep(0.001)
    assert time.monotonic() - began < 5 and told == []
    reporter.close()
    hang.set()
    assert len(told) == 1 and told[0].startswith("wandb fell behind: ") and len(other.lines) == 3 * sinks.LINES_WAITING


def test_a_sink_that_fails_is_told_of_once_and_the_others_go_on(opened: Any) -> None:
    reporter, told = opened(wandb=(broken := Kept(lambda: sys.exit("no key"))), tensorboard=(whole := Kept()))
    for step in range(50):
        reporter.put({"step": step, "loss": 1.0})
        time.sleep(0.001)
    reporter.close()
    assert told == ["wandb gets no more metrics: no key"] and broken.closed and len(whole.lines) == 50


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    with pytest.raises(MythosError, match="names wandb, which is not installed") as caught:
        sinks.require(["wandb"])
    assert "mythos-tui[wandb]" in caught.value.hint
    told: list[str] = []
    reporter = Sinks(("trackio",), RunPaths(tmp_path), {}, told.append)
    reporter.close()
    assert len(told) == 1 and "trackio, which is not installed" in told[0]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_hosted_sink_gets_the_runs_identity_and_its_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, logged, ended = {}, [], []  # type: ignore[var-annotated]
    run = SimpleNamespace(
        log=lambda values, step=None: logged.append((step or values.pop("step"), values)),
        finish=lambda: ended.append(1),
        define_metric=lambda *_, **__: None,
    )
    package = SimpleNamespace(init=lambda **facts: begun.update(facts) or run, Settings=dict)
    monkeypatch.setitem(sys.modules, name, package)  # type: ignore[arg-type]
    monkeypatch.setattr(sinks, "require", lambda names: None)
    (tmp_path / "run.json").write_text(json.dumps({"id": "abc"}))
    told: list[str] = []
    reporter = Sinks((name,), RunPaths(tmp_path), {"note": "x"}, told.append)
    reporter.put({"step": 7, "loss": 1.5})
    reporter.close()
    assert logged == [(7, {"loss": 1.5})] and ended == [1] and told == []
    assert begun["name"] == tmp_path.name and begun["config"] == {"note": "x"} and begun["resume"] == "allow"
    assert name == "trackio" or begun["id"] == "abc"


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    told: list[str] = []
    reporter = Sinks(("tensorboard",), RunPaths(tmp_path), {}, told.append)
    reporter.put(LINE)
    reporter.put({"step": 4, "time": 6.0, "loss": 2.0})
    reporter.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = [event for event in LegacyEventFileLoader(str(file)).Load() if event.HasField("summary")]
    assert [(event.step, event.wall_time) for event in events] == [(3, 5.0), (4, 6.0)] and told == []
    first = {value.tag: value.simple_value for value in events[0].summary.value}
    assert set(first) == {"loss", "loss_parts/ponder", "lr"} and first["loss"] != first["loss"]


def test_unknown_sinks_are_refused() -> None:
    assert parse_config({}, ["train.report_to=[wandb, tensorboard]"]).train.report_to == ("wandb", "tensorboard")
    with pytest.raises(ConfigError, match="tensorbord"):
        parse_config({}, ["train.report_to=[tensorbord]"])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine of six cores without wishes; the thread counts that were set."""
    chosen: list[int] = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "available_cores", lambda: 6)
    monkeypatch.setattr(threads.torch, "set_num_threads", chosen.append)
    return chosen


def choose(*overrides: str, device: Device = CPU) -> int:
    return threads.choose_threads(parse_config({}, [*RECURRENT, *overrides]), device).threads


def test_threads_are_those_of_the_fastest_step(machine: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    times = {1: 2.0, 2: 1.0, 4: 0.99, 6: 1.5}
    monkeypatch.setattr(threads, "time_steps", lambda config, device, counts: {n: times[n] for n in counts})
    slow = Device("cpu", "fp32", 6, 1e12)
    assert choose(device=slow) == 2 and machine == [2], "four threads gain too little to take two more cores"
    times[6] = 0.5
    assert choose(device=slow) == 6


def test_a_wish_and_large_steps_need_no_timing(machine: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "time_steps", lambda *_: pytest.fail("there was nothing to find out"))
    assert choose("train.threads=5", device=Device("cpu", "fp32", 5, 1e12)) == 5 and machine == []
    assert choose(device=Device("cuda", "bf16", 6, 1e12)) == 6 and machine == []
    assert choose(device=Device("cpu", "fp32", 6, 1.0)) == 6
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose(device=Device("cpu", "fp32", 6, 1e12)) == 4 and machine == [6, 4]


def test_timing_trains_for_real_and_leaves_no_trace() -> None:
    usual, state = torch.get_num_threads(), torch.get_rng_state()
    seconds = threads.time_steps(parse_config({}, RECURRENT), CPU, [1, 2], budget_s=0.01)
    assert list(seconds) == [1, 2] and min(seconds.values()) > 0
    assert torch.get_num_threads() == usual and torch.equal(torch.get_rng_state(), state)
