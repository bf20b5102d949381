"""Tensors into a safetensors file past the page cache, hashed on the way: at once, or from an image of the file in memory.

What a save beside the training takes from it is processor time. Putting a page into the cache costs more of that than anything
else about a save, and nobody reads a checkpoint soon after it was written. Where the system or the file system knows no such
writing, the file goes through the cache.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import Tensor

PAST_CACHE = getattr(os, "O_DIRECT", 0)
PAGE = 4096
"""What such writing wants every address, offset and length to be a multiple of."""
BLOCK = 1 << 20
"""Bytes written at a time where they are gathered: they are still in the core's cache when they are hashed."""
IMAGE_BLOCK = 8 << 20
"""Bytes of an image written at a time."""

NAMES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.bool: "BOOL",
}
"""Of the types, widest first: tensors lie in the file in that order, so that each begins at a multiple of its width."""


class Image(dict[str, Tensor]):
    """Copies of tensors by name, which lie in host memory as they will in their file: written without another copy.

    Takes over the memory of the image `before`, which is at its end then, if that was laid out alike. `rest` is called between
    blocks as they are written. Raises ValueError for a type that the format lacks.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], before: Image | None = None, rest: Callable[[], object] = lambda: None
    ) -> None:
        self.header, laid_out = _layout(tensors)
        self.size, self.rest = len(self.header) + sum(tensor.nbytes for _, tensor in laid_out), rest
        alike = before is not None and before.header == self.header
        self.memory: Tensor = before.memory if before is not None and alike else _pages(self.size)
        begin = len(self.header)
        self.memory[:begin] = torch.frombuffer(bytearray(self.header), dtype=torch.uint8)
        for name, tensor in laid_out:
            end = begin + tensor.nbytes
            self[name] = self.memory[begin:end].view(tensor.dtype).view(tensor.shape)
            self[name].copy_(tensor.detach())
            begin = end

    def blocks(self) -> Iterator[memoryview]:
        """The file, in whole pages."""
        whole = memoryview(self.memory.numpy().data)
        for begin in range(0, len(whole), IMAGE_BLOCK):
            if begin:
                self.rest()
            yield whole[begin : begin + IMAGE_BLOCK]


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write contiguous tensors in host memory as a new safetensors file. Returns XXH3 of its bytes, 128 bits in hexadecimal.

    The format: https://github.com/huggingface/safetensors#format. Raises OSError where the disk refuses, ValueError for a type
    that the format lacks.
    """
    if isinstance(tensors, Image):
        return _write(file, tensors.blocks(), tensors.size)
    header, laid_out = _layout(tensors)
    parts = [np.frombuffer(header, dtype=np.uint8), *(t.reshape(-1).view(torch.uint8).numpy() for _, t in laid_out)]
    return _write(file, _gathered(parts), sum(map(len, parts)))


def _layout(tensors: Mapping[str, Tensor]) -> tuple[bytes, list[tuple[str, Tensor]]]:
    """The header of a file, and the tensors in its order."""
    order = [*NAMES]
    laid_out = sorted(tensors.items(), key=lambda item: (order.index(item[1].dtype), item[0]))
    header, end = {}, 0
    for name, tensor in laid_out:
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, laid_out


def _pages(size: int) -> Tensor:
    """Memory for that many bytes, in whole pages, uint8."""
    size += -size % PAGE
    room = torch.empty(size + PAGE, dtype=torch.uint8)
    begin = -room.data_ptr() % PAGE
    return room[begin : begin + size]


def _gathered(parts: Iterable[np.ndarray]) -> Iterator[memoryview]:
    """Bytes of all parts, one after the other, block by block; each is good until the next is asked for."""
    memory = memoryview(mmap.mmap(-1, BLOCK))  # which begins at a page
    block, filled = np.frombuffer(memory, dtype=np.uint8), 0
    for part in parts:
        while len(part):
            taken = min(len(part), BLOCK - filled)
            np.copyto(block[filled : filled + taken], part[:taken])
            part, filled = part[taken:], filled + taken
            if filled == BLOCK:
                yield memory
                filled = 0
    if filled:
        yield memory[: filled + -filled % PAGE]


def _write(file: Path, blocks: Iterable[memoryview], size: int) -> str:
    """The first `size` bytes of all blocks in a new file."""
    digest, left, descriptor = xxhash.xxh3_128(), size, _open(file)
    try:
        for block in blocks:
            digest.update(block[:left])
            _put(descriptor, block)
            left -= len(block)
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _open(file: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(file, flags | PAST_CACHE, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        file.unlink(missing_ok=True)  # made all the same
        return os.open(file, flags, 0o666)


def _put(descriptor: int, data: memoryview) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & PAST_CACHE:
                raise
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~PAST_CACHE)
