"""Raise every alert, and every finding of `mythos doctor`, by a real run that is made to misbehave; and none by healthy ones.

    python -m tests.alert_runs [KIND …] [--healthy] [--markdown]

Each case is a worker process of its own, forked from one that has torch loaded, with a tiny model on real files: its
settings, its text, or what is done to the process and its disk from outside make the trouble, never a number that is
written into it. Prints one JSON object per run, or rows of the table in docs/alerts.md; what is not raised is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from mythos.cli.doctor import examine
from mythos.contract.checkpoints import list_checkpoints, new_checkpoint
from mythos.contract.load import parse_config
from mythos.contract.rundir import RunPaths, create_run, send_command
from mythos.contract.watch import JsonTail, summarize
from tests.crash_runs import fork_worker

TINY = (
    "model={vocab_size: 300, width: 32, ffn_width: 64, context: 64, expert_width: 16}",
    "train={steps: 100000, sequence: 32, batch_size: 4, threads: 1, precision: fp32, log_every: 1, eval_every: 0, "
    "warmup_steps: 0, schedule: constant, eval_tokens: 1024, checkpoint_every: 0}",
    "data.source=files",
)
ACT = ("model.halting=act", "objective.kind=act", "objective.ponder_anneal_steps=0", "objective.mixed_exits=0")
STEADY = ("objective.loop_sampling=fixed", "objective.mixed_exits=0")
Act = Callable[[RunPaths, int], None]


@dataclass(frozen=True)
class Case:
    """A kind of trouble, what makes it in words, the settings that do, and what else is done to the worker while it runs.

    `first` is done within the worker's process before it begins. The worker is ended once the trouble is found.
    """

    kind: str
    how: str
    settings: tuple[str, ...] = ()
    act: Act = lambda paths, pid: None
    first: Callable[[], object] = int
    text: Callable[[Path], tuple[str, ...]] = lambda folder: plain_text(folder)
    by: str = "trainer"
    patience_s: float = 240.0


# Texts ----------------------------------------------------------------------------------------------------------------


def write_texts(folder: Path, name: str, texts: list[str]) -> tuple[str, ...]:
    """The settings of a corpus of such documents, with a cache of its own."""
    where = folder / name
    where.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (where / f"{number:03d}.txt").write_text(text)
    return (f"data.paths=[{where}]", f"data.cache_dir={folder / 'cache'}")


def plain_text(folder: Path) -> tuple[str, ...]:
    """Tales that are soon learnt."""
    tale = "The tale of number {} is short. It has an end and a start.\n"
    return write_texts(folder, "plain", [tale.format(n) * 40 for n in range(12)])


def poisoned_text(folder: Path) -> tuple[str, ...]:
    """The same, and two documents in forty that are noise, with control characters in it."""
    dice = random.Random(0)
    noise = ["".join(dice.choice("#@$%^&*()[]{}<>~|\x07\x1b") for _ in range(600)) for _ in range(2)]
    tales = ["The tale of a number is short. It has an end and a start.\n" * 40 for _ in range(38)]
    return write_texts(folder, "poisoned", [*tales, *noise])


def source_code(folder: Path) -> tuple[str, ...]:
    """Real text: some of Python's own library."""
    library = Path(json.__file__).parents[1]
    return (f"data.paths=[{library / 'json'},{library / 'email'}]", f"data.cache_dir={folder / 'cache'}")


def few_words(folder: Path) -> tuple[str, ...]:
    """Very little text of chance words, so that there is nothing to learn but by heart."""
    dice = random.Random(1)
    words = ["".join(dice.choice("abcdefghij") for _ in range(4)) for _ in range(200)]
    return write_texts(folder, "few", [" ".join(dice.choice(words) for _ in range(60)) for _ in range(10)])


