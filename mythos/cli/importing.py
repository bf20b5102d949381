"""`mythos import`: foreign weights become a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mythos.cli.options import Json, print_json, quantity, say

if TYPE_CHECKING:
    from mythos.interop.imports import Imported
    from mythos.interop.openmythos import Imported as ImportedOpenMythos

Target = Annotated[Path, typer.Argument(metavar="DST", help="Checkpoint directory to write.")]
OwnTokenizer = Annotated[
    Path | None, typer.Option("--tokenizer", metavar="FILE", help="Its tokenizer.json; left out, texts are ids.")
]


def openmythos(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Weights: .safetensors, .pt or .pth.")],
    target: Target,
    settings: Annotated[Path, typer.Option("--config", metavar="JSON", help="The model's own configuration.")],
    tokenizer: OwnTokenizer = None,
    as_json: Json = False,
) -> None:
    """Import weights in the published OpenMythos layout."""
    from mythos.interop.openmythos import import_openmythos

    done = import_openmythos(source, target, settings, tokenizer)
    _report(done, as_json)


def mythos_seed(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The published .pt file.")],
    target: Target,
    settings: Annotated[
        Path | None, typer.Option("--config", metavar="JSON", help="Its settings, for a file that holds none.")
    ] = None,
    tokenizer: OwnTokenizer = None,
    as_json: Json = False,
) -> None:
    """Import a published dense Mythos checkpoint."""
    from mythos.interop.mythos_seed import import_mythos_seed

    _report(import_mythos_seed(source, target, settings, tokenizer), as_json)


def hf(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with config.json and model.safetensors.")],
    target: Target,
    as_json: Json = False,
) -> None:
    """Import a Llama from a Hugging Face folder, or a folder that `mythos export hf` wrote."""
    from mythos.interop.hf import import_hf

    _report(import_hf(source, target), as_json)


def _report(done: Imported | ImportedOpenMythos, as_json: bool) -> None:
    if as_json:
        print_json({"checkpoint": str(done.path), "parameters": done.parameters, "remarks": done.remarks})
        return
    loops = f"{done.model.loops} loops, " if done.model.family == "recurrent" else ""
    say(f"{done.path}: {quantity(done.parameters)} parameters, {loops}context {done.model.context}")
    for remark in done.remarks:
        say(remark)
