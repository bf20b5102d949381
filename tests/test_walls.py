"""Importing a room in a fresh process loads only what the room may know."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = ("torch", "textual", "mythos.models", "mythos.data", "mythos.train", "mythos.infer")
WALLS = [
    ("mythos", ("torch", "textual", "numpy", "pydantic")),
    ("mythos.contract.config", LIGHT),
    ("mythos.contract.load", LIGHT),
    ("mythos.contract.budget", LIGHT),
    ("mythos.contract.rundir", LIGHT),
    ("mythos.contract.watch", LIGHT),
    ("mythos.contract.checkpoints", LIGHT),
    ("mythos.contract.protocol", LIGHT),
    ("mythos.cli.app", ("torch", "textual", "mythos.interop")),
    ("mythos.train.launch", ("torch", "textual")),
    ("mythos.data.prepare", ("torch", "textual", "mythos.models")),
    ("mythos.models.build", ("textual", "tokenizers", "mythos.data", "mythos.train")),
    ("mythos.train.loop", ("textual", "mythos.infer", "mythos.inspect")),
    ("mythos.interop.openmythos", ("textual", "mythos.train", "mythos.infer", "mythos.inspect", "mythos.cli")),
    ("mythos.interop.hf", ("textual", "transformers", "huggingface_hub", "mythos.train", "mythos.infer", "mythos.cli")),
    ("mythos.data.clean", ("torch", "textual", "ftfy", "py3langid", "rensa", "datasets")),
    ("mythos.data.sources", ("torch", "textual", "datasets", "pyarrow", "huggingface_hub")),
    ("mythos.scaling.plan", (*LIGHT, "scipy", "plotext", "mythos.cli")),
    ("mythos.study.studies", ("textual", "plotext", "mythos.cli", "mythos.interop")),
    ("mythos_tui", ("torch", "mythos.models")),
    ("mythos_tui.app", ("torch", "mythos.models", "mythos.data", "mythos.train", "mythos.infer")),
    ("mythos_tui.screens.train.screen", ("torch", "mythos.models", "mythos.train")),
    ("mythos_tui.screens.configure.screen", ("torch", "mythos.models", "mythos.train")),
    ("mythos_tui.screens.chat.screen", ("torch", "mythos.infer")),
    ("mythos_tui.screens.inspect.screen", ("torch", "mythos.infer", "mythos.inspect")),
]


@pytest.mark.parametrize(("room", "forbidden"), WALLS, ids=[room for room, _ in WALLS])
def test_a_room_loads_nothing_it_must_not_know(room: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys, {room}; print(sorted(set({forbidden!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_model_is_loaded_and_run_without_the_compiler() -> None:
    """It takes more than a second to load, which every command and every chat waited for."""
    code = (
        "import sys, torch; from mythos.contract.config import RecurrentConfig; from mythos.models.build import build_model\n"
        "config = RecurrentConfig(vocab_size=512)\n"
        "build_model(config, 'meta'); build_model(config)(torch.zeros(1, 4, dtype=torch.int64))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
