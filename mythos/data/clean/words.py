"""What counts as a word and as a line, for quality rules and fingerprints alike.

The published rules were tuned on what a web page extractor gives: one paragraph per line, no blank lines, no hard
wraps, no examples. Licences, READMEs and plain-text documents wrap at 70 or 80 columns, underline their headings and
quote code, so `paragraphs` makes them look like that first; otherwise an ordinary sentence counts as several lines
without an end.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Chinese. Each character is a word."""

WRAPPED = 40  # characters; a shorter line ends where its author wanted
_WORD = re.compile(f"[{UNSPACED}]|[^\\W{UNSPACED}]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_SURELY_NO_MARK = "(?![\\0-\u02ff\u2000-\u206f])"  # saves the search among two thousand marks at the end of most words
_COUNTED = re.compile(r"[^\W_]")
_ADDRESS = re.compile(r"http[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]")
_ITEM = re.compile(r"[-*+•‣◦▪●·#>|=~^$%@\\<]|\.\.|\(?\w{1,3}[.):]\s")
_NO_PROSE = ("$ ", "|", *("#" * level + " " for level in range(1, 7)), "..", ":")
"""Beginnings of commands, tables, headings, directives and their options."""
_STOPS = (".", "!", "?", "…", "'", '"', "。", "！", "？", "।", "؟")
_CLOSING = ")]}*_`»”’"
_FENCES = ("```", "~~~")


def words(text: str) -> list[str]:
    """Runs of letters and digits with the vowel signs and accents on them, lower-cased; punctuation is left out."""
    text = text.lower()
    return (_WORD if text.isascii() else _marked_word()).findall(text)


@cache
def _marked_word() -> re.Pattern[str]:
    """`_WORD` where combining marks (Mn, Mc) continue a word, which no class of `re` does; variants of emoji do not."""
    codes = (*range(0x300, 0xFE00), *range(0xFE10, 0x20000))
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code)) in ("Mn", "Mc"))
    letters, mark = f"[^\\W{UNSPACED}]", f"{_SURELY_NO_MARK}[{_UNSPACED.sub('', marks)}]"
    return re.compile(f"[{UNSPACED}]|{letters}+(?:{mark}{letters}*)*")


def tokens(text: str) -> list[str]:
    """What stands between spaces and has a letter or digit, as it is; `words` where a script puts no spaces."""
    return words(text) if is_unspaced(text) else list(filter(_COUNTED.search, text.split()))


def is_unspaced(text: str) -> bool:
    """Whether a tenth of the characters belongs to scripts without spaces between words."""
    return not text.isascii() and len(_UNSPACED.findall(text)) >= len(text) / 10


def paragraphs(text: str) -> list[list[str]]:
    """The text's lines between blank lines, hard-wrapped ones joined: [paragraph][line], without empty ones.

    A line goes on in the next one if it has at least 40 characters and ends in the middle of a sentence, or so close
    to the paragraph's width that the next word had no room; and after a label with a colon, such as the speaker's name
    in a play. List items, quotations and tables begin a line. Quoted code (fences, sessions, literal blocks), tables,
    headings, directives, addresses and lines of signs alone (rules, borders) are left out.
    """
    found: list[list[str]] = [[]]
    for row in _plain_rows(_ADDRESS.sub("", text)):
        if row:
            found[-1].append(row)
        elif found[-1]:
            found.append([])
    return [_unwrapped(rows) for rows in found if rows]


def _unwrapped(rows: list[str]) -> list[str]:
    width = max(map(len, rows))
    lines = [[rows[0]]]
    for before, row in pairwise(rows):
        is_label = len(lines[-1]) == 1 and len(before) <= WRAPPED and before.endswith(":")
        cut = len(before) >= WRAPPED and (not ends(before) or len(before) + 1 + len(row.split(None, 1)[0]) > width)
        if (is_label or cut) and not _ITEM.match(row):
            lines[-1].append(row)
        else:
            lines.append([row])
    return [" ".join(parts) for parts in lines]


def ends(line: str) -> bool:
    """Whether the line ends like a sentence, also inside brackets, quotation marks or emphasis."""
    return line.rstrip(_CLOSING).endswith(_STOPS)


def _plain_rows(text: str) -> Iterator[str]:
    """Stripped lines of prose and, as "", blank ones and whatever stands between them."""
    fence, session, literal = "", False, -1  # what closes the fence; until a blank line; indentation to exceed
    for line in text.splitlines():
        row = line.strip()
        session = bool(row) and (session or row.startswith(">>>"))
        if fence or (row.startswith(_FENCES) and row[:3] not in row[3:]):
            fence = "" if fence and row.startswith(fence) else fence or row[:3]
            yield ""
        elif session or (literal >= 0 and (not row or _indentation(line) > literal)):
            yield ""
        else:
            literal = _indentation(line) if row.endswith("::") else -1
            yield row if _COUNTED.search(row) and not row.startswith(_NO_PROSE) else ""


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())
