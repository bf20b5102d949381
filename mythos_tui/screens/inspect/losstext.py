"""A text tinted by its loss, with a token cursor."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mythos_tui.widgets.palette import LEVELS, colour_mode, has_colour, ink, level_of, tint
from mythos_tui.widgets.text import subscript
from mythos_tui.widgets.tokens import Flow, Piece, pieces_of


class LossText(ScrollView, can_focus=True, inherit_bindings=False):
    """The text itself, every token on the colour of its loss, with a cursor on one token."""

    DEFAULT_CSS = "LossText { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Left", show=False, tooltip="Token before"),
        Binding("right", "move(1)", "Right", show=False, tooltip="Token after"),
        Binding("up", "line(-1)", "Up", show=False, tooltip="Line above"),
        Binding("down", "line(1)", "Down", show=False, tooltip="Line below"),
        Binding("home", "move(-1_000_000)", "First token", show=False, tooltip="First token"),
        Binding("end", "move(1_000_000)", "Last token", show=False, tooltip="Last token"),
    ]

    class TokenSelected(Message):
        """The cursor came to a token."""

        def __init__(self, token: int) -> None:
            super().__init__()
            self.token = token

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.most = 1.0
        self._tokens: tuple[str, ...] = ()
        self._loss = np.zeros(0)
        self._levels = np.zeros(0, dtype=np.int64)
        self._cursor = 0
        self._flow = Flow(1)

    def show(self, tokens: tuple[str, ...], loss: NDArray[np.float64], cursor: int) -> None:
        """Show a text with a loss per token."""
        finite = loss[np.isfinite(loss)]
        self.most = max(1.0, float(np.ceil(finite.max())) if finite.size else 1.0)
        self._tokens, self._loss, self._levels = tokens, loss, level_of(loss, 0.0, self.most)
        self._cursor = cursor
        self._lay_out()

    def place(self, token: int) -> None:
        """Move the cursor without telling anyone."""
        self._cursor = token
        self._reveal()
        self.refresh()

    def legend(self) -> Text:
        """The scale of the loss."""
        if not has_colour(self.app):
            return Text("small digits: loss, whole nats", end="")
        text = Text("loss 0 ", end="")
        for step in range(8):
            text.append("▇", Style.chain(ink(round(step / 7 * (LEVELS - 1)), colour_mode(self.app))))
        return text.append(f" {self.most:g} nats").append(" · background: how surprising each token was", "dim")

    def _lay_out(self) -> None:
        """Pieces carry their token's index where TokenView's carry a level."""
        self._flow = Flow(self.size.width)
        colour = has_colour(self.app)
        for index, (token, loss) in enumerate(zip(self._tokens, self._loss, strict=True)):
            mark = "" if colour or not np.isfinite(loss) else subscript(round(loss))
            for piece in pieces_of(token, index, mark):
                self._flow.put(piece)
        self.virtual_size = Size(self.size.width, len(self._flow.lines))
        self._reveal()
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        self._lay_out()

    def _lines_of(self, token: int) -> tuple[int, int]:
        """First and last line that hold a part of the token."""
        held = [y for y, line in enumerate(self._flow.lines) if any(index == token for _, index in line.parts)]
        return (held[0], held[-1]) if held else (0, 0)

    def _reveal(self) -> None:
        line, top = self._lines_of(self._cursor)[0], round(self.scroll_y)
        y = min(max(top, line - self.size.height + 1), line)
        if y != top:
            self.scroll_to(y=y, animate=False)

    @property
    def lines(self) -> list[Strip]:
        """The whole text, beyond what its window shows."""
        return [self._line(row) for row in range(len(self._flow.lines))]

    def render_line(self, y: int) -> Strip:
        base = self.visual_style.rich_style
        if not self._tokens and y == (self.size.height - 1) // 2:
            return Strip([Segment("no trace yet".center(self.size.width), base + Style(dim=True))])
        return self._line(y + round(self.scroll_y))

    def _line(self, row: int) -> Strip:
        base = self.visual_style.rich_style
        parts = self._flow.lines[row].parts if row < len(self._flow.lines) else []
        return Strip([Segment(text, self._style(index, base)) for text, index in parts]).adjust_cell_length(
            self.size.width, base
        )

    def _style(self, index: int, base: Style) -> Style:
        level = int(self._levels[index])
        style = base + tint(level, colour_mode(self.app)) if level >= 0 else base
        return style + Style(reverse=True, bold=True, underline=True) if index == self._cursor else style

    def action_move(self, tokens: int) -> None:
        """Move the cursor by so many tokens."""
        self._select(self._cursor + tokens)

    def action_line(self, lines: int) -> None:
        """Move the cursor to the start of a line above or below."""
        line = min(max(0, self._lines_of(self._cursor)[lines > 0] + lines), max(0, len(self._flow.lines) - 1))
        if parts := self._flow.lines[line].parts if self._flow.lines else []:
            self._select(parts[0][1])

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        row = (at.y if at else 0) + round(self.scroll_y)
        if at is None or row >= len(self._flow.lines):
            return
        x = 0
        for text, index in self._flow.lines[row].parts:
            x += Piece(text, index).width
            if at.x < x:
                self._select(index)
                return

    def _select(self, token: int) -> None:
        if self._tokens:
            self.place(min(max(0, token), len(self._tokens) - 1))
            self.post_message(self.TokenSelected(self._cursor))
