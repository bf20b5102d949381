"""From a map over time to its lines: two rows of values to a line where colours allow it, and what changed since."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip

from mythos_tui.widgets.axis import compact
from mythos_tui.widgets.chart_frame import Frame, Inks, Piece, frame_of, length, message, strip_of, x_axis
from mythos_tui.widgets.palette import LEVELS, colour_at, contrast, ground_of, level_of
from mythos_tui.widgets.raster import View, cell_at
from mythos_tui.widgets.scale import fill, swatches
from mythos_tui.widgets.spans import Floats
from mythos_tui.widgets.steady import steady_view
from mythos_tui.widgets.text import fit

if TYPE_CHECKING:
    from mythos_tui.widgets.timemap import TimeHeatmap

_UPPER, _CROSS = LEVELS + 1, (LEVELS + 1) ** 2


class MapPainter:
    """Paints one map and remembers the cells drawn last. `drawn` is the range of x as drawn, positions on the axis."""

    def __init__(self) -> None:
        self._cells: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self._key: object = None
        self._looks: tuple[Inks | None, dict[int, Piece]] = (None, {})
        self._lines: list[Strip] = []
        self._first: NDArray[np.int64] = np.zeros(1, np.int64)
        self._halves = 1
        self.plot = (0, 1)
        self.drawn: tuple[float, float] | None = None

    def paint(self, chart: TimeHeatmap, known: bool) -> tuple[list[Strip], list[Region]]:
        """All lines, each exactly as wide as the map, and the regions that changed since the last call."""
        width, height = chart.size
        if width <= 0 or height <= 0:
            return [], []
        inks = Inks.on(chart)
        before, old_cells = self._lines, self._cells
        lines = self._paint(chart, inks, width, height)
        blank = strip_of([(" " * width, inks.base)], inks, width)
        self._lines = (lines + [blank] * (height - len(lines)))[:height]
        if not known or len(before) != height:
            return self._lines, [Region(0, 0, width, height)]
        pairs = enumerate(zip(before, self._lines, strict=True))
        changed = [y for y, (old, new) in pairs if old is not new and old != new]
        return self._lines, [self._region(y, old_cells, width) for y in changed]

    def _region(self, y: int, old: NDArray[np.int64], width: int) -> Region:
        """Of a line of cells, those from the first to the last that changed."""
        row = y - 1
        if old.shape != self._cells.shape or not 0 <= row < len(old):
            return Region(0, y, width, 1)
        cells = np.flatnonzero(old[row] != self._cells[row])
        if not cells.size:
            return Region(0, y, width, 1)
        return Region(self.plot[0] + int(cells[0]), y, int(cells[-1] - cells[0]) + 1, 1)

    def _paint(self, chart: TimeHeatmap, inks: Inks, width: int, height: int) -> list[Strip]:
        gutter = min(max(map(cell_len, chart._labels), default=0), width // 4) + 1
        frame = frame_of(width, height - 1, gutter)
        shown, self.drawn = chart.shown_window(), None
        if shown is None or frame.rows < 1:
            head = strip_of(_title(chart, inks, None, width), inks, width)
            return [head, *message(chart._empty, inks, width, height - 1)]
        view = steady_view(chart, shown, frame.cols)
        self.plot, self.drawn = (frame.gutter, frame.cols), (view.x0, view.x1)
        values = chart.columns(view, frame.cols)
        scale = _scale(chart, values)
        head = strip_of(_title(chart, inks, scale, width), inks, width)
        return [head, *self._plot(chart, inks, frame, view, values, scale), *x_axis(chart.x_label, inks, frame, view)]

    def _plot(
        self,
        chart: TimeHeatmap,
        inks: Inks,
        frame: Frame,
        view: View,
        values: Floats,
        scale: tuple[float, float],
    ) -> list[Strip]:
        """The lines of cells; those that are as before stay the same objects."""
        cells = self._encode(values, scale, frame.rows, inks)
        column = None if chart.crosshair is None else cell_at(chart.crosshair, view, frame.cols)
        if column is not None:
            cells[:, column] += _CROSS
        labels = self._labels(chart, frame.rows)
        key = (frame, labels, inks, chart.row)
        same = (cells == self._cells).all(axis=1) if key == self._key else np.zeros(frame.rows, np.bool_)
        old, looks = self._lines[1:], self._looks_of(cells, inks)
        lines = [
            old[row] if same[row] else _line(cells[row], labels.get(row), frame, inks, looks)
            for row in range(frame.rows)
        ]
        self._cells, self._key = cells, key
        return lines

    def _looks_of(self, cells: NDArray[np.int64], inks: Inks) -> dict[int, Piece]:
        """Character and style of every kind of cell there is, kept from one drawing to the next."""
        if self._looks[0] != inks:
            self._looks = inks, {}
        looks = self._looks[1]
        for cell in np.unique(cells).tolist():
            if cell not in looks:
                looks[cell] = _look(cell, inks)
        return looks

    def _encode(self, values: Floats, scale: tuple[float, float], rows: int, inks: Inks) -> NDArray[np.int64]:
        """One number for each cell: the level of its upper and of its lower half, each plus one."""
        halves = 1 if inks.glyphs.ascii or inks.mode in ("16", "none") else 2
        self._halves, slots = halves, rows * halves
        self._first = np.arange(slots) * len(values) // slots
        shown = values[self._first] if len(values) <= slots else _means(values, self._first)
        levels = level_of(shown, *scale) + 1
        encoded: NDArray[np.int64] = levels[::halves] * _UPPER + levels[halves - 1 :: halves]
        return encoded

    def _labels(self, chart: TimeHeatmap, rows: int) -> dict[int, tuple[str, bool]]:
        """The label of each line that has one, in the middle of its row, and whether it is that of the row cursor."""
        found: dict[int, tuple[str, bool]] = {}
        for first in np.unique(self._first).tolist():
            slots = np.flatnonzero(self._first == first)
            line = int(slots[(slots.size - 1) // 2]) // self._halves
            after = self._first[slots[-1] + 1] if slots[-1] + 1 < self._first.size else len(chart._labels)
            here = chart.row is not None and first <= chart.row < max(after, first + 1)
            if here or line not in found:
                found[line] = (chart._labels[chart.row if here and chart.row is not None else first], here)
        return found

    def row_under(self, y: int) -> int | None:
        """The first row that is drawn in a line of the widget."""
        return int(self._first[(y - 1) * self._halves]) if 0 <= y - 1 < len(self._cells) else None


def _means(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """Means of neighbouring rows from each start to the next, NaN not counted."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.add.reduceat(np.where(known, values, 0.0), starts) / np.add.reduceat(known.astype(float), starts)


