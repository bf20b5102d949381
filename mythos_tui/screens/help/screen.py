"""`?`: the help and the keys of what has the focus, of its screen and of the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from mythos_tui.actions import offered

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp


class HelpScreen(ModalScreen[None]):
    """Made from the bindings and help texts of the screen below, so that it cannot disagree with them."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", key_display="esc", tooltip="Back to where you were"),
    ]

    app: MythosApp

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._below = below

    def compose(self) -> ComposeResult:
        box = VerticalScroll(id="help")
        box.border_title = "Help"
        box.border_subtitle = "esc closes"
        with box:
            for text in self._texts():
                yield Static(self.app.with_keys(text), classes="help-text", markup=False)
            for title, rows in self._groups():
                yield Static(title, classes="help-title", markup=False)
                yield Static(self._table(rows), markup=False)

    def on_mount(self) -> None:
        self.query_one("#help").focus()

    def _texts(self) -> list[str]:
        focused = self._below.focused
        texts = [getattr(self._below, "help_text", "")]
        while focused is not None and focused is not self._below:
            texts.insert(0, getattr(focused, "help_text", "") or "")
            focused = focused.parent  # type: ignore[assignment]
        return [text for text in dict.fromkeys(texts) if text]

    def _groups(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        groups: dict[str, list[tuple[str, str, str]]] = {}
        for key, title, help_text, _action, node in offered(self._below):
            groups.setdefault(self._title(node), []).append((key, title, help_text))
        return list(groups.items())

    def _title(self, node: Any) -> str:
        if node is self.app:
            return "Everywhere"
        if isinstance(node, Screen):
            return "This screen"
        return str(getattr(node, "border_title", None) or "What has the focus")

    def _table(self, rows: list[tuple[str, str, str]]) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="bold", no_wrap=True, min_width=9)
        table.add_column(no_wrap=True, min_width=12)
        table.add_column(style="dim")
        for key, title, help_text in rows:
            table.add_row(Text(key), Text(title), Text(help_text))
        return table
