"""What happened to the documents: how many were read, dropped by which rule and why, with a few samples of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from mythos.contract.words import counted
from mythos.data.sources import Report

SAMPLES = 5
"""Documents that are named per rule."""


@dataclass
class Drop:
    """Documents that one rule of one step dropped; `bytes` is None where they were never decoded."""

    step: str
    rule: str
    documents: int = 0
    bytes: int | None = None
    samples: list[dict[str, str]] = field(default_factory=list)

    def add(self, documents: int, size: int | None, samples: Iterable[dict[str, str]]) -> None:
        self.documents += documents
        self.bytes = self.bytes if size is None else (self.bytes or 0) + size
        self.samples = [*self.samples, *samples][:SAMPLES]


@dataclass
class Account:
    """The report of a corpus, or of a block of it. `kept` counts documents that passed reading and cleaning."""

    files: int = 0
    documents: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    dropped: list[Drop] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, step: str, rule: str, identity: str, reason: str, size: int | None) -> None:
        """One document less."""
        self.at(step, rule).add(1, size, [{"id": identity, "reason": reason}])

    def at(self, step: str, rule: str) -> Drop:
        """What that rule dropped so far."""
        found = next((drop for drop in self.dropped if (drop.step, drop.rule) == (step, rule)), None)
        if found is None:
            found = Drop(step, rule)
            self.dropped.append(found)
        return found

    def take_over(self, report: Report) -> None:
        """What a source could not read."""
        self.files += report.files
        self.notes += report.notes
        for rule, count in report.skipped.items():
            samples = [{"id": where, "reason": rule} for where in report.samples.get(rule, [])]
            self.at("read", rule).add(count, None, samples)

    def merge(self, other: Account) -> None:
        """Add what happened elsewhere."""
        for name in ("files", "documents", "bytes", "kept", "kept_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for step, count in other.changed.items():
            self.changed[step] = self.changed.get(step, 0) + count
        for drop in other.dropped:
            self.at(drop.step, drop.rule).add(drop.documents, drop.bytes, drop.samples)
        self.notes += [note for note in other.notes if note not in self.notes]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Account:
        return cls(**{**values, "dropped": [Drop(**drop) for drop in values["dropped"]]})

    def summary(self) -> str:
        """For example `3 files, 2 documents; dropped 1 binary (a.txt)`."""
        drops = [f"{drop.documents} {drop.rule} ({', '.join(s['id'] for s in drop.samples)})" for drop in self.dropped]
        text = f"{counted(self.files, 'file')}, {counted(self.documents, 'document')}"
        return "; ".join([text, *(["dropped " + ", ".join(drops)] if drops else []), *self.notes])
