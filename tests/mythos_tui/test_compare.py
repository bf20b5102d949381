"""Compare: curves over each other on any axis, values, settings that differ, and CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from mythos.contract.load import dump_config, load_config
from mythos_tui.app import MythosApp
from mythos_tui.runs.reader import RunReader
from mythos_tui.screens.compare.table import metrics_of, results, settings
from mythos_tui.screens.compare.views import ComparisonTable, MetricList
from mythos_tui.screens.train.run_list import RunList
from mythos_tui.settings import Context
from mythos_tui.widgets.chart import LineChart
from tests.fakes.runs import FakeRun
from tests.fakes.screen_text import shows, text_of, until


def make(folder: Path, name: str, lr: float, loss: float, family: str = "recurrent", steps: int = 3) -> FakeRun:
    run = FakeRun(folder, name, family)
    changed = load_config(run.paths.config, [f"train.lr={lr}"])
    run.paths.config.write_text(dump_config(changed))
    run.status("running", steps * 10, loss=loss)
    for index in range(1, steps + 1):
        value = loss + abs(index - 2)  # best in the middle
        run.metrics(10 * index, loss=value, tokens_per_s=1000.0, flops_per_s=2e6, tokens=10 * index * 100)
    run.event("evaluation", step=20, loss=loss, bits_per_byte=loss / 2)
    return run


def colours_of(app: MythosApp, sign: str) -> set[object]:
    """The colours in which a sign stands on the screen."""
    segments = [segment for strip in app.screen._compositor.render_strips() for segment in strip]
    return {one.style.color for one in segments if one.style and sign in one.text}


def snapshots(*runs: FakeRun):
    return [RunReader(run.paths, settings=True).tick(1.0)[0] for run in runs]


def test_table_tells_final_best_and_settings_that_differ(tmp_path: Path):
    found = snapshots(make(tmp_path, "a", 0.01, 2.0), make(tmp_path, "b", 0.02, 1.0, "dense"))
    rows = {f"{row.section} {row.label}": row for row in results(found, "loss") + settings(found)}
    assert rows["loss final"].cells == ["3", "2"] and rows["loss final"].best == 1
    assert rows["loss best"].cells == ["2 @20", "1 @20"]
    assert rows["held-out bits/byte best"].cells == ["1 @20", "0.5 @20"]
    assert rows["tokens_per_s best"].best == -1, "equal for both"
    assert rows[" FLOPs"].cells == ["6M", "6M"] and rows[" training time"].cells == ["3 s", "3 s"]
    assert rows["settings train.lr"].cells == ["0.01", "0.02"]
    assert rows["settings model.loops"].cells[1] == "–", "a dense model has none"
    assert "settings train.seed" not in rows and any(
        row.label == "train.seed" for row in settings(found, everything=True)
    )
    assert metrics_of(found)[:3] == ["loss", "held-out loss", "held-out bits/byte"]


def test_minutes_and_flops_leave_pauses_out(tmp_path: Path):
    run = make(tmp_path, "a", 0.01, 2.0)
    run.metrics(40, tokens=4000, tokens_per_s=1000.0, flops_per_s=2e6, time=9e9)  # a year later
    run.metrics(50, tokens=5000, tokens_per_s=float("nan"))
    (found,) = snapshots(run)
    assert np.allclose(found.x("minutes") * 60, [1, 2, 3, 4, 4]) and np.allclose(
        found.x("FLOPs"), [2e6, 4e6, 6e6, 8e6, 8e6]
    )


@pytest.mark.action("app.open('compare')", "compare.select", "compare.pin", "compare.metric(1)", "compare.metric(-1)")
@pytest.mark.action("compare.x_axis", "compare.differences", "compare.export", "compare.zoom", "compare.toggle_list")
@pytest.mark.action("compare.toggle_table", "compare.filter", "table.shift(1)", "table.shift(-1)")
async def test_runs_are_laid_over_each_other(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    make(context.runs, "odd", 0.03, 3.0)
    make(context.runs, "second", 0.02, 1.0)
    make(context.runs, "first", 0.01, 2.0)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await pilot.press("5")
        await shows(pilot, "Nothing is compared yet", "press space", "3 runs")
        await pilot.press("space", "space", "E")
        chart = app.screen.query_one("#overlay", LineChart)
        await until(pilot, lambda: [one.name for one in chart.series] == ["first", "second"])
        assert chart.series[0].y.tolist() == [3, 2, 3] and chart.series[0].colour != chart.series[1].colour
        await shows(pilot, "2 compared", "loss final", "◆ 2 ", "train.lr", "0.01", "0.02", "▌● first")
        for theme in ("mythos-light", "mythos-dark"):
            app.theme = theme
            await pilot.pause()
            assert len(colours_of(app, "━") | colours_of(app, "▌")) == 2, "the bars beside the names are as the curves"
        await until(pilot, lambda: len(list(tmp_path.glob("*.csv"))) == 2)
        curves, table = sorted(tmp_path.glob("*.csv"))
        lines = list(csv.DictReader(curves.open()))
        assert len(lines) == 6 and lines[1] == {"run": "first", "step": "20.0", "tokens": "2000.0",
            "minutes": repr(2 / 60), "FLOPs": "4000000.0", "loss": "2.0"}  # fmt: skip
        assert ["settings", "train.lr", "0.01", "0.02"] in list(csv.reader(table.open()))
        await pilot.press("x", "x")
        await until(pilot, lambda: chart.x_label == "minutes" and np.allclose(chart.series[0].x * 60, [1, 2, 3]))
        await pilot.press("m", "m")
        await until(pilot, lambda: app.screen.query_one(MetricList).chosen == "held-out bits/byte")
        await until(pilot, lambda: chart.series[0].y.tolist() == [1.0] and np.allclose(chart.series[0].x * 60, [2]))
        await pilot.press("M", "d")
        assert app.screen.query_one(MetricList).chosen == "held-out loss"
        table_rows = app.screen.query_one(ComparisonTable)
        await until(pilot, lambda: table_rows.count > 60)
        table_rows.focus()
        await pilot.press("right")
        await shows(pilot, "‹ 1 more")
        await pilot.press("left", "enter")
        await until(pilot, lambda: "● first" not in text_of(app) and "model.rope_theta" in text_of(app))
        await pilot.press("escape", "d", "right_square_bracket")
        await until(pilot, lambda: "loss final" not in text_of(app) and "● first" in text_of(app))
        await pilot.press("escape", "right_square_bracket", "slash", *"odd")
        await shows(pilot, "1 of 3 runs")
        await pilot.press("enter", "p")
        await shows(pilot, "3 compared", "1 of 3 runs")
        assert app.choice.pins == ["odd"]
        await pilot.press("escape", "left_square_bracket")
        await until(pilot, lambda: not app.screen.query_one("#side").display)
        await pilot.press("1")
        await until(pilot, lambda: app.current_mode == "train")
        await until(pilot, lambda: app.screen.query_one(RunList).names[0] in app.choice.pins)


@pytest.mark.action("app.open('compare')")
async def test_without_runs_it_says_how_to_get_some(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+5")
        await shows(pilot, "No runs yet", "Press 2 to configure")
        assert "Pin" not in text_of(app) and "Metric" not in text_of(app), "keys of runs are not offered"


async def test_the_first_metric_is_shown_until_another_is_asked_for(context: Context):
    """A run that was evaluated before its first logged step left Compare at the held-out loss."""
    run = FakeRun(context.runs, "early")
    run.status("running", 5)
    run.event("evaluation", step=0, loss=2.0, bits_per_byte=1.0)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("5", "space")
        metrics = app.screen.query_one(MetricList)
        await until(pilot, lambda: metrics.chosen == "held-out loss")
        run.metrics(10)
        await until(pilot, lambda: metrics.chosen == "loss")
        await pilot.press("m")
        await until(pilot, lambda: metrics.chosen == "held-out loss")
        run.metrics(20, dropped_experts=1.0)
        await until(pilot, lambda: metrics.count > 3 and "dropped_experts" in metrics._names)
        assert metrics.chosen == "held-out loss", "what was asked for stays"
