"""Traces as events of the protocol: nested lists, None for what is not a number, and no line larger than a reader takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mythos.contract.config import DenseConfig, RecurrentConfig
from mythos.contract.errors import MythosError
from mythos.contract.protocol import AttentionResult, LensResult, SweepResult, TraceResult
from mythos.inspect.ondemand import Pattern
from mythos.inspect.trace import Trace

MOST_NUMBERS = 1_500_000
"""Numbers in one line, of about 8 bytes each."""
DIGITS = 6


def check_trace(config: DenseConfig | RecurrentConfig, tokens: int, loops: int, top: int) -> None:
    """Raises MythosError where the trace of so many tokens would not fit into a line."""
    if isinstance(config, DenseConfig):
        steps = rows = config.n_layers
        routed = 0
    else:
        steps, rows, routed = loops, config.prelude_layers + loops + config.coda_layers, config.experts_per_token
    check_numbers(tokens, steps * (2 * top + 6) + rows * config.n_heads + loops * (1 + 2 * routed))


def check_numbers(tokens: int, per_token: int) -> None:
    """Raises MythosError for too many numbers."""
    if tokens * per_token > MOST_NUMBERS:
        raise MythosError(
            f"{tokens} tokens with {per_token} numbers each are more than the workbench takes at once.",
            f"Shorten the text to {max(1, MOST_NUMBERS // per_token)} tokens; `mythos trace` writes a file of any size.",
        )


def trace_event(trace: Trace, id: str, seconds: float) -> TraceResult:
    """`trace_result`."""
    lens = LensResult(
        ids=trace.lens_ids.tolist(),
        p=lists(trace.lens_p),
        entropy=lists(trace.lens_entropy),
        kl=lists(trace.lens_kl),
        next_p=lists(trace.next_p),
        next_rank=trace.next_rank.tolist(),
        settled=trace.settled.tolist(),
        texts=trace.text_of(),
    )
    return TraceResult(
        id=id,
        tokens=trace.tokens,
        ids=trace.ids.tolist(),
        loops=trace.loops.tolist(),
        stopped=trace.stopped.tolist(),
        max_loops=trace.max_loops,
        exit=trace.exit,
        signal_name=trace.signal_name,
        exit_signal=lists(trace.exit_signal),
        attention_rows=trace.attention_rows,
        attention_entropy=lists(trace.attention_entropy),
        attention_max=lists(trace.attention_max),
        token_loss=lists(trace.token_loss),
        experts=int(trace.experts),
        routes=trace.routes.tolist(),
        gates=lists(trace.gates),
        steps=trace.steps,
        state_norm=lists(trace.state_norm),
        step_size=lists(trace.step_size),
        lens=lens,
        seconds=seconds,
    )


def attention_event(pattern: Pattern, id: str, head: int, seconds: float) -> AttentionResult:
    """`attention_result`: the lower triangle."""
    rows = [lists(weights[: t + 1]) if np.isfinite(weights[0]) else None for t, weights in enumerate(pattern.weights)]
    return AttentionResult(id=id, row=pattern.row, head=head, weights=rows, seconds=seconds)


def sweep_event(losses: np.ndarray, id: str, seconds: float) -> SweepResult:
    """`sweep_result`."""
    return SweepResult(id=id, losses=lists(losses), seconds=seconds)


def lists(values: np.ndarray) -> Any:
    """Nested lists in six significant digits, with None for whatever is not finite."""
    finite = np.isfinite(values)
    wide = np.where(finite, values, 0).astype(np.float64)
    size = np.floor(np.log10(np.abs(wide), where=wide != 0, out=np.zeros_like(wide)))
    scale = 10.0 ** np.clip(DIGITS - 1 - size, -300, 300)
    plain = (np.rint(wide * scale) / scale).astype(object)
    plain[~finite] = None
    return plain.tolist()
