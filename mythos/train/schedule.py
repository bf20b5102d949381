"""How long a run is, its learning rate as a share of the peak, and how deep each step goes.

Steps count from 0. A run has a length in steps (`train.length`); where minutes are limited as well, a step lies where its
share of the time is, if that is further on. `seconds` are those of training that lie behind a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mythos.contract.config import Config, RecurrentConfig, TrainConfig


def ended_by(step: int, config: Config, seconds: float = 0.0) -> str:
    """The limit that is reached after `step` steps, or "" while the run goes on."""
    train = config.train
    if step >= train.length:
        return "train.steps" if step >= train.steps else "train.max_tokens"
    return "train.max_minutes" if train.max_minutes and seconds >= 60 * train.max_minutes else ""


def seconds_left(step: int, config: Config, seconds: float, step_s: float) -> float:
    """Expected seconds to the end, at `step_s` seconds a step."""
    left = step_s * (config.train.length - step)
    minutes = config.train.max_minutes
    return max(0.0, min(left, 60 * minutes - seconds) if minutes else left)


def place(step: int, config: Config, seconds: float = 0.0) -> float:
    """Where a step lies among the `length` steps of the run: at its number, or further on where the time is shorter."""
    train = config.train
    if not train.max_minutes:
        return step
    return max(step, train.length * min(1.0, seconds / (60 * train.max_minutes)))


def lr_share(step: int, config: Config, seconds: float = 0.0) -> float:
    """Linear warm-up, then the schedule; where a gate learns alone at the end, the schedule once more for it."""
    train, alone, at = config.train, gate_steps(config), place(step, config, seconds)
    body = train.length - alone
    if alone and at >= body:
        return _decayed((at - body) / alone, train)
    warmup = min(1.0, (step + 1) / train.warmup_steps) if train.warmup_steps else 1.0
    return warmup * _decayed((at - train.warmup_steps) / max(1, body - train.warmup_steps), train)


def _decayed(progress: float, train: TrainConfig) -> float:
    """From 1 at progress 0 to `min_lr_ratio` at 1. wsd (warm-up, stable, decay): the 1 − sqrt decay of Hägele et al. 2024."""
    progress = min(1.0, max(0.0, progress))
    if train.schedule == "constant":
        return 1.0
    if train.schedule == "wsd":
        shape = 1 - math.sqrt(max(0.0, 1 - (1 - progress) / train.decay_share))
    elif train.schedule == "linear":
        shape = 1 - progress
    else:
        shape = 0.5 * (1 + math.cos(math.pi * progress))
    return train.min_lr_ratio + (1 - train.min_lr_ratio) * shape


def gate_steps(config: Config) -> int:
    """Last steps of a run, in which the gate of a frozen model learns; 0 for models without a gate or a choice of loops."""
    model = config.model
    gated = isinstance(model, RecurrentConfig) and model.halting == "gate" and model.max_loops > 1
    return round(config.objective.gate_share * config.train.length) if gated else 0


@dataclass(frozen=True)
class Plan:
    """One step of a recurrent model: how many loops run, after which it is read out (ascending, the last one always), and
    how many of the last loops carry gradient. `mixed`: every token stops at a depth of its own; `gate_only`: the model is
    frozen and its gate learns."""

    loops: int = 1
    depths: tuple[int, ...] = (1,)
    gradient_loops: int = 1
    mixed: bool = False
    gate_only: bool = False


GATE_DEPTHS = 4
"""Depths that a step reads out while the gate alone learns: cheap, since nothing carries gradient."""


class LoopSampler:
    """Draws the plan of each step.

    poisson: 1 + Poisson(mean − 1), cut at max_loops; uniform: 1…2·mean−1, cut likewise; fixed: the mean, which is
    `loops`, or rises to it during the curriculum. Warm-up loops without gradient come on top.
    """

    def __init__(self, config: Config) -> None:
        assert isinstance(config.model, RecurrentConfig)
        self.config, self.model, self.objective = config, config.model, config.objective
        self.steps = config.train.length
        self.gate_from = self.steps - gate_steps(config)
        self.rng = np.random.default_rng([config.train.seed, 0x100F5])

    def draw(self, step: int, seconds: float = 0.0) -> Plan:
        """The plan of a step. Draws follow each other: call it once per step."""
        objective, at = self.objective, place(step, self.config, seconds)
        if self.gate_from <= at < self.steps:
            most = self.model.max_loops
            return Plan(most, self._depths(1, most, GATE_DEPTHS), most, gate_only=True)
        count, warm = self._count(step), self._warmup(at)
        gradient = min(count, objective.backprop_loops or count)
        if objective.kind == "depth_supervised" and self.rng.random() < objective.mixed_exits:
            return Plan(warm + count, (warm + count,), gradient, mixed=True)
        single = objective.kind == "act"
        depths = self._depths(count - gradient + 1, count, 1 if single else objective.supervised_depths)
        return Plan(warm + count, tuple(warm + depth for depth in depths), gradient)

    def _count(self, step: int) -> int:
        grown = min(1.0, (step + 1) / self.objective.curriculum_steps) if self.objective.curriculum_steps else 1.0
        mean, kind = 1 + (self.model.loops - 1) * grown, self.objective.loop_sampling
        if kind == "poisson":
            count = 1 + int(self.rng.poisson(mean - 1))
        elif kind == "uniform":
            count = int(self.rng.integers(1, round(2 * mean)))
        else:
            count = round(mean)
        return min(count, self.model.max_loops)

    def _warmup(self, at: float) -> int:
        start = self.objective.warmup_loops_from * self.gate_from
        ramp = min(1.0, (at + 1 - start) / max(1.0, self.gate_from - start))
        most = math.ceil(self.objective.warmup_loops * max(0.0, ramp))
        return int(self.rng.integers(0, most + 1)) if most else 0

    def _depths(self, first: int, last: int, number: int) -> tuple[int, ...]:
        earlier = np.arange(first, last)
        extra = min(number - 1, len(earlier))
        chosen = self.rng.choice(earlier, size=extra, replace=False).tolist() if extra else []
        return (*sorted(chosen), last)

    def state(self) -> dict[str, Any]:
        return dict(self.rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state
