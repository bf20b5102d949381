"""One curve of a chart: its samples, and what has been worked out for them, kept up while samples are appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mythos_tui.widgets.raster import Columns, View, add_edges, column_starts, columns_of, on_axis, ordered
from mythos_tui.widgets.smoothing import Average
from mythos_tui.widgets.spans import Extremes, Floats

Best = Literal["min", "max"]
SAMPLED = 4096


@dataclass(frozen=True, eq=False)
class Series:
    """One curve: x and y float64 (n,), y may hold NaN (a gap); colour is a CSS colour such as "#4cb5f5".

    `best` marks the least or greatest value, `dash` (0..3) is the pattern of the line. A series that goes on where the
    shown one of its name ended costs only what is new, above all where both are views of one buffer; arrays that were
    handed over must not be changed in place.
    """

    name: str
    x: Floats
    y: Floats
    colour: str
    kind: Literal["line", "points"] = "line"
    best: Best | None = None
    dash: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", np.asarray(self.x, dtype=np.float64))
        object.__setattr__(self, "y", np.asarray(self.y, dtype=np.float64))
        if self.x.shape != self.y.shape or self.x.ndim != 1:
            raise ValueError(f"series {self.name!r}: x {self.x.shape} and y {self.y.shape} must be equal vectors")


def goes_on(old: NDArray[Any], new: NDArray[Any]) -> bool:
    """Whether `new` begins with all rows of `old`, bit for bit."""
    if len(new) < len(old) or new.dtype != old.dtype or new.shape[1:] != old.shape[1:]:
        return False
    head = new[: len(old)]
    if head.__array_interface__["data"] == old.__array_interface__["data"] and head.strides == old.strides:
        return True
    return bool(np.array_equal(_bits(head), _bits(old)))


def _bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


class Curve:
    """A series, its samples in the order of x, and its smoothed values, extremes and best values so far."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.x, self.y = ordered(series.x, series.y)
        self._forget()

    def _forget(self) -> None:
        self._averages: dict[float, Average] = {}
        self._extremes: dict[tuple[float, bool], Extremes] = {}
        self._best: dict[float, tuple[int, int | None]] = {}
        self._missing, self._counted = 0, 0

    def take(self, series: Series) -> None:
        """Show this series from now on; where it goes on from what was there, only the new samples are worked on."""
        old, self.series = self.series, series
        if not (goes_on(old.x, series.x) and goes_on(old.y, series.y)):
            self.x, self.y = ordered(series.x, series.y)
            self._forget()
        elif self.x is old.x and _rising(series.x[max(0, old.x.size - 1) :]):
            self.x, self.y = series.x, series.y
        elif series.x.size > old.x.size:
            self.x, self.y = ordered(series.x, series.y)
            self._forget()

    def extent(self, positive: bool) -> tuple[float, float] | None:
        """Least and greatest x (`positive`: of those above zero), None when there is none."""
        first = int(np.searchsorted(self.x, 0.0, "right")) if positive else 0
        return (float(self.x[first]), float(self.x[-1])) if self.x.size > first else None

    def values(self, weight: float) -> Floats:
        """y smoothed with this weight, (n,); 0 is y itself. Only the average last asked for is kept."""
        if weight == 0:
            return self.y
        if weight not in self._averages:
            self._averages = {weight: Average(weight)}
            self._extremes = {key: kept for key, kept in self._extremes.items() if key[0] == 0}
            self._best = {key: kept for key, kept in self._best.items() if key == 0}
        return self._averages[weight].over(self.y)

    @property
    def sparse(self) -> bool:
        """Whether most samples have no value, as where something is reported now and then."""
        self._missing += int(np.isnan(self.y[self._counted :]).sum())
        self._counted = self.y.size
        return 2 * self._missing > self.y.size

    def index_at(self, x: float) -> int | None:
        """The sample whose x lies nearest."""
        if not self.x.size:
            return None
        right = min(int(np.searchsorted(self.x, x)), self.x.size - 1)
        left = max(0, right - 1)
        return left if abs(self.x[left] - x) <= abs(self.x[right] - x) else right

    def at(self, x: float, weight: float = 0.0) -> float:
        """The value nearest to x, NaN where there is none."""
        index = self.index_at(x)
        return float("nan") if index is None else float(self.values(weight)[index])

    def best(self, weight: float) -> int | None:
        """Index of the best value, None where no best is wanted or nothing is finite."""
        if self.series.best is None:
            return None
        y = self.values(weight)
        seen, index = self._best.get(weight, (0, None))
        if seen < y.size:
            sign = 1.0 if self.series.best == "min" else -1.0
            fresh = np.where(np.isfinite(y[seen:]), sign * y[seen:], np.inf)
            at = int(np.argmin(fresh))
            if np.isfinite(fresh[at]) and (index is None or fresh[at] < sign * y[index]):
                index = seen + at
            self._best[weight] = (y.size, index)
        return index

    def span(self, view: View) -> tuple[int, int]:
        """First and last+1 index of the samples inside a view."""
        lo, hi = view.x0, view.x1
        if view.x_log:  # a power of a logarithm may miss its sample by the last bit
            lo, hi = 10.0**lo * (1 - 1e-12), 10.0**hi * (1 + 1e-12)
        return int(np.searchsorted(self.x, lo, "left")), int(np.searchsorted(self.x, hi, "right"))

    def columns(self, view: View, count: int, weight: float = 0.0) -> Columns:
        """The samples inside a view reduced to so many dot columns, in log10 where y is logarithmic."""
        y = self.values(weight)
        span = self.span(view)
        starts = column_starts(self.x, span, view, count)
        found = self._extremes.setdefault((weight, view.y_log), Extremes(positive=view.y_log)).over(y, starts)
        return add_edges(columns_of(y, starts, *found, view.y_log), self.x, y, span, view)

    def points(self, view: View) -> tuple[Floats, Floats]:
        """The samples inside a view as they are placed on its axes."""
        first, last = self.span(view)
        return on_axis(self.x[first:last], view.x_log), on_axis(self.y[first:last], view.y_log)

    def sampled(self, view: View) -> Floats:
        """Some thousand values inside a view, on its y axis: enough for quantiles."""
        first, last = self.span(view)
        return on_axis(self.y[first : last : max(1, (last - first) // SAMPLED)], view.y_log)


def _rising(x: Floats) -> bool:
    return bool(np.isfinite(x[-1:]).all() and np.all(x[1:] >= x[:-1]))
