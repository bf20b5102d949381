"""The rasteriser, the smoothing, the axis and the text helper: pure functions."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from rich.cells import cell_len

from mythos_tui.widgets.axis import LARGEST, compact, linear_ticks, padded_range, tick_labels, x_ticks, y_ticks
from mythos_tui.widgets.glyphs import BRAILLE
from mythos_tui.widgets.palette import LEVELS, level_of, table
from mythos_tui.widgets.raster import reduce_columns, scatter, trace
from mythos_tui.widgets.smoothing import smooth
from mythos_tui.widgets.text import crop, fit, visible


def _trace(y: np.ndarray, cols: int, rows: int, y0: float, y1: float) -> np.ndarray:
    x = np.arange(y.size, dtype=np.float64)
    return trace(reduce_columns(x, y, 0.0, float(y.size - 1), cols), y0, y1, rows)


def test_one_spike_among_many_points_is_drawn_in_its_column() -> None:
    y = np.zeros(100_000)
    y[40_123] = 10.0
    grid = _trace(y, 120, 40, 0.0, 10.0)
    column = round(40_123 / 99_999 * 119)
    assert np.flatnonzero(grid[0]).tolist() == [column]
    assert grid[:, column].all()


def test_line_is_connected_between_sparse_points() -> None:
    grid = _trace(np.array([0.0, 9.0, 2.0, 2.0, 7.0]), 61, 40, 0.0, 9.0)
    assert grid.any(axis=0).all()
    for column in range(60):
        here, there = np.flatnonzero(grid[:, column]), np.flatnonzero(grid[:, column + 1])
        assert np.abs(here[:, None] - there[None, :]).min() <= 1, f"broken after column {column}"


@pytest.mark.parametrize("direction", [1, -1])
def test_a_diagonal_is_a_thin_line(direction: int) -> None:
    grid = _trace((0.2 + 0.95 * np.arange(40.0))[::direction], 40, 40, 0.0, 39.0)
    assert grid.sum() <= 62


def test_nothing_is_drawn_beyond_the_ends_of_a_series() -> None:
    x, y = np.arange(10.0), np.linspace(0, 1, 10)
    drawn = trace(reduce_columns(x, y, 0.0, 20.0, 41), 0.0, 1.0, 12).any(axis=0)
    assert drawn[:19].all() and not drawn[19:].any()
    drawn = trace(reduce_columns(x + 10, y, 0.0, 20.0, 41), 0.0, 1.0, 12).any(axis=0)
    assert drawn[20:39].all() and not drawn[:20].any()


def test_nan_leaves_a_gap_of_its_columns_only() -> None:
    y = np.ones(1000)
    y[300:600] = np.nan
    drawn = _trace(y, 100, 8, 0.0, 2.0).any(axis=0)
    assert not drawn[32:58].any()
    assert drawn[:29].all() and drawn[61:].all()


def test_one_nan_breaks_a_line_of_few_points() -> None:
    drawn = _trace(np.array([1.0, 1.0, np.nan, 1.0, 1.0]), 41, 8, 0.0, 2.0).any(axis=0)
    assert drawn[:11].all() and drawn[30:].all()
    assert not drawn[11:30].any()


def test_infinity_is_drawn_at_the_edge_and_what_lies_outside_is_not() -> None:
    grid = _trace(np.array([0.5, np.inf, 0.5]), 21, 12, 0.0, 1.0)
    assert grid[0].any()
    assert not _trace(np.full(5, 3.0), 21, 12, 0.0, 1.0).any()


def test_values_that_no_axis_goes_to_are_drawn_at_the_edge() -> None:
    y = np.array([-1e308, 0.0, 1e308, 5.0])
    ends = padded_range(float(y.min()), float(y.max()))
    assert max(map(abs, ends)) < 1e308 and max(map(abs, ends)) >= LARGEST
    grid = trace(reduce_columns(np.arange(4.0), y, 0.0, 3.0, 4), *ends, 9)
    assert grid[-1, 0] and grid[0, 2] and grid[4, 1]
    points = scatter(np.arange(4.0), y, (0.0, 3.0, *ends), 9, 4)
    assert np.argwhere(points.T).tolist() == [[0, 8], [1, 4], [2, 0], [3, 4]]


def test_unsorted_x_gives_the_same_columns_as_sorted_x() -> None:
    rng = np.random.default_rng(1)
    x, y = np.arange(500.0), rng.normal(size=500)
    order = rng.permutation(500)
    one, other = reduce_columns(x, y, 0, 499, 64), reduce_columns(x[order], y[order], 0, 499, 64)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_line_reaches_both_edges_of_a_window_between_samples() -> None:
    columns = reduce_columns(np.array([0.0, 10.0]), np.array([0.0, 10.0]), 4.0, 6.0, 20)
    grid = trace(columns, 4.0, 6.0, 20)
    assert grid.any(axis=0).all()
    assert grid[-1, 0] and grid[0, -1]


def test_scatter_draws_one_dot_per_sample() -> None:
    nan = float("nan")
    grid = scatter(np.array([0.0, 1.0, 2.0, 9.0]), np.array([0.0, 1.0, nan, 0.5]), (0, 2, 0, 1), 8, 9)
    assert sorted(map(tuple, np.argwhere(grid).tolist())) == [(0, 4), (7, 0)]


@pytest.mark.parametrize(("dot", "char"), [((0, 0), "⠁"), ((3, 0), "⡀"), ((0, 1), "⠈"), ((3, 1), "⢀"), ((1, 1), "⠐")])
def test_braille_dots_sit_where_unicode_has_them(dot: tuple[int, int], char: str) -> None:
    grid = np.zeros((4, 2), dtype=bool)
    grid[dot] = True
    assert chr(0x2800 + int(BRAILLE.pack(grid)[0, 0])) == char


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.9, 0.99])
def test_smoothing_is_the_plain_recurrence(weight: float) -> None:
    y = np.random.default_rng(0).normal(3, 2, 1000)
    y[[0, 5, 400, 401]] = [np.nan, np.nan, np.inf, np.nan]
    mean, seen, expected = 0.0, 0, []
    for value in y:
        if np.isfinite(value):
            mean, seen = weight * mean + (1 - weight) * value, seen + 1
            expected.append(mean / (1 - weight**seen))
        else:
            expected.append(value)
    np.testing.assert_allclose(smooth(y, weight), expected, rtol=1e-9)


def test_smoothing_refuses_a_weight_of_one() -> None:
    with pytest.raises(ValueError, match="weight"):
        smooth(np.ones(3), 1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234, "1.23k"), (1200, "1.2k"), (3.4e6, "3.4M"), (0.00123, "0.00123"), (1e-5, "1e-5"), (0, "0"), (999.9, "1k"),
     (-2500, "-2.5k"), (2.0, "2"), (float("nan"), "nan"), (float("-inf"), "-inf"), (1.3e9, "1.3B"), (6e21, "6e21")],
)  # fmt: skip
def test_compact_numbers(value: float, text: str) -> None:
    assert compact(value) == text


RANGES = [(0, 1), (0, 30_000), (2.30001, 2.30002), (-5, 5), (1e-9, 3e-9), (0, 1e12), (-3e5, 17), (99_990, 100_010)]


@pytest.mark.parametrize("width", [6, 10, 18, 33, 70, 190])
@pytest.mark.parametrize(("lo", "hi"), RANGES)
def test_x_ticks_never_overlap_and_never_leave_the_axis(lo: float, hi: float, width: int) -> None:
    ticks = x_ticks(lo, hi, width)
    assert all(t.start >= 0 and t.start + len(t.label) <= width and 0 <= t.cell < width for t in ticks)
    assert all(a.start + len(a.label) < b.start for a, b in itertools.pairwise(ticks))
    assert len({t.label for t in ticks}) == len(ticks)
    assert len(ticks) >= 2 or width < 40


@pytest.mark.parametrize("width", [1, 5, 13, 14, 15, 17, 19, 20, 21, 27, 28, 55])
def test_no_axis_with_room_for_a_label_is_bare(width: int) -> None:
    spans = [(1.0, float(last)) for last in (2, 4, 42, 49, 402, 432, 499, 4021, 4999, 49_999)]
    spans += [(0.3, 0.4), (41.0, 49.0), (-3.1, 3.9), (2.1, 4.9), (6e-5, 9e-5), (310.0, 390.0), (1e200, 3e200)]
    for lo, hi in spans:
        for log in (False, True):
            lo, hi = (np.log10(abs(end)) for end in (lo, hi)) if log else (lo, hi)
            if lo < hi:
                ticks = x_ticks(float(lo), float(hi), width, log)
                assert ticks or width < 14, (lo, hi, log)
                assert all(t.start >= 0 and t.start + len(t.label) <= width for t in ticks)


def test_a_range_is_always_finite_and_can_be_reckoned_with() -> None:
    most = sys.float_info.max
    for lo, hi in ((-1e308, 1e308), (-most, most), (1.2e308, most), (-most, -most), (most, most), (0.0, 1e308)):
        low, high = padded_range(lo, hi)
        assert low < high and np.isfinite([low, high, high - low]).all()
        y_ticks(low, high, 10)
    assert x_ticks(307.5, 309.0, 40, log=True)
    assert padded_range(0.0, 1.0) == (-0.04, 1.04)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 9, 20, 55])
@pytest.mark.parametrize(("lo", "hi"), [(0.0, 1.0), (-9.0, -3.0), (0.31, 0.38), (-250.0, 250.0), (1.0, 4.2)])
def test_y_ticks_have_rows_of_their_own(lo: float, hi: float, height: int, log: bool) -> None:
    ticks = y_ticks(lo, hi, height, log)
    rows = [t.cell for t in ticks]
    assert len(set(rows)) == len(rows) and all(0 <= row < height for row in rows)
    assert len({t.label for t in ticks}) == len(ticks)
    assert len(ticks) >= 2 or height < 5


def test_linear_ticks_are_round_and_inside() -> None:
    assert linear_ticks(0.13, 1.04, 5) == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert linear_ticks(1.0, 432.0, 1) == [] and tick_labels([]) == []


HOSTILE = "a\x1b[31m\x07\n\t\r\x9b2J\u202e\u200b\u200d\ufeff\x7f\u2028\ud800\u0301"


def test_nothing_that_a_terminal_obeys_stays() -> None:
    shown = visible(HOSTILE)
    assert shown.startswith("a␛[31m␇⏎⇥␍\\x9b2J\\u202e\\u200b\\u200d\\ufeff␡\\u2028\\ud800")
    assert all(ord(char) >= 0x20 for char in shown)
    assert visible("x\ny", keep="\n") == "x\ny"
    assert visible("a b", spaces=True) == "a·b"
    assert visible("soft\xadhyphen") == "soft\\xadhyphen"
    assert visible("\u0301a") == "◌\u0301a"
    assert visible("naïve 日本語 👍 [b]") == "naïve 日本語 👍 [b]"


@pytest.mark.parametrize("width", range(0, 9))
def test_fit_gives_exactly_so_many_cells(width: int) -> None:
    for text in ("", "abc", "日本語日本語", "a日b本c語"):
        assert cell_len(fit(text, width)) == width
        assert cell_len(crop(text, width)) <= width


def test_palette_rises_in_lightness_and_marks_nan() -> None:
    luminance = table().astype(float) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > 0).all()
    assert level_of([0.0, 0.5, 1.0, 7.0, np.nan, np.inf], 0, 1).tolist() == [0, 32, 63, LEVELS - 1, -1, LEVELS - 1]
