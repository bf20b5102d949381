"""Points of a scaling law: out of CSV tables, out of earlier fits (JSON), and out of run directories.

N is the number of all parameters, as Hoffmann et al. 2022 count it; Kaplan et al. 2020 leave the embedding out, which at small
sizes bends the law (Pearce & Song 2024). D is the number of training tokens, L the final held-out loss in nats per token.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.contract.errors import MythosError
from mythos.contract.rundir import RunPaths, existing_run
from mythos.contract.watch import JsonTail, list_runs, number, summarize
from mythos.contract.words import counted

if TYPE_CHECKING:
    from mythos.contract.config import DenseConfig

COLUMNS = {
    "n": ("n", "params", "parameters", "n_params", "model_size", "size"),
    "d": ("d", "tokens", "n_tokens", "training_tokens", "train_tokens"),
    "c": ("c", "flops", "compute", "training_flops"),
    "loss": ("loss", "l", "final_loss", "val_loss", "eval_loss", "held_out_loss"),
    "name": ("name", "run", "model"),
}
"""Headers of a CSV table by what they mean; capitals do not matter, and blanks and hyphens are underscores."""
MOST = 1e100
"""Numbers of a table lie below this."""


class ScalingError(MythosError):
    """Points that cannot be read, or that a law cannot be fitted to."""


@dataclass(frozen=True)
class Point:
    """One trained model: `n` parameters, `d` tokens, `loss` in nats per token."""

    name: str
    n: float
    d: float
    loss: float


@dataclass
class Points:
    """What was found; `left_out` holds (name, why) of the runs that give no point, `remarks` what a reader should know."""

    points: list[Point] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def gather(sources: Sequence[str], runs: Path, count: str = "total") -> Points:
    """Points of CSV and JSON files, run directories, names of runs in the folder `runs`, and folders of runs.

    `count` is "total" or "non-embedding" and says what N means for runs. Raises ScalingError, or RunError where there is no
    such run.
    """
    found = Points()
    texts: dict[tuple[int, str], str] = {}
    for source in sources:
        path = Path(source)
        if path.suffix.lower() in (".csv", ".json"):
            points = read_csv(path) if path.suffix.lower() == ".csv" else read_json_points(path, count)
            new = [point for point in points if point not in found.points]
            if again := len(points) - len(new):
                found.remarks.append(f"{counted(again, 'point')} of {path} came before and will not count twice.")
            found.points += new
            continue
        for run in runs_of(source, runs):
            try:
                point, text, remark = read_run(run, count)
            except LeftOut as why:
                found.left_out.append((run.name, str(why)))
                continue
            if point in found.points:  # named twice
                continue
            found.points.append(point)
            found.remarks += [remark] if remark else []
            texts.setdefault(text, run.name)
    if len(texts) > 1:
        first, second = list(texts.values())[:2]
        raise ScalingError(
            f"The runs {first} and {second} have different texts or vocabularies: their losses do not compare.",
            "Fit runs of one text with one vocabulary.",
        )
    return found


def read_csv(path: Path) -> list[Point]:
    """Points of a table with a header: N, D (or C, with D = C / 6N) and loss. Raises ScalingError naming file and line."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            places = _columns(path, next(rows, []))
            return [_point(path, rows.line_num, row, places) for row in rows if any(map(str.strip, row))]
    except FileNotFoundError:
        raise ScalingError(f"There is no file {path}.", "Name a CSV table with the columns N, D and loss.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScalingError(f"{path} is no CSV table in UTF-8: {error}.", "Save it as CSV in UTF-8.") from None


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Which column holds n, d or c, loss and name."""
    places: dict[str, int] = {}
    for place, title in enumerate(header):
        key = re.sub(r"[\s-]+", "_", title.strip().lower())
        meaning = next((name for name, known in COLUMNS.items() if key in known), None)
        if meaning in places:
            raise ScalingError(
                f"{path}, line 1: two columns stand for {meaning.upper()}, {header[places[meaning]]!r} and {title!r}.",
                "Keep one of them.",
            )
        if meaning:
            places[meaning] = place
    missing = [name for name in ("n", "loss") if name not in places] + ["d"] * (not {"d", "c"} & places.keys())
    if missing:
        wanted = "; ".join(f"{'/'.join(COLUMNS[name])}" for name in missing)
        raise ScalingError(
            f"{path}, line 1: no column for {', '.join(name.upper() if len(name) == 1 else name for name in missing)}.",
            f"Name it one of {wanted}" + (", or give the FLOPs as c/flops." if "d" in missing else "."),
        )
    return places


def _point(path: Path, line: int, row: list[str], places: dict[str, int]) -> Point:
    def value(name: str) -> float:
        text = row[places[name]].strip() if places[name] < len(row) else ""
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not 0 < found < MOST:
            raise ScalingError(f"{path}, line {line}: {name} is {text!r}.", "Give a number above 0, such as 1.5e6.")
        return found

    n, loss = value("n"), value("loss")
    d = value("d") if "d" in places else value("c") / (6 * n)
    named = places.get("name", len(row))
    return Point((row[named].strip() if named < len(row) else "") or f"line {line}", n, d, loss)


def read_json_points(path: Path, count: str) -> list[Point]:
    """Points of a file that `mythos scaling fit --json` printed, where it counted N as `count` says, or did not tell."""
    try:
        fit = json.loads(path.read_text(encoding="utf-8"))
        points, kind = fit["points"], fit.get("count", count)
        found = [Point(str(p["name"]), *(float(p[key]) for key in ("n", "d", "loss"))) for p in points]
        if any(not 0 < value < MOST for p in found for value in (p.n, p.d, p.loss)):
            raise ValueError("a value is not a number above 0")
    except FileNotFoundError:
        raise ScalingError(f"There is no file {path}.", "Write one: mythos scaling fit … --json > fit.json") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ScalingError(
            f"{path} is no fit: {type(error).__name__}: {error}.", "Write one: mythos scaling fit … --json > fit.json"
        ) from None
    if kind != count:
        raise ScalingError(f"N in {path} is {kind}, here {count}.", f"Add --count {kind}.")
    return found


class LeftOut(Exception):
    """A run that gives no point; the message says why."""


def runs_of(source: str, runs: Path) -> Iterable[RunPaths]:
    """The run of that name or path, or all runs of a folder, oldest first. Raises RunError where there is none."""
    folder = Path(source)
    if folder.is_dir() and not (folder / "run.json").is_file() and (within := list_runs(folder)):
        return [RunPaths(run.root) for run in reversed(within)]
    return [existing_run(runs, source)]


def read_run(run: RunPaths, count: str) -> tuple[Point, tuple[int, str], str]:
    """(point, what its loss is comparable within, remark or "") of a finished dense run. Raises LeftOut."""
    from mythos.contract.config import DenseConfig
    from mythos.contract.load import load_config

    summary = summarize(run)
    if summary is None or summary.state != "finished":
        raise LeftOut(f"it is {summary.state}, not finished" if summary else "it is no run")
    try:
        model = load_config(run.config).model
    except MythosError as error:
        raise LeftOut(f"its configuration cannot be read: {error.message}") from None
    if not isinstance(model, DenseConfig):
        raise LeftOut("it is a recurrent model, whose compute is not 6·N·D")
    if not summary.tokens:
        raise LeftOut("it does not tell its tokens")
    loss, data = _final_loss(run, summary.step)
    epochs = summary.tokens / (number(data.get("train_tokens")) or math.inf)
    remark = f"{run.name} saw its text {epochs:.1f} times; repeated tokens count as new ones here."
    text = model.vocab_size, Path(str(data.get("path"))).name
    return Point(run.name, parameters_of(model, count), summary.tokens, loss), text, remark if epochs > 1 else ""


def parameters_of(model: DenseConfig, count: str) -> int:
    """N of a model: all of its parameters, or those without embedding and head."""
    from mythos.contract.budget import parameters

    found = parameters(model)
    return found.total - (found.embedding if count == "non-embedding" else 0)


def _final_loss(run: RunPaths, step: int) -> tuple[float, dict[str, Any]]:
    """(held-out loss after the last step, the event that tells of the data)."""
    events = JsonTail(run.events).read_objects(budget_s=10.0)
    data: dict[str, Any] = next((event for event in reversed(events) if event.get("kind") == "data"), {})
    last = [event for event in events if event.get("kind") == "evaluation" and event.get("step") == step]
    loss = number(last[-1].get("loss")) if last else None
    if loss is None:
        raise LeftOut("it has no evaluation after its last step")
    if not (math.isfinite(loss) and loss > 0):
        raise LeftOut(f"its held-out loss is {loss}")
    return loss, data
