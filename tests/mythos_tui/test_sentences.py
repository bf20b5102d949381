"""Sentences name actions, not keys: a person may have put an action on another key (see docs/settings.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mythos_tui.actions import ACTIONS
from mythos_tui.app import MythosApp
from mythos_tui.settings import Context
from tests.fakes.screen_text import shows
from tests.mythos_tui.test_settings import write

ROOT = Path(__file__).parents[2] / "mythos_tui"
REGISTRY = ("actions.py", "actions_on_charts.py", "keymap.py", "settings.py")
NAMED = re.compile(r"\[!?([a-z]+\.[a-z_]+(?:\([^)]*\))?)\]")
DEEDS = "shows|opens|goes|lets|starts|writes|ends|leaves|lists|chats|looks|pins|pauses|follows|chooses|launches|undoes|begins|tells"
LITERAL = re.compile(
    rf"\bctrl\+\w+|\balt\+\w+|\^[a-z]\b|\b[Pp]ress [A-Za-z0-9]\b(?! [a-z]+ed)|(?<![\w\]'])[A-Za-z?] (?:{DEEDS})\b"
)


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a module but docstrings."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def own_keys(tree: ast.AST) -> set[str]:
    """Keys that a widget or a dialog has for itself: nobody can change them, so they may be named, as `ctrl+j` or as `^j`."""
    keys: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Binding":
            for one in node.args[:1]:
                keys |= set(one.value.split(",")) if isinstance(one, ast.Constant) else set()
    return keys | {key.replace("ctrl+", "^") for key in keys}


TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for path in sorted(ROOT.rglob("*.py"))
    if path.name not in REGISTRY
}


@pytest.mark.parametrize("name", TREES)
def test_no_sentence_holds_the_key_of_an_action(name: str) -> None:
    own = set().union(*(own_keys(tree) for at, tree in TREES.items() if Path(at).parent == Path(name).parent))
    usual = {key for one in ACTIONS for key in one.key.split(",")} - own
    usual |= {key.replace("ctrl+", "^") for key in usual}
    found = [(text, hit[0]) for text in texts(TREES[name]) for hit in LITERAL.finditer(text)]
    wrong = [text for text, hit in found if any(word in usual for word in hit.split())]
    assert not wrong, f"name the action instead, such as [train.pause]: {wrong}"


def test_every_action_that_a_sentence_names_exists() -> None:
    known = {one.id for one in ACTIONS}
    named = [(name, hit) for name, tree in TREES.items() for text in texts(tree) for hit in NAMED.findall(text)]
    assert len(named) > 50
    assert not [one for one in named if one[1] not in known]


def test_the_search_finds_what_it_is_for() -> None:
    for wrong in ("R goes on from there", "Press 2 to configure", "and ctrl+l launches it", "^o lists others"):
        assert LITERAL.search(wrong), wrong


async def test_empty_screens_toasts_and_help_tell_the_keys_that_hold(context: Context) -> None:
    write("keys: {train.new_run: f6, \"app.open('configure')\": f7, configure.undo: ctrl+b, configure.redo: ctrl+g}\n")
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "Press f7 to configure one", "or f6 to start one")
        await pilot.press("f7")
        await shows(pilot, "Presets")
        await pilot.press("ctrl+g")
        await shows(pilot, "There is nothing to redo: ^b undoes a change first.")
