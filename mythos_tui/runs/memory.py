"""What the workbench remembers of how a person looks at runs: pins, order, charts. The settings file is people's own."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from mythos.contract.rundir import write_json
from mythos.contract.watch import read_json
from mythos_tui.settings_file import state_folder


class Memory:
    """A small JSON file of keys; damaged or of another kind, a value counts as not there."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or state_folder() / "memory.json"
        self._values: dict[str, Any] = {}
        self._written = True
        self.look_again()

    def look_again(self) -> None:
        """Take in what another workbench has kept since; a file that could not be written knows less than this one."""
        if self._written:
            self._values |= read_json(self._path) or {}

    def get(self, key: str, default: Any) -> Any:
        """What was kept under a key, where it is of the default's kind."""
        found = self._values.get(key)
        return found if type(found) is type(default) else default

    def texts(self, key: str) -> list[str]:
        """A list of texts; what else is in it is passed over."""
        return [item for item in self.get(key, []) if isinstance(item, str)]

    def put(self, key: str, value: Any) -> None:
        """Keep a value, beside those that others kept. A folder that cannot be written is no reason to fail."""
        self.look_again()
        if self._values.get(key) == value:
            return
        self._values[key] = json.loads(json.dumps(value))
        self._written = False
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self._values)
            self._written = True
