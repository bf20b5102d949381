"""What lay around an alert: a file of the run with the metrics before and after it, and which text the steps were made of.

Batches are told as numbers, never as text: the loader draws the same ones again, whatever the number of ranks, so
`mythos doctor RUN --batch STEP` can show them. Nothing is computed before there is an alert. Loads no torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from mythos.contract.rundir import RunPaths, write_json
from mythos.data.loader import Loader
from mythos.train.journal import say

BEFORE, AFTER = 20, 5
"""Records of metrics that are kept before and after the one that raised the alert."""
STEPS, ROWS = 12, 1024
"""Most batches in a file, the latest ones, and most rows of all of them together."""
FILES = 8
"""Files of one kind of alert; the oldest goes."""


class Surroundings:
    """Of one run. `step` is where its loader stands now. `state` makes a resumed run write what one that never died does."""

    def __init__(self, paths: RunPaths, loader: Loader, step: int) -> None:
        self.paths, self.loader = paths, loader
        self.step = step
        self._begun = step, loader.drawn
        self.window: deque[dict[str, Any]] = deque(maxlen=BEFORE + 1 + AFTER)
        self.open: list[dict[str, Any]] = []
        """Alerts whose later records are still to come."""

    @property
    def newest(self) -> int:
        """The step whose batch was drawn last, whether or not it came to its end."""
        step, drawn = self._begun
        return step + (self.loader.drawn - drawn) // self.loader.batch_size

    def add(self, line: dict[str, Any]) -> None:
        """A record of metrics; steps after it may have been taken already."""
        self.window.append({"line": line, **self._steps(int(line["step"]))})
        self.step = int(line["step"])
        done = [alert for alert in self.open if self._later(alert["step"]) >= AFTER]
        self.open = [alert for alert in self.open if alert not in done]
        self._write(done)

    def keep(self, alert: dict[str, Any]) -> None:
        """Write what is known now around an alert, {`alert`, `step`, …}; the rest follows by itself."""
        self.open.append(alert)
        self._write([alert])

    def close(self) -> None:
        """No more records come."""
        self._write(self.open)
        self.open = []

    def state(self) -> dict[str, Any]:
        """What later files rest on, as JSON."""
        return {"step": self.step, "window": list(self.window), "open": self.open}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.step = int(state.get("step", self.step))
        self.window.clear()
        self.window.extend(state["window"])
        self.open = list(state["open"])

    def _steps(self, last: int) -> dict[str, int]:
        """Steps `first` … `last`, after which `drawn` chunks had been read, `rows` a step."""
        (step, drawn), rows = self._begun, self.loader.batch_size
        return {"first": self.step + 1, "last": last, "drawn": drawn + (last - step) * rows, "rows": rows}

    def _later(self, step: int) -> int:
        return sum(entry["last"] > step for entry in self.window)

    def _write(self, alerts: list[dict[str, Any]]) -> None:
        for alert in alerts:
            path = self.paths.alerts / f"step-{alert['step']:08d}-{alert['alert']}.json"
            try:
                path.parent.mkdir(exist_ok=True)
                write_json(path, self._around(alert))
                for old in sorted(path.parent.glob(f"step-*-{alert['alert']}.json"))[:-FILES]:
                    old.unlink()
            except OSError as error:
                say(f"{path.name} cannot be written: {error}; going on")

    def _around(self, alert: dict[str, Any]) -> dict[str, Any]:
        before = [entry["line"] for entry in self.window if entry["last"] <= alert["step"]][-BEFORE - 1 :]
        after = [entry["line"] for entry in self.window if entry["last"] > alert["step"]][:AFTER]
        return {**alert, "records": before + after, "batches": sorted(self._batches(alert), key=lambda b: b["step"])}

    def _batches(self, alert: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The alert's step and those just before it, the latest first; before them what its record left out."""
        entries = [*self.window, self._steps(self.newest)]
        entries = [entry for entry in entries if entry["first"] <= alert["step"]]
        steps = [*range(alert["step"], alert["step"] - STEPS, -1)]
        rows = 0
        for step in dict.fromkeys([*_left_out(entries[-1:])[-STEPS:], *steps]):
            for entry in entries:
                if entry["first"] <= step <= entry["last"]:
                    rows += entry["rows"]
                    yield self._batch(step, entry, whole=rows <= ROWS)

    def _batch(self, step: int, entry: dict[str, int], whole: bool) -> dict[str, Any]:
        """Its place in the text; with each row's first token and documents where that is not too much."""
        drawn = entry["drawn"] - (entry["last"] - step + 1) * entry["rows"]
        facts: dict[str, Any] = {"step": step, "epoch": drawn // self.loader.chunks, "drawn": drawn}
        if whole:
            starts = self.loader.starts(drawn, entry["rows"])
            facts["rows"] = [[start, *self.loader.documents_at(start)] for start in starts]
        return facts


def _left_out(entries: list[dict[str, Any]]) -> list[int]:
    """Steps of records that were left out."""
    kinds = [steps for entry in entries for steps in entry.get("line", {}).get("skipped", {}).values()]
    return sorted({int(step) for steps in kinds for step, _ in steps})
