"""Presets: every YAML file below the folder of configurations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mythos.contract.errors import MythosError
from mythos.contract.load import read_yaml

MOST = 500


@dataclass(frozen=True)
class Preset:
    """A file of settings; `label` is its path below the folder, without the ending, `note` what it says about itself."""

    label: str
    path: Path
    note: str = ""

    @property
    def title(self) -> str:
        """The label without the folder that models share, short enough for a narrow column."""
        return self.label.removeprefix("model/")

    @property
    def stem(self) -> str:
        return self.path.stem


def list_presets(folder: Path) -> list[Preset]:
    """All presets, those at the top of the folder first."""
    try:
        paths = sorted(path for pattern in ("*.yaml", "*.yml") for path in folder.rglob(pattern) if path.is_file())
    except OSError:
        return []
    found = [Preset(path.relative_to(folder).with_suffix("").as_posix(), path, _note(path)) for path in paths[:MOST]]
    return sorted(
        found, key=lambda preset: (preset.label.count("/") > 0, preset.label.rpartition("/")[0], natural(preset.label))
    )


def _note(path: Path) -> str:
    """A preset's note; none where it cannot be read, which loading it explains."""
    try:
        return str(read_yaml(path).get("note") or "")
    except MythosError:
        return ""


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 10m before 100m and 1b after both."""
    size = {"k": 3, "m": 6, "b": 9, "t": 12}
    key, digits = [], ""
    for char in text + " ":
        if char.isdecimal():
            digits += char
            continue
        if digits:
            key.append((1, int(digits) * 10 ** size.get(char.lower(), 0), ""))
            digits = ""
        key.append((0, 0, char))
    return key


def read_preset(preset: Preset) -> dict[str, Any]:
    """What a preset says. Raises ConfigError."""
    return read_yaml(preset.path)
