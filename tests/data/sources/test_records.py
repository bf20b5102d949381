"""JSON Lines, JSON, CSV and TSV: good records are documents, every bad one is named, none costs another."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mythos.contract.config import SourceConfig
from mythos.data.sources import Report, files, read, records, streams, units
from mythos.data.sources.streams import TOO_LONG

Read = Callable[..., Any]


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of 1,000 bytes instead of 64 MiB, read 64 bytes at a time."""
    monkeypatch.setattr(streams, "LONGEST", 1000)
    monkeypatch.setattr(streams, "_PIECE", 64)
    return 1000


def texts(found: dict[str, Any]) -> dict[str, str]:
    return {identity: document.text for identity, document in found.items()}


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, read_files: Read, short_lines: int) -> None:
    fits = json.dumps({"text": "x" * (short_lines - 13)}) + "\n"
    assert len(fits) == short_lines
    long = json.dumps({"text": "x" * 100_000}) + "\n"
    (tmp_path / "a.jsonl").write_text(fits + long + '{"text": "b"}\n' + long.strip())
    found, report = read_files(tmp_path)
    assert list(found) == ["a.jsonl#1", "a.jsonl#3"]
    assert report.skipped == {TOO_LONG: 2}
    assert report.samples[TOO_LONG] == [f"{tmp_path}/a.jsonl:2", f"{tmp_path}/a.jsonl:4"]


def test_a_line_over_many_ranges_is_reported_once_and_read_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_lines: int
) -> None:
    monkeypatch.setattr(files, "RANGE", 2000)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' + "x" * 100_000 + '\n{"text": "b"}\n')
    source = SourceConfig(source="files", paths=(str(tmp_path),))
    report, told = Report(), list[int]()
    monkeypatch.setattr(streams, "_BUFFER", 64)
    found = [d.text for unit in units(source) for d in read(unit, source, report, told.append)]
    assert found == ["a", "b"]
    assert report.skipped == {TOO_LONG: 1}
    assert sum(told) < 150_000


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv"])
def test_an_endless_line_costs_bounded_memory(
    tmp_path: Path, read_files: Read, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(streams, "LONGEST", 1 << 20)
    data = b"text\n" + b"x" * (64 << 20) + b'\n{"text": "good"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
    tracemalloc.start()
    try:
        found, report = read_files(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert report.skipped[TOO_LONG] == 1
    assert len(found) == 1


def test_json_holds_an_array_or_one_object(tmp_path: Path, read_files: Read) -> None:
    (tmp_path / "array.json").write_text('\ufeff [\n{"text": "one"}, "two", 3, {"text": null}, {"text": "five"} ]\n')
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "one.json").write_text('{\n  "text": "whole"\n}\n')
    (tmp_path / "lines.json").write_text('{"text": "first"}\n{"text": "second"}\n{oops\n')
    found, report = read_files(tmp_path)
    assert texts(found) == {
        "array.json#1": "one",
        "array.json#2": "two",
        "array.json#5": "five",
        "lines.json#1": "first",
        "lines.json#2": "second",
        "one.json#1": "whole",
    }
    assert report.skipped == {"without text under 'text'": 2, "bad JSON": 1}
    assert report.samples["bad JSON"] == [f"{tmp_path}/lines.json:3"]


@pytest.mark.parametrize(
    ("tail", "line"), [("{oops", 3), ('{"text": "b"}', 3), ('"b"] more', 3), ("[" * 100_000, 1), ("9" * 9000, 1)]
)
def test_json_that_breaks_off_keeps_what_came_before(tmp_path: Path, read_files: Read, tail: str, line: int) -> None:
    (tmp_path / "a.json").write_text(f'[\n{{"text": "a"}},\n{tail}')
    found, report = read_files(tmp_path)
    assert texts(found)["a.json#1"] == "a"
    assert report.skipped == {"bad JSON": 1}
    assert report.samples["bad JSON"][0].startswith(str(tmp_path / "a.json") + (":3" if line == 3 else ""))


def test_large_json_is_refused_with_a_way_out(
    tmp_path: Path, read_files: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "JSON_LIMIT", 1000)
    (tmp_path / "a.json").write_text(json.dumps(["x" * 10] * 100, indent=1))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"[" + b" " * 5000 + b"]"))
    (tmp_path / "c.json").write_text(json.dumps({"text": "x"}) + "\n" + json.dumps({"text": "y"}) * 500)
    found, report = read_files(tmp_path)
    assert list(found) == ["c.json#1"], "lines are streamed, whatever their name is"
    assert report.skipped["JSON above 256 MiB (JSON Lines may be larger)"] == 2


