"""The list of runs: two lines each, state first, pinned ones on top; rows change in place."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from mythos.contract.watch import RunSummary
from mythos.contract.words import counted
from mythos_tui.actions import bindings
from mythos_tui.runs.choice import RunChoice
from mythos_tui.screens.units import short, shorten
from mythos_tui.theme import STATES
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import crop, visible

HEAD_MARGIN = 4
"""Cells beside the line above the list, which is as wide as the list."""


def row(run: RunSummary, width: int, colour: str = "", pinned: bool = False) -> Content:
    """`▌● name ★` above `▌  running  1.2k/2k  2.314`; the bar in the colour that the run has in Compare, or none."""
    glyph, tint = STATES.get(run.state, ("?", "$warning"))
    loss = f"{run.loss:.3f}" if isinstance(run.loss, int | float) else ""
    mark = " ★" if pinned else ""
    bar = ("▌", colour) if colour else " "
    name = width - 3 - len(mark)
    room = max(0, width - 3 - 10)
    steps = f"{short(run.step)}/{short(run.steps)}" if run.steps else ""
    if len(steps) + len(loss) + 1 > room and run.steps:
        steps = f"{run.step / run.steps:.0%}"
    numbers = f"{steps}{loss:>{max(0, room - len(steps))}}"
    return Content.assemble(
        bar,
        (glyph, tint),
        " ",
        (shorten(visible(run.name), name).ljust(name), "bold"),
        (mark, "$accent"),
        "\n",
        bar,
        "  ",
        (f"{run.state:<10}", tint),
        (crop(numbers, room), "$foreground-muted"),
    )


class RunList(Rows):
    """Runs in the chosen order, as far as the filter lets them through; the cursor stays with its run."""

    row_height = 2
    help_text = (
        "Every run in the runs folder: its state, step and loss. What the cursor stands on is shown at the right. "
        "★ is pinned: kept on top, also after a restart. A coloured bar marks the runs that Compare lays over each other: "
        "pinned ones, and those selected with space. "
        "starting and preparing: not training yet · running · paused · stalled: silent for longer than it promised · finished · "
        "stopped: ended on request · failed: ended by an error · crashed: its process is gone without a word."
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings("runs")

    class Highlighted(Message):
        """The cursor came to another run, or to none."""

        def __init__(self, name: str | None) -> None:
            super().__init__()
            self.name = name

    class Opened(Message):
        """Enter was pressed on a run."""

    class Picked(Message):
        """Runs were pinned or selected, the order is another, or there is other room for its name."""

    def __init__(self, choice: RunChoice) -> None:
        super().__init__(id="runs")
        self._choice = choice
        self._runs: tuple[RunSummary, ...] = ()
        self._shown: list[RunSummary] = []
        self._selected: str | None = None
        self.filter = ""

    @property
    def count(self) -> int:
        return len(self._shown)

    def row(self, index: int, width: int) -> Content:
        run = self._shown[index]
        return row(run, width, self._colour(run.name), run.name in self._choice.pins)

    def _colour(self, name: str) -> str:
        """The colour that a run has in Compare; "" where it is not compared."""
        if name not in (compared := self._choice.compared):
            return ""
        from mythos_tui.widgets.palette import run_colour  # brings numpy, which the first frame does without

        return run_colour(compared.index(name), self.app)

    @property
    def knows_any(self) -> bool:
        """Whether there are runs, shown or not."""
        return bool(self._runs)

    def knows(self, name: str) -> bool:
        """Whether there is such a run, shown or not."""
        return any(run.name == name for run in self._runs)

    # What is shown

    def set_runs(self, runs: tuple[RunSummary, ...]) -> None:
        """Show these runs."""
        self._runs = runs
        shown = self._choice.sort(run for run in runs if self.matches(run))
        if shown == self._shown:
            return
        self._shown = shown
        self.redraw()
        self._keep_cursor()

    def update_run(self, run: RunSummary) -> None:
        """Take in fresher news of one run."""
        self.set_runs(tuple(run if old.name == run.name else old for old in self._runs))

    def set_filter(self, text: str) -> None:
        """Show only runs whose name or state holds this text."""
        self.filter = text.strip().lower()
        self.empty = "no match: esc shows all" if self.filter else ""
        self.set_runs(self._runs)

    def matches(self, run: RunSummary) -> bool:
        """Whether the filter lets a run through."""
        return self.filter in run.name.lower() or self.filter in run.state

    @property
    def names(self) -> list[str]:
        """Names of the runs shown, in order."""
        return [run.name for run in self._shown]

    def summary(self) -> str:
        """`3 of 12 runs · newest first`, with a word less where there is no room for it; what is cut off leaves an ellipsis."""
        some = f"{self.count} of " if self.count != len(self._runs) else ""
        runs = f"{some}{counted(len(self._runs), 'run')}"
        order, room = self._choice.order_text, self.size.width - HEAD_MARGIN
        whole, brief = f"{runs} · {order}", f"{runs} · {order.replace(' first', '')}"
        return whole if room <= 0 or len(whole) <= room else crop(brief, room)

    # Cursor

    @property
    def selected(self) -> str | None:
        """Name of the run under the cursor."""
        return self._shown[self.cursor].name if self.cursor < self.count else None

    def highlight(self, name: str) -> bool:
        """Put the cursor on a run, if it is shown."""
        if name not in self.names:
            return False
        self.cursor = self.names.index(name)
        self._tell()
        return True

    def _keep_cursor(self) -> None:
        names = self.names
        at = names.index(self._selected) if self._selected in names else min(self.cursor, max(0, len(names) - 1))
        with self.prevent(Rows.Moved):
            self.cursor = at
        self._tell()

    def _tell(self) -> None:
        if self.selected != self._selected:
            self._selected = self.selected
            self.post_message(self.Highlighted(self._selected))

    def watch_cursor(self) -> None:
        super().watch_cursor()
        self._tell()

    # Actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "open_run":
            return self.selected is not None
        return self.knows_any if action in ("sort", "reverse") else True

    def action_open_run(self) -> None:
        """Into the run's charts."""
        self.post_message(self.Opened())

    def on_resize(self, event: events.Resize) -> None:
        self.post_message(self.Picked())  # the base class draws

    def on_click(self, event: events.Click) -> None:
        if event.chain > 1:  # the base class moves the cursor
            self.action_open_run()

    def action_sort(self) -> None:
        """The next order."""
        self._choice.next_order()
        self._reorder()

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._choice.turn()
        self._reorder()

    def picked(self) -> None:
        """Pins or selection have changed."""
        self._reorder()

    def _reorder(self) -> None:
        self._shown = []
        self.set_runs(self._runs)
        self.post_message(self.Picked())
