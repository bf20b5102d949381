"""The line of keys: what it offers while a field is written in, and how keys are called where only ASCII is drawn."""

from __future__ import annotations

from typing import Any

import pytest
from textual.widgets import Input

from mythos_tui.app import MythosApp
from mythos_tui.settings import Context
from tests.fakes.runs import FakeRun
from tests.fakes.screen_text import shows, text_of, until
from tests.fakes.workbench import finished, open_brief, send


def last_line(app: MythosApp) -> str:
    return text_of(app).splitlines()[-1]


async def test_a_number_field_offers_no_key_that_it_takes_as_text(workbench: Any) -> None:
    """`- + Loops` stood there, and these keys typed."""
    async with workbench("quickstart").run_test(size=(160, 36)) as pilot:
        screen = await open_brief(pilot)
        loops = screen.query_one("#loops", Input)
        loops.focus()
        await until(pilot, lambda: loops.has_focus)
        await pilot.press("minus", "plus")
        assert loops.value == "-+"
        await until(pilot, lambda: "alt ↓↑ Loops" in last_line(pilot.app))
        assert "- +" not in last_line(pilot.app)


@pytest.mark.parametrize("width", [60, 200])
async def test_keys_are_words_where_only_ascii_is_drawn(
    workbench: Any, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Signs of keys became characters that are other keys: `$ Send`, `< > Token`, `alt v^`."""
    monkeypatch.setenv("LC_ALL", "C")
    async with workbench("quickstart").run_test(size=(width, 36)) as pilot:
        screen = await open_brief(pilot)
        await until(pilot, lambda: "enter Send" in last_line(pilot.app))
        assert last_line(pilot.app).isascii() and "q Quit" in last_line(pilot.app)
        assert width < 200 or "alt down up Loops" in last_line(pilot.app)
        await send(pilot, "one")
        await finished(pilot, screen)
        await pilot.press("escape")
        await until(pilot, lambda: "left right Token" in last_line(pilot.app))
        assert "q Quit" in last_line(pilot.app) and len(last_line(pilot.app)) == width
        assert "$" not in last_line(pilot.app)
        await pilot.press("question_mark")
        await shows(pilot, "left right  Token")
        assert width < 80 or "enter  Write" in text_of(pilot.app)


async def test_dialogs_name_arrow_keys_in_words_too(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    FakeRun(context.runs, "one").status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30)) as pilot:
        await shows(pilot, "o running")
        await pilot.press("t")
        await shows(pilot, "up down fields")
        await pilot.press("escape", "v")
        await shows(pilot, "shift+up down or J K move")
