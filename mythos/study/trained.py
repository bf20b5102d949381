"""Models for studies: trained in this process, one after the other, kept on disk, so that a study goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch

from mythos.checkpoint import load_checkpoint, weights_of, write_files
from mythos.contract.checkpoints import new_checkpoint
from mythos.contract.config import Config
from mythos.contract.errors import CheckpointError
from mythos.contract.load import dump_config
from mythos.data.prepare import prepare
from mythos.models.build import count_parameters
from mythos.models.recurrent import RecurrentModel
from mythos.train.device import choose_device
from mythos.train.loop import Trainer
from mythos.train.schedule import ended_by


@dataclass(frozen=True)
class Trained:
    """A model with the seed that it was trained from, the loss of its last steps, and the seconds that it took."""

    path: Path
    model: RecurrentModel
    config: Config
    seed: int
    loss: float
    seconds: float


def trained(config: Config, seed: int, folder: Path, progress: Callable[[str], None]) -> Trained:
    """The model of a configuration and a seed: from the folder if it is there, else trained now and put there.

    Raises MythosError as training does.
    """
    config = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
    path = folder / blake2b(dump_config(config).encode(), digest_size=8).hexdigest()
    try:
        return _found(path, seed)
    except CheckpointError:
        _train(config, path, progress)
        return _found(path, seed)


def _found(path: Path, seed: int) -> Trained:
    checkpoint = load_checkpoint(path)
    assert isinstance(checkpoint.model, RecurrentModel), "a study's recipe is recurrent"
    facts = checkpoint.manifest["metrics"]
    return Trained(path, checkpoint.model, checkpoint.config, seed, facts["loss"], facts["seconds"])


def _train(config: Config, path: Path, progress: Callable[[str], None]) -> None:
    corpus = prepare(config.data, config.model.vocab_size)
    trainer = Trainer(config, corpus.split("train"), choose_device(config.train))
    began, cpu, last = time.monotonic(), time.process_time(), torch.tensor(float("nan"))
    while not ended_by(trainer.steps_done, config):
        result = trainer.step()
        loss = result.parts["cross_entropy"].detach().cpu()
        last = loss if result.step == 1 else 0.95 * last + 0.05 * loss
        if result.step % 100 == 0:
            progress(f"seed {config.train.seed}, step {result.step} of {config.train.steps}: {float(last):.4f} nats")
    seconds = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
    facts = {
        "step": trainer.steps_done,
        "tokens": trainer.tokens_done,
        "family": "recurrent",
        "parameters": count_parameters(trainer.model),
        "saved": time.time(),
        "metrics": {"loss": float(last), **seconds},
    }
    with new_checkpoint(path, facts) as directory:
        write_files(directory, weights_of(trainer.model), config, corpus.tokenizer_path)
