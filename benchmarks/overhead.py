"""What it costs to be watched, and what a checkpoint costs: both beside steps that go without, taken in turns in one run.

    python benchmarks/overhead.py [--pairs N] [--saves N] [--json]

A real worker trains on random tokens, in this process. Blocks of steps with all that goes with them (logging, guard, control
inbox, heartbeat) and blocks of bare steps take turns (bare, watched, watched, bare, …), each block at least a second long; a
pair of neighbours gives one figure, and the median and its standard error are printed. `between` is measured directly: the
time between two steps of watched blocks, by the wall's clock and by the training thread's own, which what else the machine
does hardly touches. Then a checkpoint is saved by a thread beside the steps and by one that the training waits for, in turns: what
steps take longer while a save is under way is what it costs, the copy included. What a long run costs its watchers is in
`benchmarks/day.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from mythos.memory import keep_freed_memory
from mythos.threads import share_cores

share_cores()
keep_freed_memory()  # both as a worker's process does

from step import QUICKSTART, random_corpus  # noqa: E402

from mythos.contract.load import parse_config, read_yaml  # noqa: E402
from mythos.contract.rundir import create_run  # noqa: E402
from mythos.train.journal import Journal, Stop  # noqa: E402
from mythos.train.ranks import Ranks  # noqa: E402
from mythos.train.worker import Worker  # noqa: E402

QUIET = ["train.eval_every=0", "train.checkpoint_every=0", "train.warmup_steps=0", "train.steps=1000000"]
EVEN = ["objective.loop_sampling=fixed", "objective.mixed_exits=0", "train.threads=1"]
"""Every step does the same work, and what else there is to do finds a core."""
SMALL = [
    "model.width=32",
    "model.n_heads=2",
    "model.ffn_width=64",
    "model.expert_width=16",
    "model.vocab_size=512",
    "train.batch_size=4",
]
LARGE = ["model.family=dense", "model.vocab_size=4096", "model.width=512", "model.n_layers=7", "model.n_heads=8"]
LARGE += ["model.ffn_width=1536", "train.batch_size=1", "train.sequence=64", "train.optimizer=adamw"]
"""23 million parameters: 93 MB of weights, 280 with AdamW's moments."""
CASES = {
    "quickstart": EVEN,
    "quickstart, a line per step": [*EVEN, "train.log_every=1"],
    "small": [*EVEN, *SMALL, "train.sequence=64"],
    "small, a line per step": [*EVEN, *SMALL, "train.sequence=64", "train.log_every=1"],
}
END = "the end of the benchmark"
BLOCK_S, WINDOW_S, WARM_UP = 1.2, 5.0, 4


Moment = tuple[float, float]


def now() -> Moment:
    """By the wall's clock and by the processor time of this thread."""
    return time.perf_counter(), time.thread_time()


class Turn(NamedTuple):
    """What was done, how long it took, and whether a checkpoint was being written in it."""

    kind: str
    seconds: float
    saving: bool


class Watched(Worker):
    """A worker whose turns are bare steps or whole ones as `plan` says, step by step, until that is at its end.

    `steps` has begin and end of every step on both clocks: wall and thread.
    """

    def __init__(self, journal: Journal, plan: Callable[[Watched], str]) -> None:
        super().__init__(journal, False, Ranks())
        self.plan, self.turns, self.steps = plan, list[Turn](), list[tuple[Moment, Moment]]()

    def _turn(self) -> None:
        if not (kind := self.plan(self)):
            raise Stop(END)
        if kind == "wait":
            self.control.save_ids.append("benchmark")  # a save that was asked for is waited for
        began, saving = time.perf_counter(), self.keeper.saving
        if kind == "bare":
            self._timed_step()
        else:
            super()._turn()
        if kind == "beside":
            self.keeper.save({}, self.records.state(self.meter.skipped))
        self.turns.append(Turn(kind, time.perf_counter() - began, kind == "wait" or saving or self.keeper.saving))

    def _build_trainer(self) -> None:
        super()._build_trainer()
        self._bare_step, self.trainer.step = self.trainer.step, self._timed_step  # type: ignore[method-assign]

    def _timed_step(self) -> Any:
        began = now()
        result = self._bare_step()
        self.steps.append((began, now()))
        return result

    def _evaluate(self) -> None:
        """Held-out text is none of what is measured."""

    @property
    def step_seconds(self) -> float:
        return statistics.median(end[0] - began[0] for began, end in self.steps)


def trained(folder: Path, overrides: list[str], plan: Callable[[Watched], str]) -> Watched:
    """A worker that has trained on random tokens as planned."""
    defaults = {} if "model.family=dense" in overrides else read_yaml(QUICKSTART)
    config = parse_config(defaults, [*QUIET, *overrides])
    (folder / "text").mkdir(parents=True)
    corpus = random_corpus(folder / "text", config.model.vocab_size, 100_000)
    paths = create_run(folder / "runs", "a", config, [])
    with contextlib.redirect_stdout(io.StringIO()), patch("mythos.train.preparing.prepare_data", lambda *_: corpus):
        worker = Watched(Journal(paths), plan)
        try:
            worker.run()
        except Stop as stop:
            if str(stop) != END:
                raise SystemExit(f"the run was stopped by {stop}: {paths.events.read_text()[-2000:]}") from None
        worker.keeper.settle(wait=True)
    return worker


