"""`mythos scaling fit` and `plan`: the law behind trained runs, and what a budget should buy."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mythos.cli.options import DEFAULT_RUNS, Json, Runs, print_json, quantity, safe, say
from mythos.contract.errors import ConfigError

if TYPE_CHECKING:
    from mythos.scaling.design import Run
    from mythos.scaling.fit import Fit
    from mythos.scaling.plan import Choice, Estimate, Plan
    from mythos.scaling.points import Points

PRESETS = Path(__file__).resolve().parents[2] / "configs" / "model" / "dense"
NAMES = {"E": "E", "A": "A", "B": "B", "alpha": "α", "beta": "β"}


class Count(StrEnum):
    """What N counts."""

    total = "total"
    non_embedding = "non-embedding"


class Published(StrEnum):
    """Laws out of papers."""

    besiroglu = "besiroglu"
    hoffmann = "hoffmann"


Counted = Annotated[
    Count,
    typer.Option("--count", help="What N is: all parameters (Hoffmann et al.), or without embedding (Kaplan et al.)."),
]
Samples = Annotated[int, typer.Option("--samples", min=50, max=10_000, help="Refits behind the intervals.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the refits.")]


def fit(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="RUN|POINTS.csv…", help="Runs, folders of runs, or tables with N, D (or C) and loss."),
    ],
    runs: Runs = DEFAULT_RUNS,
    count: Counted = Count.total,
    samples: Samples = 1000,
    seed: Seed = 0,
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE", help="Draw into FILE.svg or FILE.png.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit L(N, D) = E + A·N^−α + B·D^−β to final held-out losses; refuses what the points do not identify."""
    from mythos.scaling.charts import check, save
    from mythos.scaling.fit import fit_points
    from mythos.scaling.points import gather

    if chart:
        check(chart)
    found = gather(sources, runs, count.value)
    _tell_left_out(found)
    result = fit_points(found.points, samples, seed)
    if chart:
        save(result, chart)
    if as_json:
        print_json(_facts(result, found) | {"count": count.value, "samples": samples, "seed": seed})
    else:
        _print_fit(result)
        if chart:
            say(f"Wrote {chart}.")


def plan(
    budget: Annotated[
        float, typer.Option("--budget", metavar="FLOPS", help="FLOPs of the whole training, as in 1e18.")
    ],
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--fit", metavar="SOURCE", help="Plan by this: output of fit --json, a table, or runs; may be repeated."
        ),
    ] = None,
    published: Annotated[
        Published | None, typer.Option("--published", help="Plan by published constants; the default is besiroglu.")
    ] = None,
    presets: Annotated[Path, typer.Option("--presets", metavar="DIR", help="Folder of dense presets.")] = PRESETS,
    runs: Runs = DEFAULT_RUNS,
    count: Counted = Count.total,
    samples: Samples = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """The compute-optimal N and D for a budget of C = 6·N·D FLOPs, and the dense presets next to it."""
    from mythos.scaling import plan as planning
    from mythos.scaling.fit import fit_points
    from mythos.scaling.law import PUBLISHED
    from mythos.scaling.points import gather

    if sources and published:
        raise ConfigError("--fit and --published exclude each other.", "Choose one.")
    if presets != PRESETS and not presets.is_dir():
        raise ConfigError(f"There is no folder {presets}.", "Name a folder of YAML presets, or leave --presets out.")
    known = planning.dense_presets(presets, count.value)
    if sources:
        found = gather(sources, runs, count.value)
        _tell_left_out(found)
        result = planning.plan_by_fit(budget, fit_points(found.points, samples, seed), known)
        law = f"{len(found.points)} points of {', '.join(sources)}"
    else:
        name = (published or Published.besiroglu).value
        result = planning.plan(budget, PUBLISHED[name], presets=known)
        law = f"published constants ({name})"
    if as_json:
        print_json({"law": law, **asdict(result)})
    else:
        _print_plan(result, law)


def _tell_left_out(found: Points) -> None:
    """On stderr, so that stdout holds results alone."""
    for name, why in found.left_out:
        print(safe(f"{name} is left out: {why}."), file=sys.stderr)
    for remark in found.remarks:
        print(safe(remark), file=sys.stderr)


