"""The command line: one clear paragraph and exit code 2 for bad input, one object for --json."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mythos.cli import main, training
from mythos.contract.config import Config
from mythos.contract.errors import RunError
from mythos.contract.liveness import is_locked
from mythos.contract.rundir import acquire_lock, create_run, run_paths, write_json

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "configs/quickstart.yaml")
GHOST = ("source=files", "paths=ghost")
DEBUG = str(ROOT / "configs/model/recurrent/debug.yaml")


def mythos(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from mythos.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=110)


def here(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has torch loaded already."""
    out, err = io.StringIO(), io.StringIO()
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    argv = patch.object(sys, "argv", ["mythos", *arguments])
    with contextlib.chdir(cwd), streams[0], streams[1], argv, pytest.raises(SystemExit) as end:
        main()
    return subprocess.CompletedProcess(arguments, int(end.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run `a` over a small text of its own."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text").mkdir()
    for n in range(10):
        (folder / "text" / f"{n}.py").write_text(f"def add_{n}(a, b):\n    return a + b + {n}\n\n\n" * 30)
    small = ["train.steps=6", "train.sequence=32", "train.batch_size=2", "train.log_every=2", "train.threads=1"]
    overrides = [*small, "model.vocab_size=400", "data.source=files", "data.paths=[text]", "data.held_out_percent=20"]
    result = mythos("train", DEBUG, "--run", "a", *[part for o in overrides for part in ("--set", o)], cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("a\n") and "finished at step 6 of 6" in result.stdout
    assert not is_locked(run_paths(folder / "runs", "a"))  # it can be gone on with at once
    return folder


BAD: list[tuple[list[str], str]] = [
    (["train", "ghost.yaml"], "no configuration at ghost.yaml"),
    (["train"], "needs a configuration"),
    (["train", QUICKSTART, "--set", "model.widht=3"], "did you mean width"),
    (["train", QUICKSTART, "--set", "train.steps=-1"], "train.steps"),
    (["train", QUICKSTART, "--set", "model.n_heads=5"], "does not divide"),
    (["train", QUICKSTART, "--set", "model.vocab_size=97"], "at least 257"),
    (["train", QUICKSTART, "--run", "../out"], "cannot be the name"),
    (["train", QUICKSTART, "--run", "a"], "exists already"),
    (["train", "--resume", "ghost"], "no run 'ghost'"),
    (["train", "--resume", "a"], "is finished"),
    (["train", QUICKSTART, "--resume", "a"], "as it was configured"),
    (["watch", "ghost"], "no run 'ghost'"),
    (["watch", "runs/ghost"], "no run at 'runs/ghost'"),
    (["pause", "a"], "no living worker"),
    (["eval", "ghost"], "no checkpoint at ghost"),
    (["eval", "a", "--loops", "0"], "--loops has 0"),
    (["eval", "a", "--loops", ""], "no list of whole numbers"),
    (["eval", "a", "--loops", "1,two"], "no list of whole numbers"),
    (["eval", "a", "--loops", "2,4,2"], "2 more than once"),
    (["eval", "a", "--loops", "1,2", "--exit", "act"], "needs a model trained with halting 'act'"),
    (["generate", "damaged", "--prompt", "x"], "model.safetensors is damaged"),
    (["generate", "a", "--prompt", "x", "--exit", "kl"], "needs a threshold"),
    (["generate", "a", "--prompt", "x", "--exit", "act"], "act"),
    (["generate", "a", "--prompt", "x " * 400], "128"),
    (["trace", "a", "--text", "x", "--out", "no/such/folder/t.npz"], "no/such/folder"),
    (["data", "prepare", DEBUG, "--set", "data.source=files", "--set", "data.paths=[empty]"], "empty"),
    (["data", "prepare", DEBUG, "--set", "data.source=files", "--set", "data.paths=[ghost]"], "ghost"),
    (["export", "mythos", "a", "shipped2", "--set", "model.width=3"], "cannot change in a trained checkpoint"),
    (["export", "mythos", "a", "text"], "exists and is no checkpoint"),
    (["budget", "broken.yaml"], "not valid YAML"),
    (["budget"], "Missing argument"),
    (["runs", "--no-such-option"], "No such option"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=[" ".join(a)[:60] for a, _ in BAD])
def test_bad_input_gets_a_paragraph_and_exit_code_2(trained: Path, arguments: list[str], says: str) -> None:
    (trained / "empty").mkdir(exist_ok=True)
    (trained / "broken.yaml").write_text("model: [\n")
    damaged = trained / "damaged"
    if not damaged.exists():
        whole = next((trained / "runs/a/checkpoints").glob("step-*"))
        damaged.mkdir()
        for name in ("config.yaml", "tokenizer.json", "manifest.json"):
            (damaged / name).write_bytes((whole / name).read_bytes())
        (damaged / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes()[:-100])
    before = sorted(str(path) for path in (trained / "runs").rglob("*"))
    said = here(*arguments, cwd=trained)  # which ends by SystemExit: anything else would be a traceback
    assert said.returncode == 2 and says in said.stderr, said.stdout + said.stderr
    assert sorted(str(path) for path in (trained / "runs").rglob("*")) == before


def test_a_finished_run_is_asked_for_what_it_would_take(trained: Path) -> None:
    """It was said to go on with --resume alone, which is refused to a finished run."""
    said = here("set", "a", "train.lr=0.1", cwd=trained).stderr
    assert "a has no living worker, its state is finished." in said
    assert "mythos train --resume a --set train.lr=0.1 --set train.steps=N" in said


def test_a_worker_that_ends_instead_of_answering_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said that it had not answered within 60 s, after less than one."""
    paths = create_run(tmp_path, "a", Config(), [])
    held = acquire_lock(paths)
    monkeypatch.setattr(training, "send_command", lambda *_, **__: os.close(held))
    with pytest.raises(RunError, match="a ended before it answered"):
        training.control_command("pause")("a", tmp_path)
    assert capsys.readouterr().out == ""


def parsed(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def documented_keys(command: str) -> set[str]:
    """Keys that docs/cli.md lists for a command's --json."""
    text = (ROOT / "docs/cli.md").read_text()
    section = text.split(f"## mythos {command}\n", 1)[1].split("\n## ", 1)[0]
    return {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}


def flat(value: dict[str, Any], prefix: str = "") -> set[str]:
    keys = set()
    for key, item in value.items():
        keys |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) and item else {prefix + key}
    return keys


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("budget", [QUICKSTART]),
        ("eval", ["a", "--loops", "2"]),
        ("generate", ["a", "--prompt", "def ", "--max-tokens", "5", "--seed", "1"]),
        ("trace", ["a", "--text", "def add", "--out", "t.npz", "--exit", "confidence:0.01", "--sweep"]),
    ],
)
def test_json_prints_one_object_with_the_documented_keys(trained: Path, command: str, arguments: list[str]) -> None:
    value = parsed(mythos(command, *arguments, "--json", cwd=trained))
    assert flat(value) == documented_keys(command)


