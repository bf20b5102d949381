"""Files as byte streams of bounded memory: decompressed, metered, and cut into lines that may be too long."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple
from zlib import error as DeflateError

LONGEST = 64 << 20
"""Bytes of the longest line or record that is kept."""
TOO_LONG = "longer than 64 MiB"

BROKEN = (OSError, EOFError, DeflateError)
"""What reading a missing, forbidden, damaged or truncated file raises."""

COMPRESSIONS = (".gz", ".zst")
_BUFFER = 1 << 17  # bytes read from the disk at once
_PIECE = 1 << 20  # bytes of a long line at once


class Line(NamedTuple):
    """One line with its ending, or None for one above LONGEST. `number` counts from 1 at the start of the reading."""

    number: int
    offset: int  # bytes, decompressed
    data: bytes | None


class _Metered(io.FileIO):
    """A file that tells how many bytes are read from it."""

    def __init__(self, path: str, consumed: Callable[[int], None]) -> None:
        super().__init__(path)
        self._consumed = consumed

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self._consumed(count)
        return count


def open_stream(path: str, consumed: Callable[[int], None] = lambda n_bytes: None) -> IO[bytes]:
    """The bytes of a file, decompressed as they are read; `consumed` is told of those on the disk."""
    raw = io.BufferedReader(_Metered(path, consumed), _BUFFER)
    match Path(path).suffix.lower():
        case ".gz":
            return io.BufferedReader(gzip.GzipFile(fileobj=raw))
        case ".zst":
            from pyarrow import CompressedInputStream  # unlike zstandard's reader, it tells of a truncated file

            return io.BufferedReader(CompressedInputStream(raw, "zstd"), _BUFFER)
    return raw


def lines(stream: IO[bytes], start: int = 0, stop: int = 0) -> Iterator[Line]:
    """The lines that begin in [start, stop) bytes, or all. What is above LONGEST is passed over, never held."""
    offset, number = start, 0
    if start:  # the line that runs across `start` belongs to the reader before
        stream.seek(start - 1)
        offset += _line(stream, stop - start)[1] - 1
    while not stop or offset < stop:
        data, size = _line(stream, stop - offset)
        if not size:
            return
        number += 1
        yield Line(number, offset, data)
        offset += size


def _line(stream: IO[bytes], room: int) -> tuple[bytes | None, int]:
    """The next line, None if it is too long, and its size in bytes: as far as read, if it also fills the room."""
    pieces, size = [], 0
    while piece := stream.readline(_PIECE):
        size += len(piece)
        if size <= LONGEST:
            pieces.append(piece)
        else:
            pieces.clear()
        if piece.endswith(b"\n") or (size > LONGEST and 0 < room < size):
            break
    return (b"".join(pieces) if size <= LONGEST else None), size
