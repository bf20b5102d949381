"""The map of a table: cells widen where there is room, with texts or numbers in them, and the loop of exit marked."""

from __future__ import annotations

import math

import numpy as np
from textual.events import Resize

from mythos_tui.screens.inspect.tables import Table
from mythos_tui.widgets.axis import compact
from mythos_tui.widgets.heatmap import Heatmap
from mythos_tui.widgets.text import crop, fit, visible

EXIT_MARK = "◂"
LABEL_WIDTH = 19
NUMBERS_FROM = 5
NOTHING = Table("token", "loop", np.zeros((0, 0)), (), ())


def labels(table: Table, room: int) -> list[str]:
    """Row labels that fit beside a map `room` wide: names with blanks visible, cut before their notes are."""
    limit = min(LABEL_WIDTH, max(6, (room - 3) // 3))
    if not table.notes:
        return [crop(visible(name, spaces=True), limit) for name in table.rows]
    return [
        f"{crop(visible(name, spaces=True), limit - len(note) - 2)}  {note}"
        for name, note in zip(table.rows, table.notes, strict=True)
    ]


def cell_width(columns: int, room: int, widest: int, least: int = 1) -> int:
    """The widest cell from `least` to `widest` with which all columns fit into the room, else `least`."""
    return max(least, min(widest, room // max(1, columns)))


class TraceMap(Heatmap):
    """Shows a `Table`. Without room for what stands in the cells, colour alone does."""

    help_text = (
        "Arrow keys move the cursor, which every view shares; home and end go to the first and last column. The colours' scale "
        "is at the top, and the column at the right explains the cell."
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(label_width=LABEL_WIDTH, empty=NOTHING.empty, format=self._number, mark=EXIT_MARK, id=id)
        self.table = NOTHING

    def show(self, table: Table) -> None:
        """Show another table; the cursor stays where it is, as far as there is such a cell."""
        self.table = table
        self._names, self._unit, self._empty = (table.row_name, table.col_name), table.unit, table.empty
        self._categories = None if table.categories is None else list(table.categories)
        self._widen()
        rows, (low, high) = labels(table, self.size.width), table.scale
        self.set_data(table.values, rows, table.cols, vmin=low, vmax=high, marks=table.marks)

    def _widen(self) -> None:
        table, room = self.table, self.size.width
        longest = max((len(label) for label in labels(table, room)), default=0)
        gutter = min(LABEL_WIDTH, max(1, room // 3), longest) + 1
        self.cell_width = cell_width(len(table.cols), room - gutter - 2, table.wide, table.least)
        self._show_values = self.cell_width >= NUMBERS_FROM

    def on_resize(self, event: Resize) -> None:
        self._widen()
        super().on_resize(event)

    def cell_text(self, row: int, col: int, room: int) -> str:
        if self.table.texts is None or self.overview:
            return super().cell_text(row, col, room)
        if math.isnan(self.values[row, col]):
            return ""
        return fit(self.table.texts(row, col), room)

    def _number(self, value: float, room: int) -> str:
        """Two decimals, so that numbers stand in line; powers of ten where all values are tiny."""
        if math.isnan(value):
            return ""
        if self.vmax >= 100:
            return compact(value, 3)
        text = f"{value:.0e}".replace("e-0", "e-") if 0 < self.vmax < 0.1 else f"{value:.2f}"
        return text if len(text) <= room else f"{value:.1f}"[:room]
