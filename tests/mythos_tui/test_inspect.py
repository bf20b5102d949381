"""The Inspect screen with a fake worker: the right numbers in the right cells, one cursor for all views."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from mythos.contract.protocol import TraceResult
from mythos_tui.screens.chat.prompt import PromptArea
from mythos_tui.screens.inspect.reading import EXIT_MARK
from mythos_tui.screens.inspect.screen import InspectScreen
from mythos_tui.screens.inspect.trace import Trace
from mythos_tui.screens.inspect.views import LossText, TraceMap, cell_width, token_labels
from tests.fakes.workbench import finished, make_app, notice, open_chat, screen_text, send, shown, until


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return lambda *names: make_app(tmp_path, *names)


async def open_inspect(pilot: Pilot[Any]) -> InspectScreen:
    await pilot.press("4")
    await until(pilot, lambda: isinstance(pilot.app.screen, InspectScreen) and pilot.app.screen.is_mounted)
    screen = pilot.app.screen
    assert isinstance(screen, InspectScreen)
    await until(pilot, lambda: screen.ready is not None or notice(screen))
    return screen


async def look(pilot: Pilot[Any], screen: InspectScreen, text: str) -> None:
    area = screen.query_one(PromptArea)
    area.text = text
    area.focus()
    await pilot.press("enter")
    await until(pilot, lambda: screen.trace is not None and not screen.request)
    await pilot.pause()


async def test_the_halting_map_shows_the_signal_blank_after_the_exit_which_is_marked(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e")
        values = screen.query_one("#halting", TraceMap).values
        assert values.shape == (5, 4)
        assert values[2].tolist()[:3] == [0.3333, 0.6667, 1.0] and math.isnan(values[2, 3])
        assert values[4, 0] == 1.0 and np.isnan(values[4, 1:]).all()
        text = screen_text(pilot.app)
        assert "0.67" in text and EXIT_MARK in text and "·c  3" in text
        assert "cumulative halting probability" in shown(screen, "#explanation")


async def test_the_default_text_gives_a_picture_at_the_first_enter(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        screen = await open_inspect(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: screen.trace is not None)
        assert screen.trace and screen.trace.tokens[0] == "def"


async def test_the_token_cursor_is_shared_by_all_views(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e f")
        await pilot.press("down", "down", "right")
        await pilot.pause()
        assert screen.token == 2 and "3 of 6" in shown(screen, "#reading") and "3 of 4" in shown(screen, "#reading")
        await pilot.press("a", "right")
        await pilot.pause()
        assert screen.query_one("#attention", TraceMap).cursor == (2, 1)
        assert "head 2" in shown(screen, "#reading")
        await pilot.press("l", "right")
        await pilot.pause()
        assert screen.token == 3 and "loss    1.50 nats" in shown(screen, "#reading")
        await pilot.press("h")
        await pilot.pause()
        assert screen.query_one("#halting", TraceMap).cursor[0] == 3
        await pilot.press("d", "full_stop")
        await pilot.pause()
        assert screen.token == 4 and "token 5" in shown(screen, "#explanation")


async def test_attention_entropy_by_token_and_by_depth_in_nats_and_as_a_share(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e f")
        await pilot.press("a", "full_stop", "full_stop")
        await pilot.pause()
        view = screen.query_one("#attention", TraceMap)
        assert "loop 2 (3 of 6" in shown(screen, "#explanation")
        assert np.isnan(view.values[0]).all(), "the first token stopped after loop 1"
        assert view.values[1].tolist() == pytest.approx([0.25, 0.35, 0.45, 0.55])
        await pilot.press("r")
        await pilot.pause()
        assert view.values[1].tolist() == pytest.approx([v / math.log(2) for v in (0.25, 0.35, 0.45, 0.55)])
        assert "entropy / its maximum" in shown(screen, "#explanation")
        await pilot.press("r", "down", "d")
        await pilot.pause()
        depth = screen.query_one("#depth", TraceMap)
        assert depth.values.shape == (6, 4) and np.isnan(depth.values[3]).all()
        assert depth.values[1].tolist() == pytest.approx([0.25, 0.35, 0.45, 0.55])


async def test_a_dense_model_says_that_it_has_no_halting(workbench: Any) -> None:
    async with workbench("dense").run_test() as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c")
        assert screen.query_one("#attention", TraceMap).values.shape == (3, 4)
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
        assert screen.head == 1999


async def test_a_text_comes_from_chat_with_its_control_characters_gone(workbench: Any) -> None:
    async with workbench("quickstart").run_test() as pilot:
        chat = await open_chat(pilot)
        await send(pilot, "ESCAPE")
        await finished(pilot, chat)
        await pilot.press("escape", "i")
        await until(pilot, lambda: isinstance(pilot.app.screen, InspectScreen) and pilot.app.screen.is_mounted)
        screen = pilot.app.screen
        await until(pilot, lambda: screen.trace is not None and not screen.request)
        screen.trace = None
        await pilot.press("escape", "g")
        await until(pilot, lambda: screen.trace is not None)
        text = screen.query_one(PromptArea).text
        assert text.startswith("ESCAPEdef[31mred") and "\x1b" not in text


async def test_markup_and_escapes_in_tokens_are_shown_not_obeyed(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "[red]x[/red] \x1b ESCAPE b")
        for key in "hadl":
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


async def test_a_click_or_arrows_select_tokens_in_the_loss_text(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "ab cd\nef gh")
        await pilot.press("l", "down")
        await pilot.pause()
        assert screen.token == 2
        await pilot.click(LossText, offset=(3, 0))
        await pilot.pause()
        assert screen.token == 1


LENS = {
    "ids": [[[5], [5]], [[5], [5]]], "p": [[[0.5], [0.5]], [[0.5], [0.5]]], "entropy": [[1.0, 1.0], [1.0, 1.0]],
    "kl": [[0.0, 0.0], [0.0, 0.0]], "next_p": [[0.1, 0.1], [None, None]], "next_rank": [[2, 2], [-1, -1]],
    "settled": [1, 1], "texts": {5: "a"},
}  # fmt: skip


def result(**changes: Any) -> TraceResult:
    fields: dict[str, Any] = {
        "id": "1", "tokens": ["a", "b"], "loops": [2, 2], "max_loops": 2, "exit": "fixed", "signal_name": "",
        "exit_signal": [[None, None], [None, None]], "attention_rows": ["loop 1"], "attention_entropy": [[[0.0], [0.5]]],
        "token_loss": [None, 1.0], "seconds": 0.1, "ids": [1, 2], "stopped": [True, True], "experts": 0,
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
    labels = token_labels(("x" * 40, "\n"), 48, np.array([3, 12]))
    assert labels[0].endswith("…   3") and labels[1] == "⏎  12" and max(map(len, labels)) <= 15


def test_cells_are_as_wide_as_there_is_room() -> None:
    assert [cell_width(columns, 40, 7) for columns in (4, 8, 20, 100)] == [7, 5, 2, 1]


async def test_a_wide_terminal_shows_two_views_with_one_cursor(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(200, 50)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e f")
        halting, attention = screen.query_one("#halting", TraceMap), screen.query_one("#attention", TraceMap)
        assert screen.views == ("halting", "attention") and halting.size.width > 60 and attention.size.width > 60
        await pilot.press("down", "down")
        await pilot.pause()
        assert halting.cursor[0] == attention.cursor[0] == 2
        before = shown(screen, "#explanation")
        await pilot.press("full_stop")
        await pilot.pause()
        assert "column: loop" in before and "column: head" in before and shown(screen, "#explanation") != before
        await pilot.press("tab", "down")
        await pilot.pause()
        assert screen.focused is attention and halting.cursor[0] == 3
        await pilot.press("l", "right")
        await pilot.pause()
        assert screen.views == ("halting", "loss") and halting.cursor[0] == 4 and not attention.display
        await pilot.press("d", "down")
        await pilot.pause()
        assert screen.views == ("attention", "depth") and "loop 2 (3 of 6)" in shown(screen, "#explanation")


async def test_a_wide_terminal_pairs_attention_with_depth_for_a_dense_model(workbench: Any) -> None:
    async with workbench("dense").run_test(size=(200, 50)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c")
        assert screen.views == ("attention", "depth")


async def test_what_is_waited_for_is_told_with_its_seconds(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        screen._show_stage("running")
        assert shown(screen, "#stage") == "looking inside…"
        screen._stage_began -= 7
        await until(pilot, lambda: shown(screen, "#stage").startswith("looking inside… 8 s"))
        screen._show_stage("")
        assert shown(screen, "#stage") == ""
