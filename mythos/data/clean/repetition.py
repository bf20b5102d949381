"""How much of a text repeats itself: lines, paragraphs and word n-grams (Gopher, table A1).

W words. Shares are of characters; a repeated word counts once, however many n-grams cover it, and the first
occurrence of anything does not count, as in FineWeb's code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOP, REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)
NAMES = (*(f"gopher.top_{n}_gram" for n in TOP), *(f"gopher.duplicate_{n}_grams" for n in REPEATED))
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def repeated(parts: Sequence[str]) -> tuple[float, float]:
    """(share of the parts, share of their characters) that are copies of an earlier part."""
    total = sum(map(len, parts))
    unique = set(parts)
    if not total or len(unique) == len(parts):
        return 0.0, 0.0
    return 1 - len(unique) / len(parts), 1 - sum(map(len, unique)) / total


def n_gram_shares(words: Sequence[str], total: int) -> dict[str, float]:
    """Share of `total` characters in the most frequent 2- to 4-gram, and in repeated 5- to 10-grams.

    Only where an n-gram occurs twice can an (n+1)-gram, so each length looks at what the one before left over.
    """
    ids = _ids(words)  # uint64 [W]
    ends = np.concatenate([[0], np.cumsum(list(map(len, words)))])  # [W + 1]
    at, keys = np.arange(len(words)), ids
    shares = dict.fromkeys(NAMES, 0.0)
    for n in range(TOP[0], REPEATED[-1] + 1):
        inside = at + n <= len(words)
        if not inside.any():
            break
        at, keys = at[inside], keys[inside]
        keys = (keys ^ (keys >> np.uint64(31))) * _FACTOR + ids[at + n - 1]
        at, keys, counts, later = _only_repeated(at, keys)
        if n in TOP:
            sizes = ends[at + n] - ends[at]
            shares[NAMES[n - TOP[0]]] = int((counts * sizes).max(initial=0)) / total
        else:
            shares[NAMES[n - TOP[0]]] = _covered(at[later], n, ends) / total
    return shares


def _ids(words: Sequence[str]) -> np.ndarray:
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words), start=1)}
    return np.array(list(map(numbers.__getitem__, words)), dtype=np.uint64) * _FACTOR


def _only_repeated(at: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The places whose key occurs more than once, sorted by key, then place; how often; and whether it did before."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    later = np.zeros(len(keys), dtype=bool)
    later[1:] = keys[1:] == keys[:-1]
    several = later.copy()
    several[:-1] |= later[1:]
    at, keys, later = at[order[several]], keys[several], later[several]
    starts = np.flatnonzero(~later)
    sizes = np.diff(starts, append=len(keys))
    return at, keys, np.repeat(sizes, sizes), later


def _covered(at: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters of the words that the n-grams at these places cover, each once."""
    if not len(at):
        return 0
    at = np.sort(at)
    stops = np.minimum(at + n, np.append(at[1:], at[-1] + n))
    return int((ends[stops] - ends[at]).sum())
