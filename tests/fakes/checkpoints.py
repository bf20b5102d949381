"""Tiny models and checkpoints with random weights that are large enough for depth, attention and routing to matter."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from mythos.checkpoint import write_weights
from mythos.contract.checkpoints import new_checkpoint
from mythos.contract.config import Config, DenseConfig, RecurrentConfig
from mythos.data.tokenizer import Tokenizer
from mythos.models.build import Model, build_model, count_parameters

torch.set_num_threads(1)  # models this small only wait for each other's threads

TEXT = "def add(a, b):\n    return a + b\n\nfor number in range(10):\n    print(number, 'héllo 👍')\n" * 8
VOCAB = 320
SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "width": 32,
    "context": 64,
    "n_heads": 4,
    "n_kv_heads": 2,
    "ffn_width": 48,
    "mla_kv_rank": 12,
    "mla_rope_dim": 4,
    "mla_nope_dim": 8,
    "mla_v_dim": 8,
    "init_std": 0.2,
}
LOOPED: dict[str, Any] = {"loops": 5, "max_loops": 8, "n_experts": 4, "experts_per_token": 2, "expert_width": 16}


def tiny_model(family: str, seed: int = 0, dtype: torch.dtype = torch.float32, **settings: Any) -> Model:
    """A small model in evaluation mode. ACT heads get weights, so that tokens halt at different loops."""
    torch.manual_seed(seed)
    model = build_model(tiny_config(family, **settings)).eval()
    halt = getattr(model, "halt", None)
    if halt is not None:
        for parameter in filter(lambda parameter: parameter.dim() == 2, halt.parameters()):
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    return model.to(dtype)


def tiny_config(family: str, **settings: Any) -> DenseConfig | RecurrentConfig:
    if family == "dense":
        return DenseConfig(**{**SHAPE, "n_layers": 3, **settings})
    return RecurrentConfig(**{**SHAPE, **LOOPED, **settings})


@cache
def tiny_tokenizer() -> Tokenizer:
    return Tokenizer.train([TEXT], VOCAB)


def write_checkpoint(
    directory: Path,
    family: str = "recurrent",
    infer: Any = None,
    data: Any = None,
    tokenizer: Tokenizer | None = None,
    **settings: Any,
) -> Path:
    """A whole checkpoint directory of a random model with a tied head, at step 7."""
    tokenizer = tokenizer or tiny_tokenizer()
    settings = {"vocab_size": tokenizer.vocab_size, **settings}
    model = tiny_model(family, **settings)
    with torch.no_grad():
        model.embedding.weight[tokenizer.eot] *= 0.001  # never the likeliest: greedy answers do not end by themselves
    sections = {"infer": infer or {}, "data": data or {}, "train": {"sequence": 16}}
    config = Config(model=model.config.model_dump(), **sections)
    directory.parent.mkdir(parents=True, exist_ok=True)
    vocabulary = directory.with_name(f"{directory.name}.tokenizer.json")
    tokenizer.save(vocabulary)
    facts = {"step": 7, "tokens": 1, "family": family, "parameters": count_parameters(model), "metrics": {}}
    with new_checkpoint(directory, facts) as folder:
        write_weights(folder, model, config, vocabulary)
    vocabulary.unlink()
    return directory
