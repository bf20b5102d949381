"""Exported tokenizers give transformers our ids; foreign ones keep their ids, beginnings and ends through an import."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend

import mythos
from mythos.data.tokenizer import EOT
from mythos.infer.text import encode_prompt
from mythos.interop.hf import export_hf, import_hf
from tests.data._foreign import contents
from tests.fakes.checkpoints import write_checkpoint

ALPHABETS = [
    "abcdefghij ABC 0123456789 .,;:!?'\"",
    "def return(){}[]=+-*/<>\n\t    ",
    "éàüßñçøå中文字日本語한국어العربية",
    "👩‍👩‍👧‍👦🇩🇪👍🏽✨🤖\u200d\ufe0f",
    "\u0301\u0308\u0323e\u030aaou\u200b\u2028\u00a0\u3000",
    "\ufb01\u212b\u2460\uff46\uff55\u00b2\u210c\u1e9b\u0323",  # NFKC would change each of these
]
NAMES = [EOT, "<s>", "</s>", "<|im_end|>", "<|endoftext", "|>"]


def fuzz(count: int) -> list[str]:
    """Seeded strings; some hold the names of special tokens."""
    chance = random.Random(7)
    made = ["", " ", EOT]
    while len(made) < count:
        parts = [
            chance.choice(NAMES)
            if chance.random() < 0.1
            else "".join(chance.choices(chance.choice(ALPHABETS), k=chance.randint(0, 12)))
            for _ in range(chance.randint(1, 8))
        ]
        made.append("".join(parts))
    return made


def test_a_thousand_strings_have_the_same_ids_and_come_back(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    source = write_checkpoint(tmp_path / "c", "dense")
    foreign = AutoTokenizer.from_pretrained(export_hf(source, tmp_path / "hf"))
    tokenizer, texts = mythos.load(source).tokenizer, fuzz(1000)
    assert foreign.is_fast and len(foreign) == tokenizer.vocab_size
    assert (foreign.eos_token_id, foreign.bos_token_id) == (tokenizer.eot, tokenizer.start)
    ids = foreign(texts, split_special_tokens=True).input_ids  # names of special tokens are text, as they are to us
    assert ids == tokenizer.encode_batch(texts)
    assert foreign.batch_decode(ids) == texts == [tokenizer.decode(row) for row in ids]
    assert max(map(max, filter(None, ids))) < tokenizer.vocab_size
    assert not any(tokenizer.eot in row for row in ids)
    assert foreign(f"a{EOT}").input_ids[-1] == tokenizer.eot  # and obeyed where they are not split


FOREIGN: list[tuple[str, dict[str, Any], str, str]] = [
    ("llama2", {"eos_token": "</s>", "bos_token": "<s>"}, "<s>", "</s>"),
    ("llama3", {"eos_token": "<|eot_id|>"}, "<|begin_of_text|>", "<|eot_id|>"),
    ("gpt2", {"eos_token": "<|endoftext|>"}, "<|endoftext|>", "<|endoftext|>"),
    ("qwen", {"eos_token": "<|im_end|>"}, "<|endoftext|>", "<|im_end|>"),
]


@pytest.mark.parametrize(("kind", "settings", "start", "end"), FOREIGN, ids=[case[0] for case in FOREIGN])
def test_a_foreign_tokenizer_keeps_its_ways_through_import_and_export(
    kind: str, settings: dict[str, Any], start: str, end: str, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    own = write_checkpoint(tmp_path / "own", "dense", vocab_size=600)
    folder = export_hf(own, tmp_path / "foreign")
    (folder / "tokenizer.json").write_text(contents(kind))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    )
    tokenizer = mythos.load(import_hf(folder, tmp_path / "c").path).tokenizer
    assert (tokenizer.token_text(tokenizer.start), tokenizer.token_text(tokenizer.eot)) == (start, end)
    again = AutoTokenizer.from_pretrained(export_hf(tmp_path / "c", tmp_path / "hf"))
    assert (again.bos_token, again.eos_token) == (start, end)
    backend = Backend.from_str(contents(kind))
    for text in ("the end of it", "  the  end\n", f"a{end}b👍"):
        assert again(text).input_ids == backend.encode(text).ids  # with what their template puts before a text
        ids = again(text, split_special_tokens=True, add_special_tokens=False).input_ids
        assert ids == tokenizer.encode(text) and again.decode(ids) == tokenizer.decode(ids)
        assert encode_prompt(tokenizer, text)[-1] != tokenizer.eot


def test_ends_of_texts_stop_an_answer(tmp_path: Path) -> None:
    own = write_checkpoint(tmp_path / "own", "dense")
    settings = json.loads((export_hf(own, tmp_path / "hf") / "generation_config.json").read_text())
    tokenizer = mythos.load(own).tokenizer
    assert settings["eos_token_id"] == settings["bos_token_id"] == tokenizer.eot
