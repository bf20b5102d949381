"""All that was said, the newest at the bottom, with one cursor over its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Size
from textual.message import Message

from mythos_tui.screens.chat.exchange import BOUNDARY, Exchange, Row
from mythos_tui.widgets.tokens import TokenView


class Transcript(VerticalScroll, can_focus=True, inherit_bindings=False):
    """The cursor belongs to the exchange `chosen`; there is none until a key moves it."""

    help_text = (
        "Every token stands on the colour of the loops it took. Arrow keys move a cursor over the tokens and open what is "
        f"behind each: its loops, what the model chose among, and its read-out loop by loop. {BOUNDARY} marks where your "
        "message ends and the model goes on."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Token", key_display="← →", tooltip="Token before; opens its column"),
        Binding("right", "move(1)", "Token after", show=False, tooltip="Token after; opens its column"),
        Binding("up", "line(-1)", "Line above", show=False, tooltip="Line above"),
        Binding("down", "line(1)", "Line below", show=False, tooltip="Line below"),
        Binding("home", "end(False)", "First token", show=False, tooltip="First token of this exchange"),
        Binding("end", "end(True)", "Last token", show=False, tooltip="Last token of this exchange"),
        Binding("pageup", "page_up", "Page up", show=False, tooltip="One screen up"),
        Binding("pagedown", "page_down", "Page down", show=False, tooltip="One screen down"),
        Binding("i", "inspect", "Inspect", tooltip="Look into this text on the Inspect screen"),
        Binding("enter", "prompt", "Write", tooltip="Back to the text field"),
    ]

    class TokenChosen(Message):
        """The cursor came to a token of an exchange."""

        def __init__(self, exchange: Exchange) -> None:
            super().__init__()
            self.exchange = exchange

    class InspectWanted(Message):
        """Show this text on the Inspect screen."""

    class PromptWanted(Message):
        """Back to the prompt."""

    chosen: Exchange | None = None
    _shown_size: Size | None = None
    side = 0
    """Of two answers side by side, the one that keys go to first."""

    def compose(self) -> ComposeResult:
        # It fills the view: Textual's anchor hangs shorter content from the bottom, now and then.
        yield Vertical(id="turns")

    @property
    def turns(self) -> Vertical:
        """What the rows are in."""
        return self.query_one("#turns", Vertical)

    @property
    def exchanges(self) -> list[Exchange]:
        return list(self.query(Exchange))

    @property
    def rows(self) -> list[Row]:
        return list(self.query(Row))

    @property
    def current(self) -> Exchange | None:
        """The exchange with the cursor, else that of the newest row."""
        if self.chosen and self.chosen.is_attached:
            return self.chosen
        pair = self.rows[-1].exchanges if self.rows else ()
        return pair[min(self.side, len(pair) - 1)] if pair else None

    @property
    def current_row(self) -> int:
        """Number of the row with the cursor, else of the newest."""
        current = self.current
        return next((i for i, row in enumerate(self.rows) if current in row.exchanges), len(self.rows) - 1)

    def action_move(self, by: int) -> None:
        """The cursor by so many tokens, over the end of one exchange into the next."""
        self._go(lambda exchange: exchange.move(by), by)

    def action_line(self, by: int) -> None:
        """The cursor a line up or down."""
        self._go(lambda exchange: exchange.move_line(by), by)

    def action_end(self, last: bool) -> None:
        """The cursor to the first or the last token."""
        if (current := self.current) and current.numbers:
            self.choose(current, current.numbers[-1 if last else 0])

    def _go(self, move: Callable[[Exchange], bool], by: int) -> None:
        current = self.current
        if current is None:
            return
        if (move(current) if current.cursor is not None else current.move(-1)) and current.cursor is not None:
            self.choose(current, current.cursor)
            return
        side = next(i for i, one in enumerate(self.rows[self.current_row].exchanges) if one is current)
        at = self.current_row + by
        if 0 <= at < len(self.rows):
            there = self.rows[at].exchanges[min(side, len(self.rows[at].exchanges) - 1)]
            if there.numbers:
                self.choose(there, there.numbers[0 if by > 0 else -1])

    def show_side(self, side: int) -> None:
        """The cursor, if there is one, to this side's answer; later ones begin there."""
        self.side = side
        pair = self.rows[self.current_row].exchanges if self.chosen else ()
        if self.chosen and side < len(pair) and pair[side].numbers and pair[side] is not self.chosen:
            self.choose(pair[side], min(self.chosen.cursor or 0, pair[side].numbers[-1]))

    def choose(self, exchange: Exchange, number: int) -> None:
        """Put the cursor on a token and show it."""
        if self.chosen and self.chosen is not exchange and self.chosen.is_attached:
            self.chosen.place(None)
        self.chosen = exchange
        exchange.place(number)
        self.release_anchor()
        self.call_after_refresh(self.reveal)
        self.post_message(self.TokenChosen(exchange))

    def reveal(self) -> None:
        """Scroll as far as the cursor needs to be seen."""
        self._scroll_near(round(self.scroll_y))

    def on_resize(self, event: events.Resize) -> None:
        """In another size the end is shown, as far as the cursor stays in view; what merely grew stays where it is."""
        if event.size != self._shown_size:
            self._shown_size = event.size
            self.call_after_refresh(lambda: self._scroll_near(self.max_scroll_y))

    def _scroll_near(self, top: int) -> None:
        """Scroll to `top`, or where the cursor can be seen."""
        if self.chosen and self.chosen.is_attached:
            height, view = self.content_region.height, self.chosen.query_one(TokenView)
            line = view.region.y - self.content_region.y + round(self.scroll_y) + self.chosen.cursor_line
            self.scroll_to(y=min(max(top, line - height + 1), line), animate=False)

    def close(self) -> None:
        """Take the cursor away."""
        if self.chosen and self.chosen.is_attached:
            self.chosen.place(None)
        self.chosen = None

    def on_click(self, event: events.Click) -> None:
        view = event.widget
        if isinstance(view, TokenView) and isinstance(view.parent, Exchange):
            at = event.get_content_offset(view)
            number = view.parent.at(at.x, at.y) if at else None
            if number is not None:
                self.choose(view.parent, number)

    def action_inspect(self) -> None:
        """Ask for the Inspect screen."""
        self.post_message(self.InspectWanted())

    def action_prompt(self) -> None:
        """Ask for the prompt."""
        self.post_message(self.PromptWanted())
