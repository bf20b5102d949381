"""The depth dial: how many loops a token may take, and the rule by which it stops earlier, always in view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from mythos.contract.config import EXIT_RULES
from mythos.contract.protocol import Ready
from mythos_tui.widgets.text import visible

THRESHOLDS = {"gate": "0.8", "confidence": "0.9", "kl": "0.01", "state_delta": "0.05"}
DOTS = 16
MOST_LOOPS = 1024
"""As many as the protocol takes."""
STEPS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.07,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    0.95,
    0.99,
)
"""Thresholds that a key press goes to; any other can be typed in the panel."""


@dataclass(frozen=True)
class Depth:
    """As typed: `loops` "" is the checkpoint's own number, `rule` "" its own rule with its own threshold."""

    loops: str = ""
    rule: str = ""
    threshold: str = ""

    @property
    def exit(self) -> str:
        """As the protocol takes it."""
        return f"{self.rule}:{self.threshold}" if EXIT_RULES.get(self.rule) else self.rule

    @property
    def number(self) -> int:
        """The loops that were typed; 0 where that is no number, or none that can be asked for."""
        try:
            typed = int(self.loops)
        except ValueError:
            return 0
        return typed if 0 < typed <= MOST_LOOPS else 0

    def deeper(self, by: int, ready: Ready) -> Depth:
        """More or fewer loops, from 1 on; beyond what it was trained for stays possible."""
        return replace(self, loops=str(min(MOST_LOOPS, max(1, (self.number or ready.loops) + by))))

    def next_rule(self, ready: Ready) -> Depth:
        """The next rule that the checkpoint takes, its own first, each with its calibrated or a usual threshold."""
        names = rules_of(ready)
        rule = names[(names.index(self.rule) + 1) % len(names)] if self.rule in names else ""
        return replace(self, rule=rule, threshold=threshold_of(rule, ready))

    def stricter(self, by: int, ready: Ready) -> Depth:
        """The next threshold up or down; the checkpoint's own rule is then named with it."""
        rule, _, given = ready.exit.partition(":") if not self.rule else (self.rule, "", self.threshold)
        if not EXIT_RULES.get(rule):
            return self
        try:
            now = float(given)
        except ValueError:
            return replace(self, rule=rule, threshold=threshold_of(rule, ready))
        others = [step for step in STEPS if (step > now * 1.0001 if by > 0 else step < now * 0.9999)]
        step = (others[0] if by > 0 else others[-1]) if others else now
        return replace(self, rule=rule, threshold=f"{step:g}")

    def line(self, ready: Ready | None, name: str = "", active: bool = True) -> Text:
        """As one line, such as "depth ●●●●○○○○ 4 of 8 loops, fewer by state_delta:0.07"."""
        text = Text(f"{name or 'depth'} ", "bold" if active else "dim", end="")
        if ready is None:
            return text.append("not known before the checkpoint is loaded", "dim")
        if ready.max_loops <= 1:
            return text.append("none: a dense model computes tokens once", "dim")
        loops = self.number or ready.loops
        most = max(ready.max_loops, loops)
        if most <= DOTS:
            text.append("●" * loops).append("○" * (most - loops), "dim").append(" ")
        text.append(f"{loops} loop{'s' if loops > 1 else ''}")
        if loops > ready.max_loops:
            text.append(f" (trained for {ready.max_loops})", "dim")
        rule = self.exit or ready.exit
        stops = "" if rule == "fixed" else f", fewer by {visible(rule)}"
        return text.append(stops or ", every token", "" if stops else "dim")


@dataclass
class Side:
    """One of the two answers that can stand side by side: whose, and how deep."""

    depth: Depth = Depth()
    checkpoint: Path | None = None


def threshold_of(rule: str, ready: Ready | None) -> str:
    """Where a rule's threshold begins: what was calibrated for the checkpoint, else a usual value; "" where it has none."""
    known = dict(one.partition(":")[::2] for one in ready.exits) if ready else {}
    return known.get(rule) or THRESHOLDS.get(rule, "")


def rules_of(ready: Ready) -> list[str]:
    """Rules to choose from: "" is the checkpoint's own."""
    known = [one.partition(":")[0] for one in ready.exits]
    return ["", *(rule for rule in dict.fromkeys(known) if rule in EXIT_RULES and rule != "auto")]


def dial(sides: list[tuple[Depth, Ready | None, str]], active: int) -> Text:
    """The lines of all sides, the active one marked."""
    names = ["", ""] if len(sides) == 1 else ["A", "B"]
    lines = []
    for number, (depth, ready, title) in enumerate(sides):
        name = f"{'▶' if number == active else ' '} {names[number]}" if len(sides) > 1 else ""
        line = depth.line(ready, name, number == active)
        if title:
            line.append(f" · {visible(title)}", "dim")
        lines.append(line)
    return Text("\n").join(lines)
