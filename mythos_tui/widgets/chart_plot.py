"""The plot of a chart: its cells with grid, crosshair and marks, as runs of one style each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from mythos_tui.widgets.axis import Tick
from mythos_tui.widgets.chart_frame import Frame, Inks, letter
from mythos_tui.widgets.chart_layers import Canvas, Reduced, beyond, holes
from mythos_tui.widgets.curve import Curve
from mythos_tui.widgets.raster import View, cell_at

if TYPE_CHECKING:
    from mythos_tui.widgets.chart import LineChart

NOTHING, GRID, CROSS, HOLE, CLIPPED = -1, -2, -3, -4, -5
LETTERS_APART = 14
Ends = tuple[float, float]
Cells = NDArray[np.int64]


class Plane(NamedTuple):
    """Where the plot lies: its frame, the view of x, the ends of y on its axis."""

    frame: Frame
    view: View
    y: Ends

    def column(self, x: float) -> int | None:
        """The column of cells at x, None outside."""
        return cell_at(x, self.view, self.frame.cols)

    def row(self, y: float) -> int | None:
        """The row of cells at y, None outside."""
        if self.view.y_log and y <= 0:
            return None
        share = (self.y[1] - (float(np.log10(y)) if self.view.y_log else y)) / (self.y[1] - self.y[0])
        if not -1e-9 <= share <= 1 + 1e-9:
            return None
        return min(self.frame.rows - 1, max(0, round(share * (4 * self.frame.rows - 1)) // 4))


class Plot:
    """Lines of a plot, with the cells that they were made of; a line whose cells are as before stays the same object."""

    def __init__(self) -> None:
        self.codes: Cells = np.zeros((0, 0), np.int64)
        self.ids: Cells = np.zeros((0, 0), np.int64)
        self.lines: list[Strip] = []
        self._key: object = None

    def draw(
        self,
        chart: LineChart,
        inks: Inks,
        plane: Plane,
        ticks: tuple[Tick, ...],
        canvas: Canvas,
        reduced: list[Reduced],
    ) -> dict[int, tuple[int, int]]:
        """Draw; returns of each row that differs from the last drawing only in its cells the first and last that do."""
        frame, labels = plane.frame, {tick.cell: tick.label for tick in ticks}
        codes, ids = canvas.codes, canvas.layers
        _furnish(chart, inks, plane, ticks, canvas, reduced)
        styles = _styles(chart, inks)
        key = (frame, labels, styles, inks.glyphs.name)
        differs = np.ones(frame.rows, np.bool_)
        spans: dict[int, tuple[int, int]] = {}
        if key == self._key:
            cells = (codes != self.codes) | (ids != self.ids)
            differs = cells.any(axis=1)
            spans = {row: _ends(cells[row]) for row in np.flatnonzero(differs).tolist()}
        self.lines = [
            _line(labels.get(row), codes[row], ids[row], styles, frame, inks) if differs[row] else self.lines[row]
            for row in range(frame.rows)
        ]
        self._key, self.codes, self.ids = key, codes, ids
        return spans


def _ends(cells: NDArray[np.bool_]) -> tuple[int, int]:
    found = np.flatnonzero(cells)
    return int(found[0]), int(found[-1])


def _line(label: str | None, codes: Cells, ids: Cells, styles: dict[int, Style], frame: Frame, inks: Inks) -> Strip:
    gutter = [Segment(_y_label(label, frame.gutter, inks), inks.muted())] if frame.gutter else []
    return Strip(gutter + _runs(codes, ids, styles), frame.width)


def _y_label(label: str | None, gutter: int, inks: Inks) -> str:
    if label is None:
        return " " * (gutter - 1) + inks.glyphs.y_axis
    return f"{label:>{gutter - 1}}{inks.glyphs.y_tick}"


def _runs(codes: Cells, ids: Cells, styles: dict[int, Style]) -> list[Segment]:
    """One line of cells as segments, one for each run of cells with the same style."""
    text = "".join(map(chr, codes.tolist()))
    cuts = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(text)]
    return [Segment(text[a:b], styles[int(ids[a])]) for a, b in itertools.pairwise(cuts) if b > a]


def _styles(chart: LineChart, inks: Inks) -> dict[int, Style]:
    """Style of each layer of a canvas, and of grid, crosshair, marks and nothing."""
    count = len(chart._curves)
    styles = {NOTHING: inks.base, GRID: inks.muted(0.16), CROSS: inks.muted(0.75)}
    styles |= {HOLE: inks.muted(0.75), CLIPPED: inks.base + Style(bold=True)}
    for index, curve in enumerate(chart._curves):
        styles[index] = inks.of(curve)
        styles[count + index] = inks.raw(curve)
    return styles


def _furnish(
    chart: LineChart, inks: Inks, plane: Plane, ticks: tuple[Tick, ...], canvas: Canvas, reduced: list[Reduced]
) -> None:
    """Grid and crosshair in the cells that are empty, marks of gaps below, of outliers at the ends, best values on top."""
    codes, ids = canvas.codes, canvas.layers
    _fill(codes, ids, holes(reduced, chart._curves, plane.frame.cols), -1, inks.glyphs.hole, HOLE)
    if chart.crosshair is not None and (column := plane.column(chart.crosshair)) is not None:
        bare = ids[:, column] < 0
        codes[:, column][bare], ids[:, column][bare] = ord(inks.glyphs.cross), CROSS
    for tick in ticks:
        _fill(codes, ids, np.True_, tick.cell, inks.glyphs.grid, GRID)
    codes[ids == NOTHING] = ord(" ")
    if inks.mode == "none" and len(chart._curves) > 1:
        _put_letters(canvas, len(chart._curves))
    above, below = beyond(reduced, plane.y, plane.frame.cols)
    for columns, row, sign in ((above, 0, inks.glyphs.above), (below, -1, inks.glyphs.below)):
        codes[row][columns], ids[row][columns] = ord(sign), CLIPPED
    for index, curve in enumerate(chart._curves):
        _put_best(chart, plane, inks, canvas, index, curve)


def _fill(codes: Cells, ids: Cells, where: NDArray[np.bool_] | np.bool_, row: int, sign: str, layer: int) -> None:
    bare = (ids[row] == NOTHING) & where
    codes[row][bare], ids[row][bare] = ord(sign), layer


def _put_letters(canvas: Canvas, count: int) -> None:
    """Where colours cannot tell curves apart, every few columns the letter that the legend has for it."""
    for index, rows in canvas.rows_of.items():
        start = (2 + index * LETTERS_APART // count) % LETTERS_APART
        for first in range(start, rows.size, LETTERS_APART):
            drawn = np.flatnonzero(rows[first : first + LETTERS_APART // 2] >= 0)
            if drawn.size:
                column = first + int(drawn[0])
                canvas.codes[rows[column], column] = ord(letter(index))
                canvas.layers[rows[column], column] = index


def _put_best(chart: LineChart, plane: Plane, inks: Inks, canvas: Canvas, index: int, curve: Curve) -> None:
    weight = chart.smoothing if curve.series.kind == "line" else 0.0
    best = curve.best(weight)
    if best is None:
        return
    column, row = plane.column(float(curve.x[best])), plane.row(float(curve.values(weight)[best]))
    if column is not None and row is not None:
        canvas.codes[row, column], canvas.layers[row, column] = ord(inks.glyphs.best), index
