"""Exit rules over their thresholds: what quality is left, at how many executed loops and FLOPs.

Every point is an evaluation with the rule in force. Rules that read out take a chunk position by position, so windows of
equal length run side by side: the cost is per position more than per window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mythos.contract.budget import flops_forward, flops_spent
from mythos.contract.config import EXIT_RULES, RecurrentConfig
from mythos.data.loader import HeldOutDocument
from mythos.evals.bits import Evaluation, evaluate, windows
from mythos.evals.depth_thresholds import choose_thresholds, only
from mythos.infer.exits import make_exit
from mythos.models.build import Model
from mythos.models.halting import ExitRule


@dataclass(frozen=True)
class RulePoint:
    """A rule at one threshold (`fixed`: at a number of loops). `flops` per token, the rule's own included.

    Loss change, loops saved and FLOPs saved are shares of what the full depth without a rule has on the same tokens.
    """

    threshold: float
    loss: float
    accuracy: float
    mean_loops: float
    flops: float
    loss_change: float
    loops_saved: float
    flops_saved: float


@dataclass(frozen=True)
class RuleCurve:
    """A rule's points, fewest executed loops first."""

    rule: str
    points: tuple[RulePoint, ...]


@dataclass(frozen=True)
class Rules:
    """Rules with at most `loops` loops over the same `tokens`; the first, `fixed`, gives every token as many loops."""

    loops: int
    tokens: int
    curves: tuple[RuleCurve, ...]


def compare_rules(
    model: Model,
    documents: Sequence[HeldOutDocument],
    context: int,
    loops: Sequence[int],
    *,
    max_tokens: int | None = None,
    exit: str | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Rules | None:
    """Every rule that the model takes, at several thresholds, or `exit` alone at its own; None where there is none.

    `loops` ascend; rules may run the last. Over the longest windows of the documents, as many as hold about `max_tokens`
    tokens. Raises MythosError for an `exit` that does not fit.
    """
    config, most = model.config, loops[-1]
    assert isinstance(config, RecurrentConfig)
    if most < 2:
        return None
    pieces = longest_windows(documents, context, max_tokens)
    if not exit:
        progress("choosing thresholds")
    chosen = only(exit, config) if exit else choose_thresholds(model, pieces, most, documents[0].answers)
    if not chosen:
        return None
    scored = [HeldOutDocument(str(number), piece, 0, documents[0].answers) for number, piece in enumerate(pieces)]

    def measure(name: str, threshold: float, rule: ExitRule, n: int) -> tuple[float, Evaluation]:
        progress(label(name, threshold))
        return threshold, evaluate(model, scored, context=context, n_loops=n, exit=rule)

    everyone = make_exit("fixed", config)
    found = {"fixed": [measure("fixed", n, everyone, n) for n in loops]}
    for name, choices in chosen.items():
        found[name] = [measure(name, threshold, rule, most) for threshold, rule in choices]
    full, span = found["fixed"][-1][1], mean_span(pieces)
    curves = []
    for name, evaluations in found.items():
        points = [measured(config, name, threshold, span, most, e, full) for threshold, e in evaluations]
        curves.append(RuleCurve(name, tuple(sorted(points, key=lambda point: point.mean_loops))))
    return Rules(most, full.tokens, tuple(curves))


def measured(
    config: RecurrentConfig, name: str, threshold: float, span: float, loops: int, found: Evaluation, full: Evaluation
) -> RulePoint:
    """`found` beside the full depth of `loops`. Tokens that run on after they halted are paid for in full."""
    flops = flops_spent(config, name, span, found.mean_loops, loops)
    return RulePoint(
        threshold=threshold,
        loss=found.loss,
        accuracy=found.accuracy,
        mean_loops=found.mean_loops,
        flops=flops,
        loss_change=found.loss / full.loss - 1,
        loops_saved=1 - found.mean_loops / loops,
        flops_saved=1 - flops / flops_forward(config, span, loops),
    )


def longest_windows(documents: Sequence[HeldOutDocument], context: int, max_tokens: int | None) -> list[np.ndarray]:
    """The longest windows first, earlier ones before later ones, until `max_tokens` tokens are scored."""
    pieces = sorted(windows(documents, context), key=len, reverse=True)
    before = np.cumsum([0, *(len(piece) - 1 for piece in pieces[:-1])])
    return [piece for piece, done in zip(pieces, before, strict=True) if max_tokens is None or done < max_tokens]


def mean_span(pieces: Sequence[np.ndarray]) -> float:
    """Keys in view of a scored token, itself included, on average."""
    sizes = np.array([len(piece) - 1 for piece in pieces])
    return float((sizes * (sizes + 1) / 2).sum() / sizes.sum())


def label(name: str, threshold: float) -> str:
    """As `--exit` takes it; a rule whose threshold is a setting of the model has a space instead of the colon."""
    return f"{name}{' ' if EXIT_RULES[name] is None else ':'}{threshold:g}"
