"""Foreign tokenizers give their own ids and texts, say what opens and ends a text, and obey no text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models

from mythos.contract.errors import CheckpointError
from mythos.data.tokenizer import Tokenizer
from mythos.infer.text import display_texts, encode_prompt
from tests.data._foreign import KINDS, contents

TEXTS = [
    "",
    "the end",
    " the  end ",
    "def f(x):\n\n\n    return  x\n\n y",
    "👩‍👩‍👧‍👦 e\u0301 \ufb01 ½ 中文",
    "<|endoftext|></s><s><|begin_of_text|> <|im_end|>",
    "a/\n\n/b.\n/c\r\n",
    "<0x0A>▁the",
]
ENDS = {
    "gpt2": "<|endoftext|>",
    "llama3": "<|end_of_text|>",
    "qwen": "<|endoftext|>",
    "gpt_oss": "<|endoftext|>",
    "llama2": "</s>",
    "llama2_metaspace": "</s>",
}
STARTS = ENDS | {"llama3": "<|begin_of_text|>", "llama2": "<s>", "llama2_metaspace": "<s>"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(folder: Path, kind: str, **settings: Any) -> Tokenizer:
    """Load it from a folder that holds the given settings files beside it."""
    (folder / "tokenizer.json").write_text(contents(kind))
    for name, values in settings.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    return Tokenizer.load(folder / "tokenizer.json")


def test_ids_and_texts_are_those_of_the_library(kind: str, tmp_path: Path) -> None:
    tokenizer, backend = write(tmp_path, kind), Backend.from_str(contents(kind))
    backend.encode_special_tokens = True
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert ids == backend.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == backend.decode(ids)
        assert not {tokenizer.start, tokenizer.eot} & set(ids)


def test_texts_round_trip_as_far_as_their_normalizer_lets_them(kind: str, tmp_path: Path) -> None:
    tokenizer = write(tmp_path, kind)
    for text in TEXTS[:-1]:
        back = tokenizer.decode(tokenizer.encode(text))
        if kind == "qwen":
            assert back == unicodedata.normalize("NFC", text)
        elif kind == "llama2_metaspace" and text.startswith(" "):
            assert back.strip() == text.strip()  # one leading space is taken for its own
        else:
            assert back == text


def test_what_opens_and_ends_a_text(kind: str, tmp_path: Path) -> None:
    tokenizer = write(tmp_path, kind)
    assert tokenizer.token_text(tokenizer.eot) == ENDS[kind]
    assert tokenizer.token_text(tokenizer.start) == STARTS[kind]
    assert (tokenizer.frame.opening is not None) == (ENDS[kind] != STARTS[kind])
    prompt = encode_prompt(tokenizer, "the end")
    assert prompt[0] == tokenizer.start and prompt[-1] != tokenizer.eot and prompt.count(tokenizer.start) == 1
    assert tokenizer.decode(prompt) == "the end"


def test_a_stream_joins_to_the_text_and_a_continuation_keeps_its_space(kind: str, tmp_path: Path) -> None:
    tokenizer = write(tmp_path, kind)
    for text in TEXTS:
        prompt = encode_prompt(tokenizer, text)
        assert "".join(display_texts(tokenizer, prompt)) == tokenizer.decode(prompt)
    assert "".join(map(tokenizer.stream().push, tokenizer.encode(" the"))).endswith(" the")


def test_a_long_text_is_not_cut_where_its_splitting_forbids_it(tmp_path: Path) -> None:
    for kind in ("gpt2", "gpt_oss", "llama2"):
        tokenizer, backend = write(tmp_path, kind), Backend.from_str(contents(kind))
        text = "a.\n\n/b the\n" * 7000
        assert tokenizer.encode(text) == backend.encode(text, add_special_tokens=False).ids


def number(kind: str, name: str) -> int:
    return int(Backend.from_str(contents(kind)).token_to_id(name))


SETTINGS: list[tuple[str, dict[str, Any], str]] = [
    ("llama3", {"tokenizer_config": {"eos_token": "<|eot_id|>"}}, "<|eot_id|>"),
    ("qwen", {"tokenizer_config": {"eos_token": {"content": "<|im_end|>"}}}, "<|im_end|>"),
    ("gpt_oss", {"generation_config": {"eos_token_id": [number("gpt_oss", "<|return|>"), 3]}}, "<|return|>"),
    ("llama2", {"config": {"eos_token_id": 0}}, "<unk>"),
    ("gpt2", {"tokenizer_config": {"eos_token": "ghost"}, "config": {"eos_token_id": 99_999}}, "<|endoftext|>"),
    ("llama2", {"generation_config": [], "config": {"eos_token_id": None}}, "</s>"),
]


@pytest.mark.parametrize(("kind", "settings", "name"), SETTINGS)
def test_settings_beside_the_file_name_the_end_and_a_saved_file_remembers_it(
    kind: str, settings: dict[str, Any], name: str, tmp_path: Path
) -> None:
    tokenizer = write(tmp_path, kind, **settings)
    assert tokenizer.token_text(tokenizer.eot) == name
    (tmp_path / "alone").mkdir()
    tokenizer.save(tmp_path / "alone/tokenizer.json")
    again = Tokenizer.load(tmp_path / "alone/tokenizer.json")
    assert (again.frame, again.start) == (tokenizer.frame, tokenizer.start)
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    own = Backend.from_file(str(tmp_path / "alone/tokenizer.json")).encode("the end").ids
    assert own == Backend.from_str(contents(kind)).encode("the end").ids


BOS: list[tuple[str, dict[str, Any], str | None]] = [
    ("gpt_oss", {"add_bos_token": True, "bos_token": "<|startoftext|>"}, "<|startoftext|>"),
    ("llama2", {"add_bos_token": False, "bos_token": "<s>"}, None),
    ("llama3", {"add_bos_token": None, "bos_token": "<|eot_id|>"}, "<|begin_of_text|>"),
]


@pytest.mark.parametrize(("kind", "settings", "name"), BOS)
def test_settings_beside_the_file_say_whether_a_text_is_opened(
    kind: str, settings: dict[str, Any], name: str | None, tmp_path: Path
) -> None:
    tokenizer = write(tmp_path, kind, tokenizer_config=settings)
    tokenizer.save(tmp_path / "alone.json")
    for each in (tokenizer, Tokenizer(Backend.from_file(str(tmp_path / "alone.json")))):
        opening = each.frame.opening
        assert (None if opening is None else each.token_text(opening)) == name
        assert each.token_text(each.start) == (name or ENDS[kind])
    assert Backend.from_file(str(tmp_path / "alone.json")).encode("a").ids == [
        *([] if name is None else [tokenizer.start]),
        *tokenizer.encode("a"),
    ]


def test_an_end_that_only_the_settings_know_is_saved(tmp_path: Path) -> None:
    Backend(models.BPE(vocab={"a": 0, "stop": 1}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "stop"}')
    Tokenizer.load(tmp_path / "tokenizer.json").save(tmp_path / "alone.json")
    assert Tokenizer(Backend.from_file(str(tmp_path / "alone.json"))).eot == 1


def test_settings_of_the_file_that_cut_or_fill_texts_are_off(tmp_path: Path) -> None:
    backend = Backend.from_str(contents("llama3"))
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    assert tokenizer.decode(tokenizer.encode("the end of the world")) == "the end of the world"


def test_added_tokens_that_are_not_special_are_text(tmp_path: Path) -> None:
    tokenizer = write(tmp_path, "qwen")
    ids = tokenizer.encode("a<tool_call>b")
    assert len(ids) == 3 and tokenizer.token_bytes(ids[1]) == b"<tool_call>"


def test_another_kind_or_no_known_end_is_refused(tmp_path: Path) -> None:
    Backend(models.WordPiece({"[UNK]": 0, "a": 1, "</s>": 2}, unk_token="[UNK]")).save(str(tmp_path / "words.json"))
    Backend(models.BPE(vocab={"a": 0, "b": 1}, merges=[])).save(str(tmp_path / "endless.json"))
    for name, says in (("words", "kind WordPiece"), ("endless", "known to end a text")):
        with pytest.raises(CheckpointError, match=says) as caught:
            Tokenizer.load(tmp_path / f"{name}.json")
        assert caught.value.hint


DAMAGED: dict[str, dict[str, Any]] = {
    "a normalizer that stops its library": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "one that stops it on a text": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////9hAA=="}},
    "an unknown token that is none": {"model": {"type": "BPE", "vocab": {"</s>": 0}, "merges": [], "unk_token": "?"}},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_that_stops_the_library_is_a_checkpoint_error(tmp_path: Path, damage: str) -> None:
    """A panic of the library's Rust is no Exception, and would end the program."""
    (tmp_path / "tokenizer.json").write_text(json.dumps(json.loads(contents("gpt2")) | DAMAGED[damage]))
    with pytest.raises(CheckpointError, match=r"Cannot read the tokenizer .*tokenizer\.json: ") as caught:
        Tokenizer.load(tmp_path / "tokenizer.json")
    assert caught.value.hint
