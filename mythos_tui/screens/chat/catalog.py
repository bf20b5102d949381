"""Which checkpoints there are, and how a person reads their facts. Reads directories: call it off the event loop."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from mythos.contract.checkpoints import CheckpointInfo, describe, list_checkpoints
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import list_runs
from mythos_tui.settings import Context


def all_checkpoints(context: Context) -> list[CheckpointInfo]:
    """Those of each run, newest run and latest step first, then the shipped ones, then those of imported folders."""
    found = []
    for run in list_runs(context.runs):
        found += list_checkpoints(RunPaths(run.root).checkpoints)
    found += sorted(
        list_checkpoints(context.checkpoints), key=lambda info: (info.path.name != "quickstart", info.path.name)
    )
    for folder in context.imported:
        itself = describe(folder)
        found += [itself] if itself else sorted(list_checkpoints(folder), key=lambda info: info.path.name)
    return list({info.path.absolute(): info for info in found}.values())


def origin(path: Path, context: Context) -> str:
    """Where a checkpoint comes from, in a word."""
    places = (("run", context.runs), ("shipped", context.checkpoints))
    return next((word for word, folder in places if path.absolute().is_relative_to(folder.absolute())), "imported")


def about(path: Path) -> CheckpointInfo | None:
    """The facts of one checkpoint, or of the latest one of a run; None where there is none."""
    if (path / "run.json").is_file():
        whole = list_checkpoints(RunPaths(path).checkpoints)
        return whole[0] if whole else None
    return describe(path)


def count(number: int) -> str:
    """1234567 → "1.2M"."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def size(number: int) -> str:
    """Bytes in MB, as file managers count them."""
    return f"{number / 1e6:.1f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"


def age(saved: float, now: float | None = None) -> str:
    """How long ago, in its largest unit; a dash where that is not known."""
    if saved <= 0:
        return "—"
    seconds = max(0.0, (time.time() if now is None else now) - saved)
    for span, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= span:
            return f"{int(seconds // span)} {unit}"
    return "now" if seconds < 10 else f"{int(seconds)} s"


def bits_per_byte(info: CheckpointInfo) -> str:
    """The checkpoint's own held-out measure, or a dash."""
    value: Any = info.metrics.get("bits_per_byte")
    return f"{value:.3f}" if isinstance(value, int | float) and math.isfinite(value) else "—"


def sentence(info: CheckpointInfo) -> str:
    """The facts of one checkpoint on one line."""
    quality = "" if bits_per_byte(info) == "—" else f" · {bits_per_byte(info)} bits/byte"
    return f"{info.title} · {info.family} · {count(info.parameters)} parameters · step {info.step:,}{quality}"
