"""Files and folders of yours, and the standard library: which files there are, and how each is cut and read."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mythos.contract.config import SourceConfig
from mythos.contract.errors import DataError
from mythos.data.sources.document import Document, Report, Unit
from mythos.data.sources.parquet import read_parquet, row_groups
from mythos.data.sources.records import read_json, read_json_lines
from mythos.data.sources.streams import BROKEN, COMPRESSIONS
from mythos.data.sources.tables import read_table
from mythos.data.sources.text import read_text

PROSE = frozenset({".txt", ".md", ".rst"})
CODE = frozenset(
    f".{name}"
    for name in """
    bash c cc cjs clj cpp cs css cu cuh cxx dart el erl ex exs go h hh hpp hs java jl js jsx kt lisp lua mjs ml nim
    php pl ps1 py pyi r rb rs scala scm sh sql swift tex ts tsx zig zsh
    """.split()  # noqa: SIM905
)
RECORDS = {".jsonl": "lines", ".ndjson": "lines", ".json": "json", ".csv": "csv", ".tsv": "tsv"}
_SUFFIXES = PROSE | CODE | RECORDS.keys()
"""What is taken from a folder, each also compressed (.gz, .zst), and .parquet. A named file may have any suffix."""

RANGE = 64 << 20
"""Bytes of a large file of lines, or of a Parquet file's row groups, that are one unit."""

_TESTS = frozenset({"test", "tests", "idle_test"})
_NOT_STDLIB = frozenset({"site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True)
class _SourceFile:
    """One file of the corpus with its machine-independent identity."""

    id: str
    path: Path
    size: int  # bytes
    mtime_ns: int


def file_units(source: SourceConfig) -> list[Unit]:
    """The units of all files in a fixed order. Raises DataError for a path that is missing."""
    return [unit for file in _source_files(source) for unit in _units_of(file)]


def _source_files(source: SourceConfig) -> list[_SourceFile]:
    """The files of the source in a fixed order, each once, with unique identities."""
    found = _stdlib_files(source.include_tests) if source.source == "stdlib" else _named_files(source.paths)
    files: dict[Path, _SourceFile] = {}
    taken: dict[str, int] = {}
    try:
        for identity, path in found:
            real = path.resolve()
            if real in files:
                continue  # overlapping paths: the same text must not land in both splits
            taken[identity] = taken.get(identity, 0) + 1
            unique = identity if taken[identity] == 1 else f"{identity}~{taken[identity]}"
            stat = path.stat()
            files[real] = _SourceFile(unique, path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DataError(f"Cannot read {error.filename}: {error.strerror}.", "Check the permissions.") from error
    return list(files.values())


def _units_of(file: _SourceFile) -> Iterator[Unit]:
    """The file in one piece, or in ranges of bytes or row groups. Every line belongs to the range it begins in."""
    fingerprint = f"{file.path.resolve()}:{file.size}:{file.mtime_ns}"
    ranges = [(0, 0, file.size)]
    if _kind(file.path) == "parquet":
        ranges = list(_group_ranges(row_groups(str(file.path)))) or ranges
    elif _kind(file.path) == "lines" and file.path.suffix.lower() not in COMPRESSIONS and file.size > RANGE:
        ranges = [(at, end, end - at) for at in range(0, file.size, RANGE) for end in [min(at + RANGE, file.size)]]
    for start, stop, size in ranges:
        identity = f"{file.id}@{start}" if start else file.id
        yield Unit(identity, fingerprint, size, file.id, str(file.path), start, stop)


def _group_ranges(sizes: list[int]) -> Iterator[tuple[int, int, int]]:
    """(first row group, one past the last, bytes) of about RANGE bytes each."""
    start = total = 0
    for i, size in enumerate(sizes, start=1):
        total += size
        if total >= RANGE or i == len(sizes):
            yield start, i, total
            start, total = i, 0


def read_file(unit: Unit, source: SourceConfig, report: Report, consumed: Callable[[int], None]) -> Iterator[Document]:
    """The unit's documents. What cannot be read is reported, and costs nothing that comes before it."""
    report.files += not unit.start
    if not unit.size:
        return report.skip("empty", unit.name)
    try:
        match _kind(Path(unit.place)):
            case "lines":
                yield from read_json_lines(unit, source, report, consumed)
            case "json":
                yield from read_json(unit, source, report, consumed)
            case "csv":
                yield from read_table(unit, source, report, consumed, ",")
            case "tsv":
                yield from read_table(unit, source, report, consumed, "\t")
            case "parquet":
                yield from read_parquet(unit, source, report, consumed)
            case _:
                yield from read_text(unit, report, consumed)
    except BROKEN as error:
        told = isinstance(error, OSError) and error.errno  # by the file system; a damaged file has no number
        report.skip("unreadable" if told else "broken", f"{unit.place}: {getattr(error, 'strerror', None) or error}")


def _kind(path: Path) -> str:
    """How a file is read: lines, json, csv, tsv, parquet or text."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".parquet"]:
        return "parquet"
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return RECORDS.get(suffixes[-1] if suffixes else "", "text")


def _taken(path: Path) -> bool:
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSIONS else path
    return inner.suffix.lower() in _SUFFIXES or path.suffix.lower() == ".parquet"


def _stdlib_files(include_tests: bool) -> Iterator[tuple[str, Path]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    if not root.is_dir():
        raise DataError(f"The standard library's folder {root} does not exist.", "Use data.source=files.")
    for relative in walk(root, _NOT_STDLIB if include_tests else _NOT_STDLIB | _TESTS):
        path = Path(relative)
        generated = path.parts[0].startswith(("_sysconfigdata", "config-"))  # describes the machine it was built on
        a_test = path.name.startswith("test_") and not include_tests
        if path.suffix == ".py" and not generated and not a_test:
            yield f"stdlib/{relative}", root / relative


def _named_files(paths: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for name in paths:
        root = Path(os.path.expanduser(name))  # unlike Path's, leaves ~nobody as it is, which is then told of
        if name and root.is_dir():
            for relative in walk(root):
                if _taken(Path(relative)):
                    yield _printable(relative), root / relative
        elif root.is_file():
            yield _printable(root.name), root
        else:
            fault = "is neither a file nor a folder" if name and root.exists() else "does not exist"
            hint = f"Check the spelling; relative paths start at {Path.cwd()}."
            raise DataError(f"data.paths: {name or 'an empty path'} {fault}.", hint)


def walk(root: Path, excluded: frozenset[str] = frozenset()) -> list[str]:
    """POSIX paths of regular files below root, sorted. Hidden names and symbolic links are left out."""
    found = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name not in excluded]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def _printable(name: str) -> str:
    """File names that are not UTF-8 reach Python as lone surrogates; write those as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
