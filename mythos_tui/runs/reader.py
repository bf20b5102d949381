"""Follows one run: metrics, events and log from where it stopped reading, a bounded share of time per tick."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from typing import Any

import numpy as np

from mythos.contract.errors import MythosError
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import JsonTail, RunSummary, Tail
from mythos_tui.runs.columns import Columns, Metrics, number
from mythos_tui.runs.control import settings as settings_of
from mythos_tui.runs.lister import stamp_of
from mythos_tui.runs.snapshot import Acknowledgement, Alert, Evaluations, LogLines, RunSnapshot
from mythos_tui.runs.summary import read_summary

LOG_LINES = 20_000
LOG_BYTES = 2 << 20
ALERTS = 500
ROUND_S = 0.002
BLOCK = 4 << 20


class RunReader:
    """Reads a run directory step by step and never writes to it."""

    def __init__(self, paths: RunPaths, settings: bool = False) -> None:
        self.paths = paths
        self._settings = Settings(paths) if settings else None
        self._first = True
        self._told: set[Acknowledgement] = set()
        self._generation = self._version = 0
        self._start()

    def _start(self) -> None:
        self._metrics_tail = JsonTail(self.paths.metrics)
        self._events_tail = JsonTail(self.paths.events)
        self._log_tail = Tail(self.paths.log, start_at_end_minus=LOG_BYTES)
        self._metrics = Metrics()
        self._evaluations: list[tuple[float, float, float]] = []
        self._alerts: deque[Alert] = deque(maxlen=ALERTS)
        self._device: dict[str, Any] = {}
        self._log = list[str]()
        self._log_total = 0
        self._loading = False
        self._ahead: deque[tuple[bytes, Future[Columns | None]]] = deque()

    def tick(self, budget_s: float = 0.05) -> tuple[RunSnapshot | None, list[Acknowledgement]]:
        """A picture of the run (None while there is no run) and the commands answered since the last tick.

        A replaced file has all of them read anew; what was told of before is not told again.
        """
        deadline = time.monotonic() + budget_s
        acknowledged = self._read_events()
        self._read_log()
        self._read_metrics(deadline)
        if self._restarted():
            self._start()
            self._generation += 1
            return self.tick(budget_s)
        summary = read_summary(self.paths)
        if summary is None:
            return None, []
        first, self._first = self._first, False
        new = [answer for answer in acknowledged if answer not in self._told]
        self._told.update(new)
        return self._picture(summary), [] if first else new

    def _restarted(self) -> bool:
        return any(tail.restarts for tail in (self._metrics_tail, self._events_tail, self._log_tail))

    def _read_metrics(self, deadline: float) -> None:
        """Rounds until there is nothing new or the time is up; of a long history the first round makes a first picture."""
        while True:
            first = not self._metrics.rows
            read = self._read_block() if self._ahead else self._read_lines()
            self._version += read
            self._loading = read and (time.monotonic() >= deadline or (first and bool(self._ahead)))
            if not read or self._loading:
                return

    def _read_lines(self) -> bool:
        """What is new, line by line; where much more is there, threads begin with that."""
        lines = self._metrics_tail.read_objects(ROUND_S)
        self._metrics.extend(lines)
        tail = self._metrics_tail
        if lines and tail.behind >= BLOCK:
            self._metrics.make_room(self._metrics.rows * (tail.offset + tail.behind) // tail.offset)
            self._parse_ahead()
        return bool(lines)

    def _read_block(self) -> bool:
        """A parsed block into the columns, while threads go on with those after it."""
        block, parsed = self._ahead.popleft()
        self._parse_ahead()
        columns = parsed.result()
        if columns is None or not self._metrics.extend_columns(columns):
            self._metrics.extend(self._metrics_tail.parse(block.split(b"\n")))
        return True

    def _parse_ahead(self) -> None:
        from mythos_tui.runs.bulk import AHEAD, parse_soon

        while len(self._ahead) < AHEAD and (block := self._metrics_tail.read_block(BLOCK)):
            self._ahead.append((block, parse_soon(block)))

    def _read_events(self) -> list[Acknowledgement]:
        answers = []
        for event in self._events_tail.read_objects():
            kind = event.get("kind")
            if kind == "evaluation":
                self._evaluations.append(tuple(_float(event.get(key)) for key in ("step", "loss", "bits_per_byte")))  # type: ignore[arg-type]
                self._version += 1
            elif kind == "resumed":  # what was evaluated beyond its checkpoint comes again
                self._evaluations = [row for row in self._evaluations if row[0] <= _float(event.get("step"))]
            elif kind == "alert":
                self._alerts.append(_alerted(event))
            elif kind == "device":
                self._device = event
            elif kind == "command":
                answers.append(self._answer(event))
        return answers

    def _answer(self, event: dict[str, Any]) -> Acknowledgement:
        step = event.get("step")
        return Acknowledgement(
            run=self.paths.name,
            id=str(event.get("id", "")),
            command=str(event.get("command", "")),
            ok=bool(event.get("ok")),
            message=str(event.get("message", "")),
            step=step if isinstance(step, int) else None,
        )

    def _read_log(self) -> None:
        lines = self._log_tail.read(0.02)
        self._log_total += len(lines)
        if len(self._log) > 2 * LOG_LINES:
            self._log = self._log[-LOG_LINES:]  # a new list: the old one goes on in pictures of it
        self._log += [line.decode("utf-8", "replace").removesuffix("\r") for line in lines[-LOG_LINES:]]

    def _picture(self, summary: RunSummary) -> RunSnapshot:
        table = np.array(self._evaluations, dtype=np.float64).reshape(-1, 3)
        return RunSnapshot(
            summary=summary,
            generation=self._generation,
            version=self._version,
            loading=self._loading,
            scalars=self._metrics.scalars(),
            vectors=self._metrics.vectors(),
            derived=self._metrics.derived(),
            latest=self._metrics.latest(),
            evaluations=Evaluations(table[:, 0], table[:, 1], table[:, 2]),
            log=LogLines(self._log, LOG_LINES),
            log_total=self._log_total,
            alerts=tuple(self._alerts),
            device=self._device,
            settings=self._settings.read() if self._settings else {},
        )


class Settings:
    """The configuration in force of one run, read again where its files have changed."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._stamp: object = None
        self._known: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """{dotted key: value}; empty where it cannot be understood."""
        stamp = [stamp_of(path) for path in (self._paths.config, self._paths.root / "changes.json")]
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._known = settings_of(self._paths.root)
            except MythosError:
                self._known = {}
        return self._known


def _alerted(event: dict[str, Any]) -> Alert:
    step = event.get("step")
    told = {key: str(event.get(key) or "") for key in ("alert", "message", "evidence", "hint", "action")}
    return Alert(
        kind=told["alert"],
        message=told["message"],
        evidence=told["evidence"],
        hint=told["hint"],
        action=told["action"],
        level=str(event.get("level") or "warning"),
        step=step if isinstance(step, int) else None,
        time=_float(event.get("time")),
    )


def _float(value: Any) -> float:
    found = number(value)
    return float("nan") if found is None else found
