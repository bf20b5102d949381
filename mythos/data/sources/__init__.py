"""Documents of a corpus: the standard library's source code, files of yours, datasets of the hub, made-up tasks.

A source is cut into units that several processes may read. Whatever cannot be read as text is skipped and counted in
a `Report`; errors are a missing path or dataset, an unknown task and an empty corpus.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import replace

from mythos.contract.config import SourceConfig
from mythos.contract.errors import DataError
from mythos.data.sources.document import Document, Report, Unit
from mythos.data.sources.files import file_units, read_file
from mythos.data.sources.hub import hub_units, read_hub
from mythos.data.sources.synthetic import read_tasks, task_units

__all__ = ["Document", "Report", "Unit", "documents", "read", "units"]

_KINDS = {
    "stdlib": (file_units, read_file),
    "files": (file_units, read_file),
    "hf": (hub_units, read_hub),
    "synthetic": (task_units, read_tasks),
}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def units(source: SourceConfig) -> list[Unit]:
    """The pieces of a source in a fixed order, found without reading text. Raises DataError where it is not there."""
    return _KINDS[source.source][0](source)


def read(unit: Unit, source: SourceConfig, report: Report, consumed: Callable[[int], None]) -> Iterator[Document]:
    """The documents of a unit that hold text; `consumed` is told the bytes read as it goes on."""
    for document in _KINDS[source.source][1](unit, source, report, consumed):
        if not document.text or document.text.isspace():
            report.skip("empty", document.id)
        else:
            report.documents += 1
            yield replace(document, text=_LONE_SURROGATE.sub("\ufffd", document.text))


def documents(source: SourceConfig, report: Report | None = None) -> Iterator[Document]:
    """All documents of one source, in a fixed order. Raises DataError for a missing path or an empty source."""
    report = Report() if report is None else report
    for unit in units(source):
        yield from read(unit, source, report, lambda n_bytes: None)
    if not report.documents:
        raise _nothing_found(source, report)


def _nothing_found(source: SourceConfig, report: Report) -> DataError:
    """Says what was looked at and what to name instead."""
    hint = f"The text is expected under the key {source.text_key!r} (data.text_key)."
    match source.source:
        case "stdlib":
            where = sysconfig.get_paths()["stdlib"]
            hint = "Use data.source=files and name files of yours."
            return DataError(f"No Python source in {where}: {report.summary()}.", hint)
        case "files":
            kinds = "text, source code, .json, .jsonl, .csv, .tsv or .parquet files, plain or as .gz or .zst"
            hint = f"Name folders that hold {kinds}, or text files themselves. In records, {hint[0].lower()}{hint[1:]}"
            return DataError(f"No text in {', '.join(source.paths)}: {report.summary()}.", hint)
    return DataError(f"No text in {source.dataset or source.task or 'the tasks'}: {report.summary()}.", hint)
