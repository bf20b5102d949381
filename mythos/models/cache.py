"""What attention remembers: a cache per layer, and one per loop of the recurrent block.

An *entry* is what an attention layer keeps of a position: (key, value) for GQA, (latent, rotary key) for MLA. The cache
does not care which. Attention sees one interface, `write(entries) → (entries in view, mask)`:

- `Causal`: no cache; the chunk attends to itself. Differentiable.
- `ChunkView`: a window of a `LayerCache` through which a chunk, or the part of it that still runs, is written and read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

Entries = tuple[Tensor, ...]
"""Tensors [B, positions, …] that an attention layer keeps."""


def expand_to(mask: Tensor, like: Tensor) -> Tensor:
    """Append axes to a mask [B, T] until it broadcasts against `like` [B, T, …]."""
    return mask.reshape(mask.shape + (1,) * (like.dim() - mask.dim()))


def within_documents(documents: Tensor) -> Tensor:
    """Who may attend to whom where several documents share a row: documents [B, T] → [B, 1, T, T] bool, causal."""
    same = documents.unsqueeze(-1) == documents.unsqueeze(-2)
    return same.tril().unsqueeze(1)


def within_window(x: Tensor, window: int, mask: Tensor | None = None) -> Tensor | None:
    """The same where the tokens of x [B, T, …] see the last `window` ones (0: all), themselves among them, within `mask`."""
    length = x.shape[1]
    if not 0 < window < length:
        return mask
    near = torch.ones(length, length, dtype=torch.bool, device=x.device).tril().triu(1 - window)
    return near[None, None] if mask is None else mask & near


class Causal:
    """The chunk is all there is. Positions that halted keep the entries of an earlier loop.

    `mask` [B, 1, T, T] says who attends to whom where that is less than the whole past; `halted` [B, T] bool and `frozen`
    (entries of the loop before) go together.
    """

    def __init__(self, mask: Tensor | None = None, frozen: Entries | None = None, halted: Tensor | None = None) -> None:
        self.mask = mask
        self.frozen = frozen
        self.halted = halted
        self.entries: Entries | None = None

    def write(self, entries: Entries) -> tuple[Entries, Tensor | None, bool]:
        if self.frozen is not None and self.halted is not None:
            entries = tuple(
                torch.where(expand_to(self.halted, new), old, new)
                for new, old in zip(entries, self.frozen, strict=True)
            )
        self.entries = entries
        return entries, self.mask, self.mask is None


class LayerCache:
    """Entries of one layer or one loop: tensors [B, capacity, …], grown by doubling."""

    def __init__(self) -> None:
        self.buffers: Entries = ()

    def reserve(self, like: Entries, end: int) -> None:
        """Make room for positions below `end`, for entries shaped as `like`."""
        capacity = self.buffers[0].shape[1] if self.buffers else 0
        if end <= capacity:
            return
        size = max(end, 2 * capacity, 32)
        grown = tuple(entry.new_zeros((entry.shape[0], size, *entry.shape[2:])) for entry in like)
        for new, old in zip(grown, self.buffers, strict=False):
            new[:, :capacity] = old
        self.buffers = grown

    def copy_from(self, other: LayerCache, start: int, end: int) -> None:
        """Take over the entries of positions [start, end) from another loop's cache: they are frozen there."""
        self.reserve(other.buffers, end)
        for mine, theirs in zip(self.buffers, other.buffers, strict=True):
            mine[:, start:end] = theirs[:, start:end]


@dataclass
class Selection:
    """The positions of a chunk that still run: `index` [B, n] into the chunk, `valid` [B, n] where rows differ in length.

    None for both stands for the whole chunk.
    """

    index: Tensor | None = None
    valid: Tensor | None = None

    @classmethod
    def of(cls, active: Tensor) -> Selection:
        """From a mask [B, T] with at least one true element."""
        if bool(active.all()):
            return cls()
        counts = active.sum(dim=1)
        n = int(counts.max())
        index = torch.argsort(~active, dim=1, stable=True)[:, :n]
        valid = torch.arange(n, device=active.device) < counts[:, None]
        return cls(index, None if bool(valid.all()) else valid)

    def take(self, x: Tensor) -> Tensor:
        """[B, T, …] → [B, n, …]."""
        if self.index is None:
            return x
        return torch.take_along_dim(x, expand_to(self.index, x), dim=1)

    def put(self, x: Tensor, new: Tensor) -> Tensor:
        """`x` [B, T, …] with the selected positions replaced by `new` [B, n, …]; a new tensor."""
        if self.index is None:
            return new
        x = x.clone()
        if self.valid is None:
            rows = torch.arange(x.shape[0], device=x.device)[:, None]
            x[rows, self.index] = new.to(x.dtype)
        else:
            rows, columns = self.valid.nonzero(as_tuple=True)
            x[rows, self.index[rows, columns]] = new[rows, columns].to(x.dtype)
        return x

    def count(self, shape: torch.Size) -> int:
        """How many positions are selected in a chunk of shape [B, T]."""
        if self.index is None:
            return shape[0] * shape[1]
        return int(self.valid.sum()) if self.valid is not None else self.index.numel()


