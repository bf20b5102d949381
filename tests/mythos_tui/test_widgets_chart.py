"""The line chart, driven by keys in a small application."""

from __future__ import annotations

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from mythos_tui.widgets.chart import LineChart, Series
from mythos_tui.widgets.xview import XView, link

STEPS = np.arange(1000.0)


class ChartApp(App[None]):
    def __init__(self, chart: LineChart) -> None:
        super().__init__()
        self.chart = chart

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_mount(self) -> None:
        self.chart.focus()


def lines(chart: LineChart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def dots(chart: LineChart) -> list[str]:
    """The plot's characters, braille only."""
    return ["".join(c if "\u2800" < c <= "\u28ff" else " " for c in line) for line in lines(chart)[1:]]


def train(y: np.ndarray | None = None, name: str = "train") -> Series:
    return Series(name, STEPS, np.linspace(10, 2, 1000) if y is None else y, "#4cb5f5")


@pytest.mark.parametrize("size", [(10, 3), (12, 1), (24, 5), (40, 7), (80, 24), (200, 60)])
@pytest.mark.parametrize("log", [False, True])
async def test_every_line_is_exactly_as_wide_as_the_chart(size: tuple[int, int], log: bool) -> None:
    chart = LineChart("loss", "nats", y_log=log, smoothing=0.9, x_label="step")
    chart.styles.min_height = 1
    noise = np.random.default_rng(0).normal(0, 3, 1000)
    best = Series("best", STEPS[:1], noise[:1], "red", "points")
    async with ChartApp(chart).run_test(size=size):
        for series in ([], [train()], [train(noise), train(noise * 0), best]):
            chart.set_series(series)
            chart.crosshair = 500.0 if series else None
            strips = [chart.render_line(y) for y in range(chart.size.height)]
            assert {strip.cell_length for strip in strips} == {size[0]}
            assert {sum(segment.cell_length for segment in strip) for strip in strips} == {size[0]}


@pytest.mark.parametrize(("scale", "last"), [(1.0, 640), (1e-7, 640), (1.0, 604), (1.0, 631)])
async def test_the_picture_of_given_data_is_the_same_whatever_was_drawn_before(scale: float, last: int) -> None:
    y = scale * (np.linspace(10, 2, 1000) + np.sin(np.arange(1000)))
    y[603], y[630] = 12.0, np.nan  # outside of what its column had; and a gap
    grown, fresh = LineChart("loss"), LineChart("loss")
    async with ChartApp(grown).run_test(size=(80, 12)), ChartApp(fresh).run_test(size=(80, 12)):
        grown.set_series([train(1234.5 + 0 * y)])
        lines(grown)
        for size in (3, 240, 601, 602, 603, last - 1, last):
            grown.set_series([Series("train", STEPS[:size], y[:size], "#4cb5f5")])
            lines(grown)
        fresh.set_series(grown.series)
        assert lines(grown) == lines(fresh)


async def test_empty_chart_says_so_in_its_middle() -> None:
    chart = LineChart("loss", empty="no points yet")
    async with ChartApp(chart).run_test(size=(41, 9)):
        rows = [y for y, line in enumerate(lines(chart)) if "no points yet" in line]
        assert rows == [4]
        assert lines(chart)[4].index("no") == 14
        chart.set_series([train(np.full(1000, np.nan))])
        assert any("no points yet" in line for line in lines(chart))


async def test_title_tells_the_latest_value_and_the_legend_each() -> None:
    chart = LineChart("loss", "nats")
    async with ChartApp(chart).run_test(size=(80, 12)):
        chart.set_series([train()])
        assert lines(chart)[0].startswith("loss 2 nats")
        chart.set_series([train(), train(np.full(1000, 3.25), "val")])
        assert "train 2" in lines(chart)[0] and "val 3.25" in lines(chart)[0]


async def test_legible_at_24_by_5() -> None:
    chart = LineChart("loss", "nats", x_label="step")
    async with ChartApp(chart).run_test(size=(24, 5)):
        chart.set_series([train()])
        shown = lines(chart)
        assert shown[0].startswith("loss 2 nats")
        assert sum("┤" in line for line in shown) >= 2
        assert "500" in shown[-1]
        assert any(line.strip() for line in dots(chart))


async def test_a_spike_and_a_gap_are_seen_in_the_widget() -> None:
    y = np.ones(100_000)
    y[50_000] = 9.0
    y[70_000:90_000] = np.nan
    chart = LineChart()
    async with ChartApp(chart).run_test(size=(100, 20)):
        chart.set_series([Series("t", np.arange(100_000.0), y, "#ffffff")])
        plot = dots(chart)
        left = lines(chart)[3].index("│") + 1 if "│" in lines(chart)[3] else lines(chart)[3].index("┤") + 1
        width = 100 - left
        top = next(line for line in plot if line.strip())
        assert abs(top.index(top.strip()[0]) - (left + width / 2)) <= 1
        gap = [all(line[left + int(width * share)] == " " for line in plot) for share in (0.6, 0.75, 0.85, 0.95)]
        assert gap == [False, True, True, False]


async def test_log_scale_leaves_out_zeros_and_negatives() -> None:
    y = np.geomspace(1e-4, 1e4, 1000)
    y[100:400] = -1.0
    y[400:500] = 0.0
    chart = LineChart(y_log=True)
    async with ChartApp(chart).run_test(size=(100, 20)):
        chart.set_series([train(y)])
        plot = dots(chart)
        assert all(line[35:50].strip() == "" for line in plot)
        assert any(line[60:].strip() for line in plot)
        chart.set_series([train(np.full(1000, -2.0))])
        assert any("nothing above zero" in line for line in lines(chart))


@pytest.mark.action("chart.smoother(1)", "chart.smoother(-1)")
async def test_smoothing_draws_a_bright_line_over_dimmed_samples() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 1000)
    chart = LineChart()
    async with ChartApp(chart).run_test(size=(60, 16)) as pilot:
        chart.set_series([train(noise)])
        colours = {s.style.color for y in range(16) for s in chart.render_line(y) if s.style and "⣿" in s.text}
        assert len(colours) == 1
        await pilot.press("s", "s", "s")
        assert chart.smoothing == 0.8
        plot = [segment for y in range(1, 16) for segment in chart.render_line(y)]
        styles = [s.style for s in plot if any("\u2800" < char <= "\u28ff" for char in s.text)]
        assert len({style.color for style in styles if style}) == 2
        bright = "".join(s.text for s in plot if s.style and s.style.color in colours)
        assert bright and bright.count("⣿") < len(bright) / 10
        await pilot.press("S")
        assert chart.smoothing == 0.6


