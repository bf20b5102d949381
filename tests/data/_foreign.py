"""Small tokenizers built as well-known models have theirs: the same parts, vocabularies of some hundred tokens."""

from __future__ import annotations

import json
from functools import cache

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

TEXT = (
    "def add(a, b):\n    return a + b  # the sum of them, 1234 in all\n\nIt's the end of the world, and they know.\n"
    * 8
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _byte_level(splitting: pre_tokenizers.PreTokenizer, *special: str) -> Backend:
    """Special tokens come after the vocabulary, as they do in GPT-2 and later models."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = splitting
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([TEXT], trainer)
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    return backend


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    return pre_tokenizers.Sequence(parts)


def gpt2() -> Backend:
    backend = _byte_level(pre_tokenizers.ByteLevel(False), "<|endoftext|>")
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    return backend


def llama3() -> Backend:
    backend = _byte_level(_split(LLAMA3), "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
    bos = "<|begin_of_text|>"
    template = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, backend.token_to_id(bos))]
    )
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return backend


def qwen() -> Backend:
    backend = _byte_level(_split(LLAMA3), "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    backend.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    backend.normalizer = normalizers.NFC()
    return backend


def gpt_oss() -> Backend:
    return _byte_level(_split(O200K), "<|startoftext|>", "<|endoftext|>", "<|return|>")


def llama2(legacy: bool = True) -> Backend:
    """SentencePiece's BPE: `▁` for spaces, bytes for what no token covers, `<s>` before every text."""
    trained = Backend(models.BPE(unk_token="<unk>"))
    trained.train_from_iterator(
        ["▁" + word for word in TEXT.replace("\n", " ").split(" ")],
        trainers.BpeTrainer(vocab_size=150, show_progress=False),
    )
    learned = json.loads(trained.to_str())["model"]
    special = ["<unk>", "<s>", "</s>"]
    names = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁▁", *learned["vocab"]]
    merges = [("▁", "▁"), *map(tuple, learned["merges"])]
    vocab = {name: number for number, name in enumerate(names)}
    backend = Backend(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if legacy:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    undo = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(undo)
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return backend


KINDS = {
    "gpt2": gpt2,
    "llama3": llama3,
    "qwen": qwen,
    "gpt_oss": gpt_oss,
    "llama2": llama2,
    "llama2_metaspace": lambda: llama2(legacy=False),
}


@cache
def contents(kind: str) -> str:
    """A tokenizer.json."""
    return KINDS[kind]().to_str()