class ChunkView:
    """A `LayerCache` as one call sees it: write the selected positions of the chunk [start, start + T), read all up to its end.

    With a `window`, a position sees that many, itself among them, and `first` is the first that any of the chunk sees.
    """

    def __init__(
        self, layer: LayerCache, start: int, length: int, window: int = 0, selection: Selection | None = None
    ) -> None:
        self.layer = layer
        self.start = start
        self.end = start + length
        self.window = window
        self.first = max(start + 1 - window, 0) if window else 0
        self.selection = selection or Selection()

    @property
    def is_whole(self) -> bool:
        """Whether every position of the chunk is written."""
        return self.selection.index is None

    def write(self, entries: Entries) -> tuple[Entries, Tensor | None, bool]:
        self.layer.reserve(entries, self.end)
        index, valid = self.selection.index, self.selection.valid
        for buffer, entry in zip(self.layer.buffers, entries, strict=True):
            if index is None:
                buffer.narrow(1, self.start, self.end - self.start).copy_(entry)
            elif valid is None:
                rows = torch.arange(entry.shape[0], device=entry.device)[:, None]
                buffer[rows, self.start + index] = entry
            else:
                rows, columns = valid.nonzero(as_tuple=True)
                buffer[rows, self.start + index[rows, columns]] = entry[rows, columns]
        seen = tuple(buffer[:, self.first : self.end] for buffer in self.layer.buffers)
        return seen, *self._mask(seen[0].device)

    def append(self, rows: Entries) -> Entries:
        """`write` for a chunk of one token in a batch of one: rows [K, d] → everything in view, [S, K, d]."""
        if not self.layer.buffers or self.end > self.layer.buffers[0].shape[1]:
            self.layer.reserve(tuple(row[None, None] for row in rows), self.end)
        for buffer, row in zip(self.layer.buffers, rows, strict=True):
            buffer[0, self.start] = row
        return tuple(buffer[0].narrow(0, self.first, self.end - self.first) for buffer in self.layer.buffers)

    def _mask(self, device: torch.device) -> tuple[Tensor | None, bool]:
        """(mask [B or 1, 1, n, S], whether plain causal attention does)."""
        index = self.selection.index
        if index is None and self.start == 0 and not 0 < self.window < self.end:
            return None, True
        if index is None and self.end - self.start == 1:
            return None, False
        positions = torch.arange(self.start, self.end, device=device)[None] if index is None else self.start + index
        asking, seen = positions[:, None, :, None], torch.arange(self.first, self.end, device=device)
        mask = seen <= asking
        return mask & (seen > asking - self.window) if self.window else mask, False


@dataclass
class Cache:
    """Everything a model remembers of a sequence. `length` positions are done; all rows of the batch are equally long."""

    length: int = 0
    layers: dict[str, LayerCache] = field(default_factory=dict)
    loops: list[LayerCache] = field(default_factory=list)

    def layer(self, name: str) -> LayerCache:
        """The cache of a layer that runs once per token."""
        return self.layers.setdefault(name, LayerCache())

    def loop(self, number: int) -> LayerCache:
        """The cache of loop `number` (0-based). A loop that no earlier position reached starts as a copy of the one before."""
        while len(self.loops) <= number:
            fresh = LayerCache()
            if self.loops and self.length:
                fresh.copy_from(self.loops[-1], 0, self.length)
            self.loops.append(fresh)
        return self.loops[number]

    def freeze_from(self, number: int, end: int) -> None:
        """Positions [length, end) ran `number` loops: later loops see their entries of the last one."""
        for loop in range(number, len(self.loops)):
            self.loops[loop].copy_from(self.loops[loop - 1], self.length, end)

    @property
    def nbytes(self) -> int:
        """Bytes of the entries in use (capacity kept in reserve is not counted)."""
        held = [*self.layers.values(), *self.loops]
        return sum(b[:, : self.length].numel() * b.element_size() for layer in held for b in layer.buffers)
