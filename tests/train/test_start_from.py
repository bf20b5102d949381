"""A run that starts from the weights of another."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch

from mythos.checkpoint import export_checkpoint
from mythos.contract.errors import CheckpointError
from mythos.contract.rundir import RunPaths
from mythos.train.checkpoint import is_finite, save, start_from
from tests.fakes.checkpoints import write_checkpoint
from tests.train.test_objective import RECURRENT, trainer

SWITCHES = [*RECURRENT, "model.loops=3"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint after three steps."""
    run = trainer(tmp_path, SWITCHES)
    for _ in range(3):
        run.step()
    paths = RunPaths(tmp_path / "runs" / "a")
    paths.checkpoints.mkdir(parents=True)
    save(paths, run, tmp_path / "c" / "tokenizer.json", {})
    return paths.checkpoints / "step-00000003"


def test_weights_are_taken_over_and_everything_else_starts_anew(tmp_path: Path, source: Path) -> None:
    old, new = trainer(tmp_path, SWITCHES), trainer(tmp_path, [*SWITCHES, "train.seed=2", "train.lr=0.001"])
    for _ in range(3):
        old.step()
    taken = start_from(str(source), new, tmp_path / "c" / "tokenizer.json")
    assert taken == source and new.steps_done == 0
    for name, weight in new.model.state_dict().items():
        assert torch.equal(weight, old.model.state_dict()[name]), name
    before = new.model.embedding.weight.detach().clone()
    new.step()
    assert not torch.equal(before, new.model.embedding.weight)  # the optimizer holds the new parameters


def test_another_tokenizer_or_model_is_refused(tmp_path: Path, source: Path) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_text('{"another": 1}')
    with pytest.raises(CheckpointError, match="another tokenizer"):
        start_from(str(source), trainer(tmp_path, SWITCHES), other)
    with pytest.raises(CheckpointError, match="differs") as told:
        start_from(str(source), trainer(tmp_path, [*SWITCHES, "model.ffn_width=48"]), tmp_path / "c" / "tokenizer.json")
    assert re.fullmatch(r"Its model has --set model\.ffn_width=\d+\.", told.value.hint)
    with pytest.raises(CheckpointError):
        start_from(str(tmp_path / "nowhere"), trainer(tmp_path, SWITCHES), other)


def test_a_shipped_copy_does_not_tell_where_the_first_weights_lay(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "a")
    told = checkpoint / "config.yaml"
    text = told.read_text()
    assert "init_from: ''" in text
    told.write_text(text.replace("init_from: ''", "init_from: /home/somebody/runs/first"))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    packed = told.read_bytes()
    manifest["files"]["config.yaml"] = {"size": len(packed), "sha256": hashlib.sha256(packed).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    shipped = export_checkpoint(checkpoint, tmp_path / "b")
    assert "somebody" not in (shipped / "config.yaml").read_text()


def test_one_value_that_is_not_finite_is_found_wherever_it_lies():
    for value in (float("nan"), float("inf"), -float("inf")):
        for place in (0, 499, 999):
            tensor = torch.randn(1000, dtype=torch.bfloat16).reshape(10, 100)
            assert is_finite(tensor)
            tensor.view(-1)[place] = value
            assert not is_finite(tensor)
    assert is_finite(torch.zeros(0)) and is_finite(torch.tensor([1, 2]))
