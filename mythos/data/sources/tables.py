"""CSV and TSV: a document per row, and a report of every row that is not one."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from typing import IO

from mythos.contract.config import SourceConfig
from mythos.data.sources import streams
from mythos.data.sources.document import Document, Report, Unit
from mythos.data.sources.streams import TOO_LONG, lines, open_stream

_UNDECODED = re.compile("[\udc80-\udcff]")  # bytes that surrogateescape kept


def read_table(
    unit: Unit, source: SourceConfig, report: Report, consumed: Callable[[int], None], delimiter: str
) -> Iterator[Document]:
    """The rows of a file with a header, named by their number."""
    with open_stream(unit.place, consumed) as stream:
        text = _Lines(stream, unit, report)
        rows = _rows(text, delimiter)
        header = next(rows, [])
        if source.text_key not in header:
            return report.skip(f"without column {source.text_key!r}", unit.place)
        column = header.index(source.text_key)
        for number, row in enumerate(rows, start=1):
            if len(row) != len(header):
                report.skip("with more or fewer fields than the header", text.where)
            elif _UNDECODED.search(row[column]):
                report.skip("undecodable", text.where)
            else:
                yield Document(f"{unit.name}#{number}", row[column], text.where)


class _EndlessRow(csv.Error):
    """A row whose lines are longer than LONGEST together; as none of its fields is, only we can tell."""


class _Lines:
    """The decoded lines of a table, and which one was the last. Raises _EndlessRow."""

    def __init__(self, stream: IO[bytes], unit: Unit, report: Report) -> None:
        self._lines, self._unit, self.report = lines(stream), unit, report
        self._number, self._last = 0, ""
        self._row = 0  # bytes

    @property
    def where(self) -> str:
        return f"{self._unit.place}:{self._number}"

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            self._number = line.number
            if line.data is None:
                self.report.skip(TOO_LONG, self.where)
                continue
            self._last = line.data.decode("utf-8" if line.offset else "utf-8-sig", "surrogateescape")
            self._row += len(line.data)
            if self._row > streams.LONGEST:
                raise _EndlessRow
            return self._last
        raise StopIteration

    def begin_row(self) -> None:
        """The lines before this belong to other rows."""
        self._row = 0

    def leave_quotes(self) -> None:
        """Pass over lines up to the one that closes the quotes that the last line is in."""
        while self._last.count('"') % 2 == 0:
            self.begin_row()
            if next(self, None) is None:
                return


def _rows(text: _Lines, delimiter: str) -> Iterator[list[str]]:
    """The rows that are not blank; a bad one costs itself alone."""
    csv.field_size_limit(streams.LONGEST)
    rows = csv.reader(text, delimiter=delimiter)
    while True:
        text.begin_row()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            endless = isinstance(error, _EndlessRow) or "field limit" in str(error)
            text.report.skip(TOO_LONG if endless else "bad CSV", text.where)
            if endless:
                text.leave_quotes()
        else:
            if row:
                yield row
