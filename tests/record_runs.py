"""Trains the two small runs that the pictures of the screens show, and puts them beside the tests.

    python tests/record_runs.py

Minutes. What tells of the machine (paths, host, process numbers) is taken out; weights are not kept.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from mythos.contract.liveness import is_locked
from mythos.contract.load import load_config
from mythos.train.launch import start

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "tests" / "mythos_tui" / "recorded" / "runs"
SHARED = ["train.steps=160", "train.log_every=4", "train.eval_every=40", "train.threads=2"]
RUNS = {"steady": ["train.lr=0.002"], "eager": ["train.lr=0.01", "objective.supervised_depths=3"]}


def main() -> None:
    for name, changes in RUNS.items():
        shutil.rmtree(TARGET / name, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            config = load_config(ROOT / "configs/model/recurrent/debug.yaml", [*SHARED, *changes])
            paths = start(
                config, Path(folder) / "runs", name, ["mythos", "train", "configs/model/recurrent/debug.yaml"]
            )
            while is_locked(paths) or not paths.metrics.exists():
                time.sleep(1)
            keep(paths.root, TARGET / name)


def keep(run: Path, target: Path) -> None:
    """Copy what readers read, without what tells of this machine."""
    target.mkdir(parents=True)
    for path in sorted(run.iterdir()):
        if path.suffix in (".yaml", ".json", ".jsonl", ".log"):
            text = path.read_text(encoding="utf-8").replace(f"{run.parent.parent}/", "").replace(str(ROOT), ".")
            if path.name == "events.jsonl":  # how the corpus came about is told hundreds of times
                text = "".join(line for line in text.splitlines(True) if '"kind": "progress"' not in line)
            if path.suffix == ".json":
                text = json.dumps(neutral(json.loads(text)), indent=1) + "\n"
            (target / path.name).write_text(text, encoding="utf-8")


def neutral(value: Any) -> Any:
    """Names and numbers of a machine, made anybody's."""
    anybody = {"host": "here", "pid": 1, "boot_id": "", "pid_start": 1.0, "user": "me", "cwd": "."}
    if isinstance(value, dict):
        return {key: anybody[key] if key in anybody else neutral(one) for key, one in value.items()}
    return value


if __name__ == "__main__":
    main()
