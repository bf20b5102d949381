"""What background work tells the screens: frozen pictures, newer ones replacing older ones that nobody drew yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from mythos.contract.watch import RunSummary
    from mythos_tui.runs.machine import Machine
    from mythos_tui.runs.snapshot import Acknowledgement, RunSnapshot


@dataclass
class RunsListed(Message):
    """The run list, newest first."""

    runs: tuple[RunSummary, ...]

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


@dataclass
class RunUpdated(Message):
    """A run that is watched closely has news."""

    snapshot: RunSnapshot

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunUpdated) and message.snapshot.summary.name == self.snapshot.summary.name


@dataclass
class MachineSeen(Message):
    """What the machine is doing now."""

    machine: Machine

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, MachineSeen)


@dataclass
class CommandAcknowledged(Message):
    """A worker has answered a command."""

    acknowledgement: Acknowledgement


@dataclass
class LaunchEnded(Message):
    """A training worker was launched, or could not be: `error` is then what the command line said."""

    run: str
    error: str = ""
