"""The alert rail: everything that a run's guard noticed, newest on top; enter opens the whole page of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from mythos.contract.alerts import PLAYBOOK
from mythos_tui.actions import bindings
from mythos_tui.screens.help.dialogs import ErrorDialog
from mythos_tui.screens.units import grouped
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import crop, visible

if TYPE_CHECKING:
    from mythos_tui.runs.snapshot import Alert, RunSnapshot

LEVELS = {"note": ("○", "$secondary"), "warning": ("▲", "$warning"), "error": ("✗", "$error")}


def level_of(alert: Alert) -> tuple[str, str]:
    """Glyph and colour of an alert's level."""
    return LEVELS.get(alert.level, LEVELS["warning"])


def severity(alert: Alert) -> int:
    """0 note, 1 warning and whatever is unknown, 2 error."""
    return list(LEVELS).index(alert.level) if alert.level in LEVELS else 1


def full_text(alert: Alert, run: str) -> str:
    """All there is to say of an alert; keys are named by their actions."""
    when = "" if alert.step is None else f" at step {grouped(alert.step)}"
    clock = f", {time.strftime('%d %b %H:%M:%S', time.localtime(alert.time))}" if alert.time == alert.time else ""
    page = PLAYBOOK.get(alert.kind)
    parts = [
        ("", f"{visible(alert.level)}{when}{clock}: {visible(alert.symptom)}"),
        ("Evidence: ", visible(alert.evidence)),
        ("Likely cause: ", page.cause if page else ""),
        ("What to try: ", visible(alert.hint)),
        ("What was done: ", _done(alert.action)),
        ("", f"All of a run's troubles, and what its checkpoints show: mythos doctor {visible(run)}"),
    ]
    return "\n\n".join(head + text for head, text in parts if text)


def _done(action: str) -> str:
    deeds = {
        "note": "It was noted, and training went on.",
        "skip": "The update was left out, and training went on.",
        "pause": "The run was paused; [train.pause] lets it go on.",
        "stop": "The run was stopped; [train.resume_run] goes on from its latest checkpoint.",
    }
    return deeds.get(action, visible(action))


class AlertDialog(ErrorDialog):
    """One alert, whole, to read and copy."""

    DEFAULT_CSS: ClassVar[str] = """
    AlertDialog > Vertical { border: round $warning; } AlertDialog .title { color: $warning; }
    """


class AlertRail(Rows):
    """Two lines each: level, step and symptom above evidence and what to try."""

    row_height = 2
    empty = "No alerts: nothing odd so far."
    help_text = (
        "What the run's guard noticed, newest on top: ○ note, ▲ warning, ✗ error, each with its evidence and what to try. "
        "[alerts.open] opens the whole of it, to read and copy."
    )
    DEFAULT_CSS: ClassVar[str] = "AlertRail { background: $surface; padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = bindings("alerts")

    class Opened(Message):
        """An alert shall be shown whole."""

        def __init__(self, alert: Alert) -> None:
            super().__init__()
            self.alert = alert

    def __init__(self) -> None:
        super().__init__(id="alerts")
        self._alerts: tuple[Alert, ...] = ()
        self._run = ""

    @property
    def count(self) -> int:
        return len(self._alerts)

    def row(self, index: int, width: int) -> Content:
        alert = self._alerts[index]
        glyph, colour = level_of(alert)
        where = "" if alert.step is None else f"{grouped(alert.step)}  "
        head = crop(f"{where}{visible(alert.symptom)}", width - 2)
        rest = "  ".join(part for part in (visible(alert.evidence), visible(alert.hint)) if part)
        return Content.assemble(
            (f"{glyph} ", colour), (head, "bold"), "\n  ", (crop(rest, width - 2), "$foreground-muted")
        )

    def show(self, snapshot: RunSnapshot) -> None:
        """Show the alerts of this picture; the cursor stays on its alert."""
        alerts = tuple(reversed(snapshot.alerts))
        if (snapshot.summary.name, alerts) == (self._run, self._alerts):
            return
        new = len(alerts) - len(self._alerts) if snapshot.summary.name == self._run else -self.cursor
        self._run, self._alerts = snapshot.summary.name, alerts
        self.redraw()
        if self.cursor or new < 0:
            self.cursor += new

    def action_open(self) -> None:
        """The whole of an alert."""
        if self.cursor < self.count:
            self.post_message(self.Opened(self._alerts[self.cursor]))
