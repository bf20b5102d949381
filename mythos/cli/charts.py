"""Static charts of the headless commands, drawn by plotext."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

Line = tuple[str, Sequence[float], Sequence[float]]
"""Label, x, y."""
MARKERS = "ox+*#%&@$="


def chart(title: str, lines: Sequence[Line], *, ticks: Sequence[float], log: bool = False) -> None:
    """Print what `draw` draws, in colours on a terminal."""
    print(draw(title, lines, ticks=ticks, log=log, colour=sys.stdout.isatty()))


def draw(
    title: str,
    lines: Sequence[Line],
    *,
    ticks: Sequence[float],
    log: bool = False,
    colour: bool = False,
    columns: int = 80,
    rows: int = 17,
) -> str:
    """Marked points joined by lines, with the given ticks on the x-axis, which may be logarithmic.
    Points without a finite y are left out.

    What the markers stand for is told below: plotext's own legend would cover points.
    """
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(columns, rows)
    points = [[(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)] for _, x, y in lines]
    for line in filter(None, points):
        plotext.plot(*zip(*line, strict=True), marker="braille")
    for marker, line in zip(MARKERS, points, strict=False):
        if line:
            plotext.scatter(*zip(*line, strict=True), marker=marker)
    if log:
        plotext.xscale("log")
    plotext.xticks(ticks, [f"{tick:g}" for tick in ticks])
    plotext.title(title)
    drawn = plotext.build() if colour else plotext.uncolorize(plotext.build())
    if len(lines) == 1:
        return str(drawn)
    legend = (f"{marker} {label}" for marker, (label, *_) in zip(MARKERS, lines, strict=False))
    return f"{drawn}\n{'   '.join(legend).center(columns).rstrip()}"
