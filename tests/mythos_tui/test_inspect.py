"""The Inspect screen with a fake worker: the right numbers in the right cells, one cursor for all views."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mythos_tui.screens.chat.prompt import PromptArea
from mythos_tui.screens.inspect.sweepchart import SweepChart
from mythos_tui.screens.inspect.tables import FLIP
from mythos_tui.screens.inspect.views import EXIT_MARK, TraceMap
from tests.fakes.workbench import (
    look,
    make_checkpoint,
    open_inspect,
    screen_text,
    shown,
    table,
    until,
)


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


async def test_the_offered_text_is_the_checkpoint_s_own_and_gives_way_to_what_is_typed(workbench: Any) -> None:
    async with workbench("greedy").run_test() as pilot:
        screen = await open_inspect(pilot)
        area = screen.query_one(PromptArea)
        await until(pilot, lambda: area.text == "1+1=[31m")
        await pilot.press("a", "b")
        assert area.text == "ab"
        screen.checkpoint_changed()
        assert area.text == "ab"
        await pilot.press("enter")
        await until(pilot, lambda: screen.trace is not None)
        await pilot.press("e", "c")
        assert area.text == "abc"


async def test_the_token_cursor_is_shared_by_all_views(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e f")
        await pilot.press("down", "down", "right")
        await pilot.pause()
        assert (
            screen.look.token == 2 and "3 of 6" in shown(screen, "#reading") and "3 of 4" in shown(screen, "#reading")
        )
        await pilot.press("a", "right")
        await pilot.pause()
        assert screen.query_one("#attention", TraceMap).cursor == (2, 1)
        assert "head 2" in shown(screen, "#reading")
        await pilot.press("o", "right")
        await pilot.pause()
        assert screen.look.token == 3 and "loss    1.50 nats" in shown(screen, "#reading")
        await pilot.press("h")
        await pilot.pause()
        assert screen.query_one("#halting", TraceMap).cursor[0] == 3
        await pilot.press("d", "full_stop")
        await pilot.pause()
        assert screen.look.token == 4 and "token 5" in shown(screen, "#explanation")


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
        await pilot.press("v")
        await pilot.pause()
        assert view.values[1].tolist() == pytest.approx([v / math.log(2) for v in (0.25, 0.35, 0.45, 0.55)])
        assert "share of the maximum" in shown(screen, "#explanation")
        await pilot.press("v", "down", "d")
        await pilot.pause()
        depth = screen.query_one("#depth", TraceMap)
        assert depth.values.shape == (6, 4) and np.isnan(depth.values[3]).all()
        assert depth.values[1].tolist() == pytest.approx([0.25, 0.35, 0.45, 0.55])


@pytest.mark.action(
    "inspect.view('halting')", "inspect.view('lens')", "inspect.view('experts')", "inspect.view('states')",
    "inspect.view('loss')", "inspect.measure", "inspect.leave_field", "inspect.edit",
)  # fmt: skip
async def test_every_loop_tells_what_it_would_say_where_it_went_and_how_far_it_moved(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e")
        await pilot.press("e")
        assert isinstance(screen.focused, PromptArea)
        await pilot.press("escape", "down", "down", "l", "right")
        await pilot.pause()
        lens = table(screen, "lens")
        assert lens.texts and lens.texts(2, 1) == " (" and lens.texts(2, 2) == f"{FLIP}a" and screen.look.step == 1
        assert screen_text(pilot.app).count(FLIP) >= 3 and lens.values[2].tolist()[:3] == [0.5, 0.55, 0.6]
        assert np.isnan(lens.values[0, 1:]).all(), "after its exit nothing was read out"
        side = shown(screen, "#reading")
        assert "what comes next, loop 2" in side and "0.550" in side and "settled loop 3 of 3" in side
        assert "rank 4 · p 0.200" in side and "0.300 nats to final" in side
        await pilot.press("v")
        await pilot.pause()
        assert table(screen, "lens").values[2].tolist()[:3] == [0.6, 0.3, 0.0] and "KL" in shown(screen, "#explanation")
        await pilot.press("x")
        await pilot.pause()
        experts = table(screen, "experts")
        assert experts.texts and experts.texts(2, 1).split() == ["3", "4"] and experts.values[2, 1] == 3
        assert experts.categories and "3: 0.75  4: 0.25" in shown(screen, "#reading")
        assert "· not run" in shown(screen, "#reading") and np.isnan(experts.values[2, 3])
        await pilot.press("v", "s")
        await pilot.pause()
        assert table(screen, "experts").values[2, 1] == 0.75
        assert table(screen, "states").values[2].tolist()[:3] == [0.8, 0.4, 0.2667]
        assert "0.400  1.50" in shown(screen, "#reading")
        await pilot.press("o")
        await pilot.pause()
        assert screen.views == ("loss",)
        await pilot.press("h")
        await pilot.pause()
        assert screen.query_one("#halting", TraceMap).cursor == (2, 1)


@pytest.mark.action(
    "inspect.view('attention')", "inspect.view('depth')", "inspect.view('pattern')", "inspect.pattern",
    "inspect.step(-1)", "inspect.step(1)", "inspect.head(-1)", "inspect.head(1)",
)  # fmt: skip
async def test_from_an_entropy_to_the_pattern_behind_it(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e")
        await pilot.press("a", "full_stop", "full_stop", "full_stop", "comma", "down", "down", "right", "enter")
        await until(pilot, lambda: (2, 1) in screen.look.patterns)
        await pilot.pause()
        pattern = screen.query_one("#pattern", TraceMap)
        assert screen.focused is pattern and "loop 2" in shown(screen, "#explanation")
        assert pattern.values[2, :3].tolist() == pytest.approx([1 / 3] * 3) and np.isnan(pattern.values[2, 3:]).all()
        assert np.isnan(pattern.values[0]).all(), "the first token stopped after loop 1"
        assert "attends to" in shown(screen, "#reading") and "0.33" in shown(screen, "#reading")
        await pilot.press("greater_than_sign", "greater_than_sign", "less_than_sign")
        await until(pilot, lambda: (2, 2) in screen.look.patterns)
        assert "head 3 of 4" in shown(screen, "#explanation")
        await pilot.press("d", "home", "p")
        await until(pilot, lambda: (2, 0) in screen.look.patterns and screen.views == ("pattern",))


@pytest.mark.action("inspect.view('sweep')", "SweepChart.depth(-1)", "SweepChart.depth(1)", "SweepChart.toggle_log")
async def test_the_loss_at_every_depth_and_where_the_exit_rule_stands(workbench: Any) -> None:
    async with workbench("quickstart").run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        await look(pilot, screen, "a b c d e")
        await pilot.press("down", "down", "w")
        await until(pilot, lambda: screen.look.losses is not None)
        await pilot.pause()
        chart = screen.query_one(SweepChart)
        mean, token, rule = chart.series
        assert mean.y.tolist() == pytest.approx([3 / n + 0.25 for n in range(1, 9)])
        assert token.y.tolist() == pytest.approx([3 / n + 0.2 for n in range(1, 9)])
        assert (rule.x.tolist(), rule.y.tolist()) == ([2.5], [1.25])
        await pilot.press("full_stop")
        await pilot.pause()
        assert chart.series[1].y[0] == pytest.approx(3.3) and "◆" in shown(screen, "#reading")
        await pilot.press("right", "right", "right", "left")
        assert chart.crosshair == 2
        await pilot.press("y")
        assert chart.y_log


@pytest.mark.action("inspect.export('md')", "inspect.export('svg')", "inspect.export('npz')")
async def test_what_is_shown_goes_into_files(workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    async with workbench("quickstart").run_test(size=(80, 24)) as pilot:
        screen = await open_inspect(pilot)
        await pilot.press("escape", "n")
        await until(pilot, lambda: list(pilot.app._notifications))
        assert not list(folder.iterdir()), "there is nothing to write yet"
        await look(pilot, screen, "a |b `c [red] " + "x " * 30)
        await pilot.press("l", "m", "i", "n", "n", "w")
        await until(pilot, lambda: screen.look.losses is not None)
        await pilot.pause()
        await pilot.press("m", "i", "o", "m", "i")
        await pilot.pause()
    names = {path.name for path in folder.iterdir()}
    views = ("lens", "sweep", "loss")
    assert names == {
        *(f"mythos-quickstart-{view}.{ending}" for view in views for ending in ("md", "svg")),
        *("mythos-quickstart-trace.npz", "mythos-quickstart-trace-2.npz"),
    }
    table = (folder / "mythos-quickstart-lens.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 35 and "quickstart · step 1,000" in table and r"`·\|b`" in table and "`` ·`c ``" in table
    assert rows[3] == r"| `·\|b` | 2 | `·add` 0.5 | `›(` 0.55 |  |  |"
    picture = (folder / "mythos-quickstart-lens.svg").read_text()
    assert picture.startswith("<svg") and "\x1b" not in picture and picture.count("<text") > 35, (
        "all rows, not only those in sight"
    )
    with np.load(folder / "mythos-quickstart-trace.npz") as stored:
        assert stored["lens_p"].shape == (35, 4, 3) and stored["tokens"][1] == " |b"


@pytest.mark.action("inspect.follow")
async def test_each_new_checkpoint_of_a_run_is_looked_into(
    workbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mythos_tui.screens.inspect.following.EVERY_S", 0.05)
    run = tmp_path / "runs" / "one"
    app = workbench("quickstart")
    (run / "checkpoints").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    first = make_checkpoint(run / "checkpoints", "step-00001000", step=1000)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_inspect(pilot)
        screen.use_checkpoint(tmp_path / "checkpoints" / "quickstart")
        await pilot.press("escape", "F")
        await until(pilot, lambda: any("no run to follow" in one.message for one in app._notifications))
        screen.use_checkpoint(first)
        await look(pilot, screen, "a b c d e")
        await pilot.press("l", "down", "down", "F")
        subtitle = screen.query_one(PromptArea)
        assert "one/step-00001000" in str(subtitle.border_subtitle) and "following" in str(subtitle.border_subtitle)
        make_checkpoint(run / "checkpoints", "step-00002000", step=2000)
        await until(pilot, lambda: screen.source and screen.source.path.name == "step-00002000")
        await pilot.pause()
        assert "one/step-00002000" in str(subtitle.border_subtitle) and screen.look.token == 2
        assert screen.focused is screen.query_one("#lens")
        await pilot.press("F")
        make_checkpoint(run / "checkpoints", "step-00003000", step=3000)
        await pilot.pause(0.3)
        assert screen.source.path.name == "step-00002000" and "following" not in str(subtitle.border_subtitle)
