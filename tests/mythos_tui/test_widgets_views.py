"""Heatmap, token view and bar chart."""

from __future__ import annotations

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.containers import VerticalScroll
from textual.widget import Widget

from mythos_tui.widgets.barchart import BarChart
from mythos_tui.widgets.glyphs import BRAILLE
from mythos_tui.widgets.heatmap import Heatmap
from mythos_tui.widgets.palette import SERIES, contrast, legible, table
from mythos_tui.widgets.tokens import TokenView

EVIL = "\x1b[2J\u202e\n[bold]\x00"


class OneWidget(App[None]):
    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget
        self.selected: list[tuple[int, int, float]] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        if self.widget.focusable:
            self.widget.focus()

    def on_heatmap_cell_selected(self, message: Heatmap.CellSelected) -> None:
        self.selected.append((message.row, message.col, message.value))


class ScrolledTokens(OneWidget):
    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield self.widget


def drawn(widget: Widget) -> list[str]:
    """The widget's lines as they reach the screen, scrollbars and all."""
    return [strip.text for strip in widget.render_lines(widget.size.region)]


def harmless(text: str) -> bool:
    return not [c for c in text if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c == "\u202e"]


@pytest.mark.action("heatmap.move(-1, 0)", "heatmap.move(1, 0)", "heatmap.move(0, -1)", "heatmap.move(0, 1)")
async def test_heatmap_cursor_tells_the_value_of_its_cell() -> None:
    values = np.arange(12.0).reshape(3, 4)
    app = OneWidget(Heatmap(values, ["a", "b", "c"], row_name="token", col_name="loop"))
    async with app.run_test(size=(80, 12)) as pilot:
        await pilot.press("down", "right", "right", "left", "up", "up")
        await pilot.pause()
        assert app.selected == [(1, 0, 4.0), (1, 1, 5.0), (1, 2, 6.0), (1, 1, 5.0), (0, 1, 1.0)]
        await pilot.press("end", "ctrl+end")
        assert "token c · loop 3 = 11" in drawn(app.widget)[-1]


async def test_heatmap_scrolls_to_its_cursor_and_keeps_labels_and_status() -> None:
    values = np.arange(200.0 * 90).reshape(200, 90)
    heatmap = Heatmap(values, [f"t{i}" for i in range(200)], cell_width=3)
    async with OneWidget(heatmap).run_test(size=(60, 12)) as pilot:
        heatmap.cursor = (150, 70)
        await pilot.pause()
        text = drawn(heatmap)
        assert any(line.strip().startswith("t150") for line in text)
        assert " 70 " in text[0]
        assert any("row t150 · column 70 = 13.57k" in line for line in text)
        row = next(line for line in text if line.strip().startswith("t150"))
        assert "[ ]" in row and row.index("[ ]") + 1 in (text[0].index("70"), text[0].index("70") + 1)


@pytest.mark.action("heatmap.page(-1)", "heatmap.page(1)", "heatmap.column_end(False)", "heatmap.column_end(True)")
@pytest.mark.action("heatmap.row_end(False)", "heatmap.row_end(True)")
async def test_heatmap_goes_by_screens_and_to_its_ends_by_key() -> None:
    heatmap = Heatmap(np.arange(200.0 * 90).reshape(200, 90), cell_width=3)
    async with OneWidget(heatmap).run_test(size=(60, 12)) as pilot:
        body = heatmap.scrollable_content_region.height - 2
        ways = {
            "pagedown": (body, 0),
            "end": (body, 89),
            "ctrl+end": (199, 89),
            "pageup": (199 - body, 89),
            "home": (199 - body, 0),
            "ctrl+home": (0, 0),
        }
        for key, cell in ways.items():
            await pilot.press(key)
            assert heatmap.cursor == cell, key
            assert f"row {cell[0]} · column {cell[1]} = " in drawn(heatmap)[body + 1], key


async def test_heatmap_tints_by_value_and_leaves_nan_empty() -> None:
    heatmap = Heatmap([[0.0, 1.0, np.nan]], cell_width=2)
    async with OneWidget(heatmap).run_test(size=(60, 8)) as pilot:
        heatmap.blur()
        await pilot.pause()
        segments = [s for s in heatmap.render_line(1) if s.style and s.style.bgcolor][:4]
        shown = {s.text: s.style for s in segments}
        backgrounds = [s.style.bgcolor.triplet for s in segments if s.style and s.style.bgcolor]
        assert tuple(backgrounds[1]) == tuple(table()[0]) and tuple(backgrounds[2]) == tuple(table()[-1])
        assert "· " in shown


