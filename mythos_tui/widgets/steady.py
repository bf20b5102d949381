"""The view of x that is drawn: while samples come it moves by whole cells, so that the picture stands still in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mythos_tui.widgets.axis import padded_range
from mythos_tui.widgets.raster import View

if TYPE_CHECKING:
    from mythos_tui.widgets.xview import XView


class Steady:
    """Remembers where the right end of one picture stood."""

    def __init__(self) -> None:
        self._end: tuple[float, float] | None = None

    def view(self, of: XView, columns: int, y_log: bool = False) -> View | None:
        """What to draw into about so many columns of cells, None where there is nothing."""
        shown = of.shown_window()
        if shown is None:
            return None
        x0, x1 = (float(np.log10(end)) for end in shown) if of.x_log else shown
        if x1 <= x0:
            x0, x1 = padded_range(x0, x0)
        cell = (x1 - x0) / max(1, columns)
        if of.x_window is None:
            x1 = self._hold(x0, x1, cell)
        elif of.follow:
            shift = float(np.ceil(x1 / cell - 1e-9)) * cell - x1
            x0, x1 = x0 + shift, x1 + shift
        return View(x0, x1, of.x_log, y_log)

    def _hold(self, x0: float, x1: float, cell: float) -> float:
        """The right end of a picture of everything: exact at first, and once it grows a cell further than it must."""
        if self._end is None or self._end[0] != x0 or x1 < self._end[1] - 2 * cell:
            self._end = (x0, x1)
        elif x1 > self._end[1]:
            self._end = (x0, x1 + cell)
        return self._end[1]
