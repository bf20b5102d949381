"""Keys that arrive in one burst act in their order: backspace used to be overtaken by the letter after it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import TextArea

from mythos_tui.screens.chat.prompt import PromptArea
from mythos_tui.widgets.fields import TextField

BURST = [
    ("a", "a"),
    ("b", "b"),
    ("backspace", "\x7f"),
    ("c", "c"),
    ("home", None),
    ("d", "d"),
    ("end", None),
    ("e", "e"),
]


class Fields(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [("minus", "bell", "Less"), ("plus", "bell", "More"), ("x", "bell", "Rule")]

    def compose(self) -> ComposeResult:
        with Vertical(), Vertical():
            yield TextField()
            yield PromptArea(id="prompt", placeholder="")


async def test_a_burst_of_keys_acts_in_order():
    app = Fields()
    async with app.run_test() as pilot:
        for field in (app.query_one(TextField), app.query_one(PromptArea)):
            field.focus()
            await pilot.pause()
            for key, character in BURST:
                app.post_message(events.Key(key, character))
            await pilot.press("left")
            assert (field.text if isinstance(field, TextArea) else field.value) == "dace"


async def test_signs_that_are_typed_are_no_keys_of_the_screen():
    app = Fields()
    async with app.run_test() as pilot:
        for field in (app.query_one(TextField), app.query_one(PromptArea)):
            field.focus()
            await pilot.pause()
            assert {"minus", "plus", "x"}.isdisjoint(app.screen.active_bindings)
