"""A worker that is killed at random moments, over and over, loses nothing; figures are in docs/run_dir.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def figures(*arguments: str) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.crash_runs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def can_mount() -> bool:
    """Whether this process may mount a file system, which takes CAP_SYS_ADMIN (bit 21)."""
    try:
        with open("/proc/self/status") as status:
            effective = next(line.split()[1] for line in status if line.startswith("CapEff"))
    except OSError:
        return False
    return bool(int(effective, 16) >> 21 & 1)


def test_six_kills_lose_nothing() -> None:
    counts = figures("--kills", "6")
    assert counts["kills"] == 6 and counts["equal lines"] >= counts["steps"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_nothing() -> None:
    counts = figures("--kills", "200", "--seed", "1")
    assert counts["kills"] == 200 and counts["in the middle of a save"] > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a tmpfs")
def test_kills_on_a_full_disk_lose_nothing() -> None:
    counts = figures("--kills", "60", "--small")
    assert counts["kills"] == 60 and counts["refused saves told"] > 60
