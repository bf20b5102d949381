"""Conversations as files: what is kept, found, rendered and written out, and what damage does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mythos_tui.chats.conversation import Answer, Conversation, Piece, Turn
from mythos_tui.chats.export import computation, export, markdown
from mythos_tui.chats.store import ChatStore, search
from mythos_tui.chats.templates import BUILT_IN, load_templates
from mythos_tui.screens.chat.column import column_text

PAST = [("one", " 1"), ("two", " 2")]


def conversation(text: str = "hello there") -> Conversation:
    answer = Answer(
        checkpoint="/somewhere/quickstart",
        title="quickstart",
        settings={"temperature": 0.8, "exit": "", "seed": 7},
        read=text,
        prompt=[Piece(text, 2)],
        earlier=1,
        tokens=[Piece(" wor``````ld", 3, 11, 0.5, 1.25), Piece("\x1b[31m", 4, 12, 0.25, 2.0)],
        limit=8,
        reason="length",
        mean_loops=3.5,
        tokens_per_s=20.0,
        flops=60.0,
        flops_full=100.0,
    )
    return Conversation(template="chat", system="Be brief.", turns=[Turn(text=text, answers=[answer])])


def test_a_conversation_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    store, kept = ChatStore(tmp_path / "chats"), conversation()
    store.save(kept)
    assert store.load(kept.id) == kept
    assert [path.name for path in store.folder.iterdir()] == [f"{kept.id}.json"]
    assert store.folder.stat().st_mode & 0o077 == 0
    store.delete(kept.id)
    store.delete(kept.id)
    assert store.all() == ([], [])


@pytest.mark.parametrize("id", ["../../etc/passwd", "", "20260101-000000-zzzzzz", "a/b", "20260101-000000-abcdef.json"])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, id: str) -> None:
    store = ChatStore(tmp_path)
    for act in (store.load, store.delete):
        with pytest.raises(ValueError, match="names no conversation"):
            act(id)


def test_damaged_files_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    store = ChatStore(tmp_path)
    first, second = conversation("first"), conversation("second")
    second.updated = first.updated + 1
    store.save(first)
    store.save(second)
    (tmp_path / "20260101-000000-abcdef.json").write_text('{"turns": [{"answers"')
    (tmp_path / "20260101-000000-abcdee.json").write_text('{"turns": [{"text": 5}]}')
    (tmp_path / "notes.json").write_text("mine")
    found, faults = store.all()
    assert [one.title for one in found] == ["second", "first"]
    assert len(faults) == 2 and "abcdee.json is no conversation: turns.0.text" in faults[0]


def test_searching_looks_at_everything_that_was_said() -> None:
    both = [conversation("Red apple"), conversation("green pear")]
    assert search(both, "apple RED") == both[:1]
    assert search(both, "brief wor") == both
    assert search(both, "apple pear") == []


def test_markdown_shows_what_was_said_and_obeys_none_of_it() -> None:
    text = markdown(conversation("a\n# no heading"))
    assert "\x1b" not in text and "␛[31m" in text
    fences = re.findall("^`{3,}", text, re.M)
    assert "`" * 7 in fences and "```text\na\n# no heading\n```" in text
    assert "**quickstart** · temperature 0.8 · seed 7" in text
    assert "2 tokens · 20.0 tokens/s · loops 3.50 of 8 · 40% of FLOPs saved · max tokens reached" in text


def test_exports_are_files_of_their_own(tmp_path: Path) -> None:
    one = conversation()
    assert export(one, "md", tmp_path).read_text() == markdown(one)
    path = export(one, "json", tmp_path)
    assert Conversation.model_validate(json.loads(path.read_text())) == one


def test_a_rule_that_costs_more_than_it_saves_is_said_to() -> None:
    assert computation(-0.2).startswith("20% more FLOPs") and computation(0.0) == "FLOPs as at full depth"


def test_templates_say_what_is_read_again() -> None:
    texts = {}
    for template in BUILT_IN:
        parts = template.render("Sys", PAST, "{text} three")
        texts[template.name] = parts.head + "".join(parts.history) + parts.prompt
    assert texts == {
        "plain": "{text} three",
        "document": "one 1two 2{text} three",
        "code": "# {text} three\n",
        "chat": "Sys\n\nUser: one\nAssistant: 1\nUser: two\nAssistant: 2\nUser: {text} three\nAssistant:",
        "question": "Sys\n\nQ: one\nA: 1\n\nQ: two\nA: 2\n\nQ: {text} three\nA:",
    }
    chat = next(one for one in BUILT_IN if one.name == "chat")
    assert chat.render(" ", [], "x").head == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("turn: x", "turn must hold {text}"),
        ("head: x", "head must hold {system}"),
        ("turn: '{text}'\nstops: [a]", "stops: Unexpected keyword argument"),
        ("history: maybe", "history: Input should be a valid boolean"),
        ("- a", "it holds no `key: value` lines"),
        ("a: [", "expected"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
    ],
)
def test_a_template_file_with_a_fault_is_named_and_left_out(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "chat.yaml").write_text("about: Better.\nturn: 'U {text} A'\nhistory: true\n")
    found, faults = load_templates(tmp_path)
    assert found["chat"].turn == "U {text} A" and "mine" not in found
    assert len(faults) == 1 and "mine.yaml is left out" in faults[0] and fault in faults[0]


def test_the_column_tells_of_characters_made_of_several_tokens_and_of_what_is_not_known() -> None:
    one = Answer(
        checkpoint="x",
        title="x",
        settings={},
        prompt=[Piece("a", 1), Piece("", 1), Piece("", 2), Piece("👍", 3)],
        limit=4,
    )
    text = column_text(one, 3, None, "looking inside…").plain
    assert "completes a character begun 2 tokens" in text and "loops       3 of 4 to read it" in text
    assert "looking inside…" in text and "probability" not in text
    assert "completes" not in column_text(one, 0, None).plain
