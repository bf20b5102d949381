"""Tokens on disk: flat little-endian shards per split, a document index, and meta.json.

    <corpus>/meta.json             totals, dtype, sizes of all files; written last
             tokenizer.json
             train-00000.bin ...   uint16 or uint32 token ids; a document may run on into the next shard
             train.index.npy       int64 [documents, 4]: first token (within the split), tokens, bytes of UTF-8 text,
                                   number of its source in data.mixture
             train.ids.jsonl       one JSON string per document: its identity
             held_out...           the same

A document is `<|endoftext|>` and then its tokens; its token count includes the former, its byte count does not.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from mythos.contract.errors import DataError
from mythos.data.answers import Answers
from mythos.data.split import SplitName

FORMAT = 2
SPLITS: tuple[SplitName, ...] = ("train", "held_out")


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    return np.dtype("<u2" if vocab_size <= 65_536 else "<u4")


class SplitWriter:
    """Writes one split, document by document, in pieces of any length."""

    def __init__(self, folder: Path, name: SplitName, dtype: np.dtype[Any], shard_tokens: int) -> None:
        self._folder, self._name, self._dtype, self._shard_tokens = folder, name, dtype, shard_tokens
        self._index = array("q")  # flat rows of (first token, tokens, bytes, source)
        self._ids = (folder / f"{name}.ids.jsonl").open("w", encoding="utf-8")
        self._shard: IO[bytes] | None = None
        self.tokens = self.bytes = self.documents = 0

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._ids, self._shard):
            if stream:
                stream.close()

    def begin(self, identity: str, n_bytes: int, eot: int, source: int = 0) -> None:
        """Open a document of `n_bytes` bytes of text."""
        self._index.extend((self.tokens, 0, n_bytes, source))
        self._ids.write(json.dumps(identity) + "\n")
        self.documents += 1
        self.bytes += n_bytes
        self.extend([eot])

    def extend(self, ids: Sequence[int] | np.ndarray) -> None:
        """Append tokens to the open document."""
        tokens = np.asarray(ids, dtype=self._dtype)
        self._index[-3] += len(tokens)
        while len(tokens):
            room = self._shard_tokens - self.tokens % self._shard_tokens
            if self._shard is None or room == self._shard_tokens:
                self._next_shard()
            assert self._shard is not None
            self._shard.write(tokens[:room].tobytes())
            self.tokens += len(tokens[:room])
            tokens = tokens[room:]

    def finish(self) -> dict[str, Any]:
        """Write the index, flush everything to disk and return the split's part of meta.json."""
        with (self._folder / f"{self._name}.index.npy").open("wb") as stream:
            np.save(stream, np.array(self._index, dtype="<i8").reshape(-1, 4))
            _sync(stream)
        for open_stream in (self._ids, self._shard):
            if open_stream:
                _sync(open_stream)
        return {"documents": self.documents, "tokens": self.tokens, "bytes": self.bytes}

    def _next_shard(self) -> None:
        if self._shard:
            _sync(self._shard)
            self._shard.close()
        self._shard = (self._folder / f"{self._name}-{self.tokens // self._shard_tokens:05d}.bin").open("wb")


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Complete a corpus: meta.json with the size of every file, then the folder itself, flushed to disk."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    with (folder / "meta.json").open("w", encoding="utf-8") as stream:
        json.dump({"format": FORMAT, **meta, "files": sizes}, stream, indent=1)
        _sync(stream)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(stream: IO[Any]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


class Tokens:
    """All tokens of a split as one sequence over memory-mapped shards, each opened when first read."""

    def __init__(self, shards: Sequence[Path], dtype: np.dtype[Any], n_tokens: int, shard_tokens: int) -> None:
        self._paths, self._dtype, self._length, self._shard_tokens = shards, dtype, n_tokens, shard_tokens
        self._maps: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self._length

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Tokens [start, stop) as int64 [stop - start]; a copy. Raises IndexError outside of the split."""
        if not 0 <= start <= stop <= self._length:
            raise IndexError(f"tokens [{start}, {stop}) of a split of {self._length}")
        out = np.empty(stop - start, dtype=np.int64)
        at = start
        while at < stop:
            shard, offset = divmod(at, self._shard_tokens)
            part = self._map(shard)[offset : offset + stop - at]
            out[at - start : at - start + len(part)] = part
            at += len(part)
        return out

    def _map(self, shard: int) -> np.ndarray:
        if shard not in self._maps:
            self._maps[shard] = np.memmap(self._paths[shard], dtype=self._dtype, mode="r")
        return self._maps[shard]


class Split:
    """Training or held-out documents of a prepared corpus."""

    def __init__(self, folder: Path, name: SplitName, meta: dict[str, Any]) -> None:
        totals = meta["splits"][name]
        self.name = name
        self.answers_only = bool(meta.get("data", {}).get("answers_only"))
        self.n_tokens: int = totals["tokens"]
        self.n_bytes: int = totals["bytes"]
        self.n_documents: int = totals["documents"]
        self._folder = folder
        shards = sorted(folder.glob(f"{name}-*.bin"))
        self.tokens = Tokens(shards, np.dtype(meta["dtype"]), self.n_tokens, meta["shard_tokens"])

    @cached_property
    def documents(self) -> np.ndarray:
        """int64 [documents, 4]: first token, tokens with the leading `<|endoftext|>`, bytes of text, source."""
        index: np.ndarray = np.load(self._folder / f"{self.name}.index.npy", mmap_mode="r", allow_pickle=False)
        return index

    @cached_property
    def answers(self) -> Answers | None:
        """What of it is asked for, if that is not every token."""
        return Answers(self._folder / "tokenizer.json") if self.answers_only else None

    @property
    def byte_counts(self) -> np.ndarray:
        """int64 [documents]: bytes of UTF-8 text of each."""
        return self.documents[:, 2]

    @cached_property
    def identities(self) -> list[str]:
        with (self._folder / f"{self.name}.ids.jsonl").open(encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]

    def document(self, i: int) -> np.ndarray:
        """Tokens of document i, int64, `<|endoftext|>` first."""
        start, count = (int(x) for x in self.documents[i, :2])
        return self.tokens.slice(start, start + count)


class Corpus:
    """A prepared corpus on disk. Raises DataError if it is missing, incomplete or of another format."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta: dict[str, Any] = self._read_meta()
        self.tokenizer_path = self.path / "tokenizer.json"

    def split(self, name: SplitName) -> Split:
        return Split(self.path, name, self.meta)

    def _read_meta(self) -> dict[str, Any]:
        hint = "Delete the folder; it is built anew when a run asks for it."
        if not (self.path / "meta.json").exists():
            raise DataError(
                f"{self.path} is no prepared corpus: it has no meta.json.",
                "`mythos data prepare CONFIG` tells where it puts one.",
            )
        try:
            meta: dict[str, Any] = json.loads((self.path / "meta.json").read_text(encoding="utf-8"))
            if meta["format"] != FORMAT:
                raise DataError(f"The corpus {self.path} has format {meta['format']}, not {FORMAT}.", hint)
            wrong = [name for name, size in meta["files"].items() if (self.path / name).stat().st_size != size]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"The corpus {self.path} is incomplete: {error}.", hint) from error
        if wrong:
            raise DataError(f"The corpus {self.path} is damaged: {', '.join(wrong)} has the wrong size.", hint)
        return meta
