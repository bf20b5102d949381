"""What a policy says is done by a whole worker, from the batch that is odd to the state that everyone can read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.rundir import RunPaths, acquire_lock, send_command
from mythos.contract.watch import read_json
from mythos.train import worker
from tests.alert_runs import STEADY, make_run, poisoned_text
from tests.train.inside import events, in_this_process, run  # noqa: F401

SPIKES = (*STEADY, "train.lr=0.01", "train.steps=36")
ODD = 33
"""The first step whose text is noise once enough is known to call it odd."""


@pytest.fixture(autouse=True)
def every_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an alert comes at its step, however short that is."""
    monkeypatch.setattr(worker, "LINES_EVERY_S", 0.0)


def odd_run(folder: Path, *overrides: str) -> RunPaths:
    return make_run(folder, "a", *poisoned_text(folder), *SPIKES, *overrides)


def status(paths: RunPaths) -> dict[str, Any]:
    return read_json(paths.status) or {}


def test_a_note_stops_nothing_and_a_stop_saves(tmp_path: Path) -> None:
    paths = odd_run(tmp_path)
    assert run(paths) == 0
    assert status(paths)["state"] == "finished" and len(events(paths, "alert")) >= 1
    (tmp_path / "other").mkdir()
    stopped = odd_run(tmp_path / "other", "alerts.loss_spike=stop")
    assert run(stopped) == 0
    assert status(stopped)["state"] == "stopped" and "the alert loss_spike" in status(stopped)["message"]
    assert [info.step for info in list_checkpoints(stopped.checkpoints)] == [ODD]


def test_a_paused_run_tells_why_in_watch_while_it_waits(tmp_path: Path) -> None:
    paths, seen = odd_run(tmp_path, "alerts.loss_spike=pause"), []
    command = [sys.executable, "-m", "mythos", "watch", "a", "--runs", str(tmp_path)]

    def follow() -> None:
        """Another process, which sees the alert live; then someone lets the run go on."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            for line in watch.stdout:
                if line.startswith("alert: The loss jumped"):
                    while status(paths)["state"] == "running":
                        time.sleep(0.01)
                    seen.append((line, status(paths)["step"]))
                    send_command(paths, "resume")

    lock = acquire_lock(paths)  # as the launcher does, so that whoever watches knows that it lives
    watcher = Thread(target=follow)
    watcher.start()
    try:
        assert run(paths) == 0
    finally:
        os.close(lock)
        watcher.join(30)
    states = [event["state"] for event in events(paths, "state")]
    assert states == ["preparing", "running", "paused", "running", "finished"]
    assert len(seen) == 1 and seen[0][1] == ODD and "odd batch" not in seen[0][0]


@pytest.mark.parametrize("policy", ["note", "skip"])
def test_what_was_left_out_between_two_lines_is_told(tmp_path: Path, policy: str) -> None:
    """Steps that nobody logged are judged where the policy is to skip them, and seen by nobody where it is not."""
    paths = odd_run(tmp_path, f"alerts.loss_spike={policy}", "train.log_every=17")
    assert run(paths) == 0
    told = [event["steps"]["loss_spike"] for event in events(paths, "skipped")]
    assert ([step for steps in told for step, _ in steps] == [33, 36]) == (policy == "skip")
