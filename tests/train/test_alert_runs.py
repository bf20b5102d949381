"""Every alert is raised by a real run that misbehaves, none by healthy ones; the table is in docs/alerts.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from mythos.contract.alerts import PLAYBOOK
from tests.alert_runs import CASES, HEALTHY


def figures(*arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.alert_runs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_three_kinds_are_raised_by_real_runs() -> None:
    """Told of while the run lives and found by doctor; that of memory names what helps, that of the disk goes on."""
    found = {row["kind"]: row for row in figures("nan", "out_of_memory", "unsaved")}
    assert found["nan"]["told"].startswith("Loss or gradient is not finite")
    assert found["nan"]["state"] == "stopped" and found["out_of_memory"]["state"] == "failed"
    assert found["unsaved"]["state"] == "running" and "cannot be saved" in found["unsaved"]["told"]


def test_there_is_a_run_for_every_kind() -> None:
    assert {case.kind for case in CASES} == set(PLAYBOOK)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_kind_is_raised_by_a_run_that_misbehaves_and_none_by_healthy_ones() -> None:
    found = figures()
    assert len(found) == len(CASES) + len(HEALTHY)
