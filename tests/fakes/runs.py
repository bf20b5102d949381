"""Run directories as a worker would leave them, written with the contract's own writers, held by this process."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from mythos.contract.checkpoints import new_checkpoint
from mythos.contract.config import Config, DenseConfig, RecurrentConfig
from mythos.contract.liveness import process_identity
from mythos.contract.rundir import LineWriter, acquire_lock, create_run, write_json


def metrics_line(step: int, family: str = "recurrent", **changes: Any) -> dict[str, Any]:
    """One plausible line of metrics.jsonl."""
    loss = 2.0 + 6.0 * math.exp(-step / 300) + 0.15 * math.sin(step * 1.7)
    line: dict[str, Any] = {
        "step": step,
        "time": 1_700_000_000.0 + step * 0.3,
        "tokens": step * 4096,
        "loss": loss,
        "loss_parts": {"cross_entropy": loss},
        "lr": 3e-3 * min(1, step / 100),
        "muon_lr": 0.02 * min(1, step / 100),
        "grad_norm": 1.5 + 8 * math.exp(-step / 90) + 0.3 * math.cos(step),
        "tokens_per_s": 12_300 + 400 * math.sin(step / 20),
        "flops_per_s": 4e10,
        "utilisation": 0.31,
    }
    if family == "recurrent":
        raw = [1 + 0.5 * math.sin(expert * 2 + step / 50) for expert in range(8)]
        line |= {
            "ponder": 4 + 0.8 * math.sin(step / 70),
            "loops_histogram": [300, 900, 1500, 900, 300, 120, 50, 26],
            "expert_load": [value / sum(raw) for value in raw],
            "router_entropy": 2.05 - 0.3 * (1 - math.exp(-step / 400)),
            "rho_a": 0.5 + 0.2 * (1 - math.exp(-step / 200)),
            "state_norm": [1.0 + 0.2 * loop for loop in range(8)],
        }
    return line | changes


class FakeRun:
    """A run directory that this process plays the worker of. `close` lets the lock go, as the kernel does for the dead."""

    def __init__(
        self, runs: Path, name: str = "demo", family: str = "recurrent", steps: int = 2000, locked: bool = True
    ) -> None:
        model = RecurrentConfig() if family == "recurrent" else DenseConfig()
        self.family, self.steps = family, steps
        self.paths = create_run(runs, name, Config(model=model), ["mythos", "train"])
        self._lock: int | None = acquire_lock(self.paths) if locked else None
        self._metrics, self._events = LineWriter(self.paths.metrics), LineWriter(self.paths.events)

    def status(self, state: str, step: int = 0, **changes: Any) -> None:
        """Write status.json."""
        status: dict[str, Any] = {
            "state": state,
            "updated": time.time(),
            "expect_next_in_s": 60.0,
            "step": step,
            "steps": self.steps,
            "tokens": step * 4096,
            "eta_s": (self.steps - step) * 0.3 if state == "running" else None,
            "loss": None,
            "family": self.family,
            "message": "",
            "progress": None,
            "last_checkpoint": None,
            "error": None,
            **process_identity(),
        }
        write_json(self.paths.status, status | changes)

    def metrics(self, *steps: int, **changes: Any) -> None:
        """Append lines of metrics."""
        for step in steps:
            self._metrics.write(metrics_line(step, self.family, **changes))

    def event(self, kind: str, **values: Any) -> None:
        """Append an event."""
        self._events.write({"time": time.time(), "kind": kind, **values})

    def log(self, text: str) -> None:
        """Append to output.log, as bytes come."""
        with open(self.paths.log, "a", encoding="utf-8", newline="") as file:
            file.write(text)

    def checkpoint(self, step: int, resumable: bool = False) -> Path:
        """A checkpoint that readers accept; with `resumable` one that says it can be gone on from."""
        target = self.paths.checkpoints / f"step-{step:08d}"
        facts = {
            "step": step,
            "tokens": step * 4096,
            "family": self.family,
            "parameters": 1,
            "metrics": {},
            "saved": time.time(),
        }
        with new_checkpoint(target, facts) as folder:
            for name in ("model.safetensors", "config.yaml", "tokenizer.json"):
                (folder / name).write_text("{}", encoding="utf-8")
            if resumable:
                (folder / "state").mkdir()
                (folder / "state" / "trainer.json").write_text("{}", encoding="utf-8")
        return target

    def close(self) -> None:
        """The worker is gone: its lock with it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
