"""Prose in other languages goes; code and what is in no language stays."""

from __future__ import annotations

import time

import pytest

from mythos.contract.config import DataConfig
from mythos.contract.errors import ConfigError
from mythos.data.clean import Cleaner, check_languages
from mythos.data.clean.language import LEAST, likeliest, probability, sampled
from tests.data.clean._material import CHINESE, ESSAY, GERMAN, licences, scenes, stdlib, topics


@pytest.mark.parametrize(("text", "code"), [(ESSAY, "en"), (GERMAN, "de"), (CHINESE, "zh")])
def test_languages_are_told_apart(text: str, code: str) -> None:
    assert likeliest(text)[0] == code
    assert probability(text, (code,)) > 0.9
    assert probability(text, tuple({"en", "de", "zh"} - {code})) < 0.1


def test_several_languages_add_up() -> None:
    mixed = ESSAY + GERMAN
    assert probability(mixed, ("en", "de")) > 0.9 > probability(ESSAY, ("de", "fr"))


@pytest.mark.parametrize("corpus", [licences, topics, scenes])
def test_real_english_is_kept(corpus) -> None:  # type: ignore[no-untyped-def]
    shares = [probability(text, ("en",)) >= LEAST for text in corpus()]
    assert sum(shares) >= 0.99 * len(shares)


def test_what_has_no_letters_is_in_no_language() -> None:
    assert probability("12 + 30 = 42\n--- ### 7", ("en",)) == 1


def test_the_verdict_names_the_language_found() -> None:
    data = DataConfig(languages=("en", "fr"))
    verdict = Cleaner(data, data)(GERMAN, "brief.txt")
    assert (verdict.text, verdict.step, verdict.rule) == (None, "language", "language.de")
    assert verdict.reason == "de 100%, en or fr 0%"


def test_code_has_no_language() -> None:
    data = DataConfig(languages=("zh",))
    clean = Cleaner(data, data)
    assert all(clean(text, "module.py").text == text for text in stdlib()[:20])
    assert clean(stdlib()[0], "module.txt").text is None


def test_an_unknown_language_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match=r"'english'.*en, "):
        check_languages(("en", "english"))
    data = DataConfig(languages=("english",))
    with pytest.raises(ConfigError):
        Cleaner(data, data)(ESSAY, "essay.txt")


def test_a_long_text_is_judged_by_all_its_parts_in_bounded_time() -> None:
    assert "middle" in sampled("a " * 5000 + "middle " * 500 + "z " * 5000)
    assert len(sampled("x" * 10_000_000)) < 5000
    likeliest(ESSAY)
    begun = time.process_time()
    probability(ESSAY * 10_000, ("en",))
    assert time.process_time() - begun < 0.5