def damaged_start(folder: Path) -> tuple[str, ...]:
    """Weights of a run that another program saved with the highest bit of an exponent turned over: finite, but huge."""
    text = plain_text(folder)
    source = make_run(folder, "source-0", *text, "train.steps=2")
    os.waitpid(fork_worker(source, resume=False), 0)
    checkpoint = list_checkpoints(source.checkpoints)[0].path
    weights = load_file(checkpoint / "model.safetensors")
    weights["embedding.weight"].view(torch.int32)[40, 0] ^= 1 << 30
    others = {name: (checkpoint / name).read_bytes() for name in ("config.yaml", "tokenizer.json")}
    with new_checkpoint(checkpoint, {"step": 2}) as directory:
        save_file(weights, directory / "model.safetensors")
        for name, content in others.items():
            (directory / name).write_bytes(content)
    return (*text, f"train.init_from={checkpoint}")


# What is done to a worker ---------------------------------------------------------------------------------------------


def step_of(paths: RunPaths) -> int:
    summary = summarize(paths)
    return summary.step if summary else 0


def wait(pid: int, paths: RunPaths, until: Callable[[], bool], seconds: float = 180) -> bool:
    """Whether something held before the worker ended and the time was over."""
    end = time.monotonic() + seconds
    while not until():
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) or time.monotonic() > end:
            return until()
        time.sleep(0.01)
    return True


def ended(paths: RunPaths, pid: int) -> None:
    """Only wait for its end."""
    wait(pid, paths, lambda: False)


def kick(paths: RunPaths, pid: int) -> None:
    """A learning rate far too high, set while it trains."""
    wait(pid, paths, lambda: step_of(paths) >= 60)
    send_command(paths, "set", overrides=["train.lr=1", "train.muon_lr=1"])


def freeze(paths: RunPaths, pid: int) -> None:
    wait(pid, paths, lambda: step_of(paths) >= 5)
    os.kill(pid, signal.SIGSTOP)


def throttle(paths: RunPaths, pid: int) -> None:
    """Once the run has a past, it gets the processor for a quarter of the time only."""
    wait(pid, paths, lambda: step_of(paths) >= 5)
    time.sleep(80)
    end = time.monotonic() + 80
    while time.monotonic() < end and not told(paths, "low_throughput"):
        for number, seconds in ((signal.SIGSTOP, 0.15), (signal.SIGCONT, 0.05)):
            os.kill(pid, number)
            time.sleep(seconds)


def no_room(paths: RunPaths, pid: int) -> None:
    """The folder of checkpoints is gone, and a file has its name."""
    wait(pid, paths, lambda: step_of(paths) >= 5)
    paths.checkpoints.rmdir()
    paths.checkpoints.write_text("")
    send_command(paths, "save")


def small_files() -> None:
    """No file of this process may grow beyond 40 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


def little_memory() -> None:
    """300 MB more than this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 300_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def kill(paths: RunPaths, pid: int) -> None:
    wait(pid, paths, lambda: step_of(paths) >= 5)
    os.kill(pid, signal.SIGKILL)


def save_at(step: int) -> Act:
    def act(paths: RunPaths, pid: int) -> None:
        wait(pid, paths, lambda: step_of(paths) >= step)
        send_command(paths, "save")

    return act


def rot(paths: RunPaths, pid: int) -> None:
    """A byte of the saved weights turns over on the disk."""
    save_at(5)(paths, pid)
    wait(pid, paths, lambda: bool(list_checkpoints(paths.checkpoints)))
    file = list_checkpoints(paths.checkpoints)[0].path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 0x40
    file.write_bytes(content)