@pytest.mark.action("view.zoom(0.5)", "view.zoom(2.0)", "view.pan(-0.25)", "view.pan(0.25)", "view.reset_view")
@pytest.mark.action("view.crosshair(-1)", "view.crosshair(1)", "view.crosshair(-10)", "view.crosshair(10)")
@pytest.mark.action("chart.toggle_log")
async def test_keys_change_the_view() -> None:
    chart = LineChart()
    async with ChartApp(chart).run_test(size=(80, 16)) as pilot:
        chart.set_series([train()])
        await pilot.press("y")
        assert chart.y_log
        await pilot.press("y", "+")
        assert not chart.y_log
        assert chart.x_window == pytest.approx((249.75, 749.25))
        await pilot.press("shift+right", "shift+right", "shift+right")
        assert chart.x_window == pytest.approx((499.5, 999.0))
        await pilot.press("shift+left")
        assert chart.x_window == pytest.approx((374.625, 874.125))
        await pilot.press("-")
        assert chart.x_window is None
        await pilot.press(".")
        assert chart.crosshair == 999.0
        column = 999.0 / chart.plot_columns()[1]
        for key, columns in ((",", 1), ("<", 11), (">", 1), ("<", 11), (".", 10)):
            await pilot.press(key)
            assert chart.crosshair == pytest.approx(999.0 - columns * column), key
        await pilot.press("=")
        assert chart.x_window is not None and chart.x_window[0] < chart.crosshair < chart.x_window[1]
        await pilot.press("Z")
        assert chart.crosshair is None and chart.x_window is None


