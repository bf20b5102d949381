"""What is wrong with a run, and how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from mythos.contract.watch import RunSummary
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.runs.snapshot import Alert


def notice(run: RunSummary, runs: Path, alert: Alert | None = None) -> Content | None:
    """A paragraph for runs that need a person, or whose guard has noticed something; None for the others."""
    if run.state not in ("failed", "crashed", "stalled"):
        return _alert(run, alert) if alert and run.is_live else None
    what, hint = _fault(run)
    parts: list[str | tuple[str, str]] = [(what, "bold $error" if run.state != "stalled" else "bold $warning")]
    if hint:
        parts += ["\n", hint]
    parts += ["\n", (_way_on(run, runs), "$foreground-muted")]
    return Content.assemble(*parts)


def _alert(run: RunSummary, alert: Alert) -> Content:
    where = "" if alert.step is None else f"Step {alert.step}: "
    more = f"{alert.count} alerts so far. " if alert.count > 1 else ""
    return Content.assemble(
        (f"{where}{visible(alert.message)}", "bold $error" if alert.level == "error" else "bold $warning"),
        "\n",
        visible(alert.hint) or "The log below may say more (l).",
        "\n",
        (f"{more}All of them: mythos doctor {run.name}", "$foreground-muted"),
    )


def _fault(run: RunSummary) -> tuple[str, str]:
    if run.state == "crashed":
        what = "The worker is gone without a word: killed, out of memory, or the machine went down."
        return what, "Its metrics and whole checkpoints are intact."
    if run.state == "stalled":
        what = "The worker has been silent for longer than it promised."
        return what, "It may be swapping or waiting for a disk; K ends it at once."
    error = run.error or {}
    kind = visible(str(error.get("type") or ""))
    message = visible(str(error.get("message") or run.message or "no message"))
    return (f"{kind}: {message}" if kind else message), visible(str(error.get("hint") or ""))


def _way_on(run: RunSummary, runs: Path) -> str:
    if run.state == "stalled":
        return "The log below may say more (l)."
    if run.last_checkpoint:
        place = "" if runs == Path("runs") else f" --runs {visible(str(runs))}"
        return f"R goes on from {visible(str(run.last_checkpoint))}; headless: mythos train --resume {run.name}{place}"
    return "It wrote no checkpoint yet: launch it anew from Configure (2)."


class Notice(Static):
    """Shown below the header while a run needs attention."""

    DEFAULT_CSS = """
    Notice { height: auto; max-height: 7; margin: 0 1; padding: 0 1; display: none; }
    Notice { background: $error 12%; border-left: thick $error; }
    Notice.-shown { display: block; }
    Notice.-warning { background: $warning 12%; border-left: thick $warning; }
    """

    def __init__(self) -> None:
        super().__init__(id="notice", markup=False)
        self._shown: object = None

    def show(self, run: RunSummary, runs: Path, alert: Alert | None = None) -> None:
        """Show what is wrong with this run, or what was noticed last, or nothing."""
        state = (run.name, run.state, str(run.error), run.last_checkpoint, alert)
        if state == self._shown:
            return
        self._shown = state
        text = notice(run, runs, alert)
        self.set_class(text is not None, "-shown")
        self.set_class(run.state not in ("failed", "crashed"), "-warning")
        self.update(text or "")
