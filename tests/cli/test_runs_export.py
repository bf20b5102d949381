"""`mythos runs export`: every number of every step, whichever lines have it, and a file that is whole or not there."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mythos.cli import runs
from mythos.contract.config import Config
from mythos.contract.errors import MythosError
from mythos.contract.rundir import LineWriter, RunPaths, create_run
from mythos_tui.runs.reader import RunReader

LINES = [
    {"step": 1, "time": 1.5, "loss": float("nan"), "loss_parts": {"cross_entropy": 2.0}, "state_norm": [1.0, 2.0]},
    {"step": 2, "time": 2.5, "loss": float("inf"), "grad_norm": 1, "state_norm": [1.0], "odd": ["a", {"b": True}]},
    {"step": 3, "time": 3.5, "loss": 9.0},
    {"step": 2, "time": 4.5, "loss": -1e-300, "note": "resumed", "huge": 10**400},
]
WANTED = {
    "step": [1, 2],
    "time": [1.5, 4.5],
    "loss": [math.nan, -1e-300],
    "loss_parts.cross_entropy": [2.0, None],
    "state_norm.0": [1.0, None],
    "state_norm.1": [2.0, None],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    monkeypatch.chdir(tmp_path)
    paths = create_run("runs", "a", Config(), [])
    paths.metrics.write_text("".join(json.dumps(line) + "\n" for line in LINES) + '{"step": 4, "lo')
    return paths


def mythos(*arguments: str) -> str:
    result = CliRunner().invoke(runs.app, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def same(found: list[float | None], wanted: list[float | None]) -> bool:
    return str(found) == str(wanted)  # NaN equals NaN, 1 differs from 1.0


def test_csv_has_the_union_of_columns_and_keeps_nan_apart_from_nothing(run: RunPaths) -> None:
    assert mythos("export", "a").startswith("a-metrics.csv: 2 steps, 6 columns")
    with open("a-metrics.csv", newline="") as file:
        names, *rows = list(csv.reader(file))
    assert names == list(WANTED)
    assert rows == [["1", "1.5", "nan", "2.0", "1.0", "2.0"], ["2", "4.5", "-1e-300", "", "", ""]]


def test_parquet_has_the_same_with_types(run: RunPaths) -> None:
    mythos("export", str(run.root), "table", "--parquet")
    table = pq.read_table("table")
    assert table.column_names == list(WANTED) and str(table.schema.field("step").type) == "int64"
    for name, wanted in WANTED.items():
        assert same(table[name].to_pylist(), wanted), name


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["ghost"], "no run 'ghost'"),
        (["a", "x.csv", "--csv", "--parquet"], "exclude each other"),
        (["a", "x.xlsx"], "x.xlsx does not say"),
        (["a", "x.csv", "--parquet"], "--parquet contradicts the name x.csv"),
        (["a", "x.PARQUET", "--csv"], "--csv contradicts the name x.PARQUET"),
        (["a", "-", "--csv"], "- is no name of a file"),
        (["a", "runs", "--csv", "--force"], "cannot be written: Not a file"),
        (["a", "there.csv"], "exists already"),
        (["a", "nowhere/x.csv"], "cannot be written: No such file"),
        (["a", "nowhere/x.parquet"], "cannot be written"),
        (["empty"], "no metrics yet"),
    ],
)
def test_bad_requests_write_nothing(run: RunPaths, arguments: list[str], what: str) -> None:
    create_run("runs", "empty", Config(), [])
    Path("there.csv").write_text("mine")
    with pytest.raises(MythosError, match=what):
        mythos("export", *arguments)
    assert {path.name for path in Path().iterdir()} == {"runs", "there.csv"} and Path("there.csv").read_text() == "mine"


def test_a_file_is_replaced_only_by_a_whole_one(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.csv").write_text("old")

    def full(path: Path, columns: runs.Columns) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk, pytest.raises(MythosError, match="No space left"):
        disk.setitem(runs.WRITERS, runs.Format.csv, full)
        mythos("export", "a", "x.csv", "--force")
    assert Path("x.csv").read_text() == "old" and {path.name for path in Path().iterdir()} == {"runs", "x.csv"}
    mythos("export", "a", "x.csv", "--force")
    assert Path("x.csv").read_text().startswith("step,")


@pytest.mark.parametrize("option", [["--runs", "runs"], ["--json"]], ids=" ".join)
def test_options_of_the_list_are_not_taken_for_those_of_export(run: RunPaths, option: list[str]) -> None:
    """They were passed over: another folder's run of that name was exported."""
    with pytest.raises(MythosError, match=f"{option[0]} before export"):
        mythos(*option, "export", "a")
    assert {path.name for path in Path().iterdir()} == {"runs"}


def test_a_link_stays_and_its_file_is_replaced(run: RunPaths) -> None:
    Path("real").mkdir()
    Path("real/x.csv").write_text("old")
    Path("link.csv").symlink_to("real/x.csv")
    mythos("export", "a", "link.csv", "--force")
    assert Path("link.csv").is_symlink() and Path("real/x.csv").read_text().startswith("step,")
    assert [path.name for path in Path("real").iterdir()] == ["x.csv"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_pipe_gets_the_table_and_nothing_else(run: RunPaths, form: str) -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert mythos("export", "a", "link", f"--{form}") == ""
    found = os.read(reader, 1 << 16)
    os.close(reader)
    assert found.startswith(b"step," if form == "csv" else b"PAR1") and Path("pipe").is_fifo() and Path("link").is_symlink()


def test_a_pipe_outlives_an_export_that_fails(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow removes what it could not write, where it is given a name."""
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    opened = open

    def gone(*given: Any) -> IO[Any]:
        file = opened(*given)
        os.close(reader)
        return file

    monkeypatch.setattr("builtins.open", gone)
    with pytest.raises(BrokenPipeError):
        runs._write_parquet(Path("pipe"), {"step": [1]})
    assert Path("pipe").is_fifo()


def test_the_list_stays_where_it_was(run: RunPaths) -> None:
    assert json.loads(mythos("--json"))["runs"][0]["name"] == "a" and "RUN" in mythos("--runs", "runs")


@pytest.mark.slow
def test_a_day_of_training_is_read_in_a_second_and_kept_small(tmp_path: Path) -> None:
    """100,000 logged steps. Processor time: what else the machine does is not counted."""
    paths = create_run(tmp_path / "runs", "day", Config(), [])
    writer = LineWriter(paths.metrics)
    for step in range(100_000):
        writer.write({"step": step, "time": step / 7, "loss": 3 - step * 1e-6, "lr": 1e-3, "state_norm": [1.0, 2.0]})
    began = time.process_time()
    assert len(runs.whole_file(runs.JsonTail(paths.metrics))) == 100_000
    assert time.process_time() - began < 1
    reader, began = RunReader(paths), time.process_time()
    while (picture := reader.tick()[0]) is None or picture.loading:
        pass
    assert time.process_time() - began < 1
    assert len(picture.scalars["loss"]) == 100_000
    assert sum(column.nbytes for column in picture.scalars.values()) < 8_000_000
