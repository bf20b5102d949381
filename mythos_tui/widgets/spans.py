"""Reductions over spans of long vectors, cheap enough to do again for every frame while samples are appended.

Samples are taken together in blocks of 32 once; a span is then whole blocks and the rest of the two blocks at its ends.
Shapes: n samples, C spans, given by C+1 rising indices `starts`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Grid = NDArray[np.bool_]
Starts = NDArray[np.int64]

BLOCK = 32
DIRECT = 4 * BLOCK
"""Up to so many samples per span, going through them all is as fast."""


class Spans(NamedTuple):
    """Least and greatest value of each span, (C,), NaN where it has none, and whether a NaN lies in it."""

    lo: Floats
    hi: Floats
    holes: Grid


def span_extremes(y: Floats, starts: Starts) -> Spans:
    """Extremes of every span, directly."""
    count = starts.size - 1
    filled = np.diff(starts) > 0
    lo, hi, holes = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, np.bool_)
    if filled.any():
        begin, y = starts[:-1][filled], y[: starts[-1]]
        lo[filled], hi[filled] = np.fmin.reduceat(y, begin), np.fmax.reduceat(y, begin)
        holes[filled] = np.logical_or.reduceat(np.isnan(y), begin)
    return Spans(lo, hi, holes)


class Growing:
    """An array that grows at its end by doubling."""

    def __init__(self, dtype: Any = np.float64, width: tuple[int, ...] = ()) -> None:
        self._data: NDArray[Any] = np.zeros((256, *width), dtype)
        self.size = 0

    def extend(self, values: Any) -> None:
        end = self.size + len(values)
        if end > len(self._data):
            grown = np.zeros((max(end, 2 * len(self._data)), *self._data.shape[1:]), self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown
        self._data[self.size : end] = values
        self.size = end

    @property
    def values(self) -> NDArray[Any]:
        return self._data[: self.size]


class Extremes:
    """Least, greatest and missing values per block of a vector that only grows; `positive` leaves out the others.

    Spans that are as they were at the last call, most of them while a curve grows, are not looked at again.
    """

    def __init__(self, positive: bool = False) -> None:
        self._positive = positive
        self._lo, self._hi, self._holes = Growing(), Growing(), Growing(np.bool_)
        self._known: tuple[Starts, Spans] = (
            np.zeros(0, np.int64),
            Spans(np.zeros(0), np.zeros(0), np.zeros(0, np.bool_)),
        )

    def extend(self, y: Floats) -> None:
        """Take in what was appended to `y` (n,), whose earlier values are as before."""
        done, whole = self._lo.size, y.size // BLOCK
        if whole > done:
            blocks = y[done * BLOCK : whole * BLOCK].reshape(-1, BLOCK)
            self._holes.extend(np.any(np.isnan(blocks), axis=1))
            shown = self._shown(blocks)
            self._lo.extend(np.fmin.reduce(shown, axis=1))
            self._hi.extend(np.fmax.reduce(shown, axis=1))

    def _shown(self, y: Floats) -> Floats:
        return np.where(y > 0, y, np.nan) if self._positive else y

    def over(self, y: Floats, starts: Starts) -> Spans:
        """Extremes of every span of `y`."""
        before, known = self._known
        if not np.array_equal(before, starts):
            same = max(0, _shared(before, starts) - 1)
            fresh = self._find(y, starts[same:])
            known = Spans(
                np.concatenate([known.lo[:same], fresh.lo]),
                np.concatenate([known.hi[:same], fresh.hi]),
                np.concatenate([known.holes[:same], fresh.holes]),
            )
            self._known = starts, known
        return Spans(known.lo.copy(), known.hi.copy(), known.holes.copy())

    def _find(self, y: Floats, starts: Starts) -> Spans:
        first, last = int(starts[0]), int(starts[-1])
        if last - first <= DIRECT * (starts.size - 1):
            part = y[first:last]
            found = span_extremes(self._shown(part), starts - first)
            return found if not self._positive else found._replace(holes=span_extremes(part, starts - first).holes)
        self.extend(y)
        return _joined(self._inner(starts), self._rims(y, starts))

    def _inner(self, starts: Starts) -> Spans:
        """Extremes of the whole blocks inside each span."""
        begin, end = -(-starts[:-1] // BLOCK), starts[1:] // BLOCK
        some = end > begin
        pairs = np.stack([begin, np.maximum(end, begin)], axis=1).reshape(-1)
        last = self._lo.size
        lo, hi = (
            np.where(some, ufunc.reduceat(np.append(part.values, np.nan), np.minimum(pairs, last))[::2], np.nan)
            for ufunc, part in ((np.fmin, self._lo), (np.fmax, self._hi))
        )
        holes = np.logical_or.reduceat(np.append(self._holes.values, False), np.minimum(pairs, last))[::2]
        return Spans(lo, hi, holes & some)

    def _rims(self, y: Floats, starts: Starts) -> Spans:
        """Extremes of what each span has of the blocks that its ends lie in."""
        block = starts // BLOCK * BLOCK
        index = block[:, None] + np.arange(BLOCK)
        values = y[np.minimum(index, y.size - 1)]
        shown, missing = self._shown(values), np.isnan(values)
        after = (index[:-1] >= starts[:-1, None]) & (index[:-1] < starts[1:, None])
        before = (index[1:] >= starts[:-1, None]) & (index[1:] < starts[1:, None])
        sides = [(shown[:-1], missing[:-1], after), (shown[1:], missing[1:], before)]
        found = [
            Spans(
                np.fmin.reduce(np.where(inside, part, np.nan), axis=1),
                np.fmax.reduce(np.where(inside, part, np.nan), axis=1),
                (gaps & inside).any(axis=1),
            )
            for part, gaps, inside in sides
        ]
        return _joined(*found)


def _shared(one: Starts, other: Starts) -> int:
    """How many indices both begin with."""
    count = min(one.size, other.size)
    differ = np.flatnonzero(one[:count] != other[:count])
    return int(differ[0]) if differ.size else count


def _joined(one: Spans, other: Spans) -> Spans:
    return Spans(np.fmin(one.lo, other.lo), np.fmax(one.hi, other.hi), one.holes | other.holes)


class Sums:
    """Sums per block of a table (n, rows) that only grows, for means over spans; NaN does not count."""

    def __init__(self, rows: int) -> None:
        self._sums, self._counts = Growing(np.float64, (rows,)), Growing(np.float64, (rows,))
        zero = np.zeros((1, rows))
        self._sums.extend(zero)
        self._counts.extend(zero)

    def extend(self, table: NDArray[Any]) -> None:
        """Take in what was appended to `table`."""
        done, whole = self._sums.size - 1, len(table) // BLOCK
        if whole > done:
            blocks = table[done * BLOCK : whole * BLOCK].reshape(whole - done, BLOCK, -1)
            for kept, part in (
                (self._sums, np.where(np.isnan(blocks), 0.0, blocks)),
                (self._counts, ~np.isnan(blocks)),
            ):
                kept.extend(kept.values[-1] + np.cumsum(part.sum(axis=1, dtype=np.float64), axis=0))

    def means(self, table: NDArray[Any], starts: Starts) -> Floats:
        """Mean of every span, (C, rows), NaN where it has nothing."""
        self.extend(table)
        block = np.minimum(starts // BLOCK, self._sums.size - 1)
        index = block[:, None] * BLOCK + np.arange(BLOCK)
        within = (index < starts[:, None])[:, :, None]
        values = table[np.minimum(index, max(0, len(table) - 1))]
        known = within & ~np.isnan(values)
        sums = self._sums.values[block] + np.where(known, values, 0.0).sum(axis=1, dtype=np.float64)
        counts = np.diff(self._counts.values[block] + known.sum(axis=1), axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 0, np.diff(sums, axis=0) / counts, np.nan)
