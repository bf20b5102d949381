"""Metrics in columns: arrays that grow at their end, so that pictures taken earlier stay valid and cost nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
"""Many lines at once: {key: (n,) or (n, width)}."""
WIDEST = 4096
"""Most entries of a vector that are kept."""
NUMBERS = {float, int}


class Column:
    """One growing array of rows, NaN where a row had no value. Rows are scalars, or vectors of at most `width`.

    Twice the rows that are wanted are reserved; what lies beyond the rows in use is not touched, so it takes no memory.
    """

    def __init__(self, width: int = 0) -> None:
        self._width = width
        self._used = 0
        self._data: NDArray[Any] = self._new(256)

    def _new(self, rows: int) -> NDArray[Any]:
        return np.empty((rows, self._width), np.float32) if self._width else np.empty(rows)

    def _keep(self, rows: int, room: int) -> None:
        """Move the first `rows` rows into a new array."""
        old, self._data, self._used = self._data, self._new(room), rows
        if self._width:
            self._data[:rows, : old.shape[1]] = old[:rows]
            self._data[:rows, old.shape[1] :] = np.nan
        else:
            self._data[:rows] = old[:rows]

    def put(self, row: int, values: NDArray[Any]) -> None:
        """Set rows from `row` on. Rows already handed out are never changed; a longer vector makes all of them wider."""
        end = row + len(values)
        if values.ndim > 1 and values.shape[1] > self._width:
            self._width = values.shape[1]
            self._keep(self._used, len(self._data))
        self._use(end)
        if values.ndim > 1:
            self._data[row:end, values.shape[1] :] = np.nan
            self._data[row:end, : values.shape[1]] = values
        else:
            self._data[row:end] = values

    def make_room(self, rows: int) -> None:
        """Room for so many rows and as many again, which nobody uses yet."""
        if rows > len(self._data):
            self._keep(self._used, 2 * rows)

    def _use(self, rows: int) -> None:
        """The first `rows` rows are in use."""
        self.make_room(rows)
        if rows > self._used:
            self._data[self._used : rows] = np.nan
            self._used = rows

    def rewind(self, rows: int) -> None:
        """Forget rows from `rows` on. What was handed out stays as it was."""
        self._keep(min(rows, self._used), len(self._data))

    def upto(self, rows: int) -> NDArray[Any]:
        """The first `rows` rows, a read-only view."""
        self._use(rows)
        view = self._data[:rows].view()
        view.flags.writeable = False
        return view


def number(value: Any) -> float | None:
    """A metric's value as a float; None for anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def vector(value: Any) -> Floats | None:
    """A list of numbers as (n,); None for anything else. null inside a list is NaN."""
    if not isinstance(value, list) or not value:
        return None
    if all(type(item) is float for item in value):
        return np.array(value, dtype=np.float64)
    numbers = [np.nan if item is None else number(item) for item in value]
    return None if None in numbers else np.array(numbers, dtype=np.float64)


def _even(values: list[Any]) -> Floats | None:
    """Lists of numbers, all of one length and not empty, as (n, length); None for anything else."""
    if _kinds(values) == {list} and len(set(map(len, values))) == 1 and values[0]:
        with contextlib.suppress(OverflowError):
            return np.array(values, dtype=np.float64) if _kinds(chain.from_iterable(values)) <= NUMBERS else None
    return None


def _kinds(values: Iterable[Any]) -> set[type]:
    return set(map(type, values))


