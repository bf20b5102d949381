"""How a cell of a map is drawn in every kind of terminal: a sequential scale, and categories that have no order.

True colour: 64 steps of the palette. 256 colours: ten of theirs whose lightness rises. 16 colours: blue, cyan and yellow with
shades of one on the other in between. Without colour: a ramp of characters.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from mythos_tui.widgets.glyphs import GlyphSet
from mythos_tui.widgets.palette import BASICS, LEVELS, ColourMode, basic, contrast, pick, tint
from mythos_tui.widgets.text import fit

_SHADES = "░▒▓"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def glyph(level: int, glyphs: GlyphSet) -> str:
    """The ramp's character for this level, for terminals without colour."""
    return glyphs.ramp[pick(level, len(glyphs.ramp))]


@lru_cache(maxsize=1024)
def fill(level: int, mode: ColourMode, glyphs: GlyphSet) -> tuple[str, Style]:
    """Character and style that fill a cell of this level."""
    if mode == "none":
        return glyph(level, glyphs), Style()
    if mode != "16":
        return " ", tint(level, mode)
    if glyphs.ascii:
        return glyph(level, glyphs), tint(level, mode)
    between = len(_SHADES) + 1
    anchor, step = divmod(pick(level, between * (len(BASICS) - 1) + 1), between)
    ground = basic(BASICS[anchor]).rich_color
    if not step:
        return " ", Style(color=contrast(*basic(BASICS[anchor]).rgb), bgcolor=ground)
    return _SHADES[step - 1], Style(color=basic(BASICS[anchor + 1]).rich_color, bgcolor=ground)


def swatches(steps: int, base: Style, mode: ColourMode, glyphs: GlyphSet) -> list[Segment]:
    """The scale from its least to its greatest value in so many cells."""
    found = (fill(round(step / max(1, steps - 1) * (LEVELS - 1)), mode, glyphs) for step in range(steps))
    return [Segment(char, base + style) for char, style in found]


# Categories

_SIXTEEN = (4, 6, 3, 5, 2, 1, 12, 14, 11, 13, 10, 9)


@lru_cache(maxsize=1024)
def category_tint(index: int, mode: ColourMode = "truecolor") -> Style:
    """Background of a category: neighbours differ in hue and lightness; they come again after some dozens."""
    if mode == "none":
        return Style(reverse=bool(index % 2))
    if mode == "16":
        colour = basic(_SIXTEEN[index % len(_SIXTEEN)])
    else:
        hue = (0.56 + 0.381966 * index) % 1.0
        parts = colorsys.hls_to_rgb(hue, (0.38, 0.58, 0.74)[index % 3], (0.5, 0.62, 0.7)[index % 3])
        red, green, blue = (round(255 * part) for part in parts)
        colour = Color(red, green, blue)
    return Style(color=contrast(*colour.rgb), bgcolor=RichColor.from_rgb(*colour.rgb))


def category_sign(index: int, width: int) -> str:
    """A category's number in so many cells, one character where there is no room for more."""
    text = str(index)
    return fit(text if len(text) <= width else _DIGITS[index % len(_DIGITS)], width, "center")
