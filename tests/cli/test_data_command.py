"""`mythos data prepare` and `mythos data report`: what is printed, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mythos.cli.app import app
from mythos.cli.data import ProgressLine, progress_line, report_lines
from mythos.data.progress import Progress
from tests.data._corpora import write_texts

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line over a YAML file that holds a data section alone."""
    folder = write_texts(tmp_path / "text", 25)
    (folder / "copy.txt").write_text((folder / "003.txt").read_text())
    (folder / "binary\x1b[31m.txt").write_bytes(b"\0\1")
    (tmp_path / "data.yaml").write_text(
        f"model: {{vocab_size: 300}}\ndata: {{source: files, paths: [{folder}], dedup: exact, held_out_percent: 20}}\n"
    )
    monkeypatch.setenv("MYTHOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["data", *arguments])


def test_prepare_prints_what_each_step_dropped_and_why(run: Run) -> None:
    result = run("prepare", "data.yaml")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert Path(lines[0]).is_dir()
    assert lines[1].startswith("read 26 documents") and "27 files" in lines[1]
    (binary,) = [line for line in lines if "binary" in line]
    assert "1 dropped" in binary and binary.endswith("binary\\x1b[31m.txt")
    (exact,) = [line for line in lines if "exact" in line]
    assert "1 dropped" in exact and exact.endswith("copy.txt: like 003.txt")
    assert lines[-2].startswith("train ") and lines[-1].startswith("held_out ")
    assert "read " in result.stderr and "encode " in result.stderr and "\r" not in result.stderr


def test_report_shows_it_again_for_a_corpus_and_for_its_configuration(run: Run) -> None:
    prepared = run("prepare", "data.yaml").stdout
    assert run("report", "data.yaml").stdout == prepared
    assert run("report", prepared.splitlines()[0]).stdout == prepared
    found = json.loads(run("report", "data.yaml", "--json").stdout)
    assert found["report"]["dropped"][0]["samples"] and found["path"] == prepared.splitlines()[0]


def test_a_folder_that_is_no_corpus_is_not_told_to_be_deleted(run: Run) -> None:
    error = run("report", "text").exception
    assert "text is no prepared corpus" in str(error) and "Delete" not in str(error)


def test_overrides_lead_to_another_corpus(run: Run) -> None:
    run("prepare", "data.yaml")
    other = run("prepare", "data.yaml", "--set", "data.dedup=none")
    assert "exact" not in other.stdout
    missing = run("report", "data.yaml", "--set", "data.dedup=minhash")
    assert "not prepared yet" in str(missing.exception)


def test_a_mixture_has_totals_for_each_source() -> None:
    drop = {"step": "read", "rule": "binary", "documents": 1, "bytes": None, "samples": [{"id": "a", "reason": "b"}]}
    total = {"documents": 1, "tokens": 2, "bytes": 3}
    meta: dict[str, Any] = {
        "report": {"documents": 1, "bytes": 3, "files": 1, "changed": {"repair": 2}, "dropped": [drop], "notes": []},
        "sources": [{"name": "files", "train": total, "held_out": total}] * 2,
        "splits": {"train": total, "held_out": total},
    }
    lines = list(report_lines(meta))
    assert "repair     changed" in lines[1] and lines[2].endswith("a: b")
    assert sum(line.startswith("train") for line in lines) == 3  # each source, and all


def test_a_line_of_progress_tells_share_rate_and_time_left() -> None:
    half = Progress("read", 50_000_000, 100_000_000, "bytes", 10.0, found=10_000_000)
    assert progress_line(half) == "read        50 %  50 MB of 100 MB  4 MB/s  12s left"
    assert progress_line(Progress("read", 2_000, 0, "bytes", 1.0)).split() == "read 2 kB 2 kB/s".split()  # noqa: SIM905
    assert progress_line(Progress("write", 7, 7, "documents", 1.0)).endswith("7 of 7 documents  7/s  in 1.0 s")


def test_a_terminal_gets_one_line_that_is_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    show = ProgressLine()
    show._terminal = True
    for done in (1, 2):
        show(Progress("read", done, 2, "documents", 1.0))
    show(Progress("ready", 5, 5, "tokens", 0.0))
    told = capsys.readouterr().err
    assert told.count("\r\033[K") == 3 and told.count("\n") == 1
