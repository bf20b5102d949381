"""Tasks of lm-eval: every probability against one token at a time, for both families; results, answers and errors."""

from __future__ import annotations

import importlib.util
import json
import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval")
from lm_eval import tasks
from lm_eval.api.instance import Instance

import mythos
from mythos.checkpoint import Checkpoint
from mythos.contract.errors import ConfigError, DataError, MythosError
from mythos.data.tokenizer import Tokenizer
from mythos.evals import bits
from mythos.evals.harness import evaluate_tasks, load_tasks, metrics
from mythos.evals.harness_model import HarnessModel
from mythos.infer.exits import make_exit
from mythos.models.cache import Cache
from tests.data._foreign import contents
from tests.fakes.checkpoints import write_checkpoint

KINDS = [("dense", None, "auto"), ("recurrent", 2, "fixed"), ("recurrent", 5, "fixed"), ("recurrent", 6, "kl:0.05")]
WINDOW = 24
PAIRS = [
    ("def add(a, b):\n    return", " a + b"),
    ("", "for number in range(10):"),
    ("print(number,  ", "'héllo 👍')"),  # the spaces belong to the continuation
    ("p", "r"),  # melts into one token
    (" \n", "return"),
    ("for number in range(10):\n    print(number, 'x')\n" * 3, "    return"),  # longer than the window
    *[("def add(a, b", answer) for answer in ("!", ")", "x", " +")],  # one token each
    ("def", ""),
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: mythos.load(write_checkpoint(folder / family, family)) for family in ("dense", "recurrent")}


def instances(kind: str, arguments: list[Any]) -> list[Instance]:
    return [Instance(kind, {}, a if isinstance(a, tuple) else (a,), number) for number, a in enumerate(arguments)]


@torch.inference_mode()
def token_by_token(
    checkpoint: Checkpoint, ids: list[int], scored: int, loops: int | None, exit: str
) -> tuple[float, bool]:
    """log p of the last `scored` ids after those before, one token at a time through the cache, and whether greedy."""
    model, cache = checkpoint.model, Cache()
    rule, total, greedy = make_exit(exit, model.config), 0.0, True
    for i, (token, wanted) in enumerate(pairwise(ids)):
        logits = model(torch.tensor([[token]]), loops, cache=cache, exit=rule).logits[0, -1].double()
        if i >= len(ids) - 1 - scored:
            total += float(logits.log_softmax(-1)[wanted])
            greedy &= int(logits.argmax()) == wanted
    return total, greedy


def joined(checkpoint: Checkpoint, context: str, continuation: str) -> tuple[list[int], int]:
    """Ids of both, the end-of-text token first, and how many belong to the continuation."""
    tokenizer = checkpoint.tokenizer
    before, whole = tokenizer.encode(context.rstrip()), tokenizer.encode(context + continuation)
    if len(whole) == len(before):
        whole = before + tokenizer.encode(continuation)
    return [tokenizer.eot, *whole], len(whole) - len(before)


@pytest.mark.parametrize(("family", "loops", "exit"), KINDS)
def test_probabilities_are_those_of_single_tokens(
    checkpoints: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch, family: str, loops: int | None, exit: str
) -> None:
    monkeypatch.setattr(bits, "MOST_TOKENS_PER_BATCH", 60)  # several batches, of rows of several lengths
    checkpoint = checkpoints[family]
    found = HarnessModel(checkpoint, WINDOW, loops, exit).loglikelihood(instances("loglikelihood", PAIRS))
    assert len(joined(checkpoint, *PAIRS[3])[0]) == 3 and len(joined(checkpoint, *PAIRS[5])[0]) > WINDOW + 1
    for pair, (total, greedy) in zip(PAIRS[:-1], found[:-1], strict=True):
        ids, scored = joined(checkpoint, *pair)
        expected, expected_greedy = token_by_token(checkpoint, ids[-WINDOW - 1 :], scored, loops, exit)
        assert total == pytest.approx(expected, abs=1e-4), pair
        assert greedy is expected_greedy
    assert found[-1] == (0.0, True)


