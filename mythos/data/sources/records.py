"""JSON Lines and JSON: a document per value, and a report of every one that is not text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from mythos.contract.config import SourceConfig
from mythos.data.sources.document import Document, Report, Unit
from mythos.data.sources.streams import TOO_LONG, Line, lines, open_stream

JSON_LIMIT = 256 << 20
"""Bytes of the largest file that is one JSON value; above it, JSON Lines can be read without holding all of it."""

Consumed = Callable[[int], None]

_SPACE = re.compile(r"[ \t\r\n]*")


def read_json_lines(unit: Unit, source: SourceConfig, report: Report, consumed: Consumed) -> Iterator[Document]:
    """One document per line: `{text_key: "..."}`, named by the line's number; far into a large file by its offset."""
    with open_stream(unit.place, consumed) as stream:
        for line in lines(stream, unit.start, unit.stop):
            tail, where = f"#{line.number}", f"{unit.place}:{line.number}"
            if unit.start:
                tail, where = f"#@{line.offset}", f"{unit.place}@{line.offset}"
            value = _json(line, where, report)
            if value is not None:
                yield from _text(value[0], unit.name + tail, where, source, report)


def _json(line: Line, where: str, report: Report) -> tuple[Any] | None:
    """The line's value; None for a blank line and, reported, for a bad one."""
    try:
        if line.data is not None:
            text = line.data.decode("utf-8" if line.offset else "utf-8-sig").strip()
            return (json.loads(text),) if text else None
        report.skip(TOO_LONG, where)
    except UnicodeDecodeError:
        report.skip("undecodable", where)
    except (ValueError, RecursionError):
        report.skip("bad JSON", where)
    return None


def _text(value: Any, identity: str, where: str, source: SourceConfig, report: Report) -> Iterator[Document]:
    found = value.get(source.text_key) if isinstance(value, dict) else value
    if isinstance(found, str):
        yield Document(identity, found, where)
    else:
        report.skip(f"without text under {source.text_key!r}", where)


def read_json(unit: Unit, source: SourceConfig, report: Report, consumed: Consumed) -> Iterator[Document]:
    """A document per element of an array, or one; JSON Lines under the name `.json` are read as what they are."""
    if _begins_with_an_object(unit):
        yield from read_json_lines(unit, source, report, consumed)
        return
    with open_stream(unit.place, consumed) as stream:
        data = stream.read(JSON_LIMIT + 1)
    if len(data) > JSON_LIMIT:
        return report.skip("JSON above 256 MiB (JSON Lines may be larger)", unit.place)
    try:
        for number, value in enumerate(_values(data.decode("utf-8-sig")), start=1):
            yield from _text(value, f"{unit.name}#{number}", f"{unit.place}#{number}", source, report)
    except UnicodeDecodeError:
        report.skip("undecodable", unit.place)
    except RecursionError:
        report.skip("bad JSON", unit.place)
    except ValueError as error:
        report.skip("bad JSON", f"{unit.place}:{getattr(error, 'lineno', 1)}")


def _begins_with_an_object(unit: Unit) -> bool:
    """Whether the first line is a whole JSON object."""
    with open_stream(unit.place) as stream:
        first = next(lines(stream), None)
    value = _json(first, "", Report()) if first else None
    return value is not None and isinstance(value[0], dict)


def _values(text: str) -> Iterator[Any]:
    """The elements of the array that `text` is, or its one value. Raises JSONDecodeError, after what comes before it."""
    decode = json.JSONDecoder().raw_decode
    at = _skip_space(text, 0)
    if text[at : at + 1] == "[":
        at = _skip_space(text, at + 1)
        while text[at : at + 1] != "]":
            value, at = decode(text, at)
            yield value
            at = _skip_space(text, at)
            if text[at : at + 1] == ",":
                at = _skip_space(text, at + 1)
            elif text[at : at + 1] != "]":
                raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
        at += 1
    elif at < len(text):
        value, at = decode(text, at)
        yield value
    if _skip_space(text, at) < len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
