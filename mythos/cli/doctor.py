"""`mythos doctor`: the playbook over a run's files or a checkpoint's weights, or the text that a step was made of.

Nothing is written, nothing is trusted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from mythos.cli.options import DEFAULT_RUNS, Json, Runs, print_json, say
from mythos.contract.alerts import PLAYBOOK, Alert
from mythos.contract.checkpoints import damaged_checkpoints, find_checkpoint, list_checkpoints, read_manifest
from mythos.contract.config import Config
from mythos.contract.errors import CheckpointError, RunError
from mythos.contract.load import load_config
from mythos.contract.rundir import RunPaths, existing_run
from mythos.contract.watch import JsonTail, RunSummary, number, summarize

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """A page of the playbook with this patient's evidence; `step` is where it began, None where that means nothing.

    `around` is the file that the trainer wrote of the metrics and batches around it, "" where there is none.
    """

    kind: str
    level: str
    step: int | None
    symptom: str
    evidence: str
    cause: str
    advice: str
    around: str = ""


def doctor(
    target: Annotated[
        str, typer.Argument(metavar="RUN|CHECKPOINT", help="Name or directory of a run, or a checkpoint directory.")
    ],
    runs: Runs = DEFAULT_RUNS,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="STEP", help="Show the text that this step of the run learnt from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for known troubles of a run or a checkpoint: symptom, evidence, likely cause, what to change."""
    if batch is not None:
        from mythos.cli.batch import show

        return show(existing_run(runs, target), batch, as_json)
    findings, looked_at = examine(target, runs)
    findings.sort(key=lambda finding: (LEVELS.index(finding.level), finding.step or 0))
    if as_json:
        print_json({"target": target, "looked_at": looked_at, "findings": [asdict(one) for one in findings]})
        return
    for one in findings:
        where = "" if one.step is None else f", from step {one.step}"
        say(f"{one.level}: {one.symptom}{where}\n  evidence  {one.evidence}")
        around = f"\n  around    {one.around}, and mythos doctor {target} --batch {one.step}" if one.around else ""
        say(f"  cause     {one.cause}\n  change    {one.advice}{around}\n")
    verdict = f"{len(findings)} found" if findings else "Nothing found"
    say(f"{verdict}. Looked at: {', '.join(looked_at) or 'nothing, as there is nothing yet'}.")


def examine(target: str, runs: Path) -> tuple[list[Finding], list[str]]:
    """Findings, and what was looked at. Raises RunError or CheckpointError where there is neither run nor checkpoint."""
    given = Path(target)
    if (given / "manifest.json").is_file():
        return examine_checkpoint(given)
    if given.is_dir() and not any((folder / "run.json").is_file() for folder in (given, runs / target)):
        find_checkpoint(given)  # which says what it lacks
    paths = existing_run(runs, target)
    summary = summarize(paths)
    if summary is None:
        raise RunError(f"{paths.identity} is damaged.", "`mythos runs` lists the runs that can be read.")
    config = load_config(paths.config)
    findings, looked_at = examine_records(paths, config)
    findings = [replace(one, around=_around(paths, one)) for one in findings]
    findings += examine_state(summary, config)
    newest = [info.path for info in list_checkpoints(paths.checkpoints)[:1]]
    for directory in damaged_checkpoints(paths.checkpoints) + newest:
        more, weights = examine_checkpoint(directory)
        findings, looked_at = findings + more, looked_at + weights
    return findings, [f"state ({summary.state})", *looked_at]


def examine_records(paths: RunPaths, config: Config) -> tuple[list[Finding], list[str]]:
    """The trainer's guard once more over what was logged, record by record, evaluations in between."""
    from mythos.train.alerts import Guard

    guard, found, damaged = Guard(config), [], 0
    metrics = JsonTail(paths.metrics).read_objects(budget_s=30.0)
    events = JsonTail(paths.events).read_objects(budget_s=30.0)
    evaluations = [event for event in events if event.get("kind") == "evaluation"]
    for record in sorted(metrics + evaluations, key=lambda record: number(record.get("time")) or 0.0):
        try:
            found += guard.evaluated(record) if "kind" in record else guard.observe(record)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            damaged += 1
    told = [event for event in events if event.get("kind") == "alert" and str(event.get("alert")) not in PLAYBOOK]
    findings = _first_of_each_kind(found)
    if warned := [event for event in events if event.get("alert") == "too_large"]:
        findings.append(_page("too_large", str(warned[-1].get("evidence")), advice=str(warned[-1].get("hint") or "")))
    findings += [_page("unsaved", message) for message in dict.fromkeys(str(event.get("message")) for event in told)]
    counts = [_count(len(metrics), "record"), _count(len(evaluations), "evaluation"), _count(len(events), "event")]
    return findings, counts + ([f"{_count(damaged, 'damaged record')} passed over"] if damaged else [])


def examine_state(run: RunSummary, config: Config) -> list[Finding]:
    """Whether the worker lives and keeps its promises, and what it said if it failed."""
    from mythos.train.signs import about_memory, relief

    if run.state == "stalled":
        promise = f"it promised word within {number(run.status.get('expect_next_in_s')) or 0:.0f} s"
        return [_page("stall", f"{promise}; the last was: {run.message}", run.step)]
    if run.state not in ("failed", "crashed"):
        return []
    error = run.error or {}
    message = str(error.get("message") or "the worker died without a word")
    if about_memory(message) or error.get("type") == "MemoryError":
        return [_page("out_of_memory", message, run.step, relief(config))]
    return [_page("failed", message, run.step, str(error.get("hint") or ""))]


def examine_checkpoint(directory: Path) -> tuple[list[Finding], list[str]]:
    """Whether the files are whole and what the weights look like. Torch is loaded here, and only here."""
    from mythos.inspect.weights import examine

    try:
        manifest = read_manifest(directory, check_hashes=True)
        signs, looked_at = examine(directory, load_config(directory / "config.yaml"))
    except CheckpointError as error:
        return [_page("bad_weights", error.message)], [f"files of {directory.name}"]
    step = manifest.get("step") if isinstance(manifest.get("step"), int) else None
    names = f"{directory.name} ({', '.join(looked_at)})"
    return [_page(kind, evidence, step) for kind, evidence in signs], [names]


def _around(paths: RunPaths, finding: Finding) -> str:
    """The file that the trainer wrote when it told of this, or ""."""
    path = paths.alerts / f"step-{finding.step or 0:08d}-{finding.kind}.json"
    return str(path) if path.is_file() else ""


def _first_of_each_kind(alerts: list[Alert]) -> list[Finding]:
    """One page per kind: where it first began, and how often it came back."""
    findings = []
    for kind in dict.fromkeys(alert.kind for alert in alerts):
        first, *again = [alert for alert in alerts if alert.kind == kind]
        more = f"; {_count(len(again), 'more time')}, last from step {again[-1].step}" if again else ""
        findings.append(_page(kind, first.evidence + more, first.step, first.advice))
    return findings


def _page(kind: str, evidence: str, step: int | None = None, advice: str = "") -> Finding:
    page = PLAYBOOK[kind]
    return Finding(kind, page.level, step, page.symptom, evidence, page.cause, advice or page.advice)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
