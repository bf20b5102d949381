"""A tokenizer that is there already: a file, a checkpoint, or one on the hub."""

from __future__ import annotations

from pathlib import Path

from mythos.contract.checkpoints import find_checkpoint
from mythos.contract.errors import ConfigError, DataError
from mythos.data.tokenizer import Tokenizer


def reused_tokenizer(name: str, vocab_size: int) -> str:
    """Contents of the `tokenizer.json` that `name` stands for. Raises MythosError if there is none that a model of
    `vocab_size` tokens can use."""
    path = Path(name).expanduser()
    if path.is_dir():
        path = (path if (path / "tokenizer.json").is_file() else find_checkpoint(path)) / "tokenizer.json"
    elif not path.is_file():
        path = _from_hub(name)
    tokenizer = Tokenizer.load(path)
    if tokenizer.vocab_size > vocab_size:
        raise ConfigError(
            f"data.tokenizer {name} has {tokenizer.vocab_size:,} tokens, the model's vocabulary only {vocab_size:,}.",
            f"Set model.vocab_size to {tokenizer.vocab_size} or more.",
        )
    return tokenizer.to_json()


def _from_hub(name: str) -> Path:
    hint = "Name a tokenizer.json, a checkpoint or run directory, or a model on the hub, such as openai-community/gpt2."
    if name.count("/") > 1 or name.endswith(".json") or name.startswith((".", "~", "/")):
        raise DataError(f"There is no tokenizer at {name}.", hint)
    from huggingface_hub import snapshot_download

    wanted = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"]
    try:
        path = Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=5)) / "tokenizer.json"
    except Exception as error:  # the hub's client raises errors of many kinds, those of its transport among them
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"The tokenizer {name} is neither here nor on the hub: {reason}", hint) from error
    if not path.is_file():
        raise DataError(f"The model {name} on the hub has no tokenizer.json.", hint)
    return path
