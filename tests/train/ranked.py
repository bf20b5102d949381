"""One of several processes of a test: runs every case of a JSON file, and writes as rank 0 what came of it.

python -m tests.train.ranked CASES.json RESULTS.json CORPUS     (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT are set)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from mythos.contract.load import parse_config
from mythos.data.shards import Corpus
from mythos.models.recurrent import moe_layers
from mythos.train.device import Device
from mythos.train.loop import Trainer
from mythos.train.ranks import RankLost, Ranks, redirect_output, together

CPU = Device("cpu", "fp32", 1, 1e9)


def build(corpus: Path, overrides: list[str], ranks: Ranks | None = None) -> Trainer:
    return Trainer(parse_config({}, overrides), Corpus(corpus).split("train"), CPU, ranks or Ranks())


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


def hand_over(old: Trainer, new: Trainer, ranks: Ranks) -> Trainer:
    """As through a checkpoint that rank 0 writes and all read: whole weights and whole state, whoever trains next."""
    whole = old.whole_model()  # on every rank, though only the first is given it
    weights = (whole if ranks.first else new.model).state_dict()
    weights = {name: weights[name].clone() for name in new.model.state_dict()}
    tensors, plain = old.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    for tensor in (*weights.values(), *tensors.values()):
        torch.distributed.broadcast(tensor, 0)
    new.model.load_state_dict(weights)
    new.rebind()
    new.restore(tensors, plain)
    return new


def travel(corpus: Path, ranks: Ranks, overrides: list[str]) -> dict[str, Any]:
    """Three steps on all ranks, three on each rank alone, three on all again."""
    first, alone, last = (build(corpus, overrides, who) for who in (ranks, Ranks(), ranks))
    losses = steps(first, 3)["loss"]
    losses += steps(hand_over(first, alone, ranks), 3)["loss"]
    return {"loss": losses + steps(hand_over(alone, last, ranks), 3)["loss"]}


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
    tensors = [*(model.state_dict().values() if trainer.ranks.first and model else ()), *state.values()]
    return [tensor.flatten().tolist() for tensor in tensors]


def main(cases: Path, results: Path, corpus: Path) -> None:
    torch.set_num_threads(1)
    ranks, found = Ranks.of_this_process(), {}
    ranks.connect("cpu")
    for name, case in json.loads(cases.read_text()).items():
        if case["kind"] == "steps":
            found[name] = steps(build(corpus, case["overrides"], ranks), case["steps"])
        elif case["kind"] == "travel":
            found[name] = travel(corpus, ranks, case["overrides"])
        elif case["kind"] == "leave out":
            found[name] = leave_out(corpus, ranks, case["overrides"])
        else:
            found[name] = lose(corpus, ranks, case["overrides"], results.parent)
    if ranks.first:
        results.write_text(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
