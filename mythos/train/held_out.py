"""Scoring the weights of a training that goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mythos.data.shards import Corpus
from mythos.data.tokenizer import Tokenizer
from mythos.evals import bits
from mythos.train.loop import Trainer


def score(trainer: Trainer, corpus: Corpus, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Loss (nats/token), bits per byte, tokens and documents on the held-out split; no later step is another for it.

    `progress` gets (tokens scored, tokens in all) after every batch, and may raise to end it.
    """
    train, model = trainer.config.train, trainer.whole_model()
    assert model is not None, "rank 0 scores"
    with torch.random.fork_rng(), trainer.device.autocast():
        torch.manual_seed(train.seed)  # random initial states: the same at every evaluation
        result = bits.evaluate(
            model,
            corpus.split("held_out"),
            context=train.sequence,
            max_tokens=train.eval_tokens,
            byte_lengths=Tokenizer.load(corpus.tokenizer_path).byte_lengths,
            progress=progress,
        )
    return {name: getattr(result, name) for name in ("loss", "bits_per_byte", "tokens", "documents")}
