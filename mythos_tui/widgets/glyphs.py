"""The characters that pictures are made of: braille, blocks or plain ASCII, chosen once for the whole application.

`app.glyphs` names the set ("auto" where it is missing). "auto" is ASCII where the locale cannot show more, blocks on the
Linux console, whose fonts have no braille, and braille elsewhere.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.segment import Segment
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter

from mythos_tui.widgets.locale import speaks_unicode

CHOICES = ("auto", "braille", "block", "ascii")


@dataclass(frozen=True, eq=False)
class GlyphSet:
    """How dots become characters, and the characters around them.

    `weights` (dot rows, dot columns of a cell) are the values of its dots, `table` the code point of each sum of them.
    """

    name: str
    weights: NDArray[np.int64]
    table: NDArray[np.int64]
    grid: str = "┈"
    cross: str = "│"
    rule: str = "─"
    tick: str = "┬"
    corner: str = "└"
    y_axis: str = "│"
    y_tick: str = "┤"
    line: str = "━"
    point: str = "•"
    hole: str = "×"
    best: str = "◆"
    above: str = "▲"
    below: str = "▼"
    ramp: str = "·░▒▓█"

    @property
    def ascii(self) -> bool:
        return self.name == "ascii"

    @property
    def down(self) -> int:
        """Dot rows of a cell."""
        return int(self.weights.shape[0])

    @property
    def across(self) -> int:
        """Dot columns of a cell."""
        return int(self.weights.shape[1])

    def pack(self, dots: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Sums of the dots of each cell, (rows, cols), of a dot grid (rows·down, cols·across)."""
        rows, columns = dots.shape[0] // self.down, dots.shape[1] // self.across
        cells = dots.reshape(rows, self.down, columns, self.across)
        packed: NDArray[np.int64] = np.einsum("rdca,da->rc", cells, self.weights, dtype=np.int64)
        return packed


def _codes(characters: str) -> NDArray[np.int64]:
    return np.array([ord(char) for char in characters], dtype=np.int64)


BRAILLE = GlyphSet(
    "braille",
    np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.int64),
    np.arange(256, dtype=np.int64) + 0x2800,
)
BLOCK = GlyphSet("block", np.array([[1, 2], [4, 8]], dtype=np.int64), _codes(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"))
ASCII = GlyphSet(
    "ascii",
    np.array([[1], [2], [4]], dtype=np.int64),
    _codes(" '-\".:,|"),
    grid=".", cross="|", rule="-", tick="+", corner="+", y_axis="|", y_tick="+", line="=", point="o", hole="x",
    best="*", above="^", below="v", ramp=".:-=+*#%@",
)  # fmt: skip
SETS = {one.name: one for one in (BRAILLE, BLOCK, ASCII)}


def choose(setting: str, environ: Mapping[str, str]) -> GlyphSet:
    """The set that a setting means in this environment."""
    if setting in SETS:
        return SETS[setting]
    if not speaks_unicode(environ):
        return ASCII
    return BLOCK if environ.get("TERM") == "linux" else BRAILLE


@lru_cache(maxsize=1)
def _automatic() -> GlyphSet:
    return choose("auto", os.environ)


def glyphs_of(app: App[Any]) -> GlyphSet:
    """The set of an application: `app.glyphs`, else the automatic one."""
    return SETS.get(getattr(app, "glyphs", "auto")) or _automatic()


# Everything else that is on the screen: borders, signs, text

_PLAIN = {
    **dict.fromkeys("─━┄┅┈┉╌╍═▁▔⎯–—", "-"), **dict.fromkeys("│┃┆┇┊┋║▏▕▎▍❘‖", "|"), **dict.fromkeys("█▉▊▋▇▆▅■▰▮", "#"),
    **dict.fromkeys("▌▐▄▀▃▂", "="), **dict.fromkeys("·∙⋅", "."), **dict.fromkeys("•●◉◍⬤", "o"), **dict.fromkeys("○◌◔◦", "."),
    **dict.fromkeys("▲△↑", "^"), **dict.fromkeys("▼▽↓", "v"), **dict.fromkeys("◀◂‹←«", "<"), **dict.fromkeys("▶▸›→»", ">"),
    **dict.fromkeys("✓✔", "v"), **dict.fromkeys("✗✖✘×", "x"), **dict.fromkeys("◆◇★", "*"), **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’", "'"), "…": "~", "≤": "<", "≥": ">", "≈": "~", "ρ": "p", "α": "a", "τ": "t", "Δ": "D", "λ": "l", "σ": "s",
    "░": ".", "▒": ":", "▓": "%", "⏎": "$", "⇥": ">", "␛": "^",
}  # fmt: skip


class _Plain(dict[int, str]):
    """Table for `str.translate` that fills itself: each character becomes ASCII of the same width."""

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = plain = self._plain(chr(codepoint))
        return plain

    @staticmethod
    def _plain(char: str) -> str:
        if char.isascii():
            return char
        width = cell_len(char)
        if char in _PLAIN:
            return _PLAIN[char]
        if 0x2500 <= ord(char) < 0x2580:
            return "+"
        base = "".join(one for one in unicodedata.normalize("NFKD", char) if one.isascii() and one.isprintable())
        return base if base and len(base) == width else "?" * width


_ASCII_TABLE = _Plain()


class AsciiFilter(LineFilter):
    """Turns all that is drawn into ASCII, cell by cell, for terminals that can show nothing else."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            one if one.text.isascii() else Segment(one.text.translate(_ASCII_TABLE), one.style, one.control)
            for one in segments
        ]


ASCII_FILTER = AsciiFilter()
