"""How a screen looks, as text that can be read and compared: the characters once, then for each theme the runs of styles.

A line of styles reads `row name×cells name×cells ...`; the names stand for what the list below them says. A name is made
from its style alone, so that one changed colour changes few lines.
"""

from __future__ import annotations

import difflib
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from rich.style import Style
from textual.app import App

FLAGS = ("bold", "dim", "italic", "underline", "reverse", "strike")


def text_and_styles(app: App[Any]) -> tuple[list[str], list[list[tuple[str, int]]]]:
    """The lines of the screen, and for each line its runs of (style in words, cells)."""
    texts, runs = [], []
    for strip in app.screen._compositor.render_strips():
        row: list[tuple[str, int]] = []
        for segment in strip:
            words = in_words(segment.style)
            if row and row[-1][0] == words:
                row[-1] = (words, row[-1][1] + segment.cell_length)
            else:
                row.append((words, segment.cell_length))
        texts.append("".join(segment.text for segment in strip).rstrip())
        runs.append(row)
    return texts, runs


@cache
def in_words(style: Style | None) -> str:
    """`#d6d9e0 on #0f1218 bold`."""
    if style is None:
        return "plain"
    colours = [
        one.get_truecolor().hex if one and not one.is_default else "default" for one in (style.color, style.bgcolor)
    ]
    return " ".join([colours[0], "on", colours[1], *(flag for flag in FLAGS if getattr(style, flag))])


def written(texts: list[str], themes: dict[str, list[list[tuple[str, int]]]]) -> str:
    """The whole record of a screen at one size."""
    parts = [*texts, ""]
    for theme, rows in themes.items():
        names = named({words for row in rows for words, _ in row})
        parts.append(f"── {theme}")
        previous = ""
        for number, row in enumerate(rows):
            line = " ".join(f"{names[words]}×{cells}" for words, cells in row)
            parts.append(f"{number:2} {line if line != previous else '='}")
            previous = line
        parts += [f"   {name} {words}" for words, name in sorted(names.items(), key=lambda pair: pair[1])]
    return "\n".join(parts) + "\n"


def named(styles: set[str]) -> dict[str, str]:
    """Two letters for each style, from itself; the next free ones where two agree."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    taken: dict[str, str] = {}
    for words in sorted(styles):
        number = zlib.crc32(words.encode())
        while (name := letters[number % 26] + letters[number // 26 % 26]) in taken.values():
            number += 1
        taken[words] = name
    return taken


def differences(wanted: str, found: str, path: Path) -> str:
    """What is other than in the record, at most some sixty lines of it."""
    lines = list(
        difflib.unified_diff(wanted.splitlines(), found.splitlines(), str(path), "the screen now", n=1, lineterm="")
    )
    return "\n".join(lines[:60])
