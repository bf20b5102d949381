"""Code and prose are told apart by name, by the first line, and by their lines."""

from __future__ import annotations

import pytest

from mythos.data.clean.kinds import kind_of, looks_like_code
from tests.data.clean._material import CHINESE, ESSAY, licences, scenes, stdlib, topics


@pytest.mark.parametrize(
    "path",
    ["a.py", "src/A.CPP", "x.rs.gz", "b.h~2", "Makefile", "a/CMakeLists.txt", "k.yaml", "page.html", "Dockerfile"],
)
def test_names_of_code(path: str) -> None:
    assert kind_of(ESSAY, path) == "code"


@pytest.mark.parametrize("path", ["a.txt", "README", "doc/x.rst.gz", "LICENSE", "numpy/LICENSE.txt", "notes.md"])
def test_names_of_prose(path: str) -> None:
    assert kind_of(stdlib()[0], path) == "prose"


@pytest.mark.parametrize("start", ["#!/bin/sh\n", "<!DOCTYPE html>\n", "<?php\n", "  <html lang='en'>"])
def test_first_lines_of_code(start: str) -> None:
    assert kind_of(start + ESSAY, "dataset/train-00001#3") == "code"


def test_rows_of_a_dataset_are_judged_by_their_lines() -> None:
    code = [kind_of(text, "github/train-00001#7") == "code" for text in stdlib()]
    assert sum(code) >= 0.85 * len(code)  # the others are tables with a remark on each line
    prose = [kind_of(text, "rows.jsonl:7") == "prose" for text in [*topics(), *licences(), ESSAY, CHINESE]]
    assert sum(prose) >= 0.98 * len(prose)


def test_verse_is_no_code() -> None:
    assert not any(map(looks_like_code, scenes()))


@pytest.mark.parametrize("text", ["", "\n\n", "(" * 1_000_000, "a=" * 500_000, "def " * 250_000])
def test_odd_texts_are_judged_at_once(text: str) -> None:
    looks_like_code(text)