CASES = (
    Case("nan", "a start from weights with one bit turned over", text=lambda folder: damaged_start(folder)),
    Case("loss_spike", "`mythos set train.lr=1 train.muon_lr=1` at step 60", STEADY, kick),
    Case("loss_spike", "noise in the text", STEADY, text=poisoned_text),
    Case("gradient_spike", "`mythos set train.lr=1 train.muon_lr=1` at step 60", STEADY, kick),
    Case("stall", "SIGSTOP", act=freeze, by="doctor"),
    Case("expert_collapse", "nothing balances the experts", ("objective.router_bias_rate=0", "train.lr=0.3")),
    Case("halting_collapse", "a ponder cost of 10", (*ACT, "objective.ponder_cost=10", "train.lr=0.03")),
    Case(
        "halting_collapse",
        "two loops and a threshold of 1, which they do not reach",
        (*ACT, *STEADY, "objective.ponder_cost=0", "model.act_threshold=1", "model.loops=2", "model.max_loops=2"),
    ),
    Case(
        "state_growth",
        "twelve loops that keep nearly all of the state, hardly trained",
        (*STEADY, "model.a_max=0.996", "model.loops=12", "model.max_loops=12", "train.lr=1e-6", "train.muon_lr=1e-6"),
    ),
    Case("rho_a", "an a_max of 0.11, a learning rate of 1", ("model.a_max=0.11", "train.lr=1")),
    Case(
        "overfitting",
        "a tenth of a page, over and over",
        ("train.eval_every=25", "train.lr=0.01", "model.width=64"),
        text=few_words,
    ),
    Case("low_throughput", "SIGSTOP and SIGCONT in turns", act=throttle, patience_s=60),
    Case("out_of_memory", "300 MB, and a batch of 2,000", ("train.batch_size=2000",), first=little_memory),
    Case("too_large", "the same, before the first step", ("train.batch_size=2000",), first=little_memory),
    Case("unsaved", "files may grow to 40 kB only", act=save_at(5), first=small_files),
    Case("unsaved", "a file in place of the checkpoints' folder", act=no_room),
    Case(
        "failed",
        "text that is not there",
        ("data.paths=[/nowhere]",),
        lambda paths, pid: ended(paths, pid),
        by="doctor",
    ),
    Case("failed", "SIGKILL", act=kill, by="doctor"),
    Case("bad_weights", "a byte of the checkpoint turned over", act=rot, by="doctor"),
    Case(
        "router_bias",
        "a bias rate of 1, an odd number of steps",  # after an even one the updates have taken each other back
        ("objective.router_bias_rate=1", "train.lr=1e-4", "train.steps=13"),
        by="doctor",
    ),
    Case(
        "expert_norms",
        "64 experts, idle ones under weight decay",
        (
            "model.n_experts=64",
            "objective.router_bias_rate=0",
            "train.weight_decay=1",
            "train.lr=0.1",
            "train.muon_lr=0.1",
        ),
        save_at(60),
        by="doctor",
    ),
    Case(
        "embedding_norms",
        "tokens that the text hardly has, a head of its own",
        ("model.tie_embeddings=false", "train.lr=0.1", "train.weight_decay=0.5"),
        save_at(120),
        by="doctor",
    ),
    Case("rho_a", "the same, from its weights", ("model.a_max=0.11", "train.lr=1"), save_at(200), by="doctor"),
    Case(
        "halting_collapse",
        "a halting head that learns nothing, from its weights",
        (*ACT, "objective.ponder_cost=0", "train.lr=1e-6"),
        save_at(20),
        by="doctor",
    ),
)
HEALTHY = {
    "recurrent, depth supervised, 8 experts": (),
    "recurrent, ACT": (*ACT, "objective.ponder_anneal_steps=500"),
    "dense": ("model.family=dense", "model.n_layers=2"),
}


# Running --------------------------------------------------------------------------------------------------------------


def make_run(folder: Path, name: str, *overrides: str) -> RunPaths:
    """A run of a tiny model."""
    return create_run(folder, name, parse_config({}, [*tiny(overrides), *overrides]), ["alert_runs"])


def tiny(overrides: tuple[str, ...]) -> list[str]:
    """TINY, without what a dense model lacks."""
    dense = "model.family=dense" in overrides
    return [text.replace(", expert_width: 16", "") if dense else text for text in TINY]


def told(paths: RunPaths, kind: str) -> dict[str, Any] | None:
    """The first alert of this kind that the trainer told of; of `unsaved`, the first that has no kind."""
    for event in JsonTail(paths.events).read_objects(5):
        if event["kind"] == "alert" and event.get("alert", "unsaved") == kind:
            return event
    return None


