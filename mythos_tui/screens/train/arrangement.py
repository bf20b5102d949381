"""Which panels are shown, in which order, and how large: a person's choice, remembered."""

from __future__ import annotations

import math

from mythos_tui.runs.memory import Memory
from mythos_tui.screens.train.panels import PANELS, Panel

CELL_WIDTH, CELL_HEIGHT = 42, 6
SCALES = (0.6, 0.8, 1.0, 1.4, 2.0, 3.0)
PLAIN = 2
KNOWN = {panel.id: panel for panel in PANELS}


def plan(count: int, width: int, height: int, scale: float = 1.0) -> tuple[int, int]:
    """(columns, rows) of the grid for `count` charts: two columns where they fit, rows no lower than readable."""
    across, down = CELL_WIDTH * scale, CELL_HEIGHT * scale
    columns = max(2 if width >= 50 and scale <= 1 else 1, min(6 if scale < 1 else 4, int(width / across)))
    rows = max(1, int(height / down))
    rows = min(rows, math.ceil(count / columns)) or 1
    return min(columns, max(1, count)), rows


class Arrangement:
    """The chosen panels in their order, and the size of charts."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        kept = [name for name in memory.texts("panels") if name in KNOWN]
        self.order: list[str] = [*dict.fromkeys(kept), *(name for name in KNOWN if name not in kept)]
        hidden = memory.texts("hidden panels") if kept else [panel.id for panel in PANELS if panel.extra]
        self.hidden: set[str] = set(hidden) & set(KNOWN)
        if len(self.hidden) == len(KNOWN):
            self.hidden.clear()
        self.size: int = min(len(SCALES) - 1, max(0, memory.get("chart size", PLAIN)))

    @property
    def panels(self) -> list[Panel]:
        """The chosen panels, in order."""
        return [KNOWN[name] for name in self.order if name not in self.hidden]

    @property
    def scale(self) -> float:
        """How much larger than usual charts are."""
        return SCALES[self.size]

    def toggle(self, name: str) -> bool:
        """Show a panel or leave it out; False where it is the last one that is shown."""
        if name not in self.hidden and len(self.panels) == 1:
            return False
        self.hidden ^= {name}
        self._keep()
        return True

    def move(self, name: str, by: int) -> None:
        """Move a panel up or down in the order."""
        at = self.order.index(name)
        to = min(max(0, at + by), len(self.order) - 1)
        self.order.insert(to, self.order.pop(at))
        self._keep()

    def resize(self, by: int) -> bool:
        """Take the next larger or smaller size; False at the end."""
        size = min(len(SCALES) - 1, max(0, self.size + by))
        changed, self.size = size != self.size, size
        self._memory.put("chart size", size)
        return changed

    def reset(self) -> None:
        """Back to how it is delivered."""
        self.order = list(KNOWN)
        self.hidden = {panel.id for panel in PANELS if panel.extra}
        self.size = PLAIN
        self._keep()
        self._memory.put("chart size", PLAIN)

    def _keep(self) -> None:
        self._memory.put("panels", self.order)
        self._memory.put("hidden panels", sorted(self.hidden))
