"""What becomes a document, under which identity, and what is counted instead of crashing."""

import os
from pathlib import Path
from typing import Any

import pytest

from mythos.contract.config import DataConfig
from mythos.contract.errors import DataError
from mythos.contract.words import counted
from mythos.data.sources import Report, documents, units


def read(*paths: Path, **settings: Any) -> tuple[dict[str, str], Report]:
    report = Report()
    config = DataConfig(source="files", paths=tuple(map(str, paths)), **settings)
    return {d.id: d.text for d in documents(config, report)}, report


def test_folder_is_walked_in_sorted_order_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    for name in ("b/z.txt", "b/a.md", "a.rst", ".git/x.txt", "b/.hidden.txt", "image.png", "C.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    found, _ = read(tmp_path)
    assert list(found) == ["C.TXT", "a.rst", "b/a.md", "b/z.txt"]
    assert found["b/a.md"] == "text of b/a.md"


def test_a_named_file_may_have_any_suffix(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("line\n")
    assert read(tmp_path / "server.log")[0] == {"server.log": "line\n"}


def test_encodings(tmp_path: Path) -> None:
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfh\xc3\xa9")
    (tmp_path / "cookie.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    (tmp_path / "windows.txt").write_bytes(b"one\r\ntwo\r\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "rot.py").write_bytes(b"# coding: rot13\nx = 1\n")
    (tmp_path / "unknown.py").write_bytes(b"# coding: no-such-code\nx = 1\n")
    (tmp_path / "binary.txt").write_bytes(b"ab\0cd")
    (tmp_path / "empty.txt").write_bytes(b"  \n")
    found, report = read(tmp_path)
    assert found == {
        "bom.txt": "hé",
        "cookie.py": "# -*- coding: latin-1 -*-\nx = 'é'\n",
        "windows.txt": "one\r\ntwo\r\n",
    }
    assert report.skipped == {"undecodable": 3, "binary": 1, "empty": 1}
    assert report.samples["binary"] == ["binary.txt"]
    assert (report.files, report.documents) == (8, 3)


def test_json_lines_are_documents_and_bad_ones_are_counted_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    lines = [b'\xef\xbb\xbf{"body": "one"}', b"", b"{oops", b'{"text": "no"}', b"[1]", b'{"body": 5}']
    lines += [b'{"body": "\xff"}', b"[" * 100_000, b'{"body": ""}', b'{"body": "a\\ud800b"}']
    path.write_bytes(b"\n".join(lines))
    found, report = read(tmp_path, text_key="body")
    assert found == {"d.jsonl#1": "one", "d.jsonl#10": "a\ufffdb"}
    assert report.skipped == {"bad JSON": 2, "without text under 'body'": 3, "undecodable": 1, "empty": 1}
    assert report.samples["bad JSON"] == [f"{path}:3", f"{path}:8"]
    assert f"{path}:3" in report.summary()


def test_missing_path_is_named() -> None:
    with pytest.raises(DataError, match="no/such/place does not exist"):
        list(documents(DataConfig(source="files", paths=("no/such/place",))))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read(tmp_path / "pipe.txt")


@pytest.mark.parametrize("content", [None, "", " \n\n"])
def test_empty_corpus_says_what_was_looked_at_and_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert f"{counted(int(content is not None), 'file')}, 0 documents" in caught.value.message
    assert ".jsonl" in caught.value.hint


def test_wrong_text_key_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"content": "x"}\n' * 5)
    with pytest.raises(DataError, match="skipped 5 without text under 'text'"):
        read(tmp_path)


@pytest.mark.timeout(20)
def test_symlinks_neither_loop_nor_lead_outside(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (root / "a.txt").write_text("a")
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(outside)
    (root / "s.txt").symlink_to(outside / "secret.txt")
    assert read(root)[0] == {"a.txt": "a"}


def test_overlapping_paths_give_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("a")
    assert list(read(tmp_path, tmp_path / "in", tmp_path / "in/a.txt")[0]) == ["in/a.txt"]


def test_equal_names_under_two_roots_stay_two_documents(tmp_path: Path) -> None:
    for root in ("one", "two"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "a.txt").write_text(root)
    assert read(tmp_path / "one", tmp_path / "two")[0] == {"a.txt": "one", "a.txt~2": "two"}


def test_unprintable_file_names_do_not_crash(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    (identity,) = read(tmp_path)[0]
    assert identity.encode("utf-8")


def test_stdlib_holds_the_library_without_packages_tests_and_build_files() -> None:
    plain = {f.id for f in units(DataConfig())}
    assert {"stdlib/argparse.py", "stdlib/json/decoder.py", "stdlib/unittest/case.py"} <= plain
    assert not any("-packages" in i or "/test/" in i or "/tests/" in i or "_sysconfigdata" in i for i in plain)
    assert plain <= {f.id for f in units(DataConfig(include_tests=True))}
