"""The worker's log, as text: nothing in it is obeyed, neither control characters nor markup; searched, and synced to a step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.content import Content, Span
from textual.events import MouseScrollUp
from textual.message import Message

from mythos_tui.actions import bindings
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.runs.snapshot import RunSnapshot

STEP = re.compile(r"\bstep (\d+)\b")
SHIFT = 16


class LogTail(Rows):
    """The last lines of output.log. It follows the end, except while somebody reads or looks at an earlier step."""

    help_text = (
        "What the worker wrote to its output and error streams. / searches, n and N go to the next and previous match, left and "
        "right show the rest of long lines, end follows again. The crosshair of the charts takes the log to its step."
    )
    empty = "The worker has written nothing yet."
    DEFAULT_CSS: ClassVar[str] = """
    LogTail { background: $surface; color: $text-muted; padding: 0 1; }
    LogTail:focus { background: $surface; background-tint: $foreground 4%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("log")

    class SearchWanted(Message):
        """Somebody wants to type what to search for."""

    class Searched(Message):
        """Where the search stands, in a few words."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="log")
        self._lines: Sequence[str] = ()
        self._shown: tuple[str, int, int] = ("", -1, 0)
        self._pattern = ""
        self._shift = 0
        self._follows = True
        self._steps: list[tuple[int, int]] = []

    # Lines

    @property
    def count(self) -> int:
        return len(self._lines)

    @property
    def lines(self) -> Sequence[str]:
        """All lines that are held."""
        return self._lines

    @property
    def marks_cursor(self) -> bool:
        return self.has_focus or not self._follows

    def row(self, index: int, width: int) -> Content:
        text = self._text(index)[self._shift : self._shift + width]
        spans = [Span(at, at + len(self._pattern), "$text on $accent 50%") for at in self._places(text)]
        return Content(text, spans=spans)

    def _text(self, index: int) -> str:
        return visible(self._lines[index].expandtabs(4))

    def _places(self, text: str) -> list[int]:
        return [found.start() for found in re.finditer(re.escape(self._pattern), text, re.I)] if self._pattern else []

    def show(self, snapshot: RunSnapshot) -> None:
        """Show the log of this picture; what somebody is reading stays where it is."""
        name, generation, seen = self._shown
        same = (name, generation) == (snapshot.summary.name, snapshot.generation)
        if same and seen == snapshot.log_total:
            return
        first_before, first = seen - len(self._lines), snapshot.log_total - len(snapshot.log)
        self._lines = snapshot.log
        self._shown = (snapshot.summary.name, snapshot.generation, snapshot.log_total)
        self._steps = []
        if not same:
            self._follows, self._shift, first_before = True, 0, first
        self.redraw()
        with self.prevent(Rows.Moved):
            self.cursor = self.count - 1 if self._follows else self.cursor - (first - first_before)
        self.reveal()

    # Following

    def watch_cursor(self) -> None:
        super().watch_cursor()
        if self.has_focus:
            self._follows = self.cursor >= self.count - 1

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._follows = False  # the base class scrolls

    def action_to(self, index: int) -> None:
        super().action_to(index)
        self._follows = index < 0
        self.reveal()

    def follow(self) -> None:
        """Show the end, and keep to it."""
        self._follows = True
        self.cursor = self.count - 1
        self.redraw()
        self.reveal()

    def to_step(self, step: float) -> bool:
        """Go to the last line that tells of this step or one before it. Says whether there is one."""
        if not self._steps:
            found = ((STEP.search(line), index) for index, line in enumerate(self._lines))
            self._steps = [(int(match[1]), index) for match, index in found if match]
        before = [(told, index) for told, index in self._steps if told <= step]
        if not before:
            return False
        self._follows = False
        self.cursor = max(before)[1]
        self.redraw()
        self.reveal()
        return True

    # Search

    def search(self, pattern: str) -> None:
        """Mark every match, and go to the nearest one at or before the cursor, else the first after it."""
        self._pattern = visible(pattern)
        self.redraw()
        found = self._matches()
        if found:
            before = [index for index in found if index <= self.cursor]
            self._go(before[-1] if before else found[0], found)
        else:
            self.post_message(self.Searched("no match" if pattern else ""))

    def _matches(self) -> list[int]:
        wanted = self._pattern.lower()
        return [index for index in range(self.count) if wanted in self._text(index).lower()] if wanted else []

    def _go(self, index: int, found: list[int]) -> None:
        self._follows = False
        self.cursor = index
        places = self._places(self._text(index))
        if places and not self._shift <= places[0] < self._shift + max(1, self.row_width) - len(self._pattern):
            self._shift = max(0, places[0] - SHIFT)
        self.redraw()
        self.reveal()
        self.post_message(self.Searched(f"{found.index(index) + 1} of {len(found)}"))

    def action_search(self) -> None:
        """Type what to search for."""
        self.post_message(self.SearchWanted())

    def action_match(self, direction: int) -> None:
        """The next or previous match; after the last comes the first."""
        found = self._matches()
        if not found:
            self.post_message(self.Searched("no match" if self._pattern else "/ searches"))
            return
        after = [index for index in found if (index - self.cursor) * direction > 0]
        rest = after or found
        self._go(rest[0] if direction > 0 else rest[-1], found)

    def action_shift(self, direction: int) -> None:
        """Show another part of long lines."""
        self._shift = max(0, self._shift + direction * SHIFT)
        self.redraw()
