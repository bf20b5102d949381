"""Mojibake is mended; nothing else is touched."""

from __future__ import annotations

import time

import pytest

from mythos.data.clean.encoding import repair
from tests.data.clean._material import CHINESE, GERMAN, stdlib


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("It doesnâ€™t work", "It doesn’t work"),
        ("voilÃ\xa0 le cafÃ©", "voilà le café"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "привет"),
        ("a dash \x97 and \x93quotes\x94", "a dash — and “quotes”"),
        ("# naÃ¯ve\nx = 'plain'\n", "# naïve\nx = 'plain'\n"),
    ],
)
def test_wrong_decoding_is_undone(broken: str, mended: str) -> None:
    assert repair(broken) == mended


@pytest.mark.parametrize(
    "text",
    [
        "“curly” and ‘single’ quotes… and – dashes",
        "ligatures ﬁ ﬂ, full width ＡＢＣ, half-width ｶﾅ",
        "x = '&amp;é&lt;' # 10³ µm ½ Å",
        "é with \x1b[31mcolour\x1b[0m and\r\nline ends\u2028",
        "cafe\u0301 decomposed, \u00a0 no-break space, zero\u200bwidth, \ufeff mark",
        "Ça coûte 5 € à l’été ; « déjà »",
        CHINESE,
        GERMAN,
    ],
)
def test_legitimate_text_stays_as_it_is(text: str) -> None:
    assert repair(text) == text


def test_source_code_stays_as_it_is() -> None:
    foreign = [text for text in stdlib() if not text.isascii()]
    assert foreign
    assert [text[:80] for text in foreign if repair(text) != text] == []


def test_time_is_bounded_on_one_endless_line() -> None:
    begun = time.process_time()
    repair("Ã©" * 100_000)
    repair("é" * 400_000)
    assert time.process_time() - begun < 3