def test_the_sweep_over_depth(trained: Path) -> None:
    arguments = ("eval", "a", "--loops", "4,1,2", "--max-tokens", "96")
    result = here(*arguments, "--json", cwd=trained)
    value = parsed(result)
    assert set(value) == documented_keys("eval --loops LIST")
    assert [depth["loops"] for depth in value["depths"]] == [1, 2, 4] and value["tokens"] == 96
    assert {curve["rule"] for curve in value["rules"]["curves"]} > {"fixed", "kl"}
    assert "kl:" in result.stderr  # progress
    plain = here(*arguments, "--exit", "state_delta:0.2", cwd=trained).stdout
    assert "state_delta:0.2" in plain and "loss (nats/token) over loops" in plain and "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 80


def test_a_prepared_corpus_is_described_and_found_again(trained: Path) -> None:
    arguments = ("data", "prepare", DEBUG, "--set", "data.source=files", "--set", "data.paths=[text]", "--json")
    first, second = parsed(mythos(*arguments, cwd=trained)), parsed(mythos(*arguments, cwd=trained))
    assert first == second and set(first) == documented_keys("data prepare")
    assert first["splits"]["train"]["documents"] + first["splits"]["held_out"]["documents"] == 10


def test_runs_and_watch_speak_of_the_finished_run(trained: Path) -> None:
    (run,) = parsed(mythos("runs", "--json", cwd=trained))["runs"]
    assert (run["name"], run["state"], run["step"]) == ("a", "finished", 6)
    assert set(run) == documented_keys("runs")
    watched = parsed(mythos("watch", "a", "--once", "--json", cwd=trained))
    assert watched["metrics"]["step"] == 6 and watched["evaluation"]["bits_per_byte"] > 0
    once = mythos("watch", "a", "--once", cwd=trained)
    assert "a: finished at step 6 of 6" in once.stdout and "\x1b" not in once.stdout
    follow = mythos("watch", "a", "--follow", cwd=trained)
    said = [line.split()[:2] for line in follow.stdout.splitlines()]
    assert said.index(["step", "6"]) < said.index(["saved", "step-00000006"]), "in the order in which it happened"