def _scale(chart: TimeHeatmap, values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = chart._scale
    low = (0.0 if chart._share else float(finite.min()) if finite.size else 0.0) if low is None else low
    high = (float(finite.max()) if finite.size else 1.0) if high is None else high
    return low, high


def _line(
    cells: NDArray[np.int64], label: tuple[str, bool] | None, frame: Frame, inks: Inks, looks: dict[int, Piece]
) -> Strip:
    text, here = label or ("", False)
    segments = []
    if frame.gutter:
        style = inks.base + Style(bold=True) if here else inks.muted()
        segments.append(Segment(fit(text, frame.gutter - 1, "right") + " ", style))
    cuts = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), cells.size]
    for first, end in itertools.pairwise(cuts):
        char, style = looks[int(cells[first])]
        segments.append(Segment(char * (end - first), style))
    return Strip(segments, frame.width)


def _look(cell: int, inks: Inks) -> Piece:
    """Character and style of a cell."""
    cross, halves = divmod(cell, _CROSS)
    upper, lower = (part - 1 for part in divmod(halves, _UPPER))
    if inks.mode in ("16", "none") or inks.glyphs.ascii:
        char, style = fill(upper, inks.mode, inks.glyphs) if upper >= 0 else (" ", Style())
        return (inks.glyphs.cross, inks.base + style + Style(bold=True)) if cross else (char, inks.base + style)
    top, bottom = (_colour(level, inks) for level in (upper, lower))
    if cross:
        front = contrast(*top.rgb) if upper >= 0 else None
        return inks.glyphs.cross, inks.base + Style(color=front, bgcolor=top.rich_color if upper >= 0 else None)
    if upper == lower:
        return " ", inks.base if upper < 0 else inks.base + Style(bgcolor=top.rich_color)
    return "▀", inks.base + Style(color=top.rich_color, bgcolor=bottom.rich_color)


def _colour(level: int, inks: Inks) -> Color:
    """The colour of a level, the ground where there is nothing."""
    return colour_at(level, inks.mode) if level >= 0 else ground_of(inks.base) or Color(0, 0, 0)


def _title(chart: TimeHeatmap, inks: Inks, scale: tuple[float, float] | None, width: int) -> list[Piece]:
    """Title, unit, what crosshair and row cursor point at, and at the right the scale, each where there is room."""
    bold = inks.base + Style(bold=True)
    pieces: list[Piece] = [(chart._title, bold)]
    if chart.crosshair is not None:
        label = f"{chart.x_label} " if chart.x_label else ""
        pieces.append((f" @ {label}{compact(chart.crosshair, 4)}", inks.muted()))
    if chart.row is not None:
        pieces.append((f"  {chart._row_name} {chart._labels[chart.row]} ", inks.muted()))
        pieces.append((compact(chart.value_at(chart.crosshair, chart.row), 4), bold))
    unit = [(f" {chart._unit}", inks.muted())] if chart._unit else []
    ramp = _ramp(inks, scale)
    for extra, legend in ((unit, ramp), ([], ramp), (unit, []), ([], [])):
        room = width - length([*pieces, *extra, *legend])
        if room >= (2 if legend else 0):
            return [*pieces, *extra, (" " * room, inks.base), *legend]
    return pieces


def _ramp(inks: Inks, scale: tuple[float, float] | None) -> list[Piece]:
    """The scale from its least to its greatest value."""
    if scale is None:
        return []
    steps = [(one.text, one.style or inks.base) for one in swatches(8, inks.base, inks.mode, inks.glyphs)]
    return [(f"{compact(scale[0])} ", inks.muted()), *steps, (f" {compact(scale[1])}", inks.muted())]
