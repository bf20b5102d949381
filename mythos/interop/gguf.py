"""A dense checkpoint → one GGUF file that llama.cpp and what is built on it (Ollama, LM Studio) run, and a Modelfile.

From the same text llama.cpp makes the same ids, the token that opens a text first. One thing differs: in a prompt, it
takes the characters of a special token, such as `<|endoftext|>`, for that token; here they are ordinary text.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mythos.checkpoint import Checkpoint, load_checkpoint
from mythos.contract.config import DenseConfig, InferConfig
from mythos.contract.errors import CheckpointError, ConfigError, MythosError
from mythos.contract.rundir import write_named
from mythos.interop.gguf_file import BLOCK, DTYPES, choose_kinds, llama_tensors, write_file
from mythos.interop.gguf_vocabulary import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

MODELFILE = "# Written by `mythos export gguf`. Next: ollama create NAME -f Modelfile\n"
RUNS = {"activation": "swiglu", "attention": "gqa", "norm": "pre"}
"""What the `llama` of llama.cpp has; for our other settings it has no graph."""


@dataclass(frozen=True)
class GGUFExport:
    """What was written, and what a person should know about it."""

    path: Path
    modelfile: Path
    tensors: int
    bytes: int
    remarks: list[str]


def export_gguf(source: Path, target: Path, dtype: str = "f16") -> GGUFExport:
    """Write the checkpoint (or a run's latest) at `source` as GGUF to `target`, and a Modelfile for Ollama beside it.

    Raises MythosError: for a model or a tokenizer that llama.cpp does not have, for a target that is no .gguf file, for
    somebody else's Modelfile beside it, and where writing fails; then what was there stays and nothing is added.
    """
    if importlib.util.find_spec("gguf") is None:
        raise MythosError("The package gguf is not installed.", "Install it: pip install 'mythos-tui[gguf]'")
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown.", f"Choose one of {', '.join(DTYPES)}.")
    modelfile = _check_target(target)
    checkpoint = load_checkpoint(source)
    config = _check_model(checkpoint)
    vocabulary = read_vocabulary(checkpoint.path / "tokenizer.json", checkpoint.tokenizer, config.vocab_size)
    tensors = llama_tensors(checkpoint.model.state_dict(), config)
    kinds = choose_kinds(tensors, dtype)
    name = checkpoint.path.name.encode(errors="replace").decode()
    with _replacing(target) as temporary:
        write_file(temporary, name, config, vocabulary, tensors, kinds, dtype)
        write_named(modelfile, _modelfile(target.name, checkpoint.config.infer, config.context))
    remarks = _remarks(vocabulary, kinds, dtype) + _lost_stops(checkpoint.config.infer)
    return GGUFExport(target, modelfile, len(tensors), target.stat().st_size, remarks)


def _check_target(target: Path) -> Path:
    """The place of the Modelfile."""
    if target.suffix != ".gguf" or not target.name.isprintable():
        raise CheckpointError(f"{target} is no name for a GGUF file.", "Name a file that ends in .gguf.")
    if target.is_dir():
        raise CheckpointError(f"{target} is a directory.", "Name a file that ends in .gguf.")
    modelfile = target.with_name("Modelfile")
    if modelfile.exists() and not (modelfile.is_file() and modelfile.read_bytes().startswith(MODELFILE.encode())):
        raise CheckpointError(
            f"{modelfile} was not written by an export and would be lost.", "Move it, or export to another directory."
        )
    return modelfile


def _check_model(checkpoint: Checkpoint) -> DenseConfig:
    """The model's configuration, if llama.cpp computes the same from it."""
    config = checkpoint.config.model
    if not isinstance(config, DenseConfig):
        raise CheckpointError(
            f"{checkpoint.path} holds a recurrent model, and llama.cpp has no graph for a block that loops and halts.",
            "Export it with `mythos export hf`, which brings the code of the loop along.",
        )
    if odd := [
        f"model.{name} {getattr(config, name)}" for name, value in RUNS.items() if getattr(config, name) != value
    ]:
        raise CheckpointError(
            f"{checkpoint.path} has {' and '.join(odd)}, which llama.cpp has no graph for.",
            f"Only models with {', '.join(f'{name} {value}' for name, value in RUNS.items())} can be exported to GGUF.",
        )
    return config


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A temporary sibling to write to, which becomes `target` at the end; on any error it is removed."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or f"{error}; the disk may be full"
        hint = "Free some space or name another place."
        raise CheckpointError(f"{target} cannot be written: {reason}.", hint) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _modelfile(name: str, infer: InferConfig, context: int) -> str:
    """How Ollama samples from the file beside it as `mythos chat` would: no penalties, no template around the prompt."""
    settings = {
        "temperature": infer.temperature,
        "top_k": infer.top_k,
        "top_p": infer.top_p,
        "min_p": 0,
        "repeat_penalty": 1,
        "num_ctx": context,
        "num_predict": infer.max_tokens,
    }
    stops = [stop for stop in infer.stop if stop and not _obstacle(stop)]
    lines = [*settings.items(), *(("stop", _quoted(stop)) for stop in stops)]
    parameters = "".join(f"PARAMETER {key} {value}\n" for key, value in lines)
    return f'{MODELFILE}FROM ./{name}\nTEMPLATE """{{{{ .Prompt }}}}"""\n{parameters}'


def _quoted(text: str) -> str:
    """As Ollama reads it: there are no escapes, and all between the quotes counts (its parser/parser.go, `unquote`)."""
    quotes = '"""' if '"' in text else '"'
    return f"{quotes}{text}{quotes}"


def _obstacle(text: str) -> str:
    """What in a text Ollama would not read as it is, even in quotes; "" for nothing."""
    if '"""' in text:
        return "three quotes in a row may end it early"
    dropped = next((char for char in text if not char.isprintable() and char not in "\n\r\t"), None)
    return f"Ollama drops U+{ord(dropped):04X}" if dropped else ""


def _lost_stops(infer: InferConfig) -> list[str]:
    obstacles = {stop: why for stop in infer.stop if (why := _obstacle(stop))}
    return [f"The Modelfile does not have the stop text {stop!r}: {why}." for stop, why in obstacles.items()]


def _remarks(vocabulary: Vocabulary, kinds: dict[str, GGMLQuantizationType], dtype: str) -> list[str]:
    found = []
    if whole := [name for name, kind in kinds.items() if dtype == "q8_0" and kind.name == "F16"]:
        found.append(
            f"{len(whole)} matrices are f16, {whole[0]} the first: their rows cannot be cut into blocks of {BLOCK}."
        )
    if count := len(vocabulary.unused):
        found.append(f"The tokenizer has no token for the last {count:,} ids: they are never generated.")
    return found
