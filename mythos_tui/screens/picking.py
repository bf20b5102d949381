"""Pinning and selecting runs, on every screen that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mythos_tui.screens.base import WorkbenchScreen
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp


class RunPicking(WorkbenchScreen):
    """A screen with a RunList."""

    app: MythosApp

    def action_pin(self) -> None:
        """Pin the run under the cursor, or let it go."""
        runs = self.query_one(RunList)
        if name := runs.selected:
            pinned = self.app.choice.toggle_pin(name)
            runs.picked()
            said = "pinned: on top of the list, and in Compare (5)" if pinned else "no longer pinned; p pins it again"
            self.notify(said, title=visible(name), timeout=2, markup=False)

    def action_select(self) -> None:
        """Select the run under the cursor for Compare, or let it go, and move on to the next."""
        runs = self.query_one(RunList)
        if (name := runs.selected) and name in self.app.choice.pins:
            said = "It is pinned, so it is compared anyway; p lets it go."
            self.notify(said, title=visible(name), timeout=3, markup=False)
        elif name:
            self.app.choice.toggle_selected(name)
            runs.picked()
            runs.action_move(1)