def found(paths: RunPaths, kind: str) -> str:
    """The evidence that `mythos doctor` has of this kind, or ""."""
    findings, _ = examine(str(paths.root), paths.root.parent)
    return next((finding.evidence for finding in findings if finding.kind == kind), "")


def raise_it(case: Case, folder: Path) -> dict[str, Any]:
    """One case: what was told, by whom, and after how long. Raises AssertionError where it was not."""
    name = f"{case.kind}-{CASES.index(case)}"
    paths = make_run(folder, name, *case.text(folder), *case.settings)
    began = time.monotonic()
    pid = fork_worker(paths, resume=False, first=case.first)
    by_trainer, evidence = case.by == "trainer", ""
    try:
        case.act(paths, pid)
        if by_trainer:
            wait(pid, paths, lambda: bool(told(paths, case.kind)), case.patience_s)
        event = told(paths, case.kind) if by_trainer else None
        while not (evidence := found(paths, case.kind)) and time.monotonic() < began + case.patience_s:
            time.sleep(0.5)
        if event and event.get("action") == "stop":
            ended(paths, pid)
        summary = summarize(paths)
    finally:
        end(pid)
    tail = paths.log.read_text()[-500:] if paths.log.exists() else ""
    assert event or not by_trainer, f"{case.kind} was not told of: {case.how}\n{tail}"
    assert evidence, f"doctor does not find {case.kind}: {case.how}\n{tail}"
    facts = {"step": summary.step, "state": summary.state, "s": round(time.monotonic() - began, 1)} if summary else {}
    return {"kind": case.kind, "how": case.how, "told": event["message"] if event else "", "doctor": evidence, **facts}


def end(pid: int) -> None:
    for number in (signal.SIGCONT, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            break
    os.waitpid(pid, 0)


def stay_healthy(name: str, folder: Path, steps: int = 1000) -> dict[str, Any]:
    """A whole run of real text, of which neither trainer nor doctor may say anything."""
    settings = (f"train.steps={steps}", "train.eval_every=100", "train.warmup_steps=100", "train.schedule=cosine")
    run = f"healthy-{[*HEALTHY].index(name)}"
    paths = make_run(folder, run, *source_code(folder), *HEALTHY[name], *settings)
    began = time.monotonic()
    pid = fork_worker(paths, resume=False)
    code = os.waitpid(pid, 0)[1]
    events = JsonTail(paths.events).read_objects(10)
    alerts = [event["message"] for event in events if event["kind"] == "alert"]
    findings = [f"{one.kind}: {one.evidence}" for one in examine(str(paths.root), folder)[0]]
    assert code == 0 and step_of(paths) == steps, paths.log.read_text()[-1500:]
    assert not alerts and not findings, f"{name}: {alerts} {findings}"
    lines = JsonTail(paths.metrics).read_objects(10)
    facts = {"records": len(lines), "first loss": round(lines[0]["loss"], 3), "last loss": round(lines[-1]["loss"], 3)}
    return {
        "healthy": name,
        "steps": steps,
        **facts,
        "alerts": 0,
        "findings": 0,
        "s": round(time.monotonic() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--healthy", action="store_true", help="the healthy runs alone")
    given = parser.parse_args()
    folder, missed = Path(tempfile.mkdtemp(prefix="alert-runs-")), 0
    jobs = [] if given.healthy else [(raise_it, case) for case in CASES if not given.kinds or case.kind in given.kinds]
    jobs += [(stay_healthy, name) for name in HEALTHY] if given.healthy or not given.kinds else []
    try:
        for work, what in jobs:
            try:
                print(json.dumps(work(what, folder)), flush=True)
            except AssertionError as error:
                missed += 1
                print(error, file=sys.stderr, flush=True)
            finally:
                for run in folder.glob("*-*"):
                    shutil.rmtree(run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(bool(missed))


if __name__ == "__main__":
    import mythos.data.prepare
    import mythos.evals.bits
    import mythos.inspect.weights
    import mythos.train.keeper
    import mythos.train.worker  # noqa: F401

    main()
