"""A trace as arrays, frozen. T tokens, L loops, R rows of attention, H heads, N steps, K candidates, k experts; NaN is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mythos.contract.protocol import LensResult, TraceResult

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Lens:
    """What each step would say, row t of what comes after token t: ids (T, N, K) and rank (T, N) −1 where not run,
    p (T, N, K), entropy and kl (T, N) in nats, came (T, N) the probability of what came, settled (T,) a step from 1."""

    ids: Whole
    p: Floats
    entropy: Floats
    kl: Floats
    came: Floats
    rank: Whole
    settled: Whole
    texts: Mapping[int, str]

    @classmethod
    def of(cls, lens: LensResult, tokens: int, steps: int) -> Lens:
        k = max((len(one) for row in lens.p for one in row), default=0)
        return cls(
            ids=whole(lens.ids, (tokens, steps, k)),
            p=floats(lens.p, (tokens, steps, k)),
            entropy=floats(lens.entropy, (tokens, steps)),
            kl=floats(lens.kl, (tokens, steps)),
            came=floats(lens.next_p, (tokens, steps)),
            rank=whole(lens.next_rank, (tokens, steps)),
            settled=whole(lens.settled, (tokens,)),
            texts=lens.texts,
        )

    def best(self, token: int, step: int) -> str:
        """Text of the likeliest next token, "" where nothing was read out."""
        return self.texts.get(int(self.ids[token, step, 0]), "") if self.ids.shape[2] else ""

    def flips(self) -> NDArray[np.bool_]:
        """(T, N): whether the likeliest token differs from that of the step before."""
        found = np.zeros(self.ids.shape[:2], dtype=bool)
        if self.ids.shape[2]:
            best = self.ids[:, :, 0]
            found[:, 1:] = (best[:, 1:] != best[:, :-1]) & (best[:, 1:] >= 0)
        return found


@dataclass(frozen=True)
class Trace:
    """What the worker saw inside. signal (T, L), entropy (R, T, H) and the most that it can be (T,) in nats, loss (T,) in nats,
    loops (T,), routes and gates (T, L, k), norm (RMS) and change (relative) of the state (T, N)."""

    tokens: tuple[str, ...]
    ids: Whole
    loops: Whole
    stopped: NDArray[np.bool_]
    max_loops: int
    exit: str
    signal_name: str
    signal: Floats
    rows: tuple[str, ...]
    entropy: Floats
    most_entropy: Floats
    loss: Floats
    experts: int
    routes: Whole
    gates: Floats
    steps: tuple[str, ...]
    norm: Floats
    change: Floats
    lens: Lens
    seconds: float

    @classmethod
    def of(cls, result: TraceResult) -> Trace:
        """From the protocol's nested lists; what is missing or ragged becomes NaN."""
        count, loops, steps = len(result.tokens), max(1, result.max_loops), len(result.steps)
        heads = max((len(one) for row in result.attention_entropy for one in row), default=0)
        k = max((len(one) for row in result.routes for one in row), default=0)
        return cls(
            tokens=tuple(result.tokens),
            ids=np.array(result.ids, dtype=np.int64),
            loops=np.array(result.loops, dtype=np.int64),
            stopped=np.array(result.stopped, dtype=bool),
            max_loops=loops,
            exit=result.exit,
            signal_name=result.signal_name,
            signal=floats(result.exit_signal, (count, loops)),
            rows=tuple(result.attention_rows),
            entropy=floats(result.attention_entropy, (len(result.attention_rows), count, heads)),
            most_entropy=floats(result.attention_max, (count,)),
            loss=floats(result.token_loss, (count,)),
            experts=result.experts,
            routes=whole(result.routes, (count, loops, k)),
            gates=floats(result.gates, (count, loops, k)),
            steps=tuple(result.steps),
            norm=floats(result.state_norm, (count, steps)),
            change=floats(result.step_size, (count, steps)),
            lens=Lens.of(result.lens, count, steps),
            seconds=result.seconds,
        )

    @property
    def heads(self) -> int:
        return int(self.entropy.shape[2])

    @property
    def has_depth(self) -> bool:
        """Whether tokens could take different numbers of loops."""
        return self.max_loops > 1

    @property
    def has_signal(self) -> bool:
        return bool(np.isfinite(self.signal).any())

    def ran(self, token: int) -> int:
        """Steps that a token took: its loops, or all layers."""
        return int(self.loops[token]) if self.has_depth else len(self.steps)

    def halting(self) -> Floats:
        """(T, L): the exit signal where there is one, else 1 at every loop that was computed; NaN after the exit."""
        if self.has_signal:
            return self.signal
        computed = np.arange(self.max_loops)[None, :] < self.loops[:, None]
        return np.where(computed, 1.0, np.nan)

    def halting_scale(self) -> tuple[float, float]:
        """Ends of the halting scale: 0 to 1 for a probability (a sum of them may go beyond), else to the greatest value."""
        if "probability" in self.signal_name:
            return 0.0, 1.0
        finite = self.signal[np.isfinite(self.signal)]
        most = float(finite.max()) if finite.size else 1.0
        return min(0.0, float(finite.min()) if finite.size else 0.0), most or 1.0

    def attention(self, relative: bool) -> Floats:
        """(R, T, H) in nats, or as a share of its maximum (none for the first token, whose maximum is 0)."""
        if not relative:
            return self.entropy
        most = self.most_entropy[None, :, None]
        return np.divide(self.entropy, most, out=np.full_like(self.entropy, np.nan), where=most > 0)

    def attention_scale(self, relative: bool) -> tuple[float, float]:
        """One scale for all rows and tokens, so that colours can be compared between views."""
        return (0.0, 1.0) if relative else (0.0, max(0.1, float(self.most_entropy.max(initial=0.0))))

    def exit_point(self) -> tuple[float, float]:
        """(mean loops, mean loss) of the predictions of all tokens but the first."""
        if len(self.tokens) < 2:
            return float("nan"), float("nan")
        return float(self.loops[:-1].mean()), float(np.nanmean(self.loss[1:]))


def floats(values: Any, shape: tuple[int, ...]) -> Floats:
    """Nested lists as float64 of a shape, NaN for what is None or missing."""
    found = np.full(shape, np.nan)
    _fill(found, values, np.float64)
    return found


def whole(values: Any, shape: tuple[int, ...]) -> Whole:
    """Nested lists as int64 of a shape, −1 for what is missing."""
    found = np.full(shape, -1, dtype=np.int64)
    _fill(found, values, np.int64)
    return found


def _fill(found: NDArray[Any], values: Any, dtype: Any) -> None:
    """Put nested lists, which may be ragged or too long, into an array."""
    try:
        array = np.array(values, dtype=dtype)
        if array.shape == found.shape:
            found[...] = array
            return
    except ValueError:
        pass
    for part, value in zip(found, values, strict=False):
        if found.ndim > 1:
            _fill(part, value, dtype)
        else:
            row = np.array(values[: len(found)], dtype=dtype)
            found[: row.size] = row
            return


def triangle(weights: list[list[float] | None]) -> Floats:
    """Rows of attention weights up to each position, (T, T), NaN where nothing was computed or is in sight."""
    found = np.full((len(weights), len(weights)), np.nan)
    for t, row in enumerate(weights):
        if row is not None:
            found[t, : len(row)] = row
    return found
