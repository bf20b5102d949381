"""When a finished model may stop: the threshold of every exit rule that saves most without losing more than it may.

Held-out windows are dealt out in two halves. On one the gate is fitted and every rule's threshold is chosen, with the rule in
force; on the other what they save is measured. The rule that saves most FLOPs there, its own included, and keeps to the target
becomes the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mythos.contract.config import EXIT_RULES, RecurrentConfig
from mythos.contract.errors import ConfigError
from mythos.data.answers import Answers
from mythos.data.loader import HeldOutDocument
from mythos.evals.bits import Evaluation, evaluate
from mythos.evals.depth_rules import RulePoint, label, longest_windows, mean_span, measured
from mythos.evals.depth_thresholds import Choice, ladder, would_run
from mythos.evals.gate_fit import GateFitter, gate_width
from mythos.infer.exits import exits_of, make_exit
from mythos.models.build import Model
from mythos.models.halting import GateRule, Halt
from mythos.models.recurrent import RecurrentModel

MARGINS = (0.1, 1, 10)
"""What reading out too early may cost a token for the gate to call it little, in targets: most tokens cost nothing."""
LEAST, LATER = (1, 2, 3), (5, 8)
"""Where only answers are asked for: loops after which other tokens may stop; later ones where none of the first will do."""
ROUNDS = 3
"""Times that a gate is fitted, each to what was seen under the ones before as well (Ross et al. 2011, DAgger)."""


@dataclass(frozen=True)
class Calibrated:
    """A rule at its threshold, measured on the second half. `loss_added` is in nats per token against the full depth."""

    rule: str
    point: RulePoint
    loss_added: float

    @property
    def exit(self) -> str:
        """As `--exit` takes it."""
        return self.rule if self.rule in ("fixed", "act") else label(self.rule, self.point.threshold)

    @property
    def title(self) -> str:
        """The rule with its threshold, which ACT has in the model's configuration."""
        return label(self.rule, self.point.threshold)


@dataclass(frozen=True)
class Calibration:
    """Rules at no more than `target` nats per token lost, most FLOPs saved first; the default is the first that keeps to it.

    `fitted_on` and `tokens` are the scored tokens of the two halves, `loss` is that of all `loops` loops on the second.
    """

    target: float
    loops: int
    fitted_on: int
    tokens: int
    loss: float
    rules: tuple[Calibrated, ...]
    default: str
    gate: Halt | None

    @property
    def act_threshold(self) -> float | None:
        """At which ACT was measured; None where the model has none, or no threshold kept to the target."""
        return next((rule.point.threshold for rule in self.rules if rule.rule == "act"), None)


class _Half:
    """Windows of text, and what a rule makes of them."""

    def __init__(
        self, model: Model, pieces: Sequence[np.ndarray], context: int, loops: int, answers: Answers | None
    ) -> None:
        self.model, self.pieces, self.context, self.loops, self.answers = model, pieces, context, loops, answers
        self.documents = [HeldOutDocument(str(number), piece, 0, answers) for number, piece in enumerate(pieces)]
        self.full = self.evaluate(("fixed", make_exit("fixed", model.config)))

    def evaluate(self, rule: tuple[str, object]) -> Evaluation:
        return evaluate(self.model, self.documents, context=self.context, n_loops=self.loops, exit=rule[1])  # type: ignore[arg-type]

    def added(self, name: str, choice: Choice) -> float:
        """Nats per token that the rule loses against the full depth."""
        return self.evaluate((name, choice[1])).loss - self.full.loss

    def measure(self, name: str, choice: Choice) -> Calibrated:
        config = self.model.config
        assert isinstance(config, RecurrentConfig)
        found = self.evaluate((name, choice[1]))
        point = measured(config, name, choice[0], mean_span(self.pieces), self.loops, found, self.full)
        return Calibrated(name, point, found.loss - self.full.loss)


