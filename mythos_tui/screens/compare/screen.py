"""Compare: runs laid over each other, their values, and the settings in which they differ."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from mythos_tui.actions import bindings
from mythos_tui.messages import RunsListed, RunUpdated
from mythos_tui.runs.snapshot import X_AXES, RunSnapshot
from mythos_tui.screens.compare.table import Row, curve_of, direction, metrics_of, results, save, settings
from mythos_tui.screens.compare.views import ComparisonTable, MetricList, Values
from mythos_tui.screens.picking import RunPicking
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.widgets.chart import LineChart, Series
from mythos_tui.widgets.curve import Best
from mythos_tui.widgets.palette import SERIES, series_colour
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import visible

MOST = 16
"""Runs that are laid over each other at once; more could not be told apart."""


class CompareScreen(RunPicking):
    """Pinned and selected runs of the runs folder."""

    MODE = "compare"
    CSS_PATH = "screen.tcss"
    WATCHED: ClassVar[dict[str, bool]] = {"settings": True}
    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")
    help_text = (
        "Runs that are pinned (p) or selected (space), here or in Train, are laid over each other: one metric on any x axis, "
        "their final and best values, and the settings in which they differ."
    )

    def __init__(self) -> None:
        super().__init__()
        self._snapshots: dict[str, RunSnapshot] = {}
        self._axis = X_AXES[0]
        self._everything = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="compare"):
            with Vertical(id="side"):
                yield from self.compose_runs()
                yield Static("Metric", classes="heading", markup=False)
                yield MetricList()
            with Vertical(id="detail"):
                yield Static(self._how(), id="how", markup=False)
                chart = LineChart(id="overlay", empty="no points yet")
                chart.help_text = "One metric of every compared run."  # type: ignore[attr-defined]
                yield chart
                yield Values()
        yield Static(self._nothing_yet(), id="empty", markup=False)

    def _how(self) -> str:
        return self.app.with_keys(
            "Nothing is compared yet.\n\n"
            "Put the cursor on a run and press [compare.select]\n"
            "to select it, or [compare.pin] to pin it:\n"
            "pinned runs stay here, also after a restart.\n\n"
            "Two or more runs show what differs between them."
        )

    def _nothing_yet(self) -> str:
        return f"No runs yet in {visible(str(self.app.context.runs))}\n\n" + self.app.with_keys(
            "Press [app.open('configure')] to configure one and launch it, [app.open('train')] to watch it train;\n"
            "once there are two, this screen lays them over each other."
        )

    # Runs

    @on(RunsListed)
    def _show_runs(self, message: RunsListed) -> None:
        self.list_runs(message.runs)
        self._look()

    @on(RunList.Picked)
    def _look(self) -> None:
        """Watch what is compared now."""
        runs = self.query_one(RunList)
        compared = [name for name in self.app.choice.compared if runs.knows(name)]
        if self._watcher:
            self._watcher.select(*compared[:MOST])
        self._snapshots = {name: self._snapshots[name] for name in compared[:MOST] if name in self._snapshots}
        self.set_class(bool(compared), "-compared")
        rest = f", the first {MOST} shown" if len(compared) > MOST else ""
        self.set_remark(f"{len(compared)} compared{rest}" if compared else "")
        self._draw()

    @on(RunUpdated)
    def _show_run(self, message: RunUpdated) -> None:
        if self.is_attached and message.snapshot.summary.name in self.app.choice.compared:
            self._snapshots[message.snapshot.summary.name] = message.snapshot
            self.query_one(RunList).update_run(message.snapshot.summary)
            self._draw()

    @property
    def _compared(self) -> list[RunSnapshot]:
        """Pictures of the compared runs, in the order of their colours."""
        return [self._snapshots[name] for name in self.app.choice.compared if name in self._snapshots]

    def _number(self, snapshot: RunSnapshot) -> int:
        """Which of the compared runs it is, which decides its colour."""
        return self.app.choice.compared.index(snapshot.summary.name)

    # Drawing

    def _draw(self) -> None:
        found = self._compared
        metrics = self.query_one(MetricList)
        metrics.show(metrics_of(found))
        chart = self.query_one("#overlay", LineChart)
        chart.set_title(visible(metrics.chosen).replace("_", " "))
        chart.x_label = self._axis
        chart.set_series([self._series(one, metrics.chosen) for one in found if _has(one, metrics.chosen)])
        runs = [(one.summary.name, self._number(one)) for one in found]
        self.query_one(ComparisonTable).show(runs, self._rows(found))

    def _series(self, snapshot: RunSnapshot, metric: str) -> Series:
        x, y = curve_of(snapshot, metric, self._axis)
        best: dict[int, Best] = {-1: "min", 1: "max"}
        number, mark = self._number(snapshot), best.get(direction(metric))
        colour, dash = series_colour(number), number // len(SERIES)
        return Series(visible(snapshot.summary.name), x, y, colour, best=mark, dash=dash)

    def _rows(self, found: list[RunSnapshot]) -> list[Row]:
        if not found:
            return []
        values = results(found, self.query_one(MetricList).chosen)
        differ = settings(found, self._everything)
        nothing = "no setting differs" if len(found) > 1 else "one run alone differs from none"
        return values + (differ or [Row("settings", nothing, ["" for _ in found])])

    @on(Rows.Moved, "#metrics")
    def _other_metric(self) -> None:
        self.query_one("#overlay", LineChart).action_reset_view()
        self._draw()

    # Actions

    def action_metric(self, by: int) -> None:
        """The next metric, or the one before."""
        metrics = self.query_one(MetricList)
        if metrics.count:
            metrics.cursor = (metrics.cursor + by) % metrics.count

    def action_x_axis(self) -> None:
        """Next x axis."""
        self._axis = X_AXES[(X_AXES.index(self._axis) + 1) % len(X_AXES)]
        self.query_one("#overlay", LineChart).action_reset_view()
        self._draw()

    def action_differences(self) -> None:
        """All settings, or those that differ."""
        self._everything = not self._everything
        said = (
            "All settings; {} leaves those that differ." if self._everything else "Settings that differ; {} shows all."
        )
        self.notify(said.format("[compare.differences]"), timeout=2)
        self._draw()

    @work(group="export", exclusive=True)
    async def action_export(self) -> None:
        """Curves and table as CSV."""
        found, metric = self._compared, self.query_one(MetricList).chosen
        if not found:
            self.notify("Nothing is compared yet: select runs with space in the list, then E.", severity="warning")
            return
        rows, stamp = self._rows(found), time.strftime("%Y%m%d-%H%M%S")
        try:
            written = await asyncio.to_thread(save, Path.cwd(), stamp, found, metric, rows)
        except OSError as error:
            said = f"CSV cannot be saved here: {error.strerror}. Start the workbench in a folder you may write."
            self.notify(said, severity="error", markup=False)
            return
        self.app.say_saved("Comparison", *written)

    def action_toggle_table(self) -> None:
        """Show or hide the table."""
        self.toggle_class("-no-table")

    def action_zoom(self) -> None:
        """Chart or table on the full screen, or back."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None and self.focused.id in ("overlay", "table"):
            self.maximize(self.focused if self.focused.id == "overlay" else self.query_one(Values), container=False)

    @on(RunList.Opened)
    def _to_chart(self) -> None:
        self.query_one("#overlay").focus()

    def key_escape(self) -> None:
        """Out of full screen; else back to the list."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.back_to_list()


def _has(snapshot: RunSnapshot, metric: str) -> bool:
    return bool(metric) and bool(curve_of(snapshot, metric, "step")[1].size)
