"""Metrics between two logged steps. Tensors are only read when lines are made, several at once where steps are short."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from mythos.contract.alerts import SKIPPABLE
from mythos.train.loop import StepResult

LeftOut = dict[str, list[tuple[int, float]]]
"""Steps that were left out, each with the loss or gradient norm that was the reason, by kind."""


@dataclass
class Stretch:
    """The steps of one line: of the latest all that it told, of each one what is summed over them."""

    last: StepResult | None = None
    flops: float = 0.0
    tokens: int = 0
    loops: list[Tensor] = field(default_factory=list)
    loads: list[Tensor] = field(default_factory=list)
    judged: list[tuple[Tensor, int, Tensor, Tensor]] = field(default_factory=list)
    """(reasons to leave out the update, step, loss, gradient norm) of steps that were judged."""
    skipped: LeftOut = field(default_factory=dict)
    """What an earlier worker left out since the last line that it wrote."""

    def add(self, result: StepResult) -> None:
        telemetry = result.telemetry
        self.last = result
        self.flops += result.flops
        self.tokens += telemetry.loops.numel()
        self.loops.append(telemetry.loops)
        if (load := telemetry.expert_load) is not None:
            self.loads.append(load)
        if result.skipped is not None:
            loss = result.parts.get("cross_entropy", result.loss)
            self.judged.append((result.skipped, result.step, loss, result.grad_norm))


class Meter:
    """Collects step results; `close` ends a line of metrics.jsonl, and `flush` works out those that have ended.

    Working out a line takes several times as long between two steps, which leave none of it in the processor's caches, as
    right after another line.
    """

    def __init__(self, peak_flops: float, max_loops: int, skipped: LeftOut | None = None) -> None:
        self.peak_flops = peak_flops
        self.max_loops = max_loops
        self._stretch = Stretch(skipped=skipped or {})
        self._closed: list[tuple[Stretch, float, float]] = []
        self._since = time.perf_counter()
        self._paused = 0.0

    def add(self, result: StepResult) -> None:
        self._stretch.add(result)

    def exclude(self, seconds: float) -> None:
        """Time that was no training (evaluation, checkpoint, pause) does not count against throughput."""
        self._paused += seconds

    @property
    def skipped(self) -> LeftOut:
        """Steps that were left out since the last line."""
        return _skipped(self._stretch)

    @property
    def has_lines(self) -> bool:
        return bool(self._closed)

    def close(self) -> None:
        """The steps since the last line make one, at this moment."""
        now = time.perf_counter()
        self._closed.append((self._stretch, max(1e-9, now - self._since - self._paused), time.time()))
        self._stretch, self._since, self._paused = Stretch(), now, 0.0

    def flush(self) -> list[dict[str, Any]]:
        """The lines that have been closed since the last flush."""
        closed, self._closed = self._closed, []
        return [self._line(*facts) for facts in closed]

    def _line(self, stretch: Stretch, seconds: float, at: float) -> dict[str, Any]:
        """Means since the last line for throughput, loops and router; the latest step for everything else."""
        last = stretch.last
        assert last is not None, "a line is of one step at least"
        flops_per_s = stretch.flops / seconds
        line: dict[str, Any] = {
            "step": last.step,
            "time": at,
            "tokens": last.tokens,
            "loss": float(last.loss),
            "loss_parts": {name: float(part) for name, part in last.parts.items()},
            "lr": last.lr,
            "muon_lr": last.muon_lr,
            "grad_norm": float(last.grad_norm),
            "tokens_per_s": stretch.tokens / seconds,
            "flops_per_s": flops_per_s,
            "utilisation": flops_per_s / self.peak_flops,
        }
        if last.telemetry.norms is not None:
            line |= self._recurrent(stretch, last)
        if skipped := _skipped(stretch):
            line["skipped"] = skipped
        return line

    def _recurrent(self, stretch: Stretch, last: StepResult) -> dict[str, Any]:
        loops = torch.cat(stretch.loops) if len(stretch.loops) > 1 else stretch.loops[0]
        histogram = loops.flatten().bincount(minlength=self.max_loops + 1)[1:].tolist()
        line: dict[str, Any] = {
            "ponder": sum(depth * tokens for depth, tokens in enumerate(histogram, 1)) / loops.numel(),
            "loops_histogram": histogram,
            "rho_a": last.telemetry.rho_a,
            "state_norm": last.telemetry.state_norm,
        }
        if stretch.loads:
            load = reduce(torch.add, stretch.loads).tolist()
            choices = max(1, sum(load))
            line["expert_load"] = [count / choices for count in load]
            entropy = last.telemetry.router_entropy
            line["router_entropy"] = None if entropy is None else float(entropy)
        return {key: value for key, value in line.items() if value is not None}


def _skipped(stretch: Stretch) -> LeftOut:
    found = {kind: [*steps] for kind, steps in stretch.skipped.items()}
    reasons = torch.stack([flags for flags, *_ in stretch.judged]).tolist() if stretch.judged else []
    for (_, step, loss, norm), flags in zip(stretch.judged, reasons, strict=True):
        for kind in [kind for kind, flag in zip(SKIPPABLE, flags, strict=True) if flag]:
            found.setdefault(kind, []).append((step, float(norm if kind == "gradient_spike" else loss)))
    return found
