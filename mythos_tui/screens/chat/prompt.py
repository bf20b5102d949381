"""A small text area where enter sends."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from mythos_tui.widgets.fields import act_in_order, character_of


def plain(text: str) -> str:
    """`text` without what a text field must not draw: control characters other than line breaks and tabs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


class PromptArea(TextArea):
    """Enter sends, ctrl+j (or alt+enter, shift+enter where the terminal tells them apart) begins a new line."""

    help_text = (
        "Enter sends. ctrl+j, alt+enter or shift+enter begins a new line. "
        "Leaving the field makes single keys work again."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", tooltip="Send what is written", priority=True),
        Binding("up", "recall", "Up", show=False, tooltip="In an empty field: the prompt that was sent last"),
        Binding("ctrl+j,alt+enter,shift+enter", "new_line", "New line", key_display="^j", tooltip="Begin a new line"),
    ]

    class Sent(Message):
        """Enter was pressed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, text: str = "", *, id: str, placeholder: str) -> None:
        super().__init__(text, id=id, placeholder=placeholder, tab_behavior="focus", highlight_cursor_line=False)
        self._last = ""

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Keys that type are no keys of the screen."""
        return super().check_consume_key(key, character_of(key, character))

    async def on_key(self, event: events.Key) -> None:
        await act_in_order(self, event)

    def remember(self) -> None:
        """Keep what is written for the up key, and empty the field."""
        self._last = self.text
        self.clear()

    def action_recall(self) -> None:
        """The prompt that was sent last, where nothing is written yet; else the cursor goes up."""
        if self.text or not self._last:
            self.action_cursor_up()
        else:
            self.take(self._last)

    def action_send(self) -> None:
        """Tell the screen."""
        self.post_message(self.Sent(self.text))

    def action_new_line(self) -> None:
        """Insert a line break at the cursor."""
        self.insert("\n")

    def take(self, text: str) -> None:
        """Hold this text, the cursor behind it."""
        self.text = text
        self.move_cursor(self.document.end)

    def load_text(self, text: str) -> None:
        """Replace the text, without what must not be drawn; undoing brings back what was written."""
        self.history.checkpoint()
        self.replace(plain(text), (0, 0), self.document.end)
        self.history.checkpoint()
        self.move_cursor((0, 0))

    async def _on_paste(self, event: events.Paste) -> None:
        event.text = plain(event.text)
        await super()._on_paste(event)
