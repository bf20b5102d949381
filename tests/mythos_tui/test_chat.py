"""The Chat screen with a fake worker: what a person types, sees and is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Select, Static

from mythos_tui.chats.store import ChatStore
from mythos_tui.screens.chat.column import Column
from mythos_tui.screens.chat.controls import SAMPLING, Field
from mythos_tui.screens.chat.exchange import BOUNDARY
from mythos_tui.screens.chat.prompt import PromptArea, plain
from mythos_tui.screens.chat.screen import ChatScreen
from mythos_tui.screens.chat.template_box import TemplateBox
from mythos_tui.screens.chat.tint import tint_for
from mythos_tui.screens.chat.transcript import Transcript
from mythos_tui.widgets.tokens import TokenView
from tests.fakes.workbench import (
    finished,
    make_app,
    make_checkpoint,
    notice,
    open_chat,
    screen_text,
    send,
    shown,
    until,
)


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return lambda *names: make_app(tmp_path, *names)


async def open_brief(pilot: Any) -> ChatScreen:
    """Chat, with answers of a few tokens."""
    screen = await open_chat(pilot)
    screen.query_one("#max_tokens", Input).value = "20"
    return screen


def rows_listed(pilot: Any) -> int:
    """Rows of the list of checkpoints; 0 while it is not open."""
    tables = pilot.app.screen.query("#picker-table")
    return tables.first().row_count if tables else 0


async def test_in_another_size_the_end_is_shown_as_far_as_the_chosen_token_stays_in_view(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        screen.query_one(PromptArea).text = " ".join(["word"] * 900)
        await pilot.press("enter")
        await finished(pilot, screen)
        transcript, view = screen.query_one(Transcript), screen.query_one(TokenView)
        await pilot.press("escape", "left")
        seen = []
        for size in ((80, 24), (120, 36), (60, 20), (120, 36)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y > 0)
            seen.append(transcript.scroll_y)
        assert seen[1] == seen[3]
        await pilot.press("home")
        for size in ((80, 24), (120, 36)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await until(pilot, lambda: view.region.y == transcript.content_region.y)


@pytest.mark.action("chat.tint")
async def test_tokens_stream_in_after_the_prompt_and_are_tinted_by_loops_probability_or_entropy(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "one two")
        await finished(pilot, screen)
        tokens = screen.query_one(TokenView).tokens
        texts = [text for text, _ in tokens]
        assert texts[:5] == ["one", " two", BOUNDARY, "def", " add"]
        assert len(tokens) == 2 + 1 + 20
        tint = tint_for("loops", 8)
        assert tokens[0][1] == 1.0 and tokens[3][1] == 1.0
        assert tokens[4][1] == pytest.approx(1 + (2 - 1) / (tint.high - tint.low))
        assert "loops 1 ▇▇▇▇▇▇▇▇ 8" in shown(screen, "#legend")
        line = shown(screen, ".statistics")
        assert "20 tokens" in line and "loops 2.50 of 4" in line and "max tokens reached" in line
        assert f"seed {screen.conversation.turns[0].answers[0].settings['seed']}" in line
        await pilot.press("escape", "t")
        await pilot.pause()
        assert "probability 0" in shown(screen, "#legend")
        tokens = screen.query_one(TokenView).tokens
        assert tokens[3][1] == 2.0 and tokens[4][1] == 1.5 and tokens[0][1] != tokens[0][1]
        await pilot.press("enter", "alt+t")
        await pilot.pause()
        assert "entropy" in shown(screen, "#legend")


@pytest.mark.action("chat.stop")
async def test_escape_stops_the_generation_and_keeps_what_came(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_chat(pilot)
        await send(pilot, "SLOW")
        await until(pilot, lambda: screen.query(TokenView) and len(screen.query_one(TokenView).tokens) > 3)
        assert "esc stops" in shown(screen, ".statistics")
        await pilot.press("escape")
        await finished(pilot, screen)
        assert "stopped by you" in shown(screen, ".statistics")
        assert 3 < len(screen.query_one(TokenView).tokens) < 200


@pytest.mark.action("chat.regenerate", "chat.new")
async def test_regenerate_replaces_the_last_answer_and_clear_takes_all_away(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "one")
        await finished(pilot, screen)
        await send(pilot, "two")
        await finished(pilot, screen)
        await pilot.press("ctrl+r")
        await finished(pilot, screen)
        said = [exchange.answer.pieces[0].text for exchange in screen.query_one(Transcript).exchanges]
        assert said == ["one", "two"] == [turn.text for turn in screen.conversation.turns]
        seeds = [turn.answers[0].settings["seed"] for turn in screen.conversation.turns]
        assert len(set(seeds)) == 2
        old = screen.conversation.id
        await pilot.press("ctrl+n")
        await until(pilot, lambda: not screen.query_one(Transcript).exchanges)
        assert [turn.text for turn in ChatStore().load(old).turns] == ["one", "two"] and screen.conversation.id != old


async def test_a_wrong_value_is_flagged_beside_the_field_and_not_sent(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        await pilot.pause()
        assert not [field for field in screen.query(Field) if field.query_one(".fault").display]
        screen.query_one("#temperature", Input).value = "11"
        await pilot.pause()
        assert "at most 10" in str(screen.query_one("#field-temperature .fault", Static).render())
        await send(pilot, "one")
        await pilot.pause()
        assert not screen.request and not screen.query_one(Transcript).exchanges
        assert screen.focused is screen.query_one("#temperature")
        screen.query_one("#temperature", Input).value = "0"
        await pilot.pause()
        assert not screen.query_one("#field-temperature .fault").display
        await send(pilot, "")
        await finished(pilot, screen)
        assert not screen.query_one("#field-threshold").display
        screen.query_one("#exit", Select).value = "confidence"
        await pilot.pause()
        controls: Any = screen.query_one("#controls")
        assert controls.read()["exit"] == "confidence:0.8"
        screen.query_one("#threshold", Input).value = "1.5"
        await pilot.pause()
        assert "between 0 and 1" in str(screen.query_one("#field-threshold .fault", Static).render())
        assert controls.read() is None


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("temperature", "x", "a number"),
        ("top_p", "0", "more than 0"),
        ("top_k", "1.5", "whole"),
        ("max_tokens", "0", "at least 1"),
        ("seed", "", None),
        ("top_k", "", None),
    ],
)
def test_bounds_come_from_the_protocol(name: str, text: str, fault: str | None) -> None:
    setting = next(one for one in SAMPLING if one.name == name)
    if fault is None:
        assert setting.parse(text) == setting.empty
    else:
        with pytest.raises(ValueError, match=fault):
            setting.parse(text)


async def test_a_worker_that_dies_is_explained_what_came_is_kept_and_the_next_message_starts_another(
    workbench: Any,
) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "zero")
        await finished(pilot, screen)
        await send(pilot, "DIE")
        await until(pilot, lambda: notice(screen) and not screen.request)
        text = notice(screen)
        assert "ended with code 3" in text and "told to die" in text and "new worker" in text
        assert "\x1b" not in text and "[bold]markup" in text
        await pilot.pause(0.1)
        first, second = ChatStore().load(screen.conversation.id).turns
        assert len(first.answers[0].tokens) == 20 and not first.answers[0].fault
        assert [piece.text for piece in second.answers[0].tokens] == ["def", " add"]
        assert second.answers[0].reason == "failed" and "code 3" in second.answers[0].fault
        line = str(screen.query(".statistics").last(Static).render())
        assert "2 tokens, then broken off" in line and "code 3" in line
        await finished(pilot, screen)
        await send(pilot, "one")
        await finished(pilot, screen)
        assert not notice(screen)
        assert "20 tokens" in str(screen.query(".statistics").last(Static).render())


@pytest.mark.action("checkpoint.choose_checkpoint", "ListDialog.cursor(1)", "ListDialog.choose")
async def test_a_damaged_checkpoint_is_said_in_words_and_another_can_be_chosen(workbench: Any) -> None:
    async with workbench("damaged", "good").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        assert "is damaged" in notice(screen) and "another checkpoint" in notice(screen)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: rows_listed(pilot) == 2)
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.ready is not None)
        assert (
            not notice(screen)
            and "good" in shown(screen, "#checkpoint")
            and "1.973 bits/byte" in shown(screen, "#checkpoint")
        )


async def test_without_any_checkpoint_the_way_to_one_is_shown(workbench: Any) -> None:
    async with workbench().run_test() as pilot:
        screen = await open_brief(pilot)
        assert "no checkpoint yet" in notice(screen) and "mythos train configs/quickstart.yaml" in notice(screen)
        await send(pilot, "one")
        await pilot.pause()
        assert not screen.request


async def test_a_dense_model_has_no_depth_controls_and_is_tinted_by_probability(workbench: Any) -> None:
    async with workbench("dense").run_test() as pilot:
        screen = await open_brief(pilot)
        await until(pilot, lambda: screen.ready is not None)
        await pilot.pause()
        assert screen.query_one("#loops", Input).disabled and screen.query_one("#exit", Select).disabled
        assert "dense: no loops" in shown(screen, "#legend") and "probability" in shown(screen, "#legend")
        await send(pilot, "one")
        await finished(pilot, screen)
        tokens = screen.query_one(TokenView).tokens
        assert tokens[2][1] == 2.0 and tokens[3][1] == 1.5
        assert "loops" not in shown(screen, ".statistics")
        assert shown(screen, "#dial") == "depth none: a dense model computes tokens once"
        await pilot.press("escape", "minus", "x", "left")
        await until(pilot, lambda: "read out after each layer" in shown(screen, "#column-text"))
        assert "no loops, no halting" in shown(screen, "#column-text")


async def test_escape_sequences_never_reach_the_screen_and_errors_come_with_a_hint(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "ESCAPE")
        await finished(pilot, screen)
        screen.query_one(Transcript).scroll_home(animate=False)
        await pilot.pause()
        text = screen_text(pilot.app)
        assert "\x1b" not in text and "\x07" not in text
        assert "␛[31mred" in text and "[bold]x" in text
        await send(pilot, "FAIL")
        await until(pilot, lambda: notice(screen))
        assert "longer than the context" in notice(screen) and "Shorten it" in notice(screen)
        assert not screen.request


@pytest.mark.action("PromptArea.send", "PromptArea.new_line", "PromptArea.recall")
@pytest.mark.action("chat.leave_field", "checkpoint.toggle_panel")
async def test_enter_sends_and_single_keys_are_text_until_escape(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        await pilot.press("a", "ctrl+j", "b")
        assert screen.query_one(PromptArea).text == "a\nb"
        await pilot.press("enter")
        await finished(pilot, screen)
        assert screen.query_one(Transcript).exchanges[0].answer.read == "a\nb"
        assert screen.query_one(PromptArea).text == ""
        await pilot.press("up")
        assert screen.query_one(PromptArea).text == "a\nb"
        await pilot.press("4", "q", "t")
        assert screen.query_one(PromptArea).text == "a\nb4qt"
        await pilot.press("escape", "right_square_bracket")
        assert not screen.query_one("#side").display
        await pilot.press("4")
        await until(pilot, lambda: pilot.app.screen is not screen)


async def test_the_newest_runs_latest_checkpoint_comes_first(workbench: Any, tmp_path: Path) -> None:
    for age, run in enumerate(("new", "old")):
        root = tmp_path / "runs" / run
        root.mkdir(parents=True)
        (root / "run.json").write_text(f'{{"created": {1000 - age}}}')
        for step in (5, 10):
            make_checkpoint(root / "checkpoints", f"step-{step:08d}", step=step)
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_brief(pilot)
        assert screen.checkpoint == tmp_path / "runs" / "new" / "checkpoints" / "step-00000010"
        await pilot.press("ctrl+o")
        await until(pilot, lambda: rows_listed(pilot) == 5)


async def test_a_checkpoint_can_be_handed_over_from_outside(workbench: Any, tmp_path: Path) -> None:
    app = workbench("quickstart", "zother")
    async with app.run_test() as pilot:
        app.open_chat(tmp_path / "checkpoints" / "zother")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and app.screen.ready is not None)
        assert app.screen.checkpoint.name == "zother"


def test_plain_drops_what_a_text_field_must_not_draw() -> None:
    assert plain("a\x1b[31m\tb\r\nc\x00d") == "a[31m\tb\ncd"


async def test_a_narrow_terminal_keeps_the_panel_for_a_key(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(62, 20)) as pilot:
        screen = await open_brief(pilot)
        assert not screen.query_one("#side").display
        await pilot.press("escape", "right_square_bracket")
        assert screen.query_one("#side").display


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
        assert screen.checkpoint.name == "zother" and "quickstart" in pilot.app.said[-1] and "ctrl+o" in pilot.app.said[-1]
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


async def test_a_template_makes_the_text_that_the_model_reads(workbench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "settings" / "mythos" / "templates"
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
