"""`mythos eval --loops 1,2,4,…`: the sweep over depth as tables and static charts, 80 columns wide."""

from __future__ import annotations

import sys
import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from mythos.cli.charts import Line, chart
from mythos.cli.options import print_json, quantity, say
from mythos.contract.words import counted

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint
    from mythos.contract.config import SourceConfig
    from mythos.evals.depth import Depth, Sweep
    from mythos.evals.depth_rules import RulePoint, Rules


def run_sweep(
    checkpoint: Checkpoint,
    loops: tuple[int, ...],
    exit: str | None,
    max_tokens: int | None,
    as_json: bool,
    source: SourceConfig | None = None,
    context: int | None = None,
) -> None:
    """Measure and print, on the held-out text unless there is a `source`, which may be read in windows of another
    `context`. `max_tokens` None is the default of a sweep, 0 all of the text."""
    from mythos.evals.checkpoint import SWEEP_TOKENS, sweep_checkpoint
    from mythos.evals.text import sweep_text

    tokens = SWEEP_TOKENS if max_tokens is None else max_tokens or None
    tell_progress = Progress()
    if source:
        result = sweep_text(
            checkpoint, source, loops, context=context, max_tokens=tokens, exit=exit, progress=tell_progress
        )
    else:
        result = sweep_checkpoint(checkpoint, loops, max_tokens=tokens, exit=exit, progress=tell_progress)
    if as_json:
        print_json({"checkpoint": str(checkpoint.path), **asdict(result)})
        return
    say(checkpoint.path)
    documents = counted(result.documents, "document")
    kind = "" if source else "held-out "
    tell(f"{result.tokens:,} {kind}tokens of {documents}, in windows of {result.context}.")
    print_depths(result)
    if result.rules:
        print_rules(result.rules)


class Progress:
    """What is being measured and since when, on stderr, so that stdout holds results alone."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {what}", file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """A paragraph of at most 80 columns."""
    print(textwrap.fill(text, 80))


def print_depths(sweep: Sweep) -> None:
    """Loss over loops: chart, table, overthinking, fit."""
    depths = sweep.depths
    lines: list[Line] = [("measured", [d.loops for d in depths], [d.loss for d in depths])]
    print()
    chart("loss (nats/token) over loops", lines, ticks=[d.loops for d in depths], log=True)
    print(f"\n{'loops':>6}{'loss':>9}{'bits/byte':>11}{'top-1':>7}{'FLOPs':>8}{'vs best':>9}")
    for depth in depths:
        print(_depth_row(depth, sweep))
    print()
    tell(
        f"Every token ran all loops; FLOPs are per token. Training ran {sweep.trained_loops} loops on average and"
        f" {sweep.max_loops} at most."
    )
    if over := [depth for depth in depths if depth.overthinks]:
        worst = max(over, key=lambda depth: depth.excess)
        good = max(depth.loops for depth in depths if depth.loops < over[0].loops)
        tell(f"It overthinks beyond {good} loops: {worst.excess:+.1%} at {worst.loops}.")
    tell(_fit_line(sweep))


def _depth_row(depth: Depth, sweep: Sweep) -> str:
    beside = "best" if depth.loops == sweep.best_loops else f"{depth.excess:+.1%}"
    trained = {sweep.trained_loops: "mean of training", sweep.max_loops: "most of training"}
    where = "beyond training" if depth.loops > sweep.max_loops else trained.get(depth.loops, "")
    note = ", ".join(part for part in ("overthinks" * depth.overthinks, where) if part)
    return (
        f"{depth.loops:>6}{depth.loss:>9.4f}{depth.bits_per_byte:>11.4f}{depth.accuracy:>7.1%}"
        f"{quantity(depth.flops):>8}{beside:>9}  {note}"
    ).rstrip()


def _fit_line(sweep: Sweep) -> str:
    fit = sweep.fit
    if fit is None:
        return f"No fit of L∞ + Z·exp(−z·loops): {sweep.no_fit}."
    return (
        f"Fit: {fit.floor:.4f} + {fit.gain:.4f}·exp(−{fit.rate:.3f}·loops) over {fit.depths[0]} to {fit.depths[-1]} loops,"
        f" residual {fit.residual:.4f} nats."
    )


def print_rules(rules: Rules) -> None:
    """Quality over executed loops: chart and table of every rule."""
    from mythos.evals.depth_rules import label

    lines: list[Line] = [(c.rule, [p.mean_loops for p in c.points], [p.loss for p in c.points]) for c in rules.curves]
    print()
    chart("loss (nats/token) over mean executed loops", lines, ticks=[p.mean_loops for p in rules.curves[0].points])
    print(f"\n{'exit rule':<19}{'loops':>6}{'loss':>9}{'change':>8}{'top-1':>8}{'FLOPs':>9}  saved: loops  FLOPs")
    for curve in rules.curves:
        for point in curve.points:
            print(_rule_row(label(curve.rule, point.threshold), point))
    print()
    tell(
        f"At most {rules.loops} loops per token, over {rules.tokens:,} of the tokens. Change and savings are against all"
        f" {rules.loops} loops for every token; FLOPs are per token and include the rule's own."
    )


def _rule_row(name: str, point: RulePoint) -> str:
    return (
        f"{name:<19}{point.mean_loops:>6.2f}{point.loss:>9.4f}{point.loss_change:>+8.1%}{point.accuracy:>8.1%}"
        f"{quantity(point.flops):>9}{point.loops_saved:>14.0%}{point.flops_saved:>7.0%}"
    )
