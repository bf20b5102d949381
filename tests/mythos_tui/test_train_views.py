"""The Train screen by keys alone: order and pins, charts, lower panes, settings, new runs and forks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from textual import events
from textual.widgets import Input

from mythos_tui.app import MythosApp
from mythos_tui.runs.choice import RunChoice
from mythos_tui.runs.memory import Memory
from mythos_tui.screens.train.arrangement import KNOWN, SCALES, Arrangement
from mythos_tui.screens.train.charts import ChartGrid
from mythos_tui.screens.train.log_tail import LogTail
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.settings import Context
from mythos_tui.widgets.chart import LineChart
from mythos_tui.workers.launch import Launched
from tests.fakes.runs import FakeRun
from tests.fakes.screen_text import shows, text_of, until


@pytest.mark.action("train.pin", "train.select", "runs.sort", "runs.reverse", "runs.open_run")
@pytest.mark.action("Rows.move(1)", "Rows.move(-1)", "Rows.page(1)", "Rows.page(-1)", "Rows.to(0)", "Rows.to(-1)")
async def test_order_pins_and_selection(context: Context):
    for index, (name, loss) in enumerate([("alpha", 3.0), ("beta", 1.0), ("gamma", None), ("delta", 2.0)]):
        FakeRun(context.runs, name).status("running", 10 * (index + 1), loss=loss)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "4 runs · newest", "delta")
        runs = app.screen.query_one(RunList)
        assert runs.names == ["delta", "gamma", "beta", "alpha"] and runs.selected == "delta"
        await pilot.press("end")
        assert runs.selected == "alpha"
        await pilot.press("home", "down", "down", "up", "pagedown")
        assert runs.selected == "alpha"
        await pilot.press("pageup", "down", "down", "p")
        await until(pilot, lambda: runs.names == ["beta", "delta", "gamma", "alpha"] and runs.selected == "beta")
        await shows(pilot, "▌● beta", "★", "pinned: on top")
        await pilot.press("o", "o", "o")
        await until(pilot, lambda: runs.names == ["beta", "delta", "alpha", "gamma"])
        await shows(pilot, "4 runs · lowest loss")
        await pilot.press("O")
        assert runs.names == ["beta", "alpha", "delta", "gamma"], "what has no loss stays last"
        await pilot.press("space")
        assert runs.selected == "beta" and app.choice.selected == [], "a pinned run is compared anyway"
        await pilot.press("down", "space")
        assert app.choice.compared == ["beta", "alpha"] and runs.selected == "delta"
        await shows(pilot, "▌● alpha")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, LineChart))
    again = RunChoice(Memory(), context.runs)
    assert (again.pins, again.order, again.reverse, again.selected) == (["beta"], "loss", True, [])
    assert RunChoice(Memory(), context.runs.parent).pins == [], "pins belong to a folder of runs"


@pytest.mark.parametrize(
    "kept", [{"panels": 3, "order": 7, "chart size": "x"}, {"panels": ["no such", 4], "chart size": 99}]
)
def test_what_is_remembered_may_be_damaged(kept: dict[str, Any], tmp_path: Path):
    path = tmp_path / "memory.json"
    path.write_text(json.dumps(kept))
    arrangement = Arrangement(Memory(path))
    assert arrangement.order == list(KNOWN) and arrangement.scale in SCALES
    assert RunChoice(Memory(path), tmp_path).order == "newest"


@pytest.mark.action(
    "train.panels", "panels.show", "panels.move(1)", "panels.move(-1)", "panels.reset", "panels.dismiss"
)
@pytest.mark.action(
    "train.page(1)", "train.page(-1)", "train.resize(1)", "train.resize(-1)", "train.x_axis", "train.zoom"
)
async def test_charts_are_chosen_ordered_enlarged_and_remembered(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 20)
    run.metrics(10, 20, loss_parts={"cross_entropy": 2.0, "ponder": 0.1})
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "Loss", "Ponder", "charts 1/")
        grid = app.screen.query_one(ChartGrid)
        await pilot.press("v")
        await shows(pilot, "[x] Loss ", "[ ] Expert load now")
        await pilot.press("space", "down", "J", "K", "shift+down", "escape")  # no loss; ponder after the experts
        await until(pilot, lambda: grid.shown[:2] == ["experts", "ponder"] and "loss" not in grid.shown)
        few = len(grid.shown)
        await pilot.press("left_curly_bracket")
        await until(pilot, lambda: len(grid.shown) > few)
        await pilot.press("right_curly_bracket", "right_curly_bracket")
        await until(pilot, lambda: len(grid.shown) < few)
        first = grid.shown
        await pilot.press("n")
        assert grid.shown != first
        await pilot.press("N")
        assert grid.shown == first
        assert (
            Arrangement(Memory()).order[:3] == ["loss", "experts", "ponder"] and "loss" in Arrangement(Memory()).hidden
        )
        await pilot.press("v", "r", "escape")
        await until(pilot, lambda: grid.shown[:2] == ["loss", "ponder"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, LineChart))
        await pilot.press("enter", "n")
        await until(pilot, lambda: getattr(app.screen.maximized, "id", "") == "panel-ponder")
        await pilot.press("N")
        await until(pilot, lambda: getattr(app.screen.maximized, "id", "") == "panel-loss")
        await pilot.press("escape", "x")
        await shows(pilot, "x axis: tokens")
        assert app.screen.query_one("#panel-loss", LineChart).series[0].x.tolist() == [40960, 81920]


@pytest.mark.action("train.dock('log')", "train.dock('alerts')", "train.dock('machine')", "train.toggle_dock")
@pytest.mark.action("train.toggle_list", "alerts.open")
@pytest.mark.action("log.search", "log.match(1)", "log.match(-1)", "log.shift(1)", "log.shift(-1)")
async def test_log_alerts_and_machine(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 100)
    run.metrics(*range(1, 101))
    run.log(
        "".join(f"step {step}  loss {9 - step / 50:.4f}\n" for step in range(1, 101))
        + "Odd [b]end[/b]"
        + "." * 90
        + "END\n"
    )
    run.event("device", device="cpu", precision="bf16", threads=2, matmul_peak_flops=4.2e11)
    evidence = "4.2 at step 90, 9 above 2.1"
    run.event(
        "alert", step=90, alert="loss_spike", level="warning", message=f"The loss jumped: {evidence}.",
        evidence=evidence, hint="Lower [i]train.lr[/i].", action="note",
    )  # fmt: skip
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "Step 90: The loss jumped")  # a toast, which may go before the rest has come
        await shows(pilot, "Odd [b]end[/b]...", "a Alerts 1")
        log = app.screen.query_one(LogTail)
        await pilot.press("l", "right", "right", "right")
        await shows(pilot, "..END")
        await pilot.press("left", "left", "left", "slash", *"step 9", "enter")
        await shows(pilot, "11 of 11")
        assert log.has_focus and log.lines[log.cursor].startswith("step 99 ")
        await pilot.press("N")
        assert log.lines[log.cursor].startswith("step 98 ")
        await pilot.press("n", "n")
        assert log.lines[log.cursor].startswith("step 9 ")
        run.log("step 101\n")
        await until(pilot, lambda: log.count == 102)
        assert log.lines[log.cursor].startswith("step 9 "), "somebody is reading here"
        await pilot.press("escape")
        await until(pilot, lambda: log.cursor == 101 and log.has_focus)
        await pilot.press("l", "enter", "comma", "comma")  # the crosshair: first on the newest sample, then left of it
        await until(pilot, lambda: log.lines[log.cursor].startswith(("step 98 ", "step 99 ")))
        await pilot.press("Z")
        await until(pilot, lambda: log.cursor == 101)
        await pilot.press("a")
        await shows(pilot, "▲ 90  The loss jumped", evidence)
        await pilot.press("enter")
        await shows(pilot, "one: The loss jumped", "Lower [i]train.lr[/i].", "Likely cause: An odd batch", "c copy")
        await pilot.press("escape", "m")
        await shows(pilot, "CPU", "Memory", "cpu bf16 · 2 threads · peak 420GFLOP/s", "pid")
        await pilot.press("m")
        await until(pilot, lambda: app.screen.query_one(RunList).has_focus)
        await pilot.press("right_square_bracket", "left_square_bracket")
        await until(pilot, lambda: "Memory" not in text_of(app) and not app.screen.query_one("#side").display)


@pytest.mark.action("train.tune", "tune.apply", "tune.cancel", "tune.step(1)", "tune.step(-1)")
async def test_settings_change_while_a_run_trains(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "● running")
        await pilot.press("t")
        await shows(pilot, "Change one while it trains", "eval_every", "model.loops", "Peak learning rate of AdamW")
        await pilot.press("enter")
        await shows(pilot, "No setting is changed yet")
        await pilot.press("down", "up", "ctrl+a", "ctrl+k", *"99")
        await shows(pilot, "✗ at most 1")
        await pilot.press("enter")
        await shows(pilot, "train.lr: at most 1")
        await pilot.press("ctrl+a", "ctrl+k", *"0.0005", "enter")
        await until(pilot, lambda: list(run.paths.control.glob("[!.]*.json")))
        (command,) = (json.loads(path.read_text()) for path in run.paths.control.glob("[!.]*.json"))
        assert command["command"] == "set" and command["arguments"] == {"overrides": ["train.lr=0.0005"]}
        run.event("command", id="x", command="set", ok=True, message="train.lr 0.003 → 0.0005", step=11)
        await shows(pilot, "set: train.lr 0.003 → 0.0005 at step 11")
        await pilot.press("t")
        await shows(pilot, "Change one while it trains")
        await pilot.press(*"7", "escape")
        await until(pilot, lambda: "Change one" not in text_of(app))
        assert len(list(run.paths.control.glob("[!.]*.json"))) == 1


@pytest.mark.action("train.fork", "train.new_run", "start.start", "start.cancel")
async def test_forks_and_new_runs_start_with_what_was_typed(context: Context, monkeypatch: pytest.MonkeyPatch):
    run = FakeRun(context.runs, "one")
    run.status("stopped", 9, last_checkpoint="step-00000009")
    for step in (5, 9):
        run.checkpoint(step, resumable=True)
    said: list[Any] = []

    async def fork(parent: str, step: int, name: str, runs: Path, overrides: Sequence[str] = ()) -> Launched:
        said.append((parent, step, name, runs, tuple(overrides)))
        return Launched(name, "The disk is [b]full[/b].")

    async def launch(text: str, name: str, runs: Path) -> Launched:
        said.append((yaml.safe_load(text)["train"]["steps"], name))
        return Launched(name)

    monkeypatch.setattr("mythos_tui.workers.launch.fork", fork)
    monkeypatch.setattr("mythos_tui.workers.launch.launch", launch)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "■ stopped")
        await pilot.press("f")
        await shows(pilot, "Fork one", "step 9", "step 5")
        await pilot.press("down", "tab", *"model.width=64")
        await shows(pilot, "model.width cannot be changed in a fork")
        await pilot.press("enter")
        await shows(pilot, "Fork one")
        await pilot.press("ctrl+a", "ctrl+k", *"train.steps=4")
        await shows(pilot, "5 of 4 steps are done")
        await pilot.press(
            "ctrl+a", "ctrl+k", *"train.steps=900 train.lr=0.01", "tab", "ctrl+a", "ctrl+k", *"two", "enter"
        )
        await shows(pilot, "two cannot be forked", "The disk is [b]full[/b].")
        assert said == [("one", 5, "two", context.runs, ("train.steps=900", "train.lr=0.01"))]
        await pilot.press("escape", "L")
        await shows(pilot, "Start a run from", "the same settings as the selected run", "quickstart")
        await pilot.press("escape", "L")
        await shows(pilot, "Start a run from")
        await pilot.press("down")
        await until(pilot, lambda: app.screen.query_one("#name", Input).value.startswith("quickstart-"))
        await pilot.press("enter")
        await until(pilot, lambda: len(said) == 2)
        assert said[1][0] == 300 and said[1][1].startswith("quickstart-")


async def test_a_new_run_needs_a_name_that_a_folder_can_have(context: Context, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []

    async def launch(text: str, name: str, runs: Path) -> Launched:
        said.append(name)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mythos_tui.workers.launch.launch", launch)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("L")
        await shows(pilot, "Start a run from", "quickstart")
        await pilot.press("tab", "tab", "ctrl+a", "ctrl+k", *"exp/one")
        await shows(pilot, "✗ A name has letters, digits")
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen.query_one("#name", Input).value == "exp/one" and not said
        await pilot.press("ctrl+a", "ctrl+k", *"exp-one")
        await until(pilot, lambda: "A name has" not in text_of(app))
        await pilot.press("enter")
        await shows(pilot, "exp-one cannot start", "No space left on device")
        assert said == ["exp-one"]


@pytest.mark.action("train.tune")
async def test_a_resting_run_goes_on_under_other_settings(context: Context, monkeypatch: pytest.MonkeyPatch):
    run = FakeRun(context.runs, "one")
    run.status("finished", 2000, last_checkpoint="step-00002000")
    said: list[Any] = []

    async def resume(name: str, runs: Path, overrides: Sequence[str] = ()) -> Launched:
        said.append((name, tuple(overrides)))
        return Launched(name)

    monkeypatch.setattr("mythos_tui.workers.launch.resume", resume)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "✓ finished")
        await pilot.press("t")
        await shows(pilot, "go on from its latest checkpoint", "steps")
        await pilot.press("ctrl+a", "ctrl+k", *"3000", "enter")
        await until(pilot, lambda: said == [("one", ("train.steps=3000",))])


async def test_settings_typed_in_one_burst_with_enter_are_not_passed_over(
    context: Context, monkeypatch: pytest.MonkeyPatch
):
    """Enter overtook what was typed just before: the run went on under the settings it had."""
    FakeRun(context.runs, "one").status("finished", 2000, last_checkpoint="step-00002000")
    said: list[Any] = []

    async def resume(name: str, runs: Path, overrides: Sequence[str] = ()) -> Launched:
        said.append(tuple(overrides))
        return Launched(name)

    monkeypatch.setattr("mythos_tui.workers.launch.resume", resume)
    app = MythosApp(context)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "✓ finished")
        await pilot.press("t")
        await shows(pilot, "go on from its latest checkpoint")
        await until(pilot, lambda: isinstance(app.focused, Input))
        steps = app.focused
        for key, character in (("end", None), ("backspace", "\x7f"), ("backspace", "\x7f"), ("6", "6"), ("0", "0")):
            app.post_message(events.Key(key, character))
        for _ in range(2):
            app.post_message(events.Key("enter", "\r"))
        await until(pilot, lambda: said)
        assert said == [(f"train.steps={steps.value}",)] and steps.value.endswith("60")
