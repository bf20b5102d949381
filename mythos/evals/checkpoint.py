"""A checkpoint on the held-out documents of the corpus that its configuration describes, beside a bigram and gzip.

The documents are prepared from this machine's sources with the checkpoint's own tokenizer, once, and then found in the
cache. A document is held out by a hash of its identity, so what training did not see is the same everywhere, even where
a newer Python brings another text under the same name.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.data.loader import HeldOutDocument
from mythos.data.prepare import find, prepare
from mythos.data.shards import Corpus
from mythos.evals.bigram import Bigram
from mythos.evals.bits import bits_per_byte, choose_documents, evaluate, scored_pairs
from mythos.evals.depth import Sweep, check, sweep
from mythos.infer.exits import make_exit

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint
    from mythos.data.tokenizer import Tokenizer
    from mythos.evals.calibration import Calibration

SWEEP_TOKENS, RULE_TOKENS = 16_384, 8_192
"""Held-out tokens of a depth sweep, and those of them that every exit rule sees at each of its thresholds."""


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    *,
    max_tokens: int | None = None,
    loops: int | None = None,
    exit: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Bits per byte of the model, of a bigram model fitted to the training documents, and of gzip −9 per document.

    All held-out documents unless `max_tokens` is given; all three numbers are over the same tokens, but where only answers are
    asked for there is none of gzip, which cannot tell them from the rest. `progress` gets
    (stage, done, total). `loops` and `exit` default to those of the model itself, not to the chat defaults that the
    checkpoint carries. Raises MythosError where the sources are missing or the rule does not fit.
    """
    tell = progress or (lambda stage, done, total: None)
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    rule = make_exit(exit, config.model)
    corpus = own_corpus(checkpoint, lambda done, total: tell("encode", done, total))
    documents = choose_documents(corpus.split("held_out"), max_tokens, tokenizer.byte_lengths)
    context = min(config.model.context, config.train.sequence)
    result = evaluate(
        checkpoint.model,
        documents,
        context=context,
        n_loops=loops or None,
        exit=rule,
        progress=lambda done, total: tell("evaluate", done, total),
    )
    tell("bigram", 0, 0)
    train = corpus.split("train")
    bigram = Bigram((train.document(i) for i in range(train.n_documents)), config.model.vocab_size)
    return {
        "bits_per_byte": result.bits_per_byte,
        "loss": result.loss,
        "bigram_bits_per_byte": bits_per_byte(bigram.nats(scored_pairs(documents, context)), result.bytes),
        "gzip_bits_per_byte": None if documents[0].answers else gzip_bits_per_byte(documents, tokenizer),
        "tokens": result.tokens,
        "documents": result.documents,
        "bytes": result.bytes,
        "mean_loops": result.mean_loops,
    }


def sweep_checkpoint(
    checkpoint: Checkpoint,
    loops: Sequence[int],
    *,
    max_tokens: int | None = SWEEP_TOKENS,
    exit: str | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Sweep:
    """`depth.sweep` over the checkpoint's held-out documents; exit rules over at most RULE_TOKENS unless all are asked for.

    `max_tokens` None takes all held-out text. Raises MythosError as `sweep` does, and where the sources are missing.
    """
    check(checkpoint.config.model, exit)
    progress("reading the held-out text")
    documents, context = own_documents(checkpoint, max_tokens)
    return sweep(
        checkpoint.model,
        documents,
        context,
        loops,
        rule_tokens=None if max_tokens is None else RULE_TOKENS,
        exit=exit,
        progress=progress,
    )


def own_documents(checkpoint: Checkpoint, max_tokens: int | None) -> tuple[list[HeldOutDocument], int]:
    """The checkpoint's held-out documents of about `max_tokens` tokens (None: all), and the windows that it was trained in."""
    config = checkpoint.config
    held_out = own_corpus(checkpoint, lambda done, total: None).split("held_out")
    documents = choose_documents(held_out, max_tokens, checkpoint.tokenizer.byte_lengths)
    return documents, min(config.model.context, config.train.sequence)


def own_corpus(checkpoint: Checkpoint, progress: Callable[[int, int], None]) -> Corpus:
    """The corpus of the checkpoint's configuration in the checkpoint's own tokens: the one that it was trained on if that
    is still in the cache, else one prepared now. `progress` gets (done, total) of each stage."""
    data, tokenizer = checkpoint.config.data, checkpoint.path / "tokenizer.json"
    if not data.tokenizer:
        trained_on = find(data, checkpoint.config.model.vocab_size)
        if trained_on and trained_on.tokenizer_path.read_bytes() == tokenizer.read_bytes():
            return trained_on
    reused = data.model_copy(update={"tokenizer": str(tokenizer)})
    return prepare(reused, checkpoint.config.model.vocab_size, lambda stage: progress(stage.done, stage.total))


def gzip_bits_per_byte(documents: list[HeldOutDocument], tokenizer: Tokenizer) -> float:
    """What `gzip -9` needs for each document on its own, headers included."""
    packed = size = 0
    for document in documents:
        text = b"".join(tokenizer.token_bytes(int(token)) for token in document.tokens[1:])
        packed += len(gzip.compress(text, compresslevel=9, mtime=0))
        size += len(text)
    return 8 * packed / size if size else float("nan")


def save_calibrated(checkpoint: Checkpoint, found: Calibration, target: Path) -> Path:
    """Write the checkpoint with the gate that was fitted, or ACT's threshold, and the best rule as its default.

    Raises CheckpointError.
    """
    from mythos.checkpoint import save_as

    config = checkpoint.config
    calibrated = tuple(rule.exit for rule in found.rules if rule.rule != "act")
    infer = config.infer.model_copy(update={"exit": found.default, "loops": found.loops, "calibrated": calibrated})
    act = {} if found.act_threshold is None else {"act_threshold": found.act_threshold}
    model = checkpoint.model.config.model_copy(update=act)
    return save_as(checkpoint, target, config.model_copy(update={"model": model, "infer": infer}))
