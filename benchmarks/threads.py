"""How waiting OpenMP threads should behave: a training step alone, and beside a second training, under three settings.

    python benchmarks/threads.py [--steps N] [--json]

Every cell is a fresh process that trains the quickstart's model on random tokens; the settings take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "sleep at once": {"OMP_WAIT_POLICY": "passive"},
    "spin briefly": {"GOMP_SPINCOUNT": "1000"},
}

STEP = """
import sys, time, torch
from mythos.contract.load import load_config
from mythos.models.build import build_model
from mythos.train.objectives import compute_loss
from mythos.train.optim import Optimizer
from mythos.train.schedule import Plan
config = load_config("configs/quickstart.yaml")
torch.manual_seed(0)
model = build_model(config.model)
optimizer = Optimizer(model, config.train, dtype=torch.bfloat16)
ids = torch.randint(0, config.model.vocab_size, (config.train.batch_size, config.train.sequence + 1))
times = []
for step in range(int(sys.argv[1]) + 2):
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = compute_loss(model, ids[:, :-1], ids[:, 1:], config, Plan(4, (2, 4), 4), step)
    loss.total.backward()
    optimizer.step()
    times.append(time.perf_counter() - start)
print(sorted(times[2:])[len(times[2:]) // 2])
"""


def step_seconds(setting: dict[str, str], steps: int, beside_another: bool) -> float:
    """Median seconds of a training step in a process of its own."""
    environ = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-c", STEP]
    other = subprocess.Popen([*command, "1000000"], cwd=ROOT, env=environ | setting) if beside_another else None
    try:
        time.sleep(5 if other else 0)
        result = subprocess.run(
            [*command, str(steps)], cwd=ROOT, env=environ | setting, capture_output=True, text=True, check=True
        )
        return float(result.stdout)
    finally:
        if other:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7, help="steps per process; the median counts")
    parser.add_argument("--rounds", type=int, default=3, help="processes per cell; the median counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    seconds: dict[str, dict[str, list[float]]] = {name: {"alone": [], "busy": []} for name in SETTINGS}
    for _ in range(options.rounds):
        for name, setting in SETTINGS.items():
            seconds[name]["alone"].append(step_seconds(setting, options.steps, False))
            seconds[name]["busy"].append(step_seconds(setting, options.steps, True))
    medians = {
        name: {case: statistics.median(values) for case, values in cells.items()} for name, cells in seconds.items()
    }
    if options.json:
        print(json.dumps(medians))
        return
    base = medians["default"]
    print(f"{'waiting threads':<16} {'alone s/step':>12} {'ratio':>6} {'beside another s/step':>21} {'ratio':>6}")
    for name, cells in medians.items():
        alone, busy = cells["alone"], cells["busy"]
        print(f"{name:<16} {alone:>12.3f} {alone / base['alone']:>6.2f} {busy:>21.3f} {busy / base['busy']:>6.2f}")


if __name__ == "__main__":
    main()
