"""What the background of a token tells."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from rich.text import Text

from mythos_tui.chats.conversation import Piece
from mythos_tui.widgets.palette import LEVELS, ink
from mythos_tui.widgets.text import subscript

KINDS = ("loops", "probability", "entropy")
MOST_NATS = 6.0


@dataclass(frozen=True)
class Tint:
    """`kind` is loops, probability or entropy, on a scale from `low` to `high`."""

    kind: str
    low: float
    high: float

    def share(self, piece: Piece) -> float | None:
        """Place on the scale as TokenView wants it, 1 to 2; None for no tint."""
        value = {"loops": piece.loops, "probability": piece.probability, "entropy": piece.entropy}[self.kind]
        if value is None or self.high <= self.low:
            return None
        return 1 + min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def mark(self, share: float) -> str:
        """The value of a place on the scale, for terminals without colour: loops and nats whole, probability in tenths."""
        value = self.low + (share - 1) * (self.high - self.low)
        return subscript(round(value * (10 if self.kind == "probability" else 1)))

    def legend(self, colour: bool = True) -> Text:
        """The scale, such as "loops 1 ▇▇▇▇▇▇▇▇ 8"; without colour what the small digits are."""
        unit = {"loops": "loops", "probability": "probability", "entropy": "entropy, nats"}[self.kind]
        if not colour:
            tenths = "tenths of " if self.kind == "probability" else ""
            return Text(f"small digits: {tenths}{unit}", end="")
        text = Text(f"{unit} {self.low:g} ", end="")
        for step in range(8):
            text.append("▇", Style.chain(ink(round(step / 7 * (LEVELS - 1)))))
        return text.append(f" {self.high:g}{'+' if self.kind == 'entropy' else ''}")


def tint_for(kind: str, max_loops: int) -> Tint:
    """The scale of a kind; loops run from 1 to the most that any token could take."""
    low, high = {"loops": (1.0, float(max_loops)), "probability": (0.0, 1.0), "entropy": (0.0, MOST_NATS)}[kind]
    return Tint(kind, low, high)
