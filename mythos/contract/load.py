"""YAML files and `key=value` overrides → Config; errors name the file, the key, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mythos.contract.config import Config, DenseConfig, RecurrentConfig
from mythos.contract.errors import ConfigError

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""In C where PyYAML was built with it: the same text in a fifth of the time, which every checkpoint takes."""
UNREADABLE = yaml.YAMLError, ValueError, RecursionError
"""What reading YAML raises: its own errors, those of dates and numbers that are none, too many brackets."""
FAMILIES: dict[str, type[BaseModel]] = {"dense": DenseConfig, "recurrent": RecurrentConfig}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration and apply overrides such as `train.steps=500`.

    A file that holds only a `model:` section is complete: every other section has defaults.
    Raises ConfigError on a missing file, broken YAML, unknown keys and values out of range.
    """
    return parse_config(read_yaml(path), overrides, where=str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping at the top of a YAML file, read safely."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration at {path}.", "Name a YAML file, such as configs/quickstart.yaml."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Name a YAML file that you may read.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that a YAML text holds, read safely; `where` is what errors call it."""
    try:
        values = yaml.safe_load(text)
    except UNREADABLE as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{where} is not valid YAML{line}: {getattr(error, 'problem', error)}.", "Mend that line."
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{where} holds a {type(values).__name__}, not a mapping of sections.", f"Use the sections {_sections()}."
        )
    return values


def parse_config(values: dict[str, Any], overrides: Sequence[str] = (), where: str = "the configuration") -> Config:
    """Validate a mapping, overrides applied first."""
    for override in overrides:
        values = _with_override(values, override)
    try:
        return Config.model_validate(_with_family(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_errors(error)}", "See `mythos config` for every key.") from None


def check_config(values: dict[str, Any]) -> tuple[Config | None, list[tuple[str, str]]]:
    """Validate for a form: the configuration, or None with (dotted key, sentence) of each fault."""
    try:
        return Config.model_validate(_with_family(values)), []
    except ValidationError as error:
        return None, error_list(error)


def dump_config(config: Config) -> str:
    """The configuration as YAML, every value spelt out, in the order of its definition."""
    return str(yaml.dump(config.model_dump(mode="json"), Dumper=DUMPER, sort_keys=False, allow_unicode=True))


def describe_errors(error: ValidationError) -> str:
    """All faults of a validation in one sentence each: key, value, what is allowed."""
    return " ".join(f"{key}: {text}" if key else text for key, text in error_list(error))


def error_list(error: ValidationError) -> list[tuple[str, str]]:
    """(dotted key, sentence) per fault, for one paragraph or for a place beside each field."""
    return [(_key(fault["loc"]), _sentence(fault)) for fault in error.errors()]


def fields_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields of a section in order of definition, for forms and help."""
    return dict(section.model_fields)


def _with_family(values: dict[str, Any]) -> dict[str, Any]:
    """`model.family` may be left out; it is then recurrent, as in the defaults."""
    model = values.get("model")
    if isinstance(model, dict) and "family" not in model:
        return {**values, "model": {"family": "recurrent", **model}}
    return values


def _with_override(values: dict[str, Any], override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    path = key.strip().split(".")
    if not separator or not all(path):
        raise ConfigError(
            f"The override {override!r} is not of the form key=value.", "Write for example train.steps=500."
        )
    try:
        value = yaml.safe_load(text)
    except UNREADABLE:
        value = text
    return _set(values, path, value, key)


def _set(values: Any, path: list[str], value: Any, key: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(
            f"{key}: {'.'.join(path)} lies below a value that is not a section.", f"Sections are {_sections()}."
        )
    head, *rest = path
    return {**values, head: _set(values.get(head) or {}, rest, value, key) if rest else value}


def _key(location: tuple[int | str, ...]) -> str:
    """Pydantic puts the chosen family into the location of a model field; users write `model.width`."""
    return ".".join(str(part) for i, part in enumerate(location) if not (i == 1 and part in FAMILIES))


def _sentence(fault: Any) -> str:
    location, kind, value = fault["loc"], fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        return "there is no such key" + (f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}.")
    if kind == "union_tag_invalid":
        return (
            f"the family is {value.get('family')!r}; choose dense or recurrent."
            if isinstance(value, dict)
            else "choose dense or recurrent."
        )
    if kind == "tuple_type":
        return f"this is a list, such as [a, b], but the value is {value!r}."
    if kind == "value_error":
        return f"{fault['ctx']['error']}."
    return f"{fault['msg']}, but the value is {value!r}."


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        if part in FAMILIES:
            section = FAMILIES[str(part)]
        elif part in section.model_fields and part != "model":
            section = _section_type(section.model_fields[str(part)])
    return list(section.model_fields)


def _section_type(field: FieldInfo) -> type[BaseModel]:
    """The section that a field is, or that each item of it is."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    raise TypeError(f"{field.annotation} is not a section")


def _sections() -> str:
    return ", ".join(Config.model_fields)