@pytest.mark.action("view.toggle_follow")
async def test_follow_keeps_the_window_at_the_newest_sample() -> None:
    chart = LineChart()
    async with ChartApp(chart).run_test(size=(80, 16)) as pilot:
        chart.set_series([train()])
        await pilot.press("+", "F")
        assert chart.x_window == pytest.approx((499.5, 999.0))
        chart.set_series([Series("train", np.arange(2000.0), np.ones(2000), "#4cb5f5")])
        assert chart.x_window == pytest.approx((1499.5, 1999.0))
        await pilot.press("F")
        assert not chart.follow
        await pilot.press("F", "shift+left")
        assert not chart.follow


async def test_crosshair_reads_every_series_at_its_x() -> None:
    chart = LineChart("loss", x_label="step")
    async with ChartApp(chart).run_test(size=(80, 16)):
        val = Series("val", np.array([0.0, 490.0, 990.0]), np.array([1.0, 5.0, 9.0]), "red")
        chart.set_series([train(STEPS * 2), val])
        chart.crosshair = 500.0
        assert "@ step 500" in lines(chart)[0]
        assert "train 1k" in lines(chart)[0] and "val 5" in lines(chart)[0]
        assert sum("│" in line[20:] for line in lines(chart)) > 5


async def test_lines_are_drawn_once_until_something_changes() -> None:
    chart = LineChart()
    async with ChartApp(chart).run_test(size=(80, 16)):
        chart.set_series([train()])
        first = chart.render_line(3)
        assert chart.render_line(3) is first
        chart.smoothing = 0.9
        assert chart.render_line(3) is not first


async def test_control_characters_of_names_never_reach_a_strip() -> None:
    evil = "\x1b[31mred\n\u202e\x9b"
    chart = LineChart(evil, evil, x_label=evil, empty=evil)
    async with ChartApp(chart).run_test(size=(120, 16)):
        for series in ([], [train(name=evil), train(name=evil)]):
            chart.set_series(series)
            text = "".join(lines(chart))
            assert not [c for c in text if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c == "\u202e"]
            assert "␛[31mred⏎" in text


async def test_logarithmic_x_axis_has_decades() -> None:
    chart = LineChart(x_log=True, x_label="FLOPs")
    x = np.geomspace(1e15, 1e19, 50)
    async with ChartApp(chart).run_test(size=(100, 20)) as pilot:
        chart.set_series([Series("runs", x, x**-0.05, "red", "points")])
        assert all(decade in lines(chart)[-1] for decade in ("1e16", "1e17", "1e18"))
        await pilot.press("+")
        assert chart.x_window == pytest.approx((1e16, 1e18))


def test_series_refuses_unequal_vectors() -> None:
    with pytest.raises(ValueError, match="equal vectors"):
        Series("a", np.zeros(3), np.zeros(4), "red")


def plot_text(chart: LineChart) -> str:
    return "\n".join(lines(chart)[1:-2])


@pytest.mark.action("chart.toggle_clip")
async def test_outliers_are_clipped_by_key_and_the_frame_says_so() -> None:
    y = np.sin(STEPS / 50)
    y[500], y[700] = 800.0, -90.0
    chart = LineChart("loss", "nats")
    async with ChartApp(chart).run_test(size=(70, 16)) as pilot:
        chart.set_series([train(y)])
        assert "▲" not in plot_text(chart) and "800┤" in plot_text(chart)
        await pilot.press("o")
        assert lines(chart)[0].rstrip().endswith("clip ▲800 ▼-90")
        assert "▲" in lines(chart)[1] and "▼" in lines(chart)[-3]
        assert "800" not in plot_text(chart) and "0.5" in plot_text(chart)
        await pilot.press("o")
        assert "clip" not in lines(chart)[0]


