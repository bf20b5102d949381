"""The lens against what the model says when it really stops there, and the other looks that are taken one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mythos
from mythos.checkpoint import Checkpoint
from mythos.contract import protocol
from mythos.contract.errors import MythosError
from mythos.infer.engine import Cancelled
from mythos.infer.exits import make_exit
from mythos.inspect.lens import settled
from mythos.inspect.ondemand import attention_pattern, depth_losses
from mythos.inspect.trace import Trace, trace
from mythos.inspect.wire import attention_event, check_trace, lists, sweep_event
from mythos.models.halting import Replay
from tests.fakes.checkpoints import write_checkpoint

TEXT = "def add(a, b):\n    return a + b"
SHIPPED = Path(__file__).parents[2] / "checkpoints" / "quickstart"
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("dense", "auto", {"attention": "mla"}),
    ("recurrent", "auto", {"halting": "act", "coda_layers": 2}),
    ("recurrent", "auto", {"halting": "act", "halted_tokens": "run", "n_experts": 0}),
    ("recurrent", "auto", {"halting": "act", "act_remainder": False}),
    ("recurrent", "confidence:0.09", {"attention": "mla"}),
    ("recurrent", "state_delta:0.3", {"coda_layers": 0}),
    ("recurrent", "confidence:0.09", {"coda_layers": 2, "attention_window": 4}),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}-{'-'.join(map(str, case[2].values()))}")
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Checkpoint, Trace]:
    family, exit, settings = request.param
    checkpoint = mythos.load(write_checkpoint(tmp_path / "model", family, **settings))
    return checkpoint, trace(checkpoint, TEXT, exit=exit)


def same(found: Trace, i: int, step: int, log_p: torch.Tensor, final: torch.Tensor, following: int | None) -> None:
    """The lens of position i at a step (from 0) tells of the distribution log_p [V]."""
    p = log_p.exp()
    best = p.topk(found.lens_p.shape[2])
    np.testing.assert_allclose(found.lens_p[i, step], best.values, atol=1e-5)
    np.testing.assert_allclose(p[torch.from_numpy(found.lens_ids[i, step])], best.values, atol=1e-5)
    np.testing.assert_allclose(found.lens_entropy[i, step], -(p * log_p).sum(), atol=1e-4)
    np.testing.assert_allclose(found.lens_kl[i, step], (final.exp() * (final - log_p)).sum(), atol=1e-4)
    if following is None:
        assert np.isnan(found.next_p[i, step]) and found.next_rank[i, step] == -1
    else:
        np.testing.assert_allclose(found.next_p[i, step], p[following], atol=1e-5)
        assert int((p > p[following] + 1e-5).sum()) < found.next_rank[i, step] <= int((p > p[following] - 1e-5).sum())


@torch.inference_mode()
def test_the_lens_is_what_the_model_says_where_it_stops(case: tuple[Checkpoint, Trace]) -> None:
    """One position at a time is stopped at each loop, with those before it as they were; a dense model is cut short."""
    checkpoint, found = case
    model, t, n = checkpoint.model, len(found.ids), len(found.steps)
    ids = torch.from_numpy(found.ids)[None]
    took = found.loops if found.family == "recurrent" else np.full(t, n)
    layers = getattr(model, "layers", None)
    for i in range(0, t, 3):
        following = int(found.ids[i + 1]) if i + 1 < t else None
        said = []
        for step in range(1, int(took[i]) + 1):
            if layers is not None:
                model.layers = layers[:step]
                said.append(model(ids[:, : i + 1]).logits[0, -1].log_softmax(-1))
            else:
                stop = torch.from_numpy(found.loops + ~found.stopped)[None, : i + 1]
                stop[0, i] = stop[0, i] if step == took[i] else step
                said.append(model(ids[:, : i + 1], exit=Replay(stop)).logits[0, -1].log_softmax(-1))
        if layers is not None:
            model.layers = layers
        for step, log_p in enumerate(said):
            same(found, i, step, log_p, said[-1], following)
        assert (found.lens_ids[i, int(took[i]) :] == -1).all() and np.isnan(found.lens_p[i, int(took[i]) :]).all()
        best = found.lens_ids[i, : int(took[i]), 0]
        assert (best[found.settled[i] - 1 :] == best[-1]).all()
        assert found.settled[i] == 1 or best[found.settled[i] - 2] != best[-1]


def test_settling() -> None:
    best = np.array([[5, 5, 5], [4, 5, 5], [5, 4, 5], [5, 5, -1], [4, -1, -1]])
    assert settled(best, np.array([3, 3, 3, 2, 1])).tolist() == [1, 2, 3, 1, 1]


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return mythos.load(SHIPPED)


@torch.inference_mode()
def test_numbers_of_the_shipped_checkpoint_are_the_engines(shipped: Checkpoint) -> None:
    """The lens where a token stopped is the model's own prediction, and loops are those of a generation that reads it."""
    for exit in ("state_delta:0.07", "confidence:0.5", "fixed"):
        found = trace(shipped, TEXT, exit=exit)
        rule = make_exit(exit, shipped.config.model)
        output = shipped.model(torch.from_numpy(found.ids)[None], found.max_loops, exit=rule)
        log_p = output.logits[0].log_softmax(-1)
        at, top = found.loops - 1, torch.from_numpy(found.lens_ids[np.arange(len(found.ids)), found.loops - 1])
        every = np.arange(len(at))
        np.testing.assert_allclose(np.log(found.lens_p[every, at]), log_p.gather(1, top), atol=1e-5)
        np.testing.assert_allclose(found.lens_entropy[every, at], -(log_p.exp() * log_p).sum(-1), atol=2e-5)
        np.testing.assert_allclose(found.token_loss[1:], -np.log(found.next_p[every, at][:-1]), atol=1e-5)
        assert found.loops.tolist() == output.telemetry.loops[0].tolist()
        prompt = mythos.generate(shipped, TEXT, exit=exit, max_tokens=1).prompt
        assert [loops for _, loops in prompt] == found.loops.tolist()
        if exit.startswith("confidence"):
            np.testing.assert_allclose(found.exit_signal[:, : len(found.steps)], found.lens_p[..., 0], atol=1e-5)


