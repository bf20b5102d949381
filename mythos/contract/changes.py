"""What may change in a run after its launch: while it trains, when it is resumed, when it is forked.

`config.yaml` stays as it was launched; `changes.json` beside it holds what was set since, {dotted key: text as it was
typed}. The configuration in force is the second put upon the first. Every checkpoint holds the one it was saved under.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mythos.contract.config import Config
from mythos.contract.errors import ConfigError, RunError
from mythos.contract.load import load_config, parse_config
from mythos.contract.rundir import RunPaths, write_json

LIVE = (
    "train.lr",
    "train.muon_lr",
    "train.grad_clip",
    "train.log_every",
    "train.eval_every",
    "train.eval_tokens",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.keep_every",
    "model.loops",
)
"""Keys that a running worker takes up between two steps."""
ON_RESUME = (
    *LIVE,
    "note",
    "infer",
    "alerts",
    "train.steps",
    "train.max_tokens",
    "train.max_minutes",
    "train.report_to",
    "train.parallel",
    "train.accumulate",
    "train.device",
    "train.precision",
    "train.threads",
    "train.compile",
    "train.checkpoint_loops",
    "data.workers",
    "data.cache_dir",
)
"""Keys, or whole sections, that may differ between a checkpoint and the run that goes on from it."""
BOUND = ("model", "data", "train.seed", "train.sequence", "train.optimizer", "train.init_from")
"""What the weights, the optimizer's state and the position in the data stand on: a fork keeps it."""

Changes = dict[str, tuple[Any, Any]]
"""{dotted key: (old value, new value)}"""


def current_config(paths: RunPaths) -> Config:
    """The configuration in force. Raises ConfigError."""
    return load_config(paths.config, [f"{key}={text}" for key, text in _changes(paths).items()])


def _changes(paths: RunPaths) -> dict[str, str]:
    file = paths.root / "changes.json"
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): str(text) for key, text in value.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ConfigError(f"{file} is damaged.", "Remove it to go on with config.yaml as it was launched.") from None


def changed(paths: RunPaths, overrides: Sequence[str], allowed: Sequence[str]) -> Config:
    """What would be in force with `key=value` overrides. Raises ConfigError where a key is not among the `allowed` or unfit."""
    before = current_config(paths)
    after = parse_config(before.model_dump(mode="json"), overrides, where="the change")
    refuse_others(differences(before, after), allowed)
    return after


def change(paths: RunPaths, overrides: Sequence[str], allowed: Sequence[str]) -> Changes:
    """Put `key=value` overrides in force for a run and remember them; returns what differs now.

    Raises ConfigError where a key is not among the `allowed` or a value is unfit, RunError where the folder refuses.
    """
    changes = differences(current_config(paths), changed(paths, overrides, allowed))
    kept = _changes(paths)
    for key, _, text in (override.partition("=") for override in overrides):
        kept.pop(key.strip(), None)  # the later one counts, also against a whole section
        kept[key.strip()] = text.strip()
    try:
        write_json(paths.root / "changes.json", kept)
    except OSError as error:
        raise RunError(
            f"The change cannot be kept in {paths.name}: {error.strerror}.",
            "Check that the run's folder can be written.",
        ) from None
    return changes


def differences(before: Config, after: Config) -> Changes:
    """Settings whose values differ."""
    old, new = flat(before.model_dump(mode="json")), flat(after.model_dump(mode="json"))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted key: value} of nested sections."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def refuse_others(changes: Iterable[str], allowed: Sequence[str]) -> None:
    """Raises ConfigError naming the first key that is not among the `allowed`."""
    for key in changes:
        if not _within(key, allowed):
            way_on = "Start a new run with it" if _is_bound(key) else f"Use `mythos fork RUN --set {key}=…`"
            raise ConfigError(f"{key} cannot be changed here.", f"{way_on}; what can be: {', '.join(allowed)}.")


def refuse_bound(changes: Iterable[str]) -> None:
    """Raises ConfigError naming the first key that no fork of a run can change."""
    for key in changes:
        if _is_bound(key):
            raise ConfigError(
                f"{key} cannot be changed in a fork: its checkpoint stands on it.",
                "Start a new run; with train.init_from=CHECKPOINT it begins with these weights, where the model is the same.",
            )


def _is_bound(key: str) -> bool:
    return _within(key, BOUND) and not _within(key, ON_RESUME)


def _within(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def told(changes: Changes) -> str:
    """`train.lr 0.003 → 0.001, train.log_every 10 → 1`"""
    return ", ".join(f"{key} {old} → {new}" for key, (old, new) in changes.items()) or "nothing differs"
