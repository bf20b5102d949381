"""What it costs to be watched: time between training steps, a checkpoint's share of it, and reading a day of metrics back.

    python benchmarks/overhead.py [--steps N] [--records N] [--json]

A real worker trains on random tokens, in this process. Every step is timed where the loop calls it, so that steps and what
lies between them (logging, guards, control inbox, heartbeat) come from the same run: noise meets both.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mythos.threads import share_cores

share_cores()

import psutil  # noqa: E402
from step import QUICKSTART, random_corpus  # noqa: E402

from mythos.contract.load import parse_config, read_yaml  # noqa: E402
from mythos.contract.rundir import LineWriter, RunPaths, create_run  # noqa: E402
from mythos.contract.watch import JsonTail  # noqa: E402
from mythos.train.journal import Journal  # noqa: E402
from mythos.train.ranks import Ranks  # noqa: E402
from mythos.train.worker import Worker  # noqa: E402
from mythos_tui.runs.reader import RunReader  # noqa: E402

QUIET = ["train.eval_every=0", "train.checkpoint_every=0", "train.warmup_steps=0", "train.threads=1"]
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
    "quickstart": [],
    "quickstart, a line per step": ["train.log_every=1"],
    "small": [*SMALL, "train.sequence=32"],
    "small, a line per step": [*SMALL, "train.sequence=32", "train.log_every=1"],
}


class Watched(Worker):
    """A worker that keeps when its steps began and ended, and asks for a checkpoint after those with remainder 2 of `asks`."""

    def __init__(self, journal: Journal, asks: int) -> None:
        super().__init__(journal, False, Ranks())
        self.asks, self.steps = asks, list[tuple[float, float]]()

    def _build_trainer(self) -> None:
        super()._build_trainer()
        step = self.trainer.step

        def timed() -> Any:
            began = time.perf_counter()
            result = step()
            self.steps.append((began, time.perf_counter()))
            if self.asks and result.step % self.asks == 2:
                self.control.save_ids.append("benchmark")
            return result

        self.trainer.step = timed  # type: ignore[method-assign]

    def _evaluate(self) -> None:
        """Held-out text is none of what is measured."""


def trained(folder: Path, overrides: list[str], steps: int, asks: int = 0) -> Watched:
    """A worker that has done `steps` steps on random tokens."""
    defaults = {} if "model.family=dense" in overrides else read_yaml(QUICKSTART)
    config = parse_config(defaults, [*QUIET, f"train.steps={steps}", *overrides])
    (folder / "text").mkdir(parents=True)
    corpus = random_corpus(folder / "text", config.model.vocab_size, 100_000)
    paths = create_run(folder / "runs", "a", config, [])
    with contextlib.redirect_stdout(io.StringIO()), patch("mythos.train.preparing.prepare_data", lambda *_: corpus):
        worker = Watched(Journal(paths), asks)
        worker.run()
    return worker


def watched(folder: Path, overrides: list[str], steps: int) -> dict[str, float]:
    """Seconds of a step, between two steps without and with a logged line, and the share of it all that is no step."""
    worker = trained(folder, overrides, steps + 3)
    times, every = worker.steps[2:], worker.config.train.log_every  # the first warm up
    gaps = [after - end for (_, end), (after, _) in pairwise(times)]
    silent = [gap for number, gap in enumerate(gaps, 3) if number % every]
    return {
        "step_s": statistics.median(end - began for began, end in times),
        "silent_s": statistics.median(silent) if silent else float("nan"),
        "logged_s": statistics.median(gap for number, gap in enumerate(gaps, 3) if number % every == 0),
        "share": sum(gaps) / (times[-1][0] - times[0][0]),
    }


def checkpoint(folder: Path, saves: int = 4) -> dict[str, float]:
    """Seconds that a save takes from the training thread, written beside it or waited for, and of the steps after both."""
    worker = trained(folder, [*LARGE, "train.checkpoint_every=4", "train.keep_checkpoints=1"], 4 * saves + 4, asks=4)
    gaps = [after - end for (_, end), (after, _) in pairwise(worker.steps)]
    steps = [end - began for began, end in worker.steps]
    names = {"beside_s": gaps[3::4], "waiting_s": gaps[5::4], "step_beside_s": steps[4::4], "step_s": steps[6::4]}
    weights = sum(p.numel() * p.element_size() for p in worker.trainer.model.parameters())
    return {"megabytes": weights / 1e6, **{name: statistics.median(values) for name, values in names.items()}}


def seconds_of(act: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    act()
    return clock() - began


def processor_s(act: Callable[[], object]) -> float:
    """What else the machine does is not counted."""
    return seconds_of(act, time.process_time)


def a_day(folder: Path, records: int) -> dict[str, float]:
    """Writing and reading `records` lines as long as the quickstart's: processor seconds, and megabytes that memory grows by."""
    folder.mkdir()
    paths = create_run(folder / "runs", "day", parse_config({}), [])
    line = {"time": 1.7e9, "tokens": 2048, "loss": 3.1415926535, "loss_parts": {"cross_entropy": 3.0, "shallow": 0.1}}
    line |= {
        "lr": 0.003,
        "muon_lr": 0.02,
        "grad_norm": 0.77,
        "tokens_per_s": 5e3,
        "flops_per_s": 9e10,
        "utilisation": 0.4,
    }
    line |= {"ponder": 4.0, "loops_histogram": [2048] * 8, "expert_load": [0.125] * 8, "state_norm": [1.25] * 8}
    writer, resident = LineWriter(paths.metrics), psutil.Process().memory_info
    before, found = resident().rss, {"records": float(records)}
    found["write_s"] = processor_s(lambda: [writer.write({"step": step, **line}) for step in range(records)])
    found["writer_mb"], found["file_mb"] = (resident().rss - before) / 1e6, paths.metrics.stat().st_size / 1e6
    before = resident().rss
    found["tail_s"] = processor_s(lambda: drain(JsonTail(paths.metrics)))
    reader = RunReader(RunPaths(paths.root))
    found["workbench_s"] = processor_s(lambda: settle(reader))
    found["reader_mb"] = (resident().rss - before) / 1e6
    found["tick_s"] = statistics.median(processor_s(reader.tick) for _ in range(20))
    return found


