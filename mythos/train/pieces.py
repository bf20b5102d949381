"""State that is split over ranks: each writes the pieces that it holds, beside the training, and any number of ranks read them.

The files are safetensors; torch.distributed.checkpoint agrees on who writes what and finds the pieces again (its own format
has a pickled index, these files have none). Ranks do it in threads, over a group of their own, so that training goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import cast

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from mythos.train.ranks import Ranks

FOLDER = "pieces"
"""In a checkpoint's `state`."""


def is_split(tensor: Tensor) -> bool:
    return isinstance(tensor, DTensor)


class Pieces:
    """What this rank holds of the split ones among `tensors`, as it is now. Falsy where none is split.

    Every rank makes one at the same step. Rank 0 says once where they go (`write`) or that they go nowhere (`drop`); the
    others `follow`.
    """

    def __init__(self, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
        self.ranks = ranks
        self.held = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items() if is_split(tensor)}
        self._waited_for = bool(self.held)

    def __bool__(self) -> bool:
        return bool(self.held)

    def write(self, folder: Path) -> None:
        """Have every rank write. Raises OSError where one of them could not, or where its file cannot be seen here."""
        self._waited_for = False
        self.ranks.tell(str(folder))
        self._save(folder)
        seen = len([*folder.glob("*.safetensors")])
        if seen != self.ranks.world:
            raise OSError(
                f"{seen} files of {self.ranks.world} processes are in {folder}, which all machines must share"
            )

    def drop(self) -> None:
        """Let the others go, where they still wait."""
        if self._waited_for:
            self._waited_for = False
            self.ranks.tell("")

    def follow(self) -> None:
        """Do as rank 0 says, in a thread: one at a time, as rank 0 does. What goes wrong in there rank 0 hears of and tells."""

        def obey() -> None:
            if folder := self.ranks.tell(""):
                with suppress(OSError):
                    self._save(Path(folder))

        Thread(target=obey, name="save").start()

    def _save(self, folder: Path) -> None:
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        try:
            dcp.save(self.held, storage_writer=writer, process_group=self.ranks.writers)
        except CheckpointException as error:
            rank, (first, _) = sorted(error.failures.items())[0]
            raise OSError(f"rank {rank}: {first}") from None


def read(folder: Path, room: Callable[[str, torch.Size, torch.dtype], Tensor]) -> dict[str, Tensor]:
    """Put pieces together. `room` makes the tensor of a name, shape and type that they go into: whole, or split anew."""
    reader = HuggingFaceStorageReader(str(folder))
    found = cast(dict[str, TensorStorageMetadata], reader.read_metadata().state_dict_metadata)
    tensors = {name: room(name, facts.size, facts.properties.dtype) for name, facts in found.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every rank reads for itself, which it warns of
        dcp.load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    return tensors