class Blocks:
    """A plan: after some steps to warm up, blocks of `kinds` in turns, each as many steps as fill `seconds`."""

    def __init__(self, kinds: list[str], seconds: float) -> None:
        self.kinds, self.seconds = kinds, seconds
        self.begins: list[int] = []
        self.length = 0

    def __call__(self, worker: Watched) -> str:
        done = len(worker.turns)
        if done < WARM_UP:
            return "whole"
        self.length = self.length or max(2, math.ceil(self.seconds / worker.step_seconds))
        number, within = divmod(done - WARM_UP, self.length)
        if number >= len(self.kinds):
            return ""
        kind = self.kinds[number]
        return kind if within == 0 or kind == "bare" else "whole"

    def sums(self, worker: Watched) -> list[float]:
        """Seconds of every block."""
        return [sum(turn.seconds for turn in block) for block in self.blocks(worker)]

    def blocks(self, worker: Watched) -> list[list[Turn]]:
        ends = range(WARM_UP, WARM_UP + self.length * len(self.kinds), self.length)
        return [worker.turns[at : at + self.length] for at in ends]


def watched(folder: Path, overrides: list[str], pairs: int) -> dict[str, float]:
    """What whole turns take beyond bare ones, as a share with its standard error, and what lies between steps, as shares."""
    plan = Blocks([kind for n in range(pairs) for kind in (("bare", "whole"), ("whole", "bare"))[n % 2]], BLOCK_S)
    worker = trained(folder, overrides, plan)
    sums = plan.sums(worker)
    both = [sums[n : n + 2] if n % 4 == 0 else sums[n : n + 2][::-1] for n in range(0, len(sums), 2)]
    paired, error = middle([whole / bare - 1 for bare, whole in both])
    wall, own = (between(worker, clock) for clock in (0, 1))
    return {"step_s": worker.step_seconds, "between": wall, "between_own": own, "paired": paired, "error": error}


def between(worker: Watched, clock: int) -> float:
    """Seconds between two steps of whole turns, as a share of those within."""
    kinds = [turn.kind for turn in worker.turns]
    apart = within = 0.0
    for number, (one, other) in enumerate(pairwise(worker.steps)):
        if kinds[number] == kinds[number + 1] == "whole":
            apart += other[0][clock] - one[1][clock]
            within += other[1][clock] - other[0][clock]
    return apart / within


def middle(values: list[float]) -> tuple[float, float]:
    """Median, and its standard error as for normal values with the spread that the absolute deviations show."""
    median = statistics.median(values)
    spread = 1.4826 * statistics.median(abs(value - median) for value in values)
    return median, 1.2533 * spread / math.sqrt(len(values))


def checkpoint(folder: Path, saves: int, threads: int) -> dict[str, float]:
    """Seconds that the steps take longer by a save: written by a thread beside them, and waited for.

    Counted is every step in which the save was under way, against those around it in which none was: on a machine whose
    pace changes by the minute a difference between long windows would be lost in that.
    """
    plan = Blocks(["beside", "wait"] * saves, WINDOW_S)
    worker = trained(folder, [*LARGE, f"train.threads={threads}", "train.keep_checkpoints=1"], plan)
    blocks = plan.blocks(worker)
    if any(block[-1].saving for block in blocks):
        raise SystemExit(f"a save takes longer than {WINDOW_S} s here: nothing to compare it with")

    def delays(pairs: list[list[Turn]]) -> list[float]:
        plain = [statistics.median(turn.seconds for turn in block if not turn.saving) for block in pairs]
        return [sum(turn.seconds - usual for turn in block if turn.saving) for block, usual in zip(pairs, plain, strict=True)]

    (beside, error), (waiting, waiting_error) = (middle(delays(blocks[at::2])) for at in (0, 1))
    copies = [turn.seconds for turn in worker.turns if turn.kind == "beside"]
    weights = sum(p.numel() * p.element_size() for p in worker.trainer.model.parameters())
    return {
        "megabytes": weights / 1e6,
        "threads": threads,
        "step_s": worker.step_seconds,
        "copy_s": statistics.median(copies) - worker.step_seconds,
        "beside_s": beside,
        "beside_error_s": error,
        "waiting_s": waiting,
        "waiting_error_s": waiting_error,
        "share": beside / waiting,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24, help="pairs of blocks per case")
    parser.add_argument("--saves", type=int, default=16, help="saves of each kind")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        cases = {
            case: watched(root / str(number), overrides, options.pairs)
            for number, (case, overrides) in enumerate(CASES.items())
        }
        saved = [checkpoint(root / f"saved-{threads}", options.saves, threads) for threads in (1, 2)]
    if options.json:
        print(json.dumps({"cases": cases, "checkpoint": saved}))
        return
    print(f"{'run':<28} {'step ms':>8} {'between':>8} {'own clock':>10} {'paired':>16}")
    for case, facts in cases.items():
        paired = f"{facts['paired']:+.2%} ± {facts['error']:.2%}"
        shares = f"{facts['between']:>8.2%} {facts['between_own']:>10.2%} {paired:>16}"
        print(f"{case:<28} {1e3 * facts['step_s']:>8.2f} {shares}")
    for facts in saved:
        copy, beside, waiting = (f"{facts[key]:.2f}" for key in ("copy_s", "beside_s", "waiting_s"))
        beside, waiting = f"{beside} ± {facts['beside_error_s']:.2f} s", f"{waiting} ± {facts['waiting_error_s']:.2f} s"
        print(
            f"\ncheckpoint of {facts['megabytes']:.0f} MB of weights, {facts['threads']} threads, steps of "
            f"{facts['step_s']:.2f} s: {waiting} if the training waits; {beside} if a thread writes ({copy} s to copy, "
            f"the rest for slower steps), {facts['share']:.0%} of that"
        )


if __name__ == "__main__":
    main()
