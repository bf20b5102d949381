"""Below the charts: log, alerts and machine, one at a time, or side by side where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input

from mythos_tui.screens.train.alerts import AlertRail, level_of, severity
from mythos_tui.screens.train.log_tail import LogTail
from mythos_tui.screens.train.system import SystemPanel
from mythos_tui.widgets.fields import TextField

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp
    from mythos_tui.runs.machine import Machine
    from mythos_tui.runs.snapshot import RunSnapshot

PANES = ("log", "alerts", "machine")


class DockBar(Widget):
    """The panes' names with their keys; the one that is shown stands out. A click shows one."""

    DEFAULT_CSS: ClassVar[str] = "DockBar { height: 1; width: 1fr; padding: 0 1; }"
    app: MythosApp
    alerts: reactive[tuple[int, str]] = reactive((0, ""))
    found: reactive[str] = reactive("")

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []

    def render(self) -> Content:
        dock = self.parent.parent if self.parent else None
        assert isinstance(dock, Dock)
        parts: list[str | tuple[str, str]] = []
        at, self._spans = 0, []
        for pane in PANES:
            key = self.app.key_of(f"train.dock('{pane}')")
            start = dock.query_one(f"#{pane}").region.x - self.region.x if dock.is_wide else at
            if start > at:
                parts.append(" " * (start - at))
                at = start
            title = {"log": "Log", "alerts": "Alerts", "machine": "Machine"}[pane]
            count, colour = self.alerts
            badge = f" {count}" if pane == "alerts" and count else ""
            here = pane == dock.pane or dock.is_wide
            parts += [
                (f"{key} ", "bold $primary"),
                (title, "bold" if here else "$foreground-muted"),
                (badge, f"bold {colour}"),
            ]
            end = at + len(key) + 1 + len(title) + len(badge)
            self._spans.append((at, end, pane))
            if pane == "log" and self.found:
                parts.append((f"  {self.found}", "$accent"))
                end += 2 + len(self.found)
            parts.append("   ")
            at = end + 3
        return Content.assemble(*parts)

    async def on_click(self, event: events.Click) -> None:
        for start, end, pane in self._spans:
            if start <= event.x - self.styles.padding.left < end:
                await self.screen.run_action(f"dock('{pane}')")


class Dock(Vertical):
    """The three panes, the bar of their names, and the field of the log's search."""

    DEFAULT_CSS: ClassVar[str] = """
    Dock { height: 5; }
    Dock > #dock-head { height: 1; }
    Dock #log-search { display: none; width: 32; background: $panel; padding: 0 1; }
    Dock #log-search.-shown { display: block; }
    Dock > #panes { height: 1fr; }
    Dock #panes > * { display: none; width: 1fr; }
    Dock.-log #log, Dock.-alerts #alerts, Dock.-machine #machine { display: block; }
    Dock.-wide-dock #panes > * { display: block; margin: 0 1 0 0; }
    Dock.-wide-dock #log { width: 5fr; }
    Dock.-wide-dock #alerts { width: 4fr; }
    Dock.-wide-dock #machine { width: 4fr; }
    """

    def __init__(self) -> None:
        super().__init__(id="dock", classes="-log")
        self.pane = "log"

    def compose(self) -> ComposeResult:
        with Horizontal(id="dock-head"):
            yield DockBar()
            yield TextField(placeholder="search the log", id="log-search")
        with Horizontal(id="panes"):
            yield LogTail()
            yield AlertRail()
            yield SystemPanel()

    @property
    def is_wide(self) -> bool:
        """Whether all panes are shown side by side."""
        return self.has_class("-wide-dock")

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= 130, "-wide-dock")
        self.query_one(DockBar).refresh()

    def choose(self, pane: str) -> None:
        """Show one of the panes; in a wide window all of them are."""
        self.pane = pane
        for one in PANES:
            self.set_class(one == pane, f"-{one}")
        self.query_one(DockBar).refresh()

    def show(self, snapshot: RunSnapshot) -> None:
        """Show this picture of a run."""
        self.query_one(LogTail).show(snapshot)
        self.query_one(AlertRail).show(snapshot)
        self.query_one(SystemPanel).show(snapshot)
        worst = max(snapshot.alerts, key=severity, default=None)
        self.query_one(DockBar).alerts = (len(snapshot.alerts), level_of(worst)[1] if worst else "")

    def show_machine(self, machine: Machine) -> None:
        """Show this reading of the machine."""
        self.query_one(SystemPanel).show_machine(machine)

    # Search in the log

    @on(LogTail.SearchWanted)
    def _search(self) -> None:
        field = self.query_one("#log-search", Input)
        field.add_class("-shown")
        field.focus()

    @on(Input.Changed, "#log-search")
    def _search_for(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one(LogTail).search(event.value)

    @on(Input.Submitted, "#log-search")
    def _leave_search(self, event: Input.Submitted) -> None:
        event.stop()
        event.input.remove_class("-shown")
        self.query_one(LogTail).focus()

    @on(LogTail.Searched)
    def _tell(self, event: LogTail.Searched) -> None:
        self.query_one(DockBar).found = event.text

    def end_search(self) -> bool:
        """Forget the search, if there is one; says whether there was."""
        field = self.query_one("#log-search", Input)
        if not (field.value or field.has_focus):
            return False
        field.value = ""
        field.remove_class("-shown")
        log = self.query_one(LogTail)
        log.follow()
        log.focus()
        self.query_one(DockBar).found = ""
        return True
