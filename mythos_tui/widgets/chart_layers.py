"""What a chart draws, apart from how: its curves as layers of one grid of cells, and the range of y that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mythos_tui.widgets.axis import padded_range
from mythos_tui.widgets.curve import Curve
from mythos_tui.widgets.glyphs import GlyphSet
from mythos_tui.widgets.raster import Columns, View, scatter, trace
from mythos_tui.widgets.spans import Floats, Grid

CLIPPED = (0.01, 0.99)
"""Quantiles of what is shown between which y lies when outliers are clipped."""
_DASHES = ((1,), (1, 1, 0), (1, 0), (1, 1, 1, 0, 1, 0))
_DASH = 3


class Reduced(NamedTuple):
    """One curve ready to be traced: columns for a line, samples for points.

    `curve` is its index, `raw` marks the samples that lie behind a smoothed line, `dash` the pattern of the line.
    """

    curve: int
    raw: bool
    columns: Columns | None
    points: tuple[Floats, Floats] | None
    dash: int = 0


class Canvas(NamedTuple):
    """Code points (rows, cols), 0 where nothing is drawn, and per cell the layer that colours it (-1: none).

    Layer i is curve i, layer n+i its samples behind the smoothed line. `rows_of[i]` (cols,) is the row in which curve i
    was drawn, -1 where it was not.
    """

    codes: NDArray[np.int64]
    layers: NDArray[np.int64]
    rows_of: dict[int, NDArray[np.int64]]

    def copy(self) -> Canvas:
        """Cells of its own, to put marks into."""
        return Canvas(self.codes.copy(), self.layers.copy(), self.rows_of)


def reduce_all(curves: Sequence[Curve], view: View, smoothing: float, columns: int, dashed: bool) -> list[Reduced]:
    """Every curve reduced to dot columns; with smoothing a line comes twice, its samples first.

    `dashed` gives each curve a pattern of its own, for screens without colour.
    """
    reduced = []
    for index, curve in enumerate(curves):
        if curve.series.kind == "points":
            reduced.append(Reduced(index, False, None, curve.points(view)))
            continue
        if smoothing > 0:
            reduced.append(Reduced(index, True, curve.columns(view, columns), None))
        dash = curve.series.dash or (index if dashed else 0)
        reduced.append(Reduced(index, False, curve.columns(view, columns, smoothing), None, dash % len(_DASHES)))
    return sorted(reduced, key=lambda one: not one.raw)


def look_alike(old: Sequence[Reduced], new: Sequence[Reduced]) -> bool:
    """Whether both are surely the same dots: a new sample within the range of its column changes none of them."""
    return len(old) == len(new) and all(
        one.columns is not None
        and other.columns is not None
        and (one.curve, one.raw, one.dash) == (other.curve, other.raw, other.dash)
        and one.columns.traced() == other.columns.traced()
        for one, other in zip(old, new, strict=True)
    )


def y_extremes(reduced: Sequence[Reduced]) -> tuple[float, float] | None:
    """Least and greatest of all that is shown, None when nothing finite is."""
    parts = [part for one in reduced if one.columns for part in (one.columns.lo, one.columns.hi)]
    parts += [one.points[1] for one in reduced if one.points]
    return _ends(np.concatenate(parts) if parts else np.zeros(0))


def _ends(values: Floats) -> tuple[float, float] | None:
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def clipped_range(curves: Sequence[Curve], view: View) -> tuple[float, float] | None:
    """The range that leaves out the outliers of each curve, padded."""
    ends: list[float] = []
    for curve in curves:
        values = curve.sampled(view)
        values = values[np.isfinite(values)]
        if values.size:
            ends += np.quantile(values, CLIPPED).tolist()
    return padded_range(min(ends), max(ends)) if ends else None


def compose(
    reduced: Sequence[Reduced], view: View, y_ends: tuple[float, float], shape: tuple[int, int], glyphs: GlyphSet
) -> Canvas:
    """Trace all curves into one grid of cells (rows, cols); a smoothed line takes its cells from the samples behind it."""
    patterns, layers = np.zeros(shape, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    raw, rows_of = np.zeros(shape, dtype=np.bool_), {}
    count = 1 + max((one.curve for one in reduced), default=0)
    for one in reduced:
        packed = glyphs.pack(_dots(one, view, y_ends, shape[0] * glyphs.down, shape[1] * glyphs.across))
        hit = packed > 0
        over = hit & raw & (not one.raw)
        patterns = np.where(over, packed, patterns | packed)
        raw = np.where(hit, one.raw, raw)
        layers = np.where(hit, one.curve + (count if one.raw else 0), layers)
        if not one.raw:
            rows_of[one.curve] = np.where(hit.any(axis=0), hit.argmax(axis=0), -1)
    return Canvas(np.where(patterns > 0, glyphs.table[patterns], 0), layers, rows_of)


def _dots(one: Reduced, view: View, y_ends: tuple[float, float], rows: int, columns: int) -> Grid:
    if one.columns is not None:
        dots = trace(one.columns, *y_ends, rows)
        if one.dash:
            pattern = np.array(_DASHES[one.dash], dtype=np.bool_)
            dots &= pattern[np.arange(columns) // _DASH % pattern.size]
        return dots
    x, y = one.points if one.points is not None else (np.zeros(0), np.zeros(0))
    return scatter(x, y, (view.x0, view.x1, *y_ends), rows, columns)


def beyond(reduced: Sequence[Reduced], y_ends: tuple[float, float], cols: int) -> tuple[Grid, Grid]:
    """The columns of cells in which something lies above, and below, the range that is drawn; (cols,) each."""
    above, below = np.zeros(cols, np.bool_), np.zeros(cols, np.bool_)
    for one in reduced:
        if one.columns is None:
            continue
        with np.errstate(invalid="ignore"):
            above |= (one.columns.hi > y_ends[1]).reshape(cols, -1).any(axis=1)
            below |= (one.columns.lo < y_ends[0]).reshape(cols, -1).any(axis=1)
    return above, below


def holes(reduced: Sequence[Reduced], curves: Sequence[Curve], cols: int) -> Grid:
    """The columns of cells in which a curve has samples without a value; not of curves that mostly have none."""
    found = np.zeros(cols, np.bool_)
    for one in reduced:
        if one.columns is not None and not curves[one.curve].sparse:
            found |= one.columns.holes.reshape(cols, -1).any(axis=1)
    return found
