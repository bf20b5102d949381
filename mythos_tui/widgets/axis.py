"""Numbers on an axis: compact formats and tick positions that never overlap. Pure functions, no drawing."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

LARGEST = sys.float_info.max / 4
"""The values farthest from zero that an axis goes to: within them no difference of two overflows."""
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


class Tick(NamedTuple):
    """One tick: `cell` is its column (or its row from the top), `start` the first cell of its label."""

    value: float
    cell: int
    label: str
    start: int


def compact(value: float, digits: int = 3) -> str:
    """`value` in few cells: 1.2k, 3.4M, 0.00123, 1e-5. `digits` is the number of significant digits."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    value = float(f"{value:.{digits - 1}e}")
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e15:
        return _scientific(value, digits)
    for scale, suffix in _SCALES:
        if size >= scale:
            return _plain(value / scale, digits) + suffix
    return _plain(value, digits)


def _plain(value: float, digits: int) -> str:
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def linear_ticks(lo: float, hi: float, count: int) -> list[float]:
    """At most about `count` round values (steps of 1, 2 or 5 times a power of ten) inside [lo, hi]."""
    span = hi - lo
    if not (math.isfinite(span) and span > 0 and count > 0):
        return []
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1, 2, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)
    first, last = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9)
    if last - first > 4 * count + 4:
        return []
    return [_tidy(i * step, step) for i in range(first, last + 1)]


def _tidy(value: float, step: float) -> float:
    return round(value, max(0, 1 - math.floor(math.log10(step))) + 1) + 0.0


def log_ticks(lo: float, hi: float, count: int) -> list[float]:
    """Round values for a log axis between the exponents `lo` and `hi` (log10 of the ends); the values themselves."""
    if not (hi > lo and count > 0):
        return []
    first, last = math.floor(lo), math.ceil(hi)
    exponents = range(max(first, -300), min(last, 300) + 1)
    sets = [[m * 10.0**e for e in exponents for m in mantissas] for mantissas in ((1, 2, 5), (1, 3), (1,))]
    sets += [[10.0**e for e in exponents if e % stride == 0] for stride in (2, 3, 5, 10, 20, 50, 100)]
    inside = [[v for v in values if lo - 1e-9 <= math.log10(v) <= hi + 1e-9] for values in sets]
    best = next((values for values in inside if len(values) <= count), [])
    if len(best) < 2 and hi - lo < 2:
        first_value, last_value = (10.0 ** min(end, sys.float_info.max_10_exp) for end in (lo, hi))
        return [v for v in linear_ticks(first_value, last_value, count) if v > 0] or best
    return best


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels that tell neighbouring ticks apart, with one unit and one number of decimals where that can be done."""
    if not values:
        return []
    for digits in range(2, 16):
        labels = [compact(v, digits) for v in values]
        exact = all(math.isclose(float(f"{v:.{digits - 1}e}"), v, rel_tol=1e-12, abs_tol=1e-300) for v in values)
        if exact and len(set(labels)) == len(values):
            break
    else:
        return [repr(v) for v in values]
    return _even_decimals(labels)


def _even_decimals(labels: list[str]) -> list[str]:
    """Pad plain decimals to the longest fraction, so that a column of labels lines up."""
    if any(not label.lstrip("-").replace(".", "", 1).isdigit() for label in labels):
        return labels
    places = max(len(label.partition(".")[2]) for label in labels)
    return [f"{float(label):.{places}f}" for label in labels]


def _candidates(lo: float, hi: float, most: int, log: bool) -> list[list[float]]:
    make: Callable[[float, float, int], list[float]] = log_ticks if log else linear_ticks
    return [make(lo, hi, count) for count in range(most, 0, -1)]


def _sparse(lo: float, hi: float, log: bool) -> list[list[float]]:
    """For an axis that would be bare: a step of which there is always a multiple inside, then each of those alone."""
    values = (log_ticks if log else linear_ticks)(lo, hi, 3)
    middle = len(values) // 2
    return [values, *([value] for value in values[middle:] + values[:middle])]


def _cell(value: float, lo: float, hi: float, cells: int, log: bool) -> int:
    """The cell of `value` on an axis whose dots 0 and 2·cells-1 stand for lo and hi."""
    at = math.log10(value) if log else value
    return min(cells - 1, max(0, round((at - lo) / (hi - lo) * (2 * cells - 1)) // 2))


@lru_cache(maxsize=256)
def x_ticks(lo: float, hi: float, width: int, log: bool = False, gap: int = 2) -> tuple[Tick, ...]:
    """Ticks along `width` columns, labels centred below them, at least `gap` blanks between labels, none cut off.

    On a log axis `lo` and `hi` are exponents (log10 of the ends).
    """
    for values in _candidates(lo, hi, max(1, width // 7), log) + _sparse(lo, hi, log):
        ticks = []
        for value, label in zip(values, tick_labels(values), strict=True):
            cell = _cell(value, lo, hi, width, log)
            start = min(max(0, cell - (len(label) - 1) // 2), width - len(label))
            ticks.append(Tick(value, cell, label, start))
        ends = [0] + [tick.start + len(tick.label) + gap for tick in ticks]
        if ticks and all(tick.start >= end for tick, end in zip(ticks, ends, strict=False)):
            return tuple(ticks)
    return ()


@lru_cache(maxsize=256)
def y_ticks(lo: float, hi: float, height: int, log: bool = False) -> tuple[Tick, ...]:
    """Ticks up `height` rows, each on a row of its own; two at least, with a blank row between where there is room."""
    found: tuple[Tick, ...] = ()
    for apart in (2, 1):
        for values in _candidates(lo, hi, max(3, height // 3 + 1) + 2, log):
            rows = [height - 1 - _row(value, lo, hi, height, log) for value in values]
            if not values or any(a - b < apart for a, b in itertools.pairwise(rows)):
                continue
            found = tuple(Tick(v, r, label, 0) for v, r, label in zip(values, rows, tick_labels(values), strict=True))
            if len(found) >= 2:
                return found
    return found


def _row(value: float, lo: float, hi: float, height: int, log: bool) -> int:
    at = math.log10(value) if log else value
    return min(height - 1, max(0, round((at - lo) / (hi - lo) * (4 * height - 1)) // 4))


def padded_range(lo: float, hi: float, share: float = 0.04) -> tuple[float, float]:
    """[lo, hi] widened a little on both sides, never empty and never wider than can be reckoned with."""
    lo, hi = (min(LARGEST, max(-LARGEST, end)) for end in (lo, hi))
    span = hi - lo
    smallest = max(abs(lo), abs(hi)) * 1e-9
    if span <= smallest:
        room = max(abs(lo) * 0.1, smallest, 1e-12) if lo else 1.0
        return lo - room, hi + room
    return float(np.float64(lo) - share * span), float(np.float64(hi) + share * span)
