"""`mythos study`: whether depth means something, measured over seeds and written into docs/studies/."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mythos.cli.charts import Line, draw
from mythos.cli.options import Overrides, Rules, check_folder, check_rules, chosen_rules, say
from mythos.contract.errors import ConfigError

if TYPE_CHECKING:
    from mythos.study.studies import Setting

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "train" / "steps.yaml"
Recipe = Annotated[Path, typer.Option("--config", metavar="YAML", help="Recipe that every model is trained by.")]
Seeds = Annotated[str, typer.Option("--seeds", metavar="N[,N]…", help="Seeds, one model each.")]
Tasks = Annotated[str, typer.Option("--tasks", metavar="TASK[,TASK]…", help="Tasks that are asked.")]
Count = Annotated[int, typer.Option("--questions", min=16, help="Questions per task.")]
Models = Annotated[Path, typer.Option("--models", metavar="DIR", help="Where trained models are kept and found again.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that the report is written into.")]
Target = Annotated[float, typer.Option("--target", min=0, help="Nats per answer that stopping early may cost.")]
FIVE, THREE = "1,2,3,4,5", "shells,headings,parity"
MODELS, OUT = Path("runs/study"), Path("docs/studies")
HALTING = ("full_accuracy", "accuracy", "executed", "correlation")
OVER_LOOPS = "accuracy (%) over multiples of the full loops"


class Chart(NamedTuple):
    title: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Report:
    """What a study found: a paragraph, a table and a chart, and the rows that they were made from."""

    name: str
    title: str
    paragraph: str
    head: list[str]
    table: list[list[str]]
    chart: Chart
    rows: list[dict[str, Any]]

    def write(self, folder: Path) -> None:
        """As Markdown, and the rows as JSON for whoever wants other tables; both are told."""
        text = "\n".join(f"| {' | '.join(row)} |" for row in (self.head, ["---"] * len(self.head), *self.table))
        ticks = sorted({x for _, xs, _ in self.chart.lines for x in xs})
        picture = draw(self.chart.title, self.chart.lines, ticks=ticks, colour=False)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(
            f"# {self.title}\n\n{self.paragraph}\n\n{text}\n\n```\n{picture}\n```\n\n"
            f"Made by `mythos {' '.join(sys.argv[1:])}`; every row is in [{self.name}.json]({self.name}.json).\n",
            encoding="utf-8",
        )
        (folder / f"{self.name}.json").write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
        print(text)
        print(picture)
        say(self.paragraph)
        say(f"Wrote {folder / self.name}.md.")


def _setting(
    config: Path,
    overrides: list[str] | None,
    seeds: str,
    tasks: str,
    count: int,
    models: Path,
    out: Path,
    target: float,
    rules: str = "",
) -> Setting:
    """Check what was given before anything is trained. Raises ConfigError."""
    from mythos.cli.sweeping import Progress
    from mythos.data.tasks import TASKS
    from mythos.study.studies import Setting

    try:
        numbers = tuple(int(seed) for seed in seeds.split(","))
    except ValueError:
        raise ConfigError(f"--seeds {seeds!r} is no list of whole numbers.", "For example: 1,2,3.") from None
    names = tuple(tasks.split(","))
    _check_once("--seeds", numbers)
    _check_once("--tasks", names)
    if unknown := [name for name in names if name not in TASKS]:
        raise ConfigError(f"--tasks: there is no task {unknown[0]!r}.", f"Choose from {', '.join(TASKS)}.")
    chosen = chosen_rules(rules)
    setting = Setting(config, tuple(overrides or ()), numbers, names, count, models, target, chosen, Progress())
    if setting.config().model.family != "recurrent" or not setting.config().data.answers_only:
        raise ConfigError(f"{config} is no recipe for a study.", "It needs a recurrent model and data.answers_only.")
    for seed in numbers:
        setting.config(f"train.seed={seed}")
    check_folder(models)
    check_folder(out)
    return setting


def _check_once(option: str, values: Sequence[object]) -> None:
    """Raises ConfigError where something would be measured and counted twice."""
    if twice := [value for value in values if values.count(value) > 1]:
        raise ConfigError(f"{option} has {twice[0]} more than once.", "Name each once.")


def halting(
    config: Recipe = RECIPE,
    seeds: Seeds = FIVE,
    tasks: Tasks = THREE,
    questions: Count = 500,
    models: Models = MODELS,
    target: Target = 0.0005,
    rules: Rules = "",
    out: Out = OUT,
    overrides: Overrides = None,
) -> None:
    """Do loops follow difficulty? Accuracy, executed loops and their correlation with difficulty, per task and rule."""
    from mythos.study.studies import halting as measure
    from mythos.study.summary import groups, halting_holds, told

    setting = _setting(config, overrides, seeds, tasks, questions, models, out, target, rules)
    check_rules(setting.rules, setting.config().model)
    rows = measure(setting)
    if not rows:
        raise ConfigError(f"No exit rule costs as little as {target:g} nats per answer.", "Give a larger --target.")
    holds = {(task, rule): (accurate, met) for task, rule, accurate, met in halting_holds(rows)}
    table = []
    for (task, rule), each in groups(rows, "task", "rule").items():
        cells = [told((r[key] for r in each), percent=key != "correlation") for key in HALTING]
        table.append(
            [task, rule, *cells, f"{holds[task, rule][0]} of {len(each)}", f"{holds[task, rule][1]} of {len(each)}"]
        )
    best = max(
        {row["rule"] for row in rows}, key=lambda rule: sum(met for (_, r), (_, met) in holds.items() if r == rule)
    )
    shown = groups([row for row in rows if row["rule"] == best], "task")
    lines = [(task, *_mean_loops(each)) for (task,), each in shown.items()]
    seen = sum(met for (_, rule), (_, met) in holds.items() if rule == best)
    paragraph = (
        f"Under `{best}`, {seen} of {len(tasks.split(',')) * len(seeds.split(','))} pairs of task and seed meet all three aims: "
        "at most 40% of the full loops executed over all tokens, at most 0.5 points of accuracy lost, and a rank correlation "
        "of at least 0.85 between an answer's loops and its difficulty. ± is a 95% interval over seeds."
    )
    head = ["task", "rule", "full accuracy %", "accuracy %", "executed %", "correlation", "≥ 99% in range", "aims met"]
    chart = Chart(f"mean loops over difficulty, {best}", lines)
    Report("halting", "Halting and difficulty", paragraph, head, table, chart, rows).write(out)


def _mean_loops(rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Difficulties, and the mean loops of each over seeds."""
    difficulties = sorted({int(d) for row in rows for d in row["loops_of_difficulty"]})
    return [*map(float, difficulties)], [
        sum(row["loops_of_difficulty"][d] for row in rows) / len(rows) for d in difficulties
    ]


