"""Models and exit rules under which tokens of the same text stop at different loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mythos.infer.exits import KL, Act, Confidence, Fixed, StateDelta
from mythos.models.build import Model
from mythos.models.cache import Cache
from mythos.models.halting import ExitRule, GateRule, LoopView
from tests.fakes.checkpoints import VOCAB, tiny_model

ALL_OPTIONS: dict[str, Any] = {
    "norm": "sandwich",
    "loop_index_embedding": True,
    "loop_lora_rank": 4,
    "initial_state": "random",
    "prelude_layers": 2,
    "coda_layers": 2,
    "tie_embeddings": False,
    "init_std": 0.15,
    "mla_q_rank": 16,
}
OLD: dict[str, Any] = {
    "halted_tokens": "run",
    "halting": "act",
    "injection": "none",
    "n_experts": 0,
    "activation": "gelu",
}


@dataclass(frozen=True)
class Case:
    """A family with settings, and the name of an exit rule."""

    family: str
    exit: str = "fixed"
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join(
            [self.family, self.settings.get("attention", "gqa"), self.exit, *map(str, self.settings.values())][:9]
        )

    @property
    def reads_out(self) -> bool:
        return self.exit in ("confidence", "kl")

    @property
    def mixed(self) -> bool:
        """Whether depths differ between tokens."""
        return self.exit != "fixed"

    def model(self, dtype: torch.dtype) -> Model:
        halting = {"halting": self.exit} if self.exit in ("act", "gate") else {}
        return tiny_model(self.family, dtype=dtype, **{**halting, **self.settings})


DENSE = [Case("dense"), Case("dense", settings={"attention": "mla"})]
EXITS = ("fixed", "act", "gate", "state_delta", "confidence", "kl")
RECURRENT = [Case("recurrent", exit, {"attention": attention}) for exit in EXITS for attention in ("gqa", "mla")]
SPECIAL = [
    Case("recurrent", "act", ALL_OPTIONS),
    Case("recurrent", "kl", {"attention": "mla", **ALL_OPTIONS}),
    Case("recurrent", "state_delta", {"initial_state": "zero", "n_experts": 0, "prelude_layers": 0, "coda_layers": 0}),
    Case("recurrent", "act", OLD),
    Case("recurrent", "act", {"attention_window": 3}),
    Case("recurrent", "gate", {"gate_width": 6}),
    Case("recurrent", "kl", {"attention": "mla", "attention_window": 2}),
    Case("recurrent", "state_delta", {"halted_tokens": "run"}),
    Case("recurrent", "confidence", {"halting": "act"}),
    Case("recurrent", "confidence", {"halted_tokens": "run"}),
]
CASES = [*DENSE, *RECURRENT, *SPECIAL]


TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
Result = tuple[Tensor, Tensor]
"""Logits [B, T, V] and loops [B, T]."""


def text(rows: int, length: int, seed: int = 1) -> Tensor:
    """Random ids [rows, length]."""
    return torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


KINDS: dict[str, Any] = {"act": Act, "gate": GateRule, "confidence": Confidence, "kl": KL, "state_delta": StateDelta}
HIGH = ("act", "gate", "confidence")
"""Rules that stop a token where their signal is high; the others do where it is low."""


def extreme_rule(case: Case, stops: bool) -> ExitRule:
    """The case's rule with a threshold that every token meets as soon as it is asked, or that none ever does."""
    if case.exit == "fixed":
        return Fixed()
    return KINDS[case.exit](math.inf if stops != (case.exit in HIGH) else -math.inf)


def in_chunks(model: Model, ids: Tensor, sizes: list[int], rule: ExitRule, n_loops: list[int] | None = None) -> Result:
    """Logits and loops of `ids` [B, T] fed piece by piece."""
    cache, outputs, start = Cache(), [], 0
    for number, size in enumerate(sizes):
        depth = n_loops[number] if n_loops else None
        outputs.append(model(ids[:, start : start + size], depth, cache=cache, exit=rule))
        start += size
    assert start == ids.shape[1] == cache.length
    return torch.cat([o.logits for o in outputs], 1), torch.cat([o.telemetry.loops for o in outputs], 1)


def assert_same(found: Result, expected: Result, dtype: torch.dtype) -> None:
    """Loop counts are equal, logits within the tolerance of their dtype."""
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=TOLERANCE[dtype])


class Capped:
    """A rule, and a most number of loops per position [B, T]."""

    def __init__(self, rule: ExitRule, most: Tensor) -> None:
        self.rule, self.most, self.name, self.signal_name = rule, most, rule.name, rule.signal_name
        self.reads_out = rule.reads_out
        self._position = -1

    def start(self) -> None:
        self._position += 1  # rules that read out are asked for one position after the other
        self.rule.start()

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        stop, signal = self.rule(view)
        most = self.most[:, self._position, None] if self.reads_out else self.most
        return stop | (most <= view.loop), signal


def rule_for(case: Case, model: Model, ids: Tensor) -> Callable[[], ExitRule]:
    """Makes the case's rule with a threshold under which tokens stop at different loops; of those, the one in the widest
    gap between the model's signals, so that rounding cannot move a token."""
    if case.exit == "fixed":
        return Fixed
    if case.exit == "act":
        return lambda: Act(0.9)
    kind, high = KINDS[case.exit], case.exit in HIGH
    with torch.no_grad():
        signals = model(ids, exit=extreme_rule(case, stops=False)).telemetry.signals
    assert signals is not None
    found = signals[torch.isfinite(signals)].double().sort().values
    for at in (found[1:] - found[:-1]).argsort(descending=True).tolist():
        threshold = float((found[at] + found[at + 1]) / 2)
        stops = signals >= threshold if high else signals < threshold
        stops[..., -1] = True
        counts = stops.int().argmax(-1).unique(return_counts=True)[1]
        if len(counts) >= 2 and int(counts.max()) < 0.8 * ids.numel():
            return lambda: kind(threshold)
    raise AssertionError("no threshold makes depths differ")
