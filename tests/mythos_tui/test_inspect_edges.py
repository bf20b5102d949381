"""Inspect with unusual texts, models and terminals: dense models, megabytes, markup, errors, wide screens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mythos.contract.protocol import TraceResult
from mythos_tui.screens.chat.prompt import PromptArea
from mythos_tui.screens.inspect.losstext import LossText
from mythos_tui.screens.inspect.screen import InspectScreen
from mythos_tui.screens.inspect.sweepchart import SweepChart
from mythos_tui.screens.inspect.tables import Table
from mythos_tui.screens.inspect.trace import Trace
from mythos_tui.screens.inspect.views import TraceMap, cell_width, labels
from tests.fakes.workbench import (
    finished,
    look,
    notice,
    open_chat,
    open_inspect,
    screen_text,
    send,
    shown,
    until,
)


async def test_a_dense_model_says_that_it_has_no_halting(workbench: Any) -> None:
    async with workbench("dense").run_test() as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c")
        assert screen.views == ("lens",) and screen.query_one("#lens", TraceMap).values.shape == (3, 2)
        await pilot.press("w")
        await pilot.pause()
        assert screen.query_one(SweepChart).series[0].y.tolist() == pytest.approx([-math.log(0.1), -math.log(0.2)])
        await pilot.press("h")
        await pilot.pause()
        assert "no halting to show" in shown(screen, "#explanation")
        assert screen.query_one("#loops").disabled


async def test_a_trace_of_megabytes_is_shown(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "BIG " + "word " * 40)
        await pilot.press("a", "end")
        await pilot.pause()
        assert screen.look.head == 1999


@pytest.mark.action("inspect.from_chat")
async def test_a_text_comes_from_chat_with_its_control_characters_gone(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        chat = await open_chat(pilot)
        await send(pilot, "ESCAPE")
        await finished(pilot, chat)
        await pilot.press("escape", "i")
        await until(pilot, lambda: isinstance(pilot.app.screen, InspectScreen) and pilot.app.screen.is_mounted)
        screen = pilot.app.screen
        await until(pilot, lambda: screen.trace is not None and not screen.request)
        screen.look = None
        await pilot.press("escape", "g")
        await until(pilot, lambda: screen.trace is not None)
        text = screen.query_one(PromptArea).text
        assert text.startswith("ESCAPEdef[31mred") and "\x1b" not in text
        answer = chat.conversation.turns[-1].answers[0]
        assert answer.ids and screen.source.asked == {"text": answer.read, "then": answer.ids}, (
            "the very tokens that came"
        )
        screen.query_one(PromptArea).clear()
        await send(pilot, "another text")
        await until(pilot, lambda: screen.source.text == "another text")
        assert screen.source.asked == {"text": "another text"}


async def test_markup_and_escapes_in_tokens_are_shown_not_obeyed(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "[red]x[/red] \x1b ESCAPE b")
        for key in "wlxspdaho":
            await pilot.press(key)
            await pilot.pause()
            text = screen_text(pilot.app)
            assert "\x1b" not in text and "\x07" not in text
        assert "[red]x[/red]" in text and "␛[31m␇" in text


async def test_errors_and_death_are_explained_and_the_next_text_works(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        for text, words in (("FAIL", "Shorten it"), ("DIE", "ended with code 3")):
            screen.query_one(PromptArea).text = text
            screen.query_one(PromptArea).focus()
            await pilot.press("enter")
            await until(pilot, lambda words=words: words in notice(screen))
            assert not screen.request
        await look(pilot, screen, "a b")
        assert not notice(screen)


async def test_the_checkpoint_is_the_one_that_chat_chose(workbench: Any, tmp_path: Path) -> None:
    app = workbench("quickstart", "zother")
    async with app.run_test() as pilot:
        chat = await open_chat(pilot)
        chat.use_checkpoint(tmp_path / "checkpoints" / "zother")
        await pilot.press("escape")
        screen = await open_inspect(pilot)
        assert screen.checkpoint and screen.checkpoint.name == "zother"


@pytest.mark.action(
    "LossText.move(-1)", "LossText.move(1)", "LossText.line(-1)", "LossText.line(1)",
    "LossText.move(-1_000_000)", "LossText.move(1_000_000)",
)  # fmt: skip
async def test_keys_move_over_the_tokens_of_the_loss_text(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "ab cd\nef gh")
        await pilot.press("o")
        for key, token in (("end", 3), ("left", 2), ("up", 0), ("down", 2), ("home", 0), ("right", 1)):
            await pilot.press(key)
            await pilot.pause()
            assert screen.look.token == token, key


async def test_a_click_or_arrows_select_tokens_in_the_loss_text(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "ab cd\nef gh")
        await pilot.press("o", "down")
        await pilot.pause()
        assert screen.look.token == 2
        await pilot.click(LossText, offset=(3, 0))
        await pilot.pause()
        assert screen.look.token == 1


LENS = {
    "ids": [[[5], [5]], [[5], [5]]], "p": [[[0.5], [0.5]], [[0.5], [0.5]]], "entropy": [[1.0, 1.0], [1.0, 1.0]],
    "kl": [[0.0, 0.0], [0.0, 0.0]], "next_p": [[0.1, 0.1], [None, None]], "next_rank": [[2, 2], [-1, -1]],
    "settled": [1, 1], "texts": {5: "a"},
}  # fmt: skip


def result(**changes: Any) -> TraceResult:
    fields: dict[str, Any] = {
        "id": "1", "tokens": ["a", "b"], "loops": [2, 2], "max_loops": 2, "exit": "fixed", "signal_name": "",
        "exit_signal": [[None, None], [None, None]], "attention_rows": ["loop 1"], "attention_entropy": [[[0.0], [0.5]]],
        "attention_max": [0.0, math.log(2)], "token_loss": [None, 1.0], "seconds": 0.1, "ids": [1, 2],
        "stopped": [True, True], "experts": 0,
        "routes": [[[], []], [[], []]], "gates": [[[], []], [[], []]], "steps": ["loop 1", "loop 2"],
        "state_norm": [[1.0, 2.0], [1.0, 2.0]], "step_size": [[0.5, 0.1], [0.5, 0.1]], "lens": LENS,
    }  # fmt: skip
    return TraceResult(**{**fields, **changes})


def test_a_rule_without_signal_shows_what_was_computed() -> None:
    trace = Trace.of(result(loops=[1, 2]))
    assert not trace.has_signal
    assert np.array_equal(trace.halting(), [[1.0, np.nan], [1.0, 1.0]], equal_nan=True)


def test_ragged_or_empty_traces_do_no_harm() -> None:
    trace = Trace.of(result(exit_signal=[[0.5], []], attention_rows=[], attention_entropy=[]))
    assert trace.heads == 0 and trace.signal.shape == (2, 2) and trace.signal[0, 0] == 0.5
    assert trace.halting_scale() == (0.0, 0.5)
    assert Trace.of(result(signal_name="top probability")).halting_scale() == (0.0, 1.0)


def test_relative_entropy_has_no_value_for_the_first_token() -> None:
    share = Trace.of(result()).attention(relative=True)
    assert np.isnan(share[0, 0, 0]) and share[0, 1, 0] == pytest.approx(0.5 / math.log(2))


def test_labels_keep_the_loops_however_long_the_token() -> None:
    shown = Table("token", "loop", np.zeros((2, 1)), ("x" * 40, "\n"), ("1",), notes=(" 3", "12"))
    found = labels(shown, 48)
    assert found[0].endswith("…   3") and found[1] == "⏎  12" and max(map(len, found)) <= 15


def test_cells_are_as_wide_as_there_is_room() -> None:
    assert [cell_width(columns, 40, 7) for columns in (4, 8, 20, 100)] == [7, 5, 2, 1]
    assert cell_width(10, 40, 16, least=6) == 6


async def test_a_wide_terminal_shows_two_views_with_one_cursor(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(200, 50)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e f")
        halting, lens = screen.query_one("#halting", TraceMap), screen.query_one("#lens", TraceMap)
        assert screen.views == ("halting", "lens") and halting.size.width > 60 and lens.size.width > 60
        await pilot.press("down", "down", "right")
        await pilot.pause()
        assert halting.cursor == lens.cursor == (2, 1)
        before = shown(screen, "#explanation")
        assert "column: loop" in before and "what comes next" in before
        await pilot.press("tab", "down")
        await pilot.pause()
        assert screen.focused is lens and halting.cursor[0] == 3
        await pilot.press("o", "right")
        await pilot.pause()
        assert screen.views == ("halting", "loss") and halting.cursor[0] == 4 and not lens.display
        await pilot.press("d", "down")
        await pilot.pause()
        assert screen.views == ("attention", "depth") and "loop 1 (2 of 6" in shown(screen, "#explanation")


async def test_a_wide_terminal_pairs_attention_with_depth_for_a_dense_model(workbench: Any) -> None:
    async with workbench("dense").run_test(size=(200, 50)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c")
        assert screen.views == ("lens", "attention")


async def test_what_is_waited_for_is_told_with_its_seconds(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        screen._show_stage("running")
        assert shown(screen, "#stage") == " looking inside…"
        screen._stage_began -= 7
        await until(pilot, lambda: shown(screen, "#stage").startswith(" looking inside… 8 s"))
        screen._show_stage("")
        assert shown(screen, "#stage") == ""
