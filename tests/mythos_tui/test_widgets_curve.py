"""What a curve works out stays right while samples are appended, and costs only what is new."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.segment import Segment
from textual.color import Color

from mythos_tui.widgets import spans
from mythos_tui.widgets.curve import Curve, Series
from mythos_tui.widgets.glyphs import ASCII, BLOCK, BRAILLE, AsciiFilter, choose, speaks_unicode
from mythos_tui.widgets.palette import SERIES, basic, line_colour
from mythos_tui.widgets.raster import View
from mythos_tui.widgets.smoothing import Average, smooth

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("direct", [0, 256])
@pytest.mark.parametrize("positive", [False, True])
def test_extremes_by_blocks_are_those_of_all_samples(
    direct: int, positive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "DIRECT", direct)
    for size in (1, 63, 64, 65, 1000, 5003):
        y = RNG.normal(size=size)
        y[RNG.random(size) < 0.1] = np.nan
        starts = np.sort(RNG.integers(0, size + 1, 40))
        kept = spans.Extremes(positive)
        kept.extend(y[: size // 2])
        found = kept.over(y, starts)
        for i in range(39):
            part = y[starts[i] : starts[i + 1]]
            values = part[part > 0] if positive else part[~np.isnan(part)]
            assert found.holes[i] == np.isnan(part).any()
            expected = (values.min(), values.max()) if values.size else (np.nan, np.nan)
            np.testing.assert_array_equal((found.lo[i], found.hi[i]), expected)


@pytest.mark.parametrize("shift", [0, 1])
def test_extremes_of_a_growing_vector_are_those_of_all_samples(shift: int) -> None:
    y = np.where(RNG.random(9000) < 0.01, np.nan, RNG.normal(size=9000))
    kept = spans.Extremes()
    for size in (4000, 4001, 4100, 6500, 9000, 3000):
        starts = np.minimum(np.arange(30) * 300 + shift * size // 4000, size)
        for _ in range(2):
            found, direct = kept.over(y[:size], starts), spans.span_extremes(y[:size], starts)
            for one, other in zip(found, direct, strict=True):
                np.testing.assert_array_equal(one, other)
            found.lo[:] = 0.0  # what was handed out belongs to whoever asked


def test_means_over_spans_are_plain_means() -> None:
    table = RNG.normal(size=(3000, 5)).astype(np.float32)
    table[RNG.random(table.shape) < 0.1] = np.nan
    starts = np.array([0, 10, 10, 200, 1500, 2990, 3000])
    sums = spans.Sums(5)
    sums.extend(table[:700])
    found = sums.means(table, starts)
    assert np.isnan(found[1]).all()
    for i in (0, 2, 3, 4, 5):
        expected = np.nanmean(table[starts[i] : starts[i + 1]].astype(np.float64), axis=0)
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)


def test_an_average_goes_on_where_it_stopped() -> None:
    y = RNG.normal(3, 2, 5000)
    y[[0, 7, 4000]] = [np.nan, np.inf, np.nan]
    average = Average(0.95)
    for end in (1, 130, 131, 4100, 5000):
        found = average.over(y[:end])
    np.testing.assert_allclose(found, smooth(y, 0.95), rtol=1e-9)


def grown(x: np.ndarray, y: np.ndarray, first: int, copies: bool) -> Curve:
    """A curve that was shown with its first samples and then took all."""
    curve = Curve(Series("a", x[:first], y[:first], "red", best="min"))
    for weight in (0.0, 0.9):
        curve.columns(View(*curve.extent(False), False, False), 50, weight)  # type: ignore[misc]
        curve.best(weight)
    curve.take(Series("a", x.copy() if copies else x, y.copy() if copies else y, "red", best="min"))
    return curve


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("case", ["goes on", "other values", "back in x", "shorter"])
def test_a_curve_that_took_more_equals_a_new_one(case: str, copies: bool) -> None:
    x, y = np.arange(30_000.0), RNG.normal(size=30_000)
    y[[5, 25_000]] = np.nan
    curve = grown(x, y, 20_000, copies)
    if case == "other values":
        y = y.copy()
        y[100] = -50.0
    elif case == "back in x":
        x = np.concatenate([x[:25_000], x[20_000:25_000]])
    elif case == "shorter":
        x, y = x[:1000], y[:1000]
    curve.take(Series("a", x, y, "red", best="min"))
    fresh = Curve(Series("a", x, y, "red", best="min"))
    assert curve.extent(False) == fresh.extent(False)
    for weight in (0.0, 0.9):
        assert curve.best(weight) == fresh.best(weight)
        for view in (View(0, 29_999, False, False), View(100, 9000, False, True), View(0, 4, True, False)):
            for a, b in zip(curve.columns(view, 64, weight), fresh.columns(view, 64, weight), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9)


def test_a_tick_on_a_million_points_costs_little() -> None:
    x, y = np.arange(1_000_000.0), RNG.normal(size=1_000_000)
    curve, view = Curve(Series("a", x[:-100], y[:-100], "red", best="min")), View(0, 999_999, False, False)
    curve.columns(view, 132), curve.columns(view, 132, 0.9)
    times = []
    for end in range(999_950, 1_000_000):
        began = time.process_time()
        curve.take(Series("a", x[:end], y[:end], "red", best="min"))
        curve.columns(view, 132), curve.columns(view, 132, 0.9), curve.best(0.9)
        times.append(time.process_time() - began)
    assert sorted(times)[25] < 0.012, "a tick must not go over all samples"


def test_values_nearest_to_an_x() -> None:
    curve = Curve(Series("a", np.array([0.0, 10.0, 20.0]), np.array([1.0, np.nan, 3.0]), "red"))
    assert [curve.at(x) for x in (-5, 4, 16, 99)] == [1, 1, 3, 3]
    assert np.isnan(curve.at(11)) and np.isnan(Curve(Series("b", np.zeros(0), np.zeros(0), "red")).at(1))


def test_the_locale_and_the_terminal_choose_the_characters() -> None:
    assert choose("auto", {"LANG": "de_DE.UTF-8", "TERM": "xterm"}) is BRAILLE
    assert choose("auto", {"LANG": "de_DE.utf8", "TERM": "linux"}) is BLOCK
    assert choose("auto", {"LANG": "de_DE.ISO-8859-1"}) is ASCII
    assert choose("auto", {"LANG": "en_US.UTF-8", "LC_ALL": "C"}) is ASCII
    assert choose("auto", {"LANG": "C", "LC_CTYPE": "C.UTF-8"}) is ASCII, "Python itself set LC_CTYPE"
    assert choose("block", {"LANG": "C"}) is BLOCK
    assert speaks_unicode({}) and speaks_unicode({"LANG": "C.UTF-8"})


@pytest.mark.parametrize("glyphs", [BRAILLE, BLOCK, ASCII])
def test_every_pattern_of_dots_has_a_character_of_its_own(glyphs: object) -> None:
    assert isinstance(glyphs, type(BRAILLE))
    dots = glyphs.down * glyphs.across
    grid = np.array([[pattern >> bit & 1 for bit in range(dots)] for pattern in range(2**dots)], dtype=bool)
    cells = glyphs.pack(grid.reshape(-1, glyphs.across))[:, 0]
    assert sorted(cells.tolist()) == list(range(2**dots))
    assert len(set(glyphs.table.tolist())) == 2**dots


def test_the_filter_leaves_ascii_of_the_same_width() -> None:
    text = "│ρ(A) ● 日本 é · ⠿ ┤ ✓ …"
    (found,) = AsciiFilter().apply([Segment(text)], Color(0, 0, 0))
    assert found.text.isascii() and found.cell_length == Segment(text).cell_length
    assert found.text.startswith("|p(A) o ???? e .")


@pytest.mark.parametrize("ground", ["#0f1218", "#faf9f6"])
def test_curves_stay_apart_among_sixteen_colours(ground: str) -> None:
    shown = [
        line_colour(Color.parse(one), Color.parse(ground), "16").rich_color.downgrade(ColorSystem.STANDARD)
        for one in SERIES
    ]
    assert len({colour.number for colour in shown}) == len(SERIES)
    for number in range(16):
        rgb = RichColor.from_rgb(*basic(number).rgb)
        assert rgb.downgrade(ColorSystem.STANDARD).number == number
