"""`mythos export`: a checkpoint for shipping, for Hugging Face transformers, or as GGUF."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mythos.cli.options import DEFAULT_RUNS, CheckpointPath, Overrides, Runs, locate_checkpoint, quantity, say
from mythos.contract.errors import ConfigError
from mythos.contract.load import load_config


class Dtype(StrEnum):
    """Formats of shipped weights."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def mythos(
    checkpoint: CheckpointPath,
    target: Annotated[Path, typer.Argument(metavar="DST", help="Directory to write.")],
    runs: Runs = DEFAULT_RUNS,
    dtype: Annotated[Dtype, typer.Option(help="Format of the weights.")] = Dtype.bfloat16,
    overrides: Overrides = None,
) -> None:
    """Copy a checkpoint for shipping: without training state, weights rounded. --set infer.KEY=VALUE changes defaults."""
    import torch

    from mythos.checkpoint import export_checkpoint

    path = locate_checkpoint(checkpoint, runs)
    if strange := [override for override in overrides or [] if not override.startswith("infer.")]:
        raise ConfigError(
            f"{strange[0]!r} cannot change in a trained checkpoint.", "Only keys of infer can: see mythos config."
        )
    infer = load_config(path / "config.yaml", overrides or []).infer
    export_checkpoint(path, target, getattr(torch, dtype.value), infer)
    _say_size(target)


def hf(
    checkpoint: CheckpointPath,
    target: Annotated[Path, typer.Argument(metavar="DST", help="Directory to write; new or empty.")],
    runs: Runs = DEFAULT_RUNS,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Format of the weights; left out, that of the checkpoint.")
    ] = None,
) -> None:
    """Write a folder for transformers: a dense model as a Llama, a recurrent one with its own modelling code."""
    import torch

    from mythos.interop.hf import export_hf

    export_hf(locate_checkpoint(checkpoint, runs), target, getattr(torch, dtype.value) if dtype else None)
    _say_size(target)


def gguf(
    checkpoint: CheckpointPath,
    target: Annotated[Path, typer.Argument(metavar="DST", help="File to write; its name ends in .gguf.")],
    runs: Runs = DEFAULT_RUNS,
    dtype: Annotated[str, typer.Option(help="Format of the matrices: f32, f16, bf16 or q8_0.")] = "f16",
) -> None:
    """Write a dense model for llama.cpp, and a Modelfile for Ollama beside it."""
    from mythos.interop.gguf import export_gguf

    done = export_gguf(locate_checkpoint(checkpoint, runs), target, dtype)
    say(f"{done.path}: {quantity(done.bytes, 'B')}")
    for remark in done.remarks:
        say(remark)


def _say_size(folder: Path) -> None:
    say(f"{folder}: {quantity(sum(file.stat().st_size for file in folder.iterdir()), 'B')}")
