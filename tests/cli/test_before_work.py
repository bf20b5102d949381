"""What cannot end well is refused before anything is measured or trained, and nothing that is there is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mythos.cli.app import app
from mythos.cli.asking import _depths
from mythos.cli.launching import node
from mythos.contract.errors import ConfigError, MythosError
from tests.fakes.checkpoints import write_checkpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which measuring, training and becoming another program fail the test."""

    def work(*given: Any, **more: Any) -> None:
        raise AssertionError("work was begun")

    for place in ("mythos.evals.checkpoint.own_documents", "mythos.study.studies.trained", "os.execve"):
        monkeypatch.setattr(place, work)
    write_checkpoint(tmp_path / "model")
    trainable = write_checkpoint(tmp_path / "runs/a/checkpoints/step-00000007")
    (trainable / "state").mkdir()
    (trainable / "state" / "trainer.json").write_text("{}")
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*arguments: str) -> MythosError:
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, MythosError) and error.hint, error
    return error


CALIBRATE = [
    (["--to", "."], "exists and is no checkpoint"),
    (["--to", "file"], "exists and is no checkpoint"),
    (["--to", "file/x"], "file is no folder"),
    (["--to", "runs/a/checkpoints/step-00000007"], "its training state would be lost"),
    (["--rules", "act"], "'act' cannot be calibrated in this model"),
    (["--rules", "kl,fixed"], "'fixed' cannot be calibrated in this model"),
    (["--rules", "gates"], "no rule 'gates'"),
]


@pytest.mark.parametrize(("arguments", "says"), CALIBRATE, ids=[" ".join(a) for a, _ in CALIBRATE])
def test_calibrate(folder: Path, arguments: list[str], says: str) -> None:
    before = sorted(folder.rglob("*"))
    assert says in refused("calibrate", "model", *arguments).message
    assert sorted(folder.rglob("*")) == before


STUDY = [
    (["halting", "--seeds", "1,2,1"], "--seeds has 1 more than once"),
    (["halting", "--seeds", "-1"], "train.seed"),
    (["halting", "--seeds", "99999999999"], "train.seed"),
    (["halting", "--tasks", "shells,shells"], "--tasks has shells more than once"),
    (["halting", "--rules", "act"], "'act' cannot be calibrated"),
    (["halting", "--set", "model.halting=act", "--set", "objective.kind=act", "--rules", "gate"], "'gate' cannot be"),
    (["halting", "--out", "file"], "file is no folder"),
    (["halting", "--models", "file/x"], "file is no folder"),
    (["extrapolation", "--out", "file/x"], "file is no folder"),
    (["objectives", "--out", "file"], "file is no folder"),
    (["objectives", "--variants", "act,act"], "--variants has act more than once"),
]


@pytest.mark.parametrize(("arguments", "says"), STUDY, ids=[" ".join(a) for a, _ in STUDY])
def test_study(folder: Path, arguments: list[str], says: str) -> None:
    assert says in str(refused("study", *arguments))


def test_a_study_in_which_no_rule_costs_little_enough_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mythos.study.studies.halting", lambda setting: [])
    assert "No exit rule costs as little as 0 nats" in refused("study", "halting", "--target", "0").message


def test_a_rule_that_one_task_alone_takes_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"full_accuracy": 1.0, "accuracy": 1.0, "executed": 0.2, "correlation": 0.9}
    row = {"seed": 1, "loops_of_difficulty": {1: 1.0, 2: 2.0}, **values}
    rows = [
        {"task": task, "rule": rule, **row} for task, rule in (("shells", "kl"), ("parity", "gate"), ("shells", "gate"))
    ]
    rows[1]["executed"] = rows[2]["executed"] = 0.9
    monkeypatch.setattr("mythos.study.studies.halting", lambda setting: rows)
    arguments = ["study", "halting", "--tasks", "shells,parity", "--seeds", "1", "--out", "out"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "Under `kl`, 1 of 2 pairs" in result.stdout


@pytest.mark.parametrize("loops", ["99999", "8,1025", "0", "", "x"])
def test_depths_that_are_asked_at(loops: str) -> None:
    with pytest.raises(ConfigError, match="at most 1024"):
        _depths(loops)


@pytest.mark.parametrize("meet", ["x", "x:", ":29500", "x:port", "x:0", "x:65536", "a b:29500", "x:29500/"])
def test_a_meeting_point_without_a_port_makes_no_run(folder: Path, meet: str) -> None:
    with pytest.raises(ConfigError, match="is no HOST:PORT"):
        node(folder / "ghost.yaml", meet, "b")
    assert os.listdir("runs") == ["a"]
