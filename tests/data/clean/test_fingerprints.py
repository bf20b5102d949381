"""Keys and signatures mean what they say, in every process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.data import chance, planted
from mythos.data.clean import SIGNATURE, exact_key, signature
from mythos.data.clean.duplicates import VERIFY
from mythos.data.clean.fingerprints import shingles
from tests.data.clean._material import CHINESE, ESSAY, topics


def estimate(left: str, right: str) -> float:
    return float((signature(left) == signature(right)).mean())


def test_white_space_line_ends_and_composition_make_no_other_document() -> None:
    assert exact_key("a café\n\n  b") == exact_key(" a cafe\u0301\tb\r\n")
    assert len({exact_key(text) for text in ("a b", "ab", "a B", "a, b", "")}) == 5
    assert len(exact_key("a")) == 16
    assert exact_key("\ud800")  # a lone surrogate is no crash


def test_shape_and_type() -> None:
    assert signature(ESSAY).shape == (SIGNATURE,) == (112,)
    assert signature(ESSAY).dtype == np.uint32


def test_the_same_in_another_process() -> None:
    code = (
        f"from mythos.data.clean import exact_key, signature; t = {ESSAY!r}; print(exact_key(t), signature(t).tolist())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == f"{exact_key(ESSAY)} {signature(ESSAY).tolist()}"


def test_case_and_punctuation_do_not_count() -> None:
    assert estimate(ESSAY, ESSAY.upper().replace(",", " --")) == 1


@pytest.mark.parametrize("text", ["", "word", "one two three four", "???", "。"])
def test_short_texts_equal_only_themselves(text: str) -> None:
    assert estimate(text, text) == 1
    assert estimate(text, "four three two one") < 0.1


def test_words_that_differ_in_their_vowel_signs_make_other_texts() -> None:
    """He and she: the same consonants, and another vowel sign in every second word."""
    he = "लड़का बोला कि वह अपना काम करेगा और घर जाएगा"
    assert estimate(he, "लड़की बोली कि वह अपनी काम करेगी और घर जाएगी") < 0.1
    assert estimate("कल", "कुल") < 0.1 and estimate(he, he + "।") == 1


def test_texts_without_words_equal_only_themselves() -> None:
    assert estimate("???", "!!!") < 0.1


def test_shingles_are_five_words_in_a_row() -> None:
    assert list(shingles("One, two - three four; five SIX.")) == ["one two three four five", "two three four five six"]
    assert list(shingles("One, two!")) == ["one two"]


def test_texts_without_spaces_are_compared_by_character() -> None:
    assert estimate(CHINESE, CHINESE.replace("三月", "四月")) > 0.8
    assert estimate(CHINESE, CHINESE[::-1]) < 0.1


def test_the_estimate_is_the_true_similarity() -> None:
    """The mean error is within four standard errors of nothing, the spread at most that of a binomial."""
    windows, copies, true = planted(topics(), seed=3, width=200)
    errors = np.array([estimate(a, b) for a, b in zip(windows, copies, strict=True)]) - true
    deviation = np.sqrt(true * (1 - true) / SIGNATURE)
    differ = deviation > 0
    assert abs(errors.mean()) < 4 * np.sqrt((deviation**2).mean() / len(errors))
    assert (errors[differ] / deviation[differ]).std() < 1.1


def test_verification_costs_little_where_it_must_catch_and_removes_little_where_it_must_not() -> None:
    assert chance(0.8, 0) == pytest.approx(1 - (1 - 0.8**8) ** 14)
    assert chance(0.8, VERIFY) > 0.922
    assert chance(0.5, VERIFY) < 1e-4
