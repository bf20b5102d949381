"""How fast this machine trains: its matmul peak, and the share of it that runs here have used. Loads no torch.

The peak is measured by a worker at its start (event `device`) or by `mythos machine`; the share is the `utilisation` of a
run's latest lines. Together with the FLOPs of a token they tell tokens per second before a run is started.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mythos.contract.budget import BYTES, flops_training
from mythos.contract.config import Config
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import JsonTail, read_json

ASSUMED_UTILISATION = 0.2
"""Share of the peak that a small model reaches on a CPU where no run of this machine says better (docs/LOG.md: 20 to 28%)."""

NEWEST, TAIL_BYTES, LINES = 20, 65_536, 20


@dataclass(frozen=True)
class Machine:
    """`peak_flops` in FLOP/s, `utilisation` as a share of it; `run` is where the share comes from, "" where it is assumed.

    `memory_bytes` is what a training may take there; None where that is not known.
    """

    device: str
    precision: str
    threads: int
    peak_flops: float
    utilisation: float = ASSUMED_UTILISATION
    run: str = ""
    memory_bytes: int | None = None

    def precision_of(self, config: Config) -> str:
        """The arithmetic that a training takes here."""
        return self.precision if config.train.precision == "auto" else config.train.precision

    def tokens_per_s(self, config: Config) -> float:
        """Expected tokens/s of a training, checkpoints and evaluations left out."""
        return self.utilisation * self.peak_flops / flops_training(config)

    def seconds(self, config: Config) -> float:
        """Expected seconds of the whole training, at most `train.max_minutes`."""
        train = config.train
        needed = train.length * train.batch_size * train.sequence / self.tokens_per_s(config)
        return min(needed, 60 * train.max_minutes or needed)


def known_machine(runs: Path, family: str) -> Machine | None:
    """This machine as its newest run knows it, one of the same model family before others; None without any."""
    found = None
    for paths in _newest(runs):
        machine = _of_run(paths)
        if machine and (read_json(paths.status) or {}).get("family") == family:
            return machine
        found = found or machine
    return found


def _newest(runs: Path) -> Iterator[RunPaths]:
    try:
        folders = [folder for folder in runs.iterdir() if (folder / "run.json").is_file()]
        folders.sort(key=lambda folder: (folder / "run.json").stat().st_mtime, reverse=True)
    except OSError:
        return
    yield from map(RunPaths, folders[:NEWEST])


def _of_run(paths: RunPaths) -> Machine | None:
    """What a run measured, if it ran here and got as far as a line of metrics."""
    if (read_json(paths.identity) or {}).get("host") != socket.gethostname():
        return None
    devices = [event for event in JsonTail(paths.events).read_objects() if event.get("kind") == "device"]
    lines = JsonTail(paths.metrics, TAIL_BYTES).read_objects()[-LINES:]
    shares = [_number(line.get("utilisation")) for line in lines]
    known = [share for share in shares if share > 0]
    device = devices[-1] if devices else {}
    peak, precision = _number(device.get("matmul_peak_flops")), str(device.get("precision"))
    if not known or not peak or precision not in BYTES:
        return None
    threads, memory = int(_number(device.get("threads"))) or 1, int(_number(device.get("memory_bytes"))) or None
    return Machine(str(device.get("device")), precision, threads, peak, median(known), paths.name, memory)


def _number(value: Any) -> float:
    """A finite number that is not negative, else 0: anybody may write into a folder of runs."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else 0.0
