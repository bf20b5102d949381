"""One sequential palette for every tinted widget: even steps of lightness, readable with any colour vision.

Dark violet over blue and teal to light yellow; lightness rises by equal steps in OKLCH, so that the order survives
colour blindness and grey screens. What terminals of fewer colours get instead is in `scale`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.style import Style
from textual.app import App
from textual.color import Color

ANCHORS = ("#341d5e", "#313785", "#20569e", "#0e76a8", "#0995a7", "#32b39c", "#6cce84", "#b6e062", "#f7ed6c")
SERIES = ("#4cb5f5", "#f2a541", "#5fd38d", "#e06c9f", "#b79cf2", "#d9d46a", "#6fd6d6", "#f08a6c")
ColourMode = Literal["truecolor", "256", "16", "none"]
LEVELS = 64
LINE_CONTRAST = 3.0


@lru_cache(maxsize=1)
def table() -> NDArray[np.uint8]:
    """Colours of all levels, (LEVELS, 3), red, green, blue in 0..255."""
    anchors = np.array([Color.parse(anchor).rgb for anchor in ANCHORS], dtype=np.float64)
    at = np.linspace(0, len(ANCHORS) - 1, LEVELS)
    channels = [np.interp(at, np.arange(len(ANCHORS)), anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def level_of(values: ArrayLike, lo: float, hi: float) -> NDArray[np.int64]:
    """Levels 0..LEVELS-1 of `values` on the scale lo..hi, same shape; -1 for NaN, the ends for what lies outside."""
    array = np.asarray(values, dtype=np.float64)
    span = hi - lo if hi > lo else 1.0
    share = np.clip((np.clip(array, lo, max(hi, lo)) - lo) / span, 0.0, 1.0)
    return np.where(np.isnan(array), -1, np.nan_to_num(np.rint(share * (LEVELS - 1)), nan=-1)).astype(np.int64)


@lru_cache(maxsize=256)
def legible(colour: Color, ground: Color | None) -> Color:
    """`colour`, moved towards black or white until a thin line of it stands out from the ground (WCAG: 3 to 1)."""
    if ground is None:
        return colour
    end = Color(0, 0, 0) if ground.brightness > 0.5 else Color(255, 255, 255)
    steps = (colour.blend(end, step / 16) for step in range(17))
    return next((one for one in steps if _ratio(_luminance(*one.rgb), _luminance(*ground.rgb)) >= LINE_CONTRAST), end)


def ground_of(base: Style) -> Color | None:
    """The background of a style, None where the terminal's own shows."""
    return Color.from_rich_color(base.bgcolor) if base.bgcolor and base.bgcolor.triplet else None


def contrast(red: int, green: int, blue: int) -> str:
    """Black or white, whichever stands out more (WCAG contrast) on this colour."""
    own = _luminance(red, green, blue)
    return "#000000" if _ratio(own, 0.0) > _ratio(own, 1.0) else "#ffffff"


