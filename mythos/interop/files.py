"""Foreign files, read with suspicion: weights without running code, settings, and a tokenizer where there is none."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Regex, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from mythos.contract.errors import CheckpointError, ConfigError
from mythos.data.tokenizer import EOT, Tokenizer
from mythos.data.vocabulary import read_frame

TORCH = (".pt", ".pth")
HOLDERS = ("model", "model_state_dict", "state_dict")
"""Keys under which training scripts keep the weights, beside optimizer and step."""
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What data parallelism, torch.compile and FSDP put into the names of tensors."""
PLAIN = "Save the bare weights with torch.save(model.state_dict(), FILE), or as .safetensors, and import those."


class Inert:
    """Stands in for a foreign class that lies beside the weights and is not needed: it does nothing."""


def read_weights(path: Path, ignore: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Tensors by name from .safetensors, .pt or .pth, wrappers' prefixes taken off.

    Raises CheckpointError.
    """
    return find_weights(read_object(path, ignore), path)


def read_object(path: Path, ignore: tuple[str, ...] = ()) -> Any:
    """What a file of weights holds: tensors by name, or whatever a training script saved.

    Pickles are opened with `weights_only=True`; the classes named in `ignore` become empty objects, any other refuses.
    Raises CheckpointError.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file at {path}.", "Name a file of weights: .safetensors, .pt or .pth.")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is no safetensors file: {error}.", "Copy it again.") from None
    if suffix in TORCH:
        return _load_pickle(path, ignore)
    raise CheckpointError(
        f"{path} ends in {path.suffix!r}; weights are read from .safetensors, .pt and .pth.", "Name such a file."
    )


def find_weights(found: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what `path` held, wrappers' prefixes taken off.

    Raises CheckpointError, also for tensors without numbers, sparse ones, and ones whose few numbers stand for many.
    """
    for _ in HOLDERS:
        if isinstance(found, dict):
            found = next((found[key] for key in HOLDERS if key in found), found)
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path} holds no state dict, neither at its top nor under {', '.join(HOLDERS)}.", PLAIN)
    if odd := [str(name) for name, tensor in found.items() if not _is_whole(tensor)]:
        raise CheckpointError(f"{path} does not hold every number of {odd[0]}, and only whole tensors are read.", PLAIN)
    return {WRAPPERS.sub("", str(name)): tensor for name, tensor in found.items()}


def _is_whole(tensor: Tensor) -> bool:
    """Whether each of its elements lies in memory on its own: a tiny file can else claim more than any memory holds."""
    if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.is_nested or tensor.is_quantized or tensor.is_meta:
        return False
    held = tensor.layout is torch.strided and tensor.untyped_storage().nbytes()
    return tensor.numel() * tensor.element_size() <= held


def _load_pickle(path: Path, ignore: tuple[str, ...]) -> Any:
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in ignore]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it names {named[1]}, and to load that could run code" if named else "it is damaged or no torch file"
        raise CheckpointError(f"{path} was refused: {what}.", PLAIN) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise CheckpointError(f"{path} cannot be read: {reason}.", "Copy it again.") from None


def read_settings(path: Path) -> dict[str, Any]:
    """The object at the top of a JSON file. Raises ConfigError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration at {path}.", "Name the JSON file of the model.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Name the JSON file of the model.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.", "Mend it.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, not an object of settings.", "Mend it.")
    return values


def make_tokenizer(given: Path | None, vocab_size: int) -> tuple[bytes, str]:
    """Contents of a tokenizer.json, those of `given` or else of one of bare ids, and what there is to say about it.

    Raises CheckpointError for a tokenizer with more tokens than the model has, or without an end-of-text token.
    """
    if given is None:
        said = (
            "No tokenizer was given: a text is a row of ids, as in <5><17>; any other characters in it are ignored, "
            f"and id 0, {EOT}, opens it."
        )
        return _id_tokenizer(vocab_size).to_str().encode(), said
    tokenizer = Tokenizer.load(given)
    tokens = tokenizer.vocab_size
    if tokens > vocab_size:
        raise CheckpointError(
            f"The tokenizer {given} has {tokens:,} tokens, but the model's vocabulary is {vocab_size:,}.",
            "Name the tokenizer that the model was trained with.",
        )
    spare = vocab_size - tokens
    said = f"The tokenizer has no token for the last {spare:,} ids: they are never generated." if spare else ""
    contents = given.read_bytes()
    told = read_frame(Backend.from_buffer(contents)) == tokenizer.frame
    return contents if told else tokenizer.to_json().encode(), said


def _id_tokenizer(vocab_size: int) -> Backend:
    """Token i is written `<i>`. What is no such id has no token."""
    vocab = {EOT: 0, **{f"<{i}>": i for i in range(1, vocab_size)}}
    backend = Backend(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"<\d+>"), "isolated")
    return backend
