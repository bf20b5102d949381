"""How a text is run to be looked into: in one go, being watched while the exit rule stops its tokens.

Rules that read out take one position at a time, and their read-outs would be seen by hooks too. So for them a first pass finds
out how many loops each token takes, and the watched one replays these loops over the whole text. Both give the same logits.

B batch (1 here), T positions, D width, L loops allowed, N steps: loops that somebody ran, or the layers of a dense model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mythos.contract.config import DenseConfig
from mythos.infer.engine import Cancelled, never
from mythos.inspect.attention import Recorder, recording
from mythos.models.build import Model
from mythos.models.cache import Cache
from mythos.models.halting import ExitRule, LoopView
from mythos.models.recurrent import RecurrentModel

CHUNK = 4
"""Positions between two looks at `should_stop`."""


class Depths(NamedTuple):
    """How deep tokens went: loops [1, T], whether the rule stopped them [1, T] (else they ran out of loops), signals and
    halting probabilities [1, T, L]."""

    loops: Tensor
    stopped: Tensor
    signals: Tensor | None
    halt_p: Tensor | None

    @property
    def orders(self) -> Tensor:
        """[1, T] for `Replay`: the loop after which the rule said stop, beyond the last where it never did."""
        return self.loops + ~self.stopped


def first_pass(
    model: Model, chunk: Tensor, depth: int, rule: ExitRule, should_stop: Callable[[], bool] = never
) -> Depths:
    """Run ids [1, T] with the rule, a few positions at a time. Raises Cancelled."""
    cache, noting, parts = Cache(), Noting(rule), []
    for start in range(0, chunk.shape[1], CHUNK):
        if should_stop():
            raise Cancelled
        parts.append(model(chunk[:, start : start + CHUNK], depth, cache=cache, exit=noting).telemetry)
    loops = torch.cat([part.loops for part in parts], dim=1)
    signals, halt_p = _joined([part.signals for part in parts]), _joined([part.halt_p for part in parts])
    return Depths(loops, noting.stopped(), signals, halt_p)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    held = [part for part in parts if part is not None]
    return torch.cat(held, dim=1) if held else None


@dataclass
class Steps:
    """What a watched pass left: `read` are the states [T, D] that would be read out if every token stopped after this
    step, `final` [T, D] those that were. `norm` (RMS) and `change` (‖hₜ − hₜ₋₁‖ / ‖hₜ‖) are [T] per step, `ran` [T] tells who
    was computed."""

    read: list[Tensor] = field(default_factory=list)
    norm: list[Tensor] = field(default_factory=list)
    change: list[Tensor] = field(default_factory=list)
    ran: list[Tensor] = field(default_factory=list)
    final: Tensor | None = None

    def step(self, before: Tensor, after: Tensor, read: Tensor, ran: Tensor) -> None:
        """Take down a step of one sequence: states [1, T, D], `ran` [1, T]."""
        size = torch.linalg.vector_norm(after[0], dim=-1).clamp(min=torch.finfo(after.dtype).tiny)
        self.change.append(torch.linalg.vector_norm((after - before)[0], dim=-1) / size)
        self.norm.append(size / after.shape[-1] ** 0.5)
        self.read.append(read[0])
        self.ran.append(ran[0])

    def table(self, columns: list[Tensor], steps: int) -> np.ndarray:
        """[T, steps] float32 of a column per step, NaN where a token was not computed."""
        found = torch.full((len(self.ran[0]), steps), torch.nan)
        for number, (values, ran) in enumerate(zip(columns, self.ran, strict=True)):
            found[:, number] = torch.where(ran, values, torch.nan).float().cpu()
        return found.numpy()


class Noting:
    """A rule, and which tokens it stopped: ACT may weigh a token that ran out of loops otherwise than one that stopped."""

    def __init__(self, rule: ExitRule) -> None:
        self.rule = rule
        self.name, self.signal_name, self.reads_out = rule.name, rule.signal_name, rule.reads_out
        self._said: list[Tensor] = []
        self._begins = True

    def start(self) -> None:
        self.rule.start()
        self._begins = True

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        stop, signal = self.rule(view)
        said = stop & view.active
        if self._begins:
            self._said.append(said)
        else:
            self._said[-1] = self._said[-1] | said
        self._begins = False
        return stop, signal

    def stopped(self) -> Tensor:
        """[1, T] bool"""
        return torch.cat(self._said, dim=1)


class Watch(Noting):
    """Takes down every loop besides."""

    def __init__(self, rule: ExitRule, every: bool) -> None:
        super().__init__(rule)
        self.every, self.steps = every, Steps()

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        ran = torch.ones_like(view.active) if self.every else view.active
        self.steps.step(view.before, view.after, view.peek(), ran)
        return super().__call__(view)


def watched_pass(
    model: Model, chunk: Tensor, depth: int, rule: ExitRule, recorder: Recorder
) -> tuple[Steps, Depths, Tensor]:
    """Run ids [1, T] in one go with a rule that does not read out → what was seen of states and depths, logits [1, T, V]."""
    if isinstance(model, RecurrentModel):
        watch = Watch(rule, runs_on(model))
        with recording(model, recorder), _final_state(model, watch.steps):
            output = model(chunk, depth, exit=watch)
        told = output.telemetry
        return watch.steps, Depths(told.loops, watch.stopped(), told.signals, told.halt_p), output.logits
    steps = Steps()
    with recording(model, recorder), _layers(model, steps):
        output = model(chunk)
    steps.final = steps.read[-1]
    loops = output.telemetry.loops
    return steps, Depths(loops, torch.zeros_like(loops, dtype=torch.bool), None, None), output.logits


def runs_on(model: Model) -> bool:
    """Whether tokens go on being computed after they stopped."""
    return getattr(model.config, "halted_tokens", "freeze") == "run"


def depth_of(model: Model, n_loops: int | None) -> int:
    """Most loops that a token may run."""
    return 1 if isinstance(model.config, DenseConfig) else n_loops or model.config.loops


@contextmanager
def _final_state(model: RecurrentModel, steps: Steps) -> Iterator[None]:
    """Take down what goes into Coda and head."""

    def see(_: Any, inputs: tuple[Any, ...]) -> None:
        steps.final = inputs[0][0]

    first = model.coda[0] if len(model.coda) else model.norm
    hook = first.register_forward_pre_hook(see)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _layers(model: Model, steps: Steps) -> Iterator[None]:
    """Take down every layer of a dense model."""

    def see(_: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        after = output[0]
        ran = torch.ones(after.shape[:2], dtype=torch.bool, device=after.device)
        steps.step(inputs[0], after, after, ran)

    hooks = [layer.register_forward_hook(see) for layer in model.layers]  # type: ignore[union-attr]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
