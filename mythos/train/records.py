"""Where the numbers of a run go: metrics.jsonl, other programs (`sinks`), and the guard, whose alerts become events.

What lay around an alert is kept beside them (`surroundings`).
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mythos.contract.alerts import Alert, as_event
from mythos.contract.config import Config
from mythos.contract.rundir import LineWriter
from mythos.contract.watch import read_json
from mythos.data.loader import Loader
from mythos.train.alerts import Guard
from mythos.train.journal import Control, Journal, say
from mythos.train.meter import LeftOut
from mythos.train.sinks import Sinks
from mythos.train.surroundings import Surroundings


class Records:
    """One run's, from `step` on, where its loader stands.

    Alerts act as commands do: `pause` and `stop`, the latter without saving where the numbers are broken.
    """

    def __init__(self, journal: Journal, control: Control, config: Config, loader: Loader, step: int) -> None:
        self.journal, self.control = journal, control
        self.guard = Guard(config)
        self.around = Surroundings(journal.paths, loader, step)
        self._file = LineWriter(journal.paths.metrics)
        self._sinks = Sinks(config.train.report_to, journal.paths, config.model_dump(mode="json"), self._tell)
        self._refused = False

    def lines(self, lines: list[dict[str, Any]]) -> None:
        """Lines of metrics. Those that the disk refuses wait for the next; that is told once."""
        refused, self._refused = self._refused, not self._file.write(*lines)
        if self._refused and not refused:
            say("metrics.jsonl cannot be written: its lines wait in memory")
        for line in lines:
            self._sinks.put(line)
            self.around.add(line)
            if skipped := line.get("skipped"):
                self.journal.event("skipped", step=line["step"], steps=skipped)
            self._obey(self.guard.observe(line))

    def retry(self) -> None:
        """Write the lines that the disk has refused, if it takes them now: a checkpoint shall not be ahead of them."""
        if self._refused:
            self._refused = not self._file.write()

    def evaluation(self, facts: dict[str, Any]) -> None:
        """One evaluation: `step`, `loss` and more."""
        self.journal.event("evaluation", **{key: value for key, value in facts.items() if key != "step"})
        self._sinks.put(facts, "held_out")
        self._obey(self.guard.evaluated(facts))

    def failed(self, error: Exception) -> None:
        """Tell what the guard knows of an error."""
        if alert := self.guard.out_of_memory(error):
            self._tell_of(replace(alert, step=self.around.newest))

    def state(self, skipped: LeftOut) -> str:
        """What later judgements and lines rest on, as the checkpoint's state/guard.json."""
        return json.dumps({**self.guard.state(), "around": self.around.state(), "skipped": skipped})

    def restore(self, checkpoint: Path) -> LeftOut:
        """The inverse of `state`; a checkpoint without it leaves the guard as new. Returns what had been left out by then."""
        if state := read_json(checkpoint / "state" / "guard.json"):
            self.guard.restore(state)
            self.around.restore(state.get("around") or {"window": [], "open": []})
        skipped: LeftOut = (state or {}).get("skipped") or {}
        return skipped

    def close(self) -> None:
        self.retry()
        self.around.close()
        self._sinks.close()

    def _obey(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            self._tell_of(alert)
            if alert.action == "pause":
                self.control.paused = True
            elif alert.action == "stop":
                self.control.stop_requested = self.control.stop_requested or f"the alert {alert.kind}"
                self.control.discard |= alert.kind == "nan"

    def _tell_of(self, alert: Alert) -> None:
        say(f"alert: {alert.message} {alert.advice}")
        self.journal.event("alert", **as_event(alert))
        self.around.keep({"time": time.time(), **as_event(alert)})

    def _tell(self, text: str) -> None:
        say(text)
        self.journal.event("alert", message=text)
