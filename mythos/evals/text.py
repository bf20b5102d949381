"""A checkpoint on any text: files, folders or a dataset, which training need not have known of.

Documents are read, encoded and scored in the order of their source, about CHUNK_TOKENS at a time, so that memory does
not grow with the text. With a limit of tokens reading stops there, and the last document is cut to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from mythos.contract.config import Config, SourceConfig
from mythos.contract.errors import ConfigError
from mythos.data.loader import HeldOutDocument
from mythos.data.sources import Report, documents
from mythos.evals.bits import Evaluation, bits_per_byte, evaluate, head
from mythos.evals.checkpoint import RULE_TOKENS, SWEEP_TOKENS
from mythos.evals.depth import Sweep, check, sweep
from mythos.infer.exits import make_exit

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint
    from mythos.data.tokenizer import Tokenizer

CHUNK_TOKENS = 1 << 20


def evaluate_text(
    checkpoint: Checkpoint,
    source: SourceConfig,
    *,
    context: int | None = None,
    stride: int | None = None,
    max_tokens: int | None = None,
    loops: int | None = None,
    exit: str = "auto",
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """`Evaluation` of the text as a dict, with its perplexity per token, `context`, `stride`, and what was left out and why.

    Windows of `context` inputs (default: those of training), each `stride` after the one before (default: `context`, no
    overlap), see `mythos.evals.bits`. Raises MythosError where there is no text and for what does not fit the model.
    """
    context = window_of(checkpoint.config, context, stride)
    rule, report, parts = make_exit(exit, checkpoint.config.model), Report(), []
    for chunk in chunks(text_documents(source, checkpoint.tokenizer, report, max_tokens)):
        found = evaluate(checkpoint.model, chunk, context=context, stride=stride, n_loops=loops, exit=rule)
        parts.append(found)
        progress(f"{sum(part.tokens for part in parts):,} tokens")
    result = join(parts)
    facts = {"perplexity": result.perplexity, "context": context, "stride": stride or context}
    return asdict(result) | facts | {"skipped": report.skipped, "summary": report.summary()}


def sweep_text(
    checkpoint: Checkpoint,
    source: SourceConfig,
    loops: Sequence[int],
    *,
    context: int | None = None,
    max_tokens: int | None = SWEEP_TOKENS,
    exit: str | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Sweep:
    """`depth.sweep` over the text; exit rules over at most RULE_TOKENS unless all of it (None) is asked for."""
    check(checkpoint.config.model, exit)
    context = window_of(checkpoint.config, context)
    chosen = list(text_documents(source, checkpoint.tokenizer, Report(), max_tokens))
    rule_tokens = None if max_tokens is None else RULE_TOKENS
    return sweep(checkpoint.model, chosen, context, loops, rule_tokens=rule_tokens, exit=exit, progress=progress)


def window_of(config: Config, context: int | None, stride: int | None = None) -> int:
    """Inputs of a window: as asked, else those of training. Raises ConfigError where the model or the stride does not fit."""
    most = config.model.context
    if context and context > most:
        raise ConfigError(f"--context {context} exceeds the model's context of {most}.", f"Give {most} or less.")
    context = context or min(most, config.train.sequence)
    if stride and stride > context:
        raise ConfigError(
            f"--stride {stride} exceeds the windows of {context} tokens: text between them would not be scored.",
            f"Give {context} or less; the smaller, the more each token sees before it.",
        )
    return context


def text_documents(
    source: SourceConfig, tokenizer: Tokenizer, report: Report, max_tokens: int | None = None
) -> Iterator[HeldOutDocument]:
    """Documents as ids, the token that opens one first, until `max_tokens` can be scored. Raises DataError for no text."""
    left = float("inf") if max_tokens is None else max_tokens
    for document in documents(source, report):
        tokens = np.array([tokenizer.start, *tokenizer.encode(document.text)], dtype=np.int64)
        found = HeldOutDocument(document.id, tokens, len(document.text.encode()))
        yield found if len(tokens) - 1 <= left else head(found, int(left), tokenizer.byte_lengths)
        left -= len(tokens) - 1
        if left <= 0:
            return


def chunks(encoded: Iterable[HeldOutDocument]) -> Iterator[list[HeldOutDocument]]:
    """Whole documents, about CHUNK_TOKENS at a time."""
    chunk: list[HeldOutDocument] = []
    tokens = 0
    for document in encoded:
        chunk.append(document)
        tokens += len(document.tokens)
        if tokens >= CHUNK_TOKENS:
            yield chunk
            chunk, tokens = [], 0
    if chunk:
        yield chunk


def join(parts: Sequence[Evaluation]) -> Evaluation:
    """The evaluation of all documents of several."""
    tokens, size = sum(part.tokens for part in parts), sum(part.bytes for part in parts)
    loss, loops, right = (
        sum(getattr(part, name) * part.tokens for part in parts) / tokens for name in ("loss", "mean_loops", "accuracy")
    )
    count = sum(part.documents for part in parts)
    return Evaluation(loss, bits_per_byte(loss * tokens, size), tokens, count, size, loops, right)
