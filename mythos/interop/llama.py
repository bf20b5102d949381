"""A dense model of ours ↔ LlamaForCausalLM on Hugging Face: settings and tensors, both ways, bit by bit.

Both rotate the halves of a head, so no row changes place: query, key and value, and gate and up, lie in one tensor of ours
each. The same holds for other layouts of this model, which differ in names alone (see `Names`).

D width, H query heads, K key/value heads, d width of a head, F hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mythos.contract.config import DenseConfig
from mythos.contract.errors import ConfigError
from mythos.contract.load import parse_config
from mythos.models.build import build_model

Names = dict[str, tuple[str, ...]]
"""Our tensor → theirs that it is made of, rows one below the other; `*` stands for the number of a layer."""

LLAMA: Names = {
    "embedding.weight": ("model.embed_tokens.weight",),
    "layers.*.attention_norm.weight": ("model.layers.*.input_layernorm.weight",),
    "layers.*.attention.qkv.weight": tuple(f"model.layers.*.self_attn.{part}_proj.weight" for part in "qkv"),
    "layers.*.attention.out.weight": ("model.layers.*.self_attn.o_proj.weight",),
    "layers.*.ffn_norm.weight": ("model.layers.*.post_attention_layernorm.weight",),
    "layers.*.ffn.up.weight": tuple(f"model.layers.*.mlp.{part}_proj.weight" for part in ("gate", "up")),
    "layers.*.ffn.out.weight": ("model.layers.*.mlp.down_proj.weight",),
    "norm.weight": ("model.norm.weight",),
    "head.weight": ("lm_head.weight",),
}
SETTINGS = {
    "vocab_size": "vocab_size",
    "hidden_size": "width",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "intermediate_size": "ffn_width",
    "max_position_embeddings": "context",
    "rms_norm_eps": "norm_eps",
    "rope_theta": "rope_theta",
    "initializer_range": "init_std",
    "tie_word_embeddings": "tie_embeddings",
}
REQUIRED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
DEFAULTS: dict[str, Any] = {
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}
"""What a Llama's config.json means where it is silent."""


def split_tensors(state: dict[str, Tensor], config: DenseConfig, names: Names) -> dict[str, Tensor]:
    """Their tensors of ours; each has memory of its own."""
    heads, kv_heads = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    sizes = {3: [heads, kv_heads, kv_heads], 2: [config.ffn_width] * 2}
    found: dict[str, Tensor] = {}
    for ours, theirs in _numbered(names, config).items():
        tensor = state[ours].detach()
        parts = tensor.split(sizes[len(theirs)]) if len(theirs) > 1 else (tensor,)
        found |= {name: part.clone() for name, part in zip(theirs, parts, strict=True)}
    return found


def join_tensors(weights: dict[str, Tensor], config: DenseConfig, names: Names) -> dict[str, Tensor]:
    """Our tensors of theirs, which must all be there and have the shapes of `foreign_shapes`."""
    return {
        ours: torch.cat([weights[name] for name in theirs]) if len(theirs) > 1 else weights[theirs[0]]
        for ours, theirs in _numbered(names, config).items()
    }


def foreign_shapes(config: DenseConfig, names: Names) -> dict[str, list[int]]:
    """Every tensor that a model of theirs has."""
    state = build_model(config, "meta").state_dict()
    return {name: list(tensor.shape) for name, tensor in split_tensors(state, config, names).items()}


def _numbered(names: Names, config: DenseConfig) -> Names:
    found: Names = {}
    for ours, theirs in names.items():
        if ours == "head.weight" and config.tie_embeddings:
            continue
        for number in range(config.n_layers) if "*" in ours else [0]:
            found[ours.replace("*", str(number))] = tuple(name.replace("*", str(number)) for name in theirs)
    return found


def to_settings(config: DenseConfig) -> dict[str, Any]:
    """The config.json of a model of ours. Raises ConfigError for one that is no Llama."""
    needed = {"activation": "swiglu", "norm": "pre", "attention": "gqa"}
    odd = [f"{key} {getattr(config, key)}" for key, value in needed.items() if getattr(config, key) != value]
    if odd:
        raise ConfigError(
            f"The model has {' and '.join(odd)}, which no Llama has, so transformers would compute something else.",
            "Keep it as it is with `mythos export mythos`, or train a model with swiglu, pre and gqa.",
        )
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{theirs: getattr(config, ours) for theirs, ours in SETTINGS.items()},
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
    }


def from_settings(values: dict[str, Any], where: str) -> DenseConfig:
    """Our configuration of a Llama's config.json. Raises ConfigError naming what cannot be represented."""
    if missing := [key for key in REQUIRED if not isinstance(values.get(key), int)]:
        raise ConfigError(f"{where} lacks {', '.join(missing)}.", "Name a whole folder of a Llama model.")
    if reasons := _obstacles(values):
        raise ConfigError(
            f"{where} cannot be imported: {'; '.join(reasons)}.", "Only a plain Llama gives its own numbers here."
        )
    known = DEFAULTS | {"num_key_value_heads": values["num_attention_heads"]}
    known |= {key: value for key, value in values.items() if value is not None}
    known |= {"rope_theta": _rope(values).get("rope_theta") or known["rope_theta"]}
    return parse_dense({ours: known[theirs] for theirs, ours in SETTINGS.items()}, SETTINGS, where)


def parse_dense(settings: dict[str, Any], names: dict[str, str], where: str) -> DenseConfig:
    """A checked configuration; complaints go by the foreign names. Raises ConfigError."""
    try:
        config = parse_config({"model": {"family": "dense", **settings}, "train": {"sequence": 4}}, where=where).model
    except ConfigError as error:
        message = error.message
        for theirs, ours in names.items():
            message = message.replace(f"model.{ours}:", f"{theirs}:")
        raise ConfigError(message, "Mend it, or name another model.") from None
    assert isinstance(config, DenseConfig)
    return config


def _rope(values: dict[str, Any]) -> dict[str, Any]:
    """The rotary settings: `rope_parameters` of transformers 5, `rope_scaling` of earlier ones."""
    nested = values.get("rope_parameters") or values.get("rope_scaling") or {}
    return nested if isinstance(nested, dict) else {"rope_type": nested}


def _obstacles(values: dict[str, Any]) -> list[str]:
    """What makes a configuration more than the Llama that our dense family is."""
    heads, width = values["num_attention_heads"], values["hidden_size"]
    head_dim, rope = values.get("head_dim"), _rope(values)
    scaling = rope.get("rope_type", rope.get("type", "default"))
    reasons = {
        f"its model_type is {values.get('model_type')!r}, not 'llama'": values.get("model_type") != "llama",
        f"its activation is {values.get('hidden_act')!r}, not 'silu'": values.get("hidden_act", "silu") != "silu",
        "its attention has biases": values.get("attention_bias", False),
        "its feed-forward blocks have biases": values.get("mlp_bias", False),
        f"its rotary embedding is scaled ({scaling})": scaling != "default",
        "it rotates a part of each head": rope.get("partial_rotary_factor", 1) not in (1, None),
        f"its head_dim {head_dim} is not hidden_size / num_attention_heads": head_dim is not None
        and head_dim * heads != width,
        "its weights are quantized": values.get("quantization_config"),
    }
    return [reason for reason, holds in reasons.items() if holds]
