"""Rows of a study → what they say: means with 95% intervals over seeds, and whether each aim is met."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Mean, and half of its 95% interval by Student's t; NaN for the half of a single value. NaN values make NaN."""
    from scipy.stats import t

    found = np.array(list(values), dtype=float)
    if len(found) < 2:
        return float(found.mean()), math.nan
    return float(found.mean()), float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))


def groups(rows: Sequence[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Rows with the same values of some keys together, in order of appearance."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def told(values: Iterable[float], percent: bool = False) -> str:
    """`0.912 ± 0.014`, or in per cent; of the known ones where some are NaN, `0.912 ± 0.014 (4 of 5)`, or `–`."""
    found = [*values]
    known = [value for value in found if not math.isnan(value)]
    if not known:
        return "–"
    mean, half = interval(known)
    scale, digits = (100, 1) if percent else (1, 3)
    around = "" if math.isnan(half) else f" ± {scale * half:.{digits}f}"
    share = f" ({len(known)} of {len(found)})" if len(known) < len(found) else ""
    return f"{scale * mean:.{digits}f}{around}{share}"


def halting_holds(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, int, int]]:
    """(task, rule, seeds that reach 0.99 in range, seeds that meet the three aims of halting) of every pair."""
    found = []
    for (task, rule), each in groups(rows, "task", "rule").items():
        accurate = sum(row["full_accuracy"] >= 0.99 for row in each)
        kept = [r["accuracy"] >= r["full_accuracy"] - 0.005 and r["executed"] <= 0.4 for r in each]
        follows = [row["correlation"] >= 0.85 for row in each]
        found.append((task, rule, accurate, sum(map(all, zip(kept, follows, strict=True)))))
    return found
