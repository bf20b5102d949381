"""Weights in the published OpenMythos layout ↔ a Mythos checkpoint that computes the same (see `openmythos_layout`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mythos.contract.config import RecurrentConfig
from mythos.contract.errors import ConfigError
from mythos.contract.load import parse_config
from mythos.interop.files import make_tokenizer, read_settings, read_weights
from mythos.interop.imports import Imported, check_tensors, some, write_import
from mythos.interop.openmythos_layout import EMBEDDING, HEAD, LOG_A, LOG_DT, TABLES, decay, rules
from mythos.models.build import build_model
from mythos.models.injection import LTIInjection

SETTINGS = {
    "vocab_size": "vocab_size",
    "dim": "width",
    "n_heads": "n_heads",
    "max_seq_len": "context",
    "max_loop_iters": "loops",
    "prelude_layers": "prelude_layers",
    "coda_layers": "coda_layers",
    "attn_type": "attention",
    "n_experts": "n_experts",
    "n_shared_experts": "n_shared_experts",
    "n_experts_per_tok": "experts_per_token",
    "expert_dim": "expert_width",
    "act_threshold": "act_threshold",
    "rope_theta": "rope_theta",
    "lora_rank": "loop_lora_rank",
}
GQA_SETTINGS = {"n_kv_heads": "n_kv_heads"}
MLA_SETTINGS = {
    "kv_lora_rank": "mla_kv_rank",
    "q_lora_rank": "mla_q_rank",
    "qk_rope_head_dim": "mla_rope_dim",
    "qk_nope_head_dim": "mla_nope_dim",
    "v_head_dim": "mla_v_dim",
}
PUBLISHED: dict[str, Any] = {
    "norm_eps": 1e-6,
    "loop_index_embedding": True,
    "loop_index_theta": 10_000.0,
    "halting": "act",
    "act_remainder": False,
    "halted_tokens": "run",
    "initial_state": "prelude",
    "a_max": 0.996,  # theirs is 1
}
"""What the published code does without a setting for it."""
HARMLESS = {"use_flash_mla"}
"""Switches of later versions that change no result."""
SETTINGS_CLASS = "open_mythos.main.MythosConfig"


def import_openmythos(source: Path, target: Path, settings: Path, tokenizer: Path | None = None) -> Imported:
    """Make the checkpoint directory `target` of foreign weights and their JSON configuration.

    Raises MythosError, and leaves `target` as it was, for anything that does not fit.
    """
    values = read_settings(settings)
    foreign = {name: t for name, t in read_weights(source, (SETTINGS_CLASS,)).items() if not name.startswith(TABLES)}
    model_config = convert_settings(values, foreign, str(settings))
    weights, remarks = from_openmythos(foreign, model_config, f"{source} does not fit {settings}")
    vocabulary, said = make_tokenizer(tokenizer, model_config.vocab_size)
    remarks += [said] if said else []
    note, infer = f"OpenMythos, imported from {source.name}.", {"exit": "auto", "loops": model_config.loops}
    return write_import(target, model_config, weights, vocabulary, note, remarks, infer=infer)


def convert_settings(values: dict[str, Any], foreign: dict[str, Tensor], where: str) -> RecurrentConfig:
    """Our configuration of a published one; what it does not name is read off the weights. Raises ConfigError."""
    names = SETTINGS | (MLA_SETTINGS if values.get("attn_type") == "mla" else GQA_SETTINGS)
    if missing := [key for key in names if key not in values]:
        raise ConfigError(f"{where} lacks {some(missing)}.", "Name a whole configuration of OpenMythos.")
    if strange := [key for key, value in values.items() if value is True and key not in HARMLESS]:
        raise ConfigError(
            f"{where} switches on {some(strange)}.", "Only the published model without it can be imported."
        )
    if odd := [key for key in names if key != "attn_type" and not isinstance(values[key], int | float)]:
        raise ConfigError(f"{where}: {some(odd)} must be numbers.", "Mend it.")
    gate = next((t for name, t in foreign.items() if name.endswith(".0.ffn.gate.weight") and t.dim() == 2), None)
    settings = {ours: values[theirs] for theirs, ours in names.items()} | PUBLISHED
    settings |= {
        "max_loops": values["max_loop_iters"],
        "shared_expert_width": values["expert_dim"] * values["n_experts_per_tok"],
        "ffn_width": gate.shape[0] if gate is not None else values["dim"] * 4 // 3,
        "tie_embeddings": _is_tied(foreign),
    }
    try:
        config = parse_config({"model": settings, "train": {"sequence": 4}}, where=where).model
    except ConfigError as error:
        message = error.message
        for theirs, ours in names.items():
            message = message.replace(f"model.{ours}:", f"{theirs}:")
        raise ConfigError(message, "Mend it.") from None
    assert isinstance(config, RecurrentConfig)
    if config.width % 16 or not config.loop_lora_rank or not config.n_experts:
        raise ConfigError(
            f"{where} needs a dim divisible by 16, a lora_rank and experts.", "Name another configuration."
        )
    return config


def _is_tied(foreign: dict[str, Tensor]) -> bool:
    """Whether there is one matrix for embedding and head, perhaps saved twice."""
    both = [foreign[name].float() for name in (EMBEDDING, HEAD) if name in foreign]
    return len(both) < 2 or torch.equal(*both)


def from_openmythos(
    foreign: dict[str, Tensor], config: RecurrentConfig, fault: str = "The weights do not fit"
) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict in float32, and remarks on what could not be kept. Raises CheckpointError naming odd tensors."""
    if config.tie_embeddings and HEAD in foreign:
        foreign = {EMBEDDING: foreign[HEAD], **{name: t for name, t in foreign.items() if name != HEAD}}
    meta = build_model(config, "meta").state_dict()
    check_tensors(foreign, {name: list(t.shape) for name, t in to_openmythos(meta, config).items()}, fault)
    foreign = {name: tensor.detach().float() for name, tensor in foreign.items()}
    ours = {rule.ours: rule.join(*(foreign[name] for name in rule.theirs)).contiguous() for rule in rules(config)}
    return ours, moved_channels(decay(foreign[LOG_A], foreign[LOG_DT]), ours["injection.raw_dt"], config)


def to_openmythos(state: dict[str, Tensor], config: RecurrentConfig) -> dict[str, Tensor]:
    """Their state dict of ours. The model must have the switches of PUBLISHED, adapters, and SwiGLU."""
    split = {rule.theirs: rule.split(state[rule.ours].detach()) for rule in rules(config)}
    return {n: t.contiguous() for names, tensors in split.items() for n, t in zip(names, tensors, strict=True)}


def moved_channels(theirs: Tensor, raw_dt: Tensor, config: RecurrentConfig) -> list[str]:
    """A remark if some A of `theirs` [D] lie outside our bounds, so that the nearest bound took their place.

    Published code lets A round to 1, which is what its own bound meant to rule out. Ours is off by 0.01 at most, so the
    model stays worth looking at; but its logits are then not exactly those of its makers, and that must be said.
    """
    layer = LTIInjection(config.width, config.a_max)
    layer.raw_dt.data = raw_dt
    ours = layer.A().detach()
    off = (ours - theirs).abs()
    if not (count := int((off > 1e-4).sum())):
        return []
    worst = int(off.argmax())
    return [
        f"WARNING: A of {count} channels lies outside what a loop may keep here and was moved to the nearest bound, "
        f"channel {worst} the furthest: {float(theirs[worst]):.6f} → {float(ours[worst]):.6f}. Logits will differ slightly."
    ]
