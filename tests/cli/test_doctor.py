"""`mythos doctor` over runs and checkpoints: what it finds, what it looked at, and that nothing is trusted or written."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mythos.cli.app import app
from mythos.contract.alerts import PLAYBOOK
from mythos.contract.checkpoints import new_checkpoint
from mythos.contract.errors import MythosError
from mythos.contract.load import parse_config
from mythos.contract.rundir import LineWriter, create_run
from mythos.data.loader import Loader
from mythos.data.prepare import prepare
from mythos.data.tokenizer import Tokenizer
from tests.fakes.checkpoints import write_checkpoint
from tests.fakes.runs import FakeRun

WELL = {"rho_a": 0.45}
PARENTS = {"a": None, "child": "a/step-00000012"}
Weights = dict[str, torch.Tensor]


def doctor(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def findings(*arguments: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(doctor(*arguments, "--json"))["findings"]
    return found


@pytest.fixture
def run(tmp_path: Path) -> Iterator[FakeRun]:
    """The run `demo` of 30 healthy records, that lives."""
    fake = FakeRun(tmp_path / "runs")
    fake.metrics(*range(10, 310, 10), **WELL)
    fake.event("evaluation", loss=2.5, step=300)
    fake.status("running", 300)
    yield fake
    fake.close()


def test_a_healthy_run(run: FakeRun) -> None:
    said = doctor("demo", "--runs", run.paths.root.parent)
    assert said == "Nothing found. Looked at: state (running), 30 records, 1 evaluation, 1 event.\n"
    assert doctor(run.paths.root) == said


def test_every_page_says_symptom_evidence_cause_and_change(run: FakeRun) -> None:
    run.metrics(310, **WELL, loss=math.nan)
    run.metrics(*range(320, 400, 10), rho_a=0.499)
    run.metrics(*range(400, 510, 10), **WELL)
    run.metrics(510, **WELL, loss=math.inf)
    run.event("alert", message="the disk is full")
    run.event("alert", message="the disk is full")
    run.event("alert", alert="nan", message="as the guard told it")
    found = findings("demo", "--runs", run.paths.root.parent)
    assert [(one["kind"], one["level"], one["step"]) for one in found] == [
        ("nan", "error", 310),
        ("unsaved", "warning", None),
        ("rho_a", "note", 360),
    ]
    nan = PLAYBOOK["nan"]
    assert found[0] | {"symptom": nan.symptom, "cause": nan.cause, "advice": nan.advice} == found[0]
    said = doctor("demo", "--runs", run.paths.root.parent)
    assert f"error: {nan.symptom}, from step 310\n  evidence  loss is nan; 1 more time, last from step 510\n" in said
    assert f"  cause     {nan.cause}\n  change    {nan.advice}\n" in said
    assert "the disk is full" in said and "3 found. Looked at: state (running), 51 records" in said


@pytest.mark.parametrize(
    ("state", "changes", "kind", "evidence"),
    [
        ("running", {"updated": 1e9, "message": "training"}, "stall", "within 60 s; the last was: training"),
        ("failed", {"error": {"message": "boom", "hint": "mend it"}}, "failed", "boom"),
        ("failed", {"error": {"type": "MemoryError", "message": "x"}}, "out_of_memory", "x"),
        ("failed", {"error": {"message": "CUDA out of memory"}}, "out_of_memory", "CUDA out of memory"),
    ],
)
def test_the_state_of_a_run(run: FakeRun, state: str, changes: dict[str, Any], kind: str, evidence: str) -> None:
    run.status(state, 300, **changes)
    (found,) = findings(run.paths.root)
    assert (found["kind"], found["step"]) == (kind, 300) and evidence in found["evidence"]
    advice = {"failed": "mend it", "out_of_memory": "train.checkpoint_loops=true"}.get(kind, "output.log")
    assert advice in found["advice"]


def test_a_worker_that_died_without_a_word(run: FakeRun) -> None:
    run.close()
    (found,) = findings(run.paths.root)
    assert found["kind"] == "failed" and "without a word" in found["evidence"]
    assert found["advice"] == PLAYBOOK["failed"].advice


def test_damaged_files_are_passed_over_and_nothing_in_them_is_obeyed(run: FakeRun) -> None:
    evil = "\x1b[2J\x07"
    run.metrics(310, loss=evil, **WELL)
    run._metrics.write({"step": evil})
    run._metrics.write({"time": evil, "loss_parts": 3})
    run._metrics.write({"step": math.inf})
    run.metrics(320, loss_parts={"cross_entropy": 10**400}, **WELL)
    run._events.write({"kind": "evaluation", "loss": [evil]})
    run.event("alert", message=evil, alert=[evil])
    run.status("failed", 310, error={"message": evil, "hint": evil, "type": 7}, message=evil)
    said = doctor(run.paths.root)
    assert "6 damaged records passed over" in said and "\\x1b[2J\\x07" in said
    assert "\x1b" not in said and "\x07" not in said
    run.status("failed", error=[], steps="many", loss=evil)
    assert "without a word" in doctor(run.paths.root)


def test_a_run_without_checkpoints_needs_no_torch_and_nothing_is_written(run: FakeRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.paths.root.rglob("*")}
    code = "import sys; from mythos.cli import main; sys.argv[1:] = ['doctor', sys.argv[1]]\n"
    code += "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, str(run.paths.root)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.endswith("0 False\n") and "Nothing found" in said
    assert {path: path.stat().st_mtime_ns for path in run.paths.root.rglob("*")} == before


def test_what_is_neither_run_nor_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target, says in (("ghost", "no run 'ghost'"), (tmp_path / "empty", "no whole checkpoint"), ("../x", "name")):
        with pytest.raises(MythosError, match=says):
            doctor(target, "--runs", tmp_path)


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole checkpoints `dense` and `looped`; the latter with a halting head that looks at the state."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "dense", "dense")
    write_checkpoint(folder / "looped", halting="act")
    for name in ("dense", "looped"):
        change(folder / name, lambda weights: weights["embedding.weight"].normal_())
    return folder


def change(directory: Path, alter: Callable[[Weights], object]) -> None:
    """Write the checkpoint anew with other weights."""
    weights = load_file(directory / "model.safetensors")
    alter(weights)
    others = {name: (directory / name).read_bytes() for name in ("config.yaml", "tokenizer.json")}
    with new_checkpoint(directory, {"step": 7}) as folder:
        save_file(weights, folder / "model.safetensors")
        for name, content in others.items():
            (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "looked_at"),
    [("dense", "weights, embedding"), ("looped", "weights, embedding, A, router bias, experts, halting head")],
)
def test_healthy_weights(checkpoints: Path, name: str, looked_at: str) -> None:
    assert doctor(checkpoints / name) == f"Nothing found. Looked at: {name} ({looked_at}).\n"


SICK: list[tuple[str, str, Callable[[Weights], object], str]] = [
    (
        "bad_weights",
        "dense",
        lambda w: w["norm.weight"][1:3].fill_(math.inf),
        "tensors, among them norm.weight",
    ),
    (
        "embedding_norms",
        "dense",
        lambda w: w["embedding.weight"][5].mul_(100),
        "rows are far from the median norm 5.66: 5 (8",
    ),
    ("rho_a", "looped", lambda w: w["injection.raw_dt"][:2].fill_(-1e4), "A of 2 of 32 channels above 0.49"),
    ("router_bias", "looped", lambda w: w["block.ffn.router_bias"][1].fill_(-90), "90 for expert 1"),
    ("expert_norms", "looped", lambda w: w["block.ffn.up"][2].mul_(1e-3), "experts 2 of 4"),
    ("halting_collapse", "looped", lambda w: w["halt.weight"].zero_(), "says 0.332 whatever the state"),
]


@pytest.mark.parametrize(("kind", "name", "alter", "evidence"), SICK, ids=[kind for kind, *_ in SICK])
def test_sick_weights(
    checkpoints: Path, tmp_path: Path, kind: str, name: str, alter: Callable[[Weights], object], evidence: str
) -> None:
    shutil.copytree(checkpoints / name, tmp_path / name)
    change(tmp_path / name, alter)
    (found,) = findings(tmp_path / name)
    assert (found["kind"], found["step"]) == (kind, 7) and evidence in found["evidence"]


def test_a_damaged_checkpoint_is_a_finding(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "dense", tmp_path / "dense")
    with open(tmp_path / "dense" / "model.safetensors", "r+b") as file:
        file.seek(-4, 2)
        file.write(b"oops")
    (found,) = findings(tmp_path / "dense")
    assert found["kind"] == "bad_weights" and "contents differ" in found["evidence"]


def test_the_latest_checkpoint_of_a_run_is_looked_at(checkpoints: Path, run: FakeRun) -> None:
    shutil.copytree(checkpoints / "looped", run.paths.checkpoints / "step-00000007")
    change(run.paths.checkpoints / "step-00000007", SICK[2][2])
    assert [one["kind"] for one in findings(run.paths.root)] == ["rho_a"]
    assert "step-00000007 (weights, embedding, A" in doctor(run.paths.root)


def test_damaged_checkpoints_of_a_run_are_told_of(checkpoints: Path, run: FakeRun) -> None:
    """Nothing was found where the newest was damaged, since a reader goes on to an older one or to none."""
    newest = run.paths.checkpoints / "step-00000009"
    shutil.copytree(checkpoints / "dense", newest)
    (newest / "manifest.json").unlink()
    (found,) = findings(run.paths.root)
    assert found["kind"] == "bad_weights" and "step-00000009 has no manifest.json" in found["evidence"]
    assert found["advice"] == PLAYBOOK["bad_weights"].advice
    shutil.copytree(checkpoints / "dense", run.paths.checkpoints / "step-00000007")
    (found,) = findings(run.paths.root)
    assert "step-00000009" in found["evidence"]
    said = doctor(run.paths.root)
    assert "files of step-00000009, step-00000007 (weights, embedding)" in said


# Text -----------------------------------------------------------------------------------------------------------------


def test_the_text_of_a_step_is_shown_with_its_documents(tmp_path: Path) -> None:
    """Of any step, with control characters made visible; a fork counts from where its parent's checkpoint stood."""
    text = tmp_path / "text"
    text.mkdir()
    for number in range(24):
        (text / f"{number}.txt").write_text(f"\x1b[2J Tale {number} has an end.\n" * 30)
    overrides = [f"data.paths=[{text}]", "data.source=files", "model={vocab_size: 280, width: 32}", "train.sequence=64"]
    config = parse_config({}, [*overrides, f"data.cache_dir={tmp_path}", "train.batch_size=4", "train.steps=40"])
    corpus = prepare(config.data, 280)
    loader, tokenizer = Loader(corpus.split("train"), 64, 4, config.train.seed), Tokenizer.load(corpus.tokenizer_path)
    batches = [loader.next()[0] for _ in range(30)]
    assert loader.epoch == 1  # some batches are of a second epoch, and one is of both
    paths, child = (create_run(tmp_path, name, config, [], parent) for name, parent in PARENTS.items())
    for run in (paths, child):
        with pytest.raises(MythosError, match="not prepared its text"):
            doctor(run.root, "--batch", 27)
        LineWriter(run.events).write({"kind": "data", "path": str(corpus.path)})
    for step in (1, 17, 24, 27, 30):
        facts = json.loads(doctor(paths.root, "--batch", step, "--json"))
        assert [row["text"] for row in facts["rows"]] == [
            tokenizer.decode(corpus.split("train").tokens.slice(*row["tokens"]).tolist()) for row in facts["rows"]
        ]
        shown = [corpus.split("train").tokens.slice(*row["tokens"])[:-1].tolist() for row in facts["rows"]]
        assert shown == batches[step - 1].tolist() and all(row["documents"] for row in facts["rows"])
    said = doctor(paths.root, "--batch", 27)
    assert "\x1b" not in said and "\\x1b[2J Tale" in said and ".txt" in said and "row 3, tokens" in said
    with pytest.raises(MythosError, match="steps 13 to 40, not 12; earlier ones are in a"):
        doctor(child.root, "--batch", 12)
    with pytest.raises(MythosError, match="no checkpoint"):
        doctor(child.root, "--batch", 13)
    state = {"loader": {**loader.state(), "epoch": 0, "position": 70}, "steps_done": 12}
    folder = write_checkpoint(child.checkpoints / "step-00000012") / "state"
    folder.mkdir()
    (folder / "trainer.json").write_text(json.dumps(state))
    rows = json.loads(doctor(child.root, "--batch", 14, "--json"))["rows"]
    assert [row["tokens"][0] for row in rows] == loader.starts(74, 4)
    shutil.rmtree(corpus.path)
    with pytest.raises(MythosError, match="is not in"):
        doctor(paths.root, "--batch", 1)
