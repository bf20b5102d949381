"""`mythos study ask`: what a checkpoint answers to questions of known difficulty, at several depths and under its exit rule."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mythos.cli.options import DEFAULT_RUNS, CheckpointPath, Exit, Json, Runs, locate_checkpoint, print_json
from mythos.contract.errors import ConfigError


def ask(
    checkpoint: CheckpointPath,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="TASK[,TASK]…", help="Left out, those that it was trained on.")
    ] = None,
    loops: Annotated[
        str, typer.Option("--loops", metavar="N[,N]…", help="Depths, the last one also for the rule.")
    ] = "8,16,32",
    exit: Exit = None,
    questions: Annotated[int, typer.Option("--questions", min=16, help="Questions per task and split.")] = 200,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Accuracy per task, as hard as in training and harder, at each depth; then with the exit rule: loops and their correlation.

    `seen` is the share of the questions that its corpus has a line of: of easy ones there are few. `right` counts characters,
    `whole` the questions that are answered right from the first character to the last. `executed` are mean loops over all
    tokens of a question; the correlation is Spearman's, between the loops of a character and its difficulty.
    """
    import mythos
    from mythos.models.recurrent import RecurrentModel

    loaded = mythos.load(locate_checkpoint(checkpoint, runs))
    if not isinstance(loaded.model, RecurrentModel) or not loaded.config.data.answers_only:
        raise ConfigError(f"{checkpoint} was not trained to answer questions.", "Train configs/train/reasoner.yaml.")
    depths = _depths(loops)
    rows = _rows(loaded, loaded.config.data.task if tasks is None else tasks, depths, exit, questions)
    if as_json:
        print_json({"checkpoint": str(loaded.path), "rows": rows})
        return
    print(
        f"{'task':<10} {'questions':<9}{'seen':>5}"
        + "".join(f"{n:>7}×" for n in depths)
        + f"  {'exit rule':<16}{'right':>7}{'whole':>8}{'executed':>10}{'correlation':>13}"
    )
    for row in rows:
        accuracies = "".join(f"{100 * value:7.1f}%" for value in row["accuracy"])
        stopped = (
            f"{100 * row['stopped']:6.1f}%{100 * row['whole']:7.1f}%{row['executed']:10.2f}{row['correlation']:13.3f}"
        )
        print(f"{row['task']:<10} {row['split']:<9}{row['seen']:5.0%}{accuracies}  {row['exit']:<16}{stopped}")


def _depths(loops: str) -> list[int]:
    from mythos.evals.depth import MOST_LOOPS

    try:
        depths = [int(n) for n in loops.split(",")]
    except ValueError:
        depths = []
    if not depths or not all(1 <= depth <= MOST_LOOPS for depth in depths):
        raise ConfigError(
            f"--loops {loops!r} is no list of numbers from 1 on, at most {MOST_LOOPS}.", "For example: 8,16,32."
        )
    return depths


def _rows(loaded: Any, names: str, depths: list[int], exit: str | None, count: int) -> list[dict[str, Any]]:
    from mythos.data.tasks import find_tasks
    from mythos.infer.exits import make_exit
    from mythos.study.measure import answer, lines_of, questions

    rule, rows, corpus = exit or loaded.config.infer.exit, [], lines_of(loaded.config.data)
    for task in dict.fromkeys(task for task, _ in find_tasks(names)):
        for split, difficulties in (("trained", task.trained), ("harder", task.harder)):
            asked = questions(task, difficulties, count, loaded.path / "tokenizer.json")
            found = [answer(loaded.model, asked, n).beyond(difficulties.start) for n in depths]
            stopped = answer(loaded.model, asked, depths[-1], make_exit(rule, loaded.model.config))
            stopped = stopped.beyond(difficulties.start)
            row: dict[str, Any] = {"task": task.name, "split": split, "seen": asked.seen(corpus), "loops": depths}
            row |= {"accuracy": [one.accuracy for one in found]}
            row |= {"exit": rule, "stopped": stopped.accuracy, "whole": stopped.whole, "executed": stopped.executed}
            rows.append(row | {"correlation": stopped.correlation})
    return rows
