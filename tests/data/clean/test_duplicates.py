"""Duplicates are found, the first stays, and nothing is removed that is unlike what stays for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.data import found_as, jaccard, planted
from mythos.data.clean import SIGNATURE, VERIFY, duplicates, find_duplicates
from tests.data.clean._material import topics

RNG = np.random.default_rng


def keys(n: int) -> np.ndarray:
    """Different ones."""
    return RNG(99).integers(0, 256, (n, 16), dtype=np.uint8)


def unlike(n: int) -> np.ndarray:
    return RNG(7).integers(0, 2**32, (n, SIGNATURE), dtype=np.uint32)


def like(row: np.ndarray, changed: int, seed: int, band: int = 0) -> np.ndarray:
    """A signature that shares just one band with `row`: in every other, `changed` of the 8 values are new."""
    rng = RNG(seed)
    copy = row.copy()
    for start in range(0, SIGNATURE, 8):
        if start != 8 * band:
            copy[start + rng.choice(8, changed, replace=False)] = rng.integers(0, 2**32, changed, dtype=np.uint32)
    return copy


def estimate(left: np.ndarray, right: np.ndarray) -> float:
    return float((left == right).mean())


def clusters(n: int, seed: int) -> np.ndarray:
    """Signatures in which two of three are edited copies of any earlier one, also of copies."""
    rng = RNG(seed)
    rows = unlike(n)
    for i in range(1, n):
        if rng.random() < 2 / 3:
            same = rng.random(SIGNATURE) < rng.uniform(0.6, 1)
            rows[i] = np.where(same, rows[rng.integers(max(i - 5, 0), i)], rows[i])
    return rows


def test_equal_keys_point_to_the_first() -> None:
    exact = keys(3)[[0, 1, 0, 2, 1, 0]]
    assert find_duplicates(exact, None).tolist() == [-1, -1, 0, -1, 1, 0]


@pytest.mark.parametrize("n", [0, 1])
def test_no_document_or_one(n: int) -> None:
    assert find_duplicates(keys(n), unlike(n)).tolist() == [-1] * n


def test_similar_documents_point_to_the_first_and_unlike_ones_stay() -> None:
    rows = unlike(4)
    rows[2] = like(rows[0], 1, seed=1)
    rows[3] = like(rows[0], 3, seed=2)  # shares a band, and that is not enough
    assert VERIFY - 0.05 < estimate(rows[0], rows[3]) < VERIFY
    assert find_duplicates(keys(4), rows).tolist() == [-1, -1, 0, -1]


def test_a_chain_does_not_remove_what_is_unlike_the_one_that_stays() -> None:
    """A ~ B ~ C, where C meets B in an earlier band than B meets A."""
    a = unlike(1)[0]
    b = like(a, 2, seed=1, band=13)
    c = like(b, 2, seed=2, band=0)
    assert estimate(a, c) < VERIFY < min(estimate(a, b), estimate(b, c))
    rows = np.stack([a, b, c, c])
    assert find_duplicates(keys(4), rows).tolist() == [-1, 0, -1, 2]


def test_in_a_bucket_each_document_is_compared_with_several() -> None:
    a, b = unlike(2)
    b[:8] = a[:8]
    assert find_duplicates(keys(3), np.stack([a, b, like(b, 2, seed=1)])).tolist() == [-1, -1, 1]


def test_copies_of_a_near_duplicate_point_to_what_stays() -> None:
    rows = unlike(4)
    rows[1] = rows[3] = like(rows[0], 1, seed=1)
    exact = keys(4)
    exact[3] = exact[1]
    assert find_duplicates(exact, rows).tolist() == [-1, 0, -1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_every_removed_document_is_similar_to_an_earlier_one_that_stays(seed: int) -> None:
    rows = clusters(600, seed)
    earlier = find_duplicates(keys(600), rows)
    removed = np.flatnonzero(earlier >= 0)
    assert len(removed) > 150
    assert (earlier[removed] < removed).all()
    assert (earlier[earlier[removed]] == -1).all()
    assert min(estimate(rows[i], rows[earlier[i]]) for i in removed) >= VERIFY


@pytest.mark.parametrize("seed", range(3))
def test_few_that_are_similar_to_one_that_stays_are_overlooked(seed: int) -> None:
    rows = clusters(600, seed)
    stays = np.flatnonzero(find_duplicates(keys(600), rows) < 0)
    overlooked = sum(max(estimate(rows[i], rows[j]) for j in stays[:n]) >= 0.8 for n, i in enumerate(stays) if n)
    assert overlooked <= 0.02 * len(rows)


def test_reading_in_pieces_from_a_file_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clusters(300, seed=5)
    expected = find_duplicates(keys(300), rows)
    rows.tofile(tmp_path / "signatures")
    mapped = np.memmap(tmp_path / "signatures", dtype=np.uint32, mode="r", shape=rows.shape)
    monkeypatch.setattr(duplicates, "_PIECE", 7)
    assert (find_duplicates(keys(300), mapped) == expected).all()


def test_a_bucket_of_unlike_documents_takes_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unlike(5000)
    rows[:, :8] = 1
    compared = []
    similar = duplicates._similar
    monkeypatch.setattr(duplicates, "_similar", lambda s, a, b, v: compared.append(len(a)) or similar(s, a, b, v))
    assert (find_duplicates(keys(5000), rows) == -1).all()
    assert sum(compared) <= duplicates._LEADERS * 5000


def test_planted_edits_of_real_text() -> None:
    """At true similarity 0.8 and more at least 92 % go; of what goes, nothing is under 0.5."""
    caught, pairs = 0, 0
    for seed in (11, 12):
        windows, copies, true = planted(topics(), seed)
        texts = [*windows, *copies]
        earlier = found_as(texts)
        for i in np.flatnonzero(earlier >= 0):
            assert jaccard(texts[i], texts[earlier[i]]) >= 0.5
        of_copies = earlier[len(windows) :][true >= 0.8]
        caught, pairs = caught + int((of_copies >= 0).sum()), pairs + len(of_copies)
    assert pairs > 200
    assert caught >= 0.92 * pairs