def test_whoever_gives_a_finished_run_more_steps_follows_those(trained: Path, tmp_path: Path) -> None:
    """Its status said finished until the new worker spoke, and so the command said that and ended."""
    shutil.copytree(trained / "runs/a", tmp_path / "a")
    result = mythos("train", "--resume", "a", "--runs", str(tmp_path), "--set", "train.steps=8", cwd=trained)
    assert result.returncode == 0, result.stderr
    assert "a: finished at step 8 of 8" in result.stdout and "of 6" not in result.stdout
    steps = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("step ")]
    assert steps == ["8"], "what it had logged before was printed again"


def test_a_run_that_was_told_to_stop_has_stopped_and_can_be_gone_on_with(trained: Path, tmp_path: Path) -> None:
    """The command ended with the worker's word that it would, and resuming at once was refused."""
    shutil.copytree(trained / "runs/a", tmp_path / "a")
    at = ("--runs", str(tmp_path))
    went_on = mythos("train", "--resume", "a", *at, "--set", "train.steps=100000", "--detach", cwd=trained)
    assert went_on.returncode == 0, went_on.stderr
    stopped = mythos("stop", "a", *at, cwd=trained)
    assert "stopped by stop command" in stopped.stdout and not is_locked(run_paths(tmp_path, "a")), stopped


def test_the_way_on_is_one_that_can_be_taken(trained: Path, tmp_path: Path) -> None:
    """It named resuming to a run without a checkpoint, and a name that is not known where runs lie elsewhere."""
    runs = tmp_path / "my runs"
    failed = mythos("train", DEBUG, "--run", "b", "--runs", str(runs), *(f"--set=data.{at}" for at in GHOST), cwd=tmp_path)
    assert failed.returncode == 2 and "ghost does not exist" in failed.stderr
    assert "ghost does not exist" not in failed.stdout, "a fault is told once"
    assert f"It wrote no checkpoint; start it anew: mythos train '{runs}/b/config.yaml' --run NAME" in failed.stderr
    assert "left no checkpoint" in mythos("stop", "b", "--runs", str(runs), cwd=tmp_path).stderr
    shutil.copytree(trained / "runs/a", runs / "a")
    assert f"--resume '{runs}/a'" in mythos("stop", "a", "--runs", str(runs), cwd=tmp_path).stderr


