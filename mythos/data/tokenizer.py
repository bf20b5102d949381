"""Texts ↔ token ids: our own byte-level BPE, and foreign BPE of the byte-level or the SentencePiece kind.

Ours round-trips every string exactly and adds nothing that was not asked for. Its pre-tokenizer follows cl100k (digits in
groups of up to three, runs of white space kept together), so that indentation costs few tokens. `<|endoftext|>`, id 0,
opens every document. A foreign one keeps its own normalizer, splitting and special tokens; its round trip is its own.
The names of special tokens inside a text are ordinary text. Saved as a `tokenizer.json` that the `tokenizers` library loads.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from mythos.contract.errors import CheckpointError
from mythos.data.vocabulary import ENDS, bytes_of, drops_leading_space, names_of, read_frame, write_frame

EOT = "<|endoftext|>"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PIECE = 65_536
"""Characters that are handed to the backend at once; bounds its memory on long documents."""

_BREAK = re.compile(r"\n(?=\S)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd".encode()


class Tokenizer:
    """Texts ↔ token ids.

    `eot` ends a text; `start` opens one: the token that a foreign tokenizer puts there (BOS), else `<|endoftext|>`.
    """

    def __init__(self, backend: Backend, folder: Path | None = None) -> None:
        """`folder` may hold Hugging Face's settings, which say what opens and ends a text. Raises CheckpointError."""
        self._backend = backend
        backend.encode_special_tokens = True  # "<|endoftext|>" inside a text stays text; not kept in tokenizer.json
        backend.no_truncation()
        backend.no_padding()
        self.vocab_size: int = backend.get_vocab_size()
        self._names, self._bytes = names_of(backend), bytes_of(backend)
        self.frame = read_frame(backend, folder)
        if self.frame.end is None:
            raise CheckpointError(
                f"The tokenizer has no token that is known to end a text, such as {', '.join(ENDS[:3])}.",
                "Name it as eos_token in a tokenizer_config.json beside the tokenizer.json.",
            )
        self.eot: int = self.frame.end
        starts = (self.frame.opening, backend.token_to_id(EOT), self.eot)
        self.start: int = next(token for token in starts if token is not None)
        self._bytes[self.eot] = b""
        self.byte_lengths = np.array([len(b) for b in self._bytes], dtype=np.int64)
        """[V] bytes of text that each token stands for; `byte_lengths[ids].sum()` is the text's size in bytes."""
        self._drops_space = drops_leading_space(backend, self._bytes)
        splitting = backend.pre_tokenizer
        self._cuts = splitting is not None and splitting.__getstate__() == _pre_tokenizer().__getstate__()

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Learn merges from `texts`. Deterministic. Short texts give fewer than `vocab_size` tokens."""
        backend = Backend(models.BPE())
        backend.pre_tokenizer = _pre_tokenizer()
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[EOT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator((piece for text in texts for piece in pieces(text)), trainer)
        return cls(backend)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a `tokenizer.json`, and beside it the settings of a foreign one (see `read_frame`).

        Raises CheckpointError if it is missing, damaged or of another kind.
        """
        try:
            return cls(Backend.from_file(str(path)), Path(path).parent)
        except CheckpointError:
            raise
        except BaseException as error:  # the library raises plain Exception, and a panic of its Rust is not even one
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            hint = "Copy it again from its source, or delete the prepared corpus so that it is built anew."
            raise CheckpointError(f"Cannot read the tokenizer {path}: {error}.", hint) from error

    def to_json(self) -> str:
        """Contents of a `tokenizer.json` that tells by itself what opens and ends a text, without settings beside it."""
        if read_frame(self._backend) != self.frame:
            write_frame(self._backend, self.frame)
        return self._backend.to_str()

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_json(), encoding="utf-8")

    def encode(self, text: str) -> list[int]:
        """Ids of the text, without any special token. Lone surrogates, which no file can hold, become U+FFFD."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, in parallel."""
        parts = [(row, piece) for row, text in enumerate(texts) for piece in self.pieces(text)]
        rows: list[list[int]] = [[] for _ in texts]
        encodings = self._backend.encode_batch_fast([piece for _, piece in parts], add_special_tokens=False)
        for (row, _), encoding in zip(parts, encodings, strict=True):
            rows[row] += encoding.ids
        return rows

    def pieces(self, text: str) -> Iterator[str]:
        """Parts of a text that can be encoded one by one: where PATTERN allows it, else the text whole."""
        return pieces(text) if self._cuts else iter([_LONE_SURROGATE.sub("\ufffd", text)])

    def decode(self, ids: Iterable[int]) -> str:
        """The text, special tokens left out. Incomplete UTF-8 becomes U+FFFD."""
        text = b"".join(self.token_bytes(i) for i in ids)
        return (text.removeprefix(b" ") if self._drops_space else text).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token inside a text; none for special tokens, U+FFFD for an id outside the vocabulary."""
        return self._bytes[token] if 0 <= token < self.vocab_size else _REPLACEMENT

    def token_text(self, token: int) -> str:
        """One token for display: a special one by name, bytes that are not whole characters as U+FFFD."""
        text = self.token_bytes(token)
        return text.decode("utf-8", "replace") if text else self._names[token]

    def stream(self, opening: bool = False) -> StreamDecoder:
        """A decoder of the tokens that continue a text, or with `opening` of a text's own first ones."""
        return StreamDecoder(self, opening and self._drops_space)


class StreamDecoder:
    """Text of tokens that arrive one by one; bytes of an unfinished character are held back.

    With `drop_space` a space that comes first is left out.
    """

    def __init__(self, tokenizer: Tokenizer, drop_space: bool = False) -> None:
        self._tokenizer = tokenizer
        self._drop_space = drop_space
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this token completes; often "" inside an emoji."""
        text = self._tokenizer.token_bytes(token)
        if self._drop_space and text:
            text, self._drop_space = text.removeprefix(b" "), False
        return self._utf8.decode(text)

    def flush(self) -> str:
        """What was held back, as U+FFFD, at the end of the generation; the decoder is then as new."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """Cut a text into pieces whose tokens, put together, are those of the whole.

    No match of PATTERN spans a newline and a following non-space, so the cuts go there. Where none comes within
    16 pieces the cut is anywhere: the text still round-trips, with another token or two at that place.
    """
    text = _LONE_SURROGATE.sub("\ufffd", text)
    start = 0
    while len(text) - start > size:
        found = _BREAK.search(text, start + size - 1, start + 16 * size)
        stop = found.end() if found else min(start + 16 * size, len(text))
        yield text[start:stop]
        start = stop
    if start < len(text):
        yield text[start:]


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """How texts are split before merging, in our own tokenizers."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