def test_greedy_means_every_token(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["recurrent"]
    context = [checkpoint.tokenizer.eot, *checkpoint.tokenizer.encode("def add")]
    likeliest = [step.id for step in mythos.infer.engine.generate_ids(checkpoint.model, context, 5)]
    others = [[*likeliest[:i], (likeliest[i] + 1) % 256, *likeliest[i + 1 :]] for i in range(5)]
    model = HarnessModel(checkpoint, WINDOW, None, "auto")
    found = model.score([(context, continuation) for continuation in (likeliest, *others)])
    assert [greedy for _, greedy in found] == [True] + [False] * 5
    assert all(found[0][0] != total for total, _ in found[1:])


def test_answers_that_differ_in_one_token_share_a_row(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["dense"]
    context = [checkpoint.tokenizer.eot, 5, 6, 7]
    model = HarnessModel(checkpoint, WINDOW, None, "auto")
    found = model.score([(context, [9, token]) for token in range(40, 60)])
    assert model.tokens_run == 5 and len(set(found)) == 20 and model.mean_loops == 1
    with pytest.raises(DataError, match="probability of 25 tokens; a window has 24"):
        model.score([(context, [9] * 25)])


@pytest.mark.parametrize(("family", "loops", "exit"), KINDS[:3])
def test_a_long_text_scores_every_token_once(
    checkpoints: dict[str, Checkpoint], family: str, loops: int | None, exit: str
) -> None:
    checkpoint = checkpoints[family]
    texts = ["for number in range(10): print('héllo 👍')\n" * 6, "def", ""]
    found = HarnessModel(checkpoint, WINDOW, loops, exit).loglikelihood_rolling(
        instances("loglikelihood_rolling", texts)
    )
    for text, total in zip(texts, found, strict=True):
        ids = [checkpoint.tokenizer.eot, *checkpoint.tokenizer.encode(text)]
        expected, done = 0.0, 1
        while done < len(ids):
            stop = min(done + WINDOW, len(ids))  # the last window reaches back, so that it is full
            window = ids[max(stop - WINDOW - 1, 0) : stop]
            expected += token_by_token(checkpoint, window, stop - done, loops, exit)[0]
            done = stop
        assert total == pytest.approx(expected, abs=1e-4)


def test_a_task_may_ask_for_samples(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["dense"]
    model = HarnessModel(checkpoint, WINDOW, None, "auto")
    drawn = model.answer("def", {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "max_gen_toks": 4})
    assert isinstance(drawn, str) and model.tokens_run
    sampling = model.sampling({"temperature": 0.7, "top_k": 5})
    assert (sampling.temperature, sampling.top_k, sampling.min_p) == (0.7, 5, 0)
    assert sampling.vocab == checkpoint.tokenizer.vocab_size


def test_a_prompt_opens_with_the_token_that_opens_a_text(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(contents("llama3"), encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    model = HarnessModel(replace(checkpoints["dense"], tokenizer=tokenizer), WINDOW, None, "auto")
    assert tokenizer.start != tokenizer.eot
    assert model.encode_pairs([("def", " add")])[0][0] == [tokenizer.start, *tokenizer.encode("def")]
    scored: list[list[int]] = []
    model.score = lambda pairs: [(0.0, True) for pair in pairs if scored.append([*pair[0], *pair[1]]) is None]  # type: ignore[method-assign]
    model.loglikelihood_rolling(instances("loglikelihood_rolling", ["def"]))
    assert scored == [[tokenizer.start, *tokenizer.encode("def")]]


@pytest.mark.parametrize("family", ["dense", "recurrent"])
def test_answers_are_what_the_engine_says_up_to_a_stop(checkpoints: dict[str, Checkpoint], family: str) -> None:
    checkpoint = checkpoints[family]
    text = "".join(token.text for token in mythos.generate(checkpoint, "def add(", max_tokens=12, temperature=0))
    stop = text[4:6]
    settings = [
        {"until": [], "max_gen_toks": 12},
        {"until": [stop, text[-1:] + "never"], "max_gen_toks": 12, "do_sample": False, "temperature": 0.7},
        {"until": stop, "max_gen_toks": 3},
    ]
    model = HarnessModel(checkpoint, WINDOW, None, "auto")
    found = model.generate_until(instances("generate_until", [("def add(", values) for values in settings]))
    assert model.tokens_run > 12 and model.mean_loops == (5 if family == "recurrent" else 1)
    assert len(text) > 6 and found[0] == text and found[1] == text.partition(stop)[0] and text.startswith(found[2])
    assert isinstance(
        model.answer("a b c d " * 40, {"max_gen_toks": 500}), str
    )  # neither fits: half of the window each


QUESTIONS = [(f"def add_{n}(a, b", [")", "]", " 👍"]) for n in range(4)]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task of multiple choice over local questions."""
    lines = [json.dumps({"question": question, "answers": answers}) for question, answers in QUESTIONS]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    dataset = {"data_files": {"test": str(tmp_path / "questions.jsonl")}, "cache_dir": str(tmp_path / "cache")}
    settings = {
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{answers}}",
        "doc_to_target": 0,
        "target_delimiter": "",
    }
    about = {"task": "local", "dataset_path": "json", "dataset_kwargs": dataset, "test_split": "test"}
    about |= {"fewshot_split": "test"}
    kind = {"output_type": "multiple_choice", "metric_list": [{"metric": "acc"}], "metadata": {"version": 2.0}}
    (tmp_path / "local.yaml").write_text(json.dumps(about | settings | kind))  # JSON is YAML
    return tmp_path / "local.yaml"


def test_a_task_from_a_file(checkpoints: dict[str, Checkpoint], task: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint = checkpoints["recurrent"]
    for loops in (1, 6):
        right = 0
        for question, answers in QUESTIONS[:3]:
            probabilities = []
            for answer in answers:
                ids, scored = joined(checkpoint, question, answer)
                probabilities.append(token_by_token(checkpoint, ids, scored, loops, "fixed")[0])
            right += probabilities[0] == max(probabilities)
        found = evaluate_tasks(checkpoint, [str(task)], limit=3, loops=loops)
        (result,) = found["tasks"].values()
        assert result["metrics"]["acc"]["value"] == pytest.approx(right / 3) and result["metrics"]["acc"]["stderr"] >= 0
        assert (result["samples"], result["few_shot"], result["version"]) == (3, 0, 2.0)
        assert (found["mean_loops"], found["context"], found["groups"]) == (loops, 64, {})
    said = capfd.readouterr()
    assert not said.out and "INFO" not in said.err and logging.getLogger("lm_eval").level == logging.ERROR


def test_worked_examples_are_as_asked_unless_the_task_has_none(task: Path) -> None:
    def shots(few_shot: int | None, own: int | None) -> int:
        settings = json.loads(task.read_text()) | {"num_fewshot": own}
        task.write_text(json.dumps(settings))
        (loaded,) = load_tasks([str(task)], few_shot)["tasks"].values()
        loaded.build_all_requests(limit=1)
        return loaded.instances[0].args[0].count("def add_") - 1

    assert [shots(2, None), shots(None, None), shots(None, 1), shots(2, 1), shots(2, 0)] == [2, 0, 1, 2, 0]


def test_what_cannot_be_run_is_one_paragraph(
    checkpoints: dict[str, Checkpoint], task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = checkpoints["dense"]
    local = tasks.TaskManager(include_path=task.parent, include_defaults=False)
    monkeypatch.setattr(tasks, "TaskManager", lambda include_defaults: local)  # without the seconds of the whole index
    with pytest.raises(DataError, match=r"no task 'locale'\. Did you mean local\?"):
        evaluate_tasks(checkpoint, ["locale"])
    with pytest.raises(DataError, match=r"no task file ghost\.yaml"):
        evaluate_tasks(checkpoint, ["local", "ghost.yaml"])
    with pytest.raises(ConfigError, match="--context 100 exceeds"):
        evaluate_tasks(checkpoint, ["local"], context=100)
    with pytest.raises(MythosError, match="needs a recurrent model"):
        evaluate_tasks(checkpoint, ["local"], exit="kl:0.1")
    (task.parent / "questions.jsonl").unlink()
    with pytest.raises(DataError, match=r"local cannot be loaded: .*questions\.jsonl.* local data_files"):
        evaluate_tasks(checkpoint, ["local"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MythosError, match=r"pip install 'mythos-tui\[eval\]'"):
        evaluate_tasks(checkpoint, ["local"])


def test_metrics_keep_their_filters_and_errors() -> None:
    values = {"alias": "x", "acc,none": 0.5, "acc_stderr,none": 0.1, "exact,strict": 1.0, "exact_stderr,strict": "N/A"}
    assert metrics(values) == {"acc": {"value": 0.5, "stderr": 0.1}, "exact (strict)": {"value": 1.0, "stderr": None}}
