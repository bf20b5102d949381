"""A dialog with a list to choose from and a line of words that narrows it."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, Static

from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.text import fit, visible

Item = TypeVar("Item")


class ListDialog(ModalScreen[Item | None], Generic[Item]):
    """Returns what was chosen, or None. Subclasses read the items and say how one looks."""

    CSS_PATH = "listing.tcss"
    TITLE_TEXT: ClassVar[str] = ""
    KEYS: ClassVar[str] = "type to search · enter chooses · esc closes"
    FIRST: ClassVar[str] = ""
    COLUMNS: ClassVar[tuple[tuple[str, int], ...]] = ()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", key_display="esc", tooltip="Choose nothing"),
        Binding("down", "cursor(1)", "Down", show=False, priority=True, tooltip="Next line of the list"),
        Binding("up", "cursor(-1)", "Up", show=False, priority=True, tooltip="Line before"),
        Binding("pagedown", "cursor(10)", "Page down", show=False, priority=True, tooltip="Ten lines down"),
        Binding("pageup", "cursor(-10)", "Page up", show=False, priority=True, tooltip="Ten lines up"),
        Binding("enter", "choose", "Choose", priority=True, tooltip="Choose the marked line"),
        Binding("ctrl+r", "reload", "Read again", key_display="^r", tooltip="Read the folders again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Item] = []
        self._shown: list[Item] = []
        self._room = 0

    def compose(self) -> ComposeResult:
        box = Vertical(id="picker")
        box.border_title, box.border_subtitle = self.TITLE_TEXT, self.KEYS
        with box:
            yield TextField("", "words to search for", id="picker-filter")
            yield Static("reading…", id="picker-note", markup=False)
            yield DataTable(id="picker-table", cursor_type="row")

    def on_mount(self) -> None:
        self.query_one(DataTable).can_focus = False
        self.query_one(Input).focus()
        self.action_reload()

    def action_reload(self) -> None:
        """Read the items anew."""
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        self._items = await self.read()
        self._show(self.current())

    def on_resize(self, event: events.Resize) -> None:
        if self._items and self.room != self._room:
            self._show(self.marked)

    @property
    def room(self) -> int:
        """Cells for the first column: what the others leave."""
        others = sum(width + 2 for _, width in self.COLUMNS)
        return max(12, self.query_one("#picker").content_size.width - others - 4)

    @property
    def marked(self) -> Item | None:
        """The item under the cursor."""
        at = self.query_one(DataTable).cursor_row
        return self._shown[at] if 0 <= at < len(self._shown) else None

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        event.stop()
        self._show(self.marked)

    def _show(self, marked: Item | None) -> None:
        query = self.query_one(Input).value
        self._shown = self.search(query) if query.strip() else self._items
        note, table = self.query_one("#picker-note", Static), self.query_one(DataTable)
        note.update(self.none() if not self._items else f"Nothing holds {visible(query)!r}; fewer words find more.")
        note.display, table.display = not self._shown, bool(self._shown)
        table.clear(columns=True)
        self._room = room = self.room
        table.add_column(self.FIRST, width=room)
        for title, width in self.COLUMNS:
            table.add_column(Text(title, justify="right"), width=width)
        for item in self._shown:
            name, *facts = self.row(item)
            mark = "● " if item == self.current() else "  "
            table.add_row(Text(mark + fit(visible(name), room - 2)), *(Text(fact, justify="right") for fact in facts))
        if marked in self._shown:
            table.move_cursor(row=self._shown.index(marked))

    def action_cursor(self, by: int) -> None:
        """Up or down in the list; the words keep the focus."""
        table = self.query_one(DataTable)
        table.move_cursor(row=min(max(0, table.cursor_row + by), max(0, len(self._shown) - 1)))

    def action_choose(self) -> None:
        """Close with the marked item."""
        if self.marked is not None:
            self.dismiss(self.marked)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        self.action_choose()

    def action_close(self) -> None:
        """Close with nothing."""
        self.dismiss(None)

    # For subclasses

    async def read(self) -> list[Item]:
        """All items, in the order of the list."""
        return []

    def current(self) -> Item | None:
        """The item that is in use now."""
        return None

    def search(self, query: str) -> list[Item]:
        """Items that fit the words."""
        words = query.casefold().split()
        return [item for item in self._items if all(word in " ".join(self.row(item)).casefold() for word in words)]

    def row(self, item: Item) -> list[Any]:
        """The texts of the columns."""
        raise NotImplementedError

    def none(self) -> str:
        """What to say where there is no item at all."""
        return "There is none yet."
