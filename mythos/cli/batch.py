"""The text that a step of a run was made of: the loader draws the same batch again. Nothing is written; no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mythos.cli.options import print_json, say
from mythos.contract.changes import current_config
from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.config import Config
from mythos.contract.errors import RunError
from mythos.contract.rundir import RunPaths, spoken
from mythos.contract.watch import JsonTail, read_json


def show(paths: RunPaths, step: int, as_json: bool) -> None:
    """Print the rows of a step, those of all ranks one after the other, each with its documents and its text."""
    facts = batch(paths, step)
    if as_json:
        print_json(facts)
        return
    say(f"Step {step} of {paths.name}, epoch {facts['epoch']}: {len(facts['rows'])} rows")
    for index, row in enumerate(facts["rows"]):
        say(f"\nrow {index}, tokens {row['tokens'][0]:,} to {row['tokens'][1]:,} of {', '.join(row['documents'])}")
        say("  " + row["text"].replace("\n", "\n  "))


def batch(paths: RunPaths, step: int) -> dict[str, Any]:
    """`step`, `epoch` and `rows`: tokens [first, last + 1) of the training text, documents and text of each.

    Raises RunError where the run has no such step or its prepared text is gone, DataError where that is damaged.
    """
    from mythos.data.loader import Loader
    from mythos.data.tokenizer import Tokenizer

    config, corpus = current_config(paths), _corpus(paths)
    split, tokenizer = corpus.split("train"), Tokenizer.load(corpus.tokenizer_path)
    loader = Loader(split, config.train.sequence, config.train.batch_size, config.train.seed)
    drawn = _drawn_before(paths, step, config)
    rows = []
    for start in loader.starts(drawn, config.train.batch_size):
        first, last = loader.documents_at(start)
        end = start + config.train.sequence + 1
        text = tokenizer.decode(split.tokens.slice(start, end).tolist())
        rows.append({"tokens": [start, end], "documents": split.identities[first : last + 1], "text": text})
    return {"step": step, "epoch": drawn // loader.chunks, "rows": rows}


def _corpus(paths: RunPaths) -> Any:
    from mythos.data.shards import Corpus

    told = [event for event in JsonTail(paths.events).read_objects(budget_s=30.0) if event.get("kind") == "data"]
    if not told:
        raise RunError(
            f"{paths.name} has not prepared its text yet.", f"See what it does: mythos watch {spoken(paths)}"
        )
    folder = Path(str(told[-1].get("path")))
    if not folder.is_dir():
        raise RunError(
            f"The prepared text of {paths.name} is not in {folder}.",
            f"Prepare it again on this machine: mythos data prepare {paths.config}",
        )
    return Corpus(folder)


def _drawn_before(paths: RunPaths, step: int, config: Config) -> int:
    """Sequences that were drawn before a step: from the step's number, and in a fork from where a checkpoint stands."""
    parent = str((read_json(paths.identity) or {}).get("parent") or "")
    begun = int(parent.rpartition("/step-")[2]) if "/step-" in parent else 0
    if not begun < step <= config.train.length:
        where = f"; earlier ones are in {parent.partition('/')[0]}" if begun else ""
        raise RunError(
            f"{paths.name} has steps {begun + 1} to {config.train.length}, not {step}{where}.", "Name one of them."
        )
    rows = config.train.batch_size
    for info in list_checkpoints(paths.checkpoints) if begun else []:
        try:
            state = json.loads((info.path / "state" / "trainer.json").read_text(encoding="utf-8"))
            at = state["loader"]
            return int(at["epoch"] * at["chunks"] + at["position"] + (step - 1 - state["steps_done"]) * rows)
        except (OSError, ValueError, LookupError, TypeError):
            continue
    if begun:
        raise RunError(f"{paths.name} has no checkpoint that tells where its text began.", "Put one back.")
    return (step - 1) * rows
