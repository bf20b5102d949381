"""The system panel: what the machine is doing, and what the selected run's worker takes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.content import Content

from mythos.contract.words import counted
from mythos_tui.screens.units import bar, short, size
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import crop, visible

if TYPE_CHECKING:
    from mythos_tui.runs.machine import Machine
    from mythos_tui.runs.snapshot import RunSnapshot

LABEL, GAUGE = 8, 12
SPARK = "▁▂▃▄▅▆▇█"
Fact = tuple[str, float | None, str]
"""(label, share for a gauge or None, text)"""


def spark(shares: tuple[float, ...], width: int) -> str:
    """The newest shares (0..1) as a line of little bars."""
    return "".join(SPARK[min(7, max(0, int(share * 8)))] for share in shares[-width:]) if width > 0 else ""


class SystemPanel(Rows):
    """One line each: processors, memory, GPUs where there are any, disk, worker, device."""

    help_text = (
        "What this machine is doing, read once a second. Worker: what the selected run's process takes, where it lives here. "
        "Device: what the worker said it trains on. GPUs are told of where a driver and the package nvidia-ml-py are."
    )
    empty = "Reading …"
    DEFAULT_CSS: ClassVar[str] = "SystemPanel { background: $surface; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__(id="machine")
        self._machine: Machine | None = None
        self._device: dict[str, Any] = {}
        self._live = False
        self._told: list[Fact] | None = None

    @property
    def count(self) -> int:
        return len(self._facts)

    @property
    def marks_cursor(self) -> bool:
        return self.has_focus

    def row(self, index: int, width: int) -> Content:
        label, share, text = self._facts[index]
        parts: list[str | tuple[str, str]] = [(f"{label:<{LABEL}}", "$foreground-muted")]
        if share is not None:
            full, rest = bar(share, GAUGE)
            parts += [(full, "$warning" if share > 0.9 else "$primary"), (rest, "$foreground 18%"), " "]
        used = LABEL + (GAUGE + 1 if share is not None else 0)
        return Content.assemble(*parts, crop(text, max(0, width - used)))

    def redraw(self) -> None:
        self._told = None
        super().redraw()

    def show_machine(self, machine: Machine) -> None:
        """Show this reading."""
        self._machine = machine
        self.redraw()

    def show(self, snapshot: RunSnapshot) -> None:
        """Take over what the run says of its device."""
        device, live = dict(snapshot.device), snapshot.summary.is_live
        if (device, live) != (self._device, self._live):
            self._device, self._live = device, live
            self.redraw()

    @property
    def _facts(self) -> list[Fact]:
        """What the rows say, put together once for each drawing."""
        if self._told is None:
            self._told = self._tell(self._machine) if self._machine else []
        return self._told

    def _tell(self, machine: Machine) -> list[Fact]:
        found: list[Fact] = []
        busy = machine.cpu[-1] if machine.cpu else 0.0
        room = max(0, self.size.width - LABEL - GAUGE - 18)
        cores = f"{len(machine.cores)} cores"
        found.append(("CPU", busy, f"{busy:>4.0%} of {cores}  {spark(machine.cpu, min(60, room))}"))
        swap = f"  swap {size(machine.swap)}" if machine.swap > 1 << 20 else ""
        total = machine.memory_total or 1
        found.append(
            ("Memory", machine.memory / total, f"{size(machine.memory)} of {size(machine.memory_total)}{swap}")
        )
        for index, gpu in enumerate(machine.gpus):
            memory = f"{size(gpu.memory)} of {size(gpu.memory_total)}"
            found.append((f"GPU {index}", gpu.used, f"{gpu.used:>4.0%}  {memory}  {visible(gpu.name)}"))
        found.append(("Worker", None, self._worker(machine)))
        if self._device:
            found.append(("Device", None, _device(self._device)))
        if machine.disk_free is not None:
            found.append(("Disk", None, f"{size(machine.disk_free)} free for runs"))
        return found

    def _worker(self, machine: Machine) -> str:
        if worker := machine.worker:
            return f"{worker.cores:.1f} cores  {size(worker.memory)}  {counted(worker.threads, 'thread')}  pid {worker.pid}"
        return "on another machine, or just starting" if self._live else "none: the selected run has ended"


def _device(device: dict[str, Any]) -> str:
    """`cpu bf16 · 2 threads · peak 420GFLOP/s`, the peak that a large matmul had at the start."""
    parts = [" ".join(visible(str(device[key])) for key in ("device", "precision") if device.get(key))]
    if device.get("threads"):
        threads = visible(str(device["threads"]))
        parts.append(f"{threads} thread{'s' * (threads != '1')}")
    peak = device.get("matmul_peak_flops")
    if isinstance(peak, int | float) and peak > 0:
        parts.append(f"peak {short(float(peak))}FLOP/s")
    return " · ".join(part for part in parts if part)
