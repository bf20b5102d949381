"""One of several processes of a test: runs every case of a JSON file, and writes as rank 0 what came of it.

python -m tests.train.ranked CASES.json RESULTS.json CORPUS     (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT are set)
"""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint import HuggingFaceStorageWriter

from mythos.contract.checkpoints import read_manifest
from mythos.contract.errors import CheckpointError
from mythos.contract.load import parse_config
from mythos.contract.rundir import RunPaths
from mythos.data.answers import IGNORED
from mythos.data.shards import Corpus
from mythos.models.recurrent import moe_layers
from mythos.train.checkpoint import restore, take, write
from mythos.train.device import Device
from mythos.train.distributed import whole
from mythos.train.loop import Trainer
from mythos.train.ranks import RankLost, Ranks, redirect_output, together

CPU = Device("cpu", "fp32", 1, 1e9)


class Few:
    """Stands for `Answers`: what is asked for differs from row to row, and is nothing at all in most of them."""

    def ask(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return inputs, np.where(inputs <= inputs[:, :1] - 5, targets, IGNORED)


def build(corpus: Path, overrides: list[str], ranks: Ranks | None = None) -> Trainer:
    config = parse_config({}, overrides)
    trainer = Trainer(config, Corpus(corpus).split("train"), CPU, ranks or Ranks())
    if config.data.answers_only:
        trainer.loader.answers = Few()  # type: ignore[assignment]
    return trainer


def steps(trainer: Trainer, count: int) -> dict[str, Any]:
    """What `count` steps say of themselves."""
    results = [trainer.step() for _ in range(count)]
    layers = moe_layers(trainer.model)
    return {
        "loss": [float(result.loss) for result in results],
        "norm": [float(result.grad_norm) for result in results],
        "loops": [result.telemetry.loops.tolist() for result in results],
        "tokens": results[-1].tokens,
        "flops": results[-1].flops,
        "state_norm": results[-1].telemetry.state_norm,
        "load": [None if (load := r.telemetry.expert_load) is None else load.tolist() for r in results],
        "bias": layers[0].router_bias.tolist() if layers else None,
    }


def saved(old: Trainer, ranks: Ranks, folder: Path) -> Path:
    """The checkpoint of a trainer of all ranks, or of one alone that the first rank has."""
    paths = RunPaths(folder)
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    if ranks.first:
        write(paths, take(old, {}), tokenizer=Path(__file__))
    elif old.ranks.world > 1:
        old.whole_model()
        if old.config.train.parallel == "fsdp":
            old.hold().follow()
    torch.distributed.barrier()
    return paths.checkpoints / f"step-{old.steps_done:08d}"


def gone_on(checkpoint: Path, new: Trainer) -> Trainer:
    restore(checkpoint, new)
    return new


def travel(corpus: Path, ranks: Ranks, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Three steps on all ranks, three on each rank alone, three on all again, by checkpoints."""
    first, alone, last = (build(corpus, overrides, who) for who in (ranks, Ranks(), ranks))
    losses = steps(first, 3)["loss"]
    checkpoint = saved(first, ranks, folder)
    again = gone_on(checkpoint, build(corpus, overrides, ranks))
    same = [bits(first) == bits(again), torch.equal(first.state()[0]["rng.cpu"], again.state()[0]["rng.cpu"])]
    losses += steps(gone_on(checkpoint, alone), 3)["loss"]
    losses += steps(gone_on(saved(alone, ranks, folder), last), 3)["loss"]
    files = {path.name: len([*path.glob("state/pieces/*")]) for path in (folder / "checkpoints").glob("step-*")}
    return {"loss": losses, "same": same, "pieces": files}


def refuse(corpus: Path, ranks: Ranks, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Rank 1 cannot write; what rank 0 says then, what is left, and whether the next save is whole again."""
    trainer = build(corpus, overrides, ranks)
    trainer.step()
    real, said = HuggingFaceStorageWriter.write_data, ""

    def full(*arguments: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    if not ranks.first:
        HuggingFaceStorageWriter.write_data = full
    try:
        saved(trainer, ranks, folder)
    except CheckpointError as error:
        said = str(error)
        torch.distributed.barrier()
    HuggingFaceStorageWriter.write_data = real
    left = [path.name for path in (folder / "checkpoints").iterdir()]
    torch.distributed.barrier()
    return {"said": said, "left": left, "then": len(read_manifest(saved(trainer, ranks, folder), True)["files"])}


def lose(corpus: Path, ranks: Ranks, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Rank 1 fails after a step; returns what rank 0 says then."""
    redirect_output(folder, ranks)
    trainer = build(corpus, overrides, ranks)
    trainer.step()
    if not ranks.first:
        raise ValueError("a bad batch")
    try:
        with together(folder, ranks):
            trainer.step()
    except RankLost as error:
        return {"said": str(error), "dismissed": ranks.dismiss()}
    return {}


def leave_out(corpus: Path, ranks: Ranks, overrides: list[str]) -> dict[str, Any]:
    """Two steps, one that must look like a spike, one more: whether every rank left out the third and nothing moved."""
    trainer = build(corpus, overrides, ranks)
    first = trainer.step()
    trainer.step()
    for kind in [*trainer.brake.past]:
        trainer.brake.past[kind] = torch.full_like(trainer.brake.past[kind], -20.0)
    before = bits(trainer)
    skipped = trainer.step().skipped
    assert first.skipped is not None and skipped is not None
    same = torch.tensor([bits(trainer) == before, not bool(first.skipped.any()), *skipped.tolist()]).int()
    return {"same, first not, nan, loss, gradient": ranks.sum(same).tolist(), "loss": float(trainer.step().loss)}


def bits(trainer: Trainer) -> list[Any]:
    """All weights and the optimizers' state, as they are to the last bit."""
    model, state = trainer.whole_model(), trainer.optimizer.state()
    tensors = [*(model.state_dict().values() if trainer.ranks.first and model else ())]
    tensors += [whole(state[name]) for name in sorted(state)]
    return [tensor.flatten().tolist() for tensor in tensors]


def main(cases: Path, results: Path, corpus: Path) -> None:
    torch.set_num_threads(1)
    ranks, found = Ranks.of_this_process(), {}
    ranks.connect("cpu")
    for name, case in json.loads(cases.read_text()).items():
        if case["kind"] == "steps":
            found[name] = steps(build(corpus, case["overrides"], ranks), case["steps"])
        elif case["kind"] == "travel":
            found[name] = travel(corpus, ranks, case["overrides"], results.parent / name)
        elif case["kind"] == "refuse":
            found[name] = refuse(corpus, ranks, case["overrides"], results.parent / name)
        elif case["kind"] == "leave out":
            found[name] = leave_out(corpus, ranks, case["overrides"])
        else:
            found[name] = lose(corpus, ranks, case["overrides"], results.parent)
    if ranks.first:
        results.write_text(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
