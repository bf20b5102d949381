"""How sources are cut: every record in one unit, identities that stay, and fingerprints that change with the content."""

import gzip
import json
import os
import pickle
import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mythos.contract.config import SourceConfig
from mythos.contract.errors import DataError
from mythos.data.sources import Report, Unit, files, read, units


def source_of(*paths: Path) -> SourceConfig:
    return SourceConfig(source="files", paths=tuple(map(str, paths)))


def texts(unit: Unit, source: SourceConfig) -> dict[str, str]:
    return {d.id: d.text for d in read(unit, source, Report(), lambda n_bytes: None)}


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_every_line_of_a_large_file_is_in_one_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    draw = random.Random(size)
    path = tmp_path / "a.jsonl"
    wanted = [f"text {i} " + "x" * draw.choice([0, 1, 5, 200]) for i in range(60)]
    path.write_bytes(b"".join(json.dumps({"text": text}).encode() + draw.choice([b"\n", b"\r\n"]) for text in wanted))
    source = source_of(path)
    whole = texts(units(source)[0], source)
    monkeypatch.setattr(files, "RANGE", size)
    cut = units(source)
    assert len(cut) == -(-path.stat().st_size // size)
    assert sum(unit.size for unit in cut) == path.stat().st_size
    parts = [texts(unit, source) for unit in cut]
    assert [text for part in parts for text in part.values()] == list(whole.values()) == wanted
    assert len({identity for part in parts for identity in part}) == len(wanted)


def test_appending_lines_changes_no_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RANGE", 100)
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": f"text {i}"}) + "\n" for i in range(50)]
    found = []
    for count in (30, 50):
        path.write_text("".join(lines[:count]))
        found.append({i: t for unit in units(source_of(path)) for i, t in texts(unit, source_of(path)).items()})
    assert len(found[0]) == 30
    assert found[0].items() <= found[1].items()


def test_a_range_says_where_a_bad_line_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RANGE", 16)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n{oops\n')
    report = Report()
    for unit in units(source_of(path)):
        list(read(unit, source_of(path), report, lambda n_bytes: None))
    assert (report.documents, report.files) == (2, 1)
    assert report.samples == {"bad JSON": [f"{path}@28"]}


def test_compressed_files_and_tables_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RANGE", 8)
    (tmp_path / "a.csv").write_text("text\none\ntwo\nthree\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one"}\n' * 5))
    assert [unit.id for unit in units(source_of(tmp_path))] == ["a.csv", "b.jsonl.gz"]


def test_units_travel_to_other_processes_and_come_in_the_same_order(tmp_path: Path) -> None:
    for name in "cab":
        (tmp_path / f"{name}.txt").write_text(name)
    found = units(source_of(tmp_path))
    assert [unit.id for unit in found] == ["a.txt", "b.txt", "c.txt"]
    assert pickle.loads(pickle.dumps(found)) == found == units(source_of(tmp_path))  # noqa: S301 - our own bytes


def test_fingerprints_follow_the_content_and_identities_do_not(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    (before,) = units(source_of(path))
    path.write_text("two")
    os.utime(path, ns=(0, time.time_ns() + 10**9))
    (after,) = units(source_of(path))
    assert before.id == after.id == "a.txt"
    assert before.fingerprint != after.fingerprint


def test_what_is_read_is_told_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 300_000)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(os.urandom(50_000).hex().encode()))
    (tmp_path / "c.csv").write_text("text\n" + "hello\n" * 1000)
    source = source_of(tmp_path)
    for unit in units(source):
        told: list[int] = []
        list(read(unit, source, Report(), told.append))
        assert sum(told) == unit.size == (tmp_path / unit.id).stat().st_size


def test_a_stop_while_reading_is_passed_on(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(n_bytes: int) -> None:
        raise Stop

    for name in ("a.txt", "a.jsonl", "a.csv", "a.json"):
        (tmp_path / name).write_text("text\n")
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b"text\n"))
        (tmp_path / f"{name}.zst").write_bytes(pa.compress(b"text\n", codec="zstd", asbytes=True))
    pq.write_table(pa.table({"text": ["text"]}), tmp_path / "a.parquet")
    source = source_of(tmp_path)
    for unit in units(source):
        with pytest.raises(Stop):
            list(read(unit, source, Report(), stop))


def test_a_file_that_vanished_is_reported(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl", "c.csv", "d.json", "e.parquet", "f.txt"):
        (tmp_path / name).write_text("some text\n")
    source = source_of(tmp_path)
    found = units(source)
    for name in "a.txt", "b.jsonl", "c.csv", "d.json", "e.parquet":
        (tmp_path / name).unlink()
    report = Report()
    assert [d.text for unit in found for d in read(unit, source, report, lambda n_bytes: None)] == ["some text\n"]
    assert report.skipped == {"unreadable": 5}
    assert report.samples["unreadable"][0] == f"{tmp_path / 'a.txt'}: No such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.txt").chmod(0)
    report = Report()
    (unit,) = units(source_of(tmp_path))
    assert not list(read(unit, source_of(tmp_path), report, lambda n_bytes: None))
    assert report.skipped == {"unreadable": 1}


def test_missing_paths_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        units(source_of(tmp_path / "none"))
