"""Which runs a person has pinned and selected, and in which order the list stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mythos.contract.watch import RunSummary
from mythos_tui.runs.memory import Memory

STATES = ("running", "preparing", "starting", "paused", "stalled", "failed", "crashed", "stopped", "finished")
"""What needs looking at first."""


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


ORDERS: dict[str, tuple[str, Callable[[RunSummary], Any]]] = {
    "newest": ("newest first", lambda run: -run.created),
    "name": ("by name", lambda run: run.name.lower()),
    "state": ("by state", lambda run: STATES.index(run.state) if run.state in STATES else len(STATES)),
    "loss": ("lowest loss first", lambda run: _number(run.loss)),
    "steps": ("most steps first", lambda run: -run.step),
    "tokens": ("most tokens first", lambda run: -run.tokens),
    "ends": ("soonest end first", lambda run: _number(run.eta_s if run.is_live else None)),
}
"""Orders of the run list: what they are called, and what is sorted by."""


class RunChoice:
    """Pins and order are remembered, pins for each folder of runs; a selection lasts as long as the workbench."""

    def __init__(self, memory: Memory, folder: Path) -> None:
        self._memory = memory
        self._key = f"pins {folder.absolute()}"
        self.pins: list[str] = memory.texts(self._key)
        self.selected: list[str] = []
        order = memory.get("order", "newest")
        self.order: str = order if order in ORDERS else "newest"
        self.reverse: bool = memory.get("reverse", False)

    @property
    def compared(self) -> list[str]:
        """Runs that are pinned or selected."""
        return list(dict.fromkeys([*self.pins, *self.selected]))

    def toggle_pin(self, name: str) -> bool:
        """Pin a run, or let it go, beside what another workbench pinned since; says whether it is pinned now."""
        pinned = name not in self.pins
        self._memory.look_again()
        others = [one for one in self._memory.texts(self._key) if one != name]
        self.pins = [*others, name] if pinned else others
        self._memory.put(self._key, self.pins)
        return pinned

    def toggle_selected(self, name: str) -> bool:
        """Select a run, or let it go; a pinned one stays as it is."""
        return _toggle(self.selected, name)

    def next_order(self) -> None:
        """Take the next order."""
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]
        self._memory.put("order", self.order)

    def turn(self) -> None:
        """Turn the order around."""
        self.reverse = not self.reverse
        self._memory.put("reverse", self.reverse)

    @property
    def order_text(self) -> str:
        """The order in words."""
        return ORDERS[self.order][0] + (", reversed" if self.reverse else "")

    def sort(self, runs: Iterable[RunSummary]) -> list[RunSummary]:
        """Pinned runs first, both parts in the chosen order, what cannot be ordered last; equals newest first."""
        key = ORDERS[self.order][1]
        newest = sorted(runs, key=lambda run: (-run.created, run.name))
        ordered = sorted((run for run in newest if key(run) is not None), key=key, reverse=self.reverse)
        ordered += [run for run in newest if key(run) is None]
        return sorted(ordered, key=lambda run: run.name not in self.pins)


def _toggle(names: list[str], name: str) -> bool:
    if name in names:
        names.remove(name)
        return False
    names.append(name)
    return True
