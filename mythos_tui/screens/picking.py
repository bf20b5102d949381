"""The list of runs with its filter, watched, pinned and selected from, on every screen that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input, Static

from mythos.contract.watch import RunSummary
from mythos_tui.actions import ACTIONS
from mythos_tui.runs.watcher import RunWatcher
from mythos_tui.screens.base import WorkbenchScreen
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp

OF_RUNS = {(one.scope, one.name.partition("(")[0]) for one in ACTIONS} - {("train", "new_run")}
"""(screen, action): what nobody can do there while there is no run."""


class RunPicking(WorkbenchScreen):
    """A screen with a RunList."""

    AUTO_FOCUS = "#runs"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-medium"), (46, "-tall")]  # noqa: RUF012
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (170, "-huge")]  # noqa: RUF012
    WATCHED: ClassVar[dict[str, bool]] = {}
    """What the watcher shall look at besides the runs."""

    app: MythosApp
    _watcher: RunWatcher | None = None

    def compose_runs(self) -> ComposeResult:
        """The filter, the line below it, and the list."""
        yield TextField(placeholder="filter by name or state", id="filter")
        yield Static("", id="listed", markup=False)
        yield RunList(self.app.choice)

    # Watching

    def on_mount(self) -> None:
        pace = 1.0 / self.app.settings.frames_per_second
        self._watcher = RunWatcher(self.app.context.runs, self.post_message, every_s=pace, **self.WATCHED)
        self._watcher.start()

    def on_unmount(self) -> None:
        if self._watcher:
            self._watcher.stop()

    def on_screen_suspend(self) -> None:
        if self._watcher:
            self._watcher.parked = True

    def on_screen_resume(self) -> None:
        if self._watcher:
            self._watcher.parked = False
            self._watcher.refresh()
            self.query_one(RunList).picked()

    def list_runs(self, runs: tuple[RunSummary, ...]) -> None:
        """Show these runs, or what to do where there is none."""
        self.set_class(not runs, "-empty")
        self.set_class(bool(runs), "-some")
        self.query_one(RunList).set_runs(runs)
        self.say_listed()
        self.refresh_bindings()

    @on(RunList.Picked)
    def say_listed(self) -> None:
        """How many runs are listed, and in which order."""
        self.query_one("#listed", Static).update(self.query_one(RunList).summary(), layout=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if (self.MODE, action) in OF_RUNS and not (self.is_mounted and self.query_one(RunList).knows_any):
            return False
        return super().check_action(action, parameters)

    # Picking

    def action_pin(self) -> None:
        """Pin the run under the cursor, or let it go."""
        runs = self.query_one(RunList)
        if name := runs.selected:
            pinned = self.app.choice.toggle_pin(name)
            runs.picked()
            again = f"no longer pinned; [{self.MODE}.pin] pins it again"
            said = "pinned: on top of the list, and in Compare ([app.open('compare')])" if pinned else again
            self.notify(said, title=visible(name), timeout=2, markup=False)

    def action_select(self) -> None:
        """Select the run under the cursor for Compare, or let it go, and move on to the next."""
        runs = self.query_one(RunList)
        if (name := runs.selected) and name in self.app.choice.pins:
            said = f"It is pinned, so it is compared anyway; [{self.MODE}.pin] lets it go."
            self.notify(said, title=visible(name), timeout=3, markup=False)
        elif name:
            self.app.choice.toggle_selected(name)
            runs.picked()
            runs.action_move(1)

    # Filter

    def action_toggle_list(self) -> None:
        """Show or hide the list of runs."""
        self.toggle_class("-no-list")

    def action_filter(self) -> None:
        """Show the filter's field and go into it."""
        self.remove_class("-no-list")
        field = self.query_one("#filter", Input)
        field.add_class("-shown")
        field.focus()

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        self.query_one(RunList).set_filter(event.value)
        event.input.set_class(bool(event.value) or event.input.has_focus, "-shown")
        self.say_listed()

    @on(Input.Submitted, "#filter")
    def _leave_filter(self, event: Input.Submitted) -> None:
        self.query_one(RunList).focus()
        event.input.set_class(bool(event.value), "-shown")

    def back_to_list(self) -> None:
        """Out of the filter, emptying it, and out of everything else."""
        field = self.query_one("#filter", Input)
        if field.value or field.has_focus:
            field.value = ""
            field.remove_class("-shown")
        self.query_one(RunList).focus()
