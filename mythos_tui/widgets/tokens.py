"""Text as tokens, each on a background that tells a number, such as the loops it took. Grows while tokens stream in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from mythos_tui.widgets.axis import compact
from mythos_tui.widgets.palette import LEVELS, has_colour, ink, level_of, tint
from mythos_tui.widgets.text import subscript, visible

NO_TINT = -1


@dataclass
class Piece:
    """A stretch of one token that has no line break inside; `ends_line` where the token broke the line after it."""

    text: str
    token: int
    ends_line: bool = False
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.width = cell_len(self.text)


def pieces_of(text: str, token: int, mark: str = "") -> list[Piece]:
    """Token number `token` as pieces: broken after every newline, which is shown as ⏎; the mark stands at the end of the last."""
    *lines, last = visible(text, keep="\n").split("\n")
    pieces = [Piece(line + "⏎", token, ends_line=True) for line in lines]
    if last:
        return [*pieces, Piece(last + mark, token)]
    if pieces and mark:
        pieces[-1] = Piece(pieces[-1].text + mark, token, ends_line=True)
    return pieces


@dataclass
class Line:
    """One laid-out line: texts with the numbers of their tokens, and their cells taken together."""

    parts: list[tuple[str, int]] = field(default_factory=list)
    width: int = 0

    def add(self, text: str, token: int) -> None:
        self.parts.append((text, token))
        self.width += cell_len(text)


class Flow:
    """Lays pieces out in lines of a given width, one after another; earlier lines never change."""

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.lines: list[Line] = []

    def put(self, piece: Piece) -> None:
        """Add a piece: on the last line where it fits, else on a new one, cut where it is wider than a line."""
        if not self.lines or (self.lines[-1].parts and self.lines[-1].width + piece.width > self.width):
            self.lines.append(Line())
        rest = piece.text
        while cell_len(rest) > self.width:
            head, rest = _split(rest, self.width)
            self.lines[-1].add(head, piece.token)
            self.lines.append(Line())
        self.lines[-1].add(rest, piece.token)
        if piece.ends_line:
            self.lines.append(Line())

    def lines_of(self, token: int) -> tuple[int, int]:
        """First and last line that hold a part of the token."""
        held = [y for y, line in enumerate(self.lines) if any(one == token for _, one in line.parts)]
        return (held[0], held[-1]) if held else (0, 0)

    def token_at(self, x: int, y: int) -> int | None:
        """The token at a cell, the last of the line where that is shorter; None where the line has none."""
        parts = self.lines[y].parts if 0 <= y < len(self.lines) else []
        for text, token in parts:
            x -= cell_len(text)
            if x < 0:
                return token
        return parts[-1][1] if parts else None


def _split(text: str, width: int) -> tuple[str, str]:
    """The longest start of `text` in `width` cells (at least a character) and the rest; marks stay with their base."""
    end = 1
    while end < len(text) and (cell_len(text[: end + 1]) <= width or cell_len(text[: end + 1]) == cell_len(text[:end])):
        end += 1
    return text[:end], text[end:]


class TokenView(Widget):
    """A flowing text of tokens, each tinted on the scale 1..`max_value`; a token without value has no tint.

    Newlines in tokens are shown as ⏎ and break the line. As tall as its text: put it into a scrolling container.
    In a terminal without colour `mark` writes the value as small digits behind the token. The token with the number of
    `cursor` is shown reversed.
    """

    DEFAULT_CSS = """
    TokenView { height: auto; width: 1fr; }
    """

    def __init__(
        self,
        max_value: float = 8.0,
        *,
        label: str = "loops",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._max_value, self._label = float(max_value), label
        self.mark: Callable[[float], str] = lambda value: subscript(round(value))
        self._colour = True
        self._tokens: list[tuple[str, float]] = []
        self._levels: list[int] = []
        self._cursor: int | None = None
        self._pieces: list[Piece] = []
        self._flow: Flow | None = None
        self._laid_out = 0

    def on_mount(self) -> None:
        self._colour = has_colour(self.app)
        self.set_tokens(self._tokens)

    @property
    def tokens(self) -> list[tuple[str, float]]:
        """All tokens with their values, NaN where there is none."""
        return list(self._tokens)

    @property
    def max_value(self) -> float:
        """Upper end of the scale, whose lower end is 1."""
        return self._max_value

    @max_value.setter
    def max_value(self, value: float) -> None:
        self._max_value = float(value)
        self.set_tokens(self._tokens)

    @property
    def cursor(self) -> int | None:
        """Number of the token under the cursor, None without one."""
        return self._cursor

    @cursor.setter
    def cursor(self, token: int | None) -> None:
        if token != self._cursor:
            self._cursor = token
            self.refresh()

    @property
    def flow(self) -> Flow:
        """The text as it is laid out now."""
        self._lines(self.size.width)
        assert self._flow is not None
        return self._flow

    def append(self, text: str, value: float | None = None) -> None:
        """Add one token at the end."""
        self._add(text, value)
        self._grown()

    def set_tokens(self, tokens: Iterable[tuple[str, float | None]]) -> None:
        """Show these tokens instead of what was there."""
        tokens = list(tokens)
        self._tokens, self._levels, self._pieces = [], [], []
        self._flow, self._laid_out = None, 0
        for text, value in tokens:
            self._add(text, value)
        self.refresh(layout=True)

    def clear(self) -> None:
        """Show nothing."""
        self.set_tokens([])

    def _add(self, text: str, value: float | None) -> None:
        number = math.nan if value is None else float(value)
        self._tokens.append((text, number))
        level = int(level_of(number, 1.0, self._max_value))
        mark = "" if self._colour or level == NO_TINT else self.mark(number)
        self._pieces += pieces_of(text, len(self._levels), mark)
        self._levels.append(level)

    def _grown(self) -> None:
        """Ask for a new layout only when the text has become taller."""
        before = len(self._flow.lines) if self._flow else 0
        width = self._flow.width if self._flow else self.size.width
        self.refresh(layout=len(self._lines(width)) != before)

    def _lines(self, width: int) -> list[Line]:
        """All lines at this width, laying out what came since the last call."""
        if self._flow is None or self._flow.width != max(1, width):
            self._flow, self._laid_out = Flow(width), 0
        for piece in self._pieces[self._laid_out :]:
            self._flow.put(piece)
        self._laid_out = len(self._pieces)
        return self._flow.lines

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, len(self._lines(width)))

    def render_line(self, y: int) -> Strip:
        base, width = self.visual_style.rich_style, self.size.width
        lines = self._lines(width)
        parts = lines[y].parts if y < len(lines) else []
        runs = groupby(parts, key=lambda part: (self._levels[part[1]], part[1] == self._cursor))
        segments = [Segment("".join(text for text, _ in run), self._style(base, *kind)) for kind, run in runs]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, base: Style, level: int, under_cursor: bool) -> Style:
        style = base + tint(level) if level != NO_TINT else base
        return style + Style(reverse=True, bold=True, underline=True) if under_cursor else style

    def legend(self) -> Text:
        """The scale as one line, such as "loops 1 ▇▇▇▇ 8"."""
        text = Text(f"{visible(self._label)} 1 ", end="")
        for step in range(8):
            text.append("▇", Style.chain(ink(round(step / 7 * (LEVELS - 1)))))
        return text.append(f" {compact(self._max_value)}")
