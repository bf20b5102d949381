"""Heatmap over time: a vector that is logged at every step, its entries as rows, on the same x axis as the line charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual.binding import BindingType
from textual.events import Click
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip

from mythos_tui.actions import bindings
from mythos_tui.widgets.curve import goes_on
from mythos_tui.widgets.raster import View, column_starts
from mythos_tui.widgets.spans import Floats, Sums
from mythos_tui.widgets.text import visible
from mythos_tui.widgets.timemap_paint import MapPainter
from mythos_tui.widgets.xview import Window, XView


class TimeHeatmap(XView):
    """Values (n, rows) over x (n,) as coloured cells; what falls into one column is shown by its mean, NaN not counted.

    `share` shows each column as per cent of its sum. The title tells the value at crosshair and row cursor (up, down).
    More rows than lines are taken together by their mean. For x see `XView`.
    """

    DEFAULT_CSS = """
    TimeHeatmap { height: 1fr; min-height: 3; }
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("map")

    row: reactive[int | None] = reactive[int | None](None, repaint=False)

    def __init__(
        self,
        title: str = "",
        unit: str = "",
        *,
        row_name: str = "row",
        x_label: str = "",
        x_log: bool = False,
        vmin: float | None = None,
        vmax: float | None = None,
        share: bool = False,
        empty: str = "no points yet",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._title, self._unit, self._row_name, self._empty = map(visible, (title, unit, row_name, empty))
        self._x_label, self._scale, self._share = visible(x_label), (vmin, vmax), share
        self._x, self._values = np.zeros(0), np.zeros((0, 0), np.float32)
        self._given: tuple[NDArray[Any], NDArray[Any]] = (self._x, self._values)
        self._labels: list[str] = []
        self._sums = Sums(0)
        self._painter = MapPainter()
        self.set_reactive(TimeHeatmap.x_log, x_log)

    # Data

    @property
    def x_label(self) -> str:
        """Name of the x axis, with its unit."""
        return self._x_label

    @x_label.setter
    def x_label(self, label: str) -> None:
        self._x_label = visible(label)
        self.redraw()

    def set_data(self, x: Floats, values: NDArray[Any], labels: Sequence[str] | None = None) -> None:
        """Show `values` (n, rows) over `x` (n,) under `labels` (their index by default).

        Where they go on from what is shown, as views of growing buffers do, only what is new is worked on.
        """
        if values.ndim != 2 or x.shape != values.shape[:1]:
            raise ValueError(f"a map over time wants x (n,) and values (n, rows), got {x.shape} and {values.shape}")
        names = list(map(str, range(values.shape[1]))) if labels is None else list(labels)
        if len(names) != values.shape[1]:
            raise ValueError(f"{len(names)} labels for {values.shape[1]} rows")
        old_x, old = self._given
        new_rows = old.shape[1] != values.shape[1]
        if new_rows or not (goes_on(old_x, x) and goes_on(old, values)) or self._x is not old_x:
            self._sums = Sums(values.shape[1])
        self._given = (x, values)
        self._x, self._values = _in_order(x, values)
        if self._x is not x:
            self._sums = Sums(values.shape[1])
        self._labels = [visible(name) for name in names]
        if self.row is not None:
            self.row = min(self.row, len(names) - 1)
        self.keep_up()
        self.redraw()

    @property
    def labels(self) -> list[str]:
        """Names of the rows."""
        return list(self._labels)

    def extent(self) -> Window | None:
        first = int(np.searchsorted(self._x, 0.0, "right")) if self.x_log else 0
        return (float(self._x[first]), float(self._x[-1])) if self._x.size > first else None

    def columns(self, view: View, count: int) -> Floats:
        """Mean of every row in each of so many columns, (rows, count); columns between two samples show the one before."""
        lo, hi = (10.0**view.x0 * (1 - 1e-12), 10.0**view.x1 * (1 + 1e-12)) if view.x_log else (view.x0, view.x1)
        span = int(np.searchsorted(self._x, lo, "left")), int(np.searchsorted(self._x, hi, "right"))
        starts = column_starts(self._x, span, view, 2 * count)[::2]
        means = self._sums.means(self._values, starts)
        filled = np.flatnonzero(np.diff(starts) > 0)
        if filled.size:
            source = filled[np.maximum(0, np.searchsorted(filled, np.arange(filled[-1] + 1), "right") - 1)]
            means[filled[0] : filled[-1] + 1] = means[source[filled[0] :]]
        if self._share:
            with np.errstate(invalid="ignore", divide="ignore"):
                means = 100.0 * means / np.nansum(means, axis=1, keepdims=True)
        return means.T

    def value_at(self, x: float | None, row: int) -> float:
        """The value of a row nearest to x, or its newest."""
        if not self._x.size:
            return float("nan")
        index = self._x.size - 1
        if x is not None:
            index = min(int(np.searchsorted(self._x, x)), index)
            index -= bool(index and abs(self._x[index - 1] - x) <= abs(self._x[index] - x))
        value = float(self._values[index, row])
        return 100.0 * value / float(np.nansum(self._values[index])) if self._share else value

    # Drawing

    def paint(self, known: bool) -> tuple[list[Strip], list[Region]]:
        return self._painter.paint(self, known)

    def plot_columns(self) -> tuple[int, int]:
        return self._painter.plot

    def drawn_window(self) -> Window | None:
        return self._painter.drawn

    def watch_row(self) -> None:
        self.redraw()

    def action_row(self, direction: int) -> None:
        """Move the row cursor; the first press puts it on the first row."""
        if self._labels:
            self.row = 0 if self.row is None else min(len(self._labels) - 1, max(0, self.row + direction))

    def action_reset_view(self) -> None:
        self.row = None
        super().action_reset_view()

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is not None and (row := self._painter.row_under(at.y)) is not None and self._x_under(at.x) is not None:
            self.row = row
        super().on_click(event)


def _in_order(x: Floats, values: NDArray[Any]) -> tuple[Floats, NDArray[Any]]:
    """Sorted by x where it is not yet; samples without x go."""
    if x.size and not (np.isfinite(x[[0, -1]]).all() and np.all(x[1:] >= x[:-1])):
        known = np.flatnonzero(np.isfinite(x))
        order = known[np.argsort(x[known], kind="stable")]
        return x[order], values[order]
    return x, values
