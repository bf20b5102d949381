"""A worker that is killed at random moments, over and over, loses nothing; figures are in docs/run_dir.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def figures(script: str, *arguments: str) -> dict[str, int]:
    command = [sys.executable, "-m", f"tests.{script}", *arguments]
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
    counts = figures("crash_runs", "--kills", "6")
    assert counts["kills"] == 6 and counts["equal lines"] >= counts["steps"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_nothing() -> None:
    counts = figures("crash_runs", "--kills", "200", "--seed", "1")
    assert counts["kills"] == 200 and counts["in the middle of a save"] > 20


needs_mount = pytest.mark.skipif(not can_mount(), reason="needs the right to mount a tmpfs")


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_mount
def test_fifty_kills_within_saves_lose_nothing_on_a_disk_that_fills() -> None:
    counts = figures("disk_runs", "full", "--kills", "50")
    assert counts["in the middle of a save"] == 50 and counts["of these with the disk full"] == 25
    assert counts["refused saves told"] > 25


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_mount
def test_a_read_only_folder_costs_saves_and_not_the_run() -> None:
    counts = figures("disk_runs", "read-only")
    assert counts["refused saves told"] > 20 and counts["equal lines"] >= counts["steps"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_mount
def test_a_worker_whose_disk_is_gone_ends() -> None:
    counts = figures("disk_runs", "gone")
    assert counts["seconds until it ended"] < 10 and counts["whole checkpoints"] > 0
