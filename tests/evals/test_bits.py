"""Bits per byte against arithmetic by hand; every token scored once; always the same documents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mythos.contract.errors import DataError
from mythos.data.loader import HeldOutDocument
from mythos.data.split import identity_hash
from mythos.evals import bits
from mythos.evals.bits import batches, choose_documents, evaluate, pad, windows
from mythos.infer.exits import make_exit
from mythos.models.telemetry import Output, Telemetry
from tests.fakes.checkpoints import VOCAB, tiny_model


def document(name: str, length: int, size: int = 0) -> HeldOutDocument:
    draw = np.random.default_rng(identity_hash(name))
    tokens = np.concatenate([[0], draw.integers(1, VOCAB, length - 1)])
    return HeldOutDocument(name, tokens, size or 3 * (length - 1))


DOCUMENTS = [document(f"d{i}", length) for i, length in enumerate([40, 2, 17, 16, 33, 9])]


class Uniform(torch.nn.Module):
    """Predicts nothing: every token costs log V nats."""

    def __init__(self) -> None:
        super().__init__()
        self.config = tiny_model("dense").config
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, ids: Any, n_loops: Any = None, exit: Any = None) -> Output:
        return Output(torch.zeros(*ids.shape, VOCAB), Telemetry(loops=ids % 5 + 1))


def test_by_hand() -> None:
    found = evaluate(Uniform(), DOCUMENTS, context=16)  # type: ignore[arg-type]
    tokens = sum(len(d.tokens) - 1 for d in DOCUMENTS)
    assert (found.tokens, found.documents, found.bytes) == (tokens, 6, 3 * tokens)
    assert found.loss == pytest.approx(math.log(VOCAB))
    assert found.bits_per_byte == pytest.approx(math.log2(VOCAB) / 3)
    loops = [int(token) % 5 + 1 for d in DOCUMENTS for token in d.tokens[:-1]]
    assert found.mean_loops == pytest.approx(np.mean(loops))


@pytest.mark.parametrize(
    ("family", "exit"), [("dense", "auto"), ("recurrent", "state_delta:0.3"), ("recurrent", "kl:0.02")]
)
def test_equals_a_plain_loop_over_documents(family: str, exit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits, "MOST_TOKENS_PER_BATCH", 50)
    model = tiny_model(family).train()
    total, loops, count = 0.0, 0, 0
    with torch.no_grad():
        for d in DOCUMENTS:
            for start in range(0, len(d.tokens) - 1, 16):
                inputs = torch.from_numpy(d.tokens[start : start + 16][: len(d.tokens) - 1 - start])[None]
                targets = torch.from_numpy(d.tokens[start + 1 : start + 17])
                output = model(inputs, exit=make_exit(exit, model.config))
                total += float(F.cross_entropy(output.logits[0], targets, reduction="sum"))
                loops += int(output.telemetry.loops.sum())
                count += len(targets)
    heard: list[tuple[int, int]] = []
    rule = make_exit(exit, model.config)
    found = evaluate(model, DOCUMENTS, context=16, exit=rule, progress=lambda *p: heard.append(p))
    assert found.loss == pytest.approx(total / count, abs=1e-5)
    assert found.mean_loops == pytest.approx(loops / count)
    assert found.bits_per_byte == pytest.approx(total / math.log(2) / (3 * count), abs=1e-5)
    assert model.training and len(heard) > 2 and heard[-1] == (count, count)


def test_windows_score_every_token_once() -> None:
    for d in DOCUMENTS:
        targets = np.concatenate([piece[1:] for piece in windows([d], 16)])
        np.testing.assert_array_equal(targets, d.tokens[1:])
    assert [len(piece) for piece in windows([DOCUMENTS[0]], 16)] == [17, 17, 8]
    pieces = list(windows(DOCUMENTS, 16))
    batched = [piece for batch in batches(pieces, VOCAB) for piece in batch]
    assert sorted(map(bytes, batched)) == sorted(map(bytes, pieces))


def test_batches_keep_within_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits, "LOGITS_PER_BATCH", 40 * VOCAB)
    for batch in batches(windows(DOCUMENTS, 16), VOCAB):
        inputs, targets = pad(batch)
        assert inputs.numel() <= 40 and inputs.shape == targets.shape
        assert int((targets != bits.IGNORED).sum()) == sum(len(piece) - 1 for piece in batch)


def test_the_subset_is_always_the_same() -> None:
    order = sorted(DOCUMENTS, key=lambda d: identity_hash(d.identity))
    chosen = choose_documents(reversed(DOCUMENTS), 30)
    assert [d.identity for d in chosen] == [d.identity for d in order[: len(chosen)]]
    assert sum(len(d.tokens) - 1 for d in chosen[:-1]) < 30 <= sum(len(d.tokens) - 1 for d in chosen)
    lengths = np.arange(VOCAB)
    cut = choose_documents(DOCUMENTS, 30, lengths)
    assert sum(len(d.tokens) - 1 for d in cut) == 30
    assert cut[-1].bytes == cut[-1].tokens[1:].sum() and [d.bytes for d in cut[:-1]] == [
        d.bytes for d in chosen[: len(cut) - 1]
    ]


def test_nothing_to_score_is_an_error() -> None:
    for nothing in ([], [HeldOutDocument("empty", np.array([0]), 0)]):
        with pytest.raises(DataError, match="no document gives two tokens"):
            evaluate(Uniform(), nothing, context=16)  # type: ignore[arg-type]
