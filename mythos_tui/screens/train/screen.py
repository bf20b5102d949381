"""Train: the runs at the left, the selected one at the right, live."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from mythos.contract.watch import RunSummary
from mythos_tui.actions import bindings
from mythos_tui.messages import CommandAcknowledged, MachineSeen, RunsListed, RunUpdated
from mythos_tui.screens.train.alerts import AlertDialog, AlertRail, full_text
from mythos_tui.screens.train.dock import Dock
from mythos_tui.screens.train.header import RunHeader
from mythos_tui.screens.train.log_tail import LogTail
from mythos_tui.screens.train.notice import Notice
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.screens.train.starting import RunStarting
from mythos_tui.screens.train.views import ChartViews, PageArranged, StepChosen
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.runs.snapshot import RunSnapshot

NEXT = {
    "pause": "; [train.pause] lets it go on",
    "resume": "; [train.pause] pauses it again",
    "save": "; [train.chat] chats with it, [train.inspect] looks inside",
    "set": "; [train.tune] shows what holds now",
    "stop": "; [train.resume_run] goes on from there later",
}
"""What to do after a worker did what it was asked."""

OF_DETAIL = ("page", "resize", "x_axis", "panels", "zoom", "dock", "toggle_dock")
"""What is done with the right side, where a run is shown."""


class TrainScreen(RunStarting, ChartViews):
    """Every run of the runs folder; commands go to the selected one."""

    MODE = "train"
    CSS_PATH = "screen.tcss"
    WATCHED: ClassVar[dict[str, bool]] = {"machine": True}
    BINDINGS: ClassVar[list[BindingType]] = bindings("train")
    help_text = (
        "Training runs live in processes of their own: leaving the workbench, or losing the terminal, does not end them. "
        "Tab moves between the list, the charts and the log; [train.zoom] shows a chart on the full screen, esc comes back."
    )

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, RunSummary] = {}
        self._wanted: str | None = None
        self._snapshot: RunSnapshot | None = None

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="train"):
            with Vertical(id="side"):
                yield from self.compose_runs()
            with Vertical(id="detail"):
                yield RunHeader()
                yield Notice()
                yield Dock()
                yield Static("No run matches the filter: esc shows all.", id="no-run", markup=False)
        yield Static(self._nothing_yet(), id="empty", markup=False)

    def _nothing_yet(self) -> str:
        return f"No runs yet in {visible(str(self.app.context.runs))}\n\n" + self.app.with_keys(
            "Press [app.open('configure')] to configure one and launch it from there,\n"
            "or [train.new_run] to start one from a preset at once;\n"
            "headless: mythos train configs/quickstart.yaml\n\n"
            "Press [app.open('chat')] to chat with a ready checkpoint, [app.open('inspect')] to look inside it.\n\n"
            "Runs train in processes of their own and appear here at once."
        )

    # What the watcher says

    @on(RunsListed)
    def _show_runs(self, message: RunsListed) -> None:
        self._runs = {run.name: run for run in message.runs}
        self.list_runs(message.runs)
        if self._wanted and self.query_one(RunList).highlight(self._wanted):
            self._wanted = None
        self._say_page()

    @on(RunList.Picked)
    @on(PageArranged)
    def _say_page(self) -> None:
        live = sum(run.is_live for run in self._runs.values())
        told = [f"{live} live"] * bool(live) + [self.pages_text] * bool(self.pages_text)
        self.set_remark(" · ".join(told))

    @on(RunUpdated)
    async def _show_run(self, message: RunUpdated) -> None:
        snapshot = message.snapshot
        if not self.is_attached or snapshot.summary.name != self.selected_name:
            return  # still queued when the workbench was left, or when another run was chosen
        if self._runs.get(snapshot.summary.name) != snapshot.summary:
            self._runs[snapshot.summary.name] = snapshot.summary
            self.query_one(RunList).update_run(snapshot.summary)
            self.refresh_bindings()
        self._snapshot = snapshot
        self.query_one(RunHeader).show(snapshot)
        self._say_what_is_wrong()
        (await self.chart_grid()).show(snapshot)
        self.query_one(Dock).show(snapshot)

    def _say_what_is_wrong(self) -> None:
        if snapshot := self._snapshot:
            notice = self.query_one(Notice)
            if self.query_one(AlertRail).has_focus:
                notice.seen(snapshot.summary.name, len(snapshot.alerts))
            width = self.query_one("#detail").size.width
            notice.show(snapshot.summary, self.app.context.runs, snapshot.alerts, width)

    @on(MachineSeen)
    def _show_machine(self, message: MachineSeen) -> None:
        self.query_one(Dock).show_machine(message.machine)

    @on(CommandAcknowledged)
    def _show_answer(self, message: CommandAcknowledged) -> None:
        answer = message.acknowledgement
        said = visible(answer.message) or ("done" if answer.ok else "refused")
        at = f" at step {answer.step}" if answer.step is not None and "step" not in said else ""
        self.app.notify(
            f"{visible(answer.command)}: {said}{at}{NEXT.get(answer.command, '') if answer.ok else ''}",
            title=visible(answer.run),
            severity="information" if answer.ok else "error",
            markup=False,
        )

    # The selected run

    @property
    def selected_name(self) -> str | None:
        """Name of the run under the cursor."""
        return self.query_one(RunList).selected

    @property
    def selected(self) -> RunSummary | None:
        """The run under the cursor, as last listed."""
        return self._runs.get(self.selected_name or "")

    def select_run(self, name: str) -> None:
        """Put the cursor on a run now, or as soon as it is listed."""
        self.query_one("#filter", Input).value = ""
        if not self.query_one(RunList).highlight(name):
            self._wanted = name
        self.look_now()

    def look_now(self) -> None:
        """Have the watcher look at once instead of at its next tick."""
        if self._watcher:
            self._watcher.refresh()

    @on(RunList.Highlighted)
    def _watch_closely(self, event: RunList.Highlighted) -> None:
        if self._watcher:
            self._watcher.select(*([event.name] if event.name else []))
        if event.name is None:
            self._empty_detail()
        self.set_class(event.name is None, "-no-run")
        self.refresh_bindings()

    def _empty_detail(self) -> None:
        """Nothing of the last run stays where no run is under the cursor."""
        self._snapshot = None
        if self.maximized is not None:
            self.minimize()

    @on(RunList.Opened)
    def _to_charts(self) -> None:
        if self.charts:
            self.charts.focus_first()

    # Panes

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in OF_DETAIL and self.has_class("-no-run"):
            return False
        return super().check_action(action, parameters)

    def key_escape(self) -> None:
        """Out of full screen; out of the log's search; else back to the list."""
        dock = self.query_one(Dock)
        if self.maximized is not None:
            self.minimize()
        elif not (dock.has_focus_within and dock.end_search()):
            self.back_to_list()

    def action_dock(self, pane: str) -> None:
        """Show one of the lower panes and go there; back to the list from there."""
        dock, widget = self.query_one(Dock), self.query_one(f"#{pane}")
        if widget.has_focus:
            self.query_one(RunList).focus()
            return
        self.remove_class("-no-dock")
        dock.choose(pane)
        widget.focus()
        self.call_after_refresh(self._say_what_is_wrong)

    def action_toggle_dock(self) -> None:
        """Show or hide the lower panes."""
        self.toggle_class("-no-dock")

    @on(AlertRail.Opened)
    def _open_alert(self, event: AlertRail.Opened) -> None:
        name = self.selected_name or ""
        text = self.app.with_keys(full_text(event.alert, name))
        self.app.push_screen(AlertDialog(f"{visible(name)}: {visible(event.alert.symptom)}", text))

    # Crosshair and log

    @on(StepChosen)
    def _follow_crosshair(self, event: StepChosen) -> None:
        log = self.query_one(LogTail)
        if event.step is None or not log.to_step(event.step):
            log.follow()