def drain(tail: JsonTail) -> None:
    while tail.read_objects(0.05):
        pass


def settle(reader: RunReader) -> None:
    while (picture := reader.tick()[0]) is None or picture.loading:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps per case; ten times as many of the small model")
    parser.add_argument("--records", type=int, default=100_000, help="lines of the long run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        long = a_day(root / "day", options.records)
        cases = {
            case: watched(root / str(number), overrides, options.steps * (10 if overrides[:1] == SMALL[:1] else 1))
            for number, (case, overrides) in enumerate(CASES.items())
        }
        saved = checkpoint(root / "saved")
    if options.json:
        print(json.dumps({"cases": cases, "checkpoint": saved, "day": long}))
        return
    print(f"{'run':<28} {'step ms':>9} {'between ms':>11} {'with a line':>12} {'overhead':>9}")
    for case, facts in cases.items():
        step, silent, logged = (1e3 * facts[key] for key in ("step_s", "silent_s", "logged_s"))
        print(f"{case:<28} {step:>9.2f} {silent:>11.3f} {logged:>12.3f} {facts['share']:>9.2%}")
    print(
        f"\ncheckpoint of {saved['megabytes']:.0f} MB of weights, of the training thread's time: {saved['waiting_s']:.2f} s if it "
        f"waits, {saved['beside_s']:.2f} s if a thread writes; a step takes {saved['step_s']:.2f} s, "
        f"and {saved['step_beside_s']:.2f} s beside that"
    )
    print(
        f"{long['records']:,.0f} lines, {long['file_mb']:.0f} MB: written in {long['write_s']:.1f} s of a processor "
        f"(+{long['writer_mb']:.1f} MB), read in {long['tail_s']:.2f} s as lines, {long['workbench_s']:.2f} s by the "
        f"workbench (+{long['reader_mb']:.0f} MB), whose tick then takes {1e3 * long['tick_s']:.1f} ms"
    )


if __name__ == "__main__":
    main()
