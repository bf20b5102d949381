"""`mythos eval` on any text and on tasks: options that go together, what is printed, and the documented keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from mythos.cli.app import app
from mythos.contract.errors import ConfigError
from mythos.data.loader import HeldOutDocument
from tests.cli.test_cli import documented_keys
from tests.fakes.checkpoints import TEXT, write_checkpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: checkpoints `dense` and `looped`, a text, a table of records, and something binary."""
    write_checkpoint(tmp_path / "dense", "dense")
    write_checkpoint(tmp_path / "looped")
    (tmp_path / "notes.txt").write_text(TEXT)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.jsonl").write_text("\n".join(json.dumps({"body": TEXT[i:]}) for i in range(9)))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "fine.txt").write_text(TEXT)
    (tmp_path / "odd" / "\x1b[2J.txt").write_bytes(b"\0\1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["eval", *arguments])
    if result.exception is not None:
        raise result.exception
    return result


CLASHES = [
    (["--text", "a", "--dataset", "b"], "--text does not go with --dataset"),
    (["--tasks", "a", "--max-tokens", "0"], "--max-tokens does not go with --tasks"),
    (["--tasks", "a", "--loops", "1,2"], "--tasks takes one loop count"),
    (["--text", "a", "--few-shot", "0"], "--few-shot does not go with --text"),
    (["--text", "a", "--loops", "1,2", "--stride", "4"], "--stride does not go with a sweep over depth of --text"),
    (["--stride", "4"], "--stride does not go with the checkpoint's held-out text"),
    (["--dataset", ":x"], "--dataset needs a name"),
    (["--tasks", ","], "--tasks names no task"),
]


@pytest.mark.parametrize(("arguments", "says"), CLASHES, ids=[" ".join(a) for a, _ in CLASHES])
def test_options_that_do_not_go_together(folder: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run("dense", *arguments)


def test_fewer_tokens_than_tenths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hardest tenth that runs nan times as long was told of."""
    few = [HeldOutDocument("few", np.arange(1, 11), 10)]
    monkeypatch.setattr("mythos.evals.checkpoint.own_documents", lambda *given: (few, 16))
    with pytest.raises(ConfigError, match="9 tokens cannot be sorted into tenths"):
        run("looped", "--tenths", "--max-tokens", "9")
    few[0] = HeldOutDocument("enough", np.arange(1, 12), 11)
    assert "10 held-out tokens" in run("looped", "--tenths", "--max-tokens", "10").stdout


def test_any_text(folder: Path) -> None:
    found = json.loads(run("dense", "--text", "notes.txt", "--stride", "8", "--json").stdout)
    assert set(found) == documented_keys("eval --text PATH")
    assert (found["documents"], found["bytes"], found["stride"]) == (1, len(TEXT.encode()), 8)
    plain = run("looped", "--text", "notes.txt", "--text", "odd", "--loops", "3")
    assert "mean loops            3.00" in plain.stdout and "perplexity" in plain.stdout
    assert "skipped 1 binary" in plain.stdout and "\x1b" not in plain.stdout
    assert "tokens" in plain.stderr


def test_a_dataset_in_a_folder(folder: Path) -> None:
    arguments = ("dense", "--dataset", "data::test", "--text-key", "body", "--json")
    found = json.loads(run(*arguments).stdout)
    assert found["documents"] == 9 and found["bytes"] == sum(len(TEXT[i:].encode()) for i in range(9))
    assert json.loads(run(*arguments, "--max-tokens", "50").stdout)["tokens"] == 50


def test_a_sweep_of_any_text(folder: Path) -> None:
    found = run("looped", "--text", "notes.txt", "--loops", "1,2", "--exit", "fixed", "--max-tokens", "60").stdout
    assert "60 tokens of 1 document, in windows of 16." in found and "held-out" not in found


def test_tasks(folder: Path) -> None:
    pytest.importorskip("lm_eval")
    dataset = {"data_files": {"test": "data/test.jsonl"}, "cache_dir": str(folder / "cache")}
    task = {"task": "bits", "dataset_path": "json", "dataset_kwargs": dataset, "test_split": "test"}
    task |= {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{body}}"}
    (folder / "bits.yaml").write_text(json.dumps(task | {"metric_list": [{"metric": "bits_per_byte"}]}))
    arguments = ("looped", "--tasks", "bits.yaml", "--limit", "2", "--loops", "2", "--context", "16")
    found = json.loads(run(*arguments, "--json").stdout)
    assert set(found) == documented_keys("eval --tasks NAMES")
    (result,) = found["tasks"].values()
    assert result["samples"] == 2 and found["mean_loops"] == 2 and found["context"] == 16
    expected = result["metrics"]["bits_per_byte"]["value"]
    plain = run(*arguments)
    assert f"bits_per_byte{expected:>14.4g}" in plain.stdout and "27 of 27 prompts" in plain.stderr
    assert max(map(len, plain.stdout.splitlines())) <= 80
