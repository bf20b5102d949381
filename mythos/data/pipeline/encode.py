"""Text parts → token parts: every document that is used, as ids without its opening token.

tokens/000000/  tokens.bin     ids, document after document
                lengths.npy    int64 [documents of the text part], 0 for those that are not used
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from pathlib import Path

import numpy as np

from mythos.data.pipeline import pool
from mythos.data.pipeline.plan import Job
from mythos.data.pipeline.pool import Advance
from mythos.data.pipeline.select import Selection
from mythos.data.pipeline.texts import read_texts
from mythos.data.pipeline.work import Work, new_folder, part, whole_parts
from mythos.data.progress import Tracker
from mythos.data.shards import token_dtype
from mythos.data.tokenizer import Tokenizer

_BATCH = 1 << 20  # characters encoded at once


@dataclass(frozen=True)
class Encoder:
    """The task of one part: (its number, bool [documents of it]: is used)."""

    work: Work

    def __call__(self, item: tuple[int, np.ndarray], advance: Advance) -> None:
        number, used = item
        tokenizer = _tokenizer(self.work.tokenizer)
        dtype = token_dtype(tokenizer.vocab_size)
        lengths = np.zeros(len(used), dtype=np.int64)
        texts = compress(zip(range(len(used)), read_texts(part(self.work.texts, number)), strict=True), used)
        with new_folder(part(self.work.tokens, number)) as folder:
            with (folder / "tokens.bin").open("wb") as stream:
                for batch in _batches(texts, tokenizer):
                    encoded = tokenizer.encode_batch([piece for _, piece in batch])
                    for (row, piece), ids in zip(batch, encoded, strict=True):
                        stream.write(np.array(ids, dtype=dtype).tobytes())
                        lengths[row] += len(ids)
                        advance(len(piece.encode()))
            np.save(folder / "lengths.npy", lengths)


@lru_cache(maxsize=1)
def _tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.load(path)


def _batches(texts: Iterator[tuple[int, bytes]], tokenizer: Tokenizer) -> Iterator[list[tuple[int, str]]]:
    """(row, piece of its text), about _BATCH characters at a time."""
    batch: list[tuple[int, str]] = []
    size = 0
    for row, text in texts:
        for piece in tokenizer.pieces(text.decode()):
            batch.append((row, piece))
            size += len(piece)
            if size >= _BATCH:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def encode(job: Job, selection: Selection, tracker: Tracker) -> None:
    """Encode what an earlier attempt has not."""
    documents, work = selection.documents, selection.documents.work
    there = whole_parts(work.tokens)
    used, sizes = selection.used, np.where(selection.used, documents.rows["bytes"], 0)
    numbers = range(len(documents.sources))
    found = sum(int(sizes[documents.part(number)].sum()) for number in numbers if number in there)
    tracker.stage("encode", int(sizes.sum()), found=found)
    missing = [(number, used[documents.part(number)]) for number in numbers if number not in there]
    pool.run(Encoder(work), missing, job.processes(len(missing)), tracker)


def read_tokens(folder: Path, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """A part's ids, memory-mapped, and the int64 count of each of its documents."""
    lengths = np.load(folder / "lengths.npy", allow_pickle=False)
    empty = not lengths.any()
    ids = np.empty(0, dtype=dtype) if empty else np.memmap(folder / "tokens.bin", dtype=dtype, mode="r")
    return ids, lengths
