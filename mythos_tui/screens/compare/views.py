"""The metrics to choose from, and the table of values and settings."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from mythos_tui.actions import bindings
from mythos_tui.screens.compare.table import Row
from mythos_tui.screens.units import shorten
from mythos_tui.widgets.palette import run_colour
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import crop, visible

GAP = 2


class MetricList(Rows):
    """Every metric that one of the runs has."""

    help_text = "The metric whose curves are laid over each other; m and M choose one from anywhere."
    empty = "no metrics yet"
    DEFAULT_CSS: ClassVar[str] = "MetricList { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__(id="metrics")
        self._names: list[str] = []
        self._wanted = ""

    @property
    def count(self) -> int:
        return len(self._names)

    @property
    def chosen(self) -> str:
        """The metric under the cursor; "" where there is none."""
        return self._names[self.cursor] if self.cursor < self.count else ""

    def row(self, index: int, width: int) -> Content:
        return Content(" " + crop(visible(self._names[index]), width - 1))

    def show(self, names: list[str]) -> None:
        """Offer these metrics, under the cursor the one that the user has moved to, else the first."""
        if names == self._names:
            return
        self._names = names
        self.redraw()
        with self.prevent(Rows.Moved):
            self.cursor = names.index(self._wanted) if self._wanted in names else 0

    def on_rows_moved(self) -> None:
        self._wanted = self.chosen


class Values(Vertical):
    """The table under its line of names, which stays while the rows scroll."""

    ALLOW_MAXIMIZE = True

    def __init__(self) -> None:
        super().__init__(id="values")

    def compose(self) -> ComposeResult:
        table = ComparisonTable()
        yield TableHead(table)
        yield table


class TableHead(Widget):
    """The names of the runs, in the colours of their curves, over their columns."""

    def __init__(self, table: ComparisonTable) -> None:
        super().__init__(id="table-head")
        self._table = table

    def render(self) -> Content:
        return self._table.head()


class ComparisonTable(Rows):
    """Columns are runs. The label stays while the columns move to the side, run by run."""

    help_text = (
        "Final and best values, ◆ marks the best of the runs, and below them the settings in which the runs differ; "
        "[compare.differences] shows all settings. Columns are runs, in the colours of their curves; "
        "[table.shift(-1)] and [table.shift(1)] move to further columns."
    )
    DEFAULT_CSS: ClassVar[str] = "ComparisonTable { background: $surface; padding: 0 1; }"
    empty = "reading …"

    BINDINGS: ClassVar[list[BindingType]] = bindings("table")

    def __init__(self) -> None:
        super().__init__(id="table")
        self._rows: list[Row] = []
        self._runs: list[tuple[str, int]] = []
        self._first = 0

    def show(self, runs: list[tuple[str, int]], rows: list[Row]) -> None:
        """Show these rows for runs, each its name and the number of its colour."""
        if (runs, rows) != (self._runs, self._rows):
            self._runs, self._rows = runs, rows
            self._first = min(self._first, max(0, len(runs) - 1))
            self.redraw()

    def redraw(self) -> None:
        super().redraw()
        self.screen.query_one(TableHead).refresh()

    @property
    def count(self) -> int:
        return len(self._rows)

    def head(self) -> Content:
        """The runs' names over their columns."""
        label, column = self._widths()
        before = f"‹ {self._first} more" if self._first else ""
        parts: list[str | tuple[str, str]] = [(f"{before:<{label}}", "$foreground-muted")]
        for name, number in self._runs[self._first :]:
            parts += [
                " " * GAP,
                ("▌", run_colour(number, self.app)),
                (shorten(visible(name), column - 1).ljust(column - 1), "bold"),
            ]
        return Content.assemble(*parts)

    def _widths(self) -> tuple[int, int]:
        """Cells of the label, and of each column."""
        labels = max((len(_label(row)) for row in self._rows), default=8)
        cells = [len(cell) + 2 for row in self._rows for cell in row.cells]
        label = min(labels, max(12, self.row_width * 2 // 5))
        return label, min(max([12, *cells]), max(12, (self.row_width - label) // 2 - GAP), 34)

    def row(self, index: int, width: int) -> Content:
        label, column = self._widths()
        row = self._rows[index]
        parts: list[str | tuple[str, str]] = []
        parts.append((crop(visible(_label(row)), label).ljust(label), "$foreground-muted"))
        for at, cell in enumerate(row.cells[self._first :], self._first):
            best = at == row.best
            text = crop(("◆ " if best else "  ") + visible(cell), column)
            parts += [" " * GAP, (text.ljust(column), "bold $accent" if best else "")]
        return Content.assemble(*parts)

    def _paint(self, index: int) -> list[Strip]:
        """One line, whatever is too wide cut off."""
        style = self.visual_style
        if index == self.cursor and self.has_focus:
            style = self.get_visual_style("rows--cursor")
        strips = Visual.to_strips(self, self.row(index, 0), 10_000, 1, style)
        return [strips[0].crop(0, self.row_width)] if strips else []

    def action_shift(self, by: int) -> None:
        """Further columns, or back."""
        self._first = min(max(0, self._first + by), max(0, len(self._runs) - 1))
        self.redraw()


def _label(row: Row) -> str:
    return row.label if row.section in ("", "settings") else f"{row.section} {row.label}"
