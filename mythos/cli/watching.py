"""`mythos watch`: a run as its directory tells it. Every fact comes from a file, so nothing is trusted to be there."""

from __future__ import annotations

import shlex
import sys
import time
from typing import Annotated, Any

import typer

from mythos.cli.options import DEFAULT_RUNS, Json, Runs, duration, print_json, quantity, safe, say
from mythos.contract.checkpoints import can_resume
from mythos.contract.errors import ConfigError, RunError
from mythos.contract.liveness import GONE, is_locked
from mythos.contract.rundir import RunPaths, existing_run, spoken
from mythos.contract.watch import JsonTail, RunSummary, summarize
from mythos.contract.words import counted

DRAWABLE = 1e300
"""Largest number that the chart's arithmetic bears."""
GONE_S = 10.0
"""Most seconds that a worker is waited for which has said that it ended."""


def watch(
    run: Annotated[str, typer.Argument(help="Name or directory of a run.")],
    runs: Runs = DEFAULT_RUNS,
    once: Annotated[bool, typer.Option("--once", help="Print the present state with a chart, and end.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print every logged step until the run ends (the default).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Watch a run from its directory alone; from any terminal, also after its end."""
    if once and follow:
        raise ConfigError("--once and --follow exclude each other.", "Choose one.")
    paths = existing_run(runs, run)
    if once:
        print_once(paths, as_json)
    else:
        follow_run(paths, as_json)


def facts(run: RunSummary) -> dict[str, Any]:
    """One run for --json."""
    keys = (
        "name",
        "state",
        "step",
        "steps",
        "tokens",
        "loss",
        "eta_s",
        "family",
        "message",
        "last_checkpoint",
        "error",
        "created",
    )
    return {**{key: getattr(run, key) for key in keys}, "path": str(run.root)}


def print_once(paths: RunPaths, as_json: bool) -> None:
    """The present state, with a chart of the loss."""
    summary = present(paths)
    metrics = JsonTail(paths.metrics).read_objects(budget_s=10.0)
    evaluations = [e for e in JsonTail(paths.events).read_objects(budget_s=10.0) if e.get("kind") == "evaluation"]
    if as_json:
        last = {"metrics": metrics[-1] if metrics else None, "evaluation": evaluations[-1] if evaluations else None}
        print_json({**facts(summary), **last})
        return
    losses = _losses(metrics)
    if len(losses) > 1:
        _chart(losses, _losses(evaluations))
    say(_headline(summary))
    if metrics:
        say(_line(metrics[-1]))
    if evaluations:
        say(f"{_event(evaluations[-1])}, at step {_number(evaluations[-1], 'step', '.0f')}")
    if error := _fault(paths, summary):
        say(error.get("message"), error.get("hint"))


def follow_run(paths: RunPaths, as_json: bool = False, since: float = 0.0) -> None:
    """Print metrics and events until the run ends. Ctrl-C stops following, never the run.

    `since` is when whoever follows had started the worker: what was logged before is left out.
    """
    import json

    metrics, events = JsonTail(paths.metrics), JsonTail(paths.events)
    said = ""
    try:
        while True:
            summary = present(paths)  # before the lines, so that a run that has ended has written them all
            lines = [(line, json.dumps(line) if as_json else safe(_line(line))) for line in _later(metrics, since)]
            lines += [(e, safe(text)) for e in _later(events, since) if not as_json and (text := _event(e))]
            lines.sort(key=lambda line: line[0]["time"] if _is_number(line[0], "time") else 0.0)
            if lines:
                print("\n".join(text for _, text in lines), flush=True)
            if not summary.is_live:
                await_free(paths, time.monotonic() + GONE_S)
                break
            if summary.state == "preparing" and summary.message != said and not as_json:
                said = summary.message
                say(said)
            time.sleep(0.25)
    except KeyboardInterrupt:
        if since:
            note = f"No longer following; {paths.name} goes on. Watch it: mythos watch {spoken(paths)}"
            print(f"\n{note}", file=sys.stderr)
        return
    if not as_json:
        _farewell(paths, summary)


def _later(tail: JsonTail, since: float) -> list[dict[str, Any]]:
    return [line for line in tail.read_objects() if not since or (_is_number(line, "time") and line["time"] >= since)]


def await_free(paths: RunPaths, end: float) -> bool:
    """Wait until no worker holds the run, at most to `end` of the monotonic clock. Says whether it is free.

    One that has ended holds it for a moment more; whoever followed it may want to go on with that at once.
    """
    while (locked := is_locked(paths)) and time.monotonic() < end:
        time.sleep(0.02)
    return not locked


def present(paths: RunPaths) -> RunSummary:
    """The run's state now. Raises RunError where its directory has gone."""
    summary = summarize(paths)
    if summary is None:
        raise RunError(f"The run {paths.name} is no longer there.", "`mythos runs` lists what is.")
    return summary


def _farewell(paths: RunPaths, summary: RunSummary) -> None:
    say(_headline(summary))
    if error := _fault(paths, summary):
        way_on = f"Go on with: mythos train --resume {spoken(paths)}"
        if not can_resume(paths.checkpoints):
            way_on = f"It wrote no checkpoint; start it anew: mythos train {shlex.quote(str(paths.config))} --run NAME"
        raise RunError(str(error.get("message")), f"{error.get('hint')} {way_on}")


def _fault(paths: RunPaths, run: RunSummary) -> dict[str, Any] | None:
    """Message and hint of a run that ended before its time."""
    if run.state not in ("failed", "crashed"):
        return None
    if run.state == "failed" and run.error:
        return run.error
    hint = f"`mythos doctor {spoken(paths)}` looks for the cause; {paths.log} may say more."
    return {"message": GONE if run.state == "crashed" else run.message or "It failed without a word.", "hint": hint}


def _losses(lines: list[dict[str, Any]]) -> dict[float, float]:
    """Losses by step, as far as a chart can draw them. A resumed run repeats steps: the later ones count."""
    return {line["step"]: line["loss"] for line in lines if _is_drawable(line, "step") and _is_drawable(line, "loss")}


def _chart(training: dict[float, float], held_out: dict[float, float]) -> None:
    import shutil

    import plotext

    columns, rows = shutil.get_terminal_size()
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(min(columns, 120), min(max(rows - 6, 10), 24))
    for points, draw, marker, label in (
        (training, plotext.plot, "braille", "training"),
        (held_out, plotext.scatter, "o", "held out"),
    ):
        if points:
            steps = sorted(points)
            draw(steps, [points[step] for step in steps], marker=marker, label=label)
    plotext.title("loss (nats/token) over steps")
    print(plotext.uncolorize(plotext.build()) if not sys.stdout.isatty() else plotext.build())


def _headline(run: RunSummary) -> str:
    eta = f", {duration(run.eta_s)} to go" if run.is_live and run.eta_s else ""
    progress = f"{run.state} at step {run.step} of {run.steps}, {quantity(run.tokens)} tokens{eta}"
    message = "" if run.state in ("failed", "crashed") else run.message  # what it did last; its fault is told by itself
    return f"{run.name}: {progress}. {message}".rstrip()


def _line(m: dict[str, Any]) -> str:
    """One logged step."""
    depth = f"  ponder {_number(m, 'ponder', '.2f')}" if "ponder" in m else ""
    return (
        f"step {_number(m, 'step', '>7.0f')}  loss {_number(m, 'loss', '.4f')}{depth}"
        f"  grad {_number(m, 'grad_norm', '.2f')}  lr {_number(m, 'lr', '.2e')}"
        f"  {_number(m, 'tokens_per_s', ',.0f')} tok/s  {_number(m, 'utilisation', '.0%')} of peak"
    )


def _event(e: dict[str, Any]) -> str:
    """What is worth a line of an event; "" for the rest."""
    kind = e.get("kind")
    if kind == "evaluation":
        bits, loss = _number(e, "bits_per_byte", ".4f"), _number(e, "loss", ".4f")
        return f"held out: {bits} bits per byte, {loss} nats/token"
    if kind == "state" and e.get("state") == "running" and e.get("message") != "training":
        return str(e.get("message"))
    if kind == "checkpoint":
        return f"saved {e.get('name')}{' (best so far)' if e.get('best') else ''}"
    if kind == "data":
        where = f" in {counted(e['held_out_documents'], 'document')}" if _is_number(e, "held_out_documents") else ""
        held_out = f"{_number(e, 'held_out_tokens', ',.0f')} held out{where}"
        return f"data: {_number(e, 'train_tokens', ',.0f')} training tokens, {held_out}"
    if kind == "device":
        peak = quantity(e["matmul_peak_flops"], "FLOP/s") if _is_number(e, "matmul_peak_flops") else "unknown"
        threads = counted(e["threads"], "thread") if _is_number(e, "threads") else "threads unknown"
        return f"device: {e.get('device')}, {e.get('precision')}, {threads}, {peak} peak"
    if kind == "alert":
        return f"alert: {e.get('message')} {e.get('hint', '')}".rstrip()
    if kind == "skipped" and isinstance(e.get("steps"), dict):
        return f"left out: {'; '.join(f'{why} {steps}' for why, steps in e['steps'].items())}"
    return ""


def _is_number(values: dict[str, Any], key: str) -> bool:
    return isinstance(values.get(key), int | float)


def _is_drawable(values: dict[str, Any], key: str) -> bool:
    """Whether it is a number that the chart can draw."""
    return _is_number(values, key) and abs(values[key]) < DRAWABLE


def _number(values: dict[str, Any], key: str, form: str) -> str:
    """A number of a line, or a dash where the line has none."""
    return format(values[key], form) if _is_number(values, key) else "–"
