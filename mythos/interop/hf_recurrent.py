"""A recurrent model of ours ↔ a Hugging Face folder with modelling code of its own, which imports nothing from here.

The code is `hub_code`: transformers copies it out of the folder and runs it where `trust_remote_code=True` is given.
Tensors keep their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mythos.contract.config import RecurrentConfig
from mythos.contract.errors import ConfigError
from mythos.contract.load import parse_config
from mythos.models.build import build_model

MODEL_TYPE = "mythos_recurrent"
CODE = Path(__file__).parent / "hub_code"
FILES = ("configuration_mythos.py", "modeling_mythos.py")
UNWRITTEN = ("family", "router", "tie_embeddings")
"""Settings that change no result, or that transformers has a name for."""


def to_settings(config: RecurrentConfig) -> dict[str, Any]:
    """The config.json. Raises ConfigError for what the modelling code does not cover."""
    if config.initial_state == "random":
        raise ConfigError(
            "The model starts from noise (initial_state random), which the exported code does not reproduce.",
            "Keep it as it is with `mythos export mythos`.",
        )
    return {
        "architectures": ["MythosRecurrentForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_mythos.MythosRecurrentConfig",
            "AutoModelForCausalLM": "modeling_mythos.MythosRecurrentForCausalLM",
        },
        "model_type": MODEL_TYPE,
        **config.model_dump(exclude=set(UNWRITTEN)),
        "tie_word_embeddings": config.tie_embeddings,
        "num_loops": config.loops,
        "exit": "act" if config.halting == "act" else "fixed",
    }


def from_settings(values: dict[str, Any], where: str) -> RecurrentConfig:
    """Our configuration of a config.json that `to_settings` made. Raises ConfigError."""
    known = set(RecurrentConfig.model_fields) - set(UNWRITTEN)
    if missing := sorted(known - set(values)):
        raise ConfigError(f"{where} lacks {missing[0]}.", "Name a folder that `mythos export hf` wrote.")
    settings = {key: values[key] for key in known} | {"tie_embeddings": values.get("tie_word_embeddings")}
    config = parse_config({"model": {"family": "recurrent", **settings}, "train": {"sequence": 4}}, where=where).model
    assert isinstance(config, RecurrentConfig)
    return config


def shapes(config: RecurrentConfig) -> dict[str, list[int]]:
    """Every tensor that the model has."""
    return {name: list(tensor.shape) for name, tensor in build_model(config, "meta").state_dict().items()}


def modelling_code() -> dict[str, str]:
    """The files that go into the folder."""
    return {name: (CODE / name).read_text(encoding="utf-8") for name in FILES}
