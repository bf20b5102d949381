"""The pictures of one trace: which views are shown, how they are drawn, and the cursor that they share."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Static

from mythos_tui.screens.chat.checkpointed import CheckpointScreen
from mythos_tui.screens.chat.controls import Controls
from mythos_tui.screens.inspect.losstext import LossText
from mythos_tui.screens.inspect.reading import explain, reading
from mythos_tui.screens.inspect.sweepchart import SweepChart
from mythos_tui.screens.inspect.tables import MEASURES, TABLES, Look
from mythos_tui.screens.inspect.views import TraceMap
from mythos_tui.widgets.heatmap import Heatmap
from mythos_tui.widgets.heatmap_paint import whole

VIEWS = {
    "halting": "Halting",
    "lens": "Lens",
    "attention": "Attention",
    "depth": "By depth",
    "pattern": "Pattern",
    "experts": "Experts",
    "states": "States",
    "loss": "Loss",
    "sweep": "Sweep",
}
"""Title of every view."""
OF_TOKENS = ("halting", "lens", "attention", "pattern", "experts", "states")
"""Maps whose rows are tokens."""
OF_STEPS = ("halting", "lens", "experts", "states")
"""Maps whose columns are steps."""
OF_ATTENTION = ("attention", "depth", "pattern")
UNRUN = "enter in the text field ([inspect.edit] goes there) runs the text through the checkpoint."
PAIR_FROM = 160
"""Columns of the terminal from which two views stand side by side."""


class TracePictures(CheckpointScreen):
    """Rows and columns differ between views; token, step, row of attention and head are the same in all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.look: Look | None = None
        self._view = "halting"

    def compose_pictures(self) -> ComposeResult:
        """The tabs, a widget for every view, and the line below them."""
        yield Static("", id="views")
        with Horizontal(id="pictures"):
            for view in VIEWS:
                if view == "loss":
                    yield LossText(id=view)
                elif view == "sweep":
                    yield SweepChart(id=view)
                else:
                    yield TraceMap(id=view)
        yield Static("", id="explanation")

    # Views

    def action_view(self, view: str) -> None:
        """Show one of the pictures."""
        self._view = view
        self._show()
        self._focus_view()

    def _focus_view(self) -> None:
        self.query_one(f"#{self._view}").focus()

    def action_measure(self) -> None:
        """Show the next of the numbers that the chosen view has."""
        if self.look is not None and self._view in MEASURES:
            self.look.measures[self._view] = self.look.measure(self._view) + 1
            self._show()

    def action_step(self, by: int) -> None:
        """Another row of attention; where tokens are no rows another token."""
        look = self.look
        if look is None:
            return
        if self._view in ("depth", "loss", "sweep"):
            look.token = min(max(0, look.token + by), len(look.trace.tokens) - 1)
        else:
            look.row = (look.row + by) % max(1, len(look.trace.rows))
        self._show()

    def action_head(self, by: int) -> None:
        """Another head."""
        if self.look is not None:
            self.look.head = (self.look.head + by) % max(1, self.look.trace.heads)
            self._show()

    def action_pattern(self) -> None:
        """From an entropy to the pattern behind it."""
        self.action_view("pattern")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "step":
            return self.look is not None and self._view in (*OF_ATTENTION, "loss", "sweep")
        if action == "head":
            return self.look is not None and self._view in OF_ATTENTION
        if action == "measure":
            return self.look is not None and self._view in MEASURES
        if action == "pattern":
            return self.look is not None and self._view in ("attention", "depth") and self._is_picture(self.focused)
        return super().check_action(action, parameters)

    @staticmethod
    def _is_picture(widget: object) -> bool:
        return getattr(widget, "id", None) in VIEWS

    @property
    def views(self) -> tuple[str, ...]:
        """The views that are shown: the chosen one, in a wide terminal with a second that goes with it."""
        if self.app.size.width < PAIR_FROM:
            return (self._view,)
        anchor = "halting" if self.look is None or self.look.trace.has_depth else "lens"
        if self._view in ("depth", "pattern"):
            anchor = "attention"
        partner = "attention" if anchor == "lens" else "lens"
        return (anchor, self._view if self._view != anchor else partner)

    def _show(self) -> None:
        """Draw the views that are chosen, from the state of this screen alone."""
        for view in VIEWS:
            picture = self.query_one(f"#{view}")
            if picture.display != (view in self.views):
                picture.display = view in self.views
                self.call_after_refresh(self._draw, self.views)  # once more with the room that it then has
        self.query_one("#views", Static).update(self._tabs())
        self._draw(self.views)
        self._tell()
        self.refresh_bindings()
        self.want(self.views)

    def want(self, views: Iterable[str]) -> None:
        """Ask for what the shown views need and the trace does not hold."""

    def _draw(self, views: Iterable[str]) -> None:
        look = self.look
        if look is None or not look.trace.tokens:
            return
        for view in views:
            if view == "loss":
                self.query_one(LossText).show(look.trace.tokens, look.trace.loss, look.token)
            elif view == "sweep":
                self.query_one(SweepChart).show(look)
            else:
                picture = self.query_one(f"#{view}", TraceMap)
                picture.show(TABLES[view](look))
                with self.prevent(Heatmap.CellSelected), picture.prevent(Heatmap.CellSelected):
                    picture.cursor = self._cell(view, look)

    @staticmethod
    def _cell(view: str, look: Look) -> tuple[int, int]:
        """Where the shared cursor stands in a map."""
        if view == "depth":
            return look.row, look.head
        if view == "pattern":
            return look.token, look.to
        return look.token, look.step if view in OF_STEPS else look.head

    def _tabs(self) -> Content:
        """Keys and titles of all views; where there is no room only the shown ones keep their titles."""
        keys = {view: self.app.key_of(f"inspect.view('{view}')") for view in VIEWS}
        needed = sum(len(keys[view]) + len(title) + 2 for view, title in VIEWS.items())
        spare = self.query_one("#picture").size.width - 2 - needed
        gap = "   " if spare >= 2 * len(VIEWS) else " "
        parts: list[str | tuple[str, str]] = []
        for view, title in VIEWS.items():
            style = "bold underline" if view == self._view else "bold" if view in self.views else "$text-muted"
            parts += [(keys[view], "bold $primary"), " "]
            if spare >= -1 or view in self.views:
                parts += [(title, style), gap]
        return Content.assemble(*parts)

    def _tell(self) -> None:
        """The line below the pictures, and the column at the side."""
        self.query_one("#explanation", Static).update(self._explanation())
        if self.look is not None and self.look.trace.tokens:
            room = self.query_one("#side").size.height - self.query_one(Controls).outer_size.height
            self.query_one("#reading", Static).update(reading(self._view, self.look, room))

    def _explanation(self) -> Text:
        if self.look is None and self.checkpoint is None:
            return Text()  # the notice at the top says what to do
        if self.look is None:
            return Text(self.app.with_keys(UNRUN), "dim")
        return Text("\n").join(self._explain(view, self.look) for view in self.views)

    def _explain(self, view: str, look: Look) -> Text:
        return self.query_one(LossText).legend() if view == "loss" else explain(view, look, self.app.with_keys)

    def lines_of(self, view: str) -> tuple[list[Strip], int]:
        """A view as lines, a map with all its rows, and their width."""
        picture = self.query_one(f"#{view}")
        if isinstance(picture, TraceMap):
            return whole(picture, picture.size.width), picture.size.width
        if isinstance(picture, LossText):
            return picture.lines, picture.size.width
        return [picture.render_line(y) for y in range(picture.size.height)], picture.size.width

    # The shared cursor

    @on(Heatmap.CellSelected)
    def _cell_selected(self, message: Heatmap.CellSelected) -> None:
        view, look = message.heatmap.id or "", self.look
        if view not in self.views or look is None:
            return
        if view in OF_TOKENS:
            look.token = message.row
        if view in OF_STEPS:
            look.step = message.col
        elif view in ("attention", "depth"):
            look.head = message.col
        if view == "depth":
            look.row = message.row
        if view == "pattern":
            look.to = message.col
        self._follow_cursor(view)

    @on(LossText.TokenSelected)
    def _token_selected(self, message: LossText.TokenSelected) -> None:
        if self.look is not None:
            self.look.token = message.token
            self._follow_cursor("loss")

    def _follow_cursor(self, moved: str) -> None:
        """Take the other view and the numbers along to where the cursor of one went."""
        self._draw(view for view in self.views if view != moved)
        self._tell()
        self.want(self.views)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if self._is_picture(event.widget) and event.widget.id != self._view and event.widget.id in self.views:
            self._view = str(event.widget.id)
            self._show()

    def on_resize(self, event: events.Resize) -> None:
        self._show()
