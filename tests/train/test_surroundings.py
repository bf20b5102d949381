"""What is kept around an alert: the right metrics, the right text, never too much, and the same after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mythos.contract.rundir import RunPaths
from mythos.data.loader import Loader
from mythos.train.surroundings import BEFORE, FILES, STEPS, Surroundings
from tests.train.test_objective import cyclic_corpus

ROWS = 4


def alert(step: int) -> dict[str, Any]:
    return {"step": step, "alert": "loss_spike"}


def kept(paths: RunPaths, step: int) -> dict[str, Any]:
    return dict(json.loads((paths.alerts / f"step-{step:08d}-loss_spike.json").read_text()))


def test_lines_that_come_late_are_of_their_own_text(tmp_path: Path) -> None:
    """Records of two steps each, worked out when the loader is further on; the same where a run resumes in between."""
    split = cyclic_corpus(tmp_path / "corpus").split("train")
    truth = Loader(split, 16, ROWS, seed=1)
    begins = [truth.starts(step * ROWS, ROWS) for step in range(80)]
    loader, paths = Loader(split, 16, ROWS, seed=1), RunPaths(tmp_path)
    around = Surroundings(paths, loader, step=0)
    for step in range(1, 71):
        loader.next()
        if step == 60:
            state = json.loads(json.dumps(around.state()))
            around = Surroundings(paths, loader, step)
            around.restore(state)
            around.step = 56
        if step % 2 == 0 and step > 4:
            around.add({"step": step - 4, "skipped": {"loss_spike": [[5, 9.0]]} if step == 54 else {}})
            if step == 54:
                around.keep(alert(50))
                assert len(kept(paths, 50)["records"]) == BEFORE + 1
    content = kept(paths, 50)
    assert [line["step"] for line in content["records"]] == [*range(10, 62, 2)][: BEFORE + 6]
    assert [batch["step"] for batch in content["batches"]] == [*range(51 - STEPS, 51)]
    for batch in content["batches"]:
        assert [row[0] for row in batch["rows"]] == begins[batch["step"] - 1]
    assert around.newest == 70


def test_old_files_go(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    around = Surroundings(paths, Loader(cyclic_corpus(tmp_path / "corpus").split("train"), 16, ROWS, seed=1), step=0)
    for step in range(1, FILES + 4):
        around.add({"step": step})
        around.keep(alert(step))
    assert len([*paths.alerts.iterdir()]) == FILES and kept(paths, FILES + 3)
