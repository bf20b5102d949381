"""Loss of a model on held-out documents, in nats per token and in bits per byte, which does not depend on the tokenizer.

Each document, with its leading end-of-text token, is cut into windows: window i sees tokens [i·S, i·S + C) and is asked
for the token after each of the last S of them, the first window for all C. Every token after the first of a document is
scored exactly once. The stride S is the context C by default, so that windows do not overlap: simple, fast, the same for
every model, but a token at the start of a window is predicted from a single one. With a smaller stride every token past
the first window is predicted from at least C − S + 1 tokens: lower numbers for C / S times the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from mythos.contract.errors import DataError
from mythos.data.answers import IGNORED, Answers
from mythos.data.loader import HeldOutDocument, held_out_documents
from mythos.data.shards import Split
from mythos.data.split import identity_hash
from mythos.models.build import Model
from mythos.models.halting import ExitRule

LOGITS_PER_BATCH = 1 << 25
"""Most logits of a batch: 128 MiB in float32."""
MOST_TOKENS_PER_BATCH = 8192
Piece = TypeVar("Piece", bound=Sized)


@dataclass(frozen=True)
class Evaluation:
    """`loss` in nats per scored token; `bytes` of text that the scored tokens stand for; `mean_loops` per input token;
    `accuracy` is the share of scored tokens that were the likeliest."""

    loss: float
    bits_per_byte: float
    tokens: int
    documents: int
    bytes: int
    mean_loops: float
    accuracy: float

    @property
    def perplexity(self) -> float:
        """Per token, e to the loss: it depends on the tokenizer, bits per byte do not."""
        return perplexity(self.loss)


def perplexity(loss: float) -> float:
    """e^loss for nats per token; infinite where that is no number a float can hold."""
    return math.inf if loss > 700 else math.exp(loss)


def choose_documents(
    source: Split | Iterable[HeldOutDocument], max_tokens: int | None = None, byte_lengths: np.ndarray | None = None
) -> list[HeldOutDocument]:
    """Documents in the order of a hash of their identity, until `max_tokens` tokens can be scored: always the same ones.

    With `byte_lengths` [V] (see `Tokenizer`) the last document is cut to fit; without, it is taken whole, because its
    bytes would not be known. Raises DataError where there is nothing to score.
    """
    if isinstance(source, Split):
        ordered: Iterable[HeldOutDocument] = held_out_documents(source)
    else:
        ordered = sorted(source, key=lambda document: identity_hash(document.identity))
    chosen: list[HeldOutDocument] = []
    left = math.inf if max_tokens is None else max_tokens
    for document in ordered:
        if left <= 0:
            break
        if len(document.tokens) < 2:
            continue
        if len(document.tokens) - 1 > left and byte_lengths is not None:
            document = head(document, int(left), byte_lengths)
        chosen.append(document)
        left -= len(document.tokens) - 1
    if not chosen:
        raise DataError(
            "There is no text to evaluate on: no document gives two tokens.",
            "Add text; a checkpoint imported without its tokenizer reads ids alone, as in <5><17>: import it with --tokenizer.",
        )
    return chosen


def head(document: HeldOutDocument, targets: int, byte_lengths: np.ndarray) -> HeldOutDocument:
    """The document up to its first `targets` scored tokens. `byte_lengths` [V], see `Tokenizer`."""
    tokens = document.tokens[: targets + 1]
    return replace(document, tokens=tokens, bytes=int(byte_lengths[tokens[1:]].sum()))


def windows(documents: Iterable[HeldOutDocument], context: int) -> Iterator[np.ndarray]:
    """Pieces of at most `context` + 1 tokens, each sharing its first with the last of the one before."""
    for document in documents:
        for start in range(0, len(document.tokens) - 1, context):
            yield document.tokens[start : start + context + 1]


@dataclass(frozen=True)
class Window:
    """`tokens` [n + 1] of a document: n inputs and the token after each. The first `seen` of these were scored before."""

    tokens: np.ndarray
    seen: int

    def __len__(self) -> int:
        return len(self.tokens)


def sliding_windows(documents: Iterable[HeldOutDocument], context: int, stride: int) -> Iterator[Window]:
    """Windows of at most `context` inputs, each `stride` (at most `context`) tokens after the one before."""
    for document in documents:
        targets = len(document.tokens) - 1
        for start in range(0, max(targets - context + stride, min(targets, 1)), stride):
            yield Window(document.tokens[start : start + context + 1], context - stride if start else 0)


def inputs_of(piece: Sized) -> int:
    """Inputs of a window: all its tokens but the last, which is a target alone."""
    return len(piece) - 1


def batches(
    pieces: Iterable[Piece], vocab_size: int, inputs: Callable[[Piece], int] = inputs_of
) -> Iterator[list[Piece]]:
    """Pieces of similar length together, longest first, as many as memory for the logits of their `inputs` allows."""
    most = min(MOST_TOKENS_PER_BATCH, LOGITS_PER_BATCH // vocab_size)
    batch: list[Piece] = []
    for piece in sorted(pieces, key=len, reverse=True):
        if batch and (len(batch) + 1) * inputs(batch[0]) > most:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def pad(
    batch: Sequence[np.ndarray], seen: Sequence[int] = (), answers: Answers | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (padded with 0) and targets (padded with IGNORED), int64 [B, longest − 1]. Nothing sees a pad after it.

    The first `seen` targets of each piece (default: none) are IGNORED too, and with `answers` all but those.
    """
    width = max(len(piece) for piece in batch) - 1
    inputs = torch.zeros((len(batch), width), dtype=torch.int64)
    targets = torch.full((len(batch), width), IGNORED)
    for row, piece in enumerate(batch):
        ids = torch.from_numpy(np.ascontiguousarray(piece, dtype=np.int64))
        first = seen[row] if seen else 0
        inputs[row, : len(ids) - 1], targets[row, first : len(ids) - 1] = ids[:-1], ids[first + 1 :]
    if answers:
        asked = answers.ask(inputs.numpy(), targets.numpy())
        return torch.from_numpy(asked[0]), torch.from_numpy(asked[1])
    return inputs, targets


