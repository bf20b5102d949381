"""Which thresholds of an exit rule are worth measuring on a model.

They come from a ladder of round numbers. One cheap pass in which nothing stops tells at which loop each of them would
have stopped every token; those are kept whose mean loops spread evenly between 1 and the most. That needs to know
nothing of a rule but its name, fits every model, and gives numbers that can be passed to `--exit`. What the rules do
when they are in force is for `depth_rules` to measure: frozen neighbours shift it a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from mythos.contract.config import EXIT_RULES, RecurrentConfig, parse_exit
from mythos.data.answers import Answers
from mythos.evals.bits import LOGITS_PER_BATCH, pad
from mythos.infer.exits import exits_of, make_exit, resolve_exit
from mythos.models.build import Model
from mythos.models.halting import ExitRule, LoopView

POINTS = 4
"""Most thresholds per rule."""
PROBE_TOKENS = 1024
PROBABILITIES = (0.02, 0.05, *(n / 10 for n in range(1, 10)), 0.95, 0.98, 0.99, 0.995, 0.999)
DISTANCES = tuple(float(f"{digit}e{power}") for power in range(-5, 1) for digit in (1, 2, 3, 5, 7))

Choice = tuple[float, ExitRule]
"""A threshold and the rule at it."""


def only(exit: str, config: RecurrentConfig) -> dict[str, list[Choice]]:
    """The rule of a specification at its threshold; nothing for `fixed`. Raises MythosError."""
    rule = make_exit(exit, config)
    name, threshold = parse_exit(resolve_exit(exit, config))
    return {} if name == "fixed" else {name: [(config.act_threshold if threshold is None else threshold, rule)]}


def ladder(name: str, config: RecurrentConfig) -> Iterator[Choice]:
    """A rule at every threshold that comes into question. ACT's is a setting of the model."""
    if name == "act":
        for p in PROBABILITIES:
            yield p, make_exit(name, config.model_copy(update={"act_threshold": p}))
    elif bounds := EXIT_RULES[name]:
        for threshold in PROBABILITIES if bounds[1] <= 1 else DISTANCES:
            yield threshold, make_exit(f"{name}:{threshold:g}", config)


def choose_thresholds(
    model: Model, pieces: Sequence[np.ndarray], loops: int, answers: Answers | None = None
) -> dict[str, list[Choice]]:
    """For each rule up to POINTS thresholds, from about the first PROBE_TOKENS tokens of windows of similar length."""
    config = model.config
    assert isinstance(config, RecurrentConfig)
    ladders = {name: steps for name in exits_of(config) if (steps := list(ladder(name, config)))}
    means = iter(would_run(model, pieces, loops, [rule for steps in ladders.values() for _, rule in steps], answers))
    return {name: spread([(next(means), choice) for choice in steps], loops) for name, steps in ladders.items()}


def spread(steps: Sequence[tuple[float, Choice]], loops: int) -> list[Choice]:
    """Of (mean loops, choice), those nearest to POINTS means evenly between 1 and `loops`, each once."""
    targets = np.linspace(1, loops, POINTS + 2)[1:-1]
    nearest = {min(range(len(steps)), key=lambda i: abs(steps[i][0] - target)) for target in targets}
    return [steps[i][1] for i in sorted(nearest)]


@torch.no_grad()
def would_run(
    model: Model, pieces: Sequence[np.ndarray], loops: int, rules: Sequence[ExitRule], answers: Answers | None = None
) -> list[float]:
    """Mean loops that each rule would give a token if no other token stopped; `answers` are hidden from the model."""
    tokens = min(PROBE_TOKENS, LOGITS_PER_BATCH // model.config.vocab_size)
    inputs, _ = pad(pieces[: max(tokens // len(pieces[0]), 1)], answers=answers)
    probe, training = Probe(rules, loops), model.training
    try:
        model.eval()(inputs.to(next(model.parameters()).device), loops, exit=probe)
    finally:
        model.train(training)
    return probe.means


class Probe:
    """An exit rule that stops nobody, and notes how many loops each of several rules would have let a token run.

    What the rules read out sees the other tokens at this very loop, not at their last one: so a chunk goes in one piece.
    """

    name = "probe"
    signal_name = "none"
    reads_out = False

    def __init__(self, rules: Sequence[ExitRule], loops: int) -> None:
        self.rules = rules
        self.loops = loops
        self.means: list[float] = []
        self._running: list[Tensor] = []

    def start(self) -> None:
        self.means, self._running = [1.0] * len(self.rules), []
        for rule in self.rules:
            rule.start()

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        shared = replace(view, log_probs=cache(view.log_probs))
        self._running = self._running or [torch.ones_like(view.active) for _ in self.rules]
        for number, rule in enumerate(self.rules if view.loop < self.loops else ()):
            self._running[number] &= ~rule(shared)[0]
            self.means[number] += float(self._running[number].float().mean())
        return torch.zeros_like(view.active), torch.full_like(view.active, torch.nan, dtype=torch.float32)
