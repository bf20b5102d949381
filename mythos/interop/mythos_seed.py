"""The published dense Mythos checkpoints (.pt) → a Mythos checkpoint that computes the same.

They hold `model` (tensors), `config` (a dict of settings), `optimizer` and `step`. The rotary tables among the tensors
follow from the settings; the head is saved beside the embedding even where it is the same matrix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mythos.contract.config import DenseConfig
from mythos.contract.errors import ConfigError
from mythos.interop.files import find_weights, make_tokenizer, read_object, read_settings
from mythos.interop.imports import Imported, check_tensors, some, write_import
from mythos.interop.llama import Names, foreign_shapes, join_tensors, parse_dense

SETTINGS = {
    "vocab_size": "vocab_size",
    "d_model": "width",
    "n_layers": "n_layers",
    "n_heads": "n_heads",
    "n_kv_heads": "n_kv_heads",
    "d_ff": "ffn_width",
    "max_seq_len": "context",
    "norm_eps": "norm_eps",
    "rope_theta": "rope_theta",
}
PUBLISHED: Names = {
    "embedding.weight": ("embedding.weight",),
    "layers.*.attention_norm.weight": ("layers.*.attn_norm.weight",),
    "layers.*.attention.qkv.weight": tuple(f"layers.*.attention.w{part}.weight" for part in "qkv"),
    "layers.*.attention.out.weight": ("layers.*.attention.wo.weight",),
    "layers.*.ffn_norm.weight": ("layers.*.ffn_norm.weight",),
    "layers.*.ffn.up.weight": ("layers.*.feed_forward.w1.weight", "layers.*.feed_forward.w3.weight"),
    "layers.*.ffn.out.weight": ("layers.*.feed_forward.w2.weight",),
    "norm.weight": ("norm.weight",),
    "head.weight": ("output.weight",),
}
EMBEDDING, HEAD = "embedding.weight", "output.weight"
TABLES = ("rope_cos", "rope_sin")


def import_mythos_seed(
    source: Path, target: Path, settings: Path | None = None, tokenizer: Path | None = None
) -> Imported:
    """Make the checkpoint directory `target` of a published file; `settings` is a JSON file for one without its own.

    Raises MythosError, and leaves `target` as it was, for anything that does not fit.
    """
    held = read_object(source)
    weights = {name: t for name, t in find_weights(held, source).items() if name not in TABLES}
    values = read_settings(settings) if settings else held.get("config")
    config = convert_settings(values, weights, str(settings or f"The configuration in {source}"))
    if config.tie_embeddings:
        weights.pop(HEAD, None)
    check_tensors(weights, foreign_shapes(config, PUBLISHED), f"{source} does not fit its configuration")
    vocabulary, said = make_tokenizer(tokenizer, config.vocab_size)
    step = held.get("step", 0)
    return write_import(
        target,
        config,
        join_tensors(weights, config, PUBLISHED),
        vocabulary,
        f"Mythos dense, imported from {source.name}.",
        [said] if said else [],
        step=step if isinstance(step, int) else 0,
    )


def convert_settings(values: Any, weights: dict[str, Tensor], where: str) -> DenseConfig:
    """Our configuration of a published one; whether the head is tied is read off the weights. Raises ConfigError."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is missing or no set of settings.", "Name a JSON file of them with --config.")
    if missing := [key for key in SETTINGS if key not in values]:
        raise ConfigError(f"{where} lacks {some(missing)}.", "Name a JSON file of all settings with --config.")
    tied = HEAD not in weights or (EMBEDDING in weights and torch.equal(weights[EMBEDDING], weights[HEAD]))
    settings = {ours: values[theirs] for theirs, ours in SETTINGS.items()} | {"tie_embeddings": tied}
    return parse_dense(settings, SETTINGS, where)