async def test_heatmap_without_colour_uses_the_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [[0.0, 1.0, np.nan, 0.5]]
    forced = Heatmap(values, glyphs=True)
    async with OneWidget(forced).run_test(size=(60, 8)) as pilot:
        forced.cursor = (0, 3)
        await pilot.pause()
        assert BRAILLE.ramp[0] * 2 + BRAILLE.ramp[-1] * 2 + "  " in drawn(forced)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    automatic = Heatmap(values)
    async with OneWidget(automatic).run_test(size=(60, 8)) as pilot:
        automatic.cursor = (0, 3)
        await pilot.pause()
        assert BRAILLE.ramp[0] * 2 + BRAILLE.ramp[-1] * 2 + "  " in drawn(automatic)[1]


async def test_heatmap_writes_values_where_the_cell_has_room() -> None:
    values = [[0.25, 0.5, 0.123]]
    for width, texts in ((8, ("0.25", "0.5", "0.12")), (4, (".25", "0.5", ".12")), (2, ())):
        heatmap = Heatmap(values, cell_width=width, show_values=True)
        async with OneWidget(heatmap).run_test(size=(60, 8)) as pilot:
            heatmap.blur()
            await pilot.pause()
            line = heatmap.render_line(1).text
            assert all(text in line for text in texts)
            assert bool(texts) == ("." in line)


@pytest.mark.parametrize("size", [(10, 3), (24, 5), (51, 9), (80, 24), (200, 60)])
async def test_heatmap_lines_have_its_width(size: tuple[int, int]) -> None:
    heatmap = Heatmap(np.random.default_rng(0).random((40, 50)), [EVIL + "日本語" * (i % 4) for i in range(40)])
    async with OneWidget(heatmap).run_test(size=size) as pilot:
        await pilot.press("right", "down", "end")
        view = heatmap.scrollable_content_region.size
        strips = [heatmap.render_line(y) for y in range(view.height)]
        assert {sum(segment.cell_length for segment in strip) for strip in strips} == {view.width}
        assert harmless("".join(drawn(heatmap)))
        heatmap.set_data(np.zeros((0, 5)))
        assert {heatmap.render_line(y).cell_length for y in range(view.height)} == {heatmap._view.width}


def test_heatmap_refuses_labels_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="labels"):
        Heatmap(np.zeros((2, 3)), ["only one"])
    with pytest.raises(ValueError, match="matrix"):
        Heatmap(np.zeros(3))


TOKENS = [
    (" The", 1.0),
    (" three", 3.0),
    (" red", 8.0),
    (" balls", None),
    (".\n", 2.0),
    (EVIL, 5.0),
    (" 日本語", 4.0),
] * 5


@pytest.mark.parametrize("width", [4, 11, 30, 79])
async def test_token_view_wraps_and_keeps_all_text(width: int) -> None:
    view = TokenView(8)
    async with ScrolledTokens(view).run_test(size=(width, 20)) as pilot:
        view.set_tokens(TOKENS)
        await pilot.pause()
        strips = [view.render_line(y) for y in range(view.size.height)]
        kept = "".join(segment.text for strip in strips for segment in strip).replace(" ", "")
        expected = "".join(text for text, _ in TOKENS).replace(" ", "").replace("\n", "⏎")
        assert kept == expected.replace("\x1b", "␛").replace("\u202e", "\\u202e").replace("\x00", "␀")
        assert {strip.cell_length for strip in strips} == {view.size.width}
        assert view.size.height == len(view._lines(view.size.width)) > 5


async def test_token_view_breaks_lines_at_newlines_and_between_tokens() -> None:
    view = TokenView(8)
    async with ScrolledTokens(view).run_test(size=(12, 20)) as pilot:
        view.set_tokens([("one", 1), (" two", 1), (" three", 1), ("\n", 1), ("four", 1)])
        await pilot.pause()
        assert [line.rstrip() for line in drawn(view)] == ["one two", " three⏎", "four"]


async def test_streaming_gives_the_same_lines_as_setting_all_at_once() -> None:
    view, other = TokenView(8), TokenView(8)
    async with ScrolledTokens(view).run_test(size=(23, 50)) as pilot:
        for text, value in TOKENS:
            view.append(text, value)
        await pilot.pause()
        other.set_tokens(TOKENS)
        assert view._lines(23) == other._lines(23)
        assert view.size.height == len(other._lines(view.size.width))
        view.clear()
        await pilot.pause()
        assert view.tokens == [] and "".join(drawn(view)).strip() == ""


