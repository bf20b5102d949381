"""Parquet: a document per row, read in small batches of the one column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mythos.contract.config import SourceConfig
from mythos.data.sources import streams
from mythos.data.sources.document import Document, Report, Unit

_BATCH = 256  # rows
_BUFFER = 1 << 20  # bytes of a column that are read at once


def row_groups(path: str) -> list[int]:
    """Bytes of every row group, uncompressed; none where the file is broken, which reading it reports."""
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError):
        return []
    return [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]


def read_parquet(
    unit: Unit, source: SourceConfig, report: Report, consumed: Callable[[int], None]
) -> Iterator[Document]:
    """The rows of the unit's row groups, named by their number in the file. A broken group costs itself alone."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(unit.place, pre_buffer=False, buffer_size=_BUFFER)
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from error
    with file:
        metadata, key = file.metadata, source.text_key
        if key not in file.schema_arrow.names:
            return report.skip(f"without column {key!r}", unit.place)
        if not metadata.num_rows:
            return report.skip("empty", unit.name)
        first = sum(metadata.row_group(i).num_rows for i in range(unit.start)) + 1
        for i in range(unit.start, unit.stop):
            group = metadata.row_group(i)
            done = 0
            try:
                for batch in file.iter_batches(_BATCH, row_groups=[i], columns=[key]):
                    yield from _documents(batch.column(0), first + done, unit, key, report)
                    done += len(batch)
                    consumed(group.total_byte_size * len(batch) // group.num_rows)
            except (pyarrow.ArrowException, OSError):
                report.skip("in a broken row group", f"{unit.place}#{first + done}", group.num_rows - done)
            first += group.num_rows


def _documents(column: Any, first: int, unit: Unit, key: str, report: Report) -> Iterator[Document]:
    for number, value in enumerate(column, start=first):
        where = f"{unit.place}#{number}"
        try:
            text = value.as_py()
        except UnicodeDecodeError:
            report.skip("undecodable", where)
            continue
        if not isinstance(text, str):
            report.skip(f"without text under {key!r}", where)
        elif len(text) > streams.LONGEST:
            report.skip(streams.TOO_LONG, where)
        else:
            yield Document(f"{unit.name}#{number}", text, where)
