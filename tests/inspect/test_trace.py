"""Traces against a plain recomputation of everything in them, and their way to disk and into the protocol."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mythos
from mythos.checkpoint import Checkpoint
from mythos.contract import protocol
from mythos.contract.errors import MythosError
from mythos.infer.engine import Cancelled
from mythos.infer.exits import make_exit
from mythos.infer.text import encode_prompt
from mythos.inspect.attention import attention_entropy
from mythos.inspect.trace import EOT_TEXT, Trace, trace
from mythos.inspect.wire import trace_event
from mythos.models import attention as attention_module
from mythos.models import moe as moe_module
from mythos.models.cache import Cache
from tests.fakes.checkpoints import write_checkpoint

TEXT = "def add(a, b):\n    return a + b  # 👍 zwölf\n"
HEADS = 4
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("dense", "auto", {}),
    ("dense", "auto", {"attention": "mla"}),
    ("recurrent", "auto", {"halting": "act"}),
    ("recurrent", "auto", {"halting": "act", "attention": "mla"}),
    ("recurrent", "auto", {"halting": "act", "halted_tokens": "run", "n_experts": 0}),
    ("recurrent", "auto", {"halting": "act", "act_remainder": False}),
    ("recurrent", "fixed", {}),
    ("recurrent", "fixed", {"attention_window": 4}),
    ("recurrent", "confidence:0.09", {}),
    ("recurrent", "kl:0.02", {"attention": "mla", "prelude_layers": 2}),
    ("recurrent", "state_delta:0.3", {"halting": "act"}),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}-{'-'.join(map(str, case[2].values()))}")
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Checkpoint, str]:
    family, exit, settings = request.param
    return mythos.load(write_checkpoint(tmp_path / "model", family, **settings)), exit


class Watcher:
    """Distributions computed by the definition, one query at a time, while a model decodes token by token."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mythos.models.lone.fits", lambda *_: False)  # which would pass over what is watched
        self.calls: list[np.ndarray] = []
        self.routes: list[list[int]] = []
        self.gates: list[list[float]] = []
        product, route = attention_module.AttentionProduct.forward, moe_module.MoE.route

        def forward(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, causal: bool, scale: float) -> Tensor:
            assert q.shape[2] == 1
            entropies = []
            for head in range(q.shape[1]):
                scores = (k[0, head * k.shape[1] // q.shape[1]] @ q[0, head, 0]).double().numpy() * scale
                p = np.exp(scores - scores.max())
                p /= p.sum()
                entropies.append(-(p * np.log(p)).sum())
            self.calls.append(np.array(entropies))
            return product(module, q, k, v, mask, causal, scale)

        def routed(module: Any, x: Tensor, active: Tensor | None) -> Any:
            answer = route(module, x, active)
            self.routes.append(answer[1][0].tolist())
            self.gates.append(answer[0][0].tolist())
            return answer

        monkeypatch.setattr(attention_module.AttentionProduct, "forward", forward)
        monkeypatch.setattr(moe_module.MoE, "route", routed)


def test_everything_equals_token_by_token_decoding(
    case: tuple[Checkpoint, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, exit = case
    model, config = checkpoint.model, checkpoint.config.model
    found = trace(checkpoint, TEXT, exit=exit)
    ids = encode_prompt(checkpoint.tokenizer, TEXT)
    t = len(ids)
    assert found.ids.tolist() == ids and found.tokens[0] == EOT_TEXT and "".join(found.tokens[1:]) == TEXT

    rule = make_exit(exit, config)
    with torch.inference_mode():
        whole = model(torch.tensor([ids]), exit=rule)
    assert found.loops.tolist() == whole.telemetry.loops[0].tolist()
    assert len(set(found.loops.tolist())) > 1 or exit == "fixed" or config.family == "dense"
    log_p = whole.logits[0].log_softmax(-1)
    expected = [-float(log_p[i - 1, ids[i]]) for i in range(1, t)]
    assert np.isnan(found.token_loss[0])
    np.testing.assert_allclose(found.token_loss[1:], expected, atol=2e-5)
    in_sight = np.minimum(np.arange(1, t + 1), getattr(config, "attention_window", 0) or t)
    np.testing.assert_allclose(found.attention_max, np.log(in_sight), rtol=1e-6)

    prelude, coda = getattr(config, "prelude_layers", 0), getattr(config, "coda_layers", 0)
    assert len(found.attention_rows) == found.attention_entropy.shape[0]
    assert found.attention_entropy.shape[1:] == (t, HEADS)
    runs_on = getattr(config, "halted_tokens", "freeze") == "run"
    watcher = Watcher(monkeypatch)
    replayed = exit if not rule.reads_out else "fixed"
    cache = Cache()
    for i, loops in enumerate(found.loops.tolist()):
        watcher.calls, watcher.routes, watcher.gates = [], [], []
        with torch.inference_mode():
            depth = loops if rule.reads_out else None
            model(torch.tensor([[ids[i]]]), depth, cache=cache, exit=make_exit(replayed, config))
        seen = iter(watcher.calls)
        for row, name in enumerate(found.attention_rows):
            if name.startswith("loop ") and not runs_on and int(name[5:]) > loops:
                assert np.isnan(found.attention_entropy[row, i]).all(), name
                continue
            np.testing.assert_allclose(found.attention_entropy[row, i], next(seen), atol=2e-4)
        assert next(seen, None) is None
        if getattr(config, "n_experts", 0):
            ran = len(watcher.routes)
            assert found.routes[i, :ran].tolist() == watcher.routes and (found.routes[i, ran:] == -1).all()
            np.testing.assert_allclose(found.gates[i, :ran], watcher.gates, atol=1e-5)
            assert np.isnan(found.gates[i, ran:]).all()
        else:
            assert found.routes.size == 0
    names = found.attention_rows
    if config.family == "dense":
        assert names == ["layer 1", "layer 2", "layer 3"]
    else:
        middle = [f"loop {n}" for n in range(1, len(names) - prelude - coda + 1)]
        assert names == [
            *(f"prelude {n + 1}" for n in range(prelude)),
            *middle,
            *(f"coda {n + 1}" for n in range(coda)),
        ]
        assert len(middle) == (config.loops if runs_on else found.loops.max())
    assert (found.attention_entropy <= found.attention_max[None, :, None] + 1e-5)[
        ~np.isnan(found.attention_entropy)
    ].all()


@pytest.mark.parametrize("window", [0, 4])
def test_even_attention_has_all_the_entropy_there_can_be(tmp_path: Path, window: int) -> None:
    checkpoint = mythos.load(write_checkpoint(tmp_path / "model", "recurrent", attention_window=window))
    for name, parameter in checkpoint.model.named_parameters():
        if ".q" in name:
            torch.nn.init.zeros_(parameter)
    found = trace(checkpoint, TEXT, exit="fixed")
    share = found.attention_entropy[:, 1:] / found.attention_max[1:, None]
    np.testing.assert_allclose(share, 1.0, atol=1e-5)


def test_signals_stop_where_tokens_stopped(case: tuple[Checkpoint, str]) -> None:
    checkpoint, exit = case
    found = trace(checkpoint, TEXT, exit=exit)
    config = checkpoint.config.model
    if config.family == "dense":
        assert found.exit_signal.shape == (len(found.ids), 1) and found.signal_name == "" and found.halt_p is None
        return
    every, deepest = config.halted_tokens == "run", found.loops.max()
    assert found.max_loops == 5 and found.state_norm.shape == (len(found.ids), 5 if every else deepest)
    ran = np.arange(1, found.state_norm.shape[1] + 1) <= (5 if every else found.loops[:, None])
    assert (np.isfinite(found.state_norm) == ran).all() and (np.isfinite(found.step_size) == ran).all()
    assert (found.halt_p is not None) == (config.halting == "act")
    for i, loops in enumerate(found.loops):
        signal = found.exit_signal[i]
        first = 1 if exit.startswith("kl") else 0
        assert np.isfinite(signal[first:loops]).all() and np.isnan(signal[loops:]).all()
        if found.exit == "act":
            assert found.halt_p is not None
            np.testing.assert_allclose(signal[:loops], np.minimum(np.cumsum(found.halt_p[i, :loops]), 1), rtol=1e-5)
            assert (signal[: loops - 1] < 0.99).all() and (signal[loops - 1] >= 0.99 or loops == 5)


def test_the_watched_pass_gives_the_models_logits(case: tuple[Checkpoint, str]) -> None:
    checkpoint, exit = case
    logits: list[Tensor] = []
    handle = checkpoint.model.register_forward_hook(lambda _, __, output: logits.append(output.logits))
    found = trace(checkpoint, TEXT, exit=exit)
    handle.remove()
    with torch.inference_mode():
        rule = make_exit(exit, checkpoint.config.model)
        plain = checkpoint.model(torch.from_numpy(found.ids)[None], exit=rule).logits
    torch.testing.assert_close(logits[-1], plain, rtol=0, atol=2e-5)
    assert (len(logits) > 1) == rule.reads_out, "only a rule that reads out needs a pass of its own"


def test_entropy_by_hand() -> None:
    q, k = torch.zeros(1, 2, 3, 4), torch.randn(1, 1, 3, 4)
    found = attention_entropy(q, k, None, True, 0.5)
    torch.testing.assert_close(found[0], torch.log(torch.tensor([1.0, 2.0, 3.0])).expand(2, -1))
    sharp = attention_entropy(torch.full((1, 1, 1, 4), 100.0), torch.eye(3, 4)[None, None] * 9, None, False, 1.0)
    assert float(sharp) == pytest.approx(np.log(3))
    mask = torch.tensor([[[[True, False, True]]]])
    assert float(attention_entropy(q[:, :, :1], k, mask, False, 1.0)[0, 0, 0]) == pytest.approx(np.log(2))


def test_long_texts_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = torch.randn(1, 4, 9, 4), torch.randn(1, 2, 9, 4)
    whole = attention_entropy(q, k, None, True, 0.5)
    monkeypatch.setattr("mythos.inspect.attention.QUERIES", 2)
    torch.testing.assert_close(attention_entropy(q, k, None, True, 0.5), whole)


@pytest.fixture(scope="module")
def act(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return mythos.load(write_checkpoint(tmp_path_factory.mktemp("trace") / "act", halting="act"))


@pytest.mark.parametrize("exit", ["act", "kl:0.02"])
def test_saves_and_loads(act: Checkpoint, exit: str, tmp_path: Path) -> None:
    found = trace(act, "nul\0 and 👍", exit=exit)
    assert "␀" in "".join(found.tokens)
    found.save(tmp_path / "a trace")
    again = Trace.load(tmp_path / "a trace")
    for name, value in vars(found).items():
        other = getattr(again, name)
        assert type(other) is type(value), name
        np.testing.assert_array_equal(np.asarray(other), np.asarray(value))
    (tmp_path / "broken").write_bytes((tmp_path / "a trace").read_bytes()[:-100])
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (1 << 48,)})
    with zipfile.ZipFile(tmp_path / "huge", "w") as file:
        file.writestr("ids.npy", huge.getvalue())
    for path in ("broken", "missing", "huge"):
        with pytest.raises(MythosError, match="is no trace"):
            Trace.load(tmp_path / path)


def test_dense_traces_save_too(tmp_path: Path) -> None:
    found = trace(mythos.load(write_checkpoint(tmp_path / "dense", "dense")), "x")
    found.save(tmp_path / "t.npz")
    assert Trace.load(tmp_path / "t.npz").halt_p is None


def test_protocol_has_no_nan(act: Checkpoint) -> None:
    found = trace(act, TEXT)
    event = trace_event(found, "7", 0.25)
    again = json.loads(protocol.encode(event))
    for name in ("exit_signal", "attention_entropy", "token_loss", "gates", "state_norm", "step_size"):
        numbers = np.array(again[name], dtype=np.float64)
        np.testing.assert_allclose(numbers, getattr(found, name), rtol=1e-5, err_msg=name)
    for name in ("p", "entropy", "kl"):
        np.testing.assert_allclose(
            np.array(again["lens"][name], dtype=float), getattr(found, f"lens_{name}"), rtol=1e-5
        )
    assert again["token_loss"][0] is None and protocol.decode_event(protocol.encode(event)) == event
    assert again["max_loops"] == 5 and again["signal_name"] == "cumulative halting probability"
    assert again["routes"] == found.routes.tolist() and again["lens"]["settled"] == found.settled.tolist()


def test_settings_and_limits(act: Checkpoint) -> None:
    assert trace(act, TEXT, loops=3).max_loops == 3
    assert trace(act, TEXT, loops=2, exit="fixed").loops.tolist() == [2] * len(trace(act, TEXT).ids)
    assert len(trace(act, "").ids) == 1
    with pytest.raises(MythosError, match="context holds 64"):
        trace(act, TEXT * 20)
    with pytest.raises(MythosError, match="unknown"):
        trace(act, TEXT, exit="never")
    with pytest.raises(Cancelled):
        trace(act, TEXT, should_stop=lambda: True)


def test_hooks_are_removed(act: Checkpoint) -> None:
    trace(act, TEXT)
    assert not any(module._forward_hooks for module in act.model.modules())
