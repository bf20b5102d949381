"""Which charts a run gets, and how metrics become series, maps and bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mythos_tui.runs.snapshot import Floats, RunSnapshot
from mythos_tui.widgets.chart import Series
from mythos_tui.widgets.palette import SERIES

BLUE, AMBER, GREEN, PINK = SERIES[0], SERIES[1], SERIES[2], SERIES[3]


@dataclass(frozen=True)
class Curve:
    """One curve of a chart: the metric's key, its name in the legend, and its colour."""

    key: str
    name: str
    colour: str


@dataclass(frozen=True)
class Panel:
    """A chart. Line charts have curves (`prefix`: one for each metric that begins so); maps show a `vector` over time, bars
    the newest of it (`share`: in per cent of its sum); `evaluation` adds held-out points. `extra` panels are not shown until
    somebody chooses them."""

    id: str
    title: str
    unit: str
    help: str
    curves: tuple[Curve, ...] = ()
    prefix: str = ""
    vector: str = ""
    first: int = 0
    row_name: str = ""
    share: bool = False
    bars: bool = False
    evaluation: str = ""
    y_log: bool = False
    smoothing: float = 0.0
    recurrent: bool = False
    extra: bool = False

    def applies(self, snapshot: RunSnapshot) -> bool:
        """Whether the run has, or will have, something to show here."""
        keys = [curve.key for curve in self.curves] + [self.vector] * bool(self.vector)
        if any(snapshot.has(key) for key in keys) or (self.prefix and _parts(self, snapshot)):
            return True
        if snapshot.steps.size:
            return bool(self.evaluation) and not self.curves
        return not self.recurrent or snapshot.summary.family != "dense"


PANELS: tuple[Panel, ...] = (
    Panel("loss", "Loss", "nats/token", "Training loss of each logged step, and the loss on held-out documents.",
          (Curve("loss", "training", BLUE),), evaluation="loss", smoothing=0.6),
    Panel("ponder", "Ponder", "loops/token", "Mean loops that a token took.",
          (Curve("ponder", "mean", GREEN),), recurrent=True),
    Panel("experts", "Expert load", "% of tokens", "Share of routed tokens that each expert got, over time.",
          vector="expert_load", row_name="expert", share=True, recurrent=True),
    Panel("bits", "Held out", "bits/byte", "Evaluations on documents kept out of training.", evaluation="bits_per_byte"),
    Panel("depths", "Loops taken", "% of tokens", "Tokens that took 1, 2, … loops between logged steps, over time.",
          vector="loops_histogram", first=1, row_name="loops", share=True, recurrent=True),
    Panel("speed", "Speed", "tokens/s", "Training speed between logged steps.", (Curve("tokens_per_s", "tokens/s", SERIES[5]),)),
    Panel("gradient", "Gradient norm", "", "Norm of the gradient before clipping.",
          (Curve("grad_norm", "norm", AMBER),), y_log=True),
    Panel("parts", "Loss parts", "nats/token", "What the loss is made of: cross-entropy at the deepest read-out, earlier "
          "read-outs (shallow), ponder cost, and what balances the router.", prefix="loss_parts.", y_log=True),
    Panel("entropy", "Router entropy", "nats", "Mean entropy of the router's distribution; log E is no preference at all.",
          (Curve("router_entropy", "entropy", SERIES[4]),), recurrent=True),
    Panel("state", "State norm", "RMS", "RMS of the looped state after each loop, over time.",
          vector="state_norm", first=1, row_name="loop", recurrent=True),
    Panel("rho", "ρ(A)", "", "Spectral radius of A: the largest share of the state that a loop keeps; below 1 is stable.",
          (Curve("rho_a", "ρ(A)", PINK),), recurrent=True),
    Panel("rate", "Learning rate", "", "Learning rates of AdamW and Muon.",
          (Curve("lr", "AdamW", BLUE), Curve("muon_lr", "Muon", AMBER))),
    Panel("use", "Utilisation", "% of peak", "Model FLOPs as a share of the matmul peak measured at start.",
          (Curve("used", "used", SERIES[6]),)),
    Panel("experts-now", "Expert load now", "% of tokens", "Share of routed tokens that each expert got lately; the line is an "
          "even share.", vector="expert_load", share=True, bars=True, recurrent=True, extra=True),
    Panel("depths-now", "Loops now", "% of tokens", "Tokens that took 1, 2, … loops since the last logged step.",
          vector="loops_histogram", first=1, share=True, bars=True, recurrent=True, extra=True),
    Panel("state-now", "State norm now", "RMS", "RMS of the looped state after each loop, latest line.",
          vector="state_norm", first=1, bars=True, recurrent=True, extra=True),
)  # fmt: skip


def _parts(panel: Panel, snapshot: RunSnapshot) -> list[str]:
    return [key for key in snapshot.scalars if key.startswith(panel.prefix)]


def _curves(panel: Panel, snapshot: RunSnapshot) -> list[Curve]:
    if not panel.prefix:
        return [curve for curve in panel.curves if snapshot.has(curve.key)]
    keys = _parts(panel, snapshot)
    return [
        Curve(key, key.removeprefix(panel.prefix).replace("_", " "), SERIES[index % len(SERIES)])
        for index, key in enumerate(keys)
    ]


def series_of(panel: Panel, snapshot: RunSnapshot, axis: str) -> list[Series]:
    """The curves of a line chart on the chosen x axis; views of the columns, nothing copied."""
    x = snapshot.x(axis)
    shown = [Series(one.name, x, snapshot.values(one.key), one.colour) for one in _curves(panel, snapshot)]
    if panel.evaluation:
        shown += held_out(panel.evaluation, snapshot, axis, "points" if panel.curves else "line")
    return shown


def held_out(
    key: str, snapshot: RunSnapshot, axis: str, kind: Any, name: str = "held out", colour: str = AMBER
) -> list[Series]:
    """Evaluations, placed by their step among the metrics lines."""
    found = snapshot.evaluations
    y = found.bits_per_byte if key == "bits_per_byte" else found.loss
    if not y.size:
        return []
    at = found.step
    if axis != "step":
        steps, x = snapshot.steps, snapshot.x(axis)
        known = np.isfinite(steps) & np.isfinite(x)
        at = np.interp(found.step, steps[known], x[known]) if known.any() else at
    return [Series(name, at, y, colour, kind=kind)]


def map_of(panel: Panel, snapshot: RunSnapshot, axis: str) -> tuple[Floats, NDArray[Any], list[str]]:
    """x (n,), values (n, rows) and the rows' labels of a map over time."""
    values = snapshot.vectors.get(panel.vector, np.zeros((0, 0), np.float32))
    return snapshot.x(axis)[: len(values)], values, [f"{index + panel.first}" for index in range(values.shape[1])]


def bars_of(panel: Panel, snapshot: RunSnapshot) -> tuple[Floats, list[str], float | None]:
    """Newest values, labels and reference of a bar chart."""
    values = snapshot.latest.get(panel.vector)
    if values is None:
        return np.zeros(0), [], None
    if panel.share:
        values = values * (100.0 / max(float(np.nansum(values)), 1e-12))
    labels = [f"{index + panel.first}" for index in range(values.size)]
    return values, labels, 100.0 / values.size if panel.vector == "expert_load" else None