def test_text_from_files_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    from mythos.contract.config import Config
    from mythos.contract.rundir import LineWriter, create_run, write_json

    paths = create_run(tmp_path / "runs", "odd", Config(), [])
    evil = "\x1b[2J\x07gone"
    error = {"type": "X", "message": evil, "hint": evil}
    write_json(paths.status, {"state": "failed", "message": evil, "error": error, "step": "many", "updated": 0})
    events = LineWriter(paths.events)
    for event in ({"kind": "checkpoint", "name": evil}, {"kind": "evaluation"}, {"kind": "device", "device": evil}):
        events.write(event)
    LineWriter(paths.metrics).write({"step": evil, "loss": evil})
    for arguments in (["watch", "odd", "--once"], ["watch", "odd"], ["runs"], ["pause", "odd"]):
        result = mythos(*arguments, cwd=tmp_path)
        said = result.stdout + result.stderr
        assert "\x1b" not in said and "\x07" not in said and "Traceback" not in said
    assert "\\x1b[2J\\x07gone" in mythos("watch", "odd", "--once", cwd=tmp_path).stdout


def test_generation_repeats_with_a_seed(trained: Path) -> None:
    arguments = ("generate", "a", "--prompt", "def ", "--max-tokens", "12", "--seed", "3")
    first, second = mythos(*arguments, cwd=trained), here(*arguments, cwd=trained)
    assert first.returncode == 0 and first.stdout == second.stdout != ""


def test_a_shipped_copy_loads_and_holds_no_training_state(trained: Path) -> None:
    (trained / "shipped").mkdir()
    (trained / "shipped" / "README.md").write_text("a card")
    assert here("export", "mythos", "a", "shipped", "--set", "infer.exit=kl:0.01", cwd=trained).returncode == 0
    assert (trained / "shipped" / "README.md").read_text() == "a card"
    (trained / "shipped" / "README.md").write_text("a better card")  # still loads, see below
    assert sorted(path.name for path in (trained / "shipped").iterdir()) == [
        "README.md",
        "config.yaml",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert "exit: kl:0.01" in (trained / "shipped" / "config.yaml").read_text()
    arguments = ("--prompt", "def ", "--max-tokens", "3", "--seed", "1", "--json")
    value = parsed(here("generate", "shipped", *arguments, cwd=trained))
    assert len(value["tokens"]) == 3


def test_the_list_of_keys_covers_the_configuration(trained: Path) -> None:
    text = mythos("config", cwd=trained).stdout
    for key in ("model.width", "data.source", "train.steps", "objective.kind", "infer.exit"):
        assert f"  {key} = " in text


def test_the_time_of_a_budget_is_known_from_a_run_here(trained: Path):
    told = json.loads(mythos("budget", DEBUG, "--runs", "runs", "--json", cwd=trained).stdout)
    assert told["expected"]["run"] == "a" and told["expected"]["tokens_per_s"] > 0
    assert told["expected"]["memory_bytes"] > 1e8
    printed = mythos("budget", DEBUG, cwd=trained).stdout
    assert "expected, as in a" in printed and re.search(r"memory to train, estimate +\S+ .B of \S+ .B here", printed)
    assert json.loads(mythos("budget", DEBUG, "--runs", "text", "--json", cwd=trained).stdout)["expected"] is None


def test_the_peak_of_this_machine_is_measured(tmp_path: Path):
    told = json.loads(mythos("machine", "--json", cwd=tmp_path).stdout)
    assert told["peak_flops"] > 1e8 and told["memory_bytes"] > 1e8
    assert set(told) == {"device", "precision", "threads", "peak_flops", "memory_bytes"}


def test_a_worker_that_vanished_is_told_of_with_the_way_to_its_cause(tmp_path: Path) -> None:
    """It was said to have crashed, `training`."""
    paths = create_run(tmp_path / "runs", "gone", Config(), [])
    write_json(paths.status, {"state": "running", "message": "training", "step": 3, "updated": 0})
    for said in (here("watch", "gone", "--once", cwd=tmp_path).stdout, here("watch", "gone", cwd=tmp_path).stderr):
        assert "gone without a word" in said and "mythos doctor gone" in said and "training" not in said
    write_json(paths.status, {"state": "failed", "message": "out of luck", "error": None, "updated": 0})
    watched = here("watch", "gone", cwd=tmp_path)
    assert watched.returncode == 2 and "out of luck" in watched.stderr and "mythos doctor gone" in watched.stderr
