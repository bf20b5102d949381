"""Kill a run that saves all the time, at random moments, and look whether anything was lost.

    python -m tests.crash_runs [--kills 200] [--seed 0]

Workers are forked from one process that has torch loaded, so that a life costs tenths of a second. Prints one JSON object
of counts; any loss is an AssertionError. Disks that are full, read-only or gone are in `tests.disk_runs`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mythos.contract.checkpoints import LEFTOVER, list_checkpoints, read_manifest
from mythos.contract.load import parse_config
from mythos.contract.rundir import RunPaths, acquire_lock, create_run
from mythos.contract.watch import JsonTail, read_json

TINY = (
    "model={vocab_size: 300, width: 32, ffn_width: 64, context: 64, expert_width: 16, initial_state: random}",
    "train={steps: 100000, sequence: 32, batch_size: 2, threads: 1, precision: fp32, log_every: 1, eval_tokens: 256}",
    "objective.mixed_exits=0.3",
    "data.source=files",
)
ALL_KEPT = ("train.checkpoint_every=1", "train.keep_checkpoints=10000")
SAME = ("model.safetensors", "state/trainer.safetensors", "state/trainer.json")


def make_run(folder: Path, runs: Path, name: str, *overrides: str) -> RunPaths:
    """A run of a tiny model with everything random in it: mixture of experts, loop counts, mixed exits, initial state."""
    text = folder / "text"
    text.mkdir(exist_ok=True)
    for number in range(12):
        (text / f"{number}.txt").write_text(f"The tale of number {number} is short. It has an end and a start.\n" * 40)
    config = parse_config({}, [*TINY, f"data.paths=[{text}]", f"data.cache_dir={folder / 'cache'}", *overrides])
    return create_run(runs, name, config, ["crash_runs"])


def fork_worker(paths: RunPaths, resume: bool, first: Callable[[], object] = int) -> int:
    """The pid of a worker that is a fork of this process, and does something first."""
    from mythos.train import device, worker

    if pid := os.fork():
        return pid
    device.matmul_peak = lambda *_: 1e9
    log = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        first()
        code = worker.main([str(paths.root), str(acquire_lock(paths)), *(["--resume"] if resume else [])])
    finally:
        os._exit(code if "code" in locals() else 70)


def live(
    paths: RunPaths, until: Callable[[], bool], how: signal.Signals, seconds: float = 60, then_s: float = 0.0
) -> int:
    """Let a worker go on until something holds and `then_s` more, then send a signal. Returns what waitpid tells."""
    pid = fork_worker(paths, resume=True)
    give_up = time.monotonic() + seconds
    while not until():
        ended, status = os.waitpid(pid, os.WNOHANG)
        assert not ended, f"the worker ended by itself: {status}\n{paths.log.read_text()[-1500:]}"
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"nothing for {seconds} s\n{paths.log.read_text()[-1500:]}")
        time.sleep(0.002)
    time.sleep(then_s)
    os.kill(pid, how)
    return os.waitpid(pid, 0)[1]


def after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def newest(paths: RunPaths) -> int:
    return max((info.step for info in list_checkpoints(paths.checkpoints)), default=0)


class Findings:
    """What killed workers left, counted; and what their checkpoints held, to be compared with those of another run."""

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self.counts: Counter[str] = Counter()
        self.held: dict[str, dict[str, Any]] = {}

    def inspect(self, newest_before: int, killed: bool = True) -> None:
        """Whole checkpoints, none of them lost, whole lines, and every step once."""
        paths = self.paths
        for path in paths.checkpoints.glob("step-*"):
            files = read_manifest(path, check_hashes=True)["files"]
            assert self.held.setdefault(path.name, files) == files, f"{path.name} differs from what was there before"
        latest = paths.checkpoints / "latest"
        assert not latest.exists() or (paths.checkpoints / latest.read_text().strip()).is_dir(), "latest names nothing"
        assert newest(paths) >= newest_before, f"step {newest_before} is lost"
        raw = paths.metrics.read_bytes() if paths.metrics.exists() else b""
        lines = [json.loads(line) for line in raw.split(b"\n")[:-1]]
        assert [line["step"] for line in lines] == list(range(1, len(lines) + 1)), "steps are doubled or missing"
        status = read_json(paths.status)
        assert status is not None or not paths.status.exists(), "status.json is broken"
        if killed:
            self.counts["kills"] += 1
            self.counts["in the middle of a save"] += bool(leftovers(paths))
            self.counts["in the middle of a line"] += not raw.endswith(b"\n") and bool(raw)

    def compare(self, never: RunPaths) -> dict[str, int]:
        """Equal to a run that was never killed and keeps all: every checkpoint that was ever found, and every line."""
        found = {name: read_manifest(never.checkpoints / name)["files"] for name in self.held}
        assert all(self.held[name][file] == found[name][file] for name in found for file in SAME), "weights differ"
        equal = {"equal checkpoints": len(found), "equal lines": equal_lines(self.paths, never)}
        assert equal["equal checkpoints"] > 0 and equal["equal lines"] >= newest(self.paths)
        return {**self.counts, **equal}


def leftovers(paths: RunPaths) -> set[str]:
    """Hidden siblings of checkpoints: saves and removals that have begun and not ended."""
    return {path.name for path in paths.checkpoints.glob(".step-*") if LEFTOVER.fullmatch(path.name)}


def equal_checkpoints(one: RunPaths, other: RunPaths) -> int:
    """How many checkpoints two runs share, all of them the same to the last bit."""
    shared = {i.path.name for i in list_checkpoints(one.checkpoints)} & {
        i.path.name for i in list_checkpoints(other.checkpoints)
    }
    for name in shared:
        first, second = (read_manifest(run.checkpoints / name)["files"] for run in (one, other))
        assert all(first[file] == second[file] for file in SAME), f"{name} differs"
    return len(shared)


def equal_lines(one: RunPaths, other: RunPaths) -> int:
    """How many lines of metrics two runs share, all with the same losses and learning rates."""
    pairs = list(zip(JsonTail(one.metrics).read_objects(5), JsonTail(other.metrics).read_objects(5), strict=False))
    for first, second in pairs:
        for key in ("step", "tokens", "loss", "loss_parts", "lr", "muon_lr", "grad_norm"):
            assert first[key] == second[key], f"{key} differs at step {first['step']}"
    return len(pairs)


def kill_again_and_again(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """`kills` lives of one run, each inspected; then it goes on, and must equal a run that was never killed."""
    began, dice = time.monotonic(), random.Random(seed)
    often = ("train.checkpoint_every=1", "train.keep_checkpoints=2", "train.eval_every=7", "train.keep_every=5")
    killed, never = make_run(folder, folder, "killed", *often), make_run(folder, folder, "never", *ALL_KEPT)
    findings = Findings(killed)
    live(killed, lambda: newest(killed) > 0, signal.SIGKILL)
    for _ in range(kills):
        before = newest(killed)
        if dice.random() < 0.25:  # while it starts, mostly
            live(killed, after(dice.uniform(0.05, 1.0)), signal.SIGKILL)
        else:
            live(killed, lambda saved=before: newest(killed) > saved, signal.SIGKILL, then_s=dice.uniform(0, 0.4))
        findings.inspect(before)
    return go_on(findings, never, began)


def go_on(findings: Findings, never: RunPaths, began: float) -> dict[str, Any]:
    """Five steps more, and the same number of a run that was never killed."""
    killed = findings.paths
    alerts = [event["message"] for event in JsonTail(killed.events).read_objects(5) if event["kind"] == "alert"]
    assert not any("Going back" in message for message in alerts), "a checkpoint was damaged"
    goal = newest(killed) + 5
    live(killed, lambda: newest(killed) >= goal, signal.SIGTERM)
    findings.inspect(goal, killed=False)
    live(never, lambda: newest(never) >= newest(killed), signal.SIGTERM, seconds=600)
    refused = sum("cannot be saved" in message for message in alerts)
    equal = findings.compare(never) | ({"refused saves told": refused} if refused else {})
    return {**equal, "steps": newest(killed), "seconds": round(time.monotonic() - began, 1)}


def print_counts(act: Callable[[Path], dict[str, Any]]) -> None:
    """Do it in a temporary folder and print what it counted."""
    folder = Path(tempfile.mkdtemp(prefix="crash-runs-"))
    try:
        print(json.dumps(act(folder)), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load_everything() -> None:
    """What a worker imports, once for all that are forked."""
    import mythos.data.prepare
    import mythos.evals.bits
    import mythos.train.keeper
    import mythos.train.meter
    import mythos.train.preparing
    import mythos.train.records
    import mythos.train.resume
    import mythos.train.worker  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    load_everything()
    print_counts(lambda folder: kill_again_and_again(folder, given.kills, given.seed))


if __name__ == "__main__":
    main()
