"""`mythos export` and the imports beside it, as typed: what is printed, what is refused, what the card says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from mythos.interop.hf import export_hf
from tests.fakes.checkpoints import write_checkpoint

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> int:
    """`mythos …` in this process; its exit code."""
    from mythos.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mythos", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


def test_there_and_back_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "a", "dense")
    assert run("export", "hf", "a", "new/hf", "--dtype", "bfloat16") == 0
    assert capsys.readouterr().out.startswith("new/hf: ")
    assert run("import", "hf", "new/hf", "back", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"checkpoint", "parameters", "remarks"}
    assert run("export", "mythos", "a", "shipped") == 0
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("back", "shipped"))
    assert one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)
    assert run("generate", "back", "--prompt", "x", "--max-tokens", "2") == 0


BAD = [
    (["export", "hf", "ghost", "x"], "There is no checkpoint at ghost"),
    (["export", "hf", "a", "a"], "exists and is not empty"),
    (["export", "hf", "a", "a/config.yaml"], "exists and is not empty"),
    (["export", "hf", "odd", "x"], "no Llama has"),
    (["export", "hf", "a", "x", "--dtype", "int3"], "--dtype"),
    (["export", "a", "x"], "No such command"),
    (["import", "hf", "ghost", "x"], "There is no folder at ghost"),
    (["import", "hf", "a", "x"], "no configuration at a/config.json"),
    (["import", "mythos-seed", "ghost.pt", "x"], "There is no file at ghost.pt"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_gets_a_paragraph_and_leaves_nothing(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "a", "dense")
    write_checkpoint(tmp_path / "odd", "dense", activation="gelu")
    before = sorted(tmp_path.rglob("*"))
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert says in said and "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_the_card_says_what_the_checkpoint_knows_and_no_more(tmp_path: Path) -> None:
    shipped = (export_hf(ROOT / "checkpoints/quickstart", tmp_path / "hf") / "README.md").read_text()
    head, _, body = shipped.removeprefix("---\n").partition("---\n")
    assert yaml.safe_load(head)["library_name"] == "transformers"
    for fact in (
        "| parameters | 2,027,953 |",
        "| weights | bfloat16 |",
        "# quickstart\n",
        "| steps of its run | 400 |",
        "| tokens of its run | 819,200 |",
        "| bits per byte | 1.1253 |",
        "| data | Python's standard library |",
        "tokenizer.bos_token + ",
        "num_loops=8",
        "`gate:0.6` with at most 8 loops",
        "no cache",
        "PSF licence",  # from the checkpoint's own card
    ):
        assert fact in body, fact
    bare = (export_hf(write_checkpoint(tmp_path / "c", "dense"), tmp_path / "bare") / "README.md").read_text()
    assert "bits per byte" not in bare and "num_loops" not in bare and "licence" not in bare
    assert yaml.safe_load(bare.partition("```yaml\n")[2].partition("```")[0])["family"] == "dense"


def test_a_checkpoint_that_can_be_trained_on_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its training state was lost: what is shipped has none."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "a", "dense")
    state = write_checkpoint(tmp_path / "run/checkpoints/step-00000007") / "state"
    state.mkdir()
    (state / "trainer.json").write_text("{}")
    assert run("export", "mythos", "a", str(state.parent)) == 2
    assert "training state would be lost" in capsys.readouterr().err
    assert (state / "trainer.json").exists() and sorted(path.name for path in tmp_path.iterdir()) == ["a", "run"]
