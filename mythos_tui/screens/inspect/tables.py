"""Every view of a trace as a table: what its map draws, its explanation names and its export writes.

A view is a function of a `Look`: a trace with a cursor on a token, a step, a row of attention and a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mythos_tui.screens.inspect.trace import Floats, Trace
from mythos_tui.widgets.text import visible

FLIP = "›"


@dataclass
class Look:
    """A trace and where one looks in it. `step` is a loop (or layer), `row` a row of attention, `to` a position that is attended
    to, from 0 each.

    `measures` says per view which of its numbers is shown. `patterns` (T, T) by row and head and `losses` (N, T) are what
    was asked for one at a time.
    """

    trace: Trace
    token: int = 0
    step: int = 0
    row: int = 0
    head: int = 0
    to: int = 0
    measures: dict[str, int] = field(default_factory=dict)
    patterns: dict[tuple[int, int], Floats] = field(default_factory=dict)
    losses: Floats | None = None

    def measure(self, view: str) -> int:
        return self.measures.get(view, 0) % len(MEASURES[view]) if view in MEASURES else 0

    def depth_losses(self) -> Floats | None:
        """(N, T) loss of each token by depth: as asked for, or for a dense model what each layer's lens gives."""
        if self.trace.has_depth:
            return self.losses
        found = np.full((len(self.trace.steps), len(self.trace.tokens)), np.nan)
        with np.errstate(divide="ignore"):
            found[:, 1:] = -np.log(self.trace.lens.came[:-1].T)
        return found


MEASURES: dict[str, tuple[str, ...]] = {
    "lens": ("probability", "KL to the final", "entropy"),
    "attention": ("nats", "share of the maximum"),
    "depth": ("nats", "share of the maximum"),
    "experts": ("experts", "weight of the first"),
    "states": ("step size", "norm"),
}
"""What a view can show; the first is shown at first."""


@dataclass(frozen=True)
class Table:
    """A matrix with names: rows by columns, on a scale. `texts` are written into the cells instead of the numbers.

    `notes` stand behind the rows' names and stay where those are cut; `marks` are the columns of an exit. `wide` is how
    wide a cell should be, `least` how narrow it may get before the map scrolls. `empty` tells why nothing is there.
    """

    row_name: str
    col_name: str
    values: Floats
    rows: Sequence[str]
    cols: Sequence[str]
    scale: tuple[float, float] = (0.0, 1.0)
    unit: str = ""
    notes: Sequence[str] = ()
    marks: Sequence[int] | NDArray[np.int64] = ()
    texts: Callable[[int, int], str] | None = None
    categories: Sequence[str] | None = None
    wide: int = 7
    least: int = 1
    empty: str = "no trace yet"


def nothing(why: str) -> Table:
    """No picture, and why."""
    return Table("token", "loop", np.zeros((0, 0)), (), (), empty=why)


def numbers(count: int) -> list[str]:
    return [str(number + 1) for number in range(count)]


def _loops(trace: Trace) -> list[str]:
    """The loops of each token, behind its name."""
    digits = len(str(int(trace.loops.max(initial=1))))
    return [f"{int(count):>{digits}}" for count in trace.loops] if trace.has_depth else []


def _exits(trace: Trace) -> Any:
    return trace.loops - 1 if trace.has_depth else ()


def _ceiling(values: Floats, least: float = 0.0) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return 0.0, max(least, float(finite.max()) if finite.size else 1.0) or 1.0


def halting(look: Look) -> Table:
    """The exit rule's number, token by loop."""
    trace = look.trace
    if not trace.has_depth:
        return nothing("a dense model computes every token once")
    scale, unit = trace.halting_scale(), "nats" if "nats" in trace.signal_name else ""
    cols, notes = numbers(trace.max_loops), _loops(trace)
    return Table("token", "loop", trace.halting(), trace.tokens, cols, scale, unit, notes, _exits(trace))


def lens(look: Look) -> Table:
    """The likeliest next token, token by step, tinted by its probability, its distance to the final one, or its entropy."""
    trace, kind = look.trace, look.measure("lens")
    flips = trace.lens.flips()
    values = (trace.lens.p[:, :, 0] if trace.lens.p.shape[2] else trace.lens.kl, trace.lens.kl, trace.lens.entropy)[
        kind
    ]

    def text(token: int, step: int) -> str:
        return (FLIP if flips[token, step] else " ") + visible(trace.lens.best(token, step), spaces=True)

    return Table(
        "token",
        step_name(trace),
        values,
        trace.tokens,
        numbers(len(trace.steps)),
        (0.0, 1.0) if kind == 0 else _ceiling(values, 0.01),
        "" if kind == 0 else "nats",
        _loops(trace),
        _exits(trace),
        text,
        wide=16,
        least=6,
    )


