"""Chat beyond one message: depth between messages, two sides, editing, keeping, exporting, templates, the column of a token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.widgets import Input, Select, Static

from mythos_tui.chats.store import ChatStore
from mythos_tui.screens.chat.column import Column
from mythos_tui.screens.chat.prompt import PromptArea
from mythos_tui.screens.chat.screen import ChatScreen
from mythos_tui.screens.chat.template_box import TemplateBox
from mythos_tui.screens.chat.transcript import Transcript
from tests.fakes.workbench import (
    finished,
    open_brief,
    rows_listed,
    screen_text,
    send,
    shown,
    until,
)


def answers_of(screen: ChatScreen, turn: int = -1) -> list[Any]:
    return screen.conversation.turns[turn].answers


@pytest.mark.action("chat.loops(-1)", "chat.loops(1)", "chat.rule", "chat.threshold(-1)", "chat.threshold(1)")
async def test_the_depth_dial_changes_between_two_messages_by_keys(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        assert "●●●●○○○○ 4 loops, fewer by act" in shown(screen, "#dial")
        await send(pilot, "one")
        await finished(pilot, screen)
        await pilot.press("escape", "minus", "minus", "plus", "x", "x")
        await pilot.pause()
        assert "●●●○○○○○ 3 loops, fewer by act" in shown(screen, "#dial")
        await pilot.press("x", "less_than_sign", "greater_than_sign", "greater_than_sign")
        await pilot.pause()
        assert "3 loops, fewer by confidence:0.9" in shown(screen, "#dial")
        assert screen.query_one("#threshold", Input).value == "0.9"
        await pilot.press("enter", "alt+up", "alt+up", "alt+down", "alt+left", "alt+x", "alt+right")
        await pilot.pause()
        assert "4 loops, fewer by kl:0.02" in shown(screen, "#dial") and screen.query_one(PromptArea).text == ""
        await send(pilot, "two")
        await finished(pilot, screen)
        sent = [(answers_of(screen, n)[0].settings["loops"], answers_of(screen, n)[0].settings["exit"]) for n in (0, 1)]
        assert sent == [(0, ""), (4, "kl:0.02")]


@pytest.mark.action("chat.beside", "chat.other_side")
async def test_two_answers_stand_side_by_side_with_the_same_seed(workbench: Any, tmp_path: Path) -> None:
    async with workbench("quickstart", "zother").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        await pilot.press("alt+s", "alt+down", "alt+down")
        await pilot.pause()
        assert [line.split("·")[0].strip() for line in shown(screen, "#dial").split("\n")] == [
            "A ●●●●○○○○ 4 loops, fewer by act",
            "▶ B ●●○○○○○○ 2 loops, every token",
        ]
        await send(pilot, "one")
        await finished(pilot, screen)
        first, second = answers_of(screen)
        assert first.settings["seed"] == second.settings["seed"] and first.checkpoint == second.checkpoint
        assert [(a.settings["loops"], a.settings["exit"], a.limit) for a in (first, second)] == [
            (0, "", 4),
            (2, "fixed", 2),
        ]
        assert len({exchange.region.y for exchange in screen.query_one(Transcript).exchanges}) == 1
        await pilot.press("ctrl+o")
        await until(pilot, lambda: rows_listed(pilot) == 2)
        await pilot.press(*"zother", "enter")
        await until(pilot, lambda: screen.ready_of(1) is not None and "zother" in shown(screen, "#dial"))
        assert screen.checkpoint == tmp_path / "checkpoints" / "quickstart"
        await send(pilot, "two")
        await finished(pilot, screen)
        assert [Path(a.checkpoint).name for a in answers_of(screen)] == ["quickstart", "zother"]
        await pilot.press("escape", "left", "o")
        transcript = screen.query_one(Transcript)
        assert screen.side == 0 and transcript.chosen is transcript.rows[-1].exchanges[0]
        await pilot.press("o", "enter", "alt+o")
        assert screen.side == 0
        await pilot.press("escape", "s")
        assert len(screen.sides) == 1
        await send(pilot, "three")
        await finished(pilot, screen)
        assert [len(turn.answers) for turn in screen.conversation.turns] == [2, 2, 1]


@pytest.mark.action("chat.edit")
async def test_a_past_message_is_edited_and_sent_again_in_a_new_conversation(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        for text in ("one", "two", "three"):
            await send(pilot, text)
            await finished(pilot, screen)
        old = screen.conversation.id
        await pilot.press("escape", "home", "up", "e")
        area = screen.query_one(PromptArea)
        assert area.text == "two" and "Editing message 2 of 3" in str(area.border_title)
        await pilot.press("escape")
        assert area.text == "" and not area.border_title
        await pilot.press("e")
        await pilot.press(*" more", "enter")
        await until(pilot, lambda: len(screen.conversation.turns) == 2 and not screen.request)
        assert [turn.text for turn in screen.conversation.turns] == ["one", "two more"]
        await pilot.press("alt+e")
        assert area.text == "two more"
        assert len(screen.query_one(Transcript).exchanges) == 2 and screen.conversation.id != old
        assert [turn.text for turn in ChatStore().load(old).turns] == ["one", "two", "three"]


@pytest.mark.action(
    "chat.conversations",
    "ListDialog.close",
    "ListDialog.cursor(-1)",
    "ListDialog.cursor(10)",
    "ListDialog.cursor(-10)",
    "ListDialog.reload",
    "ConversationsScreen.delete",
)
async def test_conversations_are_searched_opened_and_deleted(workbench: Any, tmp_path: Path) -> None:
    async with workbench("quickstart", "zother").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        for text in ("red apple", "green pear", "blue"):
            await send(pilot, text)
            await finished(pilot, screen)
            await pilot.press("ctrl+n")
        screen.use_checkpoint(tmp_path / "checkpoints" / "zother")
        await until(pilot, lambda: screen.ready is not None and not screen.request)
        await pilot.press("alt+c")
        await until(pilot, lambda: rows_listed(pilot) == 3)
        await pilot.press("pagedown", "pageup", "down", "down", "up")
        assert pilot.app.screen.marked.title == "green pear"
        await pilot.press(*"APPLE")
        await until(pilot, lambda: rows_listed(pilot) == 1)
        await pilot.press("enter")
        await until(pilot, lambda: screen.query_one(Transcript).exchanges)
        await pilot.pause()
        assert screen.conversation.title == "red apple" and "20 tokens" in shown(screen, ".statistics")
        await until(pilot, lambda: screen.checkpoint.name == "quickstart" and screen.ready is not None)
        (tmp_path / "checkpoints" / "quickstart").rename(tmp_path / "gone")
        screen.use_checkpoint(tmp_path / "checkpoints" / "zother")
        await screen._take_its_checkpoint(screen.conversation)
        assert screen.checkpoint.name == "zother" and "quickstart" in pilot.app.said[-1] and "^o" in pilot.app.said[-1]
        await pilot.press("escape", "c")
        await until(pilot, lambda: rows_listed(pilot) == 3)
        await pilot.press(*"nothing")
        await until(pilot, lambda: "Nothing holds 'nothing'" in screen_text(pilot.app))
        await pilot.press("escape")
        assert pilot.app.screen is screen
        await pilot.press("c")
        await until(pilot, lambda: rows_listed(pilot) == 3)
        await pilot.press("ctrl+r")
        await pilot.pause(0.1)
        await pilot.press("pageup", "ctrl+d", "y")
        await until(pilot, lambda: rows_listed(pilot) == 2)
        assert sorted(one.title for one in ChatStore().all()[0]) == ["green pear", "red apple"]


@pytest.mark.action("chat.export('md')", "chat.export('json')")
async def test_a_conversation_is_written_as_markdown_and_json(workbench: Any, tmp_path: Path) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        await pilot.press("escape", "m")
        assert not list(tmp_path.glob("chat-*"))
        await send(pilot, "one")
        await finished(pilot, screen)
        markdown, data = (tmp_path / f"chat-{screen.conversation.id}.{kind}" for kind in ("md", "json"))
        await pilot.press("escape", "m", "j")
        await until(pilot, lambda: markdown.exists() and data.exists())
        assert "```text\none\n```" in markdown.read_text() and "20 tokens" in markdown.read_text()
        markdown.unlink()
        data.unlink()
        await pilot.press("enter", "alt+m", "alt+j")
        await until(pilot, lambda: markdown.exists() and data.exists())


async def test_a_template_makes_the_text_that_the_model_reads(workbench: Any, no_settings: Path) -> None:
    folder = no_settings / "mythos" / "templates"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("about: Mine.\nturn: '<{text}>'\nstop: ['<']\n")
    (folder / "broken.yaml").write_text("turn: no place for it\n")
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        await until(pilot, lambda: pilot.app._notifications)
        (fault,) = [one.message for one in pilot.app._notifications]
        assert fault.endswith("broken.yaml is left out: turn must hold {text}.")
        screen.query_one("#template", Select).value = "chat"
        screen.query_one("#system", Input).value = "Be brief."
        await pilot.pause()
        for text in ("one", "two", "three", "four"):
            await send(pilot, text)
            await finished(pilot, screen)
        answer = answers_of(screen, 0)[0].text
        assert answers_of(screen, 0)[0].read == "Be brief.\n\nUser: one\nAssistant:"
        assert answers_of(screen, 1)[0].read == f"Be brief.\n\nUser: one\nAssistant:{answer}\nUser: two\nAssistant:"
        assert "1 oldest message left out" in str(screen.query(".exchange .heading").last(Static).render())
        assert "User: two" not in answers_of(screen, 3)[0].read.partition("User: three")[2]
        await pilot.press("ctrl+n")
        screen.query_one(TemplateBox).set("mine", "")
        await pilot.pause()
        await send(pilot, "five")
        await finished(pilot, screen)
        assert answers_of(screen)[0].read == "<five>" and screen.conversation.template == "mine"


@pytest.mark.action(
    "Transcript.move(-1)",
    "Transcript.move(1)",
    "Transcript.line(-1)",
    "Transcript.line(1)",
    "Transcript.end(False)",
    "Transcript.end(True)",
    "Transcript.page_up",
    "Transcript.page_down",
    "Transcript.prompt",
    "chat.close_column",
)
async def test_a_cursor_over_the_tokens_opens_what_is_behind_them(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        for text in ("one two", "three"):
            await send(pilot, text)
            await finished(pilot, screen)
        transcript = screen.query_one(Transcript)
        first, last = transcript.exchanges
        await pilot.press("escape", "left")
        assert transcript.chosen is last and last.cursor == 20 and screen.query_one(Column).display
        await until(pilot, lambda: "chosen among" in shown(screen, "#column-text"))
        text = shown(screen, "#column-text")
        assert "token 21 of 21 · generated" in text and "read out after each loop" in text and "experts of 6" in text
        await pilot.press("up", "home")
        assert last.cursor == 0 and "yours" in shown(screen, "#column-text")
        await pilot.press("left")
        assert transcript.chosen is first and first.cursor == 21 and last.cursor is None
        await pilot.press("right")
        assert transcript.chosen is last and last.cursor == 0
        await pilot.press("down", "end", "pageup", "pagedown")
        assert last.cursor == 20
        await pilot.press("escape")
        assert transcript.chosen is None and not screen.query_one(Column).display
        await pilot.press("enter")
        assert isinstance(screen.focused, PromptArea)


@pytest.mark.action("Transcript.inspect")
async def test_the_chosen_text_goes_to_inspect(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "one")
        await finished(pilot, screen)
        await pilot.press("escape", "i")
        await until(pilot, lambda: pilot.app.screen is not screen)


@pytest.mark.action("chat.edit", "chat.leave_field")
async def test_what_was_being_written_comes_back_after_editing(workbench: Any) -> None:
    """It was thrown away as editing began, and nothing brought it back."""
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        for text in ("one", "two"):
            await send(pilot, text)
            await finished(pilot, screen)
        area = screen.query_one(PromptArea)
        await pilot.press(*"draft", "alt+e", *"!", "alt+e", "escape")
        assert area.text == "draft" and not area.border_title
        await pilot.press("enter", "alt+e", "ctrl+z")
        assert area.text == "draft", "undoing brings it back too"
        await pilot.press("ctrl+y", *"!", "enter")
        await until(pilot, lambda: not screen.request and screen.conversation.turns[-1].text == "two!")
        await until(pilot, lambda: area.text == "draft")
        assert [turn.text for turn in screen.conversation.turns] == ["one", "two!"]


@pytest.mark.parametrize("way", ["ctrl+n", "alt+c"])
async def test_editing_ends_where_another_conversation_is_led(workbench: Any, way: str) -> None:
    """The edited message of one conversation was put into another."""
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "first")
        await finished(pilot, screen)
        await pilot.press("ctrl+n")
        for text in ("one", "two"):
            await send(pilot, text)
            await finished(pilot, screen)
        edited, area = screen.conversation.id, screen.query_one(PromptArea)
        await pilot.press(*"draft", "alt+e")
        assert "Editing message 2 of 2" in str(area.border_title)
        await pilot.press(way)
        if way == "alt+c":
            await until(pilot, lambda: rows_listed(pilot) == 2)
            await pilot.press(*"first", "enter")
        await until(pilot, lambda: screen.conversation.id != edited)
        await until(pilot, lambda: area.text == "draft")
        assert not area.border_title
        kept = [turn.text for turn in screen.conversation.turns]
        area.focus()
        await pilot.press("enter")
        await until(pilot, lambda: [turn.text for turn in screen.conversation.turns] == [*kept, "draft"])


async def test_a_text_handed_to_inspect_can_be_undone(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "one")
        await finished(pilot, screen)
        await pilot.press("alt+4")
        await until(pilot, lambda: pilot.app.screen is not screen and pilot.app.screen.query(PromptArea))
        area = pilot.app.screen.query_one(PromptArea)
        await until(pilot, lambda: area.text and area.has_focus)
        await pilot.press(*"mine", "escape", "g")
        await until(pilot, lambda: area.text.startswith("one"))
        await pilot.press("e", "ctrl+z")
        assert area.text == "mine"


async def test_any_length_of_digits_is_no_number_of_loops(workbench: Any) -> None:
    """Python reads no number of more than 4,300 digits: the workbench ended."""
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        for side in range(2):
            screen.query_one("#loops", Input).focus()
            pilot.app.post_message(events.Paste("9" * 5000))
            await until(pilot, lambda: screen.query_one("#loops", Input).value)
            await pilot.pause()
            assert "4 loops" in shown(screen, "#dial")
            if side == 0:
                await pilot.press("alt+s")
        await pilot.press("alt+up")
        assert screen.query_one("#loops", Input).value == "5"
        await send(pilot, "one")
        await finished(pilot, screen)
        assert [answer.settings["loops"] for answer in answers_of(screen)] == [0, 5]
