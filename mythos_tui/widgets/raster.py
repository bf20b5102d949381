"""From series to dots, in numpy alone: reduce samples to dot columns, and trace them into a grid of dots.

Shapes: n samples, C dot columns, R dot rows. Row 0 of a grid is its top. How dots become characters is in `glyphs`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mythos_tui.widgets.axis import LARGEST
from mythos_tui.widgets.spans import Floats, Grid, Starts, span_extremes


class View(NamedTuple):
    """What part of the plane is shown and how; with a log axis its ends are exponents (log10)."""

    x0: float
    x1: float
    x_log: bool
    y_log: bool


class Columns(NamedTuple):
    """What each dot column holds, each (C,): least and greatest value, first and last sample; NaN where there is none.

    `filled` tells which columns hold any sample at all, NaN samples included, `holes` those that hold a NaN.
    """

    lo: Floats
    hi: Floats
    first: Floats
    last: Floats
    filled: Grid
    holes: Grid

    def traced(self) -> bytes:
        """All that the dots depend on; not the newest sample of the last column, to which nothing is joined yet."""
        last = self.last.copy()
        last[np.flatnonzero(self.filled)[-1:]] = 0.0
        return b"".join(part.tobytes() for part in (self.lo, self.hi, self.first, last, self.filled))


def on_axis(values: Floats, log: bool) -> Floats:
    """Positions of values on an axis; on a logarithmic one NaN for what is not above zero."""
    if not log:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(np.where(values > 0, values, np.nan))


def cell_at(x: float, view: View, columns: int) -> int | None:
    """The column of cells, of so many, in which x lies; None outside the view."""
    if view.x_log and x <= 0:
        return None
    share = ((float(np.log10(x)) if view.x_log else x) - view.x0) / (view.x1 - view.x0)
    if not -1e-9 <= share <= 1 + 1e-9:
        return None
    return min(columns - 1, max(0, round(share * (2 * columns - 1)) // 2))


def ordered(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """x and y sorted by x where they are not yet (a resumed run writes some steps twice); samples without x go."""
    if x.size and not (np.isfinite(x[[0, -1]]).all() and np.all(x[1:] >= x[:-1])):
        known = np.isfinite(x)
        x, y = x[known], y[known]
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    return x, y


def column_starts(x: Floats, span: tuple[int, int], view: View, columns: int) -> Starts:
    """Index of the first sample of every dot column, (C+1,), for the samples `span` of sorted x."""
    edges = view.x0 + (np.arange(columns + 1) - 0.5) / max(1, columns - 1) * (view.x1 - view.x0)
    return np.clip(np.searchsorted(x, 10.0**edges if view.x_log else edges), *span)


def add_edges(columns: Columns, x: Floats, y: Floats, span: tuple[int, int], view: View) -> Columns:
    """The columns with the points where a line between samples crosses the left and right edge of the view."""
    (first, last), (x0, x1) = span, (view.x0, view.x1)
    for column, at, left, inner in ((0, x0, first - 1, first), (-1, x1, last - 1, last - 1)):
        if not 0 <= left < x.size - 1 or (first < last and on_axis(x[inner : inner + 1], view.x_log)[0] == at):
            continue
        a, b = on_axis(x[left : left + 2], view.x_log)
        low, high = on_axis(y[left : left + 2], view.y_log)
        if not np.isfinite([a, b, low, high]).all():
            continue
        height = low + (high - low) * (at - a) / (b - a)
        columns.lo[column], columns.hi[column] = (
            np.fmin(columns.lo[column], height),
            np.fmax(columns.hi[column], height),
        )
        if column == 0 or not columns.filled[column]:
            columns.first[column] = height
        if column == -1 or not columns.filled[column]:
            columns.last[column] = height
        columns.filled[column] = True
    return columns


def reduce_columns(x: Floats, y: Floats, x0: float, x1: float, columns: int) -> Columns:
    """Minimum and maximum of y per dot column over [x0, x1], so that no spike is lost. x, y: (n,)."""
    x, y = ordered(x, y)
    view = View(x0, x1, False, False)
    span = int(np.searchsorted(x, x0, "left")), int(np.searchsorted(x, x1, "right"))
    starts = column_starts(x, span, view, columns)
    return add_edges(columns_of(y, starts, *span_extremes(y, starts), False), x, y, span, view)


def columns_of(y: Floats, starts: Starts, lo: Floats, hi: Floats, holes: Grid, log: bool) -> Columns:
    """Columns whose extremes are known, with the first and last sample of each, on the axis of y."""
    filled = np.diff(starts) > 0
    first, last = np.full(filled.size, np.nan), np.full(filled.size, np.nan)
    first[filled], last[filled] = y[starts[:-1][filled]], y[starts[1:][filled] - 1]
    lo, hi, first, last = (on_axis(part, log) for part in (lo, hi, first, last))
    return Columns(lo, hi, first, last, filled, holes)


def trace(columns: Columns, y0: float, y1: float, rows: int) -> Grid:
    """Dots (rows, C) of a connected line: each column from its least to its greatest value, joined to its neighbours.

    A NaN sample between two columns is a gap. Infinite values are drawn at the edge; finite ones outside are not.
    """
    lo, hi, first, last = (_infinite_at_the_edge(part, y0, y1) for part in columns[:4])
    left, right = _joints(first, last, columns.filled)
    low, high = np.fmin(lo, right), np.fmax(hi, right)
    with np.errstate(invalid="ignore"):
        drawn = (np.fmax(high, left) >= y0) & (np.fmin(low, left) <= y1)
    down, up, side = (_dot_rows(part, drawn, y0, y1, rows) for part in (low, high, left))
    joined = np.isfinite(left)
    up = np.where(joined & (side > up), side - 1, up)
    down = np.where(joined & (side < down), side + 1, down)
    level = np.arange(rows - 1, -1, -1)[:, None]
    return (level >= down) & (level <= up) & drawn


def _infinite_at_the_edge(values: Floats, y0: float, y1: float) -> Floats:
    """Values with the infinite ones, and those that no axis goes to, at the edge of what is shown."""
    return np.where(np.abs(values) > LARGEST, np.clip(values, y0, y1), values)


def _dot_rows(values: Floats, drawn: Grid, y0: float, y1: float, rows: int) -> Floats:
    """Dot rows, counted from the bottom, of one value per column; what is not drawn goes to row 0."""
    shown = np.where(drawn & np.isfinite(values), np.clip(values, y0, y1), y0)
    return np.rint((shown - y0) * ((rows - 1) / (y1 - y0)))


def _joints(first: Floats, last: Floats, filled: Grid) -> tuple[Floats, Floats]:
    """Height of the joining line at the left and right border of each column, NaN where nothing is joined."""
    count = filled.size
    index = np.arange(count)
    before = np.maximum.accumulate(np.where(filled, index, -1))[:-1]
    after = np.minimum.accumulate(np.where(filled, index, count)[::-1])[::-1][1:]
    known = (before >= 0) & (after < count)
    a, b = np.where(known, before, 0), np.where(known, after, 0)
    share = (index[:-1] + 0.5 - a) / np.maximum(1, b - a)
    with np.errstate(over="ignore"):
        height = np.where(known, last[a] + (first[b] - last[a]) * share, np.nan)
    nothing = np.array([np.nan])
    return np.concatenate([nothing, height]), np.concatenate([height, nothing])


def scatter(x: Floats, y: Floats, view: tuple[float, float, float, float], rows: int, columns: int) -> Grid:
    """One dot per sample: (rows, columns). `view` is x0, x1, y0, y1; samples outside it are left out."""
    x0, x1, y0, y1 = view
    grid = np.zeros((rows, columns), dtype=np.bool_)
    y = _infinite_at_the_edge(y, y0, y1)
    with np.errstate(invalid="ignore"):
        shown = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    column = np.rint((x[shown] - x0) / (x1 - x0) * (columns - 1)).astype(np.int64)
    row = np.rint((y1 - y[shown]) / (y1 - y0) * (rows - 1)).astype(np.int64)
    grid[row, column] = True
    return grid
