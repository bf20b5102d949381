"""Metrics between two logged steps. Tensors are only read when lines are made, several at once where steps are short."""

from __future__ import annotations

import time
from typing import Any

import torch

from mythos.contract.alerts import SKIPPABLE
from mythos.train.loop import StepResult


class Meter:
    """Collects step results; `close` ends a line of metrics.jsonl, and `flush` works out those that have ended.

    Working out a line takes several times as long between two steps, which leave none of it in the processor's caches, as
    right after another line.
    """

    def __init__(self, peak_flops: float, max_loops: int) -> None:
        self.peak_flops = peak_flops
        self.max_loops = max_loops
        self._results: list[StepResult] = []
        self._closed: list[tuple[list[StepResult], float, float]] = []
        self._since = time.perf_counter()
        self._paused = 0.0

    def add(self, result: StepResult) -> None:
        self._results.append(result)

    def exclude(self, seconds: float) -> None:
        """Time that was no training (evaluation, checkpoint, pause) does not count against throughput."""
        self._paused += seconds

    @property
    def has_lines(self) -> bool:
        return bool(self._closed)

    def close(self) -> None:
        """The steps since the last line make one, at this moment."""
        now = time.perf_counter()
        self._closed.append((self._results, max(1e-9, now - self._since - self._paused), time.time()))
        self._results, self._since, self._paused = [], now, 0.0

    def flush(self) -> list[dict[str, Any]]:
        """The lines that have been closed since the last flush."""
        closed, self._closed = self._closed, []
        return [self._line(*facts) for facts in closed]

    def _line(self, results: list[StepResult], seconds: float, at: float) -> dict[str, Any]:
        """Means since the last line for throughput, loops and router; the latest step for everything else."""
        last = results[-1]
        tokens = sum(result.telemetry.loops.numel() for result in results)
        flops_per_s = sum(result.flops for result in results) / seconds
        line: dict[str, Any] = {
            "step": last.step,
            "time": at,
            "tokens": last.tokens,
            "loss": float(last.loss),
            "loss_parts": {name: float(part) for name, part in last.parts.items()},
            "lr": last.lr,
            "muon_lr": last.muon_lr,
            "grad_norm": float(last.grad_norm),
            "tokens_per_s": tokens / seconds,
            "flops_per_s": flops_per_s,
            "utilisation": flops_per_s / self.peak_flops,
        }
        if last.telemetry.state_norm:
            line |= self._recurrent(results, last)
        if skipped := _skipped(results):
            line["skipped"] = skipped
        return line

    def _recurrent(self, results: list[StepResult], last: StepResult) -> dict[str, Any]:
        loops = torch.cat([result.telemetry.loops.flatten() for result in results])
        histogram = torch.bincount(loops, minlength=self.max_loops + 1)[1:].tolist()
        line: dict[str, Any] = {
            "ponder": sum(depth * tokens for depth, tokens in enumerate(histogram, 1)) / len(loops),
            "loops_histogram": histogram,
            "rho_a": last.telemetry.rho_a,
            "state_norm": last.telemetry.state_norm,
        }
        loads = [load for result in results if (load := result.telemetry.expert_load) is not None]
        if loads:
            total = torch.stack(loads).sum(0).cpu().double()
            line["expert_load"] = (total / total.sum()).tolist()
            entropy = last.telemetry.router_entropy
            line["router_entropy"] = None if entropy is None else float(entropy)
        return {key: value for key, value in line.items() if value is not None}


def _skipped(results: list[StepResult]) -> dict[str, list[tuple[int, float]]]:
    """Steps that were left out, each with the loss or gradient norm that was the reason, by kind."""
    judged = [(result, result.skipped) for result in results if result.skipped is not None]
    found: dict[str, list[tuple[int, float]]] = {}
    reasons = torch.stack([flags for _, flags in judged]).tolist() if judged else []
    for (result, _), flags in zip(judged, reasons, strict=True):
        for kind in [kind for kind, flag in zip(SKIPPABLE, flags, strict=True) if flag]:
            loss = result.parts.get("cross_entropy", result.loss)
            value = float(result.grad_norm if kind == "gradient_spike" else loss)
            found.setdefault(kind, []).append((result.step, value))
    return found
