"""Texts around the engine: what of a conversation is read, where an answer ends, and what it cost."""

from __future__ import annotations

from pathlib import Path

import pytest

import mythos
from mythos.checkpoint import Checkpoint
from mythos.contract.budget import flops_forward, rule_flops
from mythos.infer.stops import GeneratedToken, StopTexts
from mythos.infer.text import encode_prompt, fit_prompt, flops_of
from tests.fakes.checkpoints import write_checkpoint

PROMPT = "def add(a, b):\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return mythos.load(write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "act", halting="act"))


def through(pieces: list[str], stops: list[str]) -> tuple[list[str], bool]:
    """What is handed out of an answer in these pieces, and whether a stop text ended it."""
    watch, out = StopTexts(stops), []
    for text in pieces:
        out += watch.push(GeneratedToken(text, 0, 1, 1.0, 0.0))
        if watch.found:
            return [token.text for token in out], True
    return [token.text for token in out + watch.rest()], False


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["a", "b"], [], (["a", "b"], False)),
        (["a", "\n", "Us", "er", ":", "x"], ["\nUser:"], (["a"], True)),
        (["a", "b\nUser: c"], ["\nUser:"], (["a", "b"], True)),
        (["a", "\n", "Use", "ful"], ["\nUser:"], (["a", "\n", "Use", "ful"], False)),
        (["a", "\n", "\nUser:"], ["\nUser:"], (["a", "\n"], True)),
        (["a", "", "\nU"], ["\nUser:"], (["a", "", "\nU"], False)),
        (["xAB"], ["B", "A"], (["x"], True)),
        (["a"], [""], (["a"], False)),
    ],
)
def test_stop_texts_end_an_answer_and_are_left_out(
    pieces: list[str], stops: list[str], expected: tuple[list[str], bool]
) -> None:
    assert through(pieces, stops) == expected


def test_tokens_stay_back_only_while_they_may_begin_a_stop_text() -> None:
    watch = StopTexts(["\nUser:"])
    given = [len(watch.push(GeneratedToken(text, 0, 1, 1.0, 0.0))) for text in ("a", "\n", "U", "n", "b")]
    assert given == [1, 0, 0, 3, 1]


def test_an_answer_ends_at_a_stop_text(checkpoint: Checkpoint) -> None:
    whole = "".join(token.text for token in mythos.generate(checkpoint, PROMPT, temperature=0, max_tokens=30))
    stop = whole[9:12]
    answer = mythos.generate(checkpoint, PROMPT, temperature=0, max_tokens=30, stop=[stop])
    assert "".join(token.text for token in answer) == whole[: whole.index(stop)]
    assert answer.reason == "stop"


def test_a_checkpoint_may_bring_texts_that_end_its_answers(checkpoint: Checkpoint, tmp_path: Path) -> None:
    whole = "".join(token.text for token in mythos.generate(checkpoint, PROMPT, temperature=0, max_tokens=30))
    own, given = whole[9:12], whole[4:6]
    model = mythos.load(write_checkpoint(tmp_path / "act", halting="act", infer={"stop": [own]}))
    answer = mythos.generate(model, PROMPT, temperature=0, max_tokens=30)
    assert "".join(token.text for token in answer) == whole[: whole.index(own)] and answer.reason == "stop"
    sooner = mythos.generate(model, PROMPT, temperature=0, max_tokens=30, stop=[given])
    assert "".join(token.text for token in sooner) == whole[: min(whole.index(own), whole.index(given))]


def test_the_oldest_history_is_left_out_and_the_rest_is_read_whole(checkpoint: Checkpoint) -> None:
    tokenizer, history = checkpoint.tokenizer, [f"print({n})\n" for n in range(10, 22)]
    everything = encode_prompt(tokenizer, "head\n" + "".join(history) + PROMPT)
    assert fit_prompt(tokenizer, "head\n", history, PROMPT, len(everything)) == (everything, 0)
    ids, left_out = fit_prompt(tokenizer, "head\n", history, PROMPT, len(everything) // 2)
    assert 0 < left_out < len(history) and len(ids) <= len(everything) // 2
    assert tokenizer.decode(ids) == "head\n" + "".join(history[left_out:]) + PROMPT
    more = fit_prompt(tokenizer, "head\n", history[left_out - 1 :], PROMPT, 10**6)[0]
    assert len(more) > len(everything) // 2
    answer = mythos.generate(checkpoint, PROMPT, head="head\n", history=history, max_tokens=2)
    assert 0 < answer.left_out <= len(history) and len(answer.ids) <= checkpoint.config.model.context - 2
    with pytest.raises(mythos.contract.errors.MythosError, match="context"):
        mythos.generate(checkpoint, PROMPT * 30, history=history)


@pytest.mark.parametrize("exit", ["act", "fixed", "confidence:0.01"])
def test_flops_are_counted_token_by_token_with_the_rule(checkpoint: Checkpoint, exit: str) -> None:
    answer = mythos.generate(checkpoint, PROMPT, exit=exit, temperature=0, max_tokens=5, loops=4)
    taken = [token.loops for token in answer]
    flops, full = flops_of(checkpoint, len(answer.ids), taken, 4, exit)
    model, rule = checkpoint.config.model, exit.partition(":")[0]
    spans = [len(answer.ids) + i for i in range(len(taken))]
    assert flops == sum(
        flops_forward(model, span, n) + rule_flops(model, rule, span, n) for span, n in zip(spans, taken, strict=True)
    )
    assert full == sum(flops_forward(model, span, 4) for span in spans)
    assert (flops == full) == (exit == "fixed")


def test_the_repetition_penalty_looks_at_prompt_and_answer(checkpoint: Checkpoint) -> None:
    plain = mythos.generate(checkpoint, PROMPT, temperature=0, max_tokens=40)
    free = [token.id for token in plain]
    answer = mythos.generate(checkpoint, PROMPT, temperature=0, max_tokens=40, repetition_penalty=10.0)
    ids = [token.id for token in answer]
    assert len(set(ids)) > len(set(free)) and len(set(ids) - set(answer.ids)) >= len(set(ids)) - 1
