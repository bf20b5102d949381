"""What somebody does who has never been here: from the first frame to a finished chat about a run of their own."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from mythos.contract.watch import list_runs
from tests.e2e.terminal import Terminal

ROOT = Path(__file__).parents[2]
MOST = 12
"""Key presses besides text that the tour may take; it is told in README.md."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_the_first_frame_to_a_finished_chat_about_an_own_run_in_few_keys(tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path / "state"), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "mythos_tui", "--configs", str(ROOT / "configs")]
    with Terminal(command, tmp_path, 120, 36, env) as terminal:
        terminal.wait_for("Tour 1 of 5", "Press 2")
        terminal.press("2")
        terminal.wait_for("Tour 2 of 5", "Press ^l", "2.02M")
        terminal.press("^l")
        terminal.wait_for("Tour 3 of 5", "press w", "and c", "running", re.compile(r"step \d\d+ of"), seconds=240)
        terminal.press("w")
        terminal.wait_for("saved step-", seconds=90)
        terminal.press("c")
        terminal.wait_for("Tour 4 of 5", "2.02M parameters", seconds=90)
        terminal.type("def mean(values):")
        terminal.press("enter")
        terminal.wait_for(re.compile(r"\d+ tokens · [\d.]+ tokens/s · loops"), seconds=120)
        assert terminal.presses <= MOST and terminal.presses == 5
        terminal.press("esc", "4")
        terminal.wait_for("Tour 5 of 5", seconds=60)
        terminal.press("^q")
        terminal.wait_for_exit()
    (run,) = list_runs(tmp_path / "runs")
    os.kill(run.status["pid"], signal.SIGKILL)
    with Terminal(command, tmp_path, 120, 36, env) as terminal:
        assert "Tour" not in terminal.wait_for(run.name[:20])
