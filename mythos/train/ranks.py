"""The processes of one run, as torchrun starts them: who this one is, and how they agree. Loads torch when connecting.

Rank 0 is the run's worker and says what is done next; the others wait for its word, for however long it evaluates, saves
or is paused, and do the same. Its words go over gloo on the CPU, so that no GPU waits for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.contract.errors import ConfigError, MythosError

if TYPE_CHECKING:
    from torch import Tensor

    from mythos.contract.config import TrainConfig

PATIENCE, LONG_PATIENCE = timedelta(minutes=10), timedelta(days=365)
"""How long a rank waits for the others within a step, and for the word of rank 0."""
ORDERS = ("dismiss", "step", "whole_model", "hold", "adopt")
LOST = ("gloo", "nccl", "connection closed", "connection reset", "process group", "broken pipe")


class RankLost(MythosError):
    """Another process of the run has ended."""


@dataclass
class Ranks:
    """Process `rank` of `world`; on its own machine it is number `local` of `beside`."""

    rank: int = 0
    world: int = 1
    local: int = 0
    beside: int = 1
    is_broken: bool = False
    writers: Any = field(default=None, repr=False)
    """The group over which threads that save speak to each other."""
    _words: Any = field(default=None, repr=False)

    @classmethod
    def of_this_process(cls) -> Ranks:
        """As torchrun says; one process alone where it does not."""
        names = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
        rank, world, local, beside = (int(os.environ.get(name, default)) for name, default in names)
        return cls(rank, world, local, beside)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the run directory."""
        return self.rank == 0

    def connect(self, device: str) -> None:
        """Find the others; on CUDA, take the GPU of this process. Nothing to do for one process alone, or twice."""
        if self.world == 1 or self._words is not None:
            return
        import torch
        from torch import distributed

        if device == "cuda":
            torch.cuda.set_device(self.local)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
        self._words, self.writers = (distributed.new_group(backend="gloo", timeout=LONG_PATIENCE) for _ in range(2))

    def agree(self, *values: int) -> tuple[int, ...]:
        """What rank 0 says these whole numbers are. Every rank must ask."""
        if self.world == 1:
            return values
        import torch
        from torch import distributed

        told = torch.tensor(values if self.first else [0] * len(values))
        distributed.all_reduce(told, group=self._words)  # a broadcast would not notice that a listener has gone
        return tuple(told.tolist())

    def order(self, name: str) -> str:
        """On rank 0: have the others do what it does now, one of ORDERS. On the others: what rank 0 does now."""
        return ORDERS[self.agree(ORDERS.index(name))[0]]

    def tell(self, text: str) -> str:
        """Among threads that save: what rank 0 says. Every rank must ask."""
        from torch import distributed

        said = [text]
        distributed.broadcast_object_list(said, group=self.writers)
        return said[0]

    def dismiss(self) -> bool:
        """Rank 0 needs the others no more. False where they cannot hear it: a failing exit code must end them then."""
        if self.world == 1:
            return True
        if self.is_broken or self._words is None:
            return False
        self.order("dismiss")
        return True

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all ranks, in place."""
        if self.world > 1:
            from torch import distributed

            distributed.all_reduce(values)
        return values

    def gather(self, rows: Tensor) -> Tensor:
        """Rows [b, …] of every rank, one after the other: [W·b, …]."""
        if self.world == 1:
            return rows
        import torch
        from torch import distributed

        gathered = [torch.empty_like(rows) for _ in range(self.world)]
        distributed.all_gather(gathered, rows)
        return torch.cat(gathered)


def check_parts(train: TrainConfig, processes: int) -> None:
    """Raises ConfigError where a run cannot be shared by that many processes and cut into their micro-batches."""
    if processes > 1 and train.parallel == "none":
        raise ConfigError(
            f"{processes} processes cannot share a run with train.parallel=none.",
            "Add --set train.parallel=ddp or fsdp.",
        )
    parts = processes * train.accumulate
    if train.batch_size % parts:
        raise ConfigError(
            f"train.batch_size {train.batch_size} does not divide into {parts} equal parts: {processes} processes, "
            f"train.accumulate {train.accumulate}.",
            f"Choose a multiple of {parts}.",
        )


def redirect_output(root: Path, ranks: Ranks) -> None:
    """From here on, what a rank other than 0 prints goes to output.rank-N.log of the run."""
    if ranks.first:
        return
    log = os.open(root / f"output.rank-{ranks.rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


@contextmanager
def together(root: Path, ranks: Ranks) -> Iterator[None]:
    """Work that needs every rank. Raises RankLost, with the last words of those who failed, where one of them ends."""
    try:
        yield
    except BaseException as error:
        ranks.is_broken = True  # the others may be in the middle of what failed here
        if ranks.world == 1 or not isinstance(error, RuntimeError) or not _lost(str(error)):
            raise
        words = last_words(root, range(ranks.world))
        raise RankLost(
            f"Another of the {ranks.world} processes has ended: {words or 'it left no word, so it was killed'}.",
            "See output.log and output.rank-*.log, then resume the run.",
        ) from error


def last_words(root: Path, ranks: Sequence[int]) -> str:
    """The error with which each log of a rank ends, as far as it does: `rank 1: ValueError: …`."""
    found = []
    for rank in ranks:
        try:
            tail = (root / f"output.rank-{rank}.log").read_bytes()[-4096:].decode("utf-8", "replace").split("\n")
        except OSError:
            continue
        lines = [line.removeprefix(f"[rank{rank}]: ") for line in tail]
        errors = [line for line in lines if "Error: " in line and not line.startswith((" ", "\t", "["))]
        found += [f"rank {rank}: {errors[-1].strip()}"] if errors and not _lost(errors[-1]) else []
    return "; ".join(found)


def _lost(message: str) -> bool:
    return any(sign in message.lower() for sign in LOST)