def scored_pairs(documents: Sequence[HeldOutDocument], context: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each window, the tokens that `evaluate` scores, int64 [n], and those before them, as the text has them."""
    answers = documents[0].answers
    for piece in windows(documents, context):
        ids = np.asarray(piece, dtype=np.int64)
        before, after = ids[:-1], ids[1:]
        asked = answers.ask(before[None], after[None])[1][0] != IGNORED if answers else slice(None)
        yield before[asked], after[asked]


@torch.no_grad()
def evaluate(
    model: Model,
    source: Split | Iterable[HeldOutDocument],
    *,
    context: int,
    stride: int | None = None,
    max_tokens: int | None = None,
    n_loops: int | None = None,
    exit: ExitRule | None = None,
    byte_lengths: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score held-out documents; see `choose_documents` for `max_tokens`, above for `context` and `stride` (default:
    `context`). The model's mode is restored.

    Arithmetic is the caller's: wrap the call in autocast for bfloat16. `progress` gets (tokens scored, tokens in all)
    after every batch. Raises DataError where there is nothing to score.
    """
    documents = choose_documents(source, max_tokens, byte_lengths)
    total, answers = sum(len(document.tokens) - 1 for document in documents), documents[0].answers
    device, training = next(model.parameters()).device, model.training
    nats, loops, right, done = 0.0, 0, 0, 0
    model.eval()
    try:
        for batch in batches(sliding_windows(documents, context, stride or context), model.config.vocab_size):
            inputs, targets = (x.to(device) for x in pad([w.tokens for w in batch], [w.seen for w in batch], answers))
            output = model(inputs, n_loops, exit=exit)
            scored = targets != IGNORED
            logits, wanted = output.logits[scored], targets[scored]
            nats += float(F.cross_entropy(logits.float(), wanted, reduction="none").double().sum())
            right += int((logits.argmax(-1) == wanted).sum())
            loops += int(output.telemetry.loops[scored].sum())
            done += int(scored.sum())
            if progress:
                progress(done, total)
    finally:
        model.train(training)
    if not done:
        raise DataError("The text asks for nothing: no line has an answer.", "Set data.answers_only=false.")
    size = done if answers else sum(document.bytes for document in documents)  # an answer's tokens are bytes
    return Evaluation(nats / done, bits_per_byte(nats, size), done, len(documents), size, loops / done, right / done)


def bits_per_byte(nats: float, size: int) -> float:
    """Total nats over a text of `size` bytes; NaN for no bytes."""
    return nats / math.log(2) / size if size else math.nan
