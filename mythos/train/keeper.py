"""Saving beside the training: a snapshot in host memory is written by a thread, one at a time."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, get_native_id
from typing import Any

import psutil
from torch import Tensor

from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.errors import CheckpointError
from mythos.contract.rundir import RunPaths
from mythos.tensor_file import Image
from mythos.train.checkpoint import Snapshot, best_of, bits_of, in_host_memory, take, write
from mythos.train.loop import Trainer
from mythos.train.pieces import is_split

MEMORY_SHARE = 0.5
"""Most of the free memory that a snapshot may take; where it would take more, the training waits for the disk."""

NICENESS = 10
"""Of the thread that writes beside the training: it gets what the training leaves, and a tenth of a core where that is nothing."""

REST_S = 0.02
"""Seconds between two blocks that are written beside the training. A disk at its full pace takes memory bandwidth, and of a
virtual machine processor time as well, in bursts that the training waits for."""

SLOTS = 2
"""Most tensors that an optimizer keeps per parameter."""


@dataclass(frozen=True)
class Outcome:
    """What became of a save: `error` is empty where it is on disk, else it says why it is not."""

    name: str
    best: bool
    error: str = ""


class Keeper:
    """Saves one run. `tell` gets every outcome, always in the thread that calls `save` or `settle`."""

    def __init__(self, paths: RunPaths, trainer: Trainer, tokenizer: Path, tell: Callable[[Outcome], None]) -> None:
        self.paths, self.trainer, self.tokenizer, self.tell = paths, trainer, tokenizer, tell
        self.best_bits = _bits_of_best(paths)
        self._thread: Thread | None = None
        self._outcome = Outcome("", False)
        self._images: dict[str, Image] = {}
        self._hurry = Event()

    def save(self, metrics: dict[str, Any], guard: str, wait: bool = False) -> None:
        """Checkpoint the current step. Returns once that is a copy in memory, or, to `wait`, once it is on disk."""
        self.settle(wait=True)
        bits = metrics.get("bits_per_byte")
        best = bits is not None and math.isfinite(bits) and (self.best_bits is None or bits < self.best_bits)
        wait = wait or not self._has_room()
        snapshot = take(self.trainer, metrics, guard, in_host_memory if wait else self._copy)
        self._hurry.clear()
        self._thread = Thread(target=self._write, args=(snapshot, best, not wait), name="save")
        self._thread.start()
        self.settle(wait)

    @property
    def makes_wait(self) -> bool:
        """Whether `save` would wait for a disk: for the last one's, or for want of memory for a copy."""
        return self.saving or not self._has_room()

    @property
    def saving(self) -> bool:
        """Whether one is being written."""
        return self._thread is not None and self._thread.is_alive()

    def settle(self, wait: bool = False) -> None:
        """Tell what became of the save in flight, if it has ended or once it has."""
        if self._thread is None or (self.saving and not wait):
            return
        self._hurry.set()
        self._thread.join()
        self._thread, outcome = None, self._outcome
        if outcome.best and not outcome.error:
            self.best_bits = _bits_of_best(self.paths)
        self.tell(outcome)

    def _copy(self, name: str, tensors: Mapping[str, Tensor]) -> Image:
        """In the memory that the last copy had: none is being written now."""
        self._images[name] = Image(tensors, self._images.get(name), rest=lambda: self._hurry.wait(REST_S))
        return self._images[name]

    def _write(self, snapshot: Snapshot, best: bool, beside: bool) -> None:
        if beside and sys.platform == "linux":  # where threads have a niceness of their own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        try:
            write(self.paths, snapshot, self.tokenizer)
            self._outcome = Outcome(snapshot.name, best)
        except CheckpointError as error:
            self._outcome = Outcome(snapshot.name, best, str(error))
        except Exception as error:  # nobody else could tell of it
            self._outcome = Outcome(snapshot.name, best, f"{snapshot.name} cannot be saved: {error!r}.")

    def _has_room(self) -> bool:
        if self._images:
            return True
        parameters = [*self.trainer.model.parameters()]
        weights = sum(p.numel() * p.element_size() for p in parameters)
        ranks = self.trainer.ranks.world if any(map(is_split, parameters)) else 1  # which share the slots
        needed = (1 + SLOTS / ranks) * weights
        return needed < MEMORY_SHARE * psutil.virtual_memory().available


def _bits_of_best(paths: RunPaths) -> float | None:
    best = best_of(list_checkpoints(paths.checkpoints))
    return bits_of(best) if best else None
