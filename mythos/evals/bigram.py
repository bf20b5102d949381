"""A bigram model as a yardstick: modified Kneser–Ney, interpolated (Chen & Goodman 1998, section 3), numpy alone.

    p(w | v) = (c(v, w) − D(c(v, w))) / c(v) + γ(v) · q(w)

D takes one of three discounts by the count, estimated from how many pairs occur once, twice, three and four times.
q, the share of distinct predecessors of w, is discounted in the same way towards the uniform distribution. An unseen v
predicts q.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

BLOCK = 1 << 22
"""Pairs that are sorted at once while counting."""


class Bigram:
    """Fitted to documents (arrays of ids, the end-of-text token first) over a vocabulary of V tokens."""

    def __init__(self, documents: Iterable[np.ndarray], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._codes, self._counts = count_pairs(documents, vocab_size)
        first, second = np.divmod(self._codes, vocab_size)
        self.unigram = _continuation(second, vocab_size)
        """[V] q(w)."""
        self._discounts = discounts(self._counts)
        self._totals = np.bincount(first, weights=self._counts, minlength=vocab_size)
        taken = np.bincount(first, weights=_discount(self._counts, self._discounts), minlength=vocab_size)
        self._backoff = np.where(self._totals > 0, taken / np.maximum(self._totals, 1), 1.0)

    def probability(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """p(second | first), float64, element by element."""
        codes = first.astype(np.int64) * self.vocab_size + second
        at = np.minimum(np.searchsorted(self._codes, codes), max(len(self._codes) - 1, 0))
        counts = np.where(self._codes[at] == codes, self._counts[at], 0) if len(self._codes) else np.zeros(len(codes))
        direct = (counts - _discount(counts, self._discounts)) / np.maximum(self._totals[first], 1)
        return np.asarray(direct + self._backoff[first] * self.unigram[second])

    def nats(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
        """Total surprise of tokens, given those before them (see `bits.scored_pairs`)."""
        return -sum(float(np.log(self.probability(before, after)).sum()) for before, after in pairs)


def count_pairs(documents: Iterable[np.ndarray], vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted codes v·V + w of the pairs inside documents, and how often each occurs."""
    codes, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    block: list[np.ndarray] = []
    waiting = 0
    for document in documents:
        if len(document) > 1:
            block.append(document[:-1].astype(np.int64) * vocab_size + document[1:])
            waiting += len(block[-1])
        if waiting >= BLOCK:
            codes, counts = _merge(codes, counts, *np.unique(np.concatenate(block), return_counts=True))
            block, waiting = [], 0
    if block:
        codes, counts = _merge(codes, counts, *np.unique(np.concatenate(block), return_counts=True))
    return codes, counts


def _merge(
    codes: np.ndarray, counts: np.ndarray, more_codes: np.ndarray, more_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    both, where = np.unique(np.concatenate((codes, more_codes)), return_inverse=True)
    return both, np.bincount(where, weights=np.concatenate((counts, more_counts))).astype(np.int64)


def discounts(counts: np.ndarray) -> np.ndarray:
    """[4] what a count of 0, 1, 2 and 3 or more gives up. Where the estimate fails (too few counts), 0.75."""
    n1, n2, n3, n4 = (float((counts == c).sum()) for c in (1, 2, 3, 4))
    found = [0.0, math.nan, math.nan, math.nan]
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found[1:] = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    return np.array([d if c == 0 or 0 < d < c else 0.75 for c, d in enumerate(found)])


def _discount(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    return np.asarray(table[np.minimum(counts, 3).astype(np.int64)])


def _continuation(second: np.ndarray, vocab_size: int) -> np.ndarray:
    """q [V] from the second tokens of the distinct pairs."""
    kinds = np.bincount(second, minlength=vocab_size)
    if not kinds.sum():
        return np.full(vocab_size, 1 / vocab_size)
    given_up = _discount(kinds, discounts(kinds))
    return np.asarray((kinds - given_up + given_up.sum() / vocab_size) / kinds.sum())
