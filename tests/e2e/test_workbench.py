"""The whole product by keys alone: real workbench, real terminal, real training on real text, real checkpoint."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mythos.contract.load import parse_config, read_yaml
from mythos.contract.watch import JsonTail, list_runs
from mythos.train.launch import start
from tests.e2e.terminal import Terminal

WORKBENCH = [sys.executable, "-m", "mythos_tui"]
ROOT = Path(__file__).parents[2]
ALT_4, ALT_DOWN = "\x1b4", "\x1b[1;3B"
"""As terminals without the newer keyboard protocol send them."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder to work in; training that still runs at the end is ended."""
    yield tmp_path
    for run in list_runs(tmp_path / "runs"):
        if run.is_live:
            os.kill(run.status["pid"], signal.SIGKILL)


def workbench(folder: Path, columns: int = 120, rows: int = 36) -> Terminal:
    env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    return Terminal([*WORKBENCH, "--configs", str(ROOT / "configs")], folder, columns, rows, env)


def step_shown(text: str) -> int:
    found = re.search(r"step ([\d,]+) of", text)
    return int(found[1].replace(",", "")) if found else -1


@pytest.mark.timeout(300)
def test_configure_launch_watch_leave_return_chat_inspect(folder: Path) -> None:
    with workbench(folder) as first:
        first.wait_for("No runs yet", "Press 2 to configure")
        first.press("2")
        first.wait_for("Presets", "quickstart", "Budget")
        first.press("enter")
        first.wait_for("2.02M")
        first.press("tab", "\x1b[6~", "\x1b[6~")  # two pages down: the train section
        first.wait_for("batch_size", "muon_lr")
        first.press("down", "down", "down")  # past the limits of tokens and minutes
        first.wait_for("Sequences per step")
        first.press("end", "backspace", "4", "^l")
        first.wait_for("preparing", seconds=20)
        first.wait_for("running", seconds=90)
        first.wait_for("Loss", "Ponder", "Expert load", "step 10 ", seconds=60)
        (run,) = list_runs(folder / "runs")
        assert run.state == "running" and run.name.startswith("quickstart")
        assert "batch_size: 4" in (run.root / "config.yaml").read_text()
        assert any("⠁" <= letter <= "⣿" for letter in first.text), "no points on the charts"
        first.press("q")
        assert first.wait_for_exit() == 0
        assert f"Training goes on without the workbench: {run.name}" in first.text

    (left,) = list_runs(folder / "runs")
    assert left.is_live

    with workbench(folder) as second:
        second.wait_for(run.name[:20], "running")
        before = step_shown(second.wait_for(" of 1800"))
        assert before >= left.step
        second.press("w")
        second.wait_for("saved step-", seconds=60)
        assert step_shown(second.text) > left.step
        second.press("P")
        second.wait_for("‖ paused", seconds=30)
        second.press("c")
        second.wait_for("2.02M parameters", "· exit", seconds=90)
        second.type("def parse(self):")
        second.type(ALT_DOWN)
        second.wait_for("●●●●●●●○ 7 loops")
        second.press("enter")
        answered = re.compile(r"\d+ tokens · [\d.]+ tokens/s · loops \d\.\d\d of 7 · \d+% (of|more) FLOPs")
        second.wait_for(answered, seconds=120)
        second.type(ALT_4)
        second.wait_for("def mean(values):", "· exit", seconds=60)
        second.press("enter")
        nothing_changes = re.compile(r"·values +2 +· +\S+ ◂")  # a hardly trained model: exit after the second loop
        second.wait_for("token   1 of", "row: token, its loops · column: loop", nothing_changes, seconds=120)
        second.press("esc")
        second.pump(0.5)  # a key right after esc would be read as alt+key
        second.press("a")
        nearly_uniform = re.compile(r"·me +\[?1\.[01]\d")  # over three positions: at most log 3 = 1.10 nats
        second.wait_for("column: head · colour: entropy, nats", nearly_uniform)
        second.press("^q")
        assert second.wait_for_exit() == 0


def test_a_worker_that_is_killed_shows_as_crashed_within_three_seconds(folder: Path) -> None:
    config = ROOT / "configs/model/recurrent/debug.yaml"
    quick = ["train.steps=100000", "train.checkpoint_every=20", "train.eval_every=0", "train.threads=1"]
    small = parse_config(read_yaml(config), [*quick, "data.source=files", f"data.paths=[{ROOT / 'mythos'}]"])
    paths = start(small, folder / "runs", "victim", ["test"])
    with workbench(folder) as terminal:
        terminal.wait_for("victim", "running", "saved step-", seconds=60)
        os.kill(list_runs(folder / "runs")[0].status["pid"], signal.SIGKILL)
        terminal.wait_for("crashed", "mythos train --resume victim", seconds=3)
        terminal.press("c")
        terminal.wait_for("victim/step-", "· exit", seconds=60)
    assert JsonTail(paths.metrics).read_objects(5)


def test_a_terminal_too_small_is_told_and_nothing_starts(folder: Path) -> None:
    with workbench(folder, 50, 12) as terminal:
        assert terminal.wait_for_exit() == 2
        assert "needs at" in terminal.text and "Traceback" not in terminal.text
