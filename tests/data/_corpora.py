"""Small corpora of many blocks, and what a prepared folder holds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mythos.contract.config import DataConfig
from mythos.data.shards import Corpus
from mythos.data.tokenizer import Tokenizer

WORDS = ("stone", "river", "cloud", "paper", "engine", "garden", "violet", "winter", "signal", "harbour", "thread")


def prose(seed: int, words: int = 40) -> str:
    """Different texts for different seeds."""
    chosen = random.Random(seed)
    return " ".join(f"{chosen.choice(WORDS)}{chosen.randrange(97)}" for _ in range(words)) + ".\n"


def write_texts(folder: Path, count: int, first: int = 0) -> Path:
    """`count` files with a text each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        (folder / f"{i:03d}.txt").write_text(prose(i))
    return folder


def files(folder: Path, **settings: Any) -> dict[str, Any]:
    """A source of a mixture."""
    return {"source": "files", "paths": (str(folder),), **settings}


def config(cache: Path, *sources: dict[str, Any], **settings: Any) -> DataConfig:
    """One source, or a mixture of several."""
    chosen = sources[0] if len(sources) == 1 else {"mixture": sources}
    return DataConfig(**{"cache_dir": str(cache), "held_out_percent": 20.0, **chosen, **settings})


def texts_of(corpus: Corpus, name: Any) -> list[tuple[str, str]]:
    """(identity, text) of every document of a split, in order, decoded from the shards."""
    split, tokenizer = corpus.split(name), Tokenizer.load(corpus.tokenizer_path)
    return [(split.identities[i], tokenizer.decode(split.document(i).tolist())) for i in range(split.n_documents)]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
