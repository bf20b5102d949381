"""What all pictures over a common x axis share: zoom, pan, follow, crosshair, by key and by mouse."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from textual.binding import BindingType
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from mythos_tui.actions import bindings
from mythos_tui.widgets.glyphs import glyphs_of
from mythos_tui.widgets.palette import colour_mode

Window = tuple[float, float]
FAST = 10


class XView(Widget, can_focus=True, inherit_bindings=False):
    """A picture over x. `x_window` is the range shown (None: all), `follow` makes a zoomed window keep up with the newest
    sample, `crosshair` is an x value or None, `x_log` makes the axis logarithmic.

    A subclass says what there is to see (`extent`), how wide it is drawn (`plot_columns`) and draws (`redraw`).
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("view")

    x_window: reactive[Window | None] = reactive[Window | None](None, repaint=False)
    follow: reactive[bool] = reactive(False, repaint=False)
    crosshair: reactive[float | None] = reactive[float | None](None, repaint=False)
    x_log: reactive[bool] = reactive(False, repaint=False)

    _lines: list[Strip] | None = None
    _drawn_for: object = None
    _asked = False

    class CrosshairMoved(Message):
        """The person moved the crosshair of this view to `x`, or took it away (None)."""

        def __init__(self, view: XView, x: float | None) -> None:
            super().__init__()
            self.view, self.x = view, x

        @property
        def control(self) -> XView:
            return self.view

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, XView.CrosshairMoved) and message.view is self.view

    @abstractmethod
    def extent(self) -> Window | None:
        """Least and greatest x (above zero on a logarithmic axis); None without any point."""

    @abstractmethod
    def plot_columns(self) -> tuple[int, int]:
        """The first column of the plot inside the widget, and how many columns it has."""

    def drawn_window(self) -> Window | None:
        """The range of x as it was drawn last, positions on the axis."""
        shown = self.shown_window()
        return (self._axis(shown[0]), self._axis(shown[1])) if shown else None

    @abstractmethod
    def paint(self, known: bool) -> tuple[list[Strip], list[Region]]:
        """All lines, as wide as the widget, and the regions that differ from the last ones, which `known` says were drawn
        with this size and style."""

    # Drawing: the lines are made once for each change, and only regions that differ are sent to the terminal

    def redraw(self) -> None:
        """Draw anew at the next frame; what turns out as it was stays."""
        self._lines = None
        if not self._asked:
            self._asked = True
            self.call_next(self._repaint)

    def _repaint(self) -> None:
        self._asked = False
        state = self._state()
        if self._drawn_for is None or state != self._drawn_for:
            self.refresh()  # never drawn, or of another size or style: all of it
        elif self.screen.is_current:
            self._painted(state)

    def _state(self) -> object:
        if not self.is_attached:
            return None
        return self.size, self.visual_style, glyphs_of(self.app).name, colour_mode(self.app)

    def _painted(self, state: object) -> list[Strip]:
        """The lines as they are now, in this size and style."""
        if self._lines is None or self._drawn_for != state:
            self._lines, changed = self.paint(self._drawn_for == state)
            self._drawn_for = state
            if changed:
                self.refresh(*changed)
        return self._lines

    def render_line(self, y: int) -> Strip:
        lines = self._painted(self._state())
        return lines[y] if y < len(lines) else Strip.blank(self.size.width, self.visual_style.rich_style)

    def notify_style_update(self) -> None:
        self._lines = None
        super().notify_style_update()

    def watch_x_window(self) -> None:
        self.redraw()

    def watch_crosshair(self) -> None:
        self.redraw()

    def watch_x_log(self) -> None:
        self.redraw()

    def watch_follow(self) -> None:
        self.keep_up()
        self.redraw()

    # Positions are handled on the axis as drawn, that is in log10 where x is logarithmic

    def _axis(self, value: float) -> float:
        return float(np.log10(value)) if self.x_log else value

    def _value(self, at: float) -> float:
        return float(10.0**at) if self.x_log else at

    def shown_window(self) -> Window | None:
        """The range of x that is shown now."""
        shown = self.x_window
        if shown is None or (self.x_log and shown[1] <= 0):
            return self.extent()
        if self.x_log and shown[0] <= 0:
            extent = self.extent()
            return (min(extent[0], shown[1]), shown[1]) if extent else None
        return shown

    def keep_up(self) -> None:
        """Slide a followed window to the newest sample."""
        extent, shown = self.extent(), self.shown_window()
        if self.follow and self.x_window is not None and extent is not None and shown is not None:
            lo, hi = self._axis(shown[0]), self._axis(shown[1])
            shift = self._axis(extent[1]) - hi
            self.x_window = (self._value(lo + shift), self._value(hi + shift))

    def _place(self, lo: float, hi: float) -> None:
        """Show lo..hi (axis positions), moved back into the data; all of it when that is wider than the data."""
        extent = self.extent()
        if extent is None:
            return
        least, most = self._axis(extent[0]), self._axis(extent[1])
        if hi - lo >= (most - least) * (1 - 1e-9):
            self.x_window = None
            return
        shift = max(0.0, least - lo) - max(0.0, hi - most)
        self.x_window = (self._value(lo + shift), self._value(hi + shift))

    # What a person does

    def action_zoom(self, factor: float, about: float | None = None) -> None:
        """Make the window `factor` times as wide, about an x, the crosshair, the newest sample, or the middle."""
        shown = self.shown_window()
        if shown is None or shown[1] <= shown[0]:
            return
        lo, hi = self._axis(shown[0]), self._axis(shown[1])
        anchor = hi if self.follow else (lo + hi) / 2
        about = self.crosshair if about is None else about
        if about is not None and shown[0] <= about <= shown[1]:
            anchor = self._axis(about)
        if factor < 1 and (hi - lo) * factor <= 1e-9 * max(abs(lo), abs(hi)):
            return
        self._place(anchor - (anchor - lo) * factor, anchor + (hi - anchor) * factor)

    def action_pan(self, share: float) -> None:
        """Move the window by a share of its width; a move to the left ends following."""
        shown = self.shown_window()
        if shown is None or self.x_window is None:
            return
        lo, hi = self._axis(shown[0]), self._axis(shown[1])
        if share < 0:
            self.follow = False
        self._place(lo + share * (hi - lo), hi + share * (hi - lo))

    def action_reset_view(self) -> None:
        """Show all x, no crosshair, no following."""
        self.follow = False
        self.x_window = None
        self._point_at(None)

    def action_toggle_follow(self) -> None:
        """Keep the window at the newest sample, or let it stand."""
        self.follow = not self.follow

    def action_toggle_x_log(self) -> None:
        """Switch the x axis between linear and logarithmic."""
        self.x_log = not self.x_log

    def action_crosshair(self, columns: int) -> None:
        """Move the crosshair by so many columns; the first press puts it on the newest sample shown."""
        shown = self.shown_window()
        if shown is None:
            return
        if self.crosshair is None:
            self._point_at(shown[1])
            return
        lo, hi = self._axis(shown[0]), self._axis(shown[1])
        at = self._axis(self.crosshair) if self.crosshair > 0 or not self.x_log else lo
        step = (hi - lo) / max(1, self.plot_columns()[1])
        self._point_at(self._value(min(hi, max(lo, at + columns * step))))

    def _point_at(self, x: float | None) -> None:
        if x != self.crosshair:
            self.crosshair = x
            self.post_message(self.CrosshairMoved(self, x))

    def _x_under(self, column: int) -> float | None:
        """The x at a column of the widget, None beside the plot."""
        drawn, (first, width) = self.drawn_window(), self.plot_columns()
        if drawn is None or not first <= column < first + width:
            return None
        return self._value(drawn[0] + (drawn[1] - drawn[0]) * (column - first + 0.5) / width)

    def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is not None and (x := self._x_under(at.x)) is not None:
            self._point_at(x)

    def _wheel(self, event: MouseScrollUp | MouseScrollDown, factor: float) -> None:
        at = event.get_content_offset(self)
        if at is not None and (x := self._x_under(at.x)) is not None:
            event.stop()
            self.action_zoom(factor, x)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._wheel(event, 0.5)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self._wheel(event, 2.0)


def link(views: list[XView], names: tuple[str, ...] = ("crosshair", "x_window", "follow", "x_log")) -> None:
    """Keep these attributes equal among mounted views, whichever changes."""

    def share(source: XView, name: str) -> None:
        def spread(value: object) -> None:
            for view in views:
                if view is not source and getattr(view, name) != value:
                    setattr(view, name, value)

        source.watch(source, name, spread, init=False)

    for view in views:
        for name in names:
            share(view, name)
