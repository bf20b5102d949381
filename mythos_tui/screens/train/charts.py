"""The grid of charts: as many as fit, the rest on further pages; crosshair and window are common to all."""

from __future__ import annotations

import math
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from mythos_tui.runs.snapshot import X_AXES, RunSnapshot
from mythos_tui.screens.train.arrangement import Arrangement, plan
from mythos_tui.screens.train.panels import PANELS, Panel, bars_of, map_of, series_of
from mythos_tui.screens.train.views import PageArranged, StepChosen
from mythos_tui.widgets.barchart import BarChart
from mythos_tui.widgets.chart import LineChart
from mythos_tui.widgets.timemap import TimeHeatmap
from mythos_tui.widgets.xview import XView, link

Chart = LineChart | TimeHeatmap | BarChart


class ChartGrid(Container):
    """Charts of the selected run."""

    DEFAULT_CSS: ClassVar[str] = """
    ChartGrid { layout: grid; grid-gutter: 0 2; padding: 0 1; height: 1fr; }
    ChartGrid > * { height: 100%; display: none; }
    ChartGrid > .-shown { display: block; }
    ChartGrid > *:focus { background: $surface; }
    """

    def __init__(self, arrangement: Arrangement) -> None:
        super().__init__(id="charts")
        self.arrangement = arrangement
        self._charts: dict[str, Chart] = {}
        self._applicable: list[Panel] = []
        self._shown: list[Panel] = []
        self._snapshot: RunSnapshot | None = None
        self._drawn: dict[str, tuple[object, ...]] = {}
        self.page = 0
        self.x_axis = X_AXES[0]

    def compose(self) -> ComposeResult:
        for panel in PANELS:
            self._charts[panel.id] = chart = _make(panel)
            yield chart

    def on_mount(self) -> None:
        link(self.views)

    @on(XView.CrosshairMoved)
    def _tell_step(self, event: XView.CrosshairMoved) -> None:
        self.post_message(StepChosen(None if event.x is None else self.step_at(event.x)))

    @property
    def views(self) -> list[XView]:
        """All charts over x, shown or not."""
        return [chart for chart in self._charts.values() if isinstance(chart, XView)]

    @property
    def shown(self) -> list[str]:
        """Ids of the panels on the current page."""
        return [panel.id for panel in self._shown]

    # What is shown

    def show(self, snapshot: RunSnapshot) -> None:
        """Draw this picture of a run; only charts on the page are given their new points."""
        if self._snapshot is None or snapshot.summary.name != self._snapshot.summary.name:
            self.page = 0
            self._reset_views()
        self._snapshot = snapshot
        if self._now_applicable() != self._applicable:
            self.arrange_page()
        self._feed()

    def _now_applicable(self) -> list[Panel]:
        snapshot = self._snapshot
        found = [panel for panel in self.arrangement.panels if snapshot and panel.applies(snapshot)]
        return found or [panel for panel in self.arrangement.panels[:1]]

    def _reset_views(self) -> None:
        for chart in self.views:
            chart.action_reset_view()

    def _feed(self) -> None:
        if (snapshot := self._snapshot) is None:
            return
        state = (snapshot.summary.name, snapshot.generation, snapshot.version, self.x_axis)
        for panel in self._shown:
            if self._drawn.get(panel.id) != state:
                self._drawn[panel.id] = state
                self._draw(panel, snapshot)

    def _draw(self, panel: Panel, snapshot: RunSnapshot) -> None:
        chart = self._charts[panel.id]
        if isinstance(chart, LineChart):
            chart.set_series(series_of(panel, snapshot, self.x_axis))
        elif isinstance(chart, TimeHeatmap):
            chart.set_data(*map_of(panel, snapshot, self.x_axis))
        else:
            values, labels, reference = bars_of(panel, snapshot)
            chart.set_data(values, labels, reference=reference, reference_name="even" if reference else "")

    def arrange_page(self) -> None:
        """Choose what fits, and show that page."""
        self._applicable = self._now_applicable()
        count, (width, height) = len(self._applicable), self.size
        if not count or not width or not height:
            return
        per_page, scale = self._per_page, self.arrangement.scale
        self.page %= self.pages
        self._shown = self._applicable[self.page * per_page : (self.page + 1) * per_page]
        columns, rows = plan(len(self._shown), width, height, scale)
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        shown = self.shown
        for name, chart in self._charts.items():
            chart.set_class(name in shown, "-shown")
        spare = columns * rows - len(shown)
        for index, name in enumerate(shown):
            chart = self._charts[name]
            chart.styles.column_span = 1 + (min(spare, columns - 1) if index == 0 else 0)
            self.move_child(chart, after=self._charts[shown[index - 1]]) if index else self.move_child(chart, before=0)
        self._feed()
        self.post_message(PageArranged())

    @property
    def _per_page(self) -> int:
        count = len(self._applicable)
        columns, rows = plan(count, *self.size, self.arrangement.scale)
        widened = columns == 2 and rows == 2 and count > 2  # on a small page the first chart takes the whole first row
        return columns * rows - widened

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return math.ceil(len(self._applicable) / self._per_page) if self._applicable and self.size.width else 1

    # What a person does

    def turn_page(self, by: int = 1) -> None:
        """Show the next page of charts, or the one before."""
        self.page += by
        self.arrange_page()

    def bring(self, chart: Widget, by: int) -> Widget:
        """The chart after or before this one, of all that there are, on its page."""
        order = [panel.id for panel in self._applicable]
        at = order.index((chart.id or "").removeprefix("panel-"))
        name = order[(at + by) % len(order)]
        self.page = order.index(name) // self._per_page
        self.arrange_page()
        return self._charts[name]

    def next_x_axis(self) -> str:
        """Take the next x axis: step, tokens, minutes, FLOPs."""
        self.x_axis = X_AXES[(X_AXES.index(self.x_axis) + 1) % len(X_AXES)]
        for chart in self._charts.values():
            if isinstance(chart, LineChart | TimeHeatmap):
                chart.x_label = "" if self.x_axis == "step" else self.x_axis
        self._reset_views()
        self._feed()
        return self.x_axis

    def step_at(self, x: float) -> float | None:
        """The step that stands at `x` on the present x axis."""
        if self._snapshot is None or not self._snapshot.steps.size:
            return None
        values = self._snapshot.x(self.x_axis)
        at = min(int(values.searchsorted(x)), len(values) - 1)
        return float(self._snapshot.steps[at])

    def on_resize(self) -> None:
        self.arrange_page()

    def focus_first(self) -> None:
        """Focus the first chart on the page that can have the focus."""
        for name in self.shown:
            if self._charts[name].can_focus:
                self._charts[name].focus()
                return


def _make(panel: Panel) -> Chart:
    chart: Chart
    name = f"panel-{panel.id}"
    if panel.bars:
        chart = BarChart(panel.title, panel.unit, id=name)
    elif panel.vector:
        chart = TimeHeatmap(panel.title, panel.unit, row_name=panel.row_name, share=panel.share, id=name)
    else:
        chart = LineChart(panel.title, panel.unit, y_log=panel.y_log, smoothing=panel.smoothing, id=name)
    chart.help_text = panel.help  # type: ignore[union-attr]
    return chart
