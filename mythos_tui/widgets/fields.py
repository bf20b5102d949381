"""Text fields whose keys act in the order in which they were typed.

A character is inserted by the field itself, but a key such as backspace is a binding that wanders up to the application
first. Where keys arrive in one burst, as they do over a slow line, the character after it would overtake it.
"""

from __future__ import annotations

from typing import Any

from textual import events
from textual.widget import Widget
from textual.widgets import Input


async def act_in_order(field: Widget, event: events.Key) -> None:
    """For `on_key` of a text field: its own keys act at once, in its own queue."""
    for binding in field._bindings.key_to_bindings.get(event.key, ()):
        if not binding.priority and await field.app.run_action(binding.action, default_namespace=field):
            event.stop()
            event.prevent_default()
            return


def character_of(key: str, character: str | None) -> str | None:
    """For `check_consume_key`: minus and plus are text too; the framework does not know what these two names stand for."""
    return character or {"minus": "-", "plus": "+"}.get(key)


class TextField(Input):
    """An Input without borders whose keys act in order."""

    def __init__(self, value: str = "", placeholder: str = "", **named: Any) -> None:
        super().__init__(value, placeholder, validate_on=(), **named)  # whose outcome would be a class, as `compact` is
        self.set_reactive(Input.compact, True)
        self.add_class("-textual-compact", update=False)  # a class that comes with an update has the field styled anew

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Keys that type are no keys of the screen."""
        return super().check_consume_key(key, character_of(key, character))

    async def on_key(self, event: events.Key) -> None:
        await act_in_order(self, event)
