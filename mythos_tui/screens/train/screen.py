"""Train: the runs at the left, the selected one at the right, live."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, OptionList, Static

from mythos.contract.watch import RunSummary
from mythos_tui.actions import bindings
from mythos_tui.messages import CommandAcknowledged, RunsListed, RunUpdated
from mythos_tui.runs.watcher import RunWatcher
from mythos_tui.screens.train.commands import RunCommands
from mythos_tui.screens.train.header import RunHeader
from mythos_tui.screens.train.log_tail import LogTail
from mythos_tui.screens.train.notice import Notice
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.screens.train.charts import ChartGrid


class TrainScreen(RunCommands):
    """Every run of the runs folder; commands go to the selected one."""

    MODE = "train"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#runs"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-medium"), (46, "-tall")]  # noqa: RUF012
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (170, "-huge")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = bindings("train")
    help_text = (
        "Training runs live in processes of their own: leaving the workbench, or losing the terminal, does not end them. "
        "Tab moves between the list, the charts and the log; enter shows a chart on the full screen, esc comes back."
    )

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, RunSummary] = {}
        self._wanted: str | None = None
        self._watcher: RunWatcher | None = None
        self._charts: ChartGrid | None = None

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="train"):
            with Vertical(id="side"):
                yield Input(placeholder="filter by name or state", id="filter", compact=True)
                yield RunList()
            with Vertical(id="detail"):
                yield RunHeader()
                yield Notice()
                yield LogTail()
        yield Static(self._nothing_yet(), id="empty", markup=False)

    def _nothing_yet(self) -> str:
        return (
            f"No runs yet in {visible(str(self.app.context.runs))}\n\n"
            "Press 2 to configure one and launch it from there,\n"
            "or start one headless: mythos train configs/quickstart.yaml\n\n"
            "Press 3 to chat with a ready checkpoint, 4 to look inside it.\n\n"
            "Runs train in processes of their own and appear here at once."
        )

    def on_mount(self) -> None:
        self._watcher = RunWatcher(self.app.context.runs, self.post_message)
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

    # What the watcher says

    @on(RunsListed)
    def _show_runs(self, message: RunsListed) -> None:
        self._runs = {run.name: run for run in message.runs}
        self.set_class(not message.runs, "-empty")
        self.set_class(bool(message.runs), "-some")
        runs = self.query_one(RunList)
        runs.set_runs(message.runs)
        if self._wanted and runs.highlight(self._wanted):
            self._wanted = None
        live = sum(run.is_live for run in message.runs)
        self.set_remark(f"{len(message.runs)} run{'s' * (len(message.runs) != 1)}, {live} live" if message.runs else "")
        self.refresh_bindings()

    @on(RunUpdated)
    async def _show_run(self, message: RunUpdated) -> None:
        snapshot = message.snapshot
        if not self.is_attached or snapshot.summary.name != self.selected_name:
            return  # still queued when the workbench was left, or when another run was chosen
        if self._runs.get(snapshot.summary.name) != snapshot.summary:
            self._runs[snapshot.summary.name] = snapshot.summary
            self.query_one(RunList).update_run(snapshot.summary)
            self.refresh_bindings()
        self.query_one(RunHeader).show(snapshot)
        self.query_one(Notice).show(snapshot.summary, self.app.context.runs, snapshot.alert)
        (await self._chart_grid()).show(snapshot)
        self.query_one(LogTail).show(snapshot)

    async def _chart_grid(self) -> ChartGrid:
        """The charts, made for the first run that is shown: the first frame does without them and numpy."""
        from mythos_tui.screens.train.charts import ChartGrid

        if self._charts is None:
            self._charts = ChartGrid()
            await self.query_one("#detail").mount(self._charts, before="#log")
        return self._charts

    @on(CommandAcknowledged)
    def _show_answer(self, message: CommandAcknowledged) -> None:
        answer = message.acknowledgement
        said = visible(answer.message) or ("done" if answer.ok else "refused")
        at = f" at step {answer.step}" if answer.step is not None and "step" not in said else ""
        self.app.notify(
            f"{visible(answer.command)}: {said}{at}",
            title=visible(answer.run),
            severity="information" if answer.ok else "error",
            markup=False,
        )

    # The selected run

    @property
    def selected_name(self) -> str | None:
        """Name of the highlighted run."""
        return self.query_one(RunList).selected

    @property
    def selected(self) -> RunSummary | None:
        """The highlighted run, as last listed."""
        return self._runs.get(self.selected_name or "")

    def select_run(self, name: str) -> None:
        """Highlight a run now, or as soon as it is listed."""
        self.query_one("#filter", Input).value = ""
        if not self.query_one(RunList).highlight(name):
            self._wanted = name
        self.look_now()

    def look_now(self) -> None:
        """Have the watcher look at once instead of at its next tick."""
        if self._watcher:
            self._watcher.refresh()

    @on(OptionList.OptionHighlighted, "#runs")
    def _watch_closely(self, event: OptionList.OptionHighlighted) -> None:
        if self._watcher:
            self._watcher.select(event.option_id)
        self.refresh_bindings()

    @on(OptionList.OptionSelected, "#runs")
    def _to_charts(self) -> None:
        if self._charts:
            self._charts.focus_first()

    # Filter

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

    @on(Input.Submitted, "#filter")
    def _leave_filter(self) -> None:
        self.query_one(RunList).focus()
        self.query_one("#filter").set_class(bool(self.query_one("#filter", Input).value), "-shown")

    def key_escape(self) -> None:
        """Out of the filter, emptying it; out of full screen; else back to the list."""
        field = self.query_one("#filter", Input)
        if self.maximized is not None:
            self.minimize()
        elif field.value or field.has_focus:
            field.value = ""
            field.remove_class("-shown")
            self.query_one(RunList).focus()
        else:
            self.query_one(RunList).focus()

    # Panes and charts

    def action_toggle_log(self) -> None:
        """Show or hide the log."""
        self.toggle_class("-no-log")

    def action_toggle_list(self) -> None:
        """Show or hide the list of runs."""
        self.toggle_class("-no-list")

    def action_page(self) -> None:
        """Next page of charts."""
        if self._charts:
            if self._charts.pages == 1:
                self.notify("All charts are on this page.", timeout=2)
            self._charts.turn_page()

    def action_x_axis(self) -> None:
        """Next x axis."""
        if self._charts:
            self.notify(f"x axis: {self._charts.next_x_axis()}", timeout=2)

    def action_zoom(self) -> None:
        """The focused chart on the full screen, or back."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None and self.focused.parent is self._charts:
            self.maximize(self.focused, container=False)
