"""Dialogs for every screen: a question before something is destroyed, and an error that can be read and copied."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from mythos_tui.widgets.text import visible

BOX = """
    align: center middle; background: $background 60%;
    & > Vertical { width: 90%; max-width: 96; height: auto; max-height: 80%; padding: 1 2; background: $surface; }
    & .title { text-style: bold; margin-bottom: 1; height: auto; }
    & .keys { color: $text-muted; margin-top: 1; height: auto; }
"""


class ConfirmScreen(ModalScreen[bool]):
    """A question; `y` agrees, anything else that closes does not."""

    DEFAULT_CSS = f"""ConfirmScreen {{ {BOX}
    & > Vertical {{ max-width: 70; border: round $warning; }}
    & .title {{ color: $warning; }} }}"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "answer(True)", "Yes", tooltip="Do it"),
        Binding("escape,n,q", "answer(False)", "No", key_display="n", tooltip="Do nothing"),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._title, classes="title", markup=False)
            yield Static(self._text, markup=False)
            yield Static("y yes   n no", classes="keys", markup=False)

    def action_answer(self, answer: bool) -> None:
        """Close with the answer."""
        self.dismiss(answer)


class TextDialog(ModalScreen[None]):
    """A long text: scroll it, select in it, copy it."""

    DEFAULT_CSS = f"""TextDialog {{ {BOX} & > Vertical {{ border: round $primary 60%; }} & .title {{ color: $accent; }}
    & TextArea {{ height: auto; min-height: 3; max-height: 24; border: none; padding: 0; background: $surface; }} }}"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close", key_display="esc", tooltip="Back"),
        Binding("c,y", "copy", "Copy", key_display="c", tooltip="Copy all of it to the clipboard"),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, visible(text.strip(), keep="\n")

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._title, classes="title", markup=False)
            yield TextArea(self._text, read_only=True, show_cursor=False, soft_wrap=True)
            yield Static("c copy   esc close", classes="keys", markup=False)

    def action_copy(self) -> None:
        """All of the text, by the terminal's own clipboard sequence."""
        self.app.copy_to_clipboard(self._text)
        self.notify("Copied, if this terminal lets programs copy; else select it with shift and the mouse.")


class ErrorDialog(TextDialog):
    """A long error."""

    DEFAULT_CSS = "ErrorDialog > Vertical { border: round $error; } ErrorDialog .title { color: $error; }"
