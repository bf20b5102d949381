"""What is asked for, what is shown, and that both read the same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mythos.contract.config import DataConfig
from mythos.contract.errors import ConfigError
from mythos.data.answers import BYTES, IGNORED, Answers
from mythos.data.loader import Loader, held_out_documents
from mythos.data.prepare import prepare
from mythos.data.shards import Corpus
from mythos.data.tokenizer import Tokenizer
from mythos.train.cross_entropy import cross_entropy, mean_asked, token_losses


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    config = DataConfig(
        source="synthetic", task="shells", max_documents=40, answers_only=True, held_out_percent=20, workers=1,
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )  # fmt: skip
    return prepare(config, BYTES)


def shown(tokenizer: Tokenizer, inputs: np.ndarray, targets: np.ndarray) -> tuple[str, str]:
    """What the model sees, and what it is asked for with a blank where that is nothing."""
    asked = "".join("_" if t == IGNORED else tokenizer.token_text(int(t)) for t in targets)
    return "".join(tokenizer.token_bytes(int(t)).decode() or "^" for t in inputs), asked


@pytest.mark.parametrize(
    ("text", "seen", "asked"),
    [
        ("\nAx?By?C\n", "\nAx?.y?.", "___B__C_"),
        ("\n3+4=07\n1", "\n3+4=07\n", "____07\n_"),
        ("x?B\nAx?B\n", "x?.\nAx?.", "______B_"),  # the first line began before the row
    ],
)
def test_answers_are_asked_for_and_hidden(corpus: Corpus, text: str, seen: str, asked: str) -> None:
    tokenizer = Tokenizer.load(corpus.tokenizer_path)
    ids = np.array([tokenizer.encode(text)])
    inputs, targets = Answers(corpus.tokenizer_path).ask(ids[:, :-1], ids[:, 1:])
    assert shown(tokenizer, inputs[0], targets[0]) == (seen, asked)


def test_the_loader_asks_for_answers_of_whole_lines_only(corpus: Corpus) -> None:
    inputs, targets = Loader(corpus.split("train"), 64, 8, 0).next()
    tokenizer = Tokenizer.load(corpus.tokenizer_path)
    for row, wanted in zip(inputs, targets, strict=True):
        seen, asked = shown(tokenizer, row, wanted)
        assert set(asked) <= set("_ABC") and len(set(asked)) > 1
        assert all(seen[i] == "?" for i, char in enumerate(asked) if char != "_")
        assert not set(seen.replace("?.", "").rstrip("?")) & set("?.")
    assert next(iter(held_out_documents(corpus.split("held_out")))).answers is not None


def test_larger_vocabularies_are_refused(tmp_path: Path) -> None:
    Tokenizer.train(["a line of text to learn from\n" * 9], BYTES + 9).save(tmp_path / "tokenizer.json")
    with pytest.raises(ConfigError, match="a token per byte"):
        Answers(tmp_path / "tokenizer.json")


def test_what_is_not_asked_for_has_no_part_in_the_loss() -> None:
    logits, targets = torch.randn(2, 5, 7, requires_grad=True), torch.randint(7, (2, 5))
    targets[:, 1:3] = IGNORED
    kept = targets != IGNORED
    wanted = torch.nn.functional.cross_entropy(logits[kept], targets[kept])
    (expected,) = torch.autograd.grad(wanted, logits)
    loss = cross_entropy(logits, targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(mean_asked(token_losses(logits, targets), targets), wanted)
