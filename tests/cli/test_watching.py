"""`mythos watch --once` and its siblings over losses that no chart can draw, and over runs that are named by where one is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mythos.cli import training, watching
from tests.fakes.runs import FakeRun


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e308])
def test_losses_that_cannot_be_drawn_are_left_out_of_the_chart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], odd: float
) -> None:
    run = FakeRun(tmp_path)
    run.metrics(1, 2, loss=odd)
    watching.print_once(run.paths, False)
    said = capsys.readouterr().out
    assert "step       2" in said and "over steps" not in said
    run.metrics(3, 4, 5)
    run.event("evaluation", step=5, loss=odd)
    watching.print_once(run.paths, False)
    run.close()
    said = capsys.readouterr().out
    assert "loss (nats/token) over steps" in said and "held out: " in said


def test_a_fork_of_the_run_that_one_is_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeRun(tmp_path, "parent", locked=False)
    names: list[str] = []
    monkeypatch.setattr("mythos.train.fork.fork", lambda *given: names.append(given[4]) or run.paths)
    monkeypatch.chdir(run.paths.root)
    training.fork(".", detach=True)
    assert names[0].startswith("parent-")
