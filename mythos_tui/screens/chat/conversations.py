"""All conversations that were kept: search through everything said in them, open one, delete one."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType

from mythos_tui.chats.conversation import Conversation
from mythos_tui.chats.store import ChatStore, search
from mythos_tui.screens.chat.catalog import age
from mythos_tui.screens.chat.listing import ListDialog
from mythos_tui.screens.help.dialogs import ConfirmScreen
from mythos_tui.widgets.text import visible


class ConversationsScreen(ListDialog[Conversation]):
    """Returns the conversation that was chosen."""

    TITLE_TEXT = "Conversations"
    KEYS = "type to search · enter opens · ^d deletes · esc closes"
    FIRST = "first message"
    COLUMNS: ClassVar = (("messages", 8), ("template", 10), ("last", 7))
    help_text = "Type words: conversations that hold all of them, in messages or answers, stay in the list."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+d", "delete", "Delete", priority=True, key_display="^d", tooltip="Delete it for good; asks first"
        ),
    ]

    def __init__(self, store: ChatStore, current: str) -> None:
        super().__init__()
        self._store, self._current = store, current

    async def read(self) -> list[Conversation]:
        found, faults = await asyncio.to_thread(self._store.all)
        for fault in faults[:3]:
            self.notify(fault, title="Left out: mend or remove it", severity="warning", markup=False)
        return found

    def current(self) -> Conversation | None:
        return next((one for one in self._items if one.id == self._current), None)

    def search(self, query: str) -> list[Conversation]:
        return search(self._items, query)

    def row(self, item: Conversation) -> list[Any]:
        return [item.title, str(len(item.turns)), item.template, age(item.updated)]

    def none(self) -> str:
        return "There is no conversation yet: esc, type a message, and enter sends it. Every conversation is kept here by itself."

    def action_delete(self) -> None:
        """Delete the marked one, after a question."""
        one = self.marked
        if one is None:
            return
        if one.id == self._current:
            said = "This conversation is open: esc, then [chat.new] begins another; then it can be deleted."
            self.notify(said, severity="warning")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._delete(one)

        self.app.push_screen(ConfirmScreen("Delete this conversation?", visible(one.title)[:200]), answered)

    @work
    async def _delete(self, one: Conversation) -> None:
        await asyncio.to_thread(self._store.delete, one.id)
        self.action_reload()
