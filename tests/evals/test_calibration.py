"""Thresholds keep to the target, the probe learns what it is for, and a calibrated checkpoint carries both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mythos
from mythos.contract.config import RecurrentConfig
from mythos.contract.errors import ConfigError
from mythos.data.loader import HeldOutDocument
from mythos.evals.bits import evaluate
from mythos.evals.calibration import Calibration, calibrate
from mythos.evals.checkpoint import save_calibrated
from mythos.evals.gate_fit import GateFitter
from mythos.evals.tenths import tenths
from mythos.infer.exits import make_exit
from mythos.models.recurrent import RecurrentModel
from tests.fakes.checkpoints import tiny_model, tiny_tokenizer, write_checkpoint

C, TARGET = 16, 0.05


def documents(count: int) -> list[HeldOutDocument]:
    draw = np.random.default_rng(0)
    return [HeldOutDocument(f"d{i}", draw.integers(1, tiny_tokenizer().vocab_size, C + 1), 3 * C) for i in range(count)]


DOCUMENTS = documents(12)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[mythos.Checkpoint, Calibration, Path]:
    checkpoint = mythos.load(write_checkpoint(tmp_path_factory.mktemp("calibrated") / "model", a_max=0.3))
    found = calibrate(checkpoint.model, DOCUMENTS, C, TARGET, loops=6)
    return checkpoint, found, save_calibrated(checkpoint, found, checkpoint.path)


def test_every_rule_is_measured_on_text_that_did_not_choose_it(calibrated: tuple) -> None:
    checkpoint, found, _ = calibrated
    assert {rule.rule for rule in found.rules} <= {"gate", "confidence", "kl", "state_delta"} and found.rules
    assert (found.fitted_on, found.tokens) == (6 * C, 6 * C)
    other = [HeldOutDocument(str(i), document.tokens, 0) for i, document in enumerate(DOCUMENTS[1::2])]
    for rule in found.rules:
        made = make_exit(rule.exit, checkpoint.model.config)
        again = evaluate(checkpoint.model, other, context=C, n_loops=6, exit=made)
        assert again.loss - found.loss == pytest.approx(rule.loss_added, abs=1e-6)
        assert again.mean_loops == pytest.approx(rule.point.mean_loops)
    saved = [rule.point.flops_saved for rule in found.rules]
    assert saved == sorted(saved, reverse=True)


def test_the_default_saves_flops_within_the_target(calibrated: tuple) -> None:
    _, found, _ = calibrated
    default = next(rule for rule in found.rules if rule.exit == found.default)
    assert default.loss_added <= TARGET and default.point.flops_saved > 0
    assert all(rule.loss_added > TARGET for rule in found.rules[: found.rules.index(default)])


def test_the_checkpoint_stops_by_it(calibrated: tuple) -> None:
    checkpoint, found, path = calibrated
    loaded = mythos.load(path)
    assert isinstance(loaded.config.model, RecurrentConfig) and loaded.config.model.halting == "gate"
    assert (loaded.config.infer.exit, loaded.config.infer.loops) == (found.default, 6)
    assert set(loaded.config.infer.calibrated) == {rule.exit for rule in found.rules}
    torch.testing.assert_close(loaded.model.halt.weight, checkpoint.model.halt.weight)
    token = next(iter(mythos.generate(loaded, "def add", max_tokens=1)))
    assert 1 <= token.loops <= 6


def test_what_act_was_measured_at_is_what_the_checkpoint_does(tmp_path: Path) -> None:
    checkpoint = mythos.load(write_checkpoint(tmp_path / "model", a_max=0.3, halting="act"))
    found = calibrate(checkpoint.model, DOCUMENTS, C, 5.0, loops=6, only=("act",))
    (rule,) = found.rules
    assert rule.title == f"act {rule.point.threshold:g}" and found.default == "act"
    saved = mythos.load(save_calibrated(checkpoint, found, tmp_path / "calibrated")).model
    assert isinstance(saved.config, RecurrentConfig) and saved.config.act_threshold == rule.point.threshold < 0.9
    other = [HeldOutDocument(str(i), document.tokens, 0) for i, document in enumerate(DOCUMENTS[1::2])]
    again = evaluate(saved, other, context=C, n_loops=6, exit=make_exit(found.default, saved.config))
    assert again.mean_loops == pytest.approx(rule.point.mean_loops)
    assert again.loss - found.loss == pytest.approx(rule.loss_added, abs=1e-6)


def test_the_probe_learns_what_can_be_told_of_a_state() -> None:
    """Also where one plane does not do: the sure ones lie on both sides."""
    model = tiny_model("recurrent", a_max=0.3)
    assert isinstance(model, RecurrentModel)
    fitter = GateFitter(model, [document.tokens for document in DOCUMENTS], 6)
    seen = fitter.seen
    assert seen.states.shape == (12 * C * 5, 2 * 32) and bool((seen.costs > -1e-5).all()) and bool(seen.asked.all())
    for score in (seen.states[:, 3], seen.states[:, 3].abs() - 0.5):
        fitter.seen = seen._replace(costs=(score <= 0).float()[:, None].expand(-1, 2))
        after, before = seen.states.chunk(2, dim=1)
        said = fitter.fit(0.5)(before, after) > 0
        assert float((said == (score > 0)).double().mean()) > 0.93


def test_a_token_may_stop_once_the_state_before_its_last_loop_was_right_as_well() -> None:
    """Keys and values come from that state, and later tokens see them for good."""
    model = tiny_model("recurrent", a_max=0.3)
    assert isinstance(model, RecurrentModel)
    piece = DOCUMENTS[0].tokens
    fitter = GateFitter(model, [piece], 4)
    costs = fitter.seen.costs.view(3, C, 2)
    ids = torch.from_numpy(piece[:-1].astype(np.int64))[None]
    with torch.no_grad():
        said = [model(ids, loops).logits[0].log_softmax(-1) for loops in (1, 2, 3, 4)]
    after = torch.stack([(said[3].exp() * (said[3] - now)).sum(-1) for now in said[:3]], 1)
    torch.testing.assert_close(costs[..., 0].T, after, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(costs[1:, :, 1].T, after[:, :-1], atol=1e-5, rtol=1e-3)
    assert bool((costs[0, :, 1] > after[:, 0] + 1e-4).any())
    said_of: dict[bool, float] = {}
    for careful in (False, True):
        after_, before = fitter.seen.states.chunk(2, dim=1)
        said_of[careful] = float((fitter.fit(float(after.median()), careful)(before, after_) > 0).float().mean())
    assert said_of[True] < said_of[False]


def test_what_cannot_stop_early_is_refused() -> None:
    with pytest.raises(ConfigError, match="dense"):
        calibrate(tiny_model("dense"), DOCUMENTS, C, TARGET)
    with pytest.raises(ConfigError, match="too few"):
        calibrate(tiny_model("recurrent"), DOCUMENTS[:3], C, TARGET)


def test_tenths_hold_every_token_once_and_in_order() -> None:
    model = tiny_model("recurrent")
    rule = make_exit("state_delta:0.2", model.config)
    found = tenths(model, DOCUMENTS, C, 8, rule)
    whole = evaluate(model, DOCUMENTS, context=C, n_loops=8, exit=rule)
    assert found.tokens == whole.tokens and list(found.losses) == sorted(found.losses)
    sizes = [len(part) for part in np.array_split(np.arange(found.tokens), 10)]
    assert np.average(found.losses, weights=sizes) == pytest.approx(whole.loss, rel=1e-5)
    assert np.average(found.loops, weights=sizes) == pytest.approx(whole.mean_loops)
    assert found.ratio == found.loops[-1] / found.loops[0]
