"""Tasks of the Language Model Evaluation Harness (lm-eval, EleutherAI) on a checkpoint: which, how many, and the results.

A task is a name that lm-eval knows, or a YAML file in its format, whose `!function` lines then run code beside the file.
Datasets come from the Hugging Face hub and its cache, unless a YAML file names local ones.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import logging
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mythos.contract.errors import DataError, MythosError
from mythos.evals.text import window_of

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint

BOOTSTRAP = 1000
"""Resamples for the standard error of metrics without a formula, such as perplexity; lm-eval's 100,000 take minutes."""
SEED = 1234
"""lm-eval's own."""


def evaluate_tasks(
    checkpoint: Checkpoint,
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    few_shot: int | None = None,
    context: int | None = None,
    loops: int | None = None,
    exit: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Every task's metrics: `{"tasks": …, "groups": …, "mean_loops": …, "context": …, "lm_eval": version}`.

    The first `limit` examples of each (default: all), after `few_shot` worked ones (default: as the task says; a task
    that says 0 keeps it). Prompts have at most `context` tokens (default: the model's). Raises MythosError where lm-eval
    or a dataset is missing, for unknown tasks, and for what does not fit the model.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise MythosError("Tasks need lm-eval, which is not installed.", "Run: pip install 'mythos-tui[eval]'.")
    window = window_of(checkpoint.config, context or checkpoint.config.model.context)
    with quiet():
        from lm_eval import __version__
        from lm_eval.evaluator import evaluate

        from mythos.evals.harness_model import HarnessModel

        model = HarnessModel(checkpoint, window, loops, exit, progress)
        loaded = load_tasks(tasks, few_shot)
        found = evaluate(model, loaded, limit=limit, bootstrap_iters=BOOTSTRAP, log_samples=False)
    return summary(found) | {"mean_loops": model.mean_loops, "context": window, "lm_eval": __version__}


def load_tasks(names: Sequence[str], few_shot: int | None) -> Any:
    """lm-eval's tasks with their datasets, seeded and given worked examples as its own command does it. Raises DataError."""
    manager = task_manager(names)
    random.seed(0)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    try:
        loaded = manager.load(list(names))
    except Exception as error:  # of several network libraries, which share no base class
        raise DataError(
            f"{', '.join(names)} cannot be loaded: {first_line(error)}.",
            "Datasets come from the hub: go online for the first use, or name a YAML file with local data_files.",
        ) from error
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        task.set_config(key="num_fewshot", value=(own or 0) if few_shot is None or own == 0 else few_shot)
        task.set_fewshot_seed(seed=SEED)
        if getattr(task, "UNSAFE_CODE", False):
            raise DataError(f"{task.task_name} runs code that the model writes.", "Choose other tasks.")
    return loaded


def task_manager(tasks: Sequence[str]) -> Any:
    """lm-eval's index of tasks, which takes seconds, and is left out where files alone are named. Raises DataError."""
    from lm_eval.tasks import TaskManager

    files = [task for task in tasks if task.endswith((".yaml", ".yml"))]
    if missing := [file for file in files if not Path(file).is_file()]:
        raise DataError(f"There is no task file {missing[0]}.", "Check the spelling.")
    names = [task for task in tasks if task not in files]
    manager = TaskManager(include_defaults=bool(names))
    for name in names:
        if name not in manager.task_index:
            near = difflib.get_close_matches(name, manager.all_tasks, 3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "`lm-eval ls tasks` lists them."
            raise DataError(f"lm-eval has no task {name!r}.", hint)
    return manager


def first_line(error: Exception) -> str:
    """What an error says, without the page that some add."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """What lm-eval reports, without its file names, samples and surroundings."""
    groups = set(found.get("groups", {}))
    tasks = {}
    for name in found["results"]:
        if name not in groups:
            counted = found.get("n-samples", {}).get(name, {})
            facts = {"samples": counted.get("effective"), "few_shot": found["n-shot"].get(name)}
            tasks[name] = facts | {"version": found["versions"].get(name), "metrics": metrics(found["results"][name])}
    return {"tasks": tasks, "groups": {name: metrics(found["groups"][name]) for name in groups}}


def metrics(values: dict[str, Any]) -> dict[str, Any]:
    """`{"acc,none": 0.5, "acc_stderr,none": 0.1}` → `{"acc": {"value": 0.5, "stderr": 0.1}}`; other filters keep their name."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        metric, comma, filtered = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            stderr = values.get(f"{metric}_stderr,{filtered}")
            name = metric if filtered == "none" else f"{metric} ({filtered})"
            found[name] = {"value": value, "stderr": stderr if isinstance(stderr, float) else None}
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave stdout to results: what lm-eval prints goes to stderr; libraries log nothing but errors."""
    import datasets
    from huggingface_hub.utils import logging as hub

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.logging.set_verbosity_error()
    hub.set_verbosity_error()
    with contextlib.redirect_stdout(sys.stderr):
        yield
