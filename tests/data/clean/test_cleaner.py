"""The steps of one source, put together."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from mythos.contract.config import DataConfig, SourceConfig
from mythos.data.clean import Cleaner, Verdict
from tests.data.clean._material import ESSAY, GERMAN, stdlib

MARKUP = (
    "template = '<div class=\"a\">{x}</div>'  # if a<b and c>d\n"
    "// Please enable JavaScript.\n"
    "for (int i = 0; i<n; i++) { a[i] = b<c>(d); }\n"
)


def cleaner(quality: str = "none", **settings: object) -> Cleaner:
    return Cleaner(DataConfig.model_validate(settings), SourceConfig.model_validate({"quality": quality}))


@pytest.mark.parametrize("text", ["", "x", "<b>bold</b>", "naÃ¯ve", GERMAN])
def test_without_settings_nothing_happens(text: str) -> None:
    assert cleaner()(text, "a.txt") == Verdict(text)


def test_repair_is_told_and_goes_first() -> None:
    broken = GERMAN.encode().decode("latin-1")
    assert cleaner(repair=True)(broken, "a.txt") == Verdict(GERMAN, changed=("repair",))
    assert cleaner(repair=True, languages=("de",))(broken, "a.txt").text == GERMAN
    assert cleaner("auto", repair=True)(GERMAN, "a.txt") == Verdict(GERMAN)


def test_a_dropped_document_names_step_rule_and_figure() -> None:
    verdict = cleaner("prose")("Too short for a document.", "a.txt")
    assert verdict == Verdict(None, "quality", "5 words, under 50", "gopher.words")


def test_both_changes_are_told() -> None:
    verdict = cleaner("prose", repair=True)("Please enable JavaScript.\nâ€œHelloâ€\x9d\n" + ESSAY, "a.txt")
    assert verdict == Verdict("“Hello”\n" + ESSAY, changed=("repair", "quality"))


@pytest.mark.parametrize("quality", ["auto", "code"])
def test_markup_in_code_is_not_eaten(quality: str) -> None:
    """A filter of ours once cut everything between < and >, and half of the comparisons with it."""
    assert cleaner(quality, repair=True, languages=("en",))(MARKUP, "a.cpp") == Verdict(MARKUP)


def test_code_that_is_kept_is_kept_to_the_letter() -> None:
    clean = cleaner("auto", repair=True, languages=("en",))
    verdicts = [(clean(text, "module.py"), text) for text in stdlib()]
    assert all(verdict == Verdict(text) for verdict, text in verdicts if verdict.text is not None)


def test_auto_goes_by_what_the_document_is() -> None:
    numbers = "1, 22, 333, 4444, 55555,\n" * 20
    assert cleaner("auto")(numbers, "table.py").rule == "stack.alphabetic"
    assert cleaner("auto")(numbers, "table.txt").rule.startswith("gopher")
    assert cleaner("prose")(numbers, "table.py").rule.startswith("gopher")
    assert cleaner("code")(numbers, "table.txt").rule == "stack.alphabetic"


def test_survives_pickling() -> None:
    clean = pickle.loads(pickle.dumps(cleaner("prose", languages=("en",))))  # noqa: S301
    assert clean(ESSAY, "a.txt").text == ESSAY


def test_loads_no_heavy_library_before_it_is_needed() -> None:
    heavy = ("ftfy", "py3langid", "rensa", "datasets", "torch")
    code = (
        "import sys; from mythos.data.clean import Cleaner; from mythos.contract.config import DataConfig;"
        "d = DataConfig(repair=True, languages=('en',), quality='auto'); Cleaner(d, d);"
        f"print(sorted(set({heavy!r}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
