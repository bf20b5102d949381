"""Plain text and source code: a file is a document, a large one several."""

from __future__ import annotations

import codecs
import io
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mythos.data.sources.document import Document, Report, Unit
from mythos.data.sources.streams import COMPRESSIONS, open_stream

PART = 8 << 20
"""Bytes above which a file becomes several documents."""

DOMAINS = ("punycode", "idna")
"""Encodings of domain names, which nobody writes source code in: they take quadratic time, hours for 8 MiB."""

_SNIFF = 8192  # bytes looked at for a NUL before a file is read whole
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(unit: Unit, report: Report, consumed: Callable[[int], None]) -> Iterator[Document]:
    """The file's documents, or none if it is not text."""
    with open_stream(unit.place, consumed) as stream:
        head = stream.read(_SNIFF)
        suffixes = [suffix for suffix in Path(unit.place).suffixes if suffix.lower() not in COMPRESSIONS]
        python = suffixes[-1:] == [".py"]
        wide = head.startswith(_UTF16) and not python
        if b"\0" in head and not wide:
            return report.skip("binary", unit.name)
        head += stream.read(PART + 1 - len(head))
        encoding = "utf-16" if wide else _cookie(head) if python else "utf-8-sig"
        if len(head) <= PART:
            parts: Iterator[tuple[str, bytes]] = iter([("", head)])
        elif wide:
            return report.skip("UTF-16 above 8 MiB", unit.name)
        else:
            parts = ((f"#part-{number}", part) for number, part in enumerate(_parts(head, stream), start=1))
        for tail, data in parts:
            yield from _decoded(data, encoding, unit, tail, report)


def _cookie(data: bytes) -> str:
    """The encoding that Python source names; "undefined", which decodes nothing, for an unknown one and one of DOMAINS."""
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:
        return "undefined"
    return "undefined" if codecs.lookup(encoding).name in DOMAINS else encoding


def _decoded(data: bytes, encoding: str, unit: Unit, tail: str, report: Report) -> Iterator[Document]:
    if b"\0" in data and encoding != "utf-16":
        return report.skip("binary", unit.name + tail)
    try:
        yield Document(unit.name + tail, data.decode(encoding), unit.place + tail)
    except (ValueError, LookupError):  # the latter: a coding cookie that names no text encoding
        report.skip("undecodable", unit.name + tail)


def _parts(buffer: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    """Pieces of PART bytes at most, cut after a blank line, else after a line, else between characters."""
    while len(buffer) > PART:
        at = _cut(buffer)
        yield buffer[:at]
        buffer = buffer[at:] + stream.read(PART)
        while len(buffer) <= PART and (more := stream.read(PART)):
            buffer += more
    yield buffer


def _cut(buffer: bytes) -> int:
    for mark in (b"\n\n", b"\n\r\n", b"\n"):
        at = buffer.rfind(mark, PART // 2, PART)
        if at >= 0:
            return at + len(mark)
    at = PART
    while at > PART - 4 and buffer[at] & 0xC0 == 0x80:  # inside a UTF-8 character
        at -= 1
    return at
