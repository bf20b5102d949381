"""A message and its answers on the screen: every token on a background that tells how deep it thought, a line about it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from mythos.contract.protocol import TraceResult
from mythos.contract.words import counted
from mythos_tui.chats.conversation import Answer, Piece
from mythos_tui.chats.export import statistics
from mythos_tui.screens.chat.tint import Tint
from mythos_tui.widgets.text import visible
from mythos_tui.widgets.tokens import TokenView

BOUNDARY = "▸"


class Exchange(Vertical):
    """One message with one answer. Tokens without text of their own, parts of a character, are not shown."""

    def __init__(self, answer: Answer, tint: Tint, label: str = "") -> None:
        super().__init__(classes="exchange")
        self.answer = answer
        self.cursor: int | None = None
        self.trace: TraceResult | None = None
        self._tint, self._label = tint, label
        self._shown: list[int] = []

    def compose(self) -> ComposeResult:
        yield Static("", classes="heading", markup=False)
        yield TokenView(2.0)
        yield Static("", classes="statistics", markup=False)

    def on_mount(self) -> None:
        self.show_answer()
        self.say_end()

    # The text

    def show_answer(self) -> None:
        """The message as the model saw it, then the mark where its own words begin, then what came."""
        view = self.query_one(TokenView)
        view.mark = self._tint.mark
        view.set_tokens([])
        self._shown = []
        prompt = len(self.answer.prompt)
        self._put(self.answer.prompt, 0)
        if prompt:
            view.append(BOUNDARY)
            self._shown.append(-1)
        self._put(self.answer.tokens, prompt)
        self._show_heading()
        self._place()

    def add(self, pieces: Sequence[Piece]) -> None:
        """Generated tokens, as many as came since the last time."""
        start = len(self.answer.prompt) + len(self.answer.tokens)
        self.answer.tokens.extend(pieces)
        self._put(pieces, start)

    def _put(self, pieces: Sequence[Piece], start: int) -> None:
        view = self.query_one(TokenView)
        for number, piece in enumerate(pieces, start):
            if piece.text:
                view.append(piece.text, self._tint.share(piece))
                self._shown.append(number)

    def set_tint(self, tint: Tint) -> None:
        """Tint all tokens by something else."""
        if tint != self._tint:
            self._tint = tint
            self.show_answer()

    # What is said about it

    def _show_heading(self) -> None:
        heading = self.query_one(".heading", Static)
        parts = [visible(self._label)] if self._label else []
        if self.answer.earlier > 1:
            parts.append(f"{counted(self.answer.earlier - 1, 'token')} read before this")
        if self.answer.left_out:
            plural = "s" if self.answer.left_out > 1 else ""
            parts.append(f"the context is full: {self.answer.left_out} oldest message{plural} left out")
        heading.update(" · ".join(parts))
        heading.display = bool(parts)

    def say(self, text: str, fault: bool = False) -> None:
        """The line below."""
        line = self.query_one(".statistics", Static)
        line.update(text)
        line.set_class(fault, "-fault")

    def waiting(self) -> None:
        """Nothing came yet."""
        self.answer.fault = self.answer.reason = ""
        self.call_after_refresh(self._say_waiting)

    def _say_waiting(self) -> None:
        if not self.answer.reason and not self.answer.tokens:
            self.say("waiting for the model…")

    def say_end(self) -> None:
        """The line below an answer that has ended."""
        if self.answer.fault:
            came = (
                f"{counted(len(self.answer.tokens), 'token')}, then broken off"
                if self.answer.tokens
                else "not answered"
            )
            self.say(f"{came}: {visible(self.answer.fault)}", fault=True)
        elif self.answer.reason:
            self.say(" · ".join(statistics(self.answer)))

    # The cursor

    def move(self, by: int) -> bool:
        """Put the cursor so many shown tokens on; False where the text ends there, and the cursor stays."""
        numbers = self.numbers
        at = numbers.index(self.cursor) + by if self.cursor in numbers else (0 if by > 0 else len(numbers) - 1)
        if not 0 <= at < len(numbers):
            return False
        self.place(numbers[at])
        return True

    def move_line(self, by: int) -> bool:
        """Put the cursor on a line above or below, as far left as it was."""
        view, flow = self.query_one(TokenView), self.query_one(TokenView).flow
        if view.cursor is None:
            return self.move(by)
        line = flow.lines_of(view.cursor)[by > 0]
        x = sum(len(text) for text, token in flow.lines[line].parts if token < view.cursor)
        while 0 <= (line := line + by) < len(flow.lines):
            shown = flow.token_at(x, line)
            if shown is not None and self._shown[shown] >= 0:
                self.place(self._shown[shown])
                return True
        return False

    def at(self, x: int, y: int) -> int | None:
        """The token at a cell of the text."""
        shown = self.query_one(TokenView).flow.token_at(x, y)
        return None if shown is None or self._shown[shown] < 0 else self._shown[shown]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the tokens that can be seen."""
        return [number for number in self._shown if number >= 0]

    def place(self, number: int | None) -> None:
        """Put the cursor on a token, or take it away."""
        self.cursor = number
        self._place()

    def _place(self) -> None:
        view = self.query_one(TokenView)
        view.cursor = self._shown.index(self.cursor) if self.cursor in self._shown else None

    @property
    def cursor_line(self) -> int:
        """Line of the text that holds the cursor."""
        view = self.query_one(TokenView)
        return 0 if view.cursor is None else view.flow.lines_of(view.cursor)[0]


class Row(Horizontal):
    """The answers to one message, side by side."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        super().__init__(*exchanges, classes="row")
        self.exchanges = tuple(exchanges)
