"""Difficulties stand where they are asked for, numbers are what they say, and the command writes its report."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mythos.cli.app import app
from mythos.contract.config import DataConfig
from mythos.data.answers import BYTES, IGNORED
from mythos.data.tasks import TASKS, examples
from mythos.data.tokenizer import Tokenizer
from mythos.study.measure import Answered, answer, lines_of, questions
from mythos.study.summary import groups, halting_holds, interval, told
from tests.fakes.checkpoints import tiny_model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    Tokenizer.train(["any text"], BYTES).save(path)
    return path


@pytest.mark.parametrize("name", ["shells", "addition"])
def test_a_difficulty_stands_at_the_token_that_predicts_its_answer(tokenizer: Path, name: str) -> None:
    task, loaded = TASKS[name], Tokenizer.load(tokenizer)
    asked = questions(task, task.trained, 20, tokenizer)
    assert bool(((asked.targets != IGNORED) == asked.asked).all()) and not bool((asked.asked & ~asked.within).any())
    for inputs, targets, difficulty in zip(asked.inputs, asked.targets, asked.difficulty, strict=True):
        text = loaded.decode(inputs.tolist())
        steps = 0
        for token, target, d in zip(inputs.tolist(), targets.tolist(), difficulty.tolist(), strict=True):
            steps = 0 if loaded.token_text(token) == "\n" else steps + (loaded.token_text(token) in tuple("xyz"))
            if d >= 0 and name == "shells":
                assert loaded.token_text(token) == "?" and loaded.token_text(target) in "ABC" and d == steps
        assert "?." in text or name == "addition"


def test_questions_that_a_corpus_holds_are_told(tokenizer: Path) -> None:
    data = DataConfig(source="synthetic", task="parity,sums", max_documents=20, task_ends=True, answers_only=True)
    corpus = lines_of(data)
    texts = [example.text for example in examples(TASKS["parity"], TASKS["parity"].trained, 50, (0, 0))]
    assert len(corpus) > 100 and all(text.replace("?", "=") in corpus for text in texts)
    asked = questions(TASKS["sums"], TASKS["sums"].trained, 40, tokenizer)
    assert asked.lines[0] in Tokenizer.load(tokenizer).decode(asked.inputs[0].tolist()) + asked.lines[0][-1]
    assert asked.seen(set()) == 0 and asked.seen({line.replace("?", "=") for line in asked.lines[:10]}) >= 0.25
    assert questions(TASKS["sums"], TASKS["sums"].harder, 40, tokenizer).seen(corpus) == 0


def test_answers_count_what_was_right_and_what_was_executed(tokenizer: Path) -> None:
    model = tiny_model("recurrent", vocab_size=BYTES, context=256)
    asked = questions(TASKS["parity"], range(2, 5), 16, tokenizer)
    found = answer(model, asked, 6)
    assert found.executed == 6 and set(found.loops) == {6} and math.isnan(found.correlation)
    with torch.no_grad():
        guessed = model(asked.inputs, 6).logits.argmax(-1)
    assert found.accuracy == pytest.approx(float((guessed == asked.targets)[asked.asked].float().mean()))
    assert set(found.of_difficulty()) == {1, 2, 3, 4}
    rows = zip((guessed == asked.targets).tolist(), asked.asked.tolist(), strict=True)
    whole = [all(right for right, one in zip(*row, strict=True) if one) for row in rows]
    assert found.whole == found.beyond(3).whole == pytest.approx(sum(whole) / 16)


def test_correlation_is_that_of_ranks() -> None:
    found = Answered(1.0, 1.0, np.ones(4), np.array([1, 2, 3, 9]), np.array([1, 2, 3, 4]), 2.0)
    assert found.correlation == pytest.approx(1.0)


def test_intervals_are_student_s_and_aims_are_counted() -> None:
    mean, half = interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.3027 / 3**0.5, rel=1e-4))
    assert told([0.5]) == "0.500" and told([0.5, 0.5], percent=True) == "50.0 ± 0.0"
    assert told([0.5, float("nan")]) == "0.500 (1 of 2)" and told([float("nan")]) == "–"
    row = {"task": "t", "rule": "gate", "full_accuracy": 0.995, "accuracy": 0.991, "executed": 0.3, "correlation": 0.9}
    rows = [row, row | {"executed": 0.41}, row | {"accuracy": 0.98}, row | {"correlation": 0.8, "full_accuracy": 0.98}]
    assert halting_holds(rows) == [("t", "gate", 3, 1)]
    assert list(groups(rows, "executed")) == [(0.3,), (0.41,)]


def test_the_command_trains_once_and_writes_its_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYTHOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mythos.study.studies.CALIBRATION_TOKENS", 400)
    given = [
        "--tasks", "parity", "--seeds", "1", "--questions", "16", "--models", str(tmp_path / "models"),
        "--out", str(tmp_path / "out"), "--set", "train.steps=2", "--set", "data.max_documents=30",
        "--set", "data.workers=1", "--set", "model.width=16", "--set", "model.loops=2", "--set", "model.max_loops=2",
    ]  # fmt: skip
    for study in ("extrapolation", "halting"):
        result = CliRunner().invoke(app, ["study", study, *given])
        assert result.exit_code == 0, result.output
        report = (tmp_path / "out" / f"{study}.md").read_text()
        assert report.startswith("# ") and "| parity |" in report and "```" in report
    assert len(list((tmp_path / "models").iterdir())) == 1
    rows = json.loads((tmp_path / "out" / "extrapolation.json").read_text())
    assert [(r["split"], r["loops"]) for r in rows][:5] == [*(("trained", n) for n in (2, 4, 8, 16)), ("harder", 2)]
    model = next((tmp_path / "models").iterdir())
    asked = ["study", "ask", str(model), "--loops", "2,4", "--questions", "16", "--exit", "state_delta:0.1", "--json"]
    rows = json.loads(CliRunner().invoke(app, asked).output)["rows"]
    assert [(r["task"], r["split"], len(r["accuracy"])) for r in rows] == [
        ("parity", "trained", 2),
        ("parity", "harder", 2),
    ]
    assert all(1 <= r["executed"] <= 4 and 0 <= r["stopped"] <= 1 for r in rows)
    refused = CliRunner().invoke(app, ["study", "ask", str(model), "--loops", "0,4"])
    assert "'0,4' is no list of numbers from 1 on" in str(refused.exception)
    refused = CliRunner().invoke(app, ["study", "halting", "--tasks", "party"])
    assert refused.exit_code and "no task 'party'" in str(refused.exception)
