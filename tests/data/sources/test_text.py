"""Plain text and source code: whole, in parts, compressed, damaged."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mythos.data.sources import text

Read = Callable[..., Any]


def zst(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def test_source_code_is_a_document_per_file_and_other_files_are_left(tmp_path: Path, read_files: Read) -> None:
    for name in ("a.rs", "b.JS", "c.tsx", "d.h", "e.go.gz", "f.png", "g.lock", "h.pyc", "Makefile", "i.tar.gz"):
        data = f"text of {name}".encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found, _ = read_files(tmp_path)
    assert list(found) == ["a.rs", "b.JS", "c.tsx", "d.h", "e.go.gz"]
    assert found["e.go.gz"].text == "text of e.go.gz"


def test_compressed_text_is_what_it_was(tmp_path: Path, read_files: Read) -> None:
    content = "Grüße\n" * 5000
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(content[:90].encode()) + gzip.compress(content[90:].encode()))
    (tmp_path / "b.md.zst").write_bytes(zst(content.encode()) * 2)
    found, _ = read_files(tmp_path)
    assert {i: d.text for i, d in found.items()} == {"a.txt.gz": content, "b.md.zst": content * 2}


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.json"])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "flipped"])
def test_a_broken_file_is_reported_and_costs_no_other(
    tmp_path: Path, read_files: Read, name: str, suffix: str, damage: str
) -> None:
    data = b"text\n" + b"".join(f'{{"text": "{i * i * i}"}}\n'.encode() for i in range(3000))
    packed = bytearray(gzip.compress(data) if suffix == ".gz" else zst(data))
    if damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / (name + suffix)
    path.write_bytes({"truncated": packed[: len(packed) // 2], "garbage": b"garbage " * 9}.get(damage, packed))
    (tmp_path / "good.txt").write_text("good")
    found, report = read_files(tmp_path)
    assert found["good.txt"].text == "good"
    if damage != "flipped" or suffix == ".gz":  # frames of zstd need not carry a checksum
        assert report.skipped["broken"] == 1
        assert str(path) in report.samples["broken"][0]


def test_utf16_is_told_by_its_mark(tmp_path: Path, read_files: Read) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße 👍".encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(b"\xfe\xff" + "Grüße".encode("utf-16-be"))
    (tmp_path / "c.txt").write_bytes(b"\xff\xfeodd")
    found, report = read_files(tmp_path)
    assert [d.text for d in found.values()] == ["Grüße 👍", "Grüße"]
    assert report.skipped == {"undecodable": 1}


def test_source_code_in_an_encoding_of_domain_names_is_not_decoded(tmp_path: Path, read_files: Read) -> None:
    """They would take hours for a file of some megabytes."""
    for i, name in enumerate(("punycode", "Puny_Code", "idna", "IDNA")):
        (tmp_path / f"{i}.py").write_bytes(f"# coding: {name}\nx = 1".encode())
    (tmp_path / "good.py").write_bytes(b"# coding: KOI8_R\nx = '\xc1'")
    found, report = read_files(tmp_path)
    assert [d.text for d in found.values()] == ["# coding: KOI8_R\nx = 'а'"]
    assert report.skipped == {"undecodable": 4}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(text, "PART", 10_000)
    return 10_000


def test_a_large_text_is_cut_at_blank_lines(tmp_path: Path, read_files: Read, small_parts: int) -> None:
    paragraphs = [f"Paragraph {i}\n" + "words and words\n" * (i % 9) + "\n" for i in range(500)]
    (tmp_path / "a.txt").write_text("".join(paragraphs))
    found, _ = read_files(tmp_path)
    assert list(found) == [f"a.txt#part-{i + 1}" for i in range(len(found))]
    assert "".join(d.text for d in found.values()) == "".join(paragraphs)
    assert all(d.text.startswith("Paragraph") and len(d.text) <= small_parts for d in found.values())
    assert len(found) <= len("".join(paragraphs)) // (small_parts // 2) + 1
    assert found["a.txt#part-2"].path == f"{tmp_path}/a.txt#part-2"


@pytest.mark.parametrize(("unit", "ends"), [("é" * 7 + "\r\n\r\n", "\r\n\r\n"), ("é" * 7 + "\n", "\n"), ("é👍", "")])
def test_text_without_blank_lines_is_cut_at_lines_or_characters(
    tmp_path: Path, read_files: Read, small_parts: int, unit: str, ends: str
) -> None:
    content = unit * 4000
    (tmp_path / "a.txt").write_bytes(content.encode())
    found, report = read_files(tmp_path)
    assert not report.skipped
    assert len(found) > 1
    assert "".join(d.text for d in found.values()) == content
    assert all(d.text.endswith(ends) and len(d.text.encode()) <= small_parts for d in found.values())


def test_a_part_that_cannot_be_read_costs_itself_alone(tmp_path: Path, read_files: Read, small_parts: int) -> None:
    lines = [b"a line of text\n"] * 3000
    lines[1000], lines[2000] = b"\xff\xff\n", b"a\0b\n"
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"".join(lines)))
    found, report = read_files(tmp_path)
    assert report.skipped == {"undecodable": 1, "binary": 1}
    assert len(found) == 3
    assert report.samples["undecodable"] == ["a.txt.gz#part-2"]


def test_a_text_of_exactly_one_part_stays_whole(tmp_path: Path, read_files: Read, small_parts: int) -> None:
    (tmp_path / "a.txt").write_text("x" * small_parts)
    (tmp_path / "b.txt").write_text("x" * (small_parts + 1))
    assert list(read_files(tmp_path)[0]) == ["a.txt", "b.txt#part-1", "b.txt#part-2"]
