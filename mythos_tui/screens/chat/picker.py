"""A list of all checkpoints to choose from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mythos.contract.checkpoints import CheckpointInfo
from mythos_tui.screens.chat import catalog
from mythos_tui.screens.chat.listing import ListDialog
from mythos_tui.settings import Context

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp

NO_CHECKPOINT = (
    "There is no checkpoint yet.\n\n"
    "Train a model: [!app.open('configure')] opens Configure, [configure.launch] launches;\n"
    "on the command line: mythos train configs/quickstart.yaml\n\n"
    "Its first checkpoint can be chosen here as soon as it is saved."
)
"""What to do where there is none. From inside a dialog `esc, then` stands before the first key."""


class CheckpointPicker(ListDialog[CheckpointInfo]):
    """Those of runs, those that came along and those of imported folders."""

    app: MythosApp
    TITLE_TEXT = "Checkpoints"
    KEYS = "type to search · enter chooses · ^r reads again · esc closes"
    FIRST = "checkpoint"
    COLUMNS: ClassVar = (("from", 8), ("step", 9), ("params", 6), ("bits/byte", 9), ("saved", 6), ("size", 8))
    help_text = "Type words of a name, a family or a place: run, shipped, imported."

    def __init__(self, context: Context, current: Path | None) -> None:
        super().__init__()
        self._folders, self._path = context, current

    async def read(self) -> list[CheckpointInfo]:
        return await asyncio.to_thread(catalog.all_checkpoints, self._folders)

    def current(self) -> CheckpointInfo | None:
        return next((info for info in self._items if info.path == self._path), None)

    def row(self, item: CheckpointInfo) -> list[Any]:
        return [
            item.title,
            catalog.origin(item.path, self._folders),
            f"{item.step:,}",
            catalog.count(item.parameters),
            catalog.bits_per_byte(item),
            catalog.age(item.saved),
            catalog.size(item.size),
        ]

    def search(self, query: str) -> list[CheckpointInfo]:
        def text(info: CheckpointInfo) -> str:
            return f"{' '.join(self.row(info))} {info.family} {info.path}".casefold()

        return [info for info in self._items if all(word in text(info) for word in query.casefold().split())]

    def none(self) -> str:
        return self.app.with_keys(NO_CHECKPOINT.replace("[", "esc, then [", 1))
