"""The Chat screen with a fake worker: what a person types, sees and is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable, Input, Select, Static

from mythos_tui.chats.store import ChatStore
from mythos_tui.screens.chat.controls import SAMPLING, Field
from mythos_tui.screens.chat.exchange import BOUNDARY
from mythos_tui.screens.chat.prompt import PromptArea, plain
from mythos_tui.screens.chat.screen import NO_MESSAGE, ChatScreen
from mythos_tui.screens.chat.tint import tint_for
from mythos_tui.screens.chat.transcript import Transcript
from mythos_tui.widgets.tokens import TokenView
from tests.fakes.workbench import (
    finished,
    make_checkpoint,
    notice,
    open_brief,
    open_chat,
    rows_listed,
    screen_text,
    send,
    shown,
    until,
)


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
        await pilot.press("escape", "right_square_bracket")
        assert not screen.query_one(".panel").display
        await send(pilot, "one")  # the panel comes back, with the focus on what is wrong
        await until(pilot, lambda: screen.focused is screen.query_one("#threshold"))


async def test_a_short_conversation_stands_at_the_top(workbench: Any) -> None:
    """It hung at the bottom or stood at the top, as the last frames of an answer came."""
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_brief(pilot)
        await send(pilot, "one two")
        await finished(pilot, screen)
        transcript = screen.query_one(Transcript)
        for _ in range(3):
            transcript.refresh(layout=True)
            await pilot.pause()
            assert transcript.scroll_y == 0
            assert screen.query_one(TokenView).region.y == transcript.content_region.y


async def test_an_empty_field_is_what_the_checkpoint_does_by_itself(workbench: Any) -> None:
    """A checkpoint made for short answers was sampled for 200 tokens at a temperature of 0.8, as every other."""
    async with workbench("greedy").run_test() as pilot:
        screen = await open_chat(pilot)
        await until(pilot, lambda: screen.ready is not None and screen.ready.max_tokens == 3)
        assert screen.query_one("#max_tokens", Input).placeholder == "default 3"
        assert screen.query_one("#temperature", Input).placeholder == "default 0"
        assert screen.query_one("#top_k", Input).placeholder == "default all"
        hint = str(screen.query_one(PromptArea).placeholder)
        assert "1+1=" in hint and "\x1b" not in hint
        await send(pilot, "one")
        await finished(pilot, screen)
        answer = screen.conversation.turns[-1].answers[0]
        assert len(answer.tokens) == 3
        assert (answer.settings["temperature"], answer.settings["max_tokens"]) == (0.0, 3)
        screen.query_one("#max_tokens", Input).value = "5"
        await send(pilot, "two")
        await finished(pilot, screen)
        assert len(screen.conversation.turns[-1].answers[0].tokens) == 5


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("temperature", "x", "a number"),
        ("top_p", "0", "more than 0"),
        ("top_k", "1.5", "whole"),
        ("max_tokens", "0", "at least 1"),
        ("seed", "", None),
        ("top_k", "", None),
        ("min_p", "", "a number"),
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


async def test_every_column_of_the_list_is_seen_in_eighty_columns(workbench: Any) -> None:
    """The size of a checkpoint was cut off at the edge of the dialog."""
    async with workbench(*(f"checkpoint-{n}" for n in range(30))).run_test(size=(80, 24)) as pilot:
        await open_brief(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: rows_listed(pilot) == 30)
        table = pilot.app.screen.query_one(DataTable)
        assert table.max_scroll_x == 0 and table.max_scroll_y > 0


async def test_without_any_checkpoint_the_way_to_one_is_shown(workbench: Any) -> None:
    async with workbench().run_test() as pilot:
        screen = await open_brief(pilot)
        assert "no checkpoint yet" in notice(screen) and "mythos train configs/quickstart.yaml" in notice(screen)
        assert "alt+2" in notice(screen)
        await send(pilot, "one")  # opens the list, from which alt+2 does not reach
        await until(pilot, lambda: "esc, then alt+2" in screen_text(pilot.app))
        await pilot.press("escape", "escape")
        for key in ("e", "m", "ctrl+r", "i"):
            pilot.app.said.clear()
            await pilot.press(key)
            await until(pilot, lambda: pilot.app.said and NO_MESSAGE in pilot.app.said[0])
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
