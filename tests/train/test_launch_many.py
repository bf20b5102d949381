"""Starting one run in several processes: here, and on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from typer.testing import CliRunner

from mythos.cli.app import app
from mythos.cli.launching import node, slurm
from mythos.contract.errors import ConfigError, RunError
from mythos.contract.liveness import is_locked
from mythos.contract.load import load_config, parse_config
from mythos.contract.rundir import RunPaths, create_run, send_command, write_json
from mythos.contract.watch import read_json
from mythos.train import launch, several

CONFIG = """\
model: {family: recurrent, vocab_size: 300, width: 32, ffn_width: 64, context: 64, expert_width: 16}
data: {source: files, paths: [TEXT]}
train: {sequence: 32, batch_size: 4, threads: 1, log_every: 2, eval_every: 0, eval_tokens: 256, precision: fp32}
"""
DDP, FSDP = ["train.parallel=ddp"], ["train.parallel=fsdp", "train.optimizer=adamw"]
FAKES = {
    "srun": '#!/bin/bash\nprintf "%s\\n" "$@" > srun.args\nkill -USR1 $PPID\nsleep 1\n',
    "scontrol": '#!/bin/bash\nif [ "$1" = show ]; then echo first; echo second; else echo "$@" > requeued; fi\n',
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = tmp_path / "text"
    text.mkdir()
    for number in range(12):
        (text / f"{number}.txt").write_text(f"The tale of number {number} is short. It has an end and a start.\n" * 40)
    path = tmp_path / "my config.yaml"
    path.write_text(CONFIG.replace("TEXT", str(text)))
    return path


def test_the_script_of_a_cluster_stops_the_run_in_time_and_queues_it_again(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs as it is, with stand-ins for SLURM's programs; a setting that tries to be a command stays one word."""
    monkeypatch.chdir(tmp_path)
    for name, text in FAKES.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    settings = ["train.parallel=ddp", "note=$(touch broken); `touch broken`"]
    slurm(config, tmp_path / "job.sh", settings, Path("my runs"), "", nodes=2, gpus_per_node=2, time="01:00:00")
    script = (tmp_path / "job.sh").read_text()
    for option in ("--nodes=2", "--gpus-per-node=2", "--time=01:00:00", "--requeue", "--signal=B:USR1@180"):
        assert f"#SBATCH {option}\n" in script
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]"}
    done = subprocess.run(["bash", "job.sh"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "requeued").read_text() == "requeue 77\n" and not (tmp_path / "broken").exists()
    words = (tmp_path / "srun.args").read_text().split("\n")
    assert words[1:7] == [sys.executable, "-m", "mythos", "launch", "node", str(config)]
    assert settings[1] in words and "my-config" in words and "my runs" in words and "first:20077" in words


@pytest.mark.parametrize(
    "changed",
    [{"time": "1h; rm"}, {"partition": "a b"}, {"gpus_per_node": 3}, {"overrides": []}, {"run": "../x"}],
    ids=str,
)
def test_what_slurm_would_not_understand_is_refused(config: Path, changed: dict[str, Any]) -> None:
    settings: dict[str, Any] = {
        "overrides": ["train.parallel=ddp"],
        "runs": Path("runs"),
        "run": "",
        "gpus_per_node": 2,
    }
    with pytest.raises((ConfigError, RunError)):
        slurm(config, None, **{**settings, "nodes": 1, "time": "1:00:00", "partition": "", **changed})


def test_the_first_machine_makes_and_locks_the_run_and_others_join(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, env: commands.append(command))
    for number in (0, 1):
        node(config, "first:2000", "a", ["train.steps=7"], tmp_path / "runs", 2, 4, number, "job")
    paths = RunPaths(tmp_path / "runs" / "a")
    assert load_config(paths.config).train.steps == 7
    for command in commands:
        assert {"--nnodes=2", "--rdzv-endpoint=first:2000", "--rdzv-id=job", "--nproc-per-node=4"} < set(command)
        assert command[-4:-2] == ["mythos.train.worker", str(paths.root)] and command[-1] == "--resume"
    assert is_locked(paths) and commands[1][-2] == "-1"
    os.close(int(commands[0][-2]))
    assert not is_locked(paths)


def test_several_processes_share_the_whole_model_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, env, **rest: started.append((command, env)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    paths = launch.start(parse_config({}, []), tmp_path, "two", [], 2)
    assert load_config(paths.config).train.parallel == "ddp"
    assert "--nproc-per-node=2" in started[0][0] and int(started[0][1]["OMP_NUM_THREADS"]) >= 1
    launch.start(parse_config({}, []), tmp_path, "one", [])
    assert "mythos.train.several" not in started[1][0] and "OMP_NUM_THREADS" not in started[1][1]
    assert started[1][1]["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    with pytest.raises(ConfigError, match="3 equal parts"):
        launch.start(parse_config({}, []), tmp_path, "three", [], 3)
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize("option", ["--nproc", "--processes"])
def test_the_number_of_processes_has_two_names(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(launch, "start", lambda *given: asked.append(given[-1]) or RunPaths(tmp_path))
    arguments = ["train", str(config), "--runs", str(tmp_path), "--detach", option, "3"]
    assert CliRunner().invoke(app, arguments).exit_code == 0 and asked == [3]


@pytest.mark.parametrize(("state", "told"), [("running", "failed"), ("preparing", "failed"), ("stopped", "stopped")])
def test_the_last_word_is_had_over_a_run_that_was_left_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, told: str
) -> None:
    paths = create_run(tmp_path, "a", parse_config({}, []), [])
    write_json(paths.status, {"state": state, "step": 7, "last_checkpoint": "step-00000004", "error": None})
    failures = {rank: ProcessFailure(rank, 1, code, "") for rank, code in ((1, 1), (0, -9))}

    def torchrun(argv: list[str]) -> None:
        raise ChildFailedError("worker", failures)

    monkeypatch.setattr(several, "torchrun", torchrun)
    for lock in ("-1", "3"):  # another machine of the run says nothing
        with pytest.raises(ChildFailedError):
            several.main(["--nproc-per-node=2", "-m", "mythos.train.worker", str(paths.root), lock])
        status = read_json(paths.status) or {}
        assert status["state"] == (state if lock == "-1" else told)
    assert (status["step"], status["last_checkpoint"]) == (7, "step-00000004")
    if told == "failed":
        assert "Rank 0 was ended by SIGKILL" in status["error"]["message"] and status["error"]["hint"]


# Whole runs, slow ------------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path, config: Path) -> Iterator[Callable[..., RunPaths]]:
    """Start a run in two processes; whatever still lives at the end is killed."""
    started: list[RunPaths] = []

    def go(*overrides: str) -> RunPaths:
        started.append(launch.start(load_config(config, overrides), tmp_path / "runs", "a", ["test"], 2))
        return started[-1]

    yield go
    for paths in started:
        for process in members(paths):
            process.kill()


def members(paths: RunPaths) -> list[psutil.Process]:
    """torchrun and the ranks of a run."""
    return [p for p in psutil.process_iter(["cmdline"]) if str(paths.root) in (p.info["cmdline"] or [])]


def ended(paths: RunPaths, seconds: float) -> dict[str, Any]:
    """The last status, once nobody holds the lock."""
    give_up = time.monotonic() + seconds
    while is_locked(paths):
        assert time.monotonic() < give_up, paths.log.read_text()[-3000:]
        time.sleep(0.1)
    return read_json(paths.status) or {}


def until(paths: RunPaths, condition: Callable[[], bool]) -> None:
    """While its worker lives."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up and is_locked(paths), paths.log.read_text()[-3000:]
        time.sleep(0.1)


def step_of(paths: RunPaths) -> int:
    return (read_json(paths.status) or {}).get("step", 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DDP, FSDP], ids=str)
def test_a_run_of_two_processes_saves_evaluates_and_finishes(start: Callable[..., RunPaths], kind: list[str]) -> None:
    paths = start(*kind, "train.steps=8", "train.eval_every=4", "train.checkpoint_every=4")
    send_command(paths, "pause")
    until(paths, lambda: (read_json(paths.status) or {}).get("state") == "paused")
    send_command(paths, "save")  # before any step: rank 0 waited for the others to share out the model, and they for it
    until(paths, lambda: (paths.checkpoints / "latest").exists())
    send_command(paths, "resume")
    status = ended(paths, 100)
    assert (status["state"], status["step"], status["tokens"]) == ("finished", 8, 8 * 4 * 32), paths.log.read_text()
    assert (paths.root / "output.rank-1.log").exists()
    assert {"step-00000004", "step-00000008"} <= {path.name for path in paths.checkpoints.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "kind"), [("0", DDP), ("0", FSDP), ("1", FSDP)], ids=str)
def test_a_killed_rank_ends_the_run_within_half_a_minute_and_it_resumes(
    start: Callable[..., RunPaths], rank: str, kind: list[str]
) -> None:
    """With the other number of processes, too. It saves so often that it is mostly killed within a save."""
    paths = start(*kind, "train.steps=100000", "train.checkpoint_every=2")
    until(paths, lambda: step_of(paths) >= 3 and (paths.checkpoints / "latest").exists())
    (victim,) = (p for p in members(paths) if p.environ().get("RANK") == rank)
    victim.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    status = ended(paths, 30)
    print(f"rank {rank} of {kind[0]} killed: the run had ended after {time.monotonic() - killed:.1f} s")
    assert status["state"] == "failed" and status["error"]["type"] == "RankLost"
    assert "Rank 0" not in status["error"]["message"] or (rank == "0" and "SIGKILL" in status["error"]["message"])
    assert not [p for p in members(paths) if p.status() != psutil.STATUS_ZOMBIE]
    launch.resume(paths.root.parent, paths.name, 1 + int(rank))
    until(paths, lambda: "resumed from" in paths.log.read_text() and step_of(paths) > status["step"] + 2)