def test_tokens_may_follow_the_text_as_they_are(shipped: Checkpoint) -> None:
    whole = trace(shipped, TEXT)
    parts = trace(shipped, "", then=whole.ids[1:].tolist())
    assert parts.ids.tolist() == whole.ids.tolist() and parts.tokens == whole.tokens
    with pytest.raises(MythosError, match="Token 99999 is not in the vocabulary"):
        trace(shipped, "", then=[99999])


def test_texts_of_candidates_are_whole_or_escaped(shipped: Checkpoint) -> None:
    found = trace(shipped, "print('👍", top=64)
    texts = found.text_of()
    assert set(texts) == set(found.lens_ids.flatten().tolist()) - {-1}
    for token, text in texts.items():
        assert text and "\ufffd" not in text
        if "\\x" not in text and token != shipped.tokenizer.eot:
            assert text.encode() == shipped.tokenizer.token_bytes(token)


def test_patterns_give_the_entropy_that_is_shown(case: tuple[Checkpoint, Trace]) -> None:
    checkpoint, found = case
    how = {"taken": found.loops.tolist(), "stopped": found.stopped.tolist()}
    for row, name in enumerate(found.attention_rows):
        for head in (0, 3):
            pattern = attention_pattern(checkpoint, TEXT, row, head, **how)
            assert pattern.row == name
            ran = ~np.isnan(found.attention_entropy[row, :, head])
            assert (np.isnan(pattern.weights) == ~ran[:, None]).all()
            weights = pattern.weights[ran].astype(np.float64)
            np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
            entropy = -np.where(weights > 0, weights * np.log(np.maximum(weights, 1e-300)), 0).sum(1)
            np.testing.assert_allclose(entropy, found.attention_entropy[row, ran, head], atol=1e-4)
            assert not np.triu(np.nan_to_num(pattern.weights), 1).any()
            sent = attention_event(pattern, "1", head, 0.1).weights
            assert [one is not None for one in sent] == ran.tolist()
            assert all(len(one) == t + 1 for t, one in enumerate(sent) if one is not None)


