"""Six live panels over one run directory, drawn by the workbench's charts or by textual-plotext; `ui.py` runs it in a pty.

It reads the run as the workbench does, shows what is new at every tick, measures itself and leaves a report.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from mythos.memory import give_back_freed_memory

give_back_freed_memory()  # as the workbench does

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from textual.app import App, ComposeResult  # noqa: E402
from textual.containers import Grid  # noqa: E402
from textual.widget import Widget  # noqa: E402

from mythos.contract.rundir import LineWriter, RunPaths  # noqa: E402
from mythos_tui.runs.reader import RunReader  # noqa: E402
from mythos_tui.runs.snapshot import RunSnapshot  # noqa: E402

PANELS = ("loss", "grad_norm", "ponder", "router_entropy", "tokens_per_s", "utilisation")


class Panels(App[None]):
    """The panels in a grid of three by two."""

    CSS = "Grid { grid-size: 3 2; grid-gutter: 0 1; } Grid > * { height: 100%; }"

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.options = options
        self.reader = RunReader(RunPaths(options.run))
        self.widgets: dict[str, Any] = {}
        self.report: dict[str, Any] = {}

    def compose(self) -> ComposeResult:
        with Grid():
            for key in PANELS:
                self.widgets[key] = self._make(key)
                yield self.widgets[key]

    def _make(self, key: str) -> Widget:
        if self.options.draw == "plotext":
            from textual_plotext import PlotextPlot

            return PlotextPlot()
        from mythos_tui.widgets.chart import LineChart

        return LineChart(key, x_label="step", smoothing=0.9 if key == "loss" else 0.0)

    def on_mount(self) -> None:
        self.run_worker(self._measure(), exit_on_error=True)

    async def _measure(self) -> None:
        await self._load()
        await asyncio.sleep(0.5)
        await {"live": self._live, "frames": self._frames, "hour": self._hour, "load": self._nothing}[
            self.options.measure
        ]()
        self.options.report.write_text(json.dumps(self.report))
        self.exit()

    async def _nothing(self) -> None:
        """Loading was all."""

    async def _load(self) -> None:
        """Until the whole history is on the screen; notes when the first picture was."""
        began, snapshot, patient = time.monotonic(), None, self.options.draw == "plotext"
        while snapshot is None or snapshot.loading or not snapshot.steps.size:
            snapshot, _ = await asyncio.to_thread(self.reader.tick, 0.08)
            if (
                snapshot is not None
                and snapshot.steps.size
                and (not snapshot.loading or ("first_s" not in self.report and not patient))
            ):
                self._show(snapshot)
                await self._flushed()
                self.report.setdefault("first_s", time.monotonic() - began)
        self.report |= {"loaded_s": time.monotonic() - began, "points": len(snapshot.steps) * len(PANELS)}

    async def _flushed(self) -> None:
        """Wait until the screen has been written."""
        done = asyncio.get_running_loop().create_future()
        self.call_after_refresh(lambda: done.done() or done.set_result(None))
        await done

    def _show(self, snapshot: RunSnapshot) -> None:
        x = snapshot.steps
        stride = max(1, len(x) // self.options.points) if self.options.points else 1
        for key in PANELS:
            y = snapshot.scalars[key]
            if self.options.draw == "plotext":
                plot = self.widgets[key].plt
                plot.clear_data()
                plot.title(key)
                plot.plot(x[::stride].tolist(), y[::stride].tolist(), marker="braille")
                self.widgets[key].refresh()
            else:
                from mythos_tui.widgets.chart import Series

                chart = self.widgets[key]
                chart.set_series([Series(key, x, y, "#4cb5f5", best="min" if key == "loss" else None)])
                if self.options.follow and chart.x_window is None:
                    chart.x_window = (float(x[-1]) - self.options.follow, float(x[-1]))
                    chart.follow = True

    async def _tick(self) -> bool:
        """Read and show what is new, as the workbench's watcher does."""
        snapshot, _ = await asyncio.to_thread(self.reader.tick, 0.08)
        if snapshot is not None:
            self._show(snapshot)
        return snapshot is not None

    async def _live(self) -> None:
        """Four pictures a second for a while: processor time of the whole process, and when that was."""
        await self._tick()
        begun, cpu, frames = time.monotonic(), time.process_time(), 0
        while time.monotonic() - begun < self.options.seconds:
            frames += await self._tick()
            await asyncio.sleep(max(0.0, begun + frames * 0.25 - time.monotonic()))
        self.report |= {"begun": begun, "ended": time.monotonic(), "frames": frames, "cpu_s": time.process_time() - cpu}

    async def _frames(self) -> None:
        """Some frames, one new line each, after that of the whole history: processor seconds of a frame."""
        writer = LineWriter(self.reader.paths.metrics)
        times = []
        for _ in range(self.options.frames):
            self._append(writer)
            cpu = time.process_time()
            await self._tick()
            await self._flushed()
            times.append(time.process_time() - cpu)
        self.report["frame_s"] = float(np.median(times))

    async def _hour(self) -> None:
        """As many ticks as an hour has, one after the other; memory after those of the first minute and at the end."""
        writer, process = LineWriter(self.reader.paths.metrics), psutil.Process()
        resident = []
        for tick in range(self.options.frames + 1):
            if tick in (240, self.options.frames):
                await self._flushed()
                resident.append(process.memory_info().rss / 1e6)
            self._append(writer)
            await self._tick()
            await asyncio.sleep(0)
        self.report |= {"minute_mb": resident[0], "hour_mb": resident[-1]}

    def _append(self, writer: LineWriter) -> None:
        from _ui_runs import metrics_line

        self._step = getattr(self, "_step", self.options.step) + 1
        writer.write(metrics_line(self._step))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--measure", choices=("live", "frames", "hour", "load"), default="load")
    parser.add_argument("--draw", choices=("mythos", "plotext"), default="mythos")
    parser.add_argument("--points", type=int, default=0, help="points a curve is thinned to before plotext draws it")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--follow", type=float, default=0.0, help="zoom to so many of the last steps and follow them")
    parser.add_argument("--step", type=int, default=0, help="the last step that is there")
    Panels(parser.parse_args()).run()


if __name__ == "__main__":
    main()
