"""The text around a plot: title line with readings and state, legend, tick labels. Texts with styles, no dots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip

from mythos_tui.widgets.axis import compact, x_ticks
from mythos_tui.widgets.curve import Curve
from mythos_tui.widgets.glyphs import GlyphSet, glyphs_of
from mythos_tui.widgets.palette import ColourMode, colour_mode, faint, line_colour, raw_style, theme_ground
from mythos_tui.widgets.raster import View
from mythos_tui.widgets.text import crop, visible

if TYPE_CHECKING:
    from mythos_tui.widgets.chart import LineChart
    from mythos_tui.widgets.xview import XView


class Frame(NamedTuple):
    """Rows and columns of the parts: `gutter` columns of y labels with the axis, `rows`×`cols` cells of plot."""

    width: int
    gutter: int
    rows: int
    cols: int
    axis_line: bool
    x_labels: bool


class Inks(NamedTuple):
    """What a chart is drawn with: its own style, its characters, what the terminal's colours can tell."""

    base: Style
    glyphs: GlyphSet
    mode: ColourMode
    ground: Color | None

    @classmethod
    def on(cls, chart: XView) -> Inks:
        """What this chart is drawn with."""
        app = chart.app
        return cls(chart.visual_style.rich_style, glyphs_of(app), colour_mode(app), theme_ground(app))

    def muted(self, share: float = 0.6) -> Style:
        return faint(self.base, None, share)

    def of(self, curve: Curve) -> Style:
        """A curve's colour."""
        return self.base + Style(color=self._colour(curve).rich_color)

    def raw(self, curve: Curve) -> Style:
        """The colour of a curve's samples behind its smoothed line."""
        return raw_style(self._colour(curve), self.base, self.mode)

    def _colour(self, curve: Curve) -> Color:
        return line_colour(Color.parse(curve.series.colour), self.ground, self.mode)


Piece = tuple[str, Style]


