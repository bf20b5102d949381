"""Line chart for live training curves: a raster of dots, one strip per line, of which only what changed is drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from textual.binding import BindingType
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip

from mythos_tui.actions import bindings
from mythos_tui.widgets.chart_paint import Painter
from mythos_tui.widgets.curve import Curve, Series
from mythos_tui.widgets.xview import Window, XView

__all__ = ["LineChart", "Series"]

SMOOTHING = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)


class LineChart(XView):
    """Curves over a common x axis, with axis ticks, legend, smoothing, zoom and a crosshair.

    `smoothing` is the weight of the moving average (0 shows the samples alone), `y_log` makes y logarithmic, `clip` leaves
    out outliers and says so, `y_window` is the shown range of y (None: what the curves need). For x see `XView`.
    """

    DEFAULT_CSS = """
    LineChart { height: 1fr; min-height: 3; }
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("chart")

    smoothing: reactive[float] = reactive(0.0, repaint=False)
    y_log: reactive[bool] = reactive(False, repaint=False)
    clip: reactive[bool] = reactive(False, repaint=False)
    y_window: reactive[Window | None] = reactive[Window | None](None, repaint=False)

    def __init__(
        self,
        title: str = "",
        unit: str = "",
        *,
        y_log: bool = False,
        smoothing: float = 0.0,
        x_label: str = "",
        x_log: bool = False,
        empty: str = "no points yet",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._title, self._unit, self._x_label, self._empty = title, unit, x_label, empty
        self._curves: list[Curve] = []
        self._painter = Painter()
        self.version = 0
        self.set_reactive(LineChart.y_log, y_log)
        self.set_reactive(LineChart.x_log, x_log)
        self.set_reactive(LineChart.smoothing, smoothing)

    # Data

    @property
    def x_label(self) -> str:
        """Name of the x axis, with its unit."""
        return self._x_label

    @x_label.setter
    def x_label(self, label: str) -> None:
        self._x_label = label
        self.redraw()

    @property
    def series(self) -> list[Series]:
        """The series shown, in drawing order."""
        return [curve.series for curve in self._curves]

    def set_title(self, title: str, unit: str = "") -> None:
        """Name what the y axis shows, and its unit."""
        self._title, self._unit = title, unit
        self.redraw()

    def set_series(self, series: Sequence[Series]) -> None:
        """Show these series. One that goes on from what is shown under its name costs only what is new."""
        known = {curve.series.name: curve for curve in reversed(self._curves)}
        self._curves = []
        for one in series:
            curve = known.pop(one.name, None)
            if curve is None:
                curve = Curve(one)
            elif curve.series is not one:
                curve.take(one)
            self._curves.append(curve)
        self.version += 1
        self.keep_up()
        self.redraw()

    def extent(self) -> Window | None:
        ends = [curve.extent(self.x_log) for curve in self._curves]
        known = [end for end in ends if end is not None]
        return (min(lo for lo, _ in known), max(hi for _, hi in known)) if known else None

    def values_at(self, x: float) -> list[float]:
        """The sample nearest to `x` of each series, NaN where a series has none."""
        return [curve.at(x) for curve in self._curves]

    # Drawing

    def paint(self, known: bool) -> tuple[list[Strip], list[Region]]:
        return self._painter.paint(self, known)

    def plot_columns(self) -> tuple[int, int]:
        return self._painter.plot

    def drawn_window(self) -> Window | None:
        return self._painter.drawn

    def watch_smoothing(self) -> None:
        self.redraw()

    def watch_y_log(self) -> None:
        self.redraw()

    def watch_clip(self) -> None:
        self.redraw()

    def watch_y_window(self) -> None:
        self.redraw()

    def validate_smoothing(self, smoothing: float) -> float:
        return min(0.99, max(0.0, smoothing))

    # What a person does with y

    def action_toggle_log(self) -> None:
        """Switch the y axis between linear and logarithmic."""
        self.y_log = not self.y_log

    def action_toggle_clip(self) -> None:
        """Leave outliers out of the range of y, or show all."""
        self.clip = not self.clip

    def action_smoother(self, direction: Literal[-1, 1]) -> None:
        """Take the next stronger or weaker smoothing."""
        if direction > 0:
            self.smoothing = next((weight for weight in SMOOTHING if weight > self.smoothing), SMOOTHING[-1])
        else:
            self.smoothing = next((weight for weight in reversed(SMOOTHING) if weight < self.smoothing), 0.0)

    def action_reset_view(self) -> None:
        self.y_window = None
        super().action_reset_view()

    def action_zoom_y(self, factor: float) -> None:
        """Make the range of y `factor` times as high, about the first curve's value at the crosshair or the middle."""
        ends = self._painter.y_ends
        if ends is None:
            return
        lo, hi = ends
        anchor = (lo + hi) / 2
        if self.crosshair is not None and self._curves:
            value = self._curves[0].at(self.crosshair)
            at = (np.log10(value) if value > 0 else np.nan) if self.y_log else value
            anchor = float(at) if lo <= at <= hi else anchor
        self._show_y(anchor - (anchor - lo) * factor, anchor + (hi - anchor) * factor)

    def action_pan_y(self, share: float) -> None:
        """Move a zoomed range of y by a share of its height."""
        ends = self._painter.y_ends
        if ends is not None and self.y_window is not None:
            shift = share * (ends[1] - ends[0])
            self._show_y(ends[0] + shift, ends[1] + shift)

    def _show_y(self, lo: float, hi: float) -> None:
        """Show lo..hi (positions on the axis); all of it where that is more than there is."""
        full = self._painter.y_full
        if full is not None and lo <= full[0] and hi >= full[1]:
            self.y_window = None
        elif hi - lo > 1e-9 * max(abs(lo), abs(hi)):
            self.y_window = (10.0**lo, 10.0**hi) if self.y_log else (lo, hi)
