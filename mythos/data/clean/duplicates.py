"""Which documents repeat an earlier one: exactly by their keys, nearly by their MinHash signatures.

N documents, in their order. The first of a cluster stays, and every other one is compared with the very document
that stays for it, so that a chain A ~ B ~ C never removes a C that is unlike A.
"""

from __future__ import annotations

import numpy as np

from mythos.data.clean.fingerprints import BANDS, ROWS

VERIFY = 0.68
"""Share of equal signature values from which a document counts as a duplicate.

Of pairs with similarity 0.8 the bands find 92.36 % and 92.28 % remain after this (0.7: 92.06 %, 0.75: 87.0 %); of
pairs with 0.5 the bands find 5.3 % and 0.002 % remain. `benchmarks/data.py` prints the whole trade-off.
"""

_PIECE = 1 << 15  # signatures in memory at once: 14 MB of each side
_LEADERS = 32  # documents of one bucket that the others are compared with; bounds the work on a bucket of unlike ones
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64)


def find_duplicates(exact: np.ndarray, signatures: np.ndarray | None, verify: float = VERIFY) -> np.ndarray:
    """For each document the index of the earlier one that it repeats, or -1: int64 [N].

    `exact` is uint8 [N, 16]; `signatures`, uint32 [N, 112], may be a memory map, and None asks for exact duplicates
    only. The documents named by the result stay, which is to say that their own entry is -1. Takes about 55 bytes
    a document and 35 MB.
    """
    same = _first_equal(exact)
    if signatures is None:
        return same
    near = np.full(len(exact), -1, dtype=np.int64)
    members = np.flatnonzero(same < 0)
    while len(members) > 1:
        for band in range(BANDS):
            _match(near, signatures, members[near[members] < 0], band, verify)
        members = _settle(near, signatures, members, verify)
    of_first = np.where(same >= 0, near[same], near)
    return np.where(of_first >= 0, of_first, same)


def _first_equal(exact: np.ndarray) -> np.ndarray:
    """Index of the first document with the same key, -1 for that one itself."""
    keys = np.ascontiguousarray(exact).view(np.uint64)  # [N, 2]
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: within equal keys in the documents' order
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = np.where(starts, -1, order[starts][np.cumsum(starts) - 1])
    return first


def _match(near: np.ndarray, signatures: np.ndarray, members: np.ndarray, band: int, verify: float) -> None:
    """Point members that share a band with an earlier one, and are similar to it, to that one."""
    keys = _band_keys(signatures, members, band)
    order = np.argsort(keys, kind="stable")
    rows, keys = members[order], keys[order]
    for _ in range(_LEADERS):
        follows = np.zeros(len(rows), dtype=bool)
        follows[1:] = keys[1:] == keys[:-1]
        leads = np.flatnonzero(~follows)
        leader = rows[np.repeat(leads, np.diff(leads, append=len(rows)) - 1)]
        rows, keys = rows[follows], keys[follows]
        similar = _similar(signatures, rows, leader, verify)
        near[rows[similar]] = leader[similar]
        rows, keys = rows[~similar], keys[~similar]
        if not len(rows):
            return


def _settle(near: np.ndarray, signatures: np.ndarray, members: np.ndarray, verify: float) -> np.ndarray:
    """Point members whose target was itself removed to what stays for it, if similar; return those that are not.

    Targets come before what points to them, so each step decides all members whose target is decided.
    """
    let_go = []
    pending = members[near[members] >= 0]
    pending = pending[near[near[pending]] >= 0]
    while len(pending):
        ready = ~np.isin(near[pending], pending)
        now, pending = pending[ready], pending[~ready]
        now = now[near[near[now]] >= 0]  # the others' target was let go: it stays, and they are similar to it
        stays = near[near[now]]
        similar = _similar(signatures, now, stays, verify)
        near[now] = np.where(similar, stays, -1)
        let_go.append(now[~similar])
    return np.sort(np.concatenate(let_go)) if let_go else pending


def _band_keys(signatures: np.ndarray, members: np.ndarray, band: int) -> np.ndarray:
    """One uint64 per member that is equal where all rows of the band are; unequal bands may meet, once in 2^64."""
    keys = np.empty(len(members), dtype=np.uint64)
    for start in range(0, len(members), _PIECE):
        rows = signatures[members[start : start + _PIECE], band * ROWS : (band + 1) * ROWS]
        pairs = np.ascontiguousarray(rows).view(np.uint64)
        keys[start : start + _PIECE] = ((pairs ^ (pairs >> np.uint64(29))) * _MIX).sum(axis=1)
    return keys


def _similar(signatures: np.ndarray, left: np.ndarray, right: np.ndarray, verify: float) -> np.ndarray:
    """Whether the estimated Jaccard similarity of each pair reaches `verify`: bool [pairs]."""
    similar = np.empty(len(left), dtype=bool)
    for start in range(0, len(left), _PIECE):
        piece = slice(start, start + _PIECE)
        similar[piece] = (signatures[left[piece]] == signatures[right[piece]]).mean(axis=1) >= verify
    return similar