def _facts(fit: Fit, found: Points) -> dict[str, Any]:
    """The fit for --json; what is not identified is null."""
    numbers = fit.numbers
    points = zip(fit.points, fit.fitted.tolist(), fit.residuals.tolist(), strict=True)
    return {
        **{name: None if number.refusal else number.value for name, number in numbers.items()},
        "intervals": {name: [number.low, number.high] for name, number in numbers.items()},
        "identified": {name: not number.refusal for name, number in numbers.items()},
        "refusals": {name: number.refusal for name, number in numbers.items() if number.refusal},
        "add": {name: [asdict(run) for run in runs] for name, runs in fit.add.items()},
        "points": [{**asdict(p), "fitted": fitted, "residual": residual} for p, fitted, residual in points],
        "rms": fit.rms,
        "left_out": [{"run": name, "why": why} for name, why in found.left_out],
    }


def _print_fit(fit: Fit) -> None:
    """Charts, residuals, the law, and what is refused."""
    from mythos.scaling.charts import panels, text

    for panel in panels(fit):
        print(f"\n{text(panel, sys.stdout.isatty())}")
    width = min(max(len(safe(p.name)) for p in fit.points), 30)
    print(f"\n{'point':<{width}}{'N':>11}{'D':>11}{'loss':>9}{'fitted':>9}{'residual':>10}")
    for p, fitted, residual in zip(fit.points, fit.fitted, fit.residuals, strict=True):
        row = f"{safe(p.name)[:width]:<{width}}{quantity(p.n):>11}{quantity(p.d):>11}"
        print(f"{row}{p.loss:>9.4f}{fitted:>9.4f}{residual:>+10.2%}")
    print(f"\n{'':<6}{'value':>10}   95% interval")
    for name, number in fit.numbers.items():
        low_high = f"{number.low:.4g} to {number.high:.4g}"
        print(
            f"{NAMES[name]:<6}{'refused':>10}"
            if number.refusal
            else f"{NAMES[name]:<6}{number.value:>10.4g}   {low_high}"
        )
    print()
    tell(f"L(N, D) = E + A·N^−α + B·D^−β over {len(fit.points)} points, residual {fit.rms:.2%} (RMS).")
    for name in fit.refused:
        tell(f"{NAMES[name]} is refused: {fit.numbers[name].refusal}. Add {' and '.join(map(_run, fit.add[name]))}.")


def tell(sentence: str) -> None:
    """A paragraph of at most 80 columns."""
    print(textwrap.fill(sentence, 80))


def _run(run: Run) -> str:
    return f"a run of {quantity(run.n)} parameters on {quantity(run.d)} tokens ({6 * run.n * run.d:.1e} FLOPs)"


def _print_plan(plan: Plan, law: str) -> None:
    """The optimum and its neighbours, as a table."""
    say(f"{plan.flops:.3g} FLOPs by {law}")
    print(f"\n{'':<10}{'N':>9}{'D':>9}{'D/N':>10}{'loss':>8}   {'95%':<17}{'above optimum':>13}")
    for choice in (plan.best, *plan.presets):
        print(_choice(choice, plan.best))
    if plan.best.n.low is not None:
        print()
        tell(f"Interval of N: {_between(plan.best.n)}; of D: {_between(plan.best.d)}.")
    if plan.beyond is not None and plan.beyond > 2:
        tell(
            f"The optimum lies {plan.beyond:.3g} times beyond the points: it is an extrapolation, wider than its interval says."
        )


def _choice(choice: Choice, best: Choice) -> str:
    low_high = "–" if choice.loss.low is None else f"{choice.loss.low:.3f} to {choice.loss.high:.3f}"
    above = "" if choice is best else f"{choice.loss.value / best.loss.value - 1:+.2%}"
    row = f"{safe(choice.name)[:10]:<10}{quantity(choice.n.value):>9}{quantity(choice.d.value):>9}{choice.ratio:>10.3g}"
    return f"{row}{choice.loss.value:>8.3f}   {low_high:<17}{above:>13}".rstrip()


def _between(estimate: Estimate) -> str:
    assert estimate.low is not None and estimate.high is not None
    return f"{quantity(estimate.low)} to {quantity(estimate.high)}"
