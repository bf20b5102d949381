"""A run that dies and goes on is the run that never died, bit for bit; what may change on the way, and what may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mythos.contract.changes import ON_RESUME, change, current_config
from mythos.contract.errors import CheckpointError, ConfigError, RunError
from mythos.contract.liveness import is_locked
from mythos.contract.load import parse_config
from mythos.contract.rundir import RunPaths, send_command
from mythos.contract.watch import JsonTail, read_json
from mythos.train import device, launch, resume
from mythos.train.fork import fork
from mythos.train.journal import cut_metrics
from tests.crash_runs import SAME, equal_checkpoints, equal_lines, make_run
from tests.train.inside import die_after, events, in_this_process, run  # noqa: F401


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_dying_and_going_on_changes_no_bit(tmp_path: Path, precision: str) -> None:
    same = ("train.steps=8", f"train.precision={precision}", "objective.warmup_loops=1", "objective.mixed_exits=0.5")
    whole = make_run(tmp_path, tmp_path, "whole", *same, "train.checkpoint_every=8", "train.eval_every=0")
    assert run(whole) == 0
    torn = make_run(tmp_path, tmp_path, "torn", *same, "train.checkpoint_every=3", "train.eval_every=2")
    die_after(torn, 5)
    assert [line["step"] for line in JsonTail(torn.metrics).read_objects()] == [1, 2, 3, 4, 5]
    assert run(torn, resume=True) == 0
    assert equal_checkpoints(whole, torn) == 1 and equal_lines(whole, torn) == 8
    assert [line["step"] for line in JsonTail(torn.metrics).read_objects()] == list(range(1, 9))
    assert events(torn, "resumed")[0]["checkpoint"] == "step-00000003" and events(torn, "resumed")[0]["dropped"] == 2
    assert [event["step"] for event in events(torn, "evaluation")] == [2, 4, 4, 6, 8]
    prepared = [event for event in events(torn, "state") if event["state"] == "preparing"]
    assert [event.get("step") for event in prepared] == [None, 3]


def test_what_a_machine_measured_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a resumed run would go on in another arithmetic when the machine happens to be busy."""
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=4", "train.checkpoint_every=2", "train.precision=auto")
    die_after(paths, 3)
    monkeypatch.setattr(device, "matmul_peak", lambda name, dtype: 9e9 if "bfloat16" in str(dtype) else 1e9)
    assert run(paths, resume=True) == 0
    assert [event["precision"] for event in events(paths, "device")] == ["fp32", "fp32"]


def test_an_arithmetic_that_the_device_cannot_do_is_chosen_anew_and_told_of(tmp_path: Path) -> None:
    """A run of a GPU in fp16 was to go on on the CPU, and ended with advice that a resumed run cannot take."""
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=4", "train.checkpoint_every=2", "train.precision=auto")
    die_after(paths, 3)
    manifest = paths.checkpoints / "step-00000002" / "manifest.json"
    facts = json.loads(manifest.read_text())
    assert (facts["precision"], facts["beside"]) == ("fp32", 1)
    manifest.write_text(json.dumps({**facts, "precision": "fp16"}))
    assert run(paths, resume=True) == 0
    assert [event["precision"] for event in events(paths, "device")] == ["fp32", "fp32"]
    assert [event["changed"] for event in events(paths, "setting")] == [{"train.precision": ["fp16", "auto"]}]


@pytest.mark.parametrize(("then", "now", "kept"), [(1, 1, 6), (4, 4, 6), (None, 1, 6), (1, 4, 0), (4, 1, 0), (None, 4, 0)])
def test_threads_stay_where_as_many_processes_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, then: int | None, now: int, kept: int
) -> None:
    """Rank 0 of four took all cores where a process alone had had them, and one alone only a quarter after four."""
    facts = {"precision": "fp32", "threads": 6} | ({} if then is None else {"beside": then})
    monkeypatch.setattr(resume, "read_manifest", lambda _: facts)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(now))
    train = resume.as_before(parse_config({}, []), Path("step-00000001")).train
    assert (train.threads, train.precision) == (kept, "fp32")


