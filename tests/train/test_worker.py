"""The worker as a process: obeys, saves, resumes, and dies in a way that everyone can see."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.errors import ConfigError, RunError
from mythos.contract.liveness import is_locked, process_start
from mythos.contract.load import parse_config
from mythos.contract.rundir import RunPaths, send_command
from mythos.contract.watch import JsonTail, RunSummary, read_json, summarize
from mythos.train import launch

TINY = [
    "model.vocab_size=300",
    "model.width=32",
    "model.ffn_width=64",
    "model.context=64",
    "model.expert_width=16",
    "train.sequence=32",
    "train.batch_size=2",
    "train.threads=1",
    "train.log_every=2",
    "train.eval_every=0",
    "train.eval_tokens=256",
    "train.checkpoint_every=0",
    "train.precision=fp32",
]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunPaths]]:
    """Start a worker on a small text; whatever still lives at the end is killed."""
    text = tmp_path / "text"
    text.mkdir()
    for number in range(12):
        (text / f"{number}.txt").write_text(f"The tale of number {number} is short. It has an end and a start.\n" * 40)
    started: list[RunPaths] = []

    def go(*overrides: str, name: str = "a") -> RunPaths:
        config = parse_config({}, [*TINY, "data.source=files", f"data.paths=[{text}]", *overrides])
        started.append(launch.start(config, tmp_path / "runs", name, ["test"]))
        return started[-1]

    yield go
    for paths in started:
        end(paths)


def end(paths: RunPaths) -> None:
    status = read_json(paths.status) or {}
    if is_locked(paths) and isinstance(status.get("pid"), int):
        os.kill(status["pid"], signal.SIGKILL)


def summary_of(paths: RunPaths) -> RunSummary:
    found = summarize(paths)
    assert found is not None
    return found


def wait_for(paths: RunPaths, condition: Callable[[RunSummary], bool], seconds: float = 60) -> RunSummary:
    give_up = time.monotonic() + seconds
    while not condition(found := summary_of(paths)):
        assert time.monotonic() < give_up, f"{found}\n{paths.log.read_text()[-2000:]}"
        time.sleep(0.02)
    return found


def events(paths: RunPaths, kind: str) -> list[dict[str, Any]]:
    return [event for event in JsonTail(paths.events).read_objects(5) if event["kind"] == kind]


def acknowledged(paths: RunPaths, identity: str) -> dict[str, Any]:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        for event in events(paths, "command"):
            if event["id"] == identity:
                return event
        time.sleep(0.02)
    raise AssertionError(f"{identity} was never acknowledged: {paths.log.read_text()[-2000:]}")


def test_a_run_goes_from_preparing_to_finished_and_leaves_its_facts(start: Callable[..., RunPaths]) -> None:
    gate = ("model.halting=gate", "objective.gate_share=0.34")
    paths = start("train.steps=6", "train.eval_every=3", "train.checkpoint_every=3", *gate)
    assert summary_of(paths).state in ("starting", "preparing")
    done = wait_for(paths, lambda run: not run.is_live)
    assert (done.state, done.step, done.tokens) == ("finished", 6, 6 * 64)
    assert done.message == "train.steps is reached"
    lines = JsonTail(paths.metrics).read_objects(5)
    assert [line["step"] for line in lines] == [1, 2, 4, 6]
    documented = Path(__file__).parents[2].joinpath("docs/run_dir.md").read_text()
    for key in lines[-1]:
        assert f"`{key}`" in documented, f"docs/run_dir.md does not explain {key}"
    assert sum(lines[-1]["expert_load"]) == pytest.approx(1)
    assert sum(lines[-1]["loops_histogram"]) == 2 * 64 and 0 < lines[-1]["rho_a"] < 1
    assert lines[-1]["loss"] == lines[-1]["loss_parts"]["cross_entropy"], "the gate's loss stands in the model's curve"
    running = [(event.get("step"), event["message"]) for event in events(paths, "state") if event["state"] == "running"]
    assert running == [(None, "training"), (5, "training its gate alone")]
    assert [event["step"] for event in events(paths, "evaluation")] == [3, 6]
    assert {event["stage"] for event in events(paths, "progress")} >= {"ready"}
    best = (paths.checkpoints / "best").read_text().strip()
    assert (paths.checkpoints / best).is_dir() and done.last_checkpoint == "step-00000006"


def test_pause_save_resume_stop_are_obeyed_and_acknowledged(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000")
    wait_for(paths, lambda run: run.step > 3)
    assert acknowledged(paths, send_command(paths, "pause"))["ok"]
    paused = wait_for(paths, lambda run: run.state == "paused")
    time.sleep(0.7)
    assert summary_of(paths).step == paused.step
    saved = acknowledged(paths, send_command(paths, "save"))
    assert saved["message"] == f"saved step-{paused.step:08d}"
    assert list_checkpoints(paths.checkpoints)[0].step == paused.step
    send_command(paths, "resume")
    wait_for(paths, lambda run: run.step > paused.step)
    send_command(paths, "stop")
    stopped = wait_for(paths, lambda run: not run.is_live)
    assert stopped.state == "stopped" and list_checkpoints(paths.checkpoints)[0].step == stopped.step


def test_sigterm_saves_and_ends(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000")
    run = wait_for(paths, lambda run: run.step > 3)
    os.kill(run.status["pid"], signal.SIGHUP)  # a closed terminal changes nothing
    os.kill(run.status["pid"], signal.SIGTERM)
    stopped = wait_for(paths, lambda run: not run.is_live)
    assert stopped.state == "stopped" and list_checkpoints(paths.checkpoints)[0].step == stopped.step


def test_a_killed_worker_shows_as_crashed_and_resumes_from_its_checkpoint(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000", "train.checkpoint_every=5")
    run = wait_for(paths, lambda run: run.step > 12)
    os.kill(run.status["pid"], signal.SIGKILL)
    killed = time.monotonic()
    wait_for(paths, lambda run: run.state == "crashed", seconds=3)
    assert time.monotonic() - killed < 3
    metrics = JsonTail(paths.metrics)
    assert len(metrics.read_objects(5)) > 3 and metrics.damaged == 0
    whole = list_checkpoints(paths.checkpoints)[0]
    resumed = launch.resume(paths.root.parent, "a")
    wait_for(resumed, lambda run: run.is_live and run.step > whole.step + 12)
    assert f"resumed from {whole.path.name}" in paths.log.read_text()
    end(paths)


def test_commands_are_obeyed_while_data_is_prepared(start: Callable[..., RunPaths], tmp_path: Path) -> None:
    big = tmp_path / "big.txt"
    big.write_text("".join(f"{n} bottles and {n * 7919} words {n ^ 0x5A5A}\n" for n in range(300_000)))
    paths = start("train.steps=5", f"data.paths=[{big}]", "model.vocab_size=8000")
    identity = send_command(paths, "stop")
    assert acknowledged(paths, identity)["ok"]
    assert wait_for(paths, lambda run: not run.is_live).state == "stopped"


def test_kill_ends_at_once_and_saves_nothing(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000")
    wait_for(paths, lambda run: run.step > 1)
    send_command(paths, "kill")
    assert wait_for(paths, lambda run: not run.is_live, 5).state == "stopped"
    assert list_checkpoints(paths.checkpoints) == []


def test_a_failure_is_told_with_a_way_out(start: Callable[..., RunPaths], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    paths = start(f"data.paths=[{empty}]")
    failed = wait_for(paths, lambda run: not run.is_live)
    assert failed.state == "failed" and failed.error is not None
    assert str(empty) in failed.error["message"] and failed.error["hint"]


def test_the_worker_leads_a_session_of_its_own(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000")
    pid = wait_for(paths, lambda run: "pid" in run.status).status["pid"]
    assert os.getsid(pid) == pid != os.getsid(0)


def test_resuming_what_cannot_go_on_is_an_error(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=2")
    wait_for(paths, lambda run: not run.is_live)
    with pytest.raises(RunError, match="is finished"):
        launch.resume(paths.root.parent, "a")
    with pytest.raises(RunError, match="no run"):
        launch.resume(paths.root.parent, "ghost")


def test_the_launcher_loads_no_torch() -> None:
    code = "import sys, mythos.train.launch, mythos.train.worker; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_disk_that_refuses_costs_a_checkpoint_and_not_the_run(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000")
    run = wait_for(paths, lambda run: run.step > 2)
    assert acknowledged(paths, send_command(paths, "save"))["ok"]
    paths.checkpoints.rename(kept := paths.root / "kept")
    paths.checkpoints.write_text("")  # a file, where a folder is needed
    refused = acknowledged(paths, send_command(paths, "save"))
    assert not refused["ok"] and "cannot be saved" in refused["message"]
    wait_for(paths, lambda later: later.state == "running" and later.step > run.step + 10)
    assert events(paths, "alert")
    paths.checkpoints.unlink()
    kept.rename(paths.checkpoints)
    assert acknowledged(paths, send_command(paths, "save"))["ok"]
    assert len(list_checkpoints(paths.checkpoints)) == 2


def test_a_status_that_cannot_be_written_stops_nothing(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000")
    wait_for(paths, lambda run: run.step > 2)
    for _ in range(100):  # the worker may put its file there in between
        paths.status.unlink(missing_ok=True)
        with suppress(FileExistsError):
            paths.status.mkdir()
            break
    (paths.status / "full").touch()
    (paths.control / "odd.json").write_text('{"id": "odd", "command": "\\ud800"}')
    assert not acknowledged(paths, "odd")["ok"]
    assert acknowledged(paths, send_command(paths, "stop"))["ok"]
    give_up = time.monotonic() + 30
    while is_locked(paths):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    log = paths.log.read_text()
    assert log.count("cannot be written") == 1 and "Traceback" not in log
    assert list_checkpoints(paths.checkpoints)


def test_a_worker_whose_directory_was_removed_ends(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000")
    pid = wait_for(paths, lambda run: run.step > 2).status["pid"]
    shutil.rmtree(paths.root)
    give_up = time.monotonic() + 30
    while process_start(pid) is not None and time.monotonic() < give_up:
        time.sleep(0.02)
    if process_start(pid) is not None:
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the worker goes on for nobody")
    assert not paths.root.exists()


def test_a_resume_clears_up_and_tells_what_stands_in_its_way(start: Callable[..., RunPaths]) -> None:
    paths = start("train.steps=100000", "train.checkpoint_every=5")
    wait_for(paths, lambda run: run.last_checkpoint is not None)
    with pytest.raises(RunError, match="already running"):
        launch.resume(paths.root.parent, "a")
    end(paths)
    wait_for(paths, lambda run: not run.is_live)
    (paths.checkpoints / ".step-00000099.0123abcd.tmp").mkdir(exist_ok=True)
    (paths.checkpoints / "best").write_bytes(b"../\xff")
    before = summary_of(paths)
    send_command(paths, "stop")  # for the worker that is gone: the next one stopped at its first step
    resumed = launch.resume(paths.root.parent, "a")
    assert summary_of(paths).state in ("starting", "preparing", "running")
    wait_for(resumed, lambda run: run.status["pid"] != before.status["pid"] and run.step > before.step + 2)
    assert not (paths.checkpoints / ".step-00000099.0123abcd.tmp").exists()
    end(paths)
    wait_for(paths, lambda run: not run.is_live)
    paths.config.write_text("model: {width: 33}")
    with pytest.raises(ConfigError, match="width"):
        launch.resume(paths.root.parent, "a")
    assert not summary_of(paths).is_live
