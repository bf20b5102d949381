"""Three lines on the selected run: what it is doing, how far it is, its latest numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widget import Widget

from mythos.contract.watch import RunSummary
from mythos_tui.screens.units import bar, duration, grouped, short, shorten
from mythos_tui.theme import STATES
from mythos_tui.widgets.text import crop, visible

if TYPE_CHECKING:
    from mythos_tui.runs.snapshot import RunSnapshot

Part = tuple[str, str]
QUIET = "$foreground-muted"


class RunHeader(Widget):
    """State, progress and numbers of one run."""

    help_text = "Progress of the selected run; bits per byte are those of its last evaluation on held-out documents."
    DEFAULT_CSS = """
    RunHeader { height: 3; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="header")
        self._snapshot: RunSnapshot | None = None

    def show(self, snapshot: RunSnapshot) -> None:
        """Show this picture of a run."""
        self._snapshot = snapshot
        self.refresh()

    def render(self) -> Content:
        if self._snapshot is None:
            return Content("")
        run = self._snapshot.summary
        width = self.size.width
        second = (
            self._stage(width) if run.state == "preparing" and self._snapshot.progress else self._progress(run, width)
        )
        return Content("\n").join([self._title(run, width), second, self._numbers(self._snapshot, width)])

    def _title(self, run: RunSummary, width: int) -> Content:
        glyph, colour = STATES.get(run.state, ("?", "$warning"))
        family = run.family if width >= 50 else ""
        name = shorten(visible(run.name), max(12, width - len(run.state) - len(family) - 8))
        left = f"{glyph} {run.state}  {name}  "
        room = max(0, width - len(left) - len(family) - 2)
        message = _message(run)
        elsewhere = self._snapshot is not None and not figures(self._snapshot)  # then it has the third line
        message = "" if elsewhere or message in (run.state, "training") or room < len(message) else message
        gap = " " * max(1, width - len(left) - len(message) - len(family))
        state = (f"{glyph} {run.state}", f"bold {colour}")
        return Content.assemble(state, "  ", (name, "bold"), "  ", (message, QUIET), gap, (family, QUIET))

    def _progress(self, run: RunSummary, width: int) -> Content:
        share = run.step / run.steps if run.steps else 0.0
        text = f"  step {grouped(run.step)} of {grouped(run.steps)}  {share:>4.0%}" if run.steps else "  no step yet"
        if run.is_live and run.eta_s is not None:
            text += f"  {duration(run.eta_s)} left"
        return self._bar(share, text, width, STATES.get(run.state, ("", "$primary"))[1])

    def _stage(self, width: int) -> Content:
        assert self._snapshot is not None
        found = self._snapshot.progress
        done, total = _number(found.get("done")), _number(found.get("total"))
        unit = visible(str(found.get("unit") or ""))
        count = f"{short(done)} of {short(total)} {unit}" if total else f"{short(done)} {unit}"
        if rate := _number(found.get("rate")):
            count += f"  {short(rate)}/s"
        if left := _number(found.get("eta_s")):
            count += f"  {duration(left)} left"
        return self._bar(
            done / total if total else 0.0, f"  {visible(str(found.get('stage', '')))}  {count}", width, "$secondary"
        )

    def _bar(self, share: float, text: str, width: int, colour: str) -> Content:
        text = crop(text, max(0, width - 8))
        full, rest = bar(share, max(4, min(60, width - len(text))))
        return Content.assemble((full, colour), (rest, "$foreground 18%"), text)

    def _numbers(self, snapshot: RunSnapshot, width: int) -> Content:
        parts: list[Part] = []
        if not (known := figures(snapshot)):
            return Content.styled(crop(_message(snapshot.summary), width), "$foreground-muted")
        for label, value, unit in known:
            used = sum(len(text) for text, _ in parts)
            if used + len(label) + len(value) + len(unit) + 2 > width:
                break
            parts += [
                (f"{label} ", "$foreground-muted"),
                (value, "bold"),
                (f" {unit}   " if unit else "   ", "$foreground-muted"),
            ]
        return Content.assemble(*parts)


def figures(snapshot: RunSnapshot) -> list[tuple[str, str, str]]:
    """(label, value, unit), most important first; only what is known."""
    run, found = snapshot.summary, []
    loss = run.loss if run.loss is not None else snapshot.last("loss")
    if loss is not None:
        found.append(("loss", f"{loss:.3f}", ""))
    if snapshot.evaluations.bits_per_byte.size:
        found.append(("held out", f"{snapshot.evaluations.bits_per_byte[-1]:.3f}", "bits/byte"))
    if run.tokens:
        found.append(("tokens", short(run.tokens), ""))
    if (speed := snapshot.last("tokens_per_s")) is not None:
        found.append(("speed", short(speed), "tokens/s"))
    if (loops := snapshot.last("ponder")) is not None:
        found.append(("ponder", f"{loops:.2f}", "loops"))
    if (share := snapshot.last("utilisation")) is not None:
        found.append(("used", f"{share:.0%}", "of peak"))
    return found


def _message(run: RunSummary) -> str:
    """What the worker said last, unless that is the fault which the notice below tells of."""
    return "" if run.error else visible(run.message)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
