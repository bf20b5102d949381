"""What one pass through the loop keeps count of: who still runs, what is read out, and the telemetry.

B batch, T positions, D width, L loops. A pass in which no token can stop early (exit rule `fixed`, no ACT) asks no rule and
keeps no masks; everything about it is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mythos.contract.config import RecurrentConfig
from mythos.models.halting import Act, ExitRule, Halt, LoopView, RunAll, build_read_out, unit
from mythos.models.moe import is_free_to_read
from mythos.models.telemetry import Output, Telemetry


class Ledger:
    """The books of a chunk [B, T]. After every loop: `observe`, then `exit_check`. `read_out` is for rules that read out."""

    def __init__(
        self,
        config: RecurrentConfig,
        halt: Halt | None,
        rule: ExitRule,
        shape: torch.Size,
        device: torch.device,
        read_out: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.config, self.rule, self._read_out = config, rule, read_out
        self.shape, self.device = shape, device
        self.active = torch.ones(shape, dtype=torch.bool, device=device)
        self.loops = torch.zeros(shape, dtype=torch.int64, device=device)
        self.whole = isinstance(rule, RunAll)  # nobody stops before the last loop
        self.act = Act(halt) if halt is not None and config.halting == "act" else None
        self.gate = halt if config.halting == "gate" else None
        self.gate_p: Tensor | None = None
        keep = config.halted_tokens == "run" and not self.whole
        self.reader = build_read_out(config.state_read_out, self.act is not None, keep)
        self.signals: list[Tensor] = []
        self.halt_p: list[Tensor] = []
        self.gate_logits: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.routers: list[Any] = []
        self.evaluations = 0
        rule.start()

    def observe(self, before: Tensor, state: Tensor, stats: Any, evaluations: int | None = None) -> None:
        """A loop has led from `before` to `state` [B, T, D]; `evaluations` tokens went through the block (None: all)."""
        self.reader.observe(state)
        if self.act is not None:
            self.halt_p.append(self._of_those_who_ran(self.act.observe(state)))
        if self.gate is not None:
            self.gate_logits.append(self.gate(unit(before), unit(state)))
            self.gate_p = self.gate_logits[-1].sigmoid()
            self.halt_p.append(self._of_those_who_ran(self.gate_p))
        self.norms.append(self._rms(state.detach()))
        self.evaluations += self.loops.numel() if evaluations is None else evaluations
        if stats is not None:
            self.routers.append(stats)

    def _rms(self, state: Tensor) -> Tensor:
        """RMS of the states [B, T, D] of those who ran this loop, []; 0 where nobody did."""
        if self.whole or not self.norms or is_free_to_read(state):
            ran = state if self.whole or not self.norms else state[self.active]
            return torch.linalg.vector_norm(ran) / max(ran.numel(), 1) ** 0.5
        values = (self.active.sum() * state.shape[-1]).clamp(min=1)
        return torch.linalg.vector_norm(torch.where(self.active.unsqueeze(-1), state, 0)) / values.sqrt()

    def exit_check(self, loop: int, before: Tensor, after: Tensor, last: bool) -> None:
        """Ask the rule after loop `loop` (0-based), and let those stop of whom it says so, and everyone at the last."""
        if self.whole and self.act is None:
            return
        view = LoopView(
            loop + 1,
            before,
            after,
            self.active,
            self.act.halted_p() if self.act else None,
            self.peek,
            self._log_probs,
            self.gate_p,
        )
        said, signal = self.rule(view)
        stop = torch.ones_like(said) if last else said
        filled = stop if self.config.act_remainder else said
        self.reader.settle(self.active, stop, self.act.settle(self.active, stop, filled) if self.act else None)
        self.loops += self.active
        self.signals.append(_where(self.active, signal))
        self.active = self.active & ~stop

    def peek(self) -> Tensor:
        """What would be read out if every active token stopped now, [B, T, D]."""
        left = 1 - self.act.cumulative + torch.zeros_like(self.act.halted_p()) if self.act else None
        return self.reader.peek(left)

    def _log_probs(self) -> Tensor:
        assert self._read_out is not None
        return self._read_out(self.peek()).float().log_softmax(-1)

    def _of_those_who_ran(self, p: Tensor) -> Tensor:
        return p.detach().float() if self.config.halted_tokens == "run" else _where(self.active, p)

    def telemetry(self, n_loops: int, a: Tensor | None) -> Telemetry:
        """The facts of the pass, which was to run at most `n_loops` with the injection's A [D]."""
        if self.signals:
            loops, signals = self.loops, _padded(self.signals, n_loops)
        else:
            numbers = torch.arange(1.0, n_loops + 1, device=self.device)
            loops, signals = torch.full_like(self.loops, n_loops), numbers.expand(*self.shape, n_loops)
        return Telemetry(
            loops=loops,
            signals=signals,
            halt_p=_padded(self.halt_p, n_loops) if self.halt_p else None,
            gate_logits=torch.stack(self.gate_logits, dim=-1) if self.gate_logits else None,
            ponder_cost=self.act.ponder if self.act and isinstance(self.act.ponder, Tensor) else None,
            norms=torch.stack(self.norms),
            rho=a.detach().max() if a is not None else None,
            block_evaluations=self.evaluations,
            routers=self.routers,
        )


def _where(active: Tensor, x: Tensor) -> Tensor:
    return torch.where(active, x.detach().float(), torch.nan)


def _padded(columns: list[Tensor], n_loops: int) -> Tensor:
    """Stack [B, T] columns to [B, T, L], NaN for loops that nobody ran."""
    missing = n_loops - len(columns)
    return torch.stack(columns + [torch.full_like(columns[0], torch.nan)] * missing, dim=-1)


def join(parts: list[Output]) -> Output:
    """Outputs of consecutive chunks as one."""
    telemetry = [part.telemetry for part in parts]

    def cat(name: str) -> Tensor | None:
        held = [getattr(t, name) for t in telemetry]
        return None if held[0] is None else torch.cat(held, dim=1)

    loops = cat("loops")
    assert loops is not None
    deepest = max(telemetry, key=lambda t: 0 if t.norms is None else len(t.norms))
    joined = Telemetry(
        loops=loops,
        signals=cat("signals"),
        halt_p=cat("halt_p"),
        ponder_cost=cat("ponder_cost"),
        norms=deepest.norms,
        rho=telemetry[0].rho,
        block_evaluations=sum(t.block_evaluations for t in telemetry),
        routers=[router for t in telemetry for router in t.routers],
    )
    return Output(torch.cat([part.logits for part in parts], dim=1), joined)
