"""Reads a source whole, as the pipeline does: unit after unit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mythos.contract.config import SourceConfig
from mythos.data.sources import Document, Report, read, units

Reading = tuple[dict[str, Document], Report]


@pytest.fixture
def read_files() -> Callable[..., Reading]:
    def run(*paths: Path, **settings: Any) -> Reading:
        return read_source(SourceConfig(source="files", paths=tuple(map(str, paths)), **settings))

    return run


def read_source(source: SourceConfig) -> Reading:
    report = Report()
    found: dict[str, Document] = {}
    for unit in units(source):
        for document in read(unit, source, report, lambda n_bytes: None):
            assert document.id not in found, "an identity is given once"
            found[document.id] = document
    assert report.documents == len(found)
    return found, report
