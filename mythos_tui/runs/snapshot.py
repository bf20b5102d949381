"""Frozen pictures of a run, made off the event loop and drawn by the screens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mythos.contract.watch import RunSummary

Floats = NDArray[np.float64]
NOTHING: Floats = np.zeros(0)
X_AXES = ("step", "tokens", "minutes", "FLOPs")
"""What charts run over. Minutes are those of training: pauses, and the time between a stop and going on, are left out."""


@dataclass(frozen=True)
class Acknowledgement:
    """A worker's answer to a command."""

    run: str
    id: str
    command: str
    ok: bool
    message: str
    step: int | None


@dataclass(frozen=True)
class Alert:
    """What the worker's guard noticed: `kind` of the playbook ("" for others), its numbers, what to try, what was done."""

    message: str
    hint: str = ""
    level: str = "warning"
    step: int | None = None
    kind: str = ""
    evidence: str = ""
    action: str = ""
    time: float = float("nan")

    @property
    def symptom(self) -> str:
        """The message without the evidence that it ends with."""
        end = f": {self.evidence}."
        return self.message.removesuffix(end) if self.evidence else self.message


@dataclass(frozen=True, eq=False)
class Evaluations:
    """Evaluations on held-out documents, (n,) each."""

    step: Floats = field(default_factory=lambda: NOTHING)
    loss: Floats = field(default_factory=lambda: NOTHING)
    bits_per_byte: Floats = field(default_factory=lambda: NOTHING)


class LogLines(Sequence[str]):
    """The last of lines that only grow in number, as they are now: a picture of them that copies nothing."""

    def __init__(self, lines: Sequence[str], most: int) -> None:
        self._lines, self._range = lines, range(max(0, len(lines) - most), len(lines))

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return [self._lines[index] for index in self._range[at]]
        return self._lines[self._range[at]]


@dataclass(frozen=True, eq=False)
class RunSnapshot:
    """The selected run. `version` rises whenever metrics or evaluations changed; `log` holds the last lines of
    `log_total`; `generation` changes when the files were replaced and everything starts anew. `loading` says that
    older metrics are still being read; `device` is the worker's own event of that kind, `settings`
    the configuration in force by dotted key, where it was asked for."""

    summary: RunSummary
    generation: int = 0
    version: int = 0
    loading: bool = False
    scalars: Mapping[str, Floats] = field(default_factory=dict)
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    derived: Mapping[str, Floats] = field(default_factory=dict)
    latest: Mapping[str, Floats] = field(default_factory=dict)
    evaluations: Evaluations = field(default_factory=Evaluations)
    log: Sequence[str] = ()
    log_total: int = 0
    alerts: tuple[Alert, ...] = ()
    device: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def x(self, axis: str) -> Floats:
        """x of every metrics line on one of `X_AXES`; steps where the run does not tell."""
        return self.values(axis) if self.has(axis) else self.steps

    def values(self, key: str) -> Floats:
        """A scalar metric, or what follows from metrics; empty where the run does not tell."""
        return self.scalars.get(key, self.derived.get(key, NOTHING))

    @property
    def steps(self) -> Floats:
        """Step of every metrics line."""
        return self.scalars.get("step", NOTHING)

    def last(self, key: str) -> float | None:
        """The newest finite value of a scalar metric."""
        values = self.scalars.get(key, NOTHING)[-64:]
        finite = values[np.isfinite(values)]
        return float(finite[-1]) if finite.size else None

    def has(self, key: str) -> bool:
        """Whether this run reports a metric at all."""
        return key in self.scalars or key in self.vectors or key in self.derived

    @property
    def progress(self) -> Mapping[str, Any]:
        """What a preparing worker is at: stage, done, total, unit; empty otherwise."""
        found = self.summary.status.get("progress")
        return found if isinstance(found, dict) else {}
