"""Tensors into a safetensors file past the page cache, hashed on the way.

What a save beside the training takes from it is processor time. Putting a page into the cache costs more of that than anything
else about a save, and nobody reads a checkpoint soon after it was written. Where the system or the file system knows no such
writing, the file goes through the cache.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PAST_CACHE = getattr(os, "O_DIRECT", 0)
PAGE = 4096
"""What such writing wants every address, offset and length to be a multiple of."""
BLOCK = 1 << 20
"""Bytes written at a time: they are still in the core's cache when they are hashed."""

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


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write contiguous tensors in host memory as a new safetensors file. Returns the SHA-256 of its bytes, in hexadecimal.

    The format: https://github.com/huggingface/safetensors#format. Raises OSError where the disk refuses, ValueError for a type
    that the format lacks.
    """
    order = [*NAMES]
    laid_out = sorted(tensors.items(), key=lambda item: (order.index(item[1].dtype), item[0]))
    header, end = {}, 0
    for name, tensor in laid_out:
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    first = np.frombuffer(len(text).to_bytes(8, "little") + text, dtype=np.uint8)
    return _write(file, [first, *(tensor.reshape(-1).view(torch.uint8).numpy() for _, tensor in laid_out)])


def _write(file: Path, parts: Iterable[np.ndarray]) -> str:
    """Bytes of all parts, one after the other, in a new file."""
    digest, size, filled = hashlib.sha256(), 0, 0
    memory = memoryview(mmap.mmap(-1, BLOCK))  # which begins at a page
    block = np.frombuffer(memory, dtype=np.uint8)
    descriptor = _open(file)
    try:
        for part in parts:
            size += len(part)
            while len(part):
                taken = min(len(part), BLOCK - filled)
                np.copyto(block[filled : filled + taken], part[:taken])
                part, filled = part[taken:], filled + taken
                if filled == BLOCK:
                    digest.update(memory)
                    _put(descriptor, memory)
                    filled = 0
        digest.update(memory[:filled])
        _put(descriptor, memory[: filled + -filled % PAGE])
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
