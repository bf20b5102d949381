"""The map over time, and what maps look like in terminals of few colours or none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.widget import Widget

from mythos_tui.widgets.chart import LineChart, Series
from mythos_tui.widgets.glyphs import ASCII, BRAILLE
from mythos_tui.widgets.heatmap import Heatmap
from mythos_tui.widgets.palette import LEVELS, ColourMode, colour_at, table
from mythos_tui.widgets.raster import View
from mythos_tui.widgets.scale import category_sign, category_tint, fill
from mythos_tui.widgets.timemap import TimeHeatmap
from mythos_tui.widgets.xview import link

X = np.arange(1.0, 1001.0)


class OneWidget(App[None]):
    def __init__(self, *widgets: Widget) -> None:
        super().__init__()
        self.shown = widgets

    def compose(self) -> ComposeResult:
        yield from self.shown

    def on_mount(self) -> None:
        self.shown[0].focus()


def lines(widget: Widget) -> list[str]:
    return [strip.text for strip in widget.render_lines(widget.size.region)]


def luminance(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.array([0.2126, 0.7152, 0.0722])


# The colour vision of people without one kind of cone, after Machado, Oliveira and Fernandes (2009), on linear light.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_scale_keeps_its_order_without_one_kind_of_cone(kind: str) -> None:
    rgb = table() / 255.0
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(seen) > 0).all() and seen[-1] - seen[0] > 0.7


def test_among_256_colours_the_scale_still_rises() -> None:
    shown = [colour_at(level, "256") for level in range(LEVELS)]
    for colour in set(shown):
        found = RichColor.from_rgb(*colour.rgb).downgrade(ColorSystem.EIGHT_BIT)
        assert tuple(found.get_truecolor()) == colour.rgb, "the terminal has this very colour"
    light = luminance(np.array([colour.rgb for colour in shown]) / 255.0)
    assert (np.diff(light) >= 0).all() and len(set(shown)) == 10


@pytest.mark.parametrize(
    ("mode", "glyphs", "least"), [("16", BRAILLE, 9), ("16", ASCII, 9), ("none", BRAILLE, 5), ("none", ASCII, 9)]
)
def test_few_colours_and_characters_together_tell_levels_apart(mode: ColourMode, glyphs: object, least: int) -> None:
    assert isinstance(glyphs, type(BRAILLE))
    looks = [fill(level, mode, glyphs) for level in range(LEVELS)]
    assert len(dict.fromkeys((char, str(style)) for char, style in looks)) >= least
    assert glyphs is not ASCII or all(char.isascii() for char, _ in looks)


@pytest.mark.parametrize("mode", ["truecolor", "256", "16"])
def test_categories_differ_from_their_neighbours_and_can_be_read(mode: ColourMode) -> None:
    styles = [category_tint(index, mode) for index in range(64)]
    assert all(one.bgcolor != other.bgcolor for one, other in itertools.pairwise(styles))
    for style in styles:
        assert style.color and style.bgcolor
        a, b = (luminance(np.array(part.get_truecolor()) / 255.0) for part in (style.color, style.bgcolor))
        assert (max(a, b) + 0.05) / (min(a, b) + 0.05) > 4
    assert [category_sign(index, 2) for index in (3, 12)] == ["3 ", "12"] and len(category_sign(40, 1)) == 1


async def test_a_heatmap_in_sixteen_colours_shades_from_one_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm-16color")
    heatmap = Heatmap([np.linspace(0, 1, 9)], cell_width=2, unit="nats")
    async with OneWidget(heatmap).run_test(size=(60, 8)) as pilot:
        heatmap.cursor = (0, 8)
        await pilot.pause()
        text = lines(heatmap)
        assert "░░▒▒▓▓  ░░▒▒▓▓" in text[1]
        assert text[-1].rstrip().endswith("1 nats") and "= 1 nats" in text[-1]


async def test_categories_show_numbers_and_the_status_their_names() -> None:
    heatmap = Heatmap([[0, 2], [1, np.nan]], cell_width=3, categories=["zero", "one", "two"])
    async with OneWidget(heatmap).run_test(size=(60, 8)) as pilot:
        await pilot.press("right")
        text = lines(heatmap)
        assert "0" in text[1] and "[2]" in text[1] and "1" in text[2]
        assert "column 1 = two" in text[-1] and "zero" in text[-1]
        await pilot.press("down")
        assert "column 1 = –" in lines(heatmap)[-1]


@pytest.mark.action("heatmap.toggle_overview")
async def test_the_overview_shows_the_whole_map_by_means() -> None:
    values = np.zeros((400, 300))
    values[:, 150:] = 1.0
    heatmap = Heatmap(values, cell_width=1)
    async with OneWidget(heatmap).run_test(size=(60, 20)) as pilot:
        assert heatmap.max_scroll_x > 0 and heatmap.max_scroll_y > 0
        await pilot.press("z", "end", "ctrl+end")
        await pilot.pause()
        assert (heatmap.max_scroll_x, heatmap.max_scroll_y) == (0, 0)
        assert heatmap.cursor == (399, 299) and "399" in lines(heatmap)[-1] and "mean of" in lines(heatmap)[-1]
        await pilot.press("left")
        assert 290 < heatmap.cursor[1] < 299
        cells = heatmap._cells[0]
        assert cells[0] == 0 and cells[-1] == 1 and np.isclose(cells.mean(), 0.5, atol=0.05)
        await pilot.press("z")
        assert heatmap.max_scroll_x > 0


# Over time


async def test_a_map_over_time_shows_means_and_reads_crosshair_and_row() -> None:
    values = np.stack([X / 1000, np.where(X <= 500, 2.0, np.nan), 3 - X / 1000], axis=1).astype(np.float32)
    chart = TimeHeatmap("load", "%", row_name="expert", x_label="step")
    async with OneWidget(chart).run_test(size=(80, 12)) as pilot:
        chart.set_data(X, values, ["a", "b", "c"])
        await pilot.pause()
        columns = chart.columns(View(1, 1000, False, False), 50)
        assert columns.shape == (3, 50)
        np.testing.assert_allclose(columns[0], (np.arange(50) * 20 + 10.5) / 1000, atol=0.006)
        assert (columns[1, :25] == 2).all() and np.isnan(columns[1, 26:]).all()
        await pilot.press("down", "down", ".", "<")
        await pilot.pause()
        title = lines(chart)[0]
        assert chart.row == 1 and "expert b nan" in title and "@ step 87" in title
        assert {strip.cell_length for strip in chart.render_lines(chart.size.region)} == {80}
        assert [line[0] for line in lines(chart)[1:-2] if line[0] != " "] == ["a", "b", "c"]
        assert "500" in lines(chart)[-1]
        await pilot.click(chart, offset=(20, 8))
        assert chart.row == 2 and chart.crosshair is not None and 200 < chart.crosshair < 280


@pytest.mark.action("map.row(-1)", "map.row(1)")
async def test_the_title_of_a_map_over_time_follows_its_row() -> None:
    chart = TimeHeatmap("load", row_name="expert")
    async with OneWidget(chart).run_test(size=(80, 12)) as pilot:
        chart.set_data(X, np.stack([X, X * 2, X * 3], axis=1), ["a", "b", "c"])
        for key, row in (("down", 0), ("down", 1), ("down", 2), ("down", 2), ("up", 1), ("up", 0), ("up", 0)):
            await pilot.press(key)
            assert chart.row == row and f"expert {'abc'[row]} {row + 1}k" in lines(chart)[0], key


async def test_a_map_over_time_draws_only_what_is_new() -> None:
    values = np.random.default_rng(0).random((1000, 8)).astype(np.float32)
    chart = TimeHeatmap("load", vmin=0.0, vmax=1.0)
    async with OneWidget(chart).run_test(size=(80, 14)) as pilot:
        for size in (900, 902):
            chart.set_data(X[:size], values[:size])
            await pilot.pause()
        asked: list[Region] = []
        chart.refresh = lambda *regions, **_: asked.extend(regions) or chart  # type: ignore[method-assign]
        chart.set_data(X[:904], values[:904])
        await pilot.pause()
        assert asked and sum(region.area for region in asked if region.y > 0) <= 24
        other = TimeHeatmap("load", vmin=0.0, vmax=1.0)
        other.set_data(X[:904], values[:904])
        view = View(1, 904, False, False)
        np.testing.assert_allclose(chart.columns(view, 40), other.columns(view, 40), rtol=1e-5)


async def test_shares_more_rows_than_lines_and_unsorted_x() -> None:
    values = np.ones((1000, 40)) * np.arange(40)
    chart = TimeHeatmap("load", "%", share=True)
    async with OneWidget(chart).run_test(size=(80, 10)) as pilot:
        chart.set_data(X[::-1].copy(), values)
        await pilot.pause()
        assert chart.extent() == (1.0, 1000.0)
        assert chart.value_at(None, 39) == pytest.approx(100 * 39 / values[0].sum())
        assert len([line for line in lines(chart)[1:-2] if line.strip()]) == 7
        chart.set_data(X, values * np.nan)
        await pilot.pause()
        assert len(lines(chart)) == 10
    with pytest.raises(ValueError, match="labels"):
        chart.set_data(X, values, ["one"])
    with pytest.raises(ValueError, match="wants x"):
        chart.set_data(X[:5], values)


@pytest.mark.parametrize(("glyphs", "no_colour"), [("ascii", False), ("braille", True)])
async def test_a_map_over_time_without_half_blocks(
    glyphs: str, no_colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    chart = TimeHeatmap("load")
    app = OneWidget(chart)
    app.glyphs = glyphs  # type: ignore[attr-defined]
    async with app.run_test(size=(60, 10)) as pilot:
        chart.set_data(X, np.stack([X, 1000 - X], axis=1), ["up", "down"])
        await pilot.pause()
        text = lines(chart)
        ramp = ASCII.ramp if glyphs == "ascii" else BRAILLE.ramp
        assert "▀" not in "".join(text)
        if no_colour:
            row = text[1][5:].rstrip()
            assert row[0] == ramp[0] and row[-1] == ramp[-1] and len(set(row)) == len(ramp)
        else:
            assert "".join(text).isascii()


async def test_lines_and_maps_share_their_x() -> None:
    line, chart = LineChart("loss"), TimeHeatmap("load")
    async with OneWidget(line, chart).run_test(size=(80, 24)) as pilot:
        link([line, chart])
        line.set_series([Series("t", X, X, "#4cb5f5")])
        chart.set_data(X, np.stack([X, X], axis=1))
        await pilot.pause()
        await pilot.press(".", "<", "+")
        await pilot.pause()
        assert chart.crosshair == line.crosshair and chart.x_window == line.x_window is not None
        cross = [next(i for i, c in enumerate(row) if c == "│" and i > 10) for row in (lines(line)[7], lines(chart)[7])]
        share = [
            (at - first) / width
            for at, (first, width) in zip(cross, (line.plot_columns(), chart.plot_columns()), strict=True)
        ]
        assert share[0] == pytest.approx(share[1], abs=0.02)