def test_a_damaged_checkpoint_is_told_of_and_set_aside(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=8", "train.checkpoint_every=2", "train.keep_checkpoints=1")
    assert die_after(paths, 3) == ["step-00000002"]
    change(paths, ["train.keep_checkpoints=3"], ON_RESUME)
    assert die_after(paths, 7, resume=True) == ["step-00000006", "step-00000004", "step-00000002"]
    weights = paths.checkpoints / "step-00000006" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    (paths.checkpoints / "step-00000004" / "manifest.json").unlink()
    assert run(paths, resume=True) == 0
    (alert,) = events(paths, "alert")
    assert "step-00000006" in alert["message"] and alert["message"].endswith("Going back to step-00000002.")
    assert (paths.checkpoints / "latest").read_text() == "step-00000008\n"
    assert len(list(paths.checkpoints.glob(".damaged-*"))) == 2


def test_where_every_checkpoint_is_damaged_nothing_is_touched(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=8", "train.checkpoint_every=2")
    die_after(paths, 3)
    (paths.checkpoints / "step-00000002" / "state" / "trainer.json").write_text("{}")
    lines = paths.metrics.read_bytes()
    assert run(paths, resume=True) == 1
    status = read_json(paths.status) or {}
    assert status["state"] == "failed" and "trainer.json is damaged" in status["error"]["message"]
    assert (paths.checkpoints / "step-00000002").is_dir() and paths.metrics.read_bytes() == lines


def test_some_settings_may_change_on_resume_and_others_are_refused_by_name(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=8", "train.checkpoint_every=2")
    die_after(paths, 3)
    with pytest.raises(ConfigError, match=r"model\.width cannot be changed"):
        change(paths, ["model.width=64"], ON_RESUME)
    with pytest.raises(ConfigError, match=r"fork RUN --set objective\.mixed_exits"):
        change(paths, ["objective.mixed_exits=0"], ON_RESUME)
    with pytest.raises(ConfigError, match=r"train\.stepz"):
        change(paths, ["train.stepz=64"], ON_RESUME)
    assert not (paths.root / "changes.json").exists()
    assert change(paths, ["train.steps=5", "train.lr=1e-4"], ON_RESUME) == {
        "train.steps": (8, 5),
        "train.lr": (0.003, 0.0001),
    }
    assert run(paths, resume=True) == 0
    assert (read_json(paths.status) or {})["step"] == 5 and current_config(paths).train.steps == 5
    assert events(paths, "setting")[0]["changed"] == {"train.steps": [8, 5], "train.lr": [0.003, 0.0001]}
    assert "steps: 8" in paths.config.read_text()


def test_a_worker_refuses_a_configuration_that_was_edited(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=8", "train.checkpoint_every=2")
    die_after(paths, 3)
    paths.config.write_text(paths.config.read_text().replace("batch_size: 2", "batch_size: 4"))
    assert run(paths, resume=True) == 1
    error = (read_json(paths.status) or {})["error"]
    assert "train.batch_size cannot be changed" in error["message"] and "fork" in error["hint"]


def test_settings_change_while_it_trains_and_stay_changed(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=6", "train.checkpoint_every=2", "train.warmup_steps=0")
    good = send_command(paths, "set", overrides=["train.lr=0.001", "model.loops=2", "train.eval_every=3"])
    bad = send_command(paths, "set", overrides=["train.seed=1"])
    odd = send_command(paths, "set", overrides="train.lr=0.001")
    early = send_command(paths, "save")
    die_after(paths, 3)
    answers = {event["id"]: event for event in events(paths, "command")}
    assert answers[good]["ok"] and "train.lr 0.003 → 0.001" in answers[good]["message"]
    assert not answers[bad]["ok"] and "train.seed cannot be changed" in answers[bad]["message"]
    assert not answers[odd]["ok"] and not answers[early]["ok"]
    assert run(paths, resume=True) == 0
    lines = JsonTail(paths.metrics).read_objects()
    assert lines[0]["lr"] == pytest.approx(0.001) and lines[-1]["lr"] < 0.001
    manifest = paths.checkpoints / "step-00000006" / "config.yaml"
    assert "lr: 0.001" in manifest.read_text() and "loops: 2" in manifest.read_text()
    assert len(events(paths, "setting")) == 1 and [e["step"] for e in events(paths, "evaluation")] == [3, 3, 6]


def test_a_fork_goes_on_from_a_checkpoint_with_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_spawn", lambda *_, **__: None)
    parent = make_run(tmp_path, tmp_path, "parent", "train.steps=6", "train.checkpoint_every=2", "train.keep_every=2")
    assert run(parent) == 0
    with pytest.raises(ConfigError, match=r"model\.width cannot be changed in a fork"):
        fork(tmp_path, "parent", 2, ["model.width=64"], "child", [])
    with pytest.raises(ConfigError, match="6 of 6 steps"):
        fork(tmp_path, "parent", None, [], "child", [])
    with pytest.raises(CheckpointError, match="at step 3"):
        fork(tmp_path, "parent", 3, [], "child", [])
    with pytest.raises(RunError, match="no run"):
        fork(tmp_path, "ghost", None, [], "child", [])
    assert not (tmp_path / "child").exists()
    twin = fork(tmp_path, "parent", 2, [], "twin", ["a"])
    child = fork(tmp_path, "parent", 2, ["train.lr=0.01", "train.steps=8"], "child", ["a"])
    assert (read_json(child.identity) or {})["parent"] == "parent/step-00000002"
    assert run(twin, resume=True) == run(child, resume=True) == 0
    assert equal_checkpoints(parent, twin) >= 2
    last = [json.loads((p.checkpoints / "step-00000006/manifest.json").read_text()) for p in (parent, child)]
    assert last[0]["files"][SAME[0]] != last[1]["files"][SAME[0]] and last[1]["run"] == "child"
    assert not is_locked(child) and (read_json(child.status) or {})["step"] == 8


def test_lines_beyond_a_step_go_and_broken_ones_with_them(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert cut_metrics(paths, 3) == 0
    paths.metrics.write_bytes(b'{"step": 1}\n{"step": 3}\nnonsense\n{"step": 4}\n{"st')
    reader = JsonTail(paths.metrics)
    assert len(reader.read_objects()) == 3
    assert cut_metrics(paths, 3) == 3 and paths.metrics.read_bytes() == b'{"step": 1}\n{"step": 3}\n'
    assert reader.read_objects() == [{"step": 1}, {"step": 3}] and reader.restarts == 1