@pytest.mark.action("chart.zoom_y(0.5)", "chart.zoom_y(2.0)", "chart.pan_y(0.25)", "chart.pan_y(-0.25)")
async def test_y_is_zoomed_about_the_crosshair_and_panned() -> None:
    chart = LineChart()
    async with ChartApp(chart).run_test(size=(80, 16)) as pilot:
        chart.set_series([train(np.linspace(0, 10, 1000))])
        await pilot.pause()
        chart.crosshair = 100.0
        await pilot.press("ctrl+up", "ctrl+up")
        assert chart.y_window is not None
        low, high = chart.y_window
        assert low < 1.0 < high and high - low == pytest.approx(10.8 / 4)
        await pilot.press("shift+up")
        assert chart.y_window[0] == pytest.approx(low + (high - low) / 4)
        assert "zoom y" in lines(chart)[0]
        await pilot.press("shift+down")
        assert chart.y_window == pytest.approx((low, high))
        await pilot.press("ctrl+down")
        assert chart.y_window[1] - chart.y_window[0] == pytest.approx(10.8 / 2)
        await pilot.press("Z")
        assert chart.y_window is None


@pytest.mark.action("view.toggle_x_log")
async def test_x_becomes_logarithmic_by_key_and_leaves_out_zero() -> None:
    chart = LineChart(x_label="step")
    async with ChartApp(chart).run_test(size=(100, 20)) as pilot:
        chart.set_series([train()])
        await pilot.press("X")
        assert chart.extent() == (1.0, 999.0)
        assert all(label in lines(chart)[-1] for label in ("10", "100")) and "log x" in lines(chart)[0]
        assert dots(chart)[-3].rstrip().endswith("⣀") or any(line.strip() for line in dots(chart))


async def test_gaps_and_the_best_value_are_marked() -> None:
    y = np.linspace(10, 2, 1000)
    y[300:400] = np.nan
    y[600] = 0.5
    chart = LineChart("loss")
    async with ChartApp(chart).run_test(size=(100, 20)):
        chart.set_series([Series("train", STEPS, y, "red", best="min")])
        bottom = lines(chart)[-3]
        assert 8 <= bottom.count("×") <= 12
        left = bottom.index("×") - next(i for i, c in enumerate(bottom) if c in "│┤")
        assert abs(left - 0.3 * 94) <= 2
        assert "◆0.5" in lines(chart)[0]
        assert "◆" in bottom and abs(bottom.index("◆") - bottom.index("×") - 0.3 * 94) <= 2
        sparse = np.full(1000, np.nan)
        sparse[::10] = 1.0
        chart.set_series([train(sparse)])
        assert "×" not in "".join(lines(chart))


async def test_without_colour_every_curve_has_a_letter_and_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    chart = LineChart("loss")
    async with ChartApp(chart).run_test(size=(100, 24)):
        chart.set_series([train(np.full(1000, float(i)), f"run {i}") for i in range(3)])
        plot = lines(chart)[1:-2]
        for index, letter in enumerate("ABC"):
            assert f"{letter} run {index}" in lines(chart)[0]
            (row,) = [line for line in plot if letter in line]
            assert row.count(letter) >= 5
        drawn = [next(line for line in plot if letter in line)[8:] for letter in "ABC"]
        gaps = [sum(line.count(blank) for blank in " ┈") for line in drawn]
        assert gaps[0] <= 1 < gaps[1]


@pytest.mark.parametrize(("glyphs", "characters"), [("block", " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"), ("ascii", " '-\".:,|")])
async def test_the_set_of_characters_is_the_application_s(glyphs: str, characters: str) -> None:
    chart = LineChart("loss")
    app = ChartApp(chart)
    app.glyphs = glyphs  # type: ignore[attr-defined]
    async with app.run_test(size=(60, 12)):
        chart.set_series([train(np.sin(STEPS / 60))])
        text = "".join(lines(chart)[1:-2])
        assert len(set(characters[1:]) & set(text)) > 3
        assert not [char for char in text if "\u2800" <= char <= "\u28ff"]
        assert glyphs != "ascii" or "".join(lines(chart)).isascii()


