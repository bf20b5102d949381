"""Parquet: rows by their number in the file, a broken row group at its own cost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mythos.contract.config import SourceConfig
from mythos.data.sources import files, streams, units

Read = Callable[..., Any]
TEXTS = [f"Row {i} says é." for i in range(1000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": range(1000), "text": TEXTS}), found, row_group_size=100, compression="snappy")
    return found


def test_rows_are_documents_however_the_groups_are_shared_out(
    path: Path, read_files: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, report = read_files(path)
    assert [d.text for d in whole.values()] == TEXTS
    assert (report.files, whole["a.parquet#300"].text, whole["a.parquet#300"].path) == (1, TEXTS[299], f"{path}#300")
    monkeypatch.setattr(files, "RANGE", 6000)
    found = units(SourceConfig(source="files", paths=(str(path),)))
    assert 1 < len(found) < 10
    assert [unit.start for unit in found[1:]] == [unit.stop for unit in found[:-1]]
    assert found[-1].stop == 10
    shared, report = read_files(path)
    assert shared == whole
    assert report.files == 1


def test_a_broken_row_group_costs_itself_alone(path: Path, read_files: Read) -> None:
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(4).column(1)
    at = column.dictionary_page_offset or column.data_page_offset
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    found, report = read_files(path)
    assert [d.text for d in found.values()] == TEXTS[:400] + TEXTS[500:]
    assert list(found)[399:401] == ["a.parquet#400", "a.parquet#501"]
    assert report.skipped == {"in a broken row group": 100}
    assert report.samples["in a broken row group"] == [f"{path}#401"]


@pytest.mark.parametrize("damage", ["truncated", "text", "footer"])
def test_a_broken_file_is_named(path: Path, read_files: Read, damage: str) -> None:
    data = path.read_bytes()
    broken = {"truncated": data[: len(data) // 2], "text": b"no parquet at all", "footer": data[:-200] + data[-8:]}
    path.write_bytes(broken[damage])
    (path.parent / "b.txt").write_text("good")
    found, report = read_files(path.parent)
    assert list(found) == ["b.txt"]
    assert report.skipped == {"broken": 1}
    assert str(path) in report.samples["broken"][0]


def test_kinds_of_columns(tmp_path: Path, read_files: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LONGEST", 50)
    undecodable = pa.array([b"\xff\xfe", b"fine"]).view(pa.string())
    columns = {
        "dictionary": pa.array(["a", None, "x" * 51, "b"]).dictionary_encode(),
        "large": pa.array(["a", "", "b"], pa.large_string()),
        "undecodable": undecodable,
        "number": pa.array([1, 2]),
    }
    for name, column in columns.items():
        pq.write_table(pa.table({"text": column}), tmp_path / f"{name}.parquet", store_schema=True)
    pq.write_table(pa.table({"other": ["a"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    found, report = read_files(tmp_path)
    assert [d.text for d in found.values()] == ["a", "b", "a", "b", "fine"]
    assert report.skipped == {
        "without text under 'text'": 3,
        streams.TOO_LONG: 1,
        "empty": 2,
        "without column 'text'": 1,
        "undecodable": 1,
    }
