"""What is to be prepared: sources, blocks of units, the tokenizer, and the key under which the result is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import tokenizers

from mythos.contract.config import DataConfig, SourceConfig
from mythos.data.pipeline import pool
from mythos.data.pipeline.reuse import reused_tokenizer
from mythos.data.shards import FORMAT
from mythos.data.sources import Unit, units
from mythos.data.tokenizer import PATTERN

BLOCK_BYTES, BLOCK_UNITS = 16 << 20, 4096
"""Units are done together up to this size and number: what an interruption costs at most, if no unit is larger."""
SMALL_BYTES, CLEANING = 64 << 20, 8
"""Less than this is sooner done than other processes are started; cleaning takes about as long as so many times the text."""


MIXING = 2
"""Raised when a mixture of the same sources becomes another corpus; those of a single source stay in the cache."""


@dataclass(frozen=True)
class Block:
    """Consecutive units of one source that are done together, and whose results lie together."""

    number: int
    source: int
    units: tuple[Unit, ...]

    @property
    def size(self) -> int:
        """Bytes to read; 0 where unknown."""
        return sum(unit.size for unit in self.units)


@dataclass(frozen=True)
class Job:
    """One corpus to prepare."""

    data: DataConfig
    vocab_size: int
    units: tuple[tuple[Unit, ...], ...]
    tokenizer: str | None
    """Contents of the `tokenizer.json` to be used; None trains one of `vocab_size` tokens."""

    @property
    def blocks(self) -> list[Block]:
        """All units in order."""
        return list(_blocks(self))

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on; files by what `Unit` knows of them, without reading them."""
        digest = blake2b(digest_size=16)
        made_with = [FORMAT, tokenizers.__version__, PATTERN, self._tokenizer_key()]
        made_with += [MIXING] if self.data.mixture else []
        digest.update(json.dumps([*made_with, settings(self.data, without_paths=True)], sort_keys=True).encode())
        for source in self.units:
            digest.update(b"source")
            for unit in source:
                digest.update(json.dumps(asdict(unit), sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def _tokenizer_key(self) -> int | str:
        if self.tokenizer is None:
            return self.vocab_size
        return blake2b(self.tokenizer.encode(), digest_size=16).hexdigest()

    @property
    def streamed(self) -> bool:
        """Whether a source comes over the network, so that nobody knows its size."""
        return any(source.source == "hf" for source in self.data.sources)

    def processes(self, blocks: int) -> int:
        """How many processes are worth starting for that many blocks."""
        small = not self.streamed and self._work < SMALL_BYTES
        wanted = self.data.workers or (1 if small else pool.cores())
        return max(1, min(wanted, blocks))

    @property
    def _work(self) -> int:
        """Bytes to read, more for what is cleaned."""
        for_all = self.data.repair or self.data.languages or self.data.dedup == "minhash"
        factors = [CLEANING if for_all or source.quality != "none" else 1 for source in self.data.sources]
        return sum(unit.size * factor for factor, its in zip(factors, self.units, strict=True) for unit in its)


def plan(data: DataConfig, vocab_size: int) -> Job:
    """Look at the sources without reading them. Raises DataError for what is not there, ConfigError for a tokenizer that
    is larger than the model's vocabulary."""
    tokenizer = reused_tokenizer(data.tokenizer, vocab_size) if data.tokenizer else None
    return Job(data, vocab_size, tuple(tuple(units(source)) for source in data.sources), tokenizer)


def _blocks(job: Job) -> Iterator[Block]:
    number = 0
    for source, units_of_it in enumerate(job.units):
        alone = job.data.sources[source].source == "hf"  # whose units are large and of unknown size
        group: list[Unit] = []
        size = 0
        for unit in units_of_it:
            if group and (alone or len(group) == BLOCK_UNITS or size + unit.size > BLOCK_BYTES):
                yield Block(number, source, tuple(group))
                number, group, size = number + 1, [], 0
            group.append(unit)
            size += unit.size
        if group:
            yield Block(number, source, tuple(group))
            number += 1


def settings(data: DataConfig, without_paths: bool = False) -> dict[str, Any]:
    """The settings that the corpus depends on, ready for JSON."""
    left_out: dict[str, Any] = {"cache_dir": True, "workers": True, "tokenizer": without_paths}
    if without_paths:
        left_out |= {"paths": True, "mixture": {"__all__": {"paths"}}}
    return data.model_dump(mode="json", exclude={name: how for name, how in left_out.items() if how})


def names(sources: tuple[SourceConfig, ...]) -> list[str]:
    """What each source of a mixture is called: by its kind, dataset or task, with ~2 for a second one of that name."""
    found: list[str] = []
    for source in sources:
        name = {"hf": source.dataset, "synthetic": f"tasks/{source.task}".rstrip("/")}.get(source.source, source.source)
        taken = sum(other.partition("~")[0] == name for other in found)
        found.append(f"{name}~{taken + 1}" if taken else name)
    return found
