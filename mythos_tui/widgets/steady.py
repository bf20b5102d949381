"""The view of x that is drawn: while samples come it moves by about a cell at once, so that the picture stands still in
between. It follows from the samples and the width alone, never from what was drawn before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mythos_tui.widgets.axis import padded_range
from mythos_tui.widgets.raster import View

if TYPE_CHECKING:
    from mythos_tui.widgets.xview import Window, XView


def steady_view(of: XView, shown: Window, columns: int, y_log: bool = False) -> View:
    """What to draw of the range `shown` into so many columns of cells."""
    x0, x1 = (math.log10(end) for end in shown) if of.x_log else shown
    if x1 <= x0:
        x0, x1 = padded_range(x0, x0)
    cell = (x1 - x0) / max(1, columns)
    if of.x_window is None:
        x1 = _up(x1, 2.0 ** math.floor(math.log2(cell)))
    elif of.follow:
        shift = _up(x1, cell) - x1
        x0, x1 = x0 + shift, x1 + shift
    return View(x0, x1, of.x_log, y_log)


def _up(end: float, step: float) -> float:
    """The next multiple of a step: with everything in view the greatest power of two within a cell, on which round
    numbers of steps lie, and which stays the same while the range doubles."""
    return math.ceil(end / step - 1e-9) * step
