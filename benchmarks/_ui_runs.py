"""Run directories for the workbench's benchmarks, written through the contract as a worker writes them."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

from mythos.contract.config import Config, RecurrentConfig
from mythos.contract.liveness import process_identity
from mythos.contract.rundir import LineWriter, RunPaths, acquire_lock, create_run, write_json


def metrics_line(step: int) -> dict[str, Any]:
    """A line as long as that of a recurrent model with eight experts, its values noisy as training is."""
    noise = random.Random(step)
    loss = 2.0 + 6.0 * math.exp(-step / 3000) + noise.gauss(0, 0.15)
    load = [1 + 0.5 * math.sin(expert * 2 + step / 5000) + noise.gauss(0, 0.05) for expert in range(8)]
    return {
        "step": step,
        "time": 1_760_000_000.0 + step * 0.3,
        "tokens": step * 4096,
        "loss": loss,
        "loss_parts": {"cross_entropy": loss, "balance": abs(noise.gauss(0.01, 0.002))},
        "lr": 3e-3 * min(1.0, step / 100),
        "muon_lr": 0.02 * min(1.0, step / 100),
        "grad_norm": 0.5 + 8 * math.exp(-step / 900) + abs(noise.gauss(0, 0.3)),
        "tokens_per_s": 12_300 + noise.gauss(0, 400),
        "flops_per_s": 4e10 + noise.gauss(0, 1e9),
        "utilisation": 0.31 + noise.gauss(0, 0.01),
        "ponder": 4 + 0.8 * math.sin(step / 7000) + noise.gauss(0, 0.1),
        "loops_histogram": [noise.randrange(100, 1500) for _ in range(8)],
        "expert_load": [value / sum(load) for value in load],
        "router_entropy": 1.9 + noise.gauss(0, 0.02),
        "rho_a": 0.5 + 0.2 * (1 - math.exp(-step / 2000)),
        "state_norm": [1.0 + 0.2 * loop + noise.gauss(0, 0.01) for loop in range(8)],
    }


class BenchRun:
    """A run whose worker this process plays; it lives until `close`."""

    def __init__(self, runs: Path, name: str, lines: int = 0, live: bool = True) -> None:
        self.paths: RunPaths = create_run(runs, name, Config(model=RecurrentConfig()), ["mythos", "train"])
        self._lock = acquire_lock(self.paths) if live else None
        self.step = 0
        self._fill(lines)
        self._writer = LineWriter(self.paths.metrics)
        self.status("running" if live else "finished")

    def _fill(self, lines: int) -> None:
        """A long history at once; each line as LineWriter writes it."""
        with open(self.paths.metrics, "w", encoding="utf-8") as file:
            for self.step in range(1, lines + 1):
                file.write(json.dumps(metrics_line(self.step)) + "\n")

    def status(self, state: str) -> None:
        facts = {
            "state": state,
            "updated": time.time(),
            "expect_next_in_s": 600.0,
            "step": self.step,
            "steps": 10_000_000,
        }
        facts |= {"tokens": self.step * 4096, "eta_s": 3600.0, "loss": 2.0, "family": "recurrent", "message": ""}
        facts |= {"progress": None, "last_checkpoint": None, "error": None, **process_identity()}
        write_json(self.paths.status, facts)

    def append(self) -> None:
        """One more logged step."""
        self.step += 1
        self._writer.write(metrics_line(self.step))

    def close(self) -> None:
        """The worker is gone."""
        self._writer.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
