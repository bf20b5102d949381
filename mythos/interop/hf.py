"""Checkpoints ↔ folders that `transformers` reads. Neither way needs transformers itself.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json  generation_config.json  README.md

A dense model is written as a Llama, a recurrent one together with its own modelling code (see `hf_recurrent`). Tensors keep
their bits both ways, in the precision that they are stored in unless another is asked for.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mythos.checkpoint import Checkpoint, load_checkpoint
from mythos.contract.config import DenseConfig, RecurrentConfig
from mythos.contract.errors import CheckpointError, ConfigError
from mythos.interop import hf_recurrent, llama
from mythos.interop.files import make_tokenizer, read_settings, read_weights
from mythos.interop.hf_card import model_card
from mythos.interop.imports import Imported, check_tensors, write_import

INDEX = "model.safetensors.index.json"
TABLES = ".rotary_emb.inv_freq"
"""Names of rotary tables, which are no weights, end in this."""


def export_hf(source: str | Path, target: Path, dtype: torch.dtype | None = None) -> Path:
    """Write the folder `target`, which must not exist yet or be empty; `dtype` None keeps that of the checkpoint.

    Raises MythosError, and leaves nothing behind, for a model that transformers would compute differently.
    """
    checkpoint = load_checkpoint(source)
    dtype = dtype or stored_dtype(checkpoint.path / "model.safetensors")
    settings, weights, code = as_foreign(checkpoint, dtype)
    texts = {
        "config.json": _json(settings),
        "generation_config.json": _json(generation_settings(checkpoint)),
        "tokenizer_config.json": _json(tokenizer_settings(checkpoint)),
        "tokenizer.json": (checkpoint.path / "tokenizer.json").read_text(encoding="utf-8"),
        "README.md": model_card(checkpoint, settings["dtype"]),
        **code,
    }
    with new_folder(target) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        _save(weights, folder)
    return target


def as_foreign(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, str]]:
    """config.json, tensors, and the modelling code by file name. Raises ConfigError."""
    config = checkpoint.config.model
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in checkpoint.model.state_dict().items()}
    if isinstance(config, DenseConfig):
        settings, weights, code = llama.to_settings(config), llama.split_tensors(state, config, llama.LLAMA), {}
    else:
        settings, weights, code = hf_recurrent.to_settings(config), state, hf_recurrent.modelling_code()
    shared = {"dtype": str(dtype).removeprefix("torch."), "use_cache": isinstance(config, DenseConfig)}
    return {**settings, **shared, **special_tokens(checkpoint)}, weights, code


def stored_dtype(file: Path) -> torch.dtype:
    """The precision in which a checkpoint's embedding lies on disk."""
    with safe_open(file, "pt") as weights:
        name = weights.get_slice("embedding.weight").get_dtype()
    return {"BF16": torch.bfloat16, "F16": torch.float16}.get(name, torch.float32)


def _save(weights: dict[str, Tensor], folder: Path) -> None:
    """One model.safetensors, or several with an index beyond 5 GB."""
    from huggingface_hub import save_torch_state_dict

    save_torch_state_dict(weights, folder, metadata={"format": "pt"})


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Fill the temporary sibling that this yields; on leaving it becomes `target` all at once. Raises CheckpointError."""
    target = target.absolute()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CheckpointError(f"{target} exists and is not empty.", "Name a new directory.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


# What goes along with the weights -------------------------------------------------------------------------------------


def special_tokens(checkpoint: Checkpoint) -> dict[str, int]:
    """Which ids open and end a text."""
    return {"bos_token_id": checkpoint.tokenizer.start, "eos_token_id": checkpoint.tokenizer.eot}


def generation_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """generation_config.json: the checkpoint's own sampling; ids for which the tokenizer has no token are never drawn."""
    infer = checkpoint.config.infer
    spare = list(range(checkpoint.tokenizer.vocab_size, checkpoint.config.model.vocab_size))
    sampling = {"temperature": infer.temperature, "top_k": infer.top_k, "top_p": infer.top_p}
    return {
        **special_tokens(checkpoint),
        "pad_token_id": checkpoint.tokenizer.eot,
        "do_sample": infer.temperature > 0,
        "max_length": checkpoint.config.model.context,
        **(sampling if infer.temperature > 0 else {}),
        **({"suppress_tokens": spare} if spare else {}),
        **({} if isinstance(checkpoint.config.model, DenseConfig) else {"use_cache": False}),
    }


def tokenizer_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """tokenizer_config.json. Nothing is put before or after a text that the tokenizer.json does not put there."""
    tokenizer = checkpoint.tokenizer
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokenizer.token_text(tokenizer.start),
        "eos_token": tokenizer.token_text(tokenizer.eot),
        "pad_token": tokenizer.token_text(tokenizer.eot),
        "model_max_length": checkpoint.config.model.context,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


# Import ---------------------------------------------------------------------------------------------------------------


def import_hf(source: Path, target: Path) -> Imported:
    """Make the checkpoint directory `target` of a Llama's folder, or of one that `export_hf` wrote.

    Raises MythosError, and leaves `target` as it was, for anything that does not fit.
    """
    if not source.is_dir():
        raise CheckpointError(f"There is no folder at {source}.", "Name the folder that holds config.json.")
    values = read_settings(source / "config.json")
    weights = read_folder(source)
    config = convert_settings(values, str(source / "config.json"))
    if config.tie_embeddings:
        weights.pop("lm_head.weight", None)
    if isinstance(config, DenseConfig):
        check_tensors(weights, llama.foreign_shapes(config, llama.LLAMA), f"{source} does not fit its config.json")
        state = llama.join_tensors(weights, config, llama.LLAMA)
    else:
        check_tensors(weights, hf_recurrent.shapes(config), f"{source} does not fit its config.json")
        state = weights
    tokenizer, said = make_tokenizer(find_tokenizer(source), config.vocab_size)
    return write_import(target, config, state, tokenizer, f"Imported from {source.name}.", [said] if said else [])


def convert_settings(values: dict[str, Any], where: str) -> DenseConfig | RecurrentConfig:
    """Our configuration of a config.json. Raises ConfigError."""
    if values.get("model_type") == hf_recurrent.MODEL_TYPE:
        return hf_recurrent.from_settings(values, where)
    return llama.from_settings(values, where)


def read_folder(folder: Path) -> dict[str, Tensor]:
    """Tensors of model.safetensors, or of the files that its index names. Raises CheckpointError."""
    if (folder / "model.safetensors").is_file():
        files = {"model.safetensors"}
    elif (folder / INDEX).is_file():
        named = read_settings(folder / INDEX).get("weight_map")
        files = set(map(str, named.values())) if isinstance(named, dict) else set()
        if not files or any(not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name) for name in files):
            raise ConfigError(f"{folder / INDEX} names no files, or files outside the folder.", "Copy it again.")
    else:
        raise CheckpointError(
            f"{folder} holds neither model.safetensors nor {INDEX}.",
            "Only safetensors are read: load it with transformers and save it with save_pretrained.",
        )
    tensors: dict[str, Tensor] = {}
    for name in sorted(files):
        tensors |= read_weights(folder / name)
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(TABLES)}


def find_tokenizer(folder: Path) -> Path | None:
    """Its tokenizer.json, None for a folder without any. Raises CheckpointError for one of another form alone."""
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    others = [name for name in ("tokenizer.model", "vocab.json", "tokenizer_config.json") if (folder / name).exists()]
    if others:
        raise CheckpointError(
            f"{folder} has no tokenizer.json, only {others[0]}.",
            "Write one with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER).",
        )
    return None