def test_tables_are_read_by_their_header(tmp_path: Path, read_files: Read) -> None:
    (tmp_path / "a.csv").write_text('\ufeffid,text\n1,plain\n\n2,"two\nlines, ""quoted"""\n3,\n4,5" disk\n')
    (tmp_path / "b.tsv").write_text("text\tid\nAn, apple\t1\n")
    (tmp_path / "c.tsv.gz").write_bytes(gzip.compress(b"text\tid\nzipped\t1\n"))
    (tmp_path / "d.csv").write_text("content\nx\n")
    found, report = read_files(tmp_path)
    assert texts(found) == {
        "a.csv#1": "plain",
        "a.csv#2": 'two\nlines, "quoted"',
        "a.csv#4": '5" disk',
        "b.tsv#1": "An, apple",
        "c.tsv.gz#1": "zipped",
    }
    assert found["a.csv#2"].path == f"{tmp_path}/a.csv:5"
    assert report.skipped == {"empty": 1, "without column 'text'": 1}
    assert report.samples["without column 'text'"] == [f"{tmp_path}/d.csv"]


def test_bad_rows_cost_themselves_alone(tmp_path: Path, read_files: Read) -> None:
    rows = [b"text,id", b"one,1", b"caf\xe9,2", b"three", b"four,4,4", b"a\rb,5", b"caf\xc3\xa9,6", b"nul\0,7"]
    (tmp_path / "a.csv").write_bytes(b"\n".join(rows))
    found, report = read_files(tmp_path)
    assert texts(found) == {"a.csv#1": "one", "a.csv#5": "café", "a.csv#6": "nul\0"}
    assert report.skipped == {"undecodable": 1, "with more or fewer fields than the header": 2, "bad CSV": 1}
    assert report.samples["undecodable"] == [f"{tmp_path}/a.csv:3"]


@pytest.mark.parametrize("end", ['"', 'end"', 'a ""word"""'])
def test_a_row_above_the_limit_costs_itself_alone(tmp_path: Path, read_files: Read, short_lines: int, end: str) -> None:
    quoted = '"' + "a line, and\n" * 400 + end
    (tmp_path / "a.csv").write_text(f"text,id\none,1\n{quoted},2\ntwo,2\n{'x' * 5000},3\nfour,4\n")
    found, report = read_files(tmp_path)
    assert [d.text for d in found.values()] == ["one", "two", "four"]
    assert report.skipped == {TOO_LONG: 2}
    assert report.samples[TOO_LONG][1] == f"{tmp_path}/a.csv:405"


@pytest.mark.parametrize("end", ['"', '","end"', 'a ""word"""'])
def test_a_row_of_short_fields_without_end_costs_itself_alone(
    tmp_path: Path, read_files: Read, short_lines: int, end: str
) -> None:
    """Each line closes a quoted field and opens the next, so that no field and no line is too long, but the row is."""
    endless = '"' + '\n",,"' * 500 + end
    fits = '"' + "a line\n" * 140 + '"'
    (tmp_path / "a.csv").write_text(f"text,id\none,1\n{fits},2\n{endless},3\n{fits},4\nfive,5\n")
    found, report = read_files(tmp_path)
    assert [d.text for d in found.values()] == ["one", "a line\n" * 140, "a line\n" * 140, "five"]
    assert report.skipped == {TOO_LONG: 1}


def test_other_columns_are_named_by_the_setting(tmp_path: Path, read_files: Read) -> None:
    (tmp_path / "a.csv").write_text("body,text\nright,wrong\n")
    (tmp_path / "a.json").write_text('[{"body": "right", "text": "wrong"}]')
    assert set(texts(read_files(tmp_path, text_key="body")[0]).values()) == {"right"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.parquet"])
def test_an_empty_file_is_named(tmp_path: Path, read_files: Read, name: str) -> None:
    (tmp_path / name).touch()
    found, report = read_files(tmp_path)
    assert not found
    assert (report.skipped, report.samples) == ({"empty": 1}, {"empty": [name]})
