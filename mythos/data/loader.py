"""Batches of a prepared split: deterministic, resumable at any point, disjoint over ranks, every target once per epoch.

B batch, T sequence length, W ranks. Labels are shifted here, once, and nowhere else: `inputs[b, t + 1] ==
targets[b, t]`, so the loss takes `(logits, targets)` as they are. Shifting again would train the model to predict the
token after next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from mythos.contract.errors import DataError
from mythos.data.answers import Answers
from mythos.data.shards import Split
from mythos.data.shuffle import Shuffle
from mythos.data.split import identity_hash


class Loader:
    """Draws batches from a split for ever.

    Chunk i covers tokens [o + i·T, o + i·T + T + 1): neighbours share one token, which is the last target of one and the
    first input of the other, so within an epoch each token is a target once, but for up to T - 1 that are left over: at
    the end of the split in even epochs (o = 0), at its beginning in odd ones (o = as many as are left over). Each epoch
    permutes the chunks by `(seed, epoch)`; a batch may hold the end of one epoch and the start of the next.

    `batch_size` counts the sequences of all ranks together. Rank r of W reads the r-th of W equal parts of each batch,
    so the ranks' rows one after the other are what a single process would have read, and a run may go on with another W.

    Where a corpus asks for its answers only, other targets are IGNORED.
    """

    def __init__(
        self, split: Split, sequence: int, batch_size: int, seed: int, *, rank: int = 0, world: int = 1
    ) -> None:
        self.sequence, self.batch_size, self.seed, self.rank = sequence, batch_size, seed, rank
        self.answers = split.answers
        if batch_size % world:
            raise DataError(
                f"A batch of {batch_size} sequences does not divide into {world} equal parts.",
                "Choose a train.batch_size that is a multiple of the number of processes.",
            )
        self.rows = batch_size // world
        self.chunks, self._left_over = divmod(max(split.n_tokens - 1, 0), sequence)
        if not self.chunks:
            raise DataError(
                f"The {split.name} split has {split.n_tokens} tokens; one sequence needs {sequence + 1}.",
                "Choose a shorter train.sequence or add text.",
            )
        self._split, self._tokens = split, split.tokens
        self._go_to(epoch=0, position=0)

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, int64 [B / W, T] each, the targets one token ahead."""
        return self._read(self._draw())

    def next_with_documents(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`next()` and, for each input token, its document counted from 0 within the row, int64 [B / W, T].

        Tokens of one row with different numbers come from different documents, for attention that must not cross.
        """
        starts = self._draw()
        return (*self._read(starts), np.stack([self._documents(start) for start in starts]))

    def state(self) -> dict[str, Any]:
        """Where the loader stands, ready for JSON and the same on every rank. Counted in chunks, so that batch size and
        number of ranks may change on resume."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "chunks": self.chunks,
            "sequence": self.sequence,
            "seed": self.seed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state()` was taken. Raises DataError if it belongs to another corpus, sequence or seed."""
        for name in ("chunks", "sequence", "seed"):
            if state[name] != getattr(self, name):
                raise DataError(
                    f"The saved data position has {name} {state[name]}, this run has {getattr(self, name)}.",
                    "Resume with the same data, train.sequence and train.seed, or start a new run from the weights.",
                )
        self._go_to(int(state["epoch"]), int(state["position"]))

    @property
    def drawn(self) -> int:
        """Chunks that all ranks together have drawn since the first epoch began."""
        return self.epoch * self.chunks + self.position

    def starts(self, drawn: int, number: int) -> list[int]:
        """First tokens of the `number` chunks that follow on the first `drawn` ones, those of all ranks.

        The loader stays where it is.
        """
        found = []
        for epoch, places in groupby(range(drawn, drawn + number), lambda place: place // self.chunks):
            order, offset = self._epoch(epoch)
            found += [offset + order[place % self.chunks] * self.sequence for place in places]
        return found

    def documents_at(self, start: int) -> tuple[int, int]:
        """Indices of the first and the last document that the T + 1 tokens from `start` belong to."""
        first, last = np.searchsorted(self._document_starts, [start, start + self.sequence], side="right") - 1
        return int(first), int(last)

    def _epoch(self, epoch: int) -> tuple[Shuffle, int]:
        """The order of an epoch's chunks, and where the first of them begins."""
        shuffle = Shuffle(self.chunks, np.random.default_rng([self.seed, epoch]))
        return shuffle, self._left_over if epoch % 2 else 0

    def _go_to(self, epoch: int, position: int) -> None:
        self.epoch, self.position = epoch, position
        self._order, self._offset = self._epoch(epoch)

    def _draw(self) -> list[int]:
        """First tokens of this rank's chunks of the next batch."""
        starts = []
        for row in range(self.batch_size):
            if self.position == self.chunks:
                self._go_to(self.epoch + 1, 0)
            if row // self.rows == self.rank:
                starts.append(self._offset + self._order[self.position] * self.sequence)
            self.position += 1
        return starts

    def _read(self, starts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.stack([self._tokens.slice(start, start + self.sequence + 1) for start in starts])
        inputs, targets = np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])
        return self.answers.ask(inputs, targets) if self.answers else (inputs, targets)

    def _documents(self, start: int) -> np.ndarray:
        first, last = np.searchsorted(self._document_starts, [start + 1, start + self.sequence])
        begins = np.zeros(self.sequence, dtype=np.int64)
        begins[self._document_starts[first:last] - start] = 1
        return begins.cumsum()

    @cached_property
    def _document_starts(self) -> np.ndarray:
        return np.ascontiguousarray(self._split.documents[:, 0])


@dataclass(frozen=True)
class HeldOutDocument:
    """A document for evaluation: bits per byte = Σ nats of `tokens[1:]` / ln 2 / `bytes`."""

    identity: str
    tokens: np.ndarray  # int64, `<|endoftext|>` first
    bytes: int
    answers: Answers | None = None  # what of it is asked for, if that is not every token


def held_out_documents(split: Split) -> Iterator[HeldOutDocument]:
    """Each document of a split once, in the order of the hash of its identity, so that the first few are a fair sample.

    To score only part of a document, count its bytes with `Tokenizer.byte_lengths[targets].sum()`.
    """
    order = sorted(range(split.n_documents), key=lambda i: identity_hash(split.identities[i]))
    for i in order:
        yield HeldOutDocument(split.identities[i], split.document(i), int(split.documents[i, 2]), split.answers)
