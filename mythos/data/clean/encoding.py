"""Mojibake back into the characters it was: ftfy's decoding fixes and nothing else that ftfy can do.

Quotes stay curly, ligatures, full-width letters and every legitimate character stay as they are, and so do HTML
entities, control characters, line ends and the form of normalisation: code and documents mean them.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _decoding_only() -> Any:
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )


def repair(text: str) -> str:
    """The text with wrongly decoded characters mended; ASCII holds none."""
    if text.isascii():
        return text
    from ftfy import fix_text

    return fix_text(text, _decoding_only())
