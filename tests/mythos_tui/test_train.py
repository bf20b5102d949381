"""The Train screen over run directories: states, live charts, commands, filter, log, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mythos_tui.app import MythosApp
from mythos_tui.screens.train.charts import ChartGrid, plan
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.settings import Context
from mythos_tui.widgets.chart import LineChart
from mythos_tui.widgets.timemap import TimeHeatmap
from mythos_tui.workers.launch import Launched
from tests.fakes.runs import FakeRun
from tests.fakes.screen_text import shows, text_of, until


@pytest.mark.parametrize("state", ["preparing", "running", "paused", "finished", "stopped", "failed"])
async def test_states_have_a_word(context: Context, state: str):
    run = FakeRun(context.runs, "one")
    run.status(state, 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, state, "one")


async def test_a_run_whose_process_is_gone_shows_as_crashed_and_says_how_to_go_on(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10, last_checkpoint="step-00000005")
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "● running")
        run.close()
        await shows(pilot, "✖ crashed", "without a word", "mythos train --resume one", limit_s=3.0)


@pytest.mark.action("train.error")
async def test_a_failed_run_shows_its_message_and_the_way_out(context: Context):
    run = FakeRun(context.runs, "one")
    error = {"type": "DataError", "message": "The corpus is [red]empty[/red]\x1b[2J.", "hint": "Name a folder."}
    run.status("failed", 0, error=error, message=error["message"])
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(
            pilot, "✗ failed", "DataError: The corpus is [red]empty[/red]␛[2J.", "Name a folder.", "no checkpoint yet"
        )
        assert text_of(app).count("The corpus is") == 1, "header and notice say the same"
        await pilot.press("e")
        await shows(pilot, "one failed", "c copy")
        await pilot.press("escape")


async def test_an_alert_shows_while_the_run_is_live_with_what_to_try(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "● running")
        run.event("alert", step=9, message="The loss jumped.", hint="Lower train.lr.", level="warning")
        run.event("alert", step=10, message="The [b]gradient[/b] jumped\x1b[2J.", hint="Lower it more.", level="note")
        await shows(pilot, "Step 10: The [b]gradient[/b] jumped␛[2J.", "a shows all 2", "Alerts 2")
        await pilot.press("a")
        await shows(pilot, "▲ 9  The loss jumped", "Lower it more.")
        await until(pilot, lambda: "a shows all" not in text_of(app))
        run.event("alert", step=11, message="Again.", hint="", level="error")
        await shows(pilot, "✗ 11  Again.")
        await pilot.press("escape", "l", "l")
        run.event("alert", step=12, message="Once more.", hint="", level="error")
        await shows(pilot, "✗ Step 12: Once more.", "a shows all 4")
        run.status("finished", 20)
        await until(pilot, lambda: "a shows all" not in text_of(app))


async def test_points_appear_while_metrics_grow(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    run.metrics(10, 20)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "Loss", "Ponder", "Expert load")
        loss = app.screen.query_one("#panel-loss", LineChart)
        await until(pilot, lambda: loss.series and loss.series[0].x.size == 2)
        run.metrics(30, 40)
        run.event("evaluation", step=40, loss=3.0, bits_per_byte=2.5)
        run.status("running", 40, loss=3.25)
        await until(pilot, lambda: loss.series[0].x.size == 4 and len(loss.series) == 2)
        assert loss.series[1].kind == "points" and loss.series[1].y.tolist() == [3.0]
        assert app.screen.query_one("#panel-experts", TimeHeatmap)._values.shape == (4, 8)
        await shows(pilot, "2.500 bits/byte", "3.250", "step 40 of 2000")


async def test_a_dense_run_has_no_empty_recurrent_charts(context: Context):
    run = FakeRun(context.runs, "one", family="dense")
    run.status("running", 20)
    run.metrics(10, 20)
    app = MythosApp(context)
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await shows(pilot, "Loss", "Gradient norm", "Learning rate", "Utilisation")
        assert not {"Ponder", "Expert load", "Router"} & set(text_of(app).split())


@pytest.mark.parametrize(("size", "least"), [((80, 24), 3), ((120, 36), 6), ((200, 60), 12)])
async def test_as_many_charts_as_fit(context: Context, size: tuple[int, int], least: int):
    run = FakeRun(context.runs, "one")
    run.status("running", 20)
    run.metrics(10, 20)
    app = MythosApp(context)
    async with app.run_test(size=size, notifications=True) as pilot:
        await shows(pilot, "Loss", "Expert load")
        grid = app.screen.query_one(ChartGrid)
        assert len(grid.shown) >= least and grid.shown[:3] == ["loss", "ponder", "experts"]


async def test_every_chart_is_reached_by_turning_pages(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 20)
    run.metrics(10, 20)
    app = MythosApp(context)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await shows(pilot, "Loss", "Expert load")
        grid = app.screen.query_one(ChartGrid)
        seen = set(grid.shown)
        for _ in range(grid.pages - 1):
            await pilot.press("n")
            seen |= set(grid.shown)
        await pilot.press("n")
        assert len(seen) == 13 and grid.shown[0] == "loss"


def test_plan_fills_the_room():
    assert (
        plan(12, 54, 13) == (2, 2)
        and plan(12, 160, 46) == (3, 4)
        and plan(1, 300, 100) == (1, 1)
        and plan(6, 20, 3) == (1, 1)
    )


@pytest.mark.action("train.pause", "train.send('save')")
async def test_pause_resume_and_save_put_commands_into_the_inbox(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "● running")
        await pilot.press("P")
        await until(pilot, lambda: commands(run) == ["pause"])
        run.status("paused", 10)
        await shows(pilot, "‖ paused", "P Resume")
        await pilot.press("P", "w")
        await until(pilot, lambda: commands(run) == ["pause", "resume", "save"])
        run.event("command", id="1", command="pause", ok=True, message="", step=10)
        await shows(pilot, "pause: done at step 10")


def commands(run: FakeRun) -> list[str]:
    return [json.loads(path.read_text())["command"] for path in sorted(run.paths.control.glob("[!.]*.json"))]


@pytest.mark.action("train.stop")
async def test_stop_asks_first(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "● running")
        await pilot.press("T")
        await shows(pilot, "Stop this run?")
        await pilot.press("n")
        await until(pilot, lambda: "Stop this run?" not in text_of(app))
        assert commands(run) == []
        await pilot.press("T")
        await shows(pilot, "Stop this run?")
        await pilot.press("y")
        await until(pilot, lambda: commands(run) == ["stop"])


@pytest.mark.action("train.kill")
async def test_kill_refuses_a_process_that_is_not_the_worker(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10, pid_start=1.0)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "● running")
        await pilot.press("K")
        await shows(pilot, "Kill this worker?", "all of it is lost")
        await pilot.press("y")
        await shows(pilot, "is not the worker of one")


@pytest.mark.action("train.resume_run")
async def test_what_was_stopped_goes_on(context: Context, monkeypatch: pytest.MonkeyPatch):
    FakeRun(context.runs, "one").status("stopped", 10, last_checkpoint="step-00000005")
    said: list[str] = []

    async def resume(name: str, runs: Path, overrides: tuple[str, ...] = ()) -> Launched:
        said.append(name)
        return Launched(name, "The checkpoint is [b]damaged[/b].")

    monkeypatch.setattr("mythos_tui.workers.launch.resume", resume)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "■ stopped")
        await pilot.press("R")
        await shows(pilot, "one cannot go on", "The checkpoint is [b]damaged[/b].")
        assert said == ["one"]


async def test_commands_are_not_offered_for_a_run_that_has_ended(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("finished", 10)
    app = MythosApp(context)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await shows(pilot, "✓ finished")
        await pilot.press("P", "w", "T", "K")
        await pilot.pause(0.2)
        assert commands(run) == [] and "Pause" not in text_of(app).splitlines()[-1]


@pytest.mark.action("train.filter")
async def test_filter_narrows_the_list_and_escape_widens_it(context: Context):
    for name in ("alpha", "beta", "gamma"):
        FakeRun(context.runs, name).status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "alpha", "beta", "gamma")
        await pilot.press("slash", *"bet")
        runs = app.screen.query_one(RunList)
        await until(pilot, lambda: runs.names == ["beta"])
        await pilot.press("enter")
        await shows(pilot, "● running  beta")
        await pilot.press("escape")
        await until(pilot, lambda: len(runs.names) == 3 and runs.selected == "beta")
        await pilot.press("slash", *"delta")
        await shows(pilot, "0 of 3 runs", "no match: esc shows all")


async def test_the_selection_stays_with_its_run_when_a_newer_one_appears(context: Context):
    FakeRun(context.runs, "older").status("running", 10)
    FakeRun(context.runs, "newer").status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "● running  newer")
        await pilot.press("down")
        await shows(pilot, "● running  older")
        FakeRun(context.runs, "newest").status("preparing", 0)
        runs = app.screen.query_one(RunList)
        await until(pilot, lambda: runs.names == ["newest", "newer", "older"])
        assert runs.selected == "older"


async def test_log_and_message_are_shown_and_never_obeyed(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10, message="[bold]half[/bold]\x07 way")
    run.log("first [red]line[/red]\nsecond \x1b[31mred\x1b[0m \x9b2J\nthird \u202eesrever\nunfinished")
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(
            pilot, "[bold]half[/bold]␇ way", "first [red]line[/red]", "second ␛[31mred␛[0m \\x9b2J", "\\u202eesrever"
        )
        assert "\x1b" not in text_of(app) and "unfinished" not in text_of(app)
        run.log(" no more\n")
        await shows(pilot, "unfinished no more")
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "unfinished" not in text_of(app))


async def test_preparing_shows_its_stage(context: Context):
    run = FakeRun(context.runs, "one")
    run.status(
        "preparing", 0, progress={"stage": "tokenizing", "done": 3_000_000, "total": 12_000_000, "unit": "bytes"}
    )
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "◔ preparing", "tokenizing", "3M of 12M bytes")


@pytest.mark.action("train.zoom")
async def test_a_chart_on_the_full_screen_and_back(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 20)
    run.metrics(10, 20)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "Ponder")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, LineChart))
        await pilot.press("enter")
        await until(pilot, lambda: "Ponder" not in text_of(app) and "Loss" in text_of(app))
        await pilot.press("escape")
        await shows(pilot, "Ponder")


@pytest.mark.action("train.chat", "train.inspect")
async def test_chat_goes_to_the_latest_whole_checkpoint(context: Context, monkeypatch: pytest.MonkeyPatch):
    run = FakeRun(context.runs, "one")
    run.checkpoint(5)
    run.status("running", 10, last_checkpoint="step-00000005")
    opened: list[Path] = []
    app = MythosApp(context)
    monkeypatch.setattr(app, "open_chat", opened.append)
    monkeypatch.setattr(app, "open_inspect", lambda path: opened.append(path.parent))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "● running")
        await pilot.press("c")
        await until(pilot, lambda: opened == [run.paths.checkpoints / "step-00000005"])
        await pilot.press("i")
        await until(pilot, lambda: opened[1:] == [run.paths.checkpoints])


async def test_a_status_written_by_somebody_else_breaks_nothing(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "● running")
        many, silent = '{"state": "running", "step": "many"}', '{"state": "running", "updated": null}'
        for nonsense in (many, silent, '{"state": 7}', "[]", '{"loss": "x", "error": 3}'):
            run.paths.status.write_text(nonsense)
            await pilot.pause(1.1)
        run.status("running", 12)
        await shows(pilot, "step 12 of 2000")


@pytest.mark.parametrize(("state", "way"), [("running", "w writes one now"), ("stopped", "Choose another run")])
async def test_chat_and_inspect_without_a_checkpoint_say_what_to_do(context: Context, state: str, way: str):
    FakeRun(context.runs, "one").status(state, 10)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, state, "c Chat")
        await pilot.press("c")
        await shows(pilot, "There is no checkpoint yet", way)
        assert app.current_mode == "train"


async def test_a_filter_without_a_match_leaves_nothing_of_the_last_run(context: Context):
    """Its charts stayed, and the keys of Pin, Fork, Chat and Inspect were offered and did nothing."""
    run = FakeRun(context.runs, "alpha")
    run.status("running", 20)
    run.metrics(10, 20)
    app = MythosApp(context)
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await shows(pilot, "Ponder", "● running  alpha", "p Pin", "f Fork", "c Chat", "i Inspect")
        await pilot.press("slash", *"zzz", "enter")
        await shows(pilot, "0 of 1 run", "No run matches the filter: esc shows all.")
        await until(pilot, lambda: app.screen.query_one(RunList).has_focus)
        await until(pilot, lambda: "/ Filter" in text_of(app).splitlines()[-1])
        assert not {"Ponder", "alpha", "Log"} & set(text_of(app).split())
        assert not {"Pin", "Fork", "Chat", "Inspect", "Charts", "Machine"} & set(text_of(app).splitlines()[-1].split())
        assert "L Launch" in text_of(app)
        await pilot.press("enter", "n", "l")
        assert app.screen.query_one(RunList).has_focus
        await pilot.press("escape")
        await shows(pilot, "Ponder", "● running  alpha", "c Chat")


async def test_the_head_of_the_list_says_so_where_it_is_cut(context: Context):
    """`first` of `newest first` stood on a second line, which nobody saw, and so did the order of a filtered list."""
    for index in range(12):
        FakeRun(context.runs, f"run-{index}").status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "12 runs · newest ")
        await pilot.press("O")
        await shows(pilot, "12 runs · newest, r…")
        await pilot.press("O", "slash", "1")
        await shows(pilot, "3 of 12 runs · newe…")
        await pilot.resize_terminal(120, 24)
        await shows(pilot, "3 of 12 runs · newest ")
        await pilot.resize_terminal(180, 24)
        await shows(pilot, "3 of 12 runs · newest first")
