"""What the workbench costs and how fast it answers, seen from outside in a pseudo-terminal.

    python benchmarks/ui.py [--only NAME ...] [--seconds S] [--ticks N] [--json]

Run directories are written through the contract and read as the workbench reads them. The six panels are a small
application of their own (`_ui_app.py`), so that textual-plotext can draw the very same; keys, the long list and the
screens' own costs are those of the real workbench.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from _ui_runs import BenchRun
from _ui_terminal import Terminal

from mythos.contract.liveness import is_locked, kill
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import summarize

ROOT = Path(__file__).resolve().parent.parent
POINTS, MILLION = 100_000, 1_000_000
COLUMNS, ROWS = 200, 52
WIDTH = 74
OPENED = (("Configure", "2", "launches"), ("Chat", "3", "Sampling"), ("Inspect", "\x1b4", "looks inside"))
"""Name, key and last words of a screen; alt with the digit from inside a text field."""
Facts = dict[str, Any]


def panels(run: BenchRun, folder: Path, *arguments: str, limit_s: float = 600.0) -> tuple[Facts, Terminal]:
    """Run the six panels to their end; their report, and the terminal they ran in."""
    report = folder / f"report-{time.monotonic_ns()}.json"
    script = str(ROOT / "benchmarks" / "_ui_app.py")
    command = [sys.executable, script, str(run.paths.root), str(report), "--step", str(run.step), *arguments]
    terminal = Terminal(command, COLUMNS, ROWS)
    terminal.run_to_end(limit_s)
    if not report.exists():
        raise SystemExit(f"The panels failed:\n{terminal.recent.decode('utf-8', 'replace')[-3000:]}")
    return json.loads(report.read_text()), terminal


@contextmanager
def growing(run: BenchRun, every_s: float = 0.25) -> Iterator[None]:
    """The run logs a step at every tick meanwhile."""
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(every_s):
            run.append()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def workbench(runs: Path, columns: int = COLUMNS, rows: int = ROWS) -> Iterator[Terminal]:
    """The real workbench over a folder of runs."""
    terminal = Terminal([sys.executable, "-m", "mythos_tui", "--runs", str(runs)], columns, rows)
    try:
        yield terminal
    finally:
        terminal.close()


@contextmanager
def busy_workers(folder: Path, count: int = 2) -> Iterator[None]:
    """Real training workers that keep both cores busy."""
    config = ROOT / "configs" / "model" / "recurrent" / "debug.yaml"
    settings = ["train.steps=1000000", "train.threads=1", "train.eval_every=0", "data.source=files"]
    command = [sys.executable, "-m", "mythos", "train", str(config), "--detach", f"--runs={folder}"]
    command += [f"--set={one}" for one in (*settings, f"data.paths=[{ROOT / 'mythos'}]")]
    runs = [RunPaths(folder / f"busy-{index}") for index in range(count)]
    try:
        for paths in runs:
            subprocess.run([*command, f"--run={paths.name}"], check=True, stdout=subprocess.DEVNULL)
        _until(lambda: all(paths.metrics.exists() and paths.metrics.stat().st_size for paths in runs))
        yield
    finally:
        for paths in runs:
            if (summary := summarize(paths)) and summary.is_live:
                kill(paths, summary.status)
        _until(lambda: not any(is_locked(paths) for paths in runs if paths.root.exists()))


def _until(holds: Callable[[], bool], limit_s: float = 180.0) -> None:
    give_up = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > give_up:
            raise SystemExit("The training workers that should keep the cores busy did not start, or did not end.")
        time.sleep(0.2)


# What is measured


def live(folder: Path, options: argparse.Namespace) -> Facts:
    """Six panels of 100,000 points, a new one four times a second: share of a core, bytes to the terminal per frame."""
    run = BenchRun(folder / "live", "live", POINTS)
    found: Facts = {}
    with growing(run):
        for name, extra in (("all", []), ("followed", ["--follow", "2000"])):
            report, terminal = panels(run, folder, "--measure", "live", "--seconds", str(options.seconds), *extra)
            seconds = report["ended"] - report["begun"]
            sent = terminal.bytes_between(report["begun"], report["ended"])
            found[name] = {
                "core": report["cpu_s"] / seconds,
                "bytes": sent / report["frames"],
                "frames": report["frames"],
            }
        found["screen"] = _train_screen(folder / "live", options.seconds)
    run.close()
    return found


def _train_screen(runs: Path, seconds: float) -> Facts:
    """The same of the workbench's own first screen, which shows this run."""
    with workbench(runs) as terminal:
        terminal.wait_for("live", "running")
        terminal.pump(12.0)
        process = psutil.Process(terminal.pid)
        before, begun = process.cpu_times(), time.monotonic()
        terminal.pump(seconds)
        after, ended = process.cpu_times(), time.monotonic()
        used = after.user + after.system - before.user - before.system
        frames = (ended - begun) * 4
        return {
            "core": used / (ended - begun),
            "bytes": terminal.bytes_between(begun, ended) / frames,
            "frames": frames,
        }


