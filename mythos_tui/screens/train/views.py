"""What a person does with the charts of the Train screen: pages, size, choice, x axis, full screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget

from mythos_tui.screens.base import WorkbenchScreen

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp
    from mythos_tui.screens.train.charts import ChartGrid


class PageArranged(Message):
    """Other charts are shown, or their pages have been cut anew."""


class StepChosen(Message):
    """The crosshair came to a step, or is gone."""

    def __init__(self, step: float | None) -> None:
        super().__init__()
        self.step = step

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StepChosen)


class ChartViews(WorkbenchScreen):
    """A screen with a ChartGrid, made for the first run that is shown: the first frame does without it and numpy."""

    app: MythosApp
    charts: ChartGrid | None = None

    async def chart_grid(self) -> ChartGrid:
        """The charts."""
        from mythos_tui.screens.train.arrangement import Arrangement
        from mythos_tui.screens.train.charts import ChartGrid

        if self.charts is None:
            self.charts = ChartGrid(Arrangement(self.app.memory))
            await self.query_one("#detail").mount(self.charts, before="#dock")
        return self.charts

    @property
    def pages_text(self) -> str:
        """`charts 1/3`, where there is more than one page."""
        return f"charts {self.charts.page + 1}/{self.charts.pages}" if self.charts and self.charts.pages > 1 else ""

    def action_page(self, by: int) -> None:
        """Another page of charts; on the full screen another chart."""
        if not (grid := self.charts):
            return
        if self.maximized is not None and self.maximized.parent is grid:
            chart = grid.bring(self.maximized, by)
            self.minimize()
            self._enlarge(chart)
        elif grid.pages == 1:
            self.notify("All charts are on this page; } makes them larger.", timeout=2)
        else:
            grid.turn_page(by)

    def action_resize(self, by: int) -> None:
        """Larger or smaller charts."""
        if self.charts and self.charts.arrangement.resize(by):
            self.charts.arrange_page()

    def action_x_axis(self) -> None:
        """Next x axis."""
        if self.charts:
            self.notify(f"x axis: {self.charts.next_x_axis()}; x once more: the next.", timeout=2)

    def action_panels(self) -> None:
        """Choose the charts."""
        from mythos_tui.screens.train.panel_dialog import PanelDialog

        if grid := self.charts:
            self.app.push_screen(PanelDialog(grid.arrangement), lambda _: grid.arrange_page())

    def action_zoom(self) -> None:
        """What has the focus on the full screen, or back."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None and (self.focused.parent is self.charts or self.focused.id == "log"):
            self._enlarge(self.focused)

    def _enlarge(self, widget: Widget) -> None:
        if widget.can_focus:
            widget.focus()
        self.maximize(widget, container=False)
