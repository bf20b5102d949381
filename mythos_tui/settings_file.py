"""settings.yaml: read with care, so that no fault in it keeps the workbench from starting, and changed line by line.

pydantic and yaml are imported only where there is a file, since the first frame must not wait for them.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mythos_tui.settings import Context, Settings, default_folder


@dataclass(frozen=True)
class Loaded:
    """Settings to start with, and a sentence for each fault that was left out of them."""

    settings: Settings = field(default_factory=Settings)
    faults: tuple[str, ...] = ()


def settings_path() -> Path:
    """$XDG_CONFIG_HOME/mythos/settings.yaml, by default below ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "mythos" / "settings.yaml"


def load_settings(path: Path | None = None) -> Loaded:
    """What the file says; a fault is told with file, key and what is allowed, and the default stands in its place."""
    path = path or settings_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Loaded()
    except (OSError, UnicodeDecodeError) as error:
        return Loaded(faults=(f"{path} cannot be read: {error}. Every setting has its default.",))
    values, fault = _mapping(text)
    if fault:
        return Loaded(faults=(f"{path} {fault} Every setting has its default.",))
    settings, faults = _validated(values)
    for check in (_check_theme, _check_folders, _check_keys):
        settings, more = check(settings)
        faults += more
    return Loaded(settings, tuple(f"{path}: {fault}" for fault in faults))


def _mapping(text: str) -> tuple[dict[Any, Any], str]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return (
            {},
            f"is not valid YAML{f' in line {mark.line + 1}' if mark else ''}: {getattr(error, 'problem', error)}.",
        )
    if values is None or isinstance(values, dict):
        return values or {}, ""
    return {}, f"holds a {type(values).__name__}, not `key: value` lines."


def _validated(values: dict[Any, Any]) -> tuple[Settings, list[str]]:
    """The settings, without the keys that have faults."""
    from pydantic import TypeAdapter, ValidationError

    known = {one.name: one for one in fields(Settings)}
    adapter, faults = TypeAdapter(Settings), []
    for key in [key for key in values if key not in known]:
        close = difflib.get_close_matches(str(key), known, n=1)
        way = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}."
        faults.append(f"there is no setting {key!r}; {way}")
    values = {key: value for key, value in values.items() if key in known}
    try:
        return adapter.validate_python(values), faults
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors()}
    for key in sorted(wrong):
        faults.append(f"{key} is {values[key]!r}; allowed is {known[key].metadata['allowed']}. The default is used.")
    return adapter.validate_python({key: value for key, value in values.items() if key not in wrong}), faults


def _check_theme(settings: Settings) -> tuple[Settings, list[str]]:
    from mythos_tui.theme import theme_names

    if settings.theme in theme_names():
        return settings, []
    said = f"theme is {settings.theme!r}; allowed are {', '.join(theme_names())}. The default is used."
    return replace(settings, theme=Settings().theme), [said]


def _check_folders(settings: Settings) -> tuple[Settings, list[str]]:
    """A file where a folder should be is left out, and so are presets that are not there."""
    faults: list[str] = []
    good: dict[str, Any] = {}
    for key in ("runs", "configs", "checkpoints"):
        value = getattr(settings, key)
        path = Path(value or ".").expanduser()
        if (path.exists() and not path.is_dir()) or (key == "configs" and not path.exists()):
            faults.append(f"{key} is {value!r}, which is no folder. The default is used.")
            good[key] = None
    return replace(settings, **good), faults


def _check_keys(settings: Settings) -> tuple[Settings, list[str]]:
    if not settings.keys:
        return settings, []
    from mythos_tui.keymap import checked

    keys, faults = checked({name: [key] if isinstance(key, str) else key for name, key in settings.keys.items()})
    return replace(settings, keys=keys), [f"keys: {fault}" for fault in faults]


def context_of(settings: Settings, given: Callable[[str], Path | None]) -> Context:
    """The folders: those of the command line (`given`), else those of the settings, else the usual ones."""

    def folder(name: str, usual: Path) -> Path:
        set_here = getattr(settings, name)
        return given(name) or (Path(set_here).expanduser() if set_here else usual)

    return Context(
        runs=folder("runs", Path("runs")),
        configs=folder("configs", default_folder("configs")),
        checkpoints=folder("checkpoints", default_folder("checkpoints")),
        imported=tuple(Path(one).expanduser() for one in settings.imported),
    )


# Changing the file


def remember(key: str, value: str) -> str | None:
    """Put one plain setting into the file and leave every other line of it alone; a sentence where that failed."""
    path = settings_path()
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = [line for line in text.splitlines() if not re.match(rf"{key}\s*:", line)]
        changed = "\n".join([*lines, f"{key}: {value}"]) + "\n"
        if _mapping(changed)[0].get(key) != value:
            return f"{path} is not valid, so the choice holds for this session only. Mend the file."
        write_atomically(path, changed)
    except (OSError, UnicodeDecodeError) as error:
        return f"The choice holds for this session only: {path} cannot be written: {error}."
    return None


def write_atomically(path: Path, text: str) -> None:
    """Written beside, then renamed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# What the workbench remembers by itself


def state_folder() -> Path:
    """$XDG_STATE_HOME/mythos, by default below ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "mythos"


def _tour_mark() -> Path:
    return state_folder() / "tour-seen"


def tour_seen() -> bool:
    """Whether the tour was shown on this account before."""
    return _tour_mark().exists()


def tour_was_seen() -> None:
    """It need not come by itself again. A folder that cannot be written is no reason to fail."""
    with contextlib.suppress(OSError):
        write_atomically(_tour_mark(), "")
