"""The bigram yardstick is a probability distribution, forgets nothing, and is not a straw man."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mythos.evals import bigram as module
from mythos.evals.bigram import Bigram, count_pairs, discounts

V = 40


def text(seed: int, length: int) -> np.ndarray:
    """A Markov chain with a few likely successors per token."""
    draw = np.random.default_rng(seed)
    tokens = [0]
    for _ in range(length):
        likely = (tokens[-1] * 7 + int(draw.zipf(1.8)) * 3) % V
        tokens.append(likely if draw.random() < 0.8 else int(draw.integers(V)))
    return np.array(tokens)


@pytest.mark.parametrize("length", [0, 1, 5, 300, 5000])
def test_probabilities_sum_to_one(length: int) -> None:
    model = Bigram([text(1, length)] if length else [], V)
    assert model.unigram.sum() == pytest.approx(1) and (model.unigram > 0).all()
    for first in range(V):
        p = model.probability(np.full(V, first), np.arange(V))
        assert p.sum() == pytest.approx(1, abs=1e-9) and (p > 0).all()


def test_counts_stay_inside_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [
        np.array([0, 1, 2, 1, 2], dtype=np.uint16),
        np.array([0], dtype=np.uint16),
        np.array([0, 1, 1], dtype=np.uint16),
    ]
    expected = {(0, 1): 2, (1, 1): 1, (1, 2): 2, (2, 1): 1}
    for block in (module.BLOCK, 1):
        monkeypatch.setattr(module, "BLOCK", block)
        codes, counts = count_pairs(documents, 60_000)
        found = {divmod(int(code), 60_000): int(count) for code, count in zip(codes, counts, strict=True)}
        assert found == expected


def test_the_formula_by_hand() -> None:
    """Too few pairs to estimate discounts: each count gives up 0.75."""
    model = Bigram([np.array([0, 1, 2, 1, 2])], 3)
    kinds = np.array([0, 2, 1])  # distinct tokens seen before 0, 1, 2
    q = (kinds - 0.75 * (kinds > 0) + 0.75 * 2 / 3) / 3
    np.testing.assert_allclose(model.unigram, q)
    assert model.probability(np.array([1]), np.array([2]))[0] == pytest.approx((2 - 0.75) / 2 + 0.75 / 2 * q[2])
    assert model.probability(np.array([1]), np.array([0]))[0] == pytest.approx(0.75 / 2 * q[0])


def test_discounts_follow_chen_and_goodman() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [50, 20, 10, 6, 3])
    y = 50 / 90
    assert discounts(counts) == pytest.approx([0, 1 - 2 * y * 20 / 50, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10])


def test_nats_are_those_of_every_token_after_the_first() -> None:
    model = Bigram([text(1, 500)], V)
    held_out = [text(2, 30), text(3, 1), np.array([0])]
    expected = -sum(
        math.log(model.probability(d[i : i + 1], d[i + 1 : i + 2])[0]) for d in held_out for i in range(len(d) - 1)
    )
    assert model.nats((document[:-1], document[1:]) for document in held_out) == pytest.approx(expected)


@pytest.mark.parametrize("length", [300, 3000, 30_000])
def test_beats_simpler_smoothing(length: int) -> None:
    train, held_out = text(1, length), text(2, 20_000)
    model = Bigram([train], V).nats([(held_out[:-1], held_out[1:])])
    table = np.zeros((V, V))
    np.add.at(table, (train[:-1], train[1:]), 1)
    p = (table + 1) / (table + 1).sum(1, keepdims=True)
    add_one = -np.log(p[held_out[:-1], held_out[1:]]).sum()
    unigram = (table.sum(0) + 1) / (table.sum() + V)
    mixed = 0.8 * table / np.maximum(table.sum(1, keepdims=True), 1) + 0.2 * unigram
    interpolated = -np.log(mixed[held_out[:-1], held_out[1:]]).sum()
    assert model < add_one and model < interpolated
