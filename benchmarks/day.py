"""A day in small: a real worker logs 100,000 steps of a toy model; what it and those who watch it take meanwhile.

    python benchmarks/day.py [--steps N] [--reading] [--json]

The worker is a process of its own that writes a line at every step. Its resident memory is sampled every second from step
5,000 on; flat means that no sample is more than 2% off their median. While it trains, `mythos watch RUN` follows it, and
so does the workbench's watcher, whose processor time is taken as a share of the wall's (the figures are for the rate of lines
printed beside them). In the end the metrics are read back by the readers of either side. With `--reading` that is all: the
worker logs 1,000 steps, and its lines are written again and again, each with a step and a time of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from mythos.contract.load import parse_config
from mythos.contract.rundir import LineWriter, RunPaths
from mythos.contract.watch import JsonTail, read_json, summarize
from mythos.train import launch
from mythos_tui.runs.reader import RunReader

TOY = [
    "model={family: recurrent, vocab_size: 260, width: 16, n_heads: 1, n_kv_heads: 1, ffn_width: 16, context: 16, "
    "prelude_layers: 0, coda_layers: 0, n_experts: 0, loops: 1, max_loops: 1}",
    "train={sequence: 8, batch_size: 1, threads: 1, precision: fp32, log_every: 1, eval_every: 10000, eval_tokens: 256, "
    "checkpoint_every: 5000, keep_checkpoints: 2, optimizer: adamw}",
    "objective={loop_sampling: fixed, supervised_depths: 1, mixed_exits: 0}",
]
SETTLED = 5000


def start(folder: Path, steps: int) -> RunPaths:
    text = folder / "text"
    text.mkdir()
    for number in range(12):
        (text / f"{number}.txt").write_text(f"The tale of number {number} is short. It has an end and a start.\n" * 40)
    data = [f"data={{source: files, paths: ['{text}'], cache_dir: '{folder / 'cache'}'}}", f"train.steps={steps}"]
    return launch.start(parse_config({}, [*TOY, *data]), folder / "runs", "day", sys.argv)


def repeat(paths: RunPaths, steps: int) -> None:
    """As many lines as `steps`, made of those that the run has written once it has ended."""
    while (found := summarize(paths)) is None or found.is_live:
        time.sleep(0.2)
    lines = JsonTail(paths.metrics).read_objects(60)
    writer, began = LineWriter(paths.metrics), lines[0]["time"]
    for start in range(len(lines), steps, len(lines)):
        numbers = range(start, min(steps, start + len(lines)))
        writer.write(*({**lines[n - start], "step": n + 1, "time": began + n / 40} for n in numbers))


def share(process: psutil.Process, before: float, seconds: float) -> float:
    return (processor_s(process) - before) / seconds


def processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def live(paths: RunPaths) -> dict[str, Any]:
    """Follow the run to its end: samples of the worker's memory, and processor shares of its watchers."""
    while (status := read_json(paths.status) or {}).get("step", 0) < SETTLED:
        if (found := summarize(paths)) and found.state in ("failed", "crashed"):
            raise SystemExit(paths.log.read_text()[-2000:])
        time.sleep(1)
    worker = psutil.Process(status["pid"])
    command = [sys.executable, "-m", "mythos", "watch", "day", "--runs", str(paths.root.parent)]
    watch = psutil.Popen(command, stdout=subprocess.DEVNULL)
    reader, sizes, reading = RunReader(paths), list[tuple[int, float]](), list[float]()
    settle(reader)
    time.sleep(5)  # the watchers have caught up
    began, first, watch_s, worker_s = time.monotonic(), last_step(paths), processor_s(watch), processor_s(worker)
    found: dict[str, Any] = {}
    while (summary := summarize(paths)) is not None and summary.is_live:
        own = time.process_time()
        reader.tick()
        reading.append(time.process_time() - own)
        sizes.append((summary.step, worker.memory_info().rss / 1e6))
        if watch.poll() is None:
            seconds = time.monotonic() - began
            found = {"seconds": seconds, "watch_share": (processor_s(watch) - watch_s) / seconds}
            found["worker_share"] = (processor_s(worker) - worker_s) / seconds
            found["lines_per_s"] = (summary.step - first) / seconds
        time.sleep(0.25)
    watch.wait(60)
    found["workbench_share"] = sum(reading) / found["seconds"]
    return {**found, **flatness(sizes), "state": summary.state if summary else "gone"}


def last_step(paths: RunPaths) -> int:
    return int((read_json(paths.status) or {}).get("step", 0))


def flatness(sizes: list[tuple[int, float]]) -> dict[str, float]:
    """Median resident megabytes, how far off any sample is, and the medians of the first and the last tenth."""
    values = [size for _, size in sizes]
    median, tenth = statistics.median(values), max(1, len(values) // 10)
    off = max(abs(value / median - 1) for value in values)
    return {
        "memory_mb": median,
        "off": off,
        "first_mb": statistics.median(values[:tenth]),
        "last_mb": statistics.median(values[-tenth:]),
    }


def settle(reader: RunReader) -> None:
    while (picture := reader.tick()[0]) is None or picture.loading:
        pass


def drain(tail: JsonTail) -> int:
    lines = 0
    while found := tail.read_objects(0.05):
        lines += len(found)
    return lines


def seconds_of(act: Callable[[], object]) -> float:
    """The best of three, in wall seconds."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--reading", action="store_true", help="time only how the metrics are read back")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        paths = start(Path(name), 1000 if options.reading else options.steps)
        try:
            facts: dict[str, Any] = {} if options.reading else live(paths)
            if options.reading:
                repeat(paths, options.steps)
        finally:
            if (pid := (read_json(paths.status) or {}).get("pid")) and psutil.pid_exists(pid):
                os.kill(pid, 15)
        facts["lines"], facts["file_mb"] = drain(JsonTail(paths.metrics)), paths.metrics.stat().st_size / 1e6
        facts["read_s"] = seconds_of(lambda: drain(JsonTail(paths.metrics)))
        facts["workbench_read_s"] = seconds_of(lambda: settle(RunReader(paths)))
    if options.json:
        print(json.dumps(facts))
        return
    print(f"{facts['lines']:,} lines, {facts['file_mb']:.0f} MB")
    print(
        f"read back: {facts['read_s']:.2f} s as lines, {facts['workbench_read_s']:.2f} s into the workbench's columns"
    )
    if options.reading:
        return
    print(f"written at {facts['lines_per_s']:.0f} lines a second; run {facts['state']}")
    print(
        f"worker: {facts['memory_mb']:.1f} MB, {facts['first_mb']:.1f} in the first tenth and {facts['last_mb']:.1f} in the last, "
        f"at most {facts['off']:.2%} off"
    )
    print(
        f"of a processor: worker {facts['worker_share']:.0%}, `mythos watch` {facts['watch_share']:.2%}, "
        f"workbench's watcher {facts['workbench_share']:.2%}"
    )


if __name__ == "__main__":
    main()
