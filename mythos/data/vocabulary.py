"""What the entries of a `tokenizer.json` stand for: the bytes of each token, which token ends a text, which opens one.

Two ways of writing bytes as names are read, both of BPE:

- byte-level (GPT-2, Llama 3, Qwen, gpt-oss, ours): every byte has a printable stand-in;
- SentencePiece (Llama 2): text as it is, `▁` for a space, `<0x0A>` for a byte that no token covers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import models, processors

from mythos.contract.errors import CheckpointError

ENDS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    "<|eot_id|>",
    "<|im_end|>",
    "<|return|>",
)
"""Names that the end of a text goes by, where nothing else tells it."""
_ESCAPE = re.compile(r"<0x([0-9A-F]{2})>")


def names_of(backend: Backend) -> list[str]:
    """[V] names of all tokens. Raises CheckpointError where one is missing."""
    numbered = {number: name for name, number in backend.get_vocab().items()}
    gap = next((i for i in range(len(numbered)) if i not in numbered), None)
    if gap is not None:
        raise CheckpointError(f"The tokenizer has no token {gap}.", "Its vocabulary is damaged.")
    return [numbered[i] for i in range(len(numbered))]


def bytes_of(backend: Backend) -> list[bytes]:
    """[V] bytes of text of each token; none for special tokens. Raises CheckpointError for another kind than BPE."""
    if not isinstance(backend.model, models.BPE):
        kind = type(backend.model).__name__
        raise CheckpointError(
            f"The tokenizer is of the kind {kind}.", "Only BPE can be used: byte-level or SentencePiece."
        )
    kinds = _kinds(json.loads(backend.decoder.__getstate__())) if backend.decoder is not None else set()
    if kinds & {"ByteFallback", "Metaspace"}:
        found = [_from_sentencepiece(name) for name in names_of(backend)]
    else:
        found = [_from_byte_level(name) for name in names_of(backend)]
    for number, token in backend.get_added_tokens_decoder().items():
        found[number] = b"" if token.special else token.content.encode()
    return found


def _kinds(decoder: Any) -> set[str]:
    """Types of a decoder and of its parts."""
    return {decoder["type"]}.union(*(_kinds(part) for part in decoder.get("decoders", ())))


def _from_sentencepiece(name: str) -> bytes:
    escape = _ESCAPE.fullmatch(name)
    return bytes.fromhex(escape[1]) if escape else name.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """The printable stand-in for each byte in byte-level vocabularies (GPT-2) → the byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


def _from_byte_level(name: str) -> bytes:
    try:
        return bytes(_ALPHABET[char] for char in name)
    except KeyError:
        return name.encode()


def drops_leading_space(backend: Backend, tokens: list[bytes]) -> bool:
    """Whether encoding puts a space before a text that decoding takes away again, as SentencePiece does."""
    spaced = next((i for i, token in enumerate(tokens) if token[:1] == b" " and token[1:].isalpha()), None)
    return spaced is not None and not backend.decode([spaced]).startswith(" ")


@dataclass(frozen=True)
class Frame:
    """Ids around a text: `opening` is put before it by every program that reads the file, `end` ends it. None: nothing."""

    opening: int | None
    end: int | None


def read_frame(backend: Backend, folder: Path | None = None) -> Frame:
    """What Hugging Face's settings in `folder` say, else the file's own template, else a well-known name of an end.

    Raises CheckpointError for a template with ids that no token has.
    """
    template = _template(backend)
    said = _settings(folder / "tokenizer_config.json") if folder else {}
    opening, end = template.opening, _named(backend, said.get("eos_token"))
    if isinstance(said.get("add_bos_token"), bool):
        opening = _named(backend, said.get("bos_token")) if said["add_bos_token"] else None
    ends = (end, _numbered(backend, folder) if folder else None, template.end, *map(backend.token_to_id, ENDS))
    return Frame(opening, next((token for token in ends if token is not None), None))


def write_frame(backend: Backend, frame: Frame) -> None:
    """Make `read_frame` say this of the file alone, as a template."""
    names = {i: backend.id_to_token(i) for i in (frame.opening, frame.end) if i is not None}
    before = f"{names[frame.opening]} " if frame.opening is not None else ""
    after = f" {names[frame.end]}" if frame.end is not None else ""
    second = f"{names[frame.opening]}:1 $B:1" if frame.opening is not None else "$B:1"
    backend.post_processor = processors.TemplateProcessing(
        single=f"{before}$A", pair=f"{before}$A{after} {second}", special_tokens=[(n, i) for i, n in names.items()]
    )


def _template(backend: Backend) -> Frame:
    """Read off two texts in a row: what opens the first, and what stands between them beside the second's opening."""
    pair = backend.encode("a", "a")
    tokens, last = backend.get_vocab_size(), max(pair.ids, default=0)
    if last >= tokens:
        raise CheckpointError(
            f"The tokenizer's template puts id {last} beside a text, but there are {tokens:,} tokens.",
            "Its file is damaged: copy it again from its source.",
        )
    at = pair.sequence_ids
    if 0 not in at or 1 not in at:
        return Frame(None, None)
    first, second = at.index(0), at.index(1)
    between = [i for i, row in zip(pair.ids[first:second], at[first:second], strict=True) if row is None]
    opening = pair.ids[0] if first else None
    return Frame(opening, between[0] if len(between) > (opening is not None) else None)


def _named(backend: Backend, value: Any) -> int | None:
    """The id of a token that settings name, by a text or by an object with its `content`."""
    name = value.get("content") if isinstance(value, dict) else value
    return backend.token_to_id(name) if isinstance(name, str) else None


def _numbered(backend: Backend, folder: Path) -> int | None:
    """The eos_token_id of settings; of several the first."""
    for file in ("generation_config.json", "config.json"):
        value = _settings(folder / file).get("eos_token_id")
        number = value[0] if isinstance(value, list) and value else value
        if isinstance(number, int) and 0 <= number < backend.get_vocab_size():
            return number
    return None


def _settings(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
