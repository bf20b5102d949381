"""The dialog in which a person chooses the charts: which, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mythos_tui.actions import bindings
from mythos_tui.screens.base import with_words
from mythos_tui.screens.train.arrangement import KNOWN, Arrangement
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import crop

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp


class PanelRows(Rows):
    """Every panel, shown or not, in order."""

    help_text = "Every chart that there is. Space shows it or leaves it out; shift with the arrow keys moves it. All is remembered."
    DEFAULT_CSS: ClassVar[str] = "PanelRows { background: $surface; height: auto; max-height: 55vh; }"

    def __init__(self, arrangement: Arrangement) -> None:
        super().__init__(id="panels")
        self.arrangement = arrangement

    @property
    def count(self) -> int:
        return len(self.arrangement.order)

    def row(self, index: int, width: int) -> Content:
        panel = KNOWN[self.arrangement.order[index]]
        shown = panel.id not in self.arrangement.hidden
        name = f"{panel.title:<17} "
        mark = ("[x] ", "bold $primary") if shown else ("[ ] ", "$foreground-muted")
        help = crop(panel.help, max(0, width - 4 - len(name)))
        return Content.assemble(mark, (name, "bold" if shown else "$foreground-muted"), (help, "$foreground-muted"))

    @property
    def selected(self) -> str:
        """Id of the panel under the cursor."""
        return self.arrangement.order[self.cursor]


class PanelDialog(ModalScreen[None]):
    """What is chosen holds at once; closing shows it."""

    DEFAULT_CSS: ClassVar[str] = """
    PanelDialog { align: center middle; background: $background 60%; }
    PanelDialog > Vertical { width: 90%; max-width: 96; height: auto; max-height: 90%; padding: 1 2; background: $surface;
        border: round $primary; }
    PanelDialog .title { color: $primary; text-style: bold; margin-bottom: 1; }
    PanelDialog .keys { color: $text-muted; margin-top: 1; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("panels")
    app: MythosApp

    def __init__(self, arrangement: Arrangement) -> None:
        super().__init__()
        self._arrangement = arrangement

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Charts", classes="title", markup=False)
            yield PanelRows(self._arrangement)
            keys = "[panels.show] show or leave out   shift+↑↓ or J K move   [panels.reset] as delivered   [panels.dismiss] close"
            yield Static(self.app.with_keys(with_words(self.app, keys)), classes="keys", markup=False)

    def action_show(self) -> None:
        """Show the panel or leave it out."""
        rows = self.query_one(PanelRows)
        if not self._arrangement.toggle(rows.selected):
            self.notify("One chart has to stay: show another one first, then leave this one out.")
        rows.redraw()

    def action_move(self, by: int) -> None:
        """Move the panel in the order."""
        rows = self.query_one(PanelRows)
        self._arrangement.move(rows.selected, by)
        rows.redraw()
        rows.cursor += by

    def action_reset(self) -> None:
        """As delivered: all but the extra ones, in their order."""
        self._arrangement.reset()
        self.query_one(PanelRows).redraw()