async def test_token_tint_follows_the_value_and_none_has_no_tint() -> None:
    view = TokenView(8)
    async with ScrolledTokens(view).run_test(size=(40, 5)) as pilot:
        view.set_tokens([("low", 1), ("high", 8), ("none", None)])
        await pilot.pause()
        colours = {s.text.strip(): s.style.bgcolor.triplet for s in view.render_line(0) if s.style and s.style.bgcolor}
        assert tuple(colours["low"]) == tuple(table()[0])
        assert tuple(colours["high"]) == tuple(table()[-1])
        assert tuple(colours["none"]) not in {tuple(colours["low"]), tuple(colours["high"])}
        assert view.legend().plain == "loops 1 ▇▇▇▇▇▇▇▇ 8"


def test_text_on_a_tint_can_be_read() -> None:
    assert contrast(*table()[0].tolist()) == "#ffffff"
    assert contrast(*table()[-1].tolist()) == "#000000"


async def test_lying_bars_are_proportional_and_show_the_reference() -> None:
    bars = BarChart("load")
    async with OneWidget(bars).run_test(size=(60, 10)):
        bars.set_data([1.0, 0.5, 0.0, np.nan], ["a", "b", "c", "d"])
        lines = drawn(bars)
        full, half = lines[1].count("█"), lines[2].count("█")
        assert full > 40 and abs(half - full / 2) <= 1
        assert "█" not in lines[3] and "nan" in lines[4]
        bars.set_data([1.0, 0.5, 0.0, np.nan], ["a", "b", "c", "d"], reference=0.75, reference_name="uniform")
        lines = drawn(bars)
        assert "┊ uniform 0.75" in lines[0]
        assert len({line.index("┊") for line in lines[1:5]}) == 1
        assert abs(lines[1].index("┊") - lines[1].index("█") - 0.75 * (full - 1)) <= 1


async def test_more_bars_than_rows_stand() -> None:
    bars = BarChart("load")
    values = np.ones(64)
    values[40] = 2.0
    async with OneWidget(bars).run_test(size=(80, 8)):
        bars.set_data(values, reference=1.0)
        lines = drawn(bars)
        assert lines[1].count("█") == 1
        assert lines[6].count("█") == 64
        assert lines[1].index("█") - lines[6].index("█") == 40
        assert lines[7].split()[:2] == ["0", "3"]


@pytest.mark.parametrize("size", [(10, 3), (24, 5), (80, 24), (200, 60)])
@pytest.mark.parametrize("count", [0, 1, 4, 9, 64])
async def test_bars_have_the_width_of_the_chart(size: tuple[int, int], count: int) -> None:
    bars = BarChart(EVIL, EVIL)
    async with OneWidget(bars).run_test(size=size):
        bars.set_data(np.linspace(3e-5, 1e-5, count), [EVIL] * count, reference=1e-5, reference_name=EVIL)
        strips = [bars.render_line(y) for y in range(bars.size.height)]
        assert {sum(segment.cell_length for segment in strip) for strip in strips} == {size[0]}
        assert harmless("".join(drawn(bars)))
        assert count == 0 or "█" in "".join(drawn(bars)) or size == (10, 3)


async def test_heatmap_marks_a_cell_of_each_row_and_formats_values_as_told() -> None:
    heatmap = Heatmap(cell_width=6, show_values=True, format=lambda value, room: f"v{value:g}"[:room], mark="<")
    async with OneWidget(heatmap).run_test(size=(50, 8)) as pilot:
        heatmap.set_data([[1, 2], [3, 4], [5, 6]], marks=[1, -1, 0])
        heatmap.cursor = (1, 0)
        await pilot.pause()
        first, second, third = drawn(heatmap)[1:4]
        assert "v2 <" in first and "<" not in second and "[ v3 ]" in second and "v5 <" in third


async def test_tokens_without_colour_carry_their_value_in_small_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    view = TokenView(8.0)
    async with ScrolledTokens(view).run_test(size=(30, 6)) as pilot:
        view.set_tokens([("def", 8), (" x", None), (":\n", 3)])
        view.append("ok", 12)
        await pilot.pause()
        assert [line.rstrip() for line in drawn(view)] == ["def₈ x:⏎₃", "ok₁₂"]


def test_lines_stand_out_from_light_and_dark_grounds() -> None:
    light, dark = Color.parse("#faf9f6"), Color.parse("#0f1218")
    for name in SERIES:
        colour = Color.parse(name)
        assert legible(colour, dark) == colour and legible(colour, None) == colour
        assert legible(colour, light).brightness < 0.65 and legible(colour, light) != colour