def _luminance(red: int, green: int, blue: int) -> float:
    channels = np.array([red, green, blue]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _ratio(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def colour_mode(app: App[Any]) -> ColourMode:
    """What colours the terminal shows; none where NO_COLOR is set or the console has no colour system."""
    modes: dict[str | None, ColourMode] = {None: "none", "256": "256", "standard": "16", "windows": "16"}
    return "none" if app.no_color else modes.get(app.console.color_system, "truecolor")


def has_colour(app: App[Any]) -> bool:
    """Whether the terminal shows colours at all."""
    return colour_mode(app) != "none"


def series_colour(index: int) -> str:
    """Colour of the i-th curve or run; they come again after the eighth."""
    return SERIES[index % len(SERIES)]


_CUBE = (53, 54, 24, 25, 31, 37, 78, 149, 185, 228)
"""Numbers among 256 colours, chosen near the palette so that their luminance rises."""
BASICS = (4, 6, 11)


def cube(number: int) -> Color:
    """One of the 216 colours of the cube among 256."""
    parts = ((number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6)
    red, green, blue = (55 + 40 * part if part else 0 for part in parts)
    return Color(red, green, blue)


def pick(level: int, count: int) -> int:
    """Which of `count` steps a level belongs to."""
    return min(count - 1, level * count // LEVELS)


@lru_cache(maxsize=4 * LEVELS)
def colour_at(level: int, mode: ColourMode = "truecolor") -> Color:
    """The colour of a level; among 16 colours the nearest plain one."""
    if mode == "256":
        return cube(_CUBE[pick(level, len(_CUBE))])
    if mode == "16":
        return basic(BASICS[pick(level, len(BASICS))])
    red, green, blue = table()[level].tolist()
    return Color(red, green, blue)


@lru_cache(maxsize=4 * LEVELS)
def tint(level: int, mode: ColourMode = "truecolor") -> Style:
    """Background of this level, with a foreground that can be read on it."""
    colour = colour_at(level, mode)
    return Style(color=contrast(*colour.rgb), bgcolor=colour.rich_color)


@lru_cache(maxsize=4 * LEVELS)
def ink(level: int, mode: ColourMode = "truecolor") -> Style:
    """Foreground of this level."""
    return Style(color=colour_at(level, mode).rich_color)


_BASIC = {
    "dark": (14, 11, 10, 13, 12, 15, 6, 9),
    "light": (4, 3, 2, 5, 12, 0, 6, 1),
    "unknown": (6, 3, 2, 5, 4, 1, 12, 9),
}
"""What SERIES are among 16 colours, all different, on each kind of ground."""


def basic(number: int) -> Color:
    """One of the 16 colours, as the value that is nearest to it and to no other."""
    low, high = (85, 255) if number >= 8 else (0, 170)
    red, green, blue = (high if number & bit else low for bit in (1, 2, 4))
    return Color(red, 85 if number == 3 else green, blue)


def theme_ground(app: App[Any]) -> Color | None:
    """What curves and their names stand on in this theme, the surface of what has the focus; None for the terminal's own."""
    colour = Color.parse(app.theme_variables["surface"])
    return None if colour.ansi is not None else colour


def run_colour(index: int, app: App[Any]) -> str:
    """Colour of the i-th run as it is seen here: of its curve and of the bar beside its name."""
    return line_colour(Color.parse(series_colour(index)), theme_ground(app), colour_mode(app)).hex


@lru_cache(maxsize=256)
def _basic_of(colour: Color, ground: Color | None) -> Color:
    known = [Color.parse(one) for one in SERIES]
    if colour not in known:
        return legible(colour, ground)
    kind = "unknown" if ground is None else "light" if ground.brightness > 0.5 else "dark"
    return basic(_BASIC[kind][known.index(colour)])


def line_colour(colour: Color, ground: Color | None, mode: ColourMode) -> Color:
    """A curve's colour on this ground, told apart from the others in a terminal of few colours too."""
    return _basic_of(colour, ground) if mode == "16" else legible(colour, ground)


def raw_style(colour: Color, base: Style, mode: ColourMode) -> Style:
    """Style of the samples behind a smoothed line of this colour: there, but behind it."""
    if mode == "16":
        return base + Style(color=basic(7 if (ground := ground_of(base)) and ground.brightness > 0.5 else 8).rich_color)
    return faint(base, colour if mode != "none" else None, 0.38)


@lru_cache(maxsize=1024)
def faint(base: Style, colour: Color | None, share: float) -> Style:
    """`base` with `colour` (its own foreground when None) mixed `share` (0..1) of the way out of its background."""
    ground = ground_of(base)
    if ground is None:
        return base + Style(color=colour.rich_color if colour else None, dim=share < 0.8)
    front = colour or Color.from_rich_color(base.color)
    return base + Style(color=ground.blend(front, share).rich_color)
