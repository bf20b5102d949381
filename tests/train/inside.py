"""Workers run inside the test's own process, where they take tenths of a second and can be looked into."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import JsonTail
from mythos.train import device, worker
from mythos.train.loop import Trainer
from mythos.train.worker import main

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Died(BaseException):
    """Stands for a death that no handler of the worker sees."""


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(device, "matmul_peak", lambda *_: 1e9)
    monkeypatch.setattr(worker, "LINES_EVERY_S", 0.0)  # so that a death at a step leaves its line
    handlers = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def run(paths: RunPaths, resume: bool = False) -> int:
    return main([str(paths.root), "0", *(["--resume"] if resume else [])])


def die_after(paths: RunPaths, step: int, resume: bool = False) -> list[str]:
    """A worker of this run that ends, without a word, after a step. Names the checkpoints that it left, newest first."""
    taken = Trainer.step

    def take(trainer: Trainer) -> Any:
        if trainer.steps_done == step:
            raise Died
        return taken(trainer)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Died):
        patch.setattr(Trainer, "step", take)
        run(paths, resume)
    for thread in threading.enumerate():
        if thread.name == "save":  # with its process it would be gone
            thread.join()
    return [info.path.name for info in list_checkpoints(paths.checkpoints)]


def events(paths: RunPaths, kind: str) -> list[dict[str, Any]]:
    return [event for event in JsonTail(paths.events).read_objects(5) if event["kind"] == kind]
