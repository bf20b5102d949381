"""A scaling study at the size of a CPU: dense models × token counts on the standard library's source.

    python benchmarks/_scaling_study.py train [--runs DIR]
    python benchmarks/_scaling_study.py points [--runs DIR]
    mythos scaling fit docs/data/scaling-points.csv

`train` goes through `mythos train`, one run after the other, on one thread, and passes over runs that have finished. Every
run has a cosine of its own length. Heads are 32 wide, the feed-forward network is 8/3 of the width. `points` writes what
has finished to docs/data/scaling-points.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from mythos.contract.rundir import write_atomic

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "study" / "scaling.yaml"
POINTS = ROOT / "docs" / "data" / "scaling-points.csv"
SIZES = ((64, 2), (96, 3), (128, 4), (192, 5), (224, 6))
"""Width and layers."""
TOKENS = tuple(2**power for power in (18, 19, 20, 21, 22))
TOKENS_PER_STEP = 8 * 128
TOO_LONG = ((192, 2**22), (224, 2**22))
"""Width and tokens that are left out: they would take as long as all others."""
SEEDS = ((128, 4, 2**19, 1), (128, 4, 2**19, 2))
"""Width, layers, tokens, seed of runs that tell how far chance moves a loss."""


def plan() -> list[tuple[str, list[str]]]:
    """(name, overrides) of every run, cheap ones first."""
    pairs = [(*size, tokens) for size in SIZES for tokens in TOKENS if (size[0], tokens) not in TOO_LONG]
    runs = [
        (f"w{width}-t{tokens}", overrides(width, layers, tokens)) for width, layers, tokens in sorted(pairs, key=cost)
    ]
    for width, layers, tokens, seed in SEEDS:
        runs.insert(0, (f"w{width}-t{tokens}-s{seed}", [*overrides(width, layers, tokens), f"train.seed={seed}"]))
    return runs


def cost(run: tuple[int, int, int]) -> int:
    """Grows as the FLOPs of a run of (width, layers, tokens)."""
    width, layers, tokens = run
    return width**2 * layers * tokens


def overrides(width: int, layers: int, tokens: int) -> list[str]:
    """What a run sets on top of the base."""
    steps, heads = tokens // TOKENS_PER_STEP, width // 32
    model = {"width": width, "n_layers": layers, "n_heads": heads, "n_kv_heads": heads, "ffn_width": ffn_width(width)}
    train = {"steps": steps, "warmup_steps": steps // 10}
    return [*(f"train.{k}={v}" for k, v in train.items()), *(f"model.{k}={v}" for k, v in model.items())]


def ffn_width(width: int) -> int:
    """8/3 of the width, rounded up to 16."""
    return -(-8 * width // 48) * 16


def is_finished(run: Path) -> bool:
    try:
        return json.loads((run / "status.json").read_text())["state"] == "finished"
    except (OSError, ValueError, KeyError):
        return False


def train(runs: Path) -> None:
    """Train what has not finished. Stops at the first run that fails."""
    for name, settings in plan():
        if is_finished(runs / name):
            continue
        command = [sys.executable, "-m", "mythos", "train", str(CONFIG), "--runs", str(runs), "--run", name]
        command += [part for setting in settings for part in ("--set", setting)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def write_points(runs: Path) -> None:
    """A table of the finished runs of the plan, in its order."""
    from mythos.scaling.points import gather

    points = gather([name for name, _ in plan() if is_finished(runs / name)], runs).points
    if not points:
        raise SystemExit(f"No run of the study has finished in {runs}.")
    POINTS.parent.mkdir(exist_ok=True)
    lines = [f"{p.name},{p.n:.0f},{p.d:.0f},{p.loss:.6f}" for p in sorted(points, key=lambda p: (p.d, p.n, p.name))]
    write_atomic(POINTS, "\n".join(["name,N,D,loss", *lines]) + "\n")
    print(f"{len(lines)} points in {POINTS}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "points"))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "study")
    options = parser.parse_args()
    train(options.runs) if options.what == "train" else write_points(options.runs)


if __name__ == "__main__":
    main()
