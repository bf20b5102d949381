"""A tokenizer.json → the vocabulary of a GGUF file, from which llama.cpp makes the same ids of a text.

llama.cpp cannot be given a way to cut text into words: it knows some by name, each with code of its own. A tokenizer
that goes about it in another way is refused, because its model would run on ids that it never saw. One difference
remains: llama.cpp takes letters and digits that came with Unicode 16 (2024) for other characters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mythos.contract.errors import CheckpointError
from mythos.data.tokenizer import PATTERN, Tokenizer

NORMAL, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 3, 4, 5, 6
"""Types of tokens (gguf.TokenType)."""
WORDS = {
    (PATTERN, "bytes"): "dbrx",
    ("whole words", PATTERN, "bytes"): "llama-bpe",
    (PATTERN.replace("{1,3}", ""), "bytes"): "qwen2",
    ("GPT-2", "bytes"): "gpt-2",
    ("digits", "GPT-2", "bytes"): "smollm",
}
"""Steps before the merges → llama.cpp's name for them (src/llama-vocab.cpp). "whole words": known ones are not merged."""
SPACES = {("▁ first", "▁ for spaces", "or bytes"): True, ("▁ for spaces", "or bytes"): False}
"""Steps of SentencePiece, and whether a space is put before a text."""
BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
"""Tokens of SentencePiece for what no other covers."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and their types by id [V], and how texts become tokens.

    `model` is gpt2, with `words` (how text is cut) and `merges` "left right" by rank; or llama, which is SentencePiece,
    with `scores` [V] and `space_first`. `start` opens a text, `end` ends it; `unused` ids fill up the model's vocabulary.
    """

    model: str
    tokens: list[str]
    types: list[int]
    start: int
    end: int
    unused: list[int]
    words: str = "default"
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    space_first: bool = False


def read_vocabulary(file: Path, tokenizer: Tokenizer, size: int) -> Vocabulary:
    """The vocabulary of a model with `size` ids, from the file of its tokenizer.

    Raises CheckpointError if llama.cpp would tokenize in another way.
    """
    settings = json.loads(file.read_text(encoding="utf-8"))
    steps = _steps(settings)
    merges = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in settings["model"].get("merges", ())]
    tokens, types, unused = _tokens(settings, file, size)
    make = partial(Vocabulary, tokens=tokens, types=types, start=tokenizer.start, end=tokenizer.eot, unused=unused)
    if steps in WORDS:  # a vocabulary without merges does not load; an empty one joins nothing
        return make("gpt2", words=WORDS[steps], merges=[" ".join(pair) for pair in merges] or [""])
    if steps in SPACES and (scores := _scores(tokens, types, merges)):
        return make("llama", scores=scores, space_first=SPACES[steps])
    raise CheckpointError(
        f"llama.cpp has no tokenizer that goes about a text as {file} does.",
        "Export it with `mythos export hf`, which keeps the tokenizer as it is.",
    )


def _tokens(settings: dict[str, Any], file: Path, size: int) -> tuple[list[str], list[int], list[int]]:
    """Names and types of all ids, and the ids that no token has."""
    model = settings["model"]
    bytewise = BYTES if model.get("byte_fallback") else ()
    names = {number: (name, BYTE if name in bytewise else NORMAL) for name, number in model["vocab"].items()}
    for token in settings["added_tokens"]:
        names[token["id"]] = token["content"], CONTROL if token["special"] else USER_DEFINED
    if max(names) >= size:
        raise CheckpointError(
            f"{file} has ids up to {max(names):,}, but the model's vocabulary is {size:,}.",
            "The two come from different models: name a checkpoint that is whole.",
        )
    unused = [number for number in range(size) if number not in names]
    names |= {number: (f"[PAD{number}]", UNUSED) for number in unused}
    tokens, types = zip(*(names[number] for number in range(size)), strict=True)
    return list(tokens), list(types), unused


def _scores(tokens: list[str], types: list[int], merges: list[tuple[str, ...]]) -> list[float]:
    """Of two joints that are tokens, SentencePiece makes the one with the higher score, whatever it is made of.

    So merges come down to scores if every pair that makes up a token is one, next to the others of that token; else [].
    """
    ranks: dict[str, int] = {}
    for left, right in merges:
        ranks.setdefault(left + right, len(ranks))
    order = [ranks["".join(pair)] for pair in merges]
    known, pairs = {name for name, kind in zip(tokens, types, strict=True) if kind == NORMAL}, set(merges)
    cuts = ((name[:at], name[at:]) for name in known for at in range(1, len(name)))
    if order != sorted(order) or any(cut not in pairs and known.issuperset(cut) for cut in cuts):
        return []
    return [-float(ranks.get(name, len(ranks))) for name in tokens]


def _steps(settings: dict[str, Any]) -> tuple[str, ...]:
    """What happens to a text before the merges, as WORDS and SPACES name it; what is not known there stands as JSON."""
    model, cutting = settings["model"], settings["pre_tokenizer"] or {"pretokenizers": []}
    writing = settings["normalizer"] or {"normalizers": []}
    parts = [*writing.get("normalizers", [writing]), *cutting.get("pretokenizers", [cutting])]
    found = [name for part in parts for name in _step(part)]
    found += [key for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout") if model.get(key)]
    if model.get("byte_fallback") and model["vocab"].keys() >= BYTES:
        found.append("or bytes")
    return ("whole words", *found) if model.get("ignore_merges") else tuple(found)


def _step(step: dict[str, Any]) -> list[str]:
    match step:
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return [pattern]
        case {"type": "Digits", "individual_digits": True}:
            return ["digits"]
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": use_regex}:
            return ["GPT-2", "bytes"] if use_regex else ["bytes"]
        case {"type": "Prepend", "prepend": "▁"}:
            return ["▁ first"]
        case {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}:
            return ["▁ for spaces"]
        case {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}:
            return ["▁ for spaces"]
    return [json.dumps(step)]
