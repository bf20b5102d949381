"""What a source consists of, what it yields, and what is told of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from mythos.contract.words import counted

_SAMPLES = 3


@dataclass(frozen=True)
class Document:
    """One text. `id` is the same on every machine and decides the split; `path` is where it was read."""

    id: str
    text: str
    path: str


@dataclass(frozen=True)
class Unit:
    """A piece of a source that one process reads by itself, always in the same order.

    `id` is unique within the source and the same on every machine; `fingerprint` changes when the content may have.
    """

    id: str
    fingerprint: str
    size: int  # bytes; 0 where unknown
    name: str  # what the identities of its documents begin with
    place: str = ""  # a file, a dataset or a task
    start: int = 0  # bytes, row groups, shards or documents of the place, from start up to stop
    stop: int = 0
    limit: int = 0  # documents to take at most; 0 is all


@dataclass
class Report:
    """What was read and what was left out, with a few samples of each reason."""

    files: int = 0
    documents: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def skip(self, reason: str, where: str, count: int = 1) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + count
        samples = self.samples.setdefault(reason, [])
        if len(samples) < _SAMPLES:
            samples.append(where)

    def summary(self) -> str:
        """For example `3 files, 2 documents; skipped 1 binary (a.txt)`."""
        text = f"{counted(self.files, 'file')}, {counted(self.documents, 'document')}"
        skips = [f"{n} {reason} ({', '.join(self.samples[reason])})" for reason, n in self.skipped.items()]
        return "; ".join([text, *(["skipped " + ", ".join(skips)] if skips else []), *self.notes])

    def as_dict(self) -> dict[str, object]:
        return asdict(self)
