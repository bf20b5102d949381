"""Metrics for TensorBoard, Weights & Biases and Trackio, beside the run directory, which stays the whole truth.

Every sink has a thread and a bounded queue of its own: training hands a line over and goes on. What a sink cannot take in
time it loses, and one that fails is told of once and left alone.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from threading import Thread
from typing import Any, Protocol

from mythos.contract.errors import MythosError
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import read_json

LINES_WAITING = 1000
CLOSE_S = 20.0
"""Most seconds that the end of a run waits for sinks, all together."""


class Sink(Protocol):
    """Where lines of metrics go. Both methods may raise anything, which ends the sink."""

    def write(self, step: int, at: float, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


def require(names: Sequence[str]) -> None:
    """Raises MythosError where the package of a sink is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise MythosError(
                f"train.report_to names {name}, which is not installed.",
                f"Install it: pip install 'mythos-tui[{name}]'",
            )


class Sinks:
    """All sinks of a run, used from one thread. `tell` is called there, once for each sink that fails or loses lines."""

    def __init__(
        self, names: Sequence[str], paths: RunPaths, config: dict[str, Any], tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        self._feeds = [_Feed(name, partial(OPENERS[name], paths, config)) for name in dict.fromkeys(names)]

    def put(self, line: Mapping[str, Any], group: str = "") -> None:
        """Hand over one line with its `step`; its numbers go under `group/key`. Never waits."""
        if not self._feeds:
            return
        facts = (int(line["step"]), float(line.get("time", time.time())), dict(_numbers(line, group)))
        for feed in self._feeds:
            feed.put(facts)
        self._drop_failed()

    def close(self) -> None:
        """Let the sinks finish, but not for long."""
        deadline = time.monotonic() + CLOSE_S
        for feed in self._feeds:
            feed.end()
        for feed in self._feeds:
            feed.join(max(0.0, deadline - time.monotonic()))
        self._drop_failed()
        for feed in self._feeds:
            if lost := feed.lost + feed.waiting:
                self._tell(f"{feed.name} fell behind: {lost} lines of metrics did not reach it.")
        self._feeds = []

    def _drop_failed(self) -> None:
        for feed in [feed for feed in self._feeds if feed.trouble]:
            self._feeds.remove(feed)
            self._tell(f"{feed.name} gets no more metrics: {feed.trouble}")


class _Feed(Thread):
    """One sink: opened, written and closed in this thread alone."""

    def __init__(self, name: str, open_sink: Callable[[], Sink]) -> None:
        super().__init__(name=name, daemon=True)
        self.trouble = ""
        self.lost = 0
        self._open = open_sink
        self._waiting: queue.Queue[tuple[int, float, dict[str, float]] | None] = queue.Queue(LINES_WAITING)
        self.start()

    def run(self) -> None:
        try:
            require([self.name])
            with closing(self._open()) as sink:
                while (facts := self._waiting.get()) is not None:
                    sink.write(*facts)
        except BaseException as error:  # the packages of others also raise SystemExit
            self.trouble = str(error) or type(error).__name__

    def put(self, facts: tuple[int, float, dict[str, float]]) -> None:
        try:
            self._waiting.put_nowait(facts)
        except queue.Full:
            self.lost += 1

    def end(self) -> None:
        """Ask for the end after what waits; where the queue is full, a line makes room for that."""
        if self._waiting.full():
            with suppress(queue.Empty):
                self._waiting.get_nowait()
                self.lost += 1
        self._waiting.put_nowait(None)

    @property
    def waiting(self) -> int:
        """Lines that were never taken: after `end`, all but its own mark."""
        return max(0, self._waiting.qsize() - 1)


def _numbers(values: Mapping[str, Any], group: str) -> Iterator[tuple[str, float]]:
    """Numbers of a line, those of its parts as `loss_parts/ponder`. Vectors stay in metrics.jsonl."""
    prefix = f"{group}/" if group else ""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, prefix + key)
        elif isinstance(value, int | float) and key not in ("step", "time"):
            yield prefix + key, float(value)


class _TensorBoard:
    """Event files in the run's folder `tensorboard`, written by the package itself: neither torch nor TensorFlow."""

    def __init__(self, paths: RunPaths, config: dict[str, Any]) -> None:
        writer = import_module("tensorboard.summary.writer.event_file_writer")
        self._event = import_module("tensorboard.compat.proto.event_pb2").Event
        self._summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
        self._writer = writer.EventFileWriter(str(paths.root / "tensorboard"), flush_secs=10)

    def write(self, step: int, at: float, values: dict[str, float]) -> None:
        found = [self._summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        self._writer.add_event(self._event(wall_time=at, step=step, summary=self._summary(value=found)))

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of the project `mythos`. A resumed run goes over some steps again, so `step` is a metric of its own."""

    def __init__(self, paths: RunPaths, config: dict[str, Any]) -> None:
        wandb = import_module("wandb")
        self._run = wandb.init(
            project="mythos",
            name=paths.name,
            id=(read_json(paths.identity) or {}).get("id"),
            resume="allow",
            dir=str(paths.root),
            config=config,
            settings=wandb.Settings(console="off"),
        )
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, at: float, values: dict[str, float]) -> None:
        self._run.log({"step": step, **values})

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """A run of the project `mythos` in Trackio's local database."""

    def __init__(self, paths: RunPaths, config: dict[str, Any]) -> None:
        self._run = import_module("trackio").init(project="mythos", name=paths.name, config=config, resume="allow")

    def write(self, step: int, at: float, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


OPENERS: dict[str, Callable[[RunPaths, dict[str, Any]], Sink]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}
