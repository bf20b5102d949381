"""What is wrong with a run, and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from mythos.contract.liveness import GONE
from mythos.contract.watch import RunSummary
from mythos_tui.screens.train.alerts import level_of
from mythos_tui.screens.units import grouped
from mythos_tui.widgets.text import crop, visible

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp
    from mythos_tui.runs.snapshot import Alert


def notice(run: RunSummary, runs: Path, with_keys: Callable[[str], str]) -> Content | None:
    """A paragraph for runs that need a person, with the keys of the actions it names; None for the others."""
    if run.state not in ("failed", "crashed", "stalled"):
        return None
    what, hint = _fault(run)
    parts: list[str | tuple[str, str]] = [(what, "bold $error" if run.state != "stalled" else "bold $warning")]
    if hint:
        parts += ["\n", with_keys(hint)]
    parts += ["\n", (with_keys(_way_on(run, runs)), "$foreground-muted")]
    return Content.assemble(*parts)


def alert_line(alerts: Sequence[Alert], width: int, key: str) -> Content:
    """The newest alert in one line, and the key that shows all of them."""
    alert, count = alerts[-1], len(alerts)
    glyph, colour = level_of(alert)
    more = f"  {key} shows it" if count == 1 else f"  {key} shows all {count}"
    where = "" if alert.step is None else f"Step {grouped(alert.step)}: "
    text = crop(f"{glyph} {where}{visible(alert.message)}", max(0, width - len(more)))
    return Content.assemble((text, f"bold {colour}"), (more, "$foreground-muted"))


def _fault(run: RunSummary) -> tuple[str, str]:
    if run.state == "crashed":
        return GONE, "Its metrics and whole checkpoints are intact."
    if run.state == "stalled":
        what = "The worker has been silent for longer than it promised."
        return what, "It may be swapping or waiting for a disk; [train.kill] ends it at once."
    error = run.error or {}
    kind = visible(str(error.get("type") or ""))
    message = visible(str(error.get("message") or run.message or "no message"))
    return (f"{kind}: {message}" if kind else message), visible(str(error.get("hint") or ""))


def _way_on(run: RunSummary, runs: Path) -> str:
    if run.state == "stalled":
        return "The log below may say more ([train.dock('log')])."
    if run.last_checkpoint:
        place = "" if runs == Path("runs") else f" --runs {visible(str(runs))}"
        way = f"[train.resume_run] goes on from {visible(str(run.last_checkpoint))}"
        return f"{way}; headless: mythos train --resume {run.name}{place}"
    return "It wrote no checkpoint yet: launch it anew from Configure ([app.open('configure')])."


class Notice(Static):
    """Shown below the header while a run needs attention: a paragraph, or a line for an alert that nobody looked at yet."""

    DEFAULT_CSS = """
    Notice { height: auto; max-height: 7; margin: 0 1; padding: 0 1; display: none; }
    Notice { background: $error 12%; border-left: thick $error; }
    Notice.-shown { display: block; }
    Notice.-warning { background: $warning 12%; border-left: thick $warning; }
    """

    app: MythosApp

    def __init__(self) -> None:
        super().__init__(id="notice", markup=False)
        self._shown: object = None
        self._seen: dict[str, int] = {}

    def show(self, run: RunSummary, runs: Path, alerts: Sequence[Alert], width: int) -> None:
        """Show what is wrong with this run, or what was noticed last, or nothing. `width` cells are there."""
        unseen = run.is_live and len(alerts) > self._seen.get(run.name, 0)
        state = (run.name, run.state, str(run.error), run.last_checkpoint, len(alerts), unseen, width)
        if state == self._shown:
            return
        self._shown = state
        text = notice(run, runs, self.app.with_keys)
        if text is None and unseen:
            text = alert_line(alerts, max(20, width - 5), self.app.key_of("train.dock('alerts')"))
        self.set_class(text is not None, "-shown")
        self.set_class(run.state not in ("failed", "crashed"), "-warning")
        self.update(text or "")

    def seen(self, name: str, count: int) -> None:
        """Somebody has looked at so many alerts of a run."""
        self._seen[name] = count
