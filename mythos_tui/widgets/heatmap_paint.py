"""From a heatmap's state to its lines: column labels, cells as they are scrolled, and the foot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from mythos_tui.widgets.axis import compact
from mythos_tui.widgets.glyphs import GlyphSet, glyphs_of
from mythos_tui.widgets.palette import ColourMode, colour_mode, faint, tint
from mythos_tui.widgets.scale import category_sign, category_tint, fill, swatches
from mythos_tui.widgets.text import crop, fit, visible

if TYPE_CHECKING:
    from mythos_tui.widgets.heatmap import Heatmap


def paint_line(heatmap: Heatmap, y: int) -> Strip:
    """One line of the widget: column labels, a row of cells, or the foot with status and legend."""
    base, (width, height) = heatmap.visual_style.rich_style, heatmap._view
    if not heatmap.values.size:
        text = fit(visible(heatmap._empty) if y == (height - 1) // 2 else "", width, "center")
        strip = Strip([Segment(text, faint(base, None, 0.55))])
    elif y == 0:
        strip = _header(heatmap, base, width)
    elif y >= height - heatmap._footer:
        strip = _foot_line(heatmap, y - (height - heatmap._footer), base, width)
    else:
        strip = _cells_line(heatmap, y - 1 + round(heatmap.scroll_y), base, width)
    return strip.adjust_cell_length(width, base)


def whole(heatmap: Heatmap, width: int) -> list[Strip]:
    """The map with all its rows, beyond what its window shows, as lines of `width`."""
    base = heatmap.visual_style.rich_style
    body = [_cells_line(heatmap, row, base, width) for row in range(len(heatmap._cells))]
    foot = [_foot_line(heatmap, line, base, width) for line in range(heatmap._footer)]
    return [strip.adjust_cell_length(width, base) for strip in (_header(heatmap, base, width), *body, *foot)]


def _header(heatmap: Heatmap, base: Style, width: int) -> Strip:
    """Column labels, as many as fit without touching, the cursor's always among them."""
    muted, strong = faint(base, None, 0.6), base + Style(bold=True)
    across = heatmap.cell_width
    longest = max(map(cell_len, heatmap._col_labels), default=1)
    shown = min(longest, max(across - 1, 4 if across < 4 else across - 1))
    stride = max(1, -(-(shown + 1) // across)) if shown >= across else 1
    parts: list[Segment] = []
    labels = heatmap._col_labels[:: heatmap._bins[1]]
    for col in range(0, len(labels), stride):
        span = min(stride, len(labels) - col) * across
        text = fit(crop(labels[col], min(shown, span)), span, "center" if stride == 1 else "left")
        here = heatmap.has_focus and col <= heatmap._at()[1] < col + stride
        parts.append(Segment(text, strong if here else muted))
    return _scrolled(heatmap, Segment(" " * heatmap._gutter, base), parts, base, width)


def _scrolled(heatmap: Heatmap, label: Segment, cells: list[Segment], base: Style, width: int) -> Strip:
    left = round(heatmap.scroll_x)
    view = Strip(cells).crop_extend(left, left + max(0, width - heatmap._gutter), base)
    return Strip([label, *view])


def _cells_line(heatmap: Heatmap, row: int, base: Style, width: int) -> Strip:
    if row >= heatmap._cells.shape[0]:
        return Strip([Segment(" " * width, base)])
    at = heatmap._at()
    here = heatmap.has_focus and row == at[0]
    style = base + Style(bold=True) if here else faint(base, None, 0.75)
    label = Segment(fit(heatmap._row_labels[row * heatmap._bins[0]], heatmap._gutter - 1, "right") + " ", style)
    mode, glyphs = _mode(heatmap), glyphs_of(heatmap.app)
    first = round(heatmap.scroll_x) // heatmap.cell_width
    last = min(heatmap._cells.shape[1], first + width // heatmap.cell_width + 2)
    skipped = [Segment(" " * (first * heatmap.cell_width), base)] if first else []
    cells = [_cell(heatmap, row, col, here and col == at[1], mode, glyphs, base) for col in range(first, last)]
    return _scrolled(heatmap, label, skipped + cells, base, width)


def _mode(heatmap: Heatmap) -> ColourMode:
    found = colour_mode(heatmap.app)
    if heatmap._glyphs is None:
        return found
    return "none" if heatmap._glyphs else "truecolor" if found == "none" else found


def _cell(
    heatmap: Heatmap, row: int, col: int, cursor: bool, mode: ColourMode, glyphs: GlyphSet, base: Style
) -> Segment:
    level, width, value = int(heatmap._levels[row, col]), heatmap.cell_width, float(heatmap._cells[row, col])
    colour = mode != "none"
    text = heatmap.cell_text(row, col, width - 1)
    if level < 0:
        text, style = fit("·" if colour else "", width, "center"), faint(base, None, 0.3)
    elif heatmap._categories is not None:
        sign = fit(text, width, "center") if text else category_sign(int(value), width)
        text, style = sign, base + category_tint(int(value), mode)
    elif text or (cursor and colour):
        text, style = fit(text, width, "center"), base + tint(level, mode) if colour else base
    else:
        char, tone = fill(level, mode, glyphs)
        text, style = char * width, base + tone
    if not cursor:
        marked = row * heatmap._bins[0] < len(heatmap._marks) and width > cell_len(heatmap._mark)
        if marked and heatmap._marks[row * heatmap._bins[0]] // heatmap._bins[1] == col:
            text = set_cell_size(text, width - cell_len(heatmap._mark)) + heatmap._mark
        return Segment(text, style)
    if colour and level >= 0:
        return Segment(_bracketed(text, width), style + Style(bold=True))
    return Segment(_bracketed(text, width), base + Style(bold=True, reverse=True))


def short_number(value: float, room: int) -> str:
    """The value in two digits, or nothing where that needs more than `room`."""
    text = compact(value, 2)
    short = text.replace("0.", ".", 1) if abs(value) < 1 else text
    return next((one for one in (text, short) if len(one) <= room), "")


# Footer


def _foot_line(heatmap: Heatmap, line: int, base: Style, width: int) -> Strip:
    legend = _legend(heatmap, base)
    room = width - sum(segment.cell_length for segment in legend)
    if heatmap._footer == 2:
        parts = [Segment(_status(heatmap, width), base)] if line == 0 else legend
    elif room >= 24:
        parts = [Segment(fit(_status(heatmap, room - 2), room), base), *legend]
    else:
        parts = [Segment(_status(heatmap, width), base)]
    return Strip(parts)


def _status(heatmap: Heatmap, room: int) -> str:
    """Labels and value of the cursor's cell; where `room` is short the row label gives way, then the names."""
    row, col = heatmap.cursor
    row_name, col_name = map(visible, heatmap._names)
    end = f"{heatmap._col_labels[col]} = {_told(heatmap)}"
    before, between = f"{row_name} ", f" · {col_name} "
    left = room - cell_len(before + between + end)
    if left < 4:
        before, between = "", " · "
        left = room - cell_len(between + end)
    return crop(before + crop(heatmap._row_labels[row], max(1, left)) + between + end, room)


def _told(heatmap: Heatmap) -> str:
    """The value at the cursor in words; in an overview the mean of its bin."""
    row, col = heatmap.cursor
    value = float(heatmap._cells[heatmap._at()])
    if np.isnan(value):
        return "–"
    if heatmap._categories is not None:
        index = int(heatmap.values[row, col])
        return heatmap._categories[index] if 0 <= index < len(heatmap._categories) else str(index)
    unit = f" {heatmap._unit}" if heatmap._unit else ""
    down, across = heatmap._bins
    return compact(value, 4) + unit + (f" (mean of {down}×{across})" if down * across > 1 else "")


def _legend(heatmap: Heatmap, base: Style) -> list[Segment]:
    """The scale from least to greatest value with its unit, or the first categories."""
    muted, mode, glyphs = faint(base, None, 0.7), _mode(heatmap), glyphs_of(heatmap.app)
    if heatmap._categories is not None:
        return _category_legend(heatmap, base, mode)
    unit = f" {heatmap._unit}" if heatmap._unit and heatmap._view.width >= 40 else ""
    ends = len(compact(heatmap.vmin) + compact(heatmap.vmax)) + 2
    ramp = swatches(min(10, max(2, heatmap._view.width - ends)), base, mode, glyphs)
    return [Segment(compact(heatmap.vmin) + " ", muted), *ramp, Segment(" " + compact(heatmap.vmax) + unit, muted)]


def _category_legend(heatmap: Heatmap, base: Style, mode: ColourMode) -> list[Segment]:
    """As many categories as half the width holds, each number on its colour before its name."""
    parts: list[Segment] = []
    names, room = heatmap._categories or [], heatmap._view.width // 2
    for index, name in enumerate(names):
        sign = str(index)
        room -= len(sign) + (cell_len(name) + 1 if name != sign else 0) + 1
        if room < 2:
            return [*parts, Segment("…", base)]
        parts.append(Segment(sign, base + category_tint(index, mode)))
        parts.append(Segment(f" {name} " if name != sign else " ", base))
    return parts


def _bracketed(text: str, width: int) -> str:
    """The cursor's mark around or in a cell's text."""
    if width == 1:
        return "◆"
    inner = text.strip()
    return "[" + fit(inner if cell_len(inner) <= width - 2 else crop(inner, width - 2, ""), width - 2, "center") + "]"
