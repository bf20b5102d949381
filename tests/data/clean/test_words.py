"""Hard-wrapped text becomes paragraphs, and what is no prose is left out."""

from __future__ import annotations

import pytest

from mythos.data.clean.words import paragraphs, tokens, words
from tests.data.clean._material import CHINESE

LONG = "This sentence is long enough to have been wrapped by"


def test_a_wrapped_sentence_is_one_line() -> None:
    assert paragraphs(f"{LONG}\nan editor.\n\nNext.\n") == [[f"{LONG} an editor."], ["Next."]]


def test_a_sentence_that_ends_with_the_line_goes_on_if_the_next_word_had_no_room() -> None:
    first = "Here a sentence ends exactly where the line does."
    assert paragraphs(f"{first}\nAnd another follows it.") == [[f"{first} And another follows it."]]
    wide = "This line is a good deal wider than those before it, and so it seems that they ended on purpose."
    assert paragraphs(f"{first}\nAnd another one.\n{wide}") == [[first, "And another one.", wide]]


def test_short_lines_and_list_items_stay_lines() -> None:
    assert paragraphs("Roses are red,\nviolets are blue") == [["Roses are red,", "violets are blue"]]
    assert paragraphs(f"- {LONG}\n- {LONG}\n2. {LONG}") == [[f"- {LONG}", f"- {LONG}", f"2. {LONG}"]]


def test_a_label_belongs_to_what_follows() -> None:
    assert paragraphs("ROMEO:\nBut soft!\nWhat light?") == [["ROMEO: But soft!", "What light?"]]


def test_quotations_of_code_are_left_out() -> None:
    assert paragraphs("One.\n```python\nx = 1\n```\nTwo.") == [["One."], ["Two."]]
    assert paragraphs("One.\n```x = 1```\nTwo.") == [["One.", "```x = 1```", "Two."]]
    assert paragraphs("One.\n\n>>> f(1)\nthe result\n\nTwo.") == [["One."], ["Two."]]
    assert paragraphs("As follows::\n\n    x = 1\n\n    y = 2\n\nTwo.") == [["As follows::"], ["Two."]]


def test_headings_rules_tables_and_addresses_are_left_out() -> None:
    assert paragraphs("## A heading\nOne.\n=====\n| a | b |\n$ make\n.. note::\nSee https://a.org/x.\n#tag") == [
        ["One."],
        ["See .", "#tag"],
    ]


def test_words_and_tokens() -> None:
    assert words("Don't stop—here, No 5!") == ["don", "t", "stop", "here", "no", "5"]
    assert tokens("Don't stop - here") == ["Don't", "stop", "here"]
    assert tokens(CHINESE)[:3] == ["小", "镇", "的"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("किताब कुतुब।", ["किताब", "कुतुब"]),
        ("தமிழ் நாடு", ["தமிழ்", "நாடு"]),
        ("كِتَابٌ، שָׁלוֹם", ["كِتَابٌ", "שָׁלוֹם"]),
        ("Cafe\u0301, nai\u0308ve", ["cafe\u0301", "nai\u0308ve"]),
        ("𑀓𑀸𑀫 𑀓𑀼", ["𑀓𑀸𑀫", "𑀓𑀼"]),
        ("ที่ 町が a\u0301b町", ["ท", "ี", "่", "町", "が", "a\u0301b", "町"]),
        ("L’été d’Œdipe: 5\ufe0f\u20e3 — ❤\ufe0f", ["l", "été", "d", "œdipe", "5"]),
    ],
)
def test_marks_continue_a_word(text: str, expected: list[str]) -> None:
    """Vowel signs make the words of Indic scripts; without them two different words are the same consonants."""
    assert words(text) == expected
