"""The fit as two pictures, for the terminal (plotext), as SVG, and as PNG: each term of the law over what it depends on.

Each point is shown without the other term, so that all points and the curve lie in one plane: L − B·D^−β over N, and
L − A·N^−α over D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from mythos.contract.rundir import replacing, write_named
from mythos.scaling.fit import Fit
from mythos.scaling.points import ScalingError

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 480, 340, 62, 34, 14, 46
"""Pixels of a panel, and of its margins."""
SAMPLES = 60
"""Points of a curve."""


@dataclass(frozen=True)
class Panel:
    """Points and a curve over a logarithmic x-axis."""

    title: str
    label: str
    names: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    curve_x: np.ndarray
    curve_y: np.ndarray


def panels(fit: Fit) -> tuple[Panel, Panel]:
    """One panel per term."""
    n, d, loss = (np.array([getattr(p, key) for p in fit.points]) for key in ("n", "d", "loss"))
    law, names = fit.law, tuple(p.name for p in fit.points)
    marks = {name: " (refused)" if name in fit.refused else "" for name in ("alpha", "beta")}
    along_n, along_d = (np.geomspace(x.min(), x.max(), SAMPLES) for x in (n, d))
    return (
        Panel(
            f"loss − B·D^−β over parameters N{marks['alpha']}",
            "parameters N",
            names,
            n,
            loss - law.text_term(d),
            along_n,
            law.E + law.size_term(along_n),
        ),
        Panel(
            f"loss − A·N^−α over tokens D{marks['beta']}",
            "tokens D",
            names,
            d,
            loss - law.size_term(n),
            along_d,
            law.E + law.text_term(along_d),
        ),
    )


def text(panel: Panel, colours: bool, columns: int = 80, rows: int = 15) -> str:
    """A panel for the terminal."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(columns, rows)
    plotext.plot(panel.curve_x.tolist(), panel.curve_y.tolist(), marker="braille")
    plotext.scatter(panel.x.tolist(), panel.y.tolist(), marker="o")
    plotext.xscale("log")
    ticks = _ticks(panel)
    plotext.xticks(ticks, [_short(tick) for tick in ticks])
    plotext.title(panel.title)
    return str(plotext.build() if colours else plotext.uncolorize(plotext.build()))


def check(path: Path) -> None:
    """Raises ScalingError where `save` could not write `path`: before the work rather than after it."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise ScalingError(f"{path} is neither .svg nor .png.", "Name a file ending in .svg or .png.")
    if path.suffix.lower() == ".png" and not find_spec("resvg_py"):
        raise ScalingError(
            f"{path} needs the library resvg-py.", "Name an .svg file, or install it: pip install 'mythos-tui[charts]'"
        )
    if not path.parent.is_dir():
        raise ScalingError(f"There is no folder {path.parent} to write {path.name} into.", "Make it, or name another.")


def save(fit: Fit, path: Path) -> None:
    """Write the picture as .svg or .png."""
    picture = svg(panels(fit))
    if path.suffix.lower() == ".svg":
        write_named(path, picture)
        return
    render = import_module("resvg_py").svg_to_bytes
    with replacing(path) as place:
        place.write_bytes(bytes(render(svg_string=picture, zoom=2)))


def svg(shown: Sequence[Panel]) -> str:
    """Panels side by side."""
    body = "".join(f'<g transform="translate({i * WIDTH} 0)">{_draw(panel)}</g>\n' for i, panel in enumerate(shown))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(shown) * WIDTH}" height="{HEIGHT}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#222">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}</svg>\n'
    )


def _draw(panel: Panel) -> str:
    """Frame, axes, curve and points of one panel."""
    low, high = (f(np.concatenate((panel.y, panel.curve_y))) for f in (np.min, np.max))
    pad = 0.05 * (high - low) or 0.1
    xs = _Axis(math.log(panel.curve_x[0]), math.log(panel.curve_x[-1]), LEFT + 10, WIDTH - RIGHT - 10)
    ys = _Axis(low - pad, high + pad, HEIGHT - BOTTOM, TOP)
    frame = (
        f'<text x="{LEFT}" y="20" font-weight="bold">{escape(panel.title)}</text>'
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}" fill="none" stroke="#888"/>'
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.label)}</text>'
    )
    marks = [
        f'<text x="{xs(math.log(tick)):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_short(tick)}</text>'
        for tick in _ticks(panel)
    ]
    marks += [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{ys(tick):.1f}" y2="{ys(tick):.1f}" stroke="#e4e4e4"/>'
        f'<text x="{LEFT - 6}" y="{ys(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>'
        for tick in np.linspace(low, high, 6)
    ]
    path = " ".join(f"{xs(math.log(x)):.1f},{ys(y):.1f}" for x, y in zip(panel.curve_x, panel.curve_y, strict=True))
    curve = f'<polyline points="{path}" fill="none" stroke="#c44" stroke-width="1.5"/>'
    dots = [
        f'<circle cx="{xs(math.log(x)):.1f}" cy="{ys(y):.1f}" r="3.5" fill="#246" fill-opacity="0.75">'
        f"<title>{escape(_printable(name))}: {y:.4f}</title></circle>"
        for name, x, y in zip(panel.names, panel.x, panel.y, strict=True)
    ]
    return "\n".join((frame, *marks, curve, *dots))


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)


def _ticks(panel: Panel) -> list[float]:
    """Five places along the x-axis."""
    low, high = panel.curve_x[0], panel.curve_x[-1]
    return [float(tick) for tick in np.geomspace(low, high, 5)] if high > low else [float(low)]


def _short(value: float) -> str:
    """1234567 → '1.23M'."""
    power = min(max(int(math.log10(value * 1.0005) // 3), 0), 6)
    return f"{value / 1000**power:.3g}{['', 'k', 'M', 'G', 'T', 'P', 'E'][power]}"


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in name)