def ratio(folder: Path, options: argparse.Namespace) -> Facts:
    """Processor time of a frame, ours and plotext's by turns: at all points, and at 1,000 that plotext is given."""
    run = BenchRun(folder / "ratio", "live", POINTS, live=False)
    cases = {
        "ours": ["--frames", "30"],
        "plotext": ["--draw", "plotext", "--frames", "1"],
        "plotext_1000": ["--draw", "plotext", "--frames", "10", "--points", "1000"],
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, arguments in cases.items():
            times[name].append(panels(run, folder, "--measure", "frames", *arguments)[0]["frame_s"])
    run.close()
    found: Facts = {name: statistics.median(values) for name, values in times.items()}
    pairs = {name: [other / own for own, other in zip(times["ours"], times[name], strict=True)] for name in cases}
    return found | {f"ratio_{name}": statistics.median(pairs[name]) for name in ("plotext", "plotext_1000")}


def load(folder: Path, options: argparse.Namespace) -> Facts:
    """A million points of a metrics file, in six curves: seconds to the first picture, and until all is on the screen."""
    run = BenchRun(folder / "load", "million", -(-MILLION // 6), live=False)
    reports = [panels(run, folder, "--measure", "load")[0] for _ in range(options.rounds)]
    size = run.paths.metrics.stat().st_size / 1e6
    run.close()
    return {
        "points": reports[0]["points"],
        "megabytes": size,
        **{key: statistics.median(report[key] for report in reports) for key in ("first_s", "loaded_s")},
    }


def keys(folder: Path, options: argparse.Namespace) -> Facts:
    """From a key (the crosshair's, on all charts of a run of 100,000 lines) to its repaint: idle, and beside two workers."""
    runs = folder / "keys"
    BenchRun(runs, "done", POINTS, live=False).close()
    with workbench(runs) as terminal:
        terminal.wait_for("done", "finished")
        terminal.pump(8.0)
        terminal.press("\r")
        terminal.pump(1.0)
        idle = _latencies(terminal, options.presses)
        with busy_workers(folder / "busy"):
            terminal.pump(2.0)
            busy = _latencies(terminal, options.presses)
    return {"idle": idle, "busy": busy}


def _latencies(terminal: Terminal, presses: int) -> Facts:
    terminal.answer(".", "@")
    process = psutil.Process(terminal.pid)
    before = sum(process.cpu_times()[:2])
    times = sorted(terminal.answer("," if index % 30 < 15 else ".", "@") for index in range(presses))
    used = (sum(process.cpu_times()[:2]) - before) / presses
    p95 = times[int(0.95 * (len(times) - 1))]
    return {"median_s": statistics.median(times), "p95_s": p95, "cpu_s": used, "presses": presses}


def screens(folder: Path, options: argparse.Namespace) -> Facts:
    """From a key to the whole of a screen that was not shown before."""
    found: dict[str, list[float]] = {name: [] for name, _, _ in OPENED}
    for _ in range(options.rounds + 1):
        with workbench(folder / "none") as terminal:
            terminal.wait_for("Mythos", "No runs yet")
            for name, key, sign in OPENED:
                terminal.pump(1.5)
                found[name].append(terminal.answer(key, sign, 30))
    return {name: statistics.median(times) for name, times in found.items()}


def folder_of_runs(folder: Path, options: argparse.Namespace) -> Facts:
    """A folder of 500 runs: seconds from the start of the process to the first frame, and to the whole list."""
    runs = folder / "many"
    for index in range(500):
        BenchRun(runs, f"run-{index:03d}", 20, live=False).close()
    firsts, lists = [], []
    for _ in range(options.rounds + 1):
        with workbench(runs) as terminal:
            firsts.append(terminal.wait_for("Mythos", "Inspect"))
            lists.append(terminal.wait_for("500 runs"))
    opening = [after - before for before, after in zip(firsts, lists, strict=True)]
    return {"first_s": statistics.median(firsts[1:]), "opening_s": statistics.median(opening[1:]), "runs": 500}


def memory(folder: Path, options: argparse.Namespace) -> Facts:
    """Live updates of six panels of 100,000 points, as many as an hour has at four a second, one after the other."""
    run = BenchRun(folder / "memory", "live", POINTS, live=False)
    report, _ = panels(run, folder, "--measure", "hour", "--frames", str(options.ticks), limit_s=1800)
    run.close()
    found = {key: report[key] for key in ("minute_mb", "hour_mb")}
    return found | {"ticks": options.ticks, "growth": report["hour_mb"] / report["minute_mb"] - 1}


MEASURES: dict[str, Callable[[Path, argparse.Namespace], Facts]] = {
    "live": live, "ratio": ratio, "load": load, "keys": keys, "screens": screens, "folder": folder_of_runs, "memory": memory,
}  # fmt: skip


def lines(found: dict[str, Facts]) -> Iterator[tuple[str, str, str]]:
    """Rows of the table: what, measured, aimed at."""
    for name, title in (
        ("all", "six panels"),
        ("followed", "six panels, zoomed and followed"),
        ("screen", "Train screen"),
    ):
        if facts := found.get("live", {}).get(name):
            yield f"{title}, 100,000 points, 4 frames/s: share of a core", f"{facts['core']:.1%}", "10%"
            yield "  bytes to the terminal per frame", f"{facts['bytes'] / 1e3:.1f} kB", "20 kB"
    if facts := found.get("ratio", {}):
        yield "processor time of a frame of six panels, 100,000 points", f"{1e3 * facts['ours']:.1f} ms", ""
        yield "  textual-plotext, the same points", f"{facts['plotext']:.2f} s = {facts['ratio_plotext']:.0f}×", ""
        yield (
            "  textual-plotext, 1,000 points",
            f"{1e3 * facts['plotext_1000']:.0f} ms = {facts['ratio_plotext_1000']:.1f}×",
            "",
        )
    if facts := found.get("load", {}):
        yield (
            f"{facts['points']:,} points ({facts['megabytes']:.0f} MB): first picture",
            f"{facts['first_s']:.2f} s",
            "1 s",
        )
        yield "  all of them on the screen", f"{facts['loaded_s']:.2f} s", "1 s"
    for name, aim in (("idle", "50 ms"), ("busy", "120 ms")):
        if facts := found.get("keys", {}).get(name):
            where = "idle" if name == "idle" else "beside two busy workers"
            yield f"key to repaint, {where}: p95 of {facts['presses']}", f"{1e3 * facts['p95_s']:.0f} ms", aim
            yield "  median", f"{1e3 * facts['median_s']:.0f} ms", ""
            yield "  processor time per key", f"{1e3 * facts['cpu_s']:.0f} ms", ""
    for name, seconds in found.get("screens", {}).items():
        yield f"key to the whole of {name}, opened for the first time", f"{seconds:.2f} s", ""
    if facts := found.get("folder", {}):
        yield f"{facts['runs']} runs: from the first frame to the whole list", f"{facts['opening_s']:.2f} s", "1 s"
        yield "  from the start of the process to the first frame", f"{facts['first_s']:.2f} s", ""
    if facts := found.get("memory", {}):
        what = f"memory after {facts['ticks']:,} ticks, against that after 240"
        yield what, f"{facts['hour_mb']:.1f} / {facts['minute_mb']:.1f} MB = {facts['growth']:+.1%}", "+5%"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="measure these alone")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long live panels are watched")
    parser.add_argument("--rounds", type=int, default=2, help="how often what is paired or short is measured")
    parser.add_argument("--presses", type=int, default=60, help="keys whose repaint is timed, idle and busy each")
    parser.add_argument(
        "--ticks", type=int, default=14_400, help="updates of the memory test: four a second for an hour"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    os.chdir(ROOT)
    found: dict[str, Facts] = {}
    if not options.json:
        print(f"{'':<{WIDTH}}  {'measured':>24}  {'aim':>7}")
    with tempfile.TemporaryDirectory() as name:
        for measure in options.only:
            found[measure] = MEASURES[measure](Path(name), options)
            for what, measured, aim in lines({measure: found[measure]}) if not options.json else ():
                print(f"{what:<{WIDTH}}  {measured:>24}  {aim:>7}", flush=True)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