class TwoCharts(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.charts, self.moved = [LineChart("a"), LineChart("b")], list[tuple[LineChart, float | None]]()

    def compose(self) -> ComposeResult:
        yield from self.charts

    def on_mount(self) -> None:
        link(list(self.charts))
        self.charts[0].focus()

    def on_xview_crosshair_moved(self, message: XView.CrosshairMoved) -> None:
        self.moved.append((message.view, message.x))  # type: ignore[arg-type]


async def test_linked_charts_share_x_and_one_message_tells_the_crosshair() -> None:
    app = TwoCharts()
    async with app.run_test(size=(80, 30)) as pilot:
        one, other = app.charts
        for chart in app.charts:
            chart.set_series([train()])
        await pilot.press(".", "<", "+", "X")
        await pilot.pause()
        assert other.crosshair == one.crosshair and other.x_window == one.x_window is not None and other.x_log
        assert [view for view, _ in app.moved] == [one, one] and app.moved[-1][1] == one.crosshair
        await pilot.press("Z", "X")
        await pilot.pause()
        assert other.crosshair is None and app.moved[-1] == (one, None)
        await pilot.click(other, offset=(40, 5))
        assert app.moved[-1][0] is other and 400 < (one.crosshair or 0) < 600


async def test_only_what_changed_is_drawn_again() -> None:
    chart = LineChart("loss")
    x, y = np.arange(2000.0), np.sin(np.arange(2000.0) / 100)
    async with ChartApp(chart).run_test(size=(80, 16)) as pilot:
        chart.set_series([Series("t", x[:1500], y[:1500], "#4cb5f5")])
        await pilot.pause()
        chart.set_series([Series("t", x[:1502], y[:1502], "#4cb5f5")])
        await pilot.pause()
        asked: list[Region] = []
        chart.refresh = lambda *regions, **_: asked.extend(regions) or chart  # type: ignore[method-assign]
        chart.set_series([Series("t", x[:1504], y[:1504], "#4cb5f5")])
        await pilot.pause()
        assert asked and sum(region.area for region in asked if region.y > 0) <= 12
        assert all(region.right <= 80 and region.bottom <= 16 for region in asked)
        asked.clear()
        chart.set_series(chart.series)
        await pilot.pause()
        assert asked == []


async def test_more_curves_than_the_title_holds_get_lines_of_their_own() -> None:
    chart = LineChart("loss")
    async with ChartApp(chart).run_test(size=(60, 24)):
        chart.set_series([train(np.full(1000, float(i)), f"a run with a name {i}") for i in range(6)])
        shown = lines(chart)
        assert "a run with a name 0 0" in shown[1] and "a run with a name 2 2" in shown[2]
        chart.set_series([train(np.full(1000, float(i)), f"a run with a name {i}") for i in range(30)])
        assert "more" in lines(chart)[4] and len(lines(chart)) == 24


@pytest.mark.parametrize(("width", "more"), [(28, "… 1 more"), (25, "… 1"), (19, "… 1"), (16, "… 1")])
async def test_what_the_legend_leaves_out_is_told_whole_or_in_short(width: int, more: str) -> None:
    chart = LineChart("loss")
    async with ChartApp(chart).run_test(size=(width, 11)):
        chart.set_series([train(np.full(1000, 5.452), "training"), train(np.full(1000, 5.6), "held out")])
        line = lines(chart)[1]
        assert line.rstrip().endswith(more) and "━ t" in line and " 5.452" in line


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("kind", ["line", "points"])
async def test_values_at_the_end_of_what_a_float_holds_break_nothing(kind: str, log: bool) -> None:
    y = np.linspace(2, 3, 1000)
    y[3], y[7], y[9] = -1e308, 1e308, 1.7e308
    chart = LineChart("loss", y_log=log)
    async with ChartApp(chart).run_test(size=(40, 12)) as pilot:
        chart.set_series([Series("loss", STEPS, y, "#4cb5f5", kind)])
        assert any(dots(chart))
        await pilot.press("o", "plus")
        assert len(lines(chart)) == 12


async def test_a_narrow_chart_of_steps_always_has_a_tick() -> None:
    chart = LineChart("loss")
    async with ChartApp(chart).run_test(size=(25, 12)):
        for last in (42, 432, 499, 4500):
            steps = np.arange(1.0, last + 1)
            chart.set_series([Series("loss", steps, 1 / steps, "#4cb5f5")])
            assert lines(chart)[-1].strip()
