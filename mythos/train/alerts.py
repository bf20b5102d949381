"""The trainer's guard: reads the numbers of every logged record and tells of trouble once, when it begins.

A sign of trouble is the evidence, "" where all is well, or None where the record cannot tell. Signs that one record shows
by itself are in `mythos.train.signs`; those that need the past are here. An episode begins when a trouble has lasted its
patience and ends after `calm` records without it; only the beginning is told. Kinds, limits and advice are data in
`mythos.contract.alerts`. Loads no torch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from mythos.contract.alerts import PLAYBOOK, Alert, limit
from mythos.contract.config import Config
from mythos.train.signs import (
    about_memory,
    cross_entropy,
    expert_collapse,
    halting_collapse,
    kind_of_step,
    left_out,
    not_finite,
    relief,
    rho_at_bound,
    scaled_overflow,
    state_growth,
)

AT_ONCE = ("loss_spike", "gradient_spike", "overfitting")
"""Kinds that one record proves; the others must last."""


@dataclass
class Episode:
    """For how many records a trouble has been seen, since which step, for how many it has been gone, and if it was told."""

    seen: int = 0
    since: int = 0
    gone: int = 0
    told: bool = False

    def begins(self, bad: bool, step: int, at_once: bool) -> bool:
        """Count one record; True where the trouble is to be told now."""
        if not bad:
            self.seen, self.gone = 0, self.gone + 1
            self.told = self.told and self.gone < limit("calm")
            return False
        self.since = self.since if self.seen else step
        self.seen, self.gone = self.seen + 1, 0
        lasts = self.seen >= limit("patience") and step - self.since >= limit("patience_steps")
        if self.told or not (at_once or lasts):
            return False
        self.told = True
        return True


class Guard:
    """Judges one run. Knows numbers, not files; `state` makes a resumed run judge as one that never stopped."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.episodes: dict[str, Episode] = {}
        self.past: dict[str, deque[float]] = {}
        self.speed: deque[tuple[float, float]] = deque(maxlen=int(limit("slow_past") + limit("slow_window")))
        self.since = _window()
        self.evaluations: list[tuple[float, float]] = []
        self.step = 0

    def observe(self, metrics: dict[str, Any]) -> list[Alert]:
        """Judge one record of metrics.jsonl; returns the troubles that begin with it."""
        self.step = int(metrics["step"])
        broken, skipped = not_finite(metrics), left_out(metrics, "nan")
        at_once = bool(skipped) or not scaled_overflow(metrics, self.config)
        alerts = self._judge("nan", skipped or broken, at_once)
        if broken:
            return alerts
        self.since.append(cross_entropy(metrics))
        for kind, sign in self._signs().items():
            evidence = sign(metrics)
            skips = getattr(self.config.alerts, kind) == "skip"
            alerts += self._judge(kind, left_out(metrics, kind) if skips else evidence)
        return alerts

    def _signs(self) -> dict[str, Callable[[dict[str, Any]], str | None]]:
        return {
            "loss_spike": lambda m: self._spike("loss", cross_entropy(m), m),
            "gradient_spike": lambda m: self._spike("gradient", m["grad_norm"], m),
            "expert_collapse": lambda m: expert_collapse(m, self.config),
            "halting_collapse": lambda m: halting_collapse(m, self.config),
            "state_growth": state_growth,
            "rho_a": lambda m: rho_at_bound(m, self.config),
            "low_throughput": self._slow,
        }

    def evaluated(self, metrics: dict[str, Any]) -> list[Alert]:
        """Judge an evaluation: `loss` on held-out documents, in nats/token, and its `step` (default: the last record's)."""
        self.step = int(metrics.get("step", self.step))
        held_out = float(metrics["loss"])
        if not self.since or not math.isfinite(held_out):
            return []
        self.evaluations.append((held_out, median(self.since)))
        self.evaluations, self.since = self.evaluations[-int(limit("overfit_rises")) - 1 :], _window()
        return self._judge("overfitting", self._overfits())

    def out_of_memory(self, error: BaseException) -> Alert | None:
        """The alert for an error that is about memory, with the setting to change first; None for any other."""
        if not isinstance(error, MemoryError) and not about_memory(str(error)):
            return None
        train = self.config.train
        evidence = f"train.batch_size {train.batch_size} × train.sequence {train.sequence}"
        return Alert("out_of_memory", "error", self.step, evidence, relief(self.config), "stop")

    def state(self) -> dict[str, Any]:
        """Everything that later judgements rest on, as JSON; a few hundred numbers per kind of step."""
        return {
            "step": self.step,
            "episodes": {kind: asdict(episode) for kind, episode in self.episodes.items()},
            "past": {name: list(values) for name, values in self.past.items()},
            "speed": list(self.speed),
            "since": list(self.since),
            "evaluations": self.evaluations,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.step, self.since = int(state["step"]), _window(state["since"])
        self.episodes = {kind: Episode(**episode) for kind, episode in state["episodes"].items()}
        self.past = {name: _window(values) for name, values in state["past"].items()}
        self.speed.clear()
        self.speed.extend((time, speed) for time, speed in state["speed"])
        self.evaluations = [(held_out, training) for held_out, training in state["evaluations"]]

    def _judge(self, kind: str, evidence: str | None, at_once: bool = False) -> list[Alert]:
        episode = self.episodes.setdefault(kind, Episode())
        if evidence is None or not episode.begins(bool(evidence), self.step, at_once or kind in AT_ONCE):
            return []
        page = PLAYBOOK[kind]
        return [Alert(kind, page.level, self.step, evidence, page.advice, getattr(self.config.alerts, kind))]

    def _spike(self, name: str, value: float, metrics: dict[str, Any]) -> str | None:
        """In logarithms, only upwards: distance from the latest values of the same kind of step, in units of their spread.

        The spread is 1.4826 · median |difference of neighbours| / √2: a falling loss widens it less than it would a MAD.
        """
        kind = kind_of_step(len(metrics.get("state_norm") or []), metrics["loss_parts"], self.config)
        past = self.past.setdefault(f"{name} {kind}", _window())
        here, known, least = math.log(max(value, 1e-12)), list(past), int(limit("spike_least"))
        past.append(here)
        if len(known) < least:
            return None
        middle, floor, most = median(known[-least:]), limit(f"{name}_floor"), limit("spike_sigmas")
        if here - middle <= most * floor:
            return ""  # whatever the spread is
        spread = 1.4826 / math.sqrt(2) * median(abs(after - before) for before, after in pairwise(known))
        sigmas = (here - middle) / max(spread, floor)
        usual = f"{math.exp(middle):.4g}, the median of the last {least} steps of its kind"
        return f"{value:.4g}, {sigmas:.1f} robust deviations above {usual}" if sigmas > most else ""

    def _slow(self, metrics: dict[str, Any]) -> str | None:
        """FLOP/s rather than tokens/s, as steps differ in depth; not where the gate alone learns, which counts otherwise."""
        now_s = metrics["time"]
        if "gate" in metrics["loss_parts"] or (self.speed and now_s < self.speed[-1][0] + limit("slow_every")):
            return None
        self.speed.append((now_s, metrics["flops_per_s"]))
        recent = int(limit("slow_window"))
        if len(self.speed) < recent + limit("slow_least"):
            return None
        values = [speed for _, speed in self.speed]
        now, before = median(values[-recent:]), median(values[:-recent])
        slow = now < limit("slow_share") * before
        return f"{now:.3g} FLOP/s, {now / before:.0%} of the {before:.3g} before" if slow else ""

    def _overfits(self) -> str | None:
        if len(self.evaluations) <= limit("overfit_rises"):
            return None
        held_out, training = zip(*self.evaluations, strict=True)
        rises = all(after > before for before, after in pairwise(held_out))
        if not rises or held_out[-1] < held_out[0] * (1 + limit("overfit_rise")) or training[-1] >= training[0]:
            return ""
        told = f"{held_out[0]:.4f} → {held_out[-1]:.4f} held out"
        return f"{told}, {training[0]:.4f} → {training[-1]:.4f} in training, over {len(held_out)} evaluations"


def _window(values: Any = ()) -> deque[float]:
    return deque(values, maxlen=int(limit("spike_window")))