def calibrate(
    model: Model,
    documents: Sequence[HeldOutDocument],
    context: int,
    target: float,
    *,
    loops: int | None = None,
    max_tokens: int | None = None,
    only: Sequence[str] = (),
    careful: bool = True,
    progress: Callable[[str], None] = lambda what: None,
) -> Calibration:
    """Fit the gate and every rule's threshold for at most `target` nats per token lost against `loops` loops.

    The gate is put into the model and its configuration, but for models with ACT. Over the longest windows that hold about
    `max_tokens` tokens; `only` names the rules to be tried, where that is not all. A gate that is not `careful` judges a token
    by its own read-out alone, not by what later tokens go on seeing of it (see `gate_fit`). Raises ConfigError for a dense model, a
    single loop, or too little text.
    """
    if not isinstance(model, RecurrentModel):
        raise ConfigError("A dense model has no loops to stop early.", "Calibrate a recurrent checkpoint.")
    most = loops or model.config.loops
    if most < 2:
        raise ConfigError("With one loop there is nothing to stop early.", "Give --loops at least 2.")
    pieces = longest_windows(documents, context, max_tokens)
    if len(pieces) < 4:
        raise ConfigError(f"{len(pieces)} windows of text are too few to calibrate on.", "Give more --max-tokens.")
    fitting, testing = (_Half(model, pieces[start::2], context, most, documents[0].answers) for start in (0, 1))
    if model.config.halting != "act":
        _fit_gate(model, fitting, target, careful, progress)
    chosen = {
        name: _choose(name, fitting, target, progress)
        for name in exits_of(model.config)
        if name in (only or EXIT_RULES) and name != "fixed"
    }
    rules = []
    for name, choice in chosen.items():
        if choice is not None:
            progress(f"measuring {name}")
            rules.append(testing.measure(name, choice))
    rules.sort(key=lambda rule: -rule.point.flops_saved)
    keep = [rule for rule in rules if rule.loss_added <= target and rule.point.flops_saved > 0]
    return Calibration(
        target=target,
        loops=most,
        fitted_on=fitting.full.tokens,
        tokens=testing.full.tokens,
        loss=testing.full.loss,
        rules=tuple(rules),
        default=keep[0].exit if keep else "fixed",
        gate=model.halt if model.config.halting == "gate" else None,
    )


def _fit_gate(
    model: RecurrentModel, half: _Half, target: float, careful: bool, progress: Callable[[str], None]
) -> None:
    """Give the model the probe that saves most on this half."""
    progress("observing states for the gate")
    fitter = GateFitter(model, half.pieces, half.loops, half.answers)
    model.config = model.config.model_copy(update={"halting": "gate", "gate_width": gate_width(model.config)})
    best, saved = None, -math.inf
    kinds = [(margin, 1) for margin in MARGINS] if half.answers is None else [(1, least) for least in LEAST + LATER]
    for margin, least in kinds:
        if least in LATER and saved > 0:
            break
        progress(
            f"fitting the gate to ε = {margin * target:g}" + (f", others from loop {least} on" if half.answers else "")
        )
        fitter.forget()
        model.halt = fitter.fit(margin * target, careful, least)
        for _ in range(ROUNDS - 1):
            fitter.observe(GateRule(0.5))
            model.halt = fitter.fit(margin * target, careful, least)
        choice = _choose("gate", half, target, progress)
        found = half.measure("gate", choice).point.loops_saved if choice else -1.0
        if found > saved:
            best, saved = model.halt, found
    model.halt = best


def _choose(name: str, half: _Half, target: float, progress: Callable[[str], None]) -> Choice | None:
    """Of the ladder's thresholds the one with the fewest loops that keeps to the target; None where none does.

    They are tried one after the other, fewest loops first: what is lost does not always fall where loops rise.
    """
    config = half.model.config
    assert isinstance(config, RecurrentConfig)
    steps = list(ladder(name, config))
    means = would_run(half.model, half.pieces, half.loops, [rule for _, rule in steps], half.answers)
    steps = [steps[i] for i in sorted(range(len(steps)), key=lambda i: means[i])]
    for step in steps:
        progress(label(name, step[0]))
        if half.added(name, step) <= target:
            return step
    return None
