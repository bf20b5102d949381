"""Conversations on disk: a JSON file each, replaced as a whole, in a folder that only the person's own account reads."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pydantic import ValidationError

from mythos_tui.chats.conversation import ID, Conversation
from mythos_tui.settings_file import write_atomically


def chats_folder() -> Path:
    """$XDG_STATE_HOME/mythos/chats, by default below ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "mythos" / "chats"


class ChatStore:
    """Reads and writes files: call it off the event loop, `save` of one conversation aside."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or chats_folder()

    def save(self, conversation: Conversation) -> None:
        """Write it, readable by nobody else. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._path(conversation.id), conversation.model_dump_json() + "\n")

    def load(self, id: str) -> Conversation:
        """Raises OSError, or ValueError with one sentence where the file is damaged."""
        path = self._path(id)
        try:
            return Conversation.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            raise ValueError(f"{path} is no conversation: {'.'.join(map(str, fault['loc']))} {fault['msg']}.") from None

    def all(self) -> tuple[list[Conversation], list[str]]:
        """Every conversation, the latest first, and a sentence for each file that cannot be read."""
        found, faults = [], []
        for path in self.folder.glob("*.json"):
            if not ID.fullmatch(path.stem):
                continue
            try:
                found.append(self.load(path.stem))
            except (OSError, ValueError) as error:
                faults.append(str(error))
        return sorted(found, key=lambda one: one.updated, reverse=True), sorted(faults)

    def delete(self, id: str) -> None:
        """Remove it; one that is gone already is no fault."""
        with contextlib.suppress(FileNotFoundError):
            self._path(id).unlink()

    def _path(self, id: str) -> Path:
        if not ID.fullmatch(id):
            raise ValueError(f"{id!r} names no conversation.")
        return self.folder / f"{id}.json"


def search(conversations: list[Conversation], query: str) -> list[Conversation]:
    """Those that hold every word of the query, in whatever case."""
    words = query.casefold().split()
    return [one for one in conversations if all(word in one.text.casefold() for word in words)]
