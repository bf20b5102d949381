"""What the configuration will cost, beside the form while it is written."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from mythos.contract.budget import CHINCHILLA, Budget, budget
from mythos.contract.config import Config
from mythos.contract.machine import Machine
from mythos_tui.screens.units import billions, duration, short, size

COLUMN_FROM = 108
"""From this width of the terminal on there is a column for the budget (as in screen.tcss)."""

MEMORY, THERE = "Training memory", "there is"
BRIEF_NAMES = {
    "active per token": "active",
    MEMORY: "memory",
    "Expected speed": "speed",
    "Expected time": "time",
}
QUIET = "$foreground-muted"

Row = tuple[str, str, str]


def rows(found: Budget, family: str, memory_bytes: int | None = None) -> list[Row]:
    """(label, value, unit) of everything; an empty label is a blank line. `memory_bytes` is what there is, where that is known."""
    count = found.parameters
    first = "  prelude" if family == "recurrent" else "  blocks"
    parts = [("  embedding", billions(count.embedding), ""), (first, billions(count.prelude), "")]
    if family == "recurrent":
        parts += [("  looped block", billions(count.recurrent), ""), ("  coda", billions(count.coda), "")]
    return [
        ("Parameters", billions(count.total), ""),
        ("  active per token", billions(count.active), ""),
        *parts,
        ("", "", ""),
        (
            f"Forward, {found.loops} loops" if family == "recurrent" else "Forward",
            short(found.flops_forward),
            "FLOPs/token",
        ),
        ("Training", short(found.flops_training), "FLOPs/token"),
        ("KV cache", *_split(size(found.kv_bytes), "/token")),
        ("", "", ""),
        (MEMORY, *_split(size(found.training_bytes), " or so")),
        *([(f"  {THERE}", *_split(size(memory_bytes), ""))] if memory_bytes else []),
        ("Checkpoint", *_split(size(found.checkpoint_bytes), "")),
        ("Tokens", billions(found.tokens), ""),
        ("  per parameter", short(found.tokens_per_parameter), ""),
        ("  Chinchilla ratio", short(found.tokens_per_parameter / CHINCHILLA), f"1 is {CHINCHILLA}"),
    ]


def expected_rows(config: Config, machine: Machine | None) -> list[Row]:
    """How long it takes here: measured peak × the share of it that runs of this machine use."""
    if machine is None:
        return [("", "", ""), ("Expected speed", "…", "measuring"), ("Expected time", "…", "")]
    share = f"{machine.utilisation:.0%} of {short(machine.peak_flops)}FLOP/s"
    return [
        ("", "", ""),
        ("Expected speed", short(machine.tokens_per_s(config)), "tokens/s"),
        ("Expected time", *_split(duration(machine.seconds(config)), "")),
        ("  at", share, "") if not machine.run else ("  as lately", share, ""),
    ]


def _split(text: str, rest: str) -> tuple[str, str]:
    value, _, unit = text.partition(" ")
    return value, unit + rest


class BudgetPanel(Widget):
    """The live budget. While the configuration is wrong, the last right one stays, greyed."""

    DEFAULT_CSS = """
    BudgetPanel { height: auto; }
    """

    def __init__(self) -> None:
        super().__init__(id="budget")
        self._rows: list[Row] = []
        self._valid = False
        self._too_large = False
        self._config: Config | None = None
        self.machine: Machine | None = None

    def show(self, config: Config | None) -> None:
        """Show the cost of this configuration, or that there is none."""
        self._valid = config is not None
        self._config = config or self._config
        if self._config is not None:
            config, machine = self._config, self.machine
            found = budget(config, machine.precision_of(config)) if machine else budget(config)
            memory = machine.memory_bytes if machine else None
            self._too_large = bool(memory and found.training_bytes > memory)
            self._rows = rows(found, config.model.family, memory) + expected_rows(config, machine)
        self.refresh(layout=True)

    def on_machine(self, machine: Machine) -> None:
        """From now on tell the time that this machine needs."""
        self.machine = machine
        valid = self._valid
        self.show(self._config)
        self._valid = valid

    @property
    def values(self) -> dict[str, str]:
        """What is shown, by label."""
        return {label.strip(): value for label, value, _ in self._rows if label}

    def render(self) -> Content:
        return self.column() if self.app.size.width >= COLUMN_FROM else self._strip()

    def _strong(self, label: str) -> str:
        """Style of a value: one that this machine lacks the memory for stands out."""
        if not self._valid:
            return "$foreground-disabled"
        return "bold $error" if label == MEMORY and self._too_large else "bold"

    def column(self) -> Content:
        """One figure a line, as `DiagramScreen` shows it too where there is no column for it."""
        lines = [
            Content.styled("Budget" if self._valid else "Budget of the last valid state", "bold $accent"),
            Content(""),
        ]
        for label, value, unit in self._rows:
            strong = self._strong(label)
            lines.append(Content.assemble((f"{label:<18}", QUIET), (f"{value:>8}", strong), (f" {unit}", QUIET)))
        return Content("\n").join(lines)

    def _strip(self) -> Content:
        """Two lines of three figures each, one below the other."""
        wanted = ("Parameters", "active per token", MEMORY, "Tokens", "Expected speed", "Expected time")
        cells: list[tuple[str, str, str, str]] = []
        by_label = {label.strip(): (value, unit) for label, value, unit in self._rows}
        for plain in wanted:
            if plain in by_label:
                value, unit = by_label[plain]
                brief = unit.removesuffix(" or so").replace("tokens/s", "tok/s")
                if plain == MEMORY and self._too_large:
                    brief += " ✗"  # what there is stands in the column, also behind `configure.diagram`
                name = BRIEF_NAMES.get(plain, plain.lower())
                cells.append((name, value, f" {brief}" if brief else "", self._strong(plain)))
        lines = []
        for line in (cells[:3], cells[3:]):
            parts: list[str | tuple[str, str]] = []
            for column, (name, value, unit, strong) in enumerate(line):
                widest = max(sum(map(len, cell[:3])) for cell in cells[column::3])
                rest = " " * (widest - len(name + value + unit) + 2)
                parts += [(f"{name} ", QUIET), (value, strong), (unit + rest, QUIET)]
            lines.append(Content.assemble(*parts))
        return Content("\n").join(lines)
