"""`mythos eval`: model, bigram and gzip on the same held-out text, read with the checkpoint's own tokenizer."""

from __future__ import annotations

import gzip
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import mythos
from mythos.checkpoint import Checkpoint
from mythos.contract.errors import MythosError
from mythos.data.answers import BYTES
from mythos.data.prepare import prepare
from mythos.data.split import is_held_out
from mythos.data.tokenizer import Tokenizer
from mythos.evals.bigram import Bigram
from mythos.evals.checkpoint import evaluate_checkpoint, own_corpus, own_documents
from tests.fakes.checkpoints import write_checkpoint

KEYS = {
    "bits_per_byte",
    "loss",
    "bigram_bits_per_byte",
    "gzip_bits_per_byte",
    "tokens",
    "documents",
    "bytes",
    "mean_loops",
}


def content(i: int) -> str:
    return f"def function_{i}(x):\n    return x + {i}  # é\n" * (i % 5 + 1)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    folder = tmp_path / "text"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i}.py").write_text(content(i))
    data = {"source": "files", "paths": [str(folder)], "held_out_percent": 20.0, "cache_dir": str(tmp_path / "cache")}
    return mythos.load(write_checkpoint(tmp_path / "model", halting="act", data=data))


def test_all_held_out_documents_once(checkpoint: Checkpoint) -> None:
    stages = set()
    found = evaluate_checkpoint(checkpoint, progress=lambda stage, done, total: stages.add(stage))
    assert set(found) == KEYS and stages == {"encode", "evaluate", "bigram"}
    texts = [content(i) for i in range(60) if is_held_out(f"{i}.py", 20.0)]
    tokens = sum(len(checkpoint.tokenizer.encode(text)) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    assert (found["documents"], found["tokens"], found["bytes"]) == (len(texts), tokens, size)
    packed = sum(len(gzip.compress(text.encode(), 9)) for text in texts)
    assert found["gzip_bits_per_byte"] == pytest.approx(8 * packed / size)
    assert 0 < found["bigram_bits_per_byte"] < 2 < found["bits_per_byte"]
    assert 1 < found["mean_loops"] < 5


def test_uses_the_checkpoints_tokenizer_whatever_the_corpus_has(checkpoint: Checkpoint) -> None:
    corpus = prepare(checkpoint.config.data, 300)
    other = Tokenizer.load(corpus.tokenizer_path)
    assert other.encode(content(3)) != checkpoint.tokenizer.encode(content(3))
    split = corpus.split("held_out")
    found = evaluate_checkpoint(checkpoint)
    assert found["documents"] == split.n_documents and found["bytes"] == split.n_bytes
    assert found["tokens"] != split.n_tokens - split.n_documents


def test_where_answers_are_asked_for_the_bigram_is_of_those_alone(tmp_path: Path) -> None:
    data = {
        "source": "synthetic", "task": "parity", "max_documents": 40, "answers_only": True, "held_out_percent": 20.0,
        "cache_dir": str(tmp_path / "cache"), "workers": 1,
    }  # fmt: skip
    tokenizer = Tokenizer.train(["any text"], BYTES)
    checkpoint = mythos.load(write_checkpoint(tmp_path / "model", data=data, tokenizer=tokenizer))
    found = evaluate_checkpoint(checkpoint)
    assert found["gzip_bits_per_byte"] is None
    documents, context = own_documents(checkpoint, None)
    nats, asked = 0.0, 0
    train = own_corpus(checkpoint, lambda done, total: None).split("train")
    bigram = Bigram((train.document(i) for i in range(train.n_documents)), BYTES)
    for document in documents:
        for start in range(0, len(document.tokens) - 1, context):
            ids = [int(token) for token in document.tokens[start : start + context + 1]]
            whole = False  # whether the line's beginning is in this window
            for before, after in pairwise(ids):
                whole |= before in (checkpoint.tokenizer.eot, checkpoint.tokenizer.encode("\n")[0])
                if whole and before == checkpoint.tokenizer.encode("?")[0]:
                    asked += 1
                    nats -= math.log(bigram.probability(np.array([before]), np.array([after]))[0])
    assert found["bytes"] == asked and found["bigram_bits_per_byte"] == pytest.approx(nats / math.log(2) / asked)


def test_part_of_it(checkpoint: Checkpoint) -> None:
    found = evaluate_checkpoint(checkpoint, max_tokens=50, loops=2, exit="fixed")
    assert found["tokens"] == 50 and found["mean_loops"] == 2
    with pytest.raises(MythosError, match="unknown"):
        evaluate_checkpoint(checkpoint, exit="often")
