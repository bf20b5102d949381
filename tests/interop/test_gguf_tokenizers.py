"""llama.cpp makes of a text the ids that our engine feeds, for every kind of tokenizer that is exported."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from mythos.data.tokenizer import EOT, PATTERN, Tokenizer
from mythos.infer.text import encode_prompt
from mythos.interop.gguf import export_gguf
from tests.data._foreign import contents
from tests.fakes.checkpoints import write_checkpoint

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
from tests.interop._llama_cpp import LlamaCpp

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
WAYS: dict[str, pre_tokenizers.PreTokenizer] = {
    "dbrx": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), BYTES]),
    "llama-bpe": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), BYTES]),
    "qwen2": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN.replace("{1,3}", "")), "isolated"), BYTES]),
    "gpt-2": GPT2,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]),
}
MARKS = "x1! \n"
CHARACTERS = MARKS * 3 + "\r\t\x0b\x85'slrevdmTK0٣²Ⅷé日ß\u00a0\u2028\u3000\u0301\u200d👍_ʰ\u00ad\ufeff"


def touchy(way: str) -> Tokenizer:
    """Every byte joins with each of MARKS before or after it, so that ids show where words were cut.

    No merges lead to the token `abc`: it is found only where known words are not merged.
    """
    stand_in = {byte: BYTES.pre_tokenize_str(chr(byte))[0][0] for byte in range(128)}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = [stand_in[ord(mark)] for mark in MARKS]
    merges = [pair for mark in marks for byte in alphabet for pair in ((mark, byte), (byte, mark))]
    joined = dict.fromkeys([EOT, *alphabet, *map("".join, merges), "abc"])
    vocab = {name: number for number, name in enumerate(joined)}
    ordered = list(dict.fromkeys(merges))
    backend = Backend(models.BPE(vocab=vocab, merges=ordered, ignore_merges=way == "llama-bpe"))
    backend.pre_tokenizer, backend.decoder = WAYS[way], decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(EOT, special=True, normalized=False)])
    return Tokenizer(backend)


def export(monkeypatch: pytest.MonkeyPatch, folder: Path, tokenizer: Tokenizer) -> LlamaCpp:
    """llama.cpp with a model of this tokenizer."""
    monkeypatch.setattr("tests.fakes.checkpoints.tiny_tokenizer", lambda: tokenizer)
    source = write_checkpoint(folder / "model", "dense", n_layers=1)
    return LlamaCpp(export_gguf(source, folder / "m.gguf").path, 64)


@pytest.mark.parametrize("way", WAYS)
def test_words_are_cut_at_the_same_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str) -> None:
    tokenizer, generator = touchy(way), random.Random(0)
    texts = ["", "abc", "don'T we'LL 1234567  \n\n  x", f"a{chr(0x10FFFF)}x"]
    texts += ["".join(generator.choices(CHARACTERS, k=generator.randint(1, 40))) for _ in range(500)]
    with export(monkeypatch, tmp_path, tokenizer) as theirs:
        for text in texts:
            assert theirs.ids(text) == encode_prompt(tokenizer, text), repr(text)


@pytest.mark.parametrize("space_first", [True, False])
def test_sentencepiece_merges_are_the_same_by_score(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, space_first: bool
) -> None:
    settings = json.loads(contents("llama2"))
    if not space_first:
        settings["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    tokenizer, generator = Tokenizer(Backend.from_str(json.dumps(settings))), random.Random(0)
    words: list[Any] = ["of", "the", "the", "and", "world", " ", "  ", "\n", "é", "日", "aaa", "Quiz", "▁"]
    texts = ["", " ", *("".join(generator.choices(words, k=generator.randint(1, 12))) for _ in range(300))]
    with export(monkeypatch, tmp_path, tokenizer) as theirs:
        for text in texts:
            assert theirs.ids(text) == encode_prompt(tokenizer, text), repr(text)


@pytest.mark.parametrize("kind", ["gpt2", "llama3"])
def test_foreign_tokens_open_and_end_a_text_as_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    tokenizer = Tokenizer(Backend.from_str(contents(kind)))
    with export(monkeypatch, tmp_path, tokenizer) as theirs:
        found = theirs.ids("the sum of 1234")
    assert found == encode_prompt(tokenizer, "the sum of 1234") and found[0] == tokenizer.start


def test_a_tokenizer_without_merges_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare = Tokenizer.train([""], 257)
    with export(monkeypatch, tmp_path, bare) as theirs:
        assert theirs.ids("héllo, 12") == encode_prompt(bare, "héllo, 12")