def attention(look: Look) -> Table:
    """Attention entropy at one row, token by head."""
    trace, relative = look.trace, bool(look.measure("attention"))
    values = trace.attention(relative)[look.row] if trace.rows else np.zeros((len(trace.tokens), 0))
    scale, unit = trace.attention_scale(relative), "" if relative else "nats"
    return Table("token", "head", values, trace.tokens, numbers(trace.heads), scale, unit)


def depth(look: Look) -> Table:
    """Attention entropy of one token, row by head."""
    trace, relative = look.trace, bool(look.measure("depth"))
    values, scale = trace.attention(relative)[:, look.token], trace.attention_scale(relative)
    return Table("at", "head", values, trace.rows, numbers(trace.heads), scale, "" if relative else "nats")


def pattern(look: Look) -> Table:
    """What each token attends to, at one row and head; the first tokens, which see little, do not set the scale."""
    trace, found = look.trace, look.patterns.get((look.row, look.head))
    if found is None:
        return nothing("asking the model for the pattern…")
    computed = found[~np.isnan(found[:, 0])]
    top = float(np.quantile(np.nanmax(computed, axis=1), 0.8)) if len(computed) else 1.0
    return Table("token", "to position", found, trace.tokens, numbers(len(trace.tokens)), (0.0, top), wide=5)


def experts(look: Look) -> Table:
    """Experts that each token used, token by loop."""
    trace = look.trace
    if not trace.experts:
        return nothing("this model has no routed experts")
    first = np.where(trace.routes[:, :, 0] < 0, np.nan, trace.routes[:, :, 0])
    kind, cols, notes, exits = look.measure("experts"), numbers(trace.max_loops), _loops(trace), _exits(trace)
    if kind:
        return Table("token", "loop", trace.gates[:, :, 0], trace.tokens, cols, (0.0, 1.0), "", notes, exits)

    def text(token: int, loop: int) -> str:
        return " " + " ".join(str(one) for one in trace.routes[token, loop] if one >= 0)

    names = [f"expert {number}" for number in range(trace.experts)]
    wide = 2 + trace.routes.shape[2] * (1 + len(str(trace.experts - 1)))
    return Table(
        "token", "loop", first, trace.tokens, cols, (0.0, float(trace.experts)), "", notes, exits, text, names, max(7, wide), 5
    )  # fmt: skip


def states(look: Look) -> Table:
    """How large the state is and how far each step moved it, token by step."""
    trace, kind = look.trace, look.measure("states")
    values = trace.norm if kind else trace.change
    cols, scale = numbers(len(trace.steps)), _ceiling(values)
    unit = "RMS" if kind else "of the state"
    return Table("token", step_name(trace), values, trace.tokens, cols, scale, unit, _loops(trace), _exits(trace))


def loss(look: Look) -> Table:
    """The loss of every token."""
    values = look.trace.loss[:, None]
    return Table("token", "", values, look.trace.tokens, ["loss"], _ceiling(values), "nats", _loops(look.trace))


def sweep(look: Look) -> Table:
    """The loss at every depth: of all tokens on average, and of the one at the cursor."""
    found = look.depth_losses()
    if found is None:
        return nothing("asking the model for the loss at every depth…")
    rows = np.stack((mean_loss(found), found[:, look.token]), axis=1)
    return Table(
        step_name(look.trace), "", rows, numbers(len(found)), ["mean of all tokens", "token"], _ceiling(rows), "nats"
    )


def mean_loss(losses: Floats) -> Floats:
    """(N,) of (N, T): over all tokens but the first."""
    return losses[:, 1:].mean(axis=1) if losses.shape[1] > 1 else np.full(len(losses), np.nan)


def step_name(trace: Trace) -> str:
    return "loop" if trace.has_depth else "layer"


TABLES: dict[str, Callable[[Look], Table]] = {
    one.__name__: one for one in (halting, lens, attention, depth, pattern, experts, states, loss, sweep)
}