class Metrics:
    """Every metric by key: scalars (n,), parts as `loss_parts.ponder`, vectors as history (n, width) and as latest."""

    def __init__(self) -> None:
        self.rows = 0
        self._scalars: dict[str, Column] = {}
        self._vectors: dict[str, Column] = {}
        self._latest: dict[str, Floats] = {}
        self._derived: dict[str, Column] = {}

    def append(self, line: Mapping[str, Any]) -> None:
        """Take in one line of metrics.jsonl."""
        self.extend([line])

    def extend(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Take in lines. A run that was resumed goes over some steps again: the later lines count."""
        first, last = 0, self._last_step()
        for index, line in enumerate(lines):
            step = number(line.get("step"))
            if step is not None and step <= last:
                self._take(lines[first:index])
                self._rewind(step)
                first = index
            last = last if step is None else step
        self._take(lines[first:])

    def _last_step(self) -> float:
        """The newest step: rows rise, so it is the last that is known."""
        steps = self._scalars.get("step")
        known = steps.upto(self.rows)[::-1] if steps and self.rows else np.zeros(0)
        found = np.flatnonzero(np.isfinite(known[:64]))
        return float(known[found[0]]) if found.size else float(np.nanmax(known, initial=-np.inf))

    def _rewind(self, step: float) -> None:
        steps = self._scalars.get("step")
        if steps is None:
            return
        again = np.flatnonzero(steps.upto(self.rows) >= step)
        if len(again):
            self.rows = int(again[0])
            for column in (*self._scalars.values(), *self._vectors.values(), *self._derived.values()):
                column.rewind(self.rows)

    def make_room(self, rows: int) -> None:
        """Room for so many rows at once, where a long history is about to come."""
        for column in (*self._scalars.values(), *self._vectors.values(), *self._derived.values()):
            column.make_room(rows)

    def extend_columns(self, columns: Columns) -> bool:
        """Take in many lines at once. False, and nothing done, where steps do not rise."""
        steps = columns.get("step")
        if steps is None or not steps.size or not steps[0] > self._last_step() or not (np.diff(steps) > 0).all():
            return False
        for key, values in columns.items():
            if values.ndim == 1:
                self._scalars.setdefault(key, Column()).put(self.rows, values)
            else:
                self._vectors.setdefault(key, Column(values.shape[1])).put(self.rows, values)
                self._latest[key] = values[-1][np.isfinite(values[-1])]
        self._advance(len(steps))
        return True

    def _take(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self._take_keys(lines)
        self._advance(len(lines))

    def _take_keys(self, lines: Sequence[Mapping[str, Any]], whole: str = "") -> None:
        """Key by key: one conversion per column rather than one per value. Parts of a metric, `whole`, get keys of their own."""
        for key in dict.fromkeys(chain.from_iterable(lines)):
            values, name = [line.get(key) for line in lines], f"{whole}.{key}" if whole else key
            kinds = _kinds(values)
            if dict in kinds and not whole:
                self._take_keys([value if type(value) is dict else {} for value in values], name)
            if list in kinds:
                self._take_vectors(name, values)
            elif kinds != {dict}:
                self._take_scalars(name, values, kinds)

    def _advance(self, count: int) -> None:
        """So many rows are new: work out for them alone what follows from others, so that pictures need no arithmetic."""
        first, self.rows = self.rows, self.rows + count
        if not count:
            return
        tokens = self._rows("tokens", first)
        before = self._scalars["tokens"].upto(first)[-1:] if first and "tokens" in self._scalars else np.zeros(0)
        new = np.diff(tokens, prepend=before[0] if before.size else 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            seconds = new / self._rows("tokens_per_s", first)
        self._add_up("minutes", seconds / 60.0, first)
        self._add_up("FLOPs", seconds * self._rows("flops_per_s", first), first)
        if "utilisation" in self._scalars:
            self._derive("used", 100.0 * self._rows("utilisation", first), first)

    def _add_up(self, key: str, steps: Floats, first: int) -> None:
        start = self._derived[key].upto(first)[-1] if first else 0.0
        self._derive(key, start + np.cumsum(np.where(np.isfinite(steps), steps, 0.0)), first)

    def _derive(self, key: str, values: Floats, first: int) -> None:
        self._derived.setdefault(key, Column()).put(first, values)

    def _rows(self, key: str, first: int) -> Floats:
        """A scalar's rows from `first` on, NaN where there are none."""
        column = self._scalars.get(key)
        return column.upto(self.rows)[first:] if column else np.full(self.rows - first, np.nan)

    def _take_scalars(self, key: str, values: list[Any], kinds: set[type]) -> None:
        if kinds <= NUMBERS:
            with contextlib.suppress(OverflowError):
                self._scalars.setdefault(key, Column()).put(self.rows, np.array(values, dtype=np.float64))
                return
        found = [number(value) for value in values]
        if any(value is not None for value in found):
            column = self._scalars.setdefault(key, Column())
            column.put(self.rows, np.array([np.nan if value is None else value for value in found]))

    def _take_vectors(self, key: str, values: list[Any]) -> None:
        if (rows := _even(values)) is not None:
            self._latest[key] = rows[-1].copy()
            self._vectors.setdefault(key, Column(rows.shape[1])).put(self.rows, rows[:, :WIDEST])
            return
        found = [vector(value) for value in values]
        known = [row for row in found if row is not None]
        if not known:
            return
        self._latest[key] = known[-1]
        rows = np.full((len(found), min(WIDEST, max(map(len, known)))), np.nan)
        for index, row in enumerate(found):
            if row is not None:
                rows[index, : len(row)] = row[: rows.shape[1]]
        self._vectors.setdefault(key, Column(rows.shape[1])).put(self.rows, rows)

    def scalars(self) -> dict[str, Floats]:
        """Views of all scalar columns, equally long."""
        return {key: column.upto(self.rows) for key, column in self._scalars.items()}

    def vectors(self) -> dict[str, NDArray[np.float32]]:
        """Views of all vector columns, (n, width) each."""
        return {key: column.upto(self.rows) for key, column in self._vectors.items()}

    def derived(self) -> dict[str, Floats]:
        """What follows from the metrics: `minutes` of training (pauses left out) and `FLOPs` up to each line; `used`, the
        utilisation in percent."""
        return {key: column.upto(self.rows) for key, column in self._derived.items()}

    def latest(self) -> dict[str, Floats]:
        """The newest vector of each key."""
        return dict(self._latest)
