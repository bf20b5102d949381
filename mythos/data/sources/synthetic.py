"""Made-up tasks as a source of documents.

A document is 50 examples of one task, one per line: long enough to fill a training sequence without a document's
mark after every few characters, and small enough that the split by identity hash holds out whole documents evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mythos.contract.config import SourceConfig
from mythos.data.sources.document import Document, Report, Unit
from mythos.data.tasks import TASKS, VERSION, examples, find_tasks

EXAMPLES = 50
DOCUMENTS = 20
"""Examples per document, and documents per unit."""

DEFAULT = 10_000  # documents

_SIZE = 2000  # bytes of a document, about


def task_units(source: SourceConfig) -> list[Unit]:
    """Units of 1,000 examples each; of several tasks, in turn. Raises DataError for an unknown task."""
    find_tasks(source.task)
    count = source.max_documents or DEFAULT
    name = source.task or f"all-{len(TASKS)}"
    return [
        Unit(
            id=f"{name}/{start:06d}",
            fingerprint=f"{VERSION}:{source.task_seed}:{source.task_skew:g}" + ":ending" * source.task_ends,
            size=(stop - start) * _SIZE,
            name=name,
            start=start,
            stop=stop,
        )
        for start in range(0, count, DOCUMENTS)
        for stop in [min(start + DOCUMENTS, count)]
    ]


def read_tasks(unit: Unit, source: SourceConfig, report: Report, consumed: Callable[[int], None]) -> Iterator[Document]:
    """The unit's documents, each made from its own seed, so that no other one has a part in it."""
    tasks = find_tasks(source.task)
    for number in range(unit.start, unit.stop):
        task, difficulties = tasks[number % len(tasks)]
        made = examples(task, difficulties, EXAMPLES, (source.task_seed, number), source.task_skew)
        text = "".join(f"{(example.ending if source.task_ends else example).text}\n" for example in made)
        consumed(_SIZE)
        yield Document(f"{unit.name}/{number:06d}-{task.name}", text, f"{task.name}, document {number}")
