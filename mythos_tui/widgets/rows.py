"""A list of any length: equally high rows, of which only those in view are drawn; a cursor moves over them."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from mythos_tui.widgets.text import crop


class Rows(Widget, can_focus=True):
    """`count` rows of `row_height` lines each. Subclasses say in `row` what stands in one of them, and in `empty` what is
    told where there is none."""

    row_height: ClassVar[int] = 1
    empty: str = ""
    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor", "rows--cursor-blurred", "rows--bar", "rows--thumb"}
    DEFAULT_CSS = """
    Rows {
        height: 1fr; background: $background;
        & .rows--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & .rows--cursor-blurred { background: $block-cursor-blurred-background; }
        & .rows--bar { background: $surface; }
        & .rows--thumb { background: $foreground 25%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, system=True),
        Binding("down,j", "move(1)", "Down", show=False, system=True),
        Binding("pageup", "page(-1)", "Page up", show=False, system=True),
        Binding("pagedown", "page(1)", "Page down", show=False, system=True),
        Binding("home,g", "to(0)", "First", show=False, system=True),
        Binding("end,G", "to(-1)", "Last", show=False, system=True),
    ]
    """Known to everybody, so neither palette nor help lists them."""

    cursor: reactive[int] = reactive(0, init=False)

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, rows: Rows, index: int) -> None:
            super().__init__()
            self.rows, self.index = rows, index

        @property
        def control(self) -> Rows:
            return self.rows

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._strips: dict[int, list[Strip]] = {}
        self._drawn_for: object = None
        self._top = 0

    # What subclasses say

    @property
    def count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def row(self, index: int, width: int) -> Content:
        """What stands in a row, as many lines as `row_height`."""
        raise NotImplementedError

    @property
    def marks_cursor(self) -> bool:
        """Whether the cursor's row stands out."""
        return True

    # Drawing: the rows scroll by themselves, since a widget that changes its virtual size has the whole screen laid out anew

    def redraw(self) -> None:
        """The rows have changed: draw them anew."""
        self._strips.clear()
        self._show_from(self._top)
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.count * self.row_height

    @property
    def _extent(self) -> int:
        """Lines of all rows."""
        return self.count * self.row_height

    @property
    def row_width(self) -> int:
        """Cells that a row may fill, the scrollbar left out."""
        return self.size.width - (self._extent > self.size.height)

    def on_resize(self, event: events.Resize) -> None:
        self.redraw()
        self.reveal()

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.visual_style.rich_style
        if not self.count:
            text = crop(self.empty, width) if y == 0 else ""
            return Strip([Segment(text, base + Style(dim=True))]).adjust_cell_length(width, base)
        index, line = divmod(y + self._top, self.row_height)
        if index >= self.count:
            return Strip.blank(width, base)
        state = (self.cursor, self.has_focus, self.row_width)
        if self._drawn_for != state:
            self._drawn_for = state
            self._strips.clear()
        if index not in self._strips:
            self._strips[index] = self._paint(index)
        lines = self._strips[index]
        strip = lines[line] if line < len(lines) else Strip.blank(width, base)
        strip = strip.adjust_cell_length(self.row_width, base)
        return Strip.join([strip, self._scrollbar(y)]) if self.row_width < width else strip

    def _scrollbar(self, y: int) -> Strip:
        """One cell of the bar at the right; the thumb tells which part of the rows is in view."""
        height = self.size.height
        length = max(1, round(height * height / self._extent))
        start = round(self._top / max(1, self._extent - height) * (height - length))
        part = "rows--thumb" if start <= y < start + length else "rows--bar"
        return Strip([Segment(" ", self.get_component_rich_style(part))], 1)

    def _paint(self, index: int) -> list[Strip]:
        style = self.visual_style
        if index == self.cursor and self.marks_cursor:
            style = self.get_visual_style("rows--cursor" if self.has_focus else "rows--cursor-blurred")
        width = self.row_width
        return Visual.to_strips(self, self.row(index, width), width, self.row_height, style, pad=True)

    # Cursor

    def validate_cursor(self, cursor: int) -> int:
        return min(max(0, cursor), max(0, self.count - 1))

    def watch_cursor(self) -> None:
        self.reveal()
        self.refresh()
        self.post_message(self.Moved(self, self.cursor))

    def reveal(self) -> None:
        """Scroll just as far as the cursor's row needs to be seen."""
        first = self.cursor * self.row_height
        self._show_from(min(max(self._top, first + self.row_height - self.size.height), first))

    def _show_from(self, top: int) -> None:
        top = min(max(0, top), max(0, self._extent - self.size.height))
        if top != self._top:
            self._top = top
            self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._show_from(self._top - 3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._show_from(self._top + 3)

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self.cursor += by

    def action_page(self, direction: int) -> None:
        """Move the cursor by one screen."""
        self.cursor += direction * max(1, self.size.height // self.row_height - 1)

    def action_to(self, index: int) -> None:
        """Put the cursor on the first or last row."""
        self.cursor = index if index >= 0 else self.count + index

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is not None and (index := (at.y + self._top) // self.row_height) < self.count:
            self.cursor = index