def extrapolation(
    config: Recipe = RECIPE,
    seeds: Seeds = FIVE,
    tasks: Tasks = THREE,
    questions: Count = 500,
    models: Models = MODELS,
    out: Out = OUT,
    overrides: Overrides = None,
) -> None:
    """Is depth safe, and does more of it help? Accuracy at 1, 2, 4 and 8 times the full loops, in range and beyond."""
    from mythos.study.studies import DEEPER
    from mythos.study.studies import extrapolation as measure
    from mythos.study.summary import groups, interval, told

    rows = measure(_setting(config, overrides, seeds, tasks, questions, models, out, 0.0))
    table, lines = [], []
    for (task, split), each in groups(rows, "task", "split").items():
        at = {times: [r["accuracy"] for r in each if r["times"] == times] for times in DEEPER}
        table.append([task, split, *(told(at[times], percent=True) for times in DEEPER)])
        lines.append((f"{task}, {split}", [*map(float, DEEPER)], [100 * interval(at[times])[0] for times in DEEPER]))
    safe, gains = _extremes(rows)
    paragraph = (
        f"In range the largest loss of any task and seed at 8 times the full loops is {100 * safe:.1f} points; on instances that "
        f"are harder than any in training, twice the loops gain between {100 * min(gains):.1f} and {100 * max(gains):.1f} points, "
        "over tasks and seeds. ± is a 95% interval over seeds."
    )
    head = ["task", "instances", *(f"{times}× %" for times in DEEPER)]
    chart = Chart(OVER_LOOPS, lines)
    Report("extrapolation", "More loops than trained", paragraph, head, table, chart, rows).write(out)


def _extremes(rows: list[dict[str, Any]]) -> tuple[float, list[float]]:
    """The most that 8 times the loops lose in range, and what twice the loops gain on harder instances."""
    at = {(r["seed"], r["task"], r["split"], r["times"]): r["accuracy"] for r in rows}
    pairs = {(seed, task) for seed, task, _, _ in at}
    losses = [at[s, t, "trained", 1] - at[s, t, "trained", 8] for s, t in pairs]
    return max(losses), [at[s, t, "harder", 2] - at[s, t, "harder", 1] for s, t in pairs]


def objectives(
    config: Recipe = RECIPE,
    seeds: Seeds = "1,2,3",
    tasks: Tasks = "shells",
    variants: Annotated[str, typer.Option("--variants", help="Which, with commas between; left out, all.")] = "",
    questions: Count = 300,
    models: Models = MODELS,
    target: Target = 0.0005,
    rules: Rules = "",
    out: Out = OUT,
    overrides: Overrides = None,
) -> None:
    """Objectives and mechanisms side by side: quality, executed loops, correlation, behaviour at 2, 4 and 8 times the loops."""
    from mythos.study.studies import DEEPER, VARIANTS
    from mythos.study.studies import objectives as measure
    from mythos.study.summary import groups, interval, told

    chosen = variants.split(",") if variants else [*VARIANTS]
    if unknown := [name for name in chosen if name not in VARIANTS]:
        raise ConfigError(f"--variants: there is no {unknown[0]!r}.", f"Choose from {', '.join(VARIANTS)}.")
    _check_once("--variants", chosen)
    rows = measure(_setting(config, overrides, seeds, tasks, questions, models, out, target, rules), chosen)
    keys = [f"{split}_{times}x" for split in ("accuracy", "harder") for times in DEEPER]
    keys += ["accuracy", "executed", "correlation"]
    table, lines = [], []
    for (variant,), each in groups(rows, "variant").items():
        table.append([variant, *(told((r[key] for r in each), percent=key != "correlation") for key in keys)])
        lines.append((variant, [*map(float, DEEPER)], [100 * interval(r[key] for r in each)[0] for key in keys[:4]]))
    paragraph = (
        "Each row is the recipe without mixed exits and with one thing changed; accuracy is that of every token at 1, 2, 4 and "
        "8 times the full loops, on questions as hard as in training and on harder ones, then under the calibrated rule that saves "
        "most (on the former), with the share of loops it executes and the rank correlation of an answer's loops with its "
        "difficulty. ± is a 95% interval over seeds and tasks."
    )
    head = ["variant", *(f"{times}× %" for times in DEEPER), *(f"harder, {times}× %" for times in DEEPER)]
    head += ["stopped %", "executed %", "correlation"]
    Report("objectives", "Objectives compared", paragraph, head, table, Chart(OVER_LOOPS, lines), rows).write(out)
