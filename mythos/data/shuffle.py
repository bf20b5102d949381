"""A permutation that is computed instead of stored: a trillion chunks take no more memory than ten."""

from __future__ import annotations

import numpy as np

ROUNDS = 6
_WORD = (1 << 64) - 1


class Shuffle:
    """A pseudo-random permutation of 0 … n - 1: a Feistel network with cycle walking (Black & Rogaway 2002).

    The network permutes the numbers of an even count of bits, fewer than 4·n of them; whatever lands at n or above is
    sent through again, so that in the end every index below n has one place below n.
    """

    def __init__(self, n: int, generator: np.random.Generator) -> None:
        self._n = n
        self._half = max(1, (n - 1).bit_length() + 1 >> 1)
        self._keys = generator.integers(1 << 64, size=ROUNDS, dtype=np.uint64).tolist()

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> int:
        if not 0 <= i < self._n:
            raise IndexError(f"{i} of a permutation of {self._n}")
        at = self._network(i)
        while at >= self._n:
            at = self._network(at)
        return at

    def _network(self, value: int) -> int:
        mask = (1 << self._half) - 1
        left, right = value >> self._half, value & mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        return left << self._half | right


def _mix(x: int) -> int:
    """The finalizer of splitmix64: every bit of x stirs every bit of the result."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _WORD
    return x ^ x >> 31
