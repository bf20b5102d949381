"""No action without a test that does it by keys alone.

A test says which actions it does with `@pytest.mark.action("scope.name", ...)`. The scope is that of the registry, or the
class of a widget or dialog with keys of its own; the name is the binding's action. This file reads the tests' text: a
marked test counts for a key only if it presses keys, names that key, and clicks nothing.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.keys import _character_to_key

import mythos_tui
from mythos_tui.actions import ACTIONS, OF_SCREENS, SCREENS, bindings

TESTS = Path(__file__).parents[1]


def subclasses(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


@cache
def reachable() -> dict[tuple[str, str], frozenset[str]]:
    """(scope.name, keys as written) of every action a person can reach → each of its keys."""
    for module in pkgutil.walk_packages(mythos_tui.__path__, "mythos_tui."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    from textual.dom import DOMNode

    registered = [binding for scope in {one.scope for one in ACTIONS} for binding in bindings(scope)]
    found = [(one.scope, one.key, one.name) for one in ACTIONS]
    for kind in set(subclasses(DOMNode)):
        if kind.__module__.startswith("mythos_tui."):
            own = [one for one in kind.__dict__.get("BINDINGS", ()) if one not in registered]
            assert all(isinstance(one, Binding) for one in own), f"{kind.__name__}: write its keys as Binding(...)"
            found += [(kind.__name__, one.key, one.action) for one in own]
    return {(f"{scope}.{name}", keys): frozenset(keys.split(",")) for scope, keys, name in found}


@cache
def pressed() -> dict[str, frozenset[str]]:
    """Action → keys that the tests marked with it press."""
    found: dict[str, frozenset[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for action in marks(node):
                    found[action] = found.get(action, frozenset()) | keys_of(node)
    return found


def marks(node: ast.AST) -> Iterator[str]:
    """Arguments of every `pytest.mark.action(...)` at a function, also at single cases of a parametrized one."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.action":
            yield from (one.value for one in call.args if isinstance(one, ast.Constant))


def keys_of(node: ast.AST) -> frozenset[str]:
    """Every text in a test that could be a key; none where nothing is pressed, or where the mouse helps."""
    called = {
        one.func.attr for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)
    }
    if "press" not in called or called & {"click", "hover"}:
        return frozenset()
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return frozenset(_character_to_key(one) if len(one) == 1 else one for one in texts)


def test_every_action_is_tested_by_its_keys():
    tested = pressed()
    missing = [
        f"{action}  ({keys})"
        for (action, keys), each in sorted(reachable().items())
        if not each & tested.get(action, frozenset())
    ]
    assert not missing, "actions that no test marked with them does by key:\n" + "\n".join(missing)


def test_every_mark_names_an_action():
    known = {action for action, _ in reachable()}
    assert not set(pressed()) - known, "marks of actions that there are not"


def test_a_mark_without_its_key_does_not_count():
    pressing = "async def test():\n    await pilot.press('question_mark', '{')"
    assert keys_of(ast.parse(pressing)) >= {"question_mark", "left_curly_bracket"}
    assert not keys_of(ast.parse("def test():\n    do('p')"))
    assert not keys_of(ast.parse("def test():\n    pilot.press('p')\n    pilot.click('Button')"))


@pytest.mark.parametrize("scope", sorted({one.scope for one in ACTIONS}))
def test_every_action_explains_itself(scope: str):
    for one in (one for one in ACTIONS if one.scope == scope):
        assert one.title and (one.help or any(two.help for two in ACTIONS if two.name == one.name)), one
    assert len({mode for _, mode, _, _ in SCREENS}) == len(SCREENS)


def test_no_screen_takes_a_key_of_the_whole_application():
    everywhere = {key for one in ACTIONS if one.scope == "app" for key in one.key.split(",")}
    screens = {*OF_SCREENS, *(mode for _, mode, _, _ in SCREENS)}
    taken = [one.id for one in ACTIONS if one.scope in screens and everywhere & set(one.key.split(","))]
    assert not taken
