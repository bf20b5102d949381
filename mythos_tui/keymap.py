"""A person's own keys: which actions there are, whether a key exists, and which actions would then share one."""

from __future__ import annotations

import difflib
import unicodedata

from textual.keys import Keys, _character_to_key

from mythos_tui.actions import ACTIONS, OF_SCREENS, Action

_MODIFIERS = ("ctrl+", "alt+", "shift+")


def checked(wanted: dict[str, list[str]]) -> tuple[dict[str, str | list[str]], list[str]]:
    """The overrides that can be used, keys as Textual names them, and a sentence for each that cannot."""
    faults: list[str] = []
    good: dict[str, list[str]] = {}
    known = {one.id: one for one in ACTIONS}
    for name, keys in wanted.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            way = f"did you mean {close[0]}?" if close else "docs/settings.md lists them."
            faults.append(f"there is no action {name!r}; {way}")
        elif unknown := [key for key in keys if normal(key) is None] or ([] if keys else ["nothing"]):
            faults.append(
                f"{name} is given {unknown[0]!r}, which is no key; write for example p, P, f5, ctrl+g or alt+x."
            )
        else:
            good[name] = [str(normal(key)) for key in keys]
    for name in list(good):
        if others := shared(known[name], good):
            faults.append(f"{name} would share {' and '.join(others)}. It keeps its usual key.")
            del good[name]
    return dict(good), faults


def normal(key: str) -> str | None:
    """Textual's name of a key, such as question_mark for `?`; None where there is no such key."""
    rest, modifiers = key.strip(), ""
    for modifier in _MODIFIERS:
        if rest.lower().startswith(modifier) and rest != modifier:
            rest, modifiers = rest[len(modifier) :], modifiers + modifier
    if len(rest) == 1 and rest.isprintable():
        name = _character_to_key(rest)
        return modifiers + (name.lower() if modifiers else name)
    if rest in {one.value for one in Keys} or _is_character(rest):
        return modifiers + rest
    return None


def _is_character(name: str) -> bool:
    try:
        unicodedata.lookup(name.replace("_", " ").upper())
    except KeyError:
        return False
    return True


def shared(action: Action, overrides: dict[str, list[str]]) -> list[str]:
    """`key with action` for every key that the action would share with another one of the same place."""

    def keys(one: Action) -> list[str]:
        return overrides.get(one.id) or one.key.split(",")

    others = [one for one in ACTIONS if one.id != action.id and _meet(one, action)]
    usual = {key for one in ACTIONS if one.id == action.id for key in one.key.split(",")}
    return [f"{key!r} with {one.id}" for key in keys(action) for one in others if key in keys(one) and key not in usual]


def _meet(one: Action, other: Action) -> bool:
    """Whether both can be done at the same place."""
    if "app" in (one.scope, other.scope):
        return True
    return bool(set(OF_SCREENS.get(one.scope, (one.scope,))) & set(OF_SCREENS.get(other.scope, (other.scope,))))
