"""llama.cpp runs our GGUF files: from the same text the same numbers and the same continuation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch.nn import functional as F

import mythos
from mythos.checkpoint import Checkpoint, write_weights
from mythos.contract.checkpoints import new_checkpoint
from mythos.contract.config import Config
from mythos.data.tokenizer import Tokenizer
from mythos.infer.text import encode_prompt, generate
from mythos.interop.gguf import export_gguf
from mythos.models.build import build_model
from tests.fakes.checkpoints import tiny_tokenizer, write_checkpoint
from tests.interop.test_gguf import replace

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
from tests.interop._llama_cpp import LlamaCpp

TOKENS, CONTEXT = 64, 192
MODEL = {
    "family": "dense",
    "vocab_size": 512,
    "width": 64,
    "n_heads": 4,
    "n_kv_heads": 2,
    "n_layers": 3,
    "ffn_width": 160,
    "context": CONTEXT,
}


@dataclass
class Trained:
    """A model that was trained for some seconds, texts that it did not see, and what it says to each."""

    checkpoint: Checkpoint
    prompts: list[str]
    log_probabilities: list[torch.Tensor]
    continuations: list[list[int]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    text = "".join(
        Path(random.__file__).with_name(f"{name}.py").read_text() for name in ("argparse", "typing", "random")
    )
    folder = tmp_path_factory.mktemp("trained")
    seen, kept = text[:-20_000], text[-20_000:]
    tokenizer = Tokenizer.train([seen], MODEL["vocab_size"])
    tokenizer.save(folder / "tokenizer.json")
    config = Config.model_validate({"model": MODEL, "train": {"sequence": 64}})
    torch.manual_seed(0)
    model = build_model(config.model)
    train(model, torch.tensor(tokenizer.encode(seen)), tokenizer.eot)
    with new_checkpoint(folder / "model", {"step": 150, "family": "dense"}) as directory:
        write_weights(directory, model, config, folder / "tokenizer.json")
    prompts = [kept[start : start + 40 + start % 97] for start in range(0, 19_000, 1_000)]
    prompts.append("    # naïve 日本 👍 12345\r\n\tx")
    checkpoint = mythos.load(folder / "model")
    next_tokens = [log_probabilities(checkpoint, prompt) for prompt in prompts]
    return Trained(checkpoint, prompts, next_tokens, [continuation(checkpoint, prompt) for prompt in prompts])


def train(model: torch.nn.Module, ids: torch.Tensor, eot: int, steps: int = 150) -> None:
    """Next-token prediction on random pieces of a text, `eot` before each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        starts = torch.randint(len(ids) - 64, (8,))
        rows = torch.stack([torch.cat((torch.tensor([eot]), ids[start : start + 64])) for start in starts.tolist()])
        loss = F.cross_entropy(model(rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 4.5  # it has learned something: a guess costs log(512) = 6.2


@pytest.fixture(scope="module", params=["f32", "f16", "bf16", "q8_0"])
def running(
    request: pytest.FixtureRequest, trained: Trained, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, LlamaCpp]]:
    target = tmp_path_factory.mktemp(request.param) / "m.gguf"
    export_gguf(trained.checkpoint.path, target, request.param)
    with LlamaCpp(target, CONTEXT) as theirs:
        yield request.param, theirs


def test_the_likeliest_tokens_and_the_continuation_are_ours(trained: Trained, running: tuple[str, LlamaCpp]) -> None:
    dtype, theirs = running
    bound, alike = {"f32": (1e-3, TOKENS), "f16": (5e-3, 50), "bf16": (5e-2, 30), "q8_0": (0.2, 10)}[dtype]
    off, same = [], []
    for prompt, wanted, continued in zip(
        trained.prompts, trained.log_probabilities, trained.continuations, strict=True
    ):
        found = theirs.likeliest(prompt, 5)
        off.append(max(abs(wanted[i].item() - p) for i, p in found.items()))
        same.append(common(continued, theirs.greedy(prompt, TOKENS)))
        assert theirs.ids(prompt) == encode_prompt(trained.checkpoint.tokenizer, prompt)
    mean = sum(same) / len(same)
    print(
        f"\n{dtype}: top-5 log-probabilities off by {max(off):.2e} at most; {mean:.1f} of {TOKENS} greedy tokens alike"
    )
    assert max(off) < bound
    assert mean >= alike


def log_probabilities(checkpoint: Checkpoint, prompt: str) -> torch.Tensor:
    """[V] of the next token, natural logarithms."""
    ids = encode_prompt(checkpoint.tokenizer, prompt)
    with torch.inference_mode():
        return checkpoint.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def continuation(checkpoint: Checkpoint, prompt: str, count: int = TOKENS) -> list[int]:
    return [token.id for token in generate(checkpoint, prompt, max_tokens=count, temperature=0)]


def common(ours: list[int], theirs: list[int]) -> int:
    """How many of the first tokens are the same."""
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))


@pytest.mark.parametrize(
    "settings",
    [
        {"tie_embeddings": False},
        {"n_kv_heads": 4},
        {"n_kv_heads": 1, "ffn_width": 40},
        {"n_heads": 2, "n_kv_heads": 1, "width": 24, "rope_theta": 500.0, "norm_eps": 1e-3},
        {"n_layers": 1, "n_heads": 1, "n_kv_heads": 1},
    ],
)
@pytest.mark.parametrize("dtype", ["f32", "q8_0"])
def test_every_shape_loads_and_computes_the_same(tmp_path: Path, settings: dict[str, Any], dtype: str) -> None:
    checkpoint = mythos.load(write_checkpoint(tmp_path / "model", "dense", **settings))
    wanted = log_probabilities(checkpoint, "for number in range")
    with LlamaCpp(export_gguf(checkpoint.path, tmp_path / "m.gguf", dtype).path, 64) as theirs:
        found = theirs.likeliest("for number in range", 5)
    assert max(abs(wanted[i].item() - p) for i, p in found.items()) < {"f32": 1e-3, "q8_0": 0.3}[dtype]


def test_ids_without_a_token_are_never_generated(tmp_path: Path) -> None:
    """They are made the likeliest by far: only what the file says of them keeps them out, there as here."""
    size = tiny_tokenizer().vocab_size
    source = write_checkpoint(tmp_path / "model", "dense", vocab_size=size + 3, tie_embeddings=False)
    weights = load_file(source / "model.safetensors")
    weights["head.weight"][size:] = 3 * weights["head.weight"][5:8]
    replace(source / "model.safetensors", save(weights))
    checkpoint = mythos.load(source)
    assert max(int(log_probabilities(checkpoint, text).argmax()) for text in "abcdefgh") >= size
    with LlamaCpp(export_gguf(source, tmp_path / "m.gguf", "f32").path, 64) as theirs:
        for text in "abcdefgh":
            assert theirs.greedy(text, 20) == continuation(checkpoint, text, 20)