def test_a_pattern_that_is_not_there_is_refused(shipped: Checkpoint) -> None:
    taken = trace(shipped, TEXT).loops.tolist()
    stopped = [True] * len(taken)
    with pytest.raises(MythosError, match=r"no head 1 at row 100.*prelude 1"):
        attention_pattern(shipped, TEXT, 99, 0, taken=taken, stopped=stopped)
    with pytest.raises(MythosError, match="no head 77"):
        attention_pattern(shipped, TEXT, 0, 76, taken=taken, stopped=stopped)
    for wrong in (taken[:-1], [0, *taken[1:]], [99, *taken[1:]]):
        with pytest.raises(MythosError, match="do not fit"):
            attention_pattern(shipped, TEXT, 0, 0, taken=wrong, stopped=stopped)


def test_a_sweep_is_every_depth_run_for_itself(case: tuple[Checkpoint, Trace]) -> None:
    checkpoint, found = case
    if found.family == "dense":
        with pytest.raises(MythosError, match="no loops to sweep"):
            depth_losses(checkpoint, TEXT)
        return
    losses = depth_losses(checkpoint, TEXT)
    assert losses.shape == (8, len(found.ids)) and np.isnan(losses[:, 0]).all()
    for loops in (1, 3, 8):
        fixed = trace(checkpoint, TEXT, loops=loops, exit="fixed")
        assert not fixed.stopped.any()
        np.testing.assert_allclose(losses[loops - 1], fixed.token_loss, atol=2e-5)
    assert depth_losses(checkpoint, TEXT, loops=2).shape[0] == 2
    assert sweep_event(losses, "1", 0.1).losses[0][0] is None
    with pytest.raises(Cancelled):
        depth_losses(checkpoint, TEXT, should_stop=lambda: True)


def test_long_texts_are_read_out_in_parts(case: tuple[Checkpoint, Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, whole = case
    monkeypatch.setattr("mythos.inspect.lens.LOGITS", 3 * len(whole.steps) * checkpoint.config.model.vocab_size)
    parts = trace(checkpoint, TEXT, exit=whole.exit)
    np.testing.assert_allclose(parts.lens_p, whole.lens_p, atol=1e-6)
    monkeypatch.setattr("mythos.inspect.lens.LOGITS", 1)
    np.testing.assert_allclose(trace(checkpoint, TEXT, exit=whole.exit).lens_kl, whole.lens_kl, atol=1e-5)


def test_lines_are_bounded(shipped: Checkpoint) -> None:
    check_trace(shipped.config.model, 2048, 8, 8)
    with pytest.raises(MythosError, match=r"9000 tokens.*Shorten the text to \d+ tokens; `mythos trace` writes"):
        check_trace(shipped.config.model, 9000, 8, 8)
    numbers = np.array([0.0, 1 / 3, -123456.789, 1e-12, np.nan, np.inf], dtype=np.float64)
    assert lists(numbers) == [0.0, 0.333333, -123457.0, 1e-12, None, None]
    found = trace(shipped, "x = " * 60, exit="fixed", loops=8, top=16)
    from mythos.inspect.wire import trace_event

    line = protocol.encode(trace_event(found, "1", 0.0))
    per_token = len(line) / len(found.ids)
    assert per_token * 1_500_000 / (8 * 38 + 10 * 6 + 8 * 5) < 64 << 20
