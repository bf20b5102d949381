"""`mythos eval --text`: probabilities token by token, windows that slide, and files that are no text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import mythos
from mythos.checkpoint import Checkpoint
from mythos.contract.config import SourceConfig
from mythos.contract.errors import ConfigError, DataError
from mythos.data.sources import Report
from mythos.data.tokenizer import Tokenizer
from mythos.evals import text as module
from mythos.evals.bits import Evaluation, perplexity
from mythos.evals.text import evaluate_text, join, sweep_text, text_documents
from mythos.infer.exits import make_exit
from mythos.models.build import Model
from mythos.models.cache import Cache
from tests.data._foreign import contents
from tests.fakes.checkpoints import write_checkpoint

PLAIN = "def añadir(ß, b):\n    return '👩‍👩‍👧' + ß  # naïve, 漢字\n"
FAMILIES: dict[str, dict[str, Any]] = {"dense": {}, "recurrent": {}, "act": {"halting": "act"}}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    folder = tmp_path_factory.mktemp("checkpoints")
    families = {"dense": "dense", "recurrent": "recurrent", "act": "recurrent"}
    return {name: mythos.load(write_checkpoint(folder / name, families[name], **FAMILIES[name])) for name in families}


def files(*paths: Path) -> SourceConfig:
    return SourceConfig(source="files", paths=tuple(map(str, paths)))


@torch.inference_mode()
def token_by_token(
    model: Model, ids: list[int], context: int, stride: int, loops: int | None, exit: str
) -> tuple[float, float]:
    """Total log-probability of ids[1:], one token at a time through the cache, and loops in all. Each window starts anew;
    a token keeps the probability that the first window gave it."""
    found: dict[int, tuple[float, float]] = {}
    for start in range(0, len(ids) - 1, stride):
        cache, rule = Cache(), make_exit(exit, model.config)
        for i in range(start, min(start + context, len(ids) - 1)):
            output = model(torch.tensor([[ids[i]]]), loops, cache=cache, exit=rule)
            log_probability = float(output.logits[0, -1].double().log_softmax(-1)[ids[i + 1]])
            found.setdefault(i + 1, (log_probability, float(output.telemetry.loops)))
    return sum(p for p, _ in found.values()), sum(n for _, n in found.values())


def test_a_text_opens_as_its_tokenizer_says(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(contents("llama3"), encoding="utf-8")
    (tmp_path / "a.txt").write_text(PLAIN, encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    (document,) = text_documents(files(tmp_path / "a.txt"), tokenizer, Report())
    assert tokenizer.start != tokenizer.eot
    assert document.tokens.tolist() == [tokenizer.start, *tokenizer.encode(PLAIN)]


@pytest.mark.parametrize(
    ("name", "stride", "loops", "exit"),
    [
        ("dense", None, None, "auto"),
        ("dense", 3, None, "auto"),
        ("recurrent", None, 2, "fixed"),
        ("recurrent", 5, 7, "kl:0.05"),
        ("act", 16, None, "act"),
        ("act", 6, 3, "auto"),
    ],
)
def test_bits_per_byte_are_those_of_single_tokens(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, name: str, stride: int | None, loops: int | None, exit: str
) -> None:
    checkpoint, path = checkpoints[name], tmp_path / "a.txt"
    path.write_text(PLAIN, encoding="utf-8")
    found = evaluate_text(checkpoint, files(path), stride=stride, loops=loops, exit=exit)
    ids = [checkpoint.tokenizer.eot, *checkpoint.tokenizer.encode(PLAIN)]
    total, ran = token_by_token(checkpoint.model, ids, 16, stride or 16, loops, exit)
    assert len(PLAIN) < found["bytes"] == path.stat().st_size and found["tokens"] == len(ids) - 1 > 3 * 16
    assert found["bits_per_byte"] == pytest.approx(-total / math.log(2) / path.stat().st_size, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(-total / (len(ids) - 1)), rel=1e-5)
    assert found["mean_loops"] == pytest.approx(ran / (len(ids) - 1))
    assert (found["context"], found["stride"]) == (16, stride or 16)


def test_more_context_changes_what_is_predicted(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PLAIN)
    narrow, wide = (evaluate_text(checkpoints["dense"], files(tmp_path), context=n) for n in (8, 64))
    assert narrow["tokens"] == wide["tokens"] and narrow["loss"] != pytest.approx(wide["loss"], abs=1e-3)
    assert wide["context"] == wide["stride"] == 64


def test_what_is_no_text_is_left_out_and_told_of(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbf" + PLAIN.encode())
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "image.txt").write_bytes(b"PNG\0\0\1" * 100)
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1") * 50)
    found = evaluate_text(checkpoints["dense"], files(tmp_path))
    assert (found["documents"], found["bytes"]) == (1, len(PLAIN.encode()))
    assert found["skipped"] == {"empty": 1, "binary": 1, "undecodable": 1}
    assert all(name in found["summary"] for name in ("empty.txt", "image.txt", "latin.txt"))
    (tmp_path / "bom.txt").unlink()
    with pytest.raises(DataError, match=r"image\.txt"):
        evaluate_text(checkpoints["dense"], files(tmp_path))


def test_reading_stops_at_the_limit_and_parts_are_the_whole(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(7):
        (tmp_path / f"{i}.txt").write_text(PLAIN * (i + 1))
    checkpoint = checkpoints["act"]
    whole = evaluate_text(checkpoint, files(tmp_path))
    heard: list[str] = []
    monkeypatch.setattr(module, "CHUNK_TOKENS", 300)
    parts = evaluate_text(checkpoint, files(tmp_path), progress=heard.append)
    assert len(heard) > 2 and heard[-1] == f"{whole['tokens']:,} tokens" and parts["documents"] == 7
    assert parts == {key: pytest.approx(value) if isinstance(value, float) else value for key, value in whole.items()}
    size = len(checkpoint.tokenizer.encode(PLAIN))
    cut = evaluate_text(checkpoint, files(tmp_path), max_tokens=size + 10)
    head = checkpoint.tokenizer.encode(PLAIN * 2)[:10]
    assert (cut["documents"], cut["tokens"]) == (2, size + 10)
    assert cut["bytes"] == len(PLAIN.encode()) + sum(len(checkpoint.tokenizer.token_bytes(i)) for i in head)


def test_a_sweep_over_depth_of_any_text(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PLAIN * 4)
    found = sweep_text(checkpoints["recurrent"], files(tmp_path), (1, 3), context=32, max_tokens=90, exit="fixed")
    assert (found.tokens, found.context, [d.loops for d in found.depths]) == (90, 32, [1, 3])
    alone = evaluate_text(checkpoints["recurrent"], files(tmp_path), context=32, max_tokens=90, loops=3)
    assert found.depths[1].loss == pytest.approx(alone["loss"])
    with pytest.raises(ConfigError, match="no loops to sweep"):
        sweep_text(checkpoints["dense"], files(tmp_path), (1, 3))


def test_windows_must_fit(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PLAIN)
    with pytest.raises(ConfigError, match="--context 65 exceeds the model's context of 64"):
        evaluate_text(checkpoints["dense"], files(tmp_path), context=65)
    with pytest.raises(ConfigError, match="--stride 17 exceeds the windows of 16"):
        evaluate_text(checkpoints["dense"], files(tmp_path), stride=17)


def test_join_weighs_by_tokens_and_bytes() -> None:
    found = join([Evaluation(2.0, 0, 30, 1, 100, 1.0, 0.5), Evaluation(4.0, 0, 10, 2, 60, 3.0, 0.1)])
    assert (found.loss, found.tokens, found.documents, found.bytes) == (2.5, 40, 3, 160)
    assert found.mean_loops == 1.5 and found.accuracy == pytest.approx(0.4)
    assert found.bits_per_byte == pytest.approx(100 / math.log(2) / 160)
    assert found.perplexity == pytest.approx(math.e**2.5)
    assert perplexity(1e4) == math.inf and math.isnan(perplexity(math.nan))
