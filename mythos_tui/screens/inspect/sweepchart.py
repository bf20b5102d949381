"""The chart of loss over depth, with keys of its own: letters choose views here, and depths are few."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from textual.binding import Binding, BindingType

from mythos_tui.screens.inspect.tables import Look, mean_loss
from mythos_tui.widgets.chart import LineChart, Series
from mythos_tui.widgets.palette import SERIES


class SweepChart(LineChart, inherit_bindings=False):
    """Mean loss of a text and that of one token by number of loops (or layers), and where the exit rule stands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "depth(-1)", "Shallower", show=False, tooltip="Values at one loop or layer less"),
        Binding("right", "depth(1)", "Deeper", show=False, tooltip="Values at one loop or layer more"),
        Binding("y", "toggle_log", "Log y", tooltip="Logarithmic y axis"),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__("loss by depth", "nats", x_label="loops per token", id=id, empty="no losses yet")
        self.deepest = 1

    def show(self, look: Look) -> None:
        """Draw what is known of a look; nothing before its losses have come."""
        losses, trace = look.depth_losses(), look.trace
        if losses is None:
            self.set_series([])
            return
        self.deepest = len(losses)
        x = np.arange(1.0, self.deepest + 1)
        series = [
            Series("mean of all tokens", x, mean_loss(losses), SERIES[0], best="min"),
            Series("token at the cursor", x, losses[:, look.token], SERIES[1]),
        ]
        if trace.has_depth:
            loops, loss = trace.exit_point()
            series.append(Series(f"exit rule {trace.exit}", np.array([loops]), np.array([loss]), SERIES[3], "points"))
        self.x_label = "loops per token" if trace.has_depth else "layer"
        self.set_series(series)

    def action_depth(self, by: int) -> None:
        """Move the crosshair by a depth."""
        at = self.crosshair + by if self.crosshair is not None else 1
        self.crosshair = float(min(max(1, round(at)), self.deepest))
