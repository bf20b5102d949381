"""Heatmap of a matrix with labelled rows and columns, a cell cursor, and a legend; works without colour too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from textual.binding import BindingType
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mythos_tui.actions import bindings
from mythos_tui.widgets.heatmap_paint import paint_line, short_number
from mythos_tui.widgets.palette import level_of
from mythos_tui.widgets.text import visible

Cell = tuple[int, int]


class Heatmap(ScrollView, can_focus=True, inherit_bindings=False):
    """A matrix (rows, cols) as coloured cells; row labels at the left and column labels on top stay while it scrolls.

    NaN is an empty cell. Labels may be any text: what is not printable is made visible. In a terminal without colour,
    or with `glyphs=True`, a ramp of characters takes the place of the palette. `marks` puts a sign into one cell of
    each row; `format` writes a value into so many columns, for maps that show values. `unit` is that of the values.

    With `categories` the values are indices of these names, which have colours and numbers instead of a scale.
    `overview` takes neighbouring cells together, by their mean, until all fit into the widget.
    """

    DEFAULT_CSS = """
    Heatmap { height: 1fr; min-height: 4; }
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("heatmap")

    cursor: reactive[Cell] = reactive((0, 0), init=False)
    overview: reactive[bool] = reactive(False, init=False)

    class CellSelected(Message):
        """The cursor came to a cell: row, col, and the value there (NaN for an empty cell)."""

        def __init__(self, heatmap: Heatmap, row: int, col: int, value: float) -> None:
            super().__init__()
            self.heatmap, self.row, self.col, self.value = heatmap, row, col, value

        @property
        def control(self) -> Heatmap:
            return self.heatmap

    def __init__(
        self,
        values: ArrayLike | None = None,
        row_labels: Sequence[str] | None = None,
        col_labels: Sequence[str] | None = None,
        *,
        cell_width: int = 2,
        vmin: float | None = None,
        vmax: float | None = None,
        glyphs: bool | None = None,
        show_values: bool = False,
        row_name: str = "row",
        col_name: str = "column",
        label_width: int = 16,
        empty: str = "nothing to show yet",
        format: Callable[[float, int], str] = short_number,
        mark: str = "◂",
        unit: str = "",
        categories: Sequence[str] | None = None,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        if not 1 <= cell_width <= 8:
            raise ValueError(f"cell_width must be 1 to 8, got {cell_width}")
        self.cell_width, self._label_limit = cell_width, label_width
        self._glyphs, self._show_values, self._empty = glyphs, show_values, empty
        self._names, self._format, self._mark = (row_name, col_name), format, mark
        self._unit = visible(unit)
        self._categories = None if categories is None else [visible(one) for one in categories]
        self._bins = (1, 1)
        self.set_data(np.zeros((0, 0)) if values is None else values, row_labels, col_labels, vmin=vmin, vmax=vmax)

    # Data

    def set_data(
        self,
        values: ArrayLike,
        row_labels: Sequence[str] | None = None,
        col_labels: Sequence[str] | None = None,
        *,
        vmin: float | None = None,
        vmax: float | None = None,
        marks: Sequence[int] | NDArray[np.int64] = (),
    ) -> None:
        """Show `values` (rows, cols) on a scale vmin..vmax (by default the least and greatest finite value).

        `marks` (rows,) are the columns that get the mark, -1 for none; without any no cell is marked.
        """
        matrix = np.array(values, dtype=np.float64)
        if matrix.ndim != 2:
            raise ValueError(f"a heatmap wants a matrix, got shape {matrix.shape}")
        rows, cols = matrix.shape
        names = [list(map(str, range(n))) if given is None else list(given)
                 for n, given in ((rows, row_labels), (cols, col_labels))]  # fmt: skip
        if [len(part) for part in names] != [rows, cols]:
            raise ValueError(f"{len(names[0])} and {len(names[1])} labels for a matrix of shape {matrix.shape}")
        self.values = matrix
        self._marks = list(map(int, marks))
        self._row_labels, self._col_labels = ([visible(label) for label in part] for part in names)
        finite = matrix[np.isfinite(matrix)]
        self.vmin = float(vmin if vmin is not None else finite.min() if finite.size else 0.0)
        self.vmax = float(vmax if vmax is not None else finite.max() if finite.size else 1.0)
        self._label_need = max((cell_len(label) for label in self._row_labels), default=0)
        self.set_reactive(Heatmap.cursor, self.validate_cursor(self.cursor))
        self._measure()
        self.refresh()

    def _measure(self) -> None:
        """Work out the label column and the scrollable size, the fixed lines included."""
        rows, cols = self.values.shape
        limit = min(self._label_limit, self._view.width // 3) if self._view.width else self._label_limit
        self._gutter = min(self._label_need, max(1, limit)) + 1
        self._bins = (1, 1)
        if self.overview and self._view.width:
            across = max(1, (self._view.width - self._gutter) // self.cell_width)
            self._bins = max(1, -(-rows // self._body)), max(1, -(-cols // across))
        self._cells = self._binned()
        self._levels: NDArray[np.int64] = level_of(self._cells, self.vmin, self.vmax)
        rows, cols = self._cells.shape
        self.virtual_size = Size(self._gutter + cols * self.cell_width, 1 + rows + self._footer)

    def _binned(self) -> NDArray[np.float64]:
        """The values as they are drawn: themselves, or the mean of each bin (of categories the first)."""
        down, across = self._bins
        if self._bins == (1, 1) or not self.values.size:
            return self.values
        if self._categories is not None:
            return self.values[::down, ::across]
        known = ~np.isnan(self.values)
        sums, counts = (
            np.add.reduceat(
                np.add.reduceat(part, np.arange(0, part.shape[0], down), axis=0),
                np.arange(0, part.shape[1], across),
                axis=1,
            )
            for part in (np.where(known, self.values, 0.0), known.astype(np.float64))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 0, sums / counts, np.nan)

    @property
    def _view(self) -> Size:
        """What is left for drawing beside the scrollbars."""
        return self.scrollable_content_region.size

    @property
    def _footer(self) -> int:
        """Lines below the cells: status and legend share one where the widget is wide enough."""
        return 1 if self._view.width >= 52 or self._view.height < 6 else 2

    @property
    def _body(self) -> int:
        return max(1, self._view.height - 1 - self._footer)

    def on_resize(self, event: Resize) -> None:
        self._measure()
        self._reveal()

    # Cursor

    def validate_cursor(self, cursor: Cell) -> Cell:
        rows, cols = self.values.shape
        return min(max(0, cursor[0]), max(0, rows - 1)), min(max(0, cursor[1]), max(0, cols - 1))

    def watch_cursor(self) -> None:
        if self.values.size:
            row, col = self.cursor
            self._reveal()
            self.refresh()
            self.post_message(self.CellSelected(self, row, col, float(self.values[row, col])))

    def watch_overview(self) -> None:
        self._measure()
        self._reveal()
        self.refresh()

    def action_toggle_overview(self) -> None:
        """The whole map at once, or cell by cell."""
        self.overview = not self.overview

    def _at(self) -> Cell:
        """The drawn cell that holds the cursor."""
        return self.cursor[0] // self._bins[0], self.cursor[1] // self._bins[1]

    def _reveal(self) -> None:
        """Scroll just as far as the cursor's cell needs to be seen."""
        row, col = self._at()
        width = max(self.cell_width, self._view.width - self._gutter)
        top, left = round(self.scroll_y), round(self.scroll_x)
        y = min(max(top, row - self._body + 1), row)
        x = min(max(left, (col + 1) * self.cell_width - width), col * self.cell_width)
        if (x, y) != (left, top):
            self.scroll_to(x, y, animate=False)

    def action_move(self, rows: int, cols: int) -> None:
        """Move the cursor by so many rows and columns as they are drawn."""
        self.cursor = (self.cursor[0] + rows * self._bins[0], self.cursor[1] + cols * self._bins[1])

    def action_page(self, direction: int) -> None:
        """Move the cursor by one screen of rows."""
        self.action_move(direction * self._body, 0)

    def action_column_end(self, last: bool) -> None:
        """Move the cursor to the first or last column."""
        self.cursor = (self.cursor[0], self.values.shape[1] - 1 if last else 0)

    def action_row_end(self, last: bool) -> None:
        """Move the cursor to the first or last row."""
        self.cursor = (self.values.shape[0] - 1 if last else 0, self.cursor[1])

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is None or at.x < self._gutter or not 1 <= at.y <= self._body:
            return
        row, col = at.y - 1 + round(self.scroll_y), (at.x - self._gutter + round(self.scroll_x)) // self.cell_width
        cell = (row * self._bins[0], col * self._bins[1])
        if cell == self.validate_cursor(cell):
            self.cursor = cell

    def cell_text(self, row: int, col: int, room: int) -> str:
        """What stands in a drawn cell, in at most `room` columns; nothing leaves it to the colour."""
        return self._format(float(self._cells[row, col]), room) if self._show_values else ""

    def render_line(self, y: int) -> Strip:
        return paint_line(self, y)
