"""What Compare tells besides its curves: final and best values, and the settings in which runs differ. Knows no widgets."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mythos_tui.runs.snapshot import Floats, RunSnapshot
from mythos_tui.screens.units import duration, short
from mythos_tui.widgets.axis import compact

HELD_OUT = {"held-out loss": "loss", "held-out bits/byte": "bits_per_byte"}
FIRST = ("loss", *HELD_OUT)
HIDDEN = ("step", "time", "tokens")
ALWAYS = ("loss", "held-out bits/byte", "tokens_per_s")
GREATER_IS_BETTER = ("tokens_per_s", "flops_per_s", "utilisation")


class Row(NamedTuple):
    """One line of the table: its section, what it tells, a text per run, and the index of the best one (-1: none)."""

    section: str
    label: str
    cells: list[str]
    best: int = -1


def metrics_of(snapshots: Sequence[RunSnapshot]) -> list[str]:
    """Every metric that some run has, the most telling first."""
    keys = dict.fromkeys(key for one in snapshots for key in one.scalars if key not in HIDDEN)
    held_out = [name for name in HELD_OUT if any(one.evaluations.step.size for one in snapshots)]
    return [*(["loss"] if "loss" in keys else []), *held_out, *(key for key in keys if key != "loss")]


def curve_of(snapshot: RunSnapshot, metric: str, axis: str) -> tuple[Floats, Floats]:
    """x and y of one run, views where that can be."""
    if metric not in HELD_OUT:
        y = snapshot.scalars.get(metric)
        return (snapshot.x(axis), y) if y is not None else (np.zeros(0), np.zeros(0))
    found = snapshot.evaluations
    y = found.bits_per_byte if HELD_OUT[metric] == "bits_per_byte" else found.loss
    if axis == "step" or not y.size:
        return found.step, y
    steps, x = snapshot.steps, snapshot.x(axis)
    known = np.isfinite(steps) & np.isfinite(x)
    return (np.interp(found.step, steps[known], x[known]) if known.any() else found.step), y


def direction(metric: str) -> int:
    """-1 where less is better, 1 where more is, 0 where neither can be said."""
    if "loss" in metric or metric in ("held-out bits/byte", "grad_norm"):
        return -1
    return 1 if metric in GREATER_IS_BETTER else 0


def _final_and_best(snapshot: RunSnapshot, metric: str) -> tuple[float, float, float]:
    """Last value, best value and the step of that; NaN where there are none."""
    x, y = curve_of(snapshot, metric, "step")
    known = np.flatnonzero(np.isfinite(y)) if y.size else np.zeros(0, int)
    if not known.size:
        return math.nan, math.nan, math.nan
    sign = direction(metric)
    at = known[np.argmax(y[known] * sign)] if sign else known[-1]
    return float(y[known[-1]]), float(y[at]), float(x[at])


def results(snapshots: Sequence[RunSnapshot], metric: str) -> list[Row]:
    """How far the runs came, and their values: of the chosen metric first, then of those that always count."""
    known = metrics_of(snapshots)
    rows = [
        Row("", "state", [one.summary.state for one in snapshots]),
        Row("", "step", [f"{one.summary.step} of {one.summary.steps}" for one in snapshots]),
        Row("", "tokens", [short(one.summary.tokens) for one in snapshots]),
        Row("", "training time", [duration(_last(one, "minutes") * 60) for one in snapshots]),
        Row("", "FLOPs", [short(_last(one, "FLOPs")) for one in snapshots]),
    ]
    for name in dict.fromkeys([metric, *ALWAYS]):
        if name in known:
            rows += _values(snapshots, name)
    return rows


def _values(snapshots: Sequence[RunSnapshot], metric: str) -> list[Row]:
    found = [_final_and_best(one, metric) for one in snapshots]
    sign = direction(metric)
    rows = [Row(metric, "final", [_text(last) for last, _, _ in found], _best([last for last, _, _ in found], sign))]
    if sign:
        cells = [f"{_text(best)} @{step:.0f}" if math.isfinite(best) else "–" for _, best, step in found]
        rows.append(Row(metric, "best", cells, _best([best for _, best, _ in found], sign)))
    return rows


def _text(value: float) -> str:
    return compact(value, 5) if math.isfinite(value) else "–" if math.isnan(value) else str(value)


def _best(values: Sequence[float], sign: int) -> int:
    """Index of the best value; -1 where there are not two to choose from, or all are equal."""
    known = [index for index, value in enumerate(values) if math.isfinite(value)]
    if not sign or len(known) < 2 or len({values[index] for index in known}) == 1:
        return -1
    return max(known, key=lambda index: values[index] * sign)


def _last(snapshot: RunSnapshot, key: str) -> float:
    values = snapshot.derived.get(key)
    return float(values[-1]) if values is not None and values.size else math.nan


def settings(snapshots: Sequence[RunSnapshot], everything: bool = False) -> list[Row]:
    """Settings by key, those alone in which the runs differ, or all of them."""
    keys = dict.fromkeys(key for one in snapshots for key in one.settings)
    rows = []
    for key in keys:
        values = [one.settings.get(key, "–") for one in snapshots]
        if everything or any(value != values[0] for value in values):
            rows.append(Row("settings", key, [_setting(value) for value in values]))
    return rows


def _setting(value: Any) -> str:
    if value is None or value == "":
        return "none" if value is None else "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def save(folder: Path, stamp: str, snapshots: Sequence[RunSnapshot], metric: str, rows: Sequence[Row]) -> list[Path]:
    """Two CSV files: the curves, a line per point, and the table as shown. Raises OSError."""
    curves, table = folder / f"mythos-compare-{stamp}-curves.csv", folder / f"mythos-compare-{stamp}-table.csv"
    with open(curves, "x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "step", "tokens", "minutes", "FLOPs", metric])
        for one in snapshots:
            axes = [curve_of(one, metric, axis)[0] for axis in ("step", "tokens", "minutes", "FLOPs")]
            for point in zip(*axes, curve_of(one, metric, "step")[1], strict=True):
                writer.writerow([one.summary.name, *(repr(float(value)) for value in point)])
    with open(table, "x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["section", "what", *(one.summary.name for one in snapshots)])
        writer.writerows([row.section, row.label, *row.cells] for row in rows)
    return [curves, table]
