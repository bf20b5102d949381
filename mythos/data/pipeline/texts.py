"""Text parts: the documents of a block that were kept, compressed, and what the later stages must know of each.

texts/000000/  texts.zst         UTF-8 texts, one after the other
               ids.jsonl         their identities, a JSON string per line
               rows.bin          a ROW per document
               signatures.bin    uint32 [documents, 112], with MinHash only
               account.json      what was read and dropped
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

import numpy as np
import zstandard

ROW = np.dtype([("hash", "<u8"), ("bytes", "<i8"), ("digest", "u1", 16), ("exact", "u1", 16)])
"""`hash` decides the split, `bytes` counts UTF-8, `digest` is that of the text, `exact` the key of its duplicates."""


class TextWriter:
    """Writes a text part into an empty folder, holding one document at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, ExitStack()

    def __enter__(self) -> TextWriter:
        compressor = zstandard.ZstdCompressor(level=1)
        self._texts = self._files.enter_context(compressor.stream_writer((self._folder / "texts.zst").open("wb")))
        self._ids = self._files.enter_context((self._folder / "ids.jsonl").open("w", encoding="utf-8"))
        self._rows = self._files.enter_context((self._folder / "rows.bin").open("wb"))
        self._signatures = self._files.enter_context((self._folder / "signatures.bin").open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def add(
        self, identity: str, split_hash: int, text: bytes, exact: bytes = b"", signature: np.ndarray | None = None
    ) -> None:
        """Append a document; `split_hash` is its 64-bit number."""
        digest = blake2b(text, digest_size=16).digest()
        row = (split_hash, len(text), np.frombuffer(digest, "u1"), np.frombuffer(exact.ljust(16, b"\0"), "u1"))
        self._rows.write(np.array([row], dtype=ROW).tobytes())
        self._ids.write(json.dumps(identity) + "\n")
        self._texts.write(text)
        if signature is not None:
            self._signatures.write(signature.astype("<u4").tobytes())


def read_rows(folder: Path) -> np.ndarray:
    """ROW [documents]."""
    return np.fromfile(folder / "rows.bin", dtype=ROW)


def read_ids(folder: Path) -> Iterator[str]:
    with (folder / "ids.jsonl").open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def read_texts(folder: Path) -> Iterator[bytes]:
    """The texts, one at a time."""
    sizes = read_rows(folder)["bytes"].tolist()
    with (folder / "texts.zst").open("rb") as stream:
        texts = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stream), 1 << 20)
        for size in sizes:
            yield texts.read(size)