def frame_of(width: int, height: int, gutter: int) -> Frame:
    """The parts of a plot of this size."""
    gutter = gutter if width - gutter >= max(6, width // 3) else 0
    x_labels, axis_line = height >= 3, height >= 8
    return Frame(width, gutter, height - x_labels - axis_line, max(1, width - gutter), axis_line, x_labels)


def strip_of(pieces: Sequence[Piece], inks: Inks, width: int) -> Strip:
    """Texts and styles as one line of exactly this width."""
    return Strip([Segment(text, style) for text, style in pieces if text]).adjust_cell_length(width, inks.base)


def length(pieces: Sequence[Piece]) -> int:
    return sum(cell_len(text) for text, _ in pieces)


def message(text: str, inks: Inks, width: int, height: int) -> list[Strip]:
    """A sentence in the middle of an empty plot."""
    text = crop(visible(text), width)
    blank = strip_of([(" " * width, inks.base)], inks, width)
    line = strip_of([(" " * ((width - cell_len(text)) // 2), inks.base), (text, inks.muted(0.55))], inks, width)
    return [line if row == (height - 1) // 2 else blank for row in range(height)]


def title(chart: LineChart, inks: Inks, states: Sequence[str], legend_below: bool) -> list[Piece]:
    """Title, unit and latest values at the left, at the right the first of `states` for which there is room.

    The last of them is made room for. With `legend_below` the curves are named in lines of their own.
    """
    needed = cell_len(states[-1]) + 2 if states[-1] else 0
    curves = [] if legend_below else chart._curves
    details = [(4, 99), (3, 99), (2, 99), (1, 99), *((0, shown) for shown in range(len(curves), 0, -1))]
    pieces: list[Piece] = []
    for detail, count in details:
        pieces = list(_title_pieces(chart, inks, detail, curves[:count]))
        if length(pieces) + needed <= chart.size.width:
            break
    for state in states:
        room = chart.size.width - length(pieces) - cell_len(state)
        if state and room >= 2:
            return [*pieces, (" " * room, inks.base), (state, inks.muted(0.5))]
    return pieces


def title_fits(chart: LineChart, inks: Inks) -> bool:
    """Whether the title line has room for all curves with their names, those of two in short."""
    detail = 3 if len(chart._curves) > 2 else 2
    return length(list(_title_pieces(chart, inks, detail, chart._curves))) <= chart.size.width


def _title_pieces(chart: LineChart, inks: Inks, detail: int, curves: Sequence[Curve]) -> Iterator[Piece]:
    """Texts and styles; `detail` below 4 leaves out the units, below 3 shortens the names, at 1 it leaves them out, at 0
    the title instead."""
    bold = inks.base + Style(bold=True)
    single = len(chart._curves) == 1
    if chart._title and (detail > 0 or single):
        yield visible(chart._title), bold
    if chart.crosshair is not None:
        label = f"{visible(chart.x_label)} " if chart.x_label and detail > 3 else ""
        yield f"{' ' if detail > 0 or single else ''}@ {label}{compact(chart.crosshair, 4)}", inks.muted()
    if single:
        only = chart._curves[0]
        yield f" {_reading(chart, only, inks)}", inks.of(only) + Style(bold=True)
    if chart._unit and detail > 3:
        yield f" {visible(chart._unit)}", inks.muted()
    if not single:
        for index, curve in enumerate(curves):
            yield from _entry(chart, inks, index, curve, 0 if detail == 1 else 99 if detail > 2 else 6)


def _entry(chart: LineChart, inks: Inks, index: int, curve: Curve, room: int) -> Iterator[Piece]:
    """One curve of a legend: its sign, its name in at most `room` cells, its reading."""
    line = inks.glyphs.line if curve.series.kind == "line" else inks.glyphs.point
    yield f"  {letter(index) if inks.mode == 'none' else line}", inks.of(curve) + Style(bold=True)
    if room:
        yield f" {crop(visible(curve.series.name), room)}", inks.base
    yield f" {_reading(chart, curve, inks)}", inks.base + Style(bold=True)


def letter(index: int) -> str:
    """The sign of a curve on screens without colour."""
    return chr(ord("A") + index % 26)


def legend(chart: LineChart, inks: Inks, most: int) -> list[Strip]:
    """The curves with their readings in at most `most` lines; what does not fit is counted."""
    width, lines = chart.size.width, list[list[Piece]]()
    for index, curve in enumerate(chart._curves):
        entry = list(_entry(chart, inks, index, curve, max(8, width // 3)))
        if not lines or length(lines[-1]) + length(entry) > width:
            if len(lines) == most:
                lines[-1] = _and_more(lines[-1], len(entry), len(chart._curves) - index, inks, width)
                break
            lines.append([])
            entry[0] = (entry[0][0].lstrip(), entry[0][1])
        lines[-1] += entry
    return [strip_of(line, inks, width) for line in lines]


def _and_more(line: list[Piece], per_entry: int, left: int, inks: Inks, width: int) -> list[Piece]:
    """A line of the legend with the number of curves left out: it takes the place of the last entry where it needs to,
    is said in short beside a single one, and shortens that one's name at last."""
    rest = f"  … {left} more"
    if length(line) + cell_len(rest) > width and len(line) > per_entry:
        line, rest = line[:-per_entry], f"  … {left + 1} more"
    if length(line) + cell_len(rest) > width:
        rest = rest.removesuffix(" more")
    over = length(line) + cell_len(rest) - width
    if over > 0:
        sign, (name, style), *others = line
        line = [sign, (crop(name, max(2, cell_len(name) - over)), style), *others]
    return [*line, (rest, inks.muted())]


def _reading(chart: LineChart, curve: Curve, inks: Inks) -> str:
    """Latest value, or the value under the crosshair; where a smoothed line is drawn, its value there too. Then the best."""
    if chart.crosshair is None:
        text = compact(float(curve.series.y[-1]), 4) if curve.series.y.size else "–"
    else:
        text = compact(curve.at(chart.crosshair), 4)
        if chart.smoothing > 0 and curve.series.kind == "line" and curve.y.size:
            text += f" ~{compact(curve.at(chart.crosshair, chart.smoothing), 4)}"
    weight = chart.smoothing if curve.series.kind == "line" else 0.0
    best = curve.best(weight)
    return text if best is None else f"{text} {inks.glyphs.best}{compact(float(curve.values(weight)[best]), 4)}"


def states(chart: LineChart, inks: Inks, clipped: tuple[float | None, float | None]) -> tuple[str, str]:
    """What the view does with its axes, and what of it must be said: outliers that are left out.

    `clipped` is what lies farthest above and below a clipped range.
    """
    needed = ""
    parts = [f"log {axis}" for axis, on in (("x", chart.x_log), ("y", chart.y_log)) if on]
    parts += [f"smooth {chart.smoothing:g}"] if chart.smoothing else []
    if chart.clip and chart.y_window is None:
        high, low = clipped
        ends = [
            f"{sign}{compact(end)}"
            for sign, end in ((inks.glyphs.above, high), (inks.glyphs.below, low))
            if end is not None
        ]
        needed = " ".join(["clip", *ends])
        parts.append(needed)
    parts += ["zoom y"] if chart.y_window else []
    parts += ["follow"] if chart.follow and chart.x_window else ["zoom"] if chart.x_window else []
    return " · ".join(parts), needed


def x_axis(name: str, inks: Inks, frame: Frame, view: View) -> list[Strip]:
    """The axis line with its ticks, where there is room for it, and below it the labels."""
    name, glyphs = visible(name), inks.glyphs
    reserved = cell_len(name) + 2 if name and frame.cols >= cell_len(name) + 24 else 0
    room = frame.cols - reserved
    ticks = [tick for tick in x_ticks(view.x0, view.x1, frame.cols, view.x_log) if tick.start + len(tick.label) <= room]
    lines = []
    if frame.axis_line:
        rule = [glyphs.rule] * frame.cols
        for tick in ticks:
            rule[tick.cell] = glyphs.tick
        corner = " " * (frame.gutter - 1) + glyphs.corner if frame.gutter else ""
        lines.append(strip_of([(corner + "".join(rule), inks.muted())], inks, frame.width))
    if frame.x_labels:
        text = " " * frame.gutter
        for tick in ticks:
            text = text.ljust(frame.gutter + tick.start) + tick.label
        if reserved:
            text = text.ljust(frame.width - cell_len(name)) + name
        lines.append(strip_of([(text, inks.muted())], inks, frame.width))
    return lines
