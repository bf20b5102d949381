"""The three studies: rows of plain numbers, one per model and measurement, for whoever prints them.

`full` loops are `model.max_loops` of the recipe, the most that training draws.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mythos.contract.config import Config, RecurrentConfig
from mythos.contract.load import load_config
from mythos.data.prepare import prepare
from mythos.data.tasks import TASKS, Task
from mythos.evals.bits import choose_documents
from mythos.evals.calibration import calibrate
from mythos.infer.exits import make_exit
from mythos.study.measure import Answered, answer, questions
from mythos.study.trained import Trained, trained

CALIBRATION_TOKENS = 8192
DEEPER = (1, 2, 4, 8)
"""Multiples of the full loops."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "depth_supervised": (),
    "everything in view": ("model.attention_window=0",),
    "fixed loops": ("objective.loop_sampling=fixed",),
    "loop index": ("model.loop_index_embedding=true",),
    "LoRA": ("model.loop_lora_rank=4",),
    "no LTI": ("model.injection=none",),
    "warm-up loops": ("objective.warmup_loops=8", "objective.warmup_loops_from=0"),
    "mixed exits": ("objective.mixed_exits=0.25",),
    "mixed exits, asked spared": ("objective.mixed_exits=0.25", "objective.mixed_exits_spare=true"),
    "entropy_gate": ("objective.kind=entropy_gate", "model.halting=gate", "objective.gate_share=0"),
    "act": ("objective.kind=act", "model.halting=act"),
}
"""Objectives and mechanisms that are compared: each is the recipe with these settings, and PLAIN before them."""
PLAIN = ("objective.mixed_exits=0", "objective.mixed_exits_spare=false")
"""The recipe without what is one of them."""


@dataclass(frozen=True)
class Setting:
    """What a study takes: the recipe with its overrides, seeds, tasks, questions per task, where models are kept, and
    the exit rules (empty: all) that are calibrated for `target` nats."""

    recipe: Path
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    count: int
    folder: Path
    target: float
    rules: tuple[str, ...]
    progress: Callable[[str], None]

    def config(self, *more: str) -> Config:
        """The recipe, perhaps with further overrides. Raises ConfigError."""
        return load_config(self.recipe, [*self.overrides, *more])

    def models(self, *more: str) -> Iterator[tuple[str, Trained]]:
        """A model per seed and task, trained as they are asked for."""
        for seed in self.seeds:
            for task in self.tasks:
                yield task, trained(self.config(f"data.task={task}", *more), seed, self.folder, self.progress)

    def answers(self, model: Trained, task: Task, harder: bool, loops: int, exit: str = "fixed") -> Answered:
        """The task's questions, trained or harder, answered by a model."""
        asked = questions(task, task.harder if harder else task.trained, self.count, model.path / "tokenizer.json")
        found = answer(model.model, asked, loops, make_exit(exit, model.model.config))
        return found.beyond(task.harder.start) if harder else found


def loops_of(model: Trained) -> int:
    """The full loops."""
    assert isinstance(model.config.model, RecurrentConfig)
    return model.config.model.max_loops


def rules_of(setting: Setting, model: Trained) -> list[str]:
    """Exit rules at the thresholds that calibration on held-out text gives; fits the model's gate anew."""
    corpus = prepare(model.config.data, model.config.model.vocab_size)
    documents = choose_documents(corpus.split("held_out"), CALIBRATION_TOKENS)
    found = calibrate(
        model.model,
        documents,
        model.config.train.sequence,
        setting.target,
        loops=loops_of(model),
        max_tokens=CALIBRATION_TOKENS,
        only=setting.rules,
        progress=lambda what: None,
    )
    return [rule.exit for rule in found.rules]


def halting(setting: Setting) -> list[dict[str, Any]]:
    """Per seed, task and rule: accuracy at full loops and under the rule, executed share, correlation with difficulty."""
    rows = []
    for name, model in setting.models():
        loops, rules = loops_of(model), rules_of(setting, model)
        setting.progress(f"seed {model.seed}, {name}: {', '.join(rules)}")
        full = setting.answers(model, TASKS[name], False, loops)
        for exit in rules:
            row = {"seed": model.seed, "task": name, "rule": exit.partition(":")[0], "exit": exit}
            rows.append(row | beside(full, setting.answers(model, TASKS[name], False, loops, exit), loops))
    return rows


def beside(full: Answered, stopped: Answered, loops: int) -> dict[str, Any]:
    """A rule's answers beside those of the full loops."""
    return {
        "full_accuracy": full.accuracy,
        "accuracy": stopped.accuracy,
        "executed": stopped.executed / loops,
        "executed_answers": float(stopped.loops.mean()) / loops,
        "correlation": stopped.correlation,
        "loops_of_difficulty": {d: mean for d, (_, mean) in stopped.of_difficulty().items()},
    }


def extrapolation(setting: Setting) -> list[dict[str, Any]]:
    """Per seed, task and split: accuracy at multiples of the full loops, everyone running all of them."""
    rows = []
    for name, model in setting.models():
        for split in ("trained", "harder"):
            setting.progress(f"seed {model.seed}, {name}, {split}")
            for times in DEEPER:
                loops = times * loops_of(model)
                found = setting.answers(model, TASKS[name], split == "harder", loops)
                row = {"seed": model.seed, "task": name, "split": split, "times": times, "loops": loops}
                rows.append(row | {"accuracy": found.accuracy})
    return rows


def objectives(setting: Setting, variants: Sequence[str]) -> list[dict[str, Any]]:
    """Per variant, seed and task: accuracy at multiples of the full loops, also on harder questions; the loops of the
    calibrated rule that saves most. What was measured is kept beside the models, and found again."""
    rows = []
    for variant in variants:
        for name, model in setting.models(*PLAIN, *VARIANTS[variant]):
            setting.progress(f"{variant}, seed {model.seed}, {name}")
            kept = (
                setting.folder / f"{model.path.name}-{setting.count}-{setting.target:g}-{'-'.join(setting.rules)}.json"
            )
            if not kept.exists():
                kept.write_text(json.dumps(_compared(setting, name, model)), encoding="utf-8")
            row = {"variant": variant, "seed": model.seed, "task": name, "loss": model.loss}
            rows.append(row | json.loads(kept.read_text(encoding="utf-8")))
    return rows


def _compared(setting: Setting, name: str, model: Trained) -> dict[str, Any]:
    loops, rules = loops_of(model), rules_of(setting, model)
    row: dict[str, Any] = {}
    for times in DEEPER:
        row[f"accuracy_{times}x"] = setting.answers(model, TASKS[name], False, times * loops).accuracy
        row[f"harder_{times}x"] = setting.answers(model, TASKS[name], True, times * loops).accuracy
    exit = rules[0] if rules else "fixed"
    full = setting.answers(model, TASKS[name], False, loops)
    return row | {"exit": exit} | beside(full, setting.answers(model, TASKS[name], False, loops, exit), loops)
