"""Disks that refuse: a run is killed in the middle of its saves on one that is full, and trains on where one is read-only or gone.

    python -m tests.disk_runs [full|read-only|gone] [--kills 50] [--seed 0]

For root, who may mount a tmpfs. `full`: the run is on one with room for a few checkpoints, and every one of `--kills` lives is
ended at a random moment of a save; every second time the disk was filled before, while it trained. Prints one JSON object of
counts; any loss is an AssertionError.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mythos.contract.checkpoints import list_checkpoints, read_manifest
from mythos.contract.liveness import is_locked
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import JsonTail, read_json
from tests.crash_runs import (
    ALL_KEPT,
    Findings,
    fork_worker,
    go_on,
    leftovers,
    live,
    load_everything,
    make_run,
    newest,
    print_counts,
)

OFTEN = ("train.checkpoint_every=1", "train.keep_checkpoints=1", "train.eval_every=0", "train.keep_every=1000000")
SAVE_S = 0.06
"""The longest that a life goes on after a save has begun, which takes 10 to 60 ms here; on a full disk less than one."""
LOOK_S = 0.0002
"""Between two looks. Whoever has slept comes before the worker where both share a core, so that moments of a save are seen."""


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def die_within_a_save(paths: RunPaths, dice: random.Random, ballast: Path | None) -> None:
    """A life that ends at a random moment of a save: some time after its folder has appeared, if it is still there then.

    With a `ballast`, its disk is filled with that first, once it has saved: then every moment of a save is one on a full disk.
    """
    before, saved = leftovers(paths), newest(paths)
    pid, give_up = fork_worker(paths, resume=True), time.monotonic() + 60
    if ballast:
        wait_for(lambda: newest(paths) > saved)
        fill(ballast)
    while True:
        assert time.monotonic() < give_up, "no save was met"
        if not leftovers(paths) - before:
            time.sleep(LOOK_S)
            continue
        time.sleep(0 if ballast else dice.uniform(0, SAVE_S))
        os.kill(pid, signal.SIGSTOP)  # a moment to look at: what is killed while it is stopped dies right there
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]), "the worker ended by itself"
        if leftovers(paths) - before and (not ballast or is_full(ballast.parent)):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        os.kill(pid, signal.SIGCONT)


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while file.write(b"0" * 4096):
            pass


def stage(paths: RunPaths) -> str:
    """How far the save had come that was cut off."""
    (left, *_) = [paths.checkpoints / name for name in sorted(leftovers(paths))]
    if (paths.checkpoints / left.name.split(".")[1]).exists() or int(left.name[6:14]) < newest(paths):
        return "while an old one was removed"
    if (left / "manifest.json").exists():
        return "with the manifest begun"
    return "with the state begun" if (left / "state").exists() else "with the weights begun"


def filled(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kills in the middle of saves, on a disk that is full in about half of the lives."""
    began, dice = time.monotonic(), random.Random(seed)
    never = make_run(folder, folder, "never", *ALL_KEPT)
    live(never, lambda: newest(never) > 0, signal.SIGTERM)
    size = sum(path.stat().st_size for path in list_checkpoints(never.checkpoints)[0].path.rglob("*"))
    (disk := folder / "disk").mkdir()
    mount("-t", "tmpfs", "-o", f"size={4 * size // 1024}k", "tmpfs", str(disk))
    killed = make_run(folder, disk, "killed", *OFTEN)
    findings = Findings(killed)
    live(killed, lambda: newest(killed) > 0, signal.SIGKILL)
    while findings.counts["kills"] < kills:
        before, full = newest(killed), findings.counts["kills"] % 2 == 0
        die_within_a_save(killed, dice, disk / "ballast" if full else None)
        findings.inspect(before)
        findings.counts[stage(killed)] += 1
        findings.counts["of these with the disk full"] += full
        (disk / "ballast").unlink(missing_ok=True)
    return go_on(findings, never, began)


def is_full(disk: Path) -> bool:
    return os.statvfs(disk).f_bavail == 0


def read_only(folder: Path) -> dict[str, Any]:
    """A run whose folder becomes read-only trains on, says that saves are refused, and saves again once it may."""
    began = time.monotonic()
    never, paths = make_run(folder, folder, "never", *ALL_KEPT), make_run(folder, folder, "a", *OFTEN)
    findings, pid = Findings(paths), fork_worker(paths, resume=True)
    wait_for(lambda: newest(paths) > 0)
    mount("-o", "bind,ro", str(paths.root), str(paths.root))  # files that are open already can still be written
    time.sleep(0.2)  # a save that had begun before may come to its end
    step, saved = last_step(paths), newest(paths)
    wait_for(lambda: last_step(paths) > step + 30)
    assert newest(paths) == saved and is_locked(paths), "it stopped, or saved where it may not"
    findings.inspect(saved, killed=False)
    subprocess.run(["umount", str(paths.root)], check=True)
    wait_for(lambda: newest(paths) > step + 30)
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0 and (read_json(paths.status) or {})["state"] == "stopped"
    return {**go_on(findings, never, began), "steps while it was read-only": 30}


def gone(folder: Path) -> dict[str, Any]:
    """A worker whose disk is taken away ends by itself within seconds, and puts nothing where the disk was."""
    (disk := folder / "disk").mkdir()
    mount("-t", "tmpfs", "-o", "size=50000k", "tmpfs", str(disk))
    paths = make_run(folder, disk, "a", *OFTEN)
    pid = fork_worker(paths, resume=True)
    wait_for(lambda: newest(paths) > 3)
    (kept := folder / "kept").mkdir()
    mount("--bind", str(disk), str(kept))  # where we can still look
    subprocess.run(["umount", "-l", str(disk)], check=True)
    began = time.monotonic()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    whole = [read_manifest(info.path, check_hashes=True) for info in list_checkpoints(kept / "a" / "checkpoints")]
    assert code == 1 and not any(disk.iterdir()) and whole
    return {
        "exit code": code,
        "seconds until it ended": round(time.monotonic() - began, 1),
        "whole checkpoints": len(whole),
    }


def last_step(paths: RunPaths) -> int:
    return max((line["step"] for line in JsonTail(paths.metrics).read_objects(5)), default=0)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "nothing happened"
        time.sleep(0.01)


def unmount(folder: Path) -> None:
    """Whatever a scenario mounted within its folder, the last first."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", point], capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disk", choices=("full", "read-only", "gone"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    load_everything()

    def act(folder: Path) -> dict[str, Any]:
        try:
            if given.disk == "full":
                return filled(folder, given.kills, given.seed)
            return read_only(folder) if given.disk == "read-only" else gone(folder)
        finally:
            unmount(folder)

    print_counts(act)


if __name__ == "__main__":
    main()
