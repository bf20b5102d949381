"""From a chart's state to its lines: what view is drawn, how the parts stack up, and what changed since the last time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from textual.geometry import Region
from textual.strip import Strip

from mythos_tui.widgets.axis import padded_range, y_ticks
from mythos_tui.widgets.chart_frame import (
    Frame,
    Inks,
    frame_of,
    legend,
    message,
    states,
    strip_of,
    title,
    title_fits,
    x_axis,
)
from mythos_tui.widgets.chart_layers import Canvas, Reduced, clipped_range, compose, look_alike, reduce_all, y_extremes
from mythos_tui.widgets.chart_plot import Ends, Plane, Plot
from mythos_tui.widgets.raster import View
from mythos_tui.widgets.steady import steady_view

if TYPE_CHECKING:
    from mythos_tui.widgets.chart import LineChart


GUTTER = 6


class Painter:
    """Paints one chart, and remembers what spares work: the gutter, the cells, the lines drawn last.

    `drawn` is the range of x as drawn (positions on the axis), `y_ends` that of y, `y_full` what y would show unzoomed.
    """

    def __init__(self) -> None:
        self._gutter = GUTTER
        self._plot = Plot()
        self._lines: list[Strip] = []
        self._extremes: Ends | None = None
        self._made: tuple[Frame, View, list[Reduced], Canvas] | None = None
        self._made_for: object = None
        self._drawn: object = None
        self.plot = (0, 1)
        self.drawn: Ends | None = None
        self.y_ends: Ends | None = None
        self.y_full: Ends | None = None

    def paint(self, chart: LineChart, known: bool) -> tuple[list[Strip], list[Region]]:
        """All lines of the chart, each exactly as wide as the chart, and the regions that changed since the last call.

        `known` says that the last lines were drawn with this size and style.
        """
        width, height = chart.size
        if width <= 0 or height <= 0:
            return [], []
        inks = Inks.on(chart)
        before = self._lines
        lines, spans = self._paint(chart, inks, width, height)
        blank = strip_of([(" " * width, inks.base)], inks, width)
        self._lines = (lines + [blank] * (height - len(lines)))[:height]
        if not known or len(before) != height:
            return self._lines, [Region(0, 0, width, height)]
        pairs = enumerate(zip(before, self._lines, strict=True))
        return self._lines, [
            spans.get(y) or Region(0, y, width, 1) for y, (old, new) in pairs if old is not new and old != new
        ]

    def _paint(self, chart: LineChart, inks: Inks, width: int, height: int) -> tuple[list[Strip], dict[int, Region]]:
        """The lines, and of those that changed within the plot alone, the part that did."""
        below = len(chart._curves) > 1 and height >= 10 and not title_fits(chart, inks)
        names = legend(chart, inks, max(1, height // 6)) if below else []
        top = 1 + len(names)
        self.drawn = None
        shown = chart.shown_window()
        if shown is None or height <= top:
            self._made = self._made_for = self.y_ends = None
        else:
            self._make(chart, shown, inks, width, height - top)
        head = strip_of(title(chart, inks, states(chart, inks, self._clipped(chart)), below), inks, width)
        if self.y_ends is None or self._made is None:
            return [head, *names, *message(_why_nothing(chart), inks, width, height - top)], {}
        frame, view, reduced, canvas = self._made
        self.plot, self.drawn = (frame.gutter, frame.cols), (view.x0, view.x1)
        ticks = y_ticks(*self.y_ends, frame.rows, view.y_log)
        spans = self._plot.draw(chart, inks, Plane(frame, view, self.y_ends), ticks, canvas.copy(), reduced)
        regions = {
            top + row: Region(frame.gutter + first, top + row, last - first + 1, 1)
            for row, (first, last) in spans.items()
        }
        return [head, *names, *self._plot.lines, *x_axis(chart.x_label, inks, frame, view)], regions

    def _make(self, chart: LineChart, shown: Ends, inks: Inks, width: int, height: int) -> None:
        """The curves as cells, made anew only where something else than crosshair or focus has changed."""
        ways = (chart.x_window, chart.follow, chart.x_log, chart.y_window, chart.y_log, chart.clip, chart.smoothing)
        key = (chart.version, shown, width, height, *ways, inks.glyphs.name, inks.mode)
        if key == self._made_for:
            return
        frame, view, reduced = self._measure(chart, shown, inks, width, height)
        before, self._made, self._made_for = self._made, None, key
        drawn, self._drawn = self._drawn, (frame, view, self.y_ends, inks.glyphs.name)
        if before is not None and drawn == self._drawn and look_alike(before[2], reduced):
            self._made = frame, view, reduced, before[3]
        elif self.y_ends is not None:
            cells = compose(reduced, view, self.y_ends, (frame.rows, frame.cols), inks.glyphs)
            self._made = frame, view, reduced, cells

    def _measure(
        self, chart: LineChart, shown: Ends, inks: Inks, width: int, height: int
    ) -> tuple[Frame, View, list[Reduced]]:
        """The frame whose gutter holds the labels of the y range that is visible in it (found in two rounds).

        The last gutter is only where to begin: what the labels need decides, so that labels a little shorter or longer than
        usual move nothing, and the picture is the same whatever was drawn before.
        """
        for _ in range(2):
            gutter = self._gutter
            frame = frame_of(width, height, gutter)
            view = steady_view(chart, shown, frame.cols, chart.y_log)
            columns = frame.cols * inks.glyphs.across
            reduced = reduce_all(chart._curves, view, chart.smoothing, columns, inks.mode == "none")
            self._range(chart, view, reduced)
            ticks = y_ticks(*self.y_ends, frame.rows, view.y_log) if self.y_ends else ()
            need = 1 + max((len(tick.label) for tick in ticks), default=0)
            self._gutter = GUTTER if need <= GUTTER <= need + 2 else need
            if self._gutter == gutter:
                break
        return frame, view, reduced

    def _range(self, chart: LineChart, view: View, reduced: list[Reduced]) -> None:
        """The range of y: what the person zoomed to, or what the curves need, with or without outliers."""
        self._extremes = y_extremes(reduced)
        self.y_ends = self.y_full = padded_range(*self._extremes) if self._extremes else None
        if self._extremes is None:
            return
        if chart.y_window is not None and (chart.y_window[0] > 0 or not view.y_log):
            lo, hi = chart.y_window
            self.y_ends = (float(np.log10(lo)), float(np.log10(hi))) if view.y_log else (lo, hi)
        elif chart.clip:
            self.y_ends = clipped_range(chart._curves, view) or self.y_full

    def _clipped(self, chart: LineChart) -> tuple[float | None, float | None]:
        """The values farthest above and below what is drawn."""
        if self._extremes is None or self.y_ends is None:
            return None, None
        low, high = ((10.0**end if chart.y_log else end) for end in self._extremes)
        return (
            high if self._extremes[1] > self.y_ends[1] else None,
            low if self._extremes[0] < self.y_ends[0] else None,
        )


def _why_nothing(chart: LineChart) -> str:
    if any(np.isfinite(curve.series.y).any() for curve in chart._curves):
        return "nothing above zero here" if chart.y_log else "no points in this window"
    return chart._empty
