"""What the rules for prose measure, and the notices that are cut out of it.

The stop words are English, so that rule counts only where the text is; word lengths only where words are spaced;
repetition and the shape of lines not in licences. A hash sign before a space is a heading or a comment and not counted.
"""

from __future__ import annotations

import re

from mythos.data.clean.language import is_english
from mythos.data.clean.repetition import n_gram_shares, repeated
from mythos.data.clean.rules import PROSE, Rule, first_broken
from mythos.data.clean.words import WRAPPED, ends, is_unspaced, paragraphs, tokens, words

EXAMINED = 300_000
"""Characters that are looked at; of a longer text its beginning, middle and end."""

_ENGLISH_ONLY = frozenset({"gopher.stop_words"})
_NOT_FOR_LICENCES = frozenset(rule.name for rule in PROSE if re.search("duplicate_|_gram|fineweb", rule.name))
STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_SHORT = 30  # characters of a line
_HASH = re.compile(r"#(?=[^\s#])")
_ELLIPSES = ("...", "…")
_BULLETS = ("•", "‣", "◦", "●", "▪")
_SENTENCE = re.compile(r"[.!?…؟।][\"'»”’)\]}*_`]*(?=\s|$)|[。！？]")
_SIGNS = re.compile(r"[\W_]+")
_LETTER = re.compile(r"[^\W\d_]")
_LEGAL = re.compile(
    "permission is hereby granted|permission to use|redistributions of source|redistribution and use in source"
    "|copyright notice|without warranty|without any warranty|merchantability|in no event shall|liable for any"
    "|general public license|apache license|licensed under the|under the terms of|provided [\"'“‘]+as is"
    "|derivative work|terms and conditions|public domain|all rights reserved"
)
_NOTICE = re.compile(
    r"(?i:\b(?:enable|activate|turn on|requires?|disabled?|without)\b.{0,40}\bjavascript\b"
    r"|\bjavascript\b.{0,40}\b(?:enabled?|disabled?|activated?|turned o[nf]f?|required)\b"
    r"|terms of use|privacy policy|cookie policy|uses? (?:of )?cookies)"
)
_NOTICE_LENGTH = 200  # characters; longer paragraphs speak about such things


def without_notices(text: str) -> str:
    """The text without lines that ask for JavaScript or tell of cookies and policies (C4).

    C4 drops every line with such words. Here the line must be short and stand for itself, so that text about
    JavaScript and the middle of a wrapped paragraph stay.
    """
    if not _NOTICE.search(text):
        return text
    rows = text.splitlines(keepends=True)
    kept = [row for row, before in zip(rows, ["", *rows], strict=False) if not _is_notice(row.strip(), before.strip())]
    return "".join(kept)


def _is_notice(row: str, before: str) -> bool:
    whole = (ends(row) or len(row) < WRAPPED) and (ends(before) or len(before) < WRAPPED)
    return whole and len(row) <= _NOTICE_LENGTH and bool(_NOTICE.search(row))


def broken(text: str) -> tuple[Rule, float] | None:
    """The first rule that the text breaks, with the value measured."""
    figures = measure(text)
    while found := first_broken(PROSE, figures):
        excused = _excused(found[0].name, text)
        if not excused:
            return found
        figures = {name: value for name, value in figures.items() if name not in excused}
    return None


def _excused(name: str, text: str) -> frozenset[str]:
    """The rules that do not hold for a text that breaks this one: asked only then, because it takes time."""
    if name in _ENGLISH_ONLY and not is_english(text):
        return _ENGLISH_ONLY
    if name in _NOT_FOR_LICENCES and is_licence(text):
        return _NOT_FOR_LICENCES
    return frozenset()


def is_licence(text: str) -> bool:
    """Whether the text has at least three of the phrases that licences are made of; those repeat by nature and list
    their holders line by line."""
    return len(set(_LEGAL.findall(" ".join(examined(text).lower().split())))) >= 3


def measure(text: str) -> dict[str, float]:
    """Values by the names of the rules; a rule that does not apply to the text's script has none."""
    text = examined(text)
    parts = paragraphs(text)
    rows = [row for part in parts for row in part]
    n_words = len(words(text) if is_unspaced(text) else text.split())
    return {
        "gopher.words": n_words,
        "fineweb.lines_per_word": max(len(rows) - 1, 0) / max(n_words, 1),
        **_of_words("\n".join(dict.fromkeys(rows))),
        **_of_lines(rows),
        **_of_repetition(rows, ["\n".join(part) for part in parts]),
    }


def examined(text: str) -> str:
    """The text, or its beginning, middle and end, cut at line ends where there are some."""
    if len(text) <= EXAMINED:
        return text
    size = EXAMINED // 3
    pieces = (text[start : start + size] for start in (0, (len(text) - size) // 2, len(text) - size))
    return "\n".join(piece[piece.find("\n") + 1 : piece.rfind("\n")] or piece for piece in pieces)


def _of_words(text: str) -> dict[str, float]:
    """Of a text without repeated lines: those are measured on their own."""
    found = tokens(text)
    n = max(len(found), 1)
    figures = {
        "gopher.hashes": len(_HASH.findall(text)) / n,
        "gopher.ellipses": sum(map(text.count, _ELLIPSES)) / n,
        "gopher.alphabetic_words": sum(map(bool, map(_LETTER.search, found))) / n,
        "c4.lorem_ipsum": text.lower().count("lorem ipsum"),
    }
    if not is_unspaced(text):
        mean = len(_SIGNS.sub("", text)) / n
        figures |= {"gopher.mean_word_least": mean, "gopher.mean_word_most": mean}
        figures["gopher.stop_words"] = len(STOP_WORDS.intersection(found))
    return figures | n_gram_shares(found, max(len(text), 1))


def _of_lines(rows: list[str]) -> dict[str, float]:
    n = max(len(rows), 1)
    unended = [row for row in rows if not ends(row)]
    return {
        "gopher.bullet_lines": sum(row.startswith(_BULLETS) for row in rows) / n,
        "gopher.ellipsis_lines": sum(row.endswith(_ELLIPSES) for row in rows) / n,
        "c4.sentences": sum(len(_SENTENCE.findall(row)) for row in rows) + sum(row.count(" ") >= 4 for row in unended),
        "fineweb.line_punctuation": 1 - len(unended) / n,
        "fineweb.short_lines": sum(len(row) <= _SHORT for row in rows) / n,
    }


def _of_repetition(rows: list[str], parts: list[str]) -> dict[str, float]:
    lines_repeated, line_characters = repeated(rows)
    parts_repeated, part_characters = repeated(parts)
    return {
        "gopher.duplicate_lines": lines_repeated,
        "gopher.duplicate_line_characters": line_characters,
        "fineweb.duplicate_line_characters": line_characters,
        "gopher.duplicate_paragraphs": parts_repeated,
        "gopher.duplicate_paragraph_characters": part_characters,
    }
