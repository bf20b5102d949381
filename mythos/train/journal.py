"""How the training worker speaks and listens: status and events of the run, commands from its inbox and from signals."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mythos.contract.checkpoints import can_resume
from mythos.contract.errors import MythosError, RunError
from mythos.contract.liveness import process_identity
from mythos.contract.rundir import LineWriter, RunPaths, take_commands, write_atomic, write_json

STATUS_EVERY_S, INBOX_EVERY_S = 0.75, 0.2


class Stop(Exception):
    """Someone asked the worker to stop."""


class Gone(Exception):
    """The run's directory is no longer there: nobody can watch it, and nothing can be saved."""


def say(*words: object) -> None:
    """A line for output.log, lost where the disk refuses."""
    with suppress(OSError):
        print(*words, flush=True)


class Journal:
    """Status and events of the run: the worker's only way of speaking."""

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self.events = LineWriter(paths.events)
        self.status: dict[str, Any] = {
            "state": "preparing",
            "step": 0,
            "steps": 0,
            "tokens": 0,
            "eta_s": None,
            "loss": None,
            "family": "",
            "message": "starting",
            "progress": None,
            "last_checkpoint": None,
            "error": None,
            **process_identity(),
        }
        self._written = -STATUS_EVERY_S
        self._refused = False

    @property
    def is_due(self) -> bool:
        """Whether an `update` that is not forced would be written."""
        return time.monotonic() - self._written >= STATUS_EVERY_S

    def event(self, kind: str, **facts: Any) -> None:
        step = {"step": self.status["step"]} if self.status["step"] else {}
        self.events.write({"time": time.time(), "kind": kind, **step, **facts})

    def update(self, expect_next_in_s: float, force: bool = False, **facts: Any) -> None:
        """Write the status, at most every STATUS_EVERY_S unless forced. `expect_next_in_s` is a promise to readers.

        Only what is forced waits for the disk: the rest is of no use after a power cut, and a busy disk takes tens of
        milliseconds each time. Where the disk refuses, training goes on untold. Raises Gone where the run's directory was removed.
        """
        self.status.update(facts)
        if not force and not self.is_due:
            return
        self._written = time.monotonic()
        try:
            told = {**self.status, "updated": time.time(), "expect_next_in_s": expect_next_in_s}
            write_json(self.paths.status, told, durable=force)
            self._refused = False
        except OSError as error:
            if not self.paths.root.is_dir():
                raise Gone from None
            if not self._refused:
                say(f"status.json cannot be written: {error}; going on")
            self._refused = True

    def state(self, state: str, message: str, expect_next_in_s: float = 30.0, **facts: Any) -> None:
        """Change state: an event and a status at once."""
        say(time.strftime("%H:%M:%S"), message)
        self.event("state", state=state, message=message)
        self.update(expect_next_in_s, force=True, state=state, message=message, **facts)


class Control:
    """Commands from the inbox and from signals. `change` puts overrides in force and says what they changed.

    `can_save` once there are weights; `discard` where they are broken and a stop shall not save them.
    """

    def __init__(self, paths: RunPaths, journal: Journal, change: Callable[[list[str]], str]) -> None:
        self.paths, self.journal, self.change = paths, journal, change
        self.paused = False
        self.can_save = False
        self.discard = False
        self.save_ids: list[str] = []
        self.stop_requested = ""
        self._signalled = False
        self._checked = 0.0
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_term(self, number: int, frame: Any) -> None:
        if self._signalled:
            os._exit(128 + number)
        self._signalled = True
        self.stop_requested = self.stop_requested or signal.Signals(number).name

    def poll(self) -> None:
        """Read the inbox, at most every INBOX_EVERY_S."""
        now = time.monotonic()
        if now - self._checked < INBOX_EVERY_S:
            return
        self._checked = now
        for command in take_commands(self.paths):
            self._obey(command)

    def _obey(self, command: dict[str, Any]) -> None:
        name, identity = str(command.get("command", "")), str(command.get("id", ""))
        if name == "save" and self.can_save:
            self.save_ids.append(identity)  # acknowledged once it is done
            return
        if name == "kill":
            self.acknowledge(identity, name, True, "ended at once, nothing saved")
            stays = "the last checkpoint stays" if can_resume(self.paths.checkpoints) else "there was no checkpoint yet"
            self.journal.state("stopped", f"killed by command; {stays}", 0, eta_s=None)
            os._exit(0)
        if name == "stop":
            self.stop_requested = "stop command"
            self.acknowledge(identity, name, True, "stopping after saving")
        elif name in ("pause", "resume"):
            self.paused = name == "pause"
            self.acknowledge(identity, name, True, "pausing" if self.paused else "going on")
        elif name == "set":
            self.acknowledge(identity, name, *self._set(command.get("arguments")))
        elif name == "save":
            self.acknowledge(
                identity, name, False, "nothing to save yet: the run is being prepared; ask again once it trains"
            )
        else:
            self.acknowledge(identity, name, False, f"unknown or damaged command {name!r}")

    def _set(self, arguments: Any) -> tuple[bool, str]:
        overrides = arguments.get("overrides") if isinstance(arguments, dict) else None
        if not isinstance(overrides, list) or not all(isinstance(text, str) for text in overrides):
            return False, "set needs a list of overrides such as train.lr=0.001"
        try:
            return True, self.change(overrides)
        except MythosError as error:
            return False, str(error)

    def acknowledge(self, identity: str, command: str, ok: bool, message: str) -> None:
        say(time.strftime("%H:%M:%S"), f"command {command}: {message}")
        self.journal.event("command", id=identity, command=command, ok=ok, message=message)

    def should_stop(self) -> bool:
        """For long work that polls: whether to give up now."""
        self.poll()
        return bool(self.stop_requested)


def report_failure(journal: Journal, error: BaseException) -> None:
    """Tell the run directory what went wrong, in words a person can act on."""
    message = error.message if isinstance(error, MythosError) else str(error) or type(error).__name__
    hint = error.hint if isinstance(error, MythosError) else "output.log holds the details."
    if (
        isinstance(error, MemoryError)
        or "out of memory" in message.lower()
        or "can't allocate memory" in message.lower()
    ):
        hint = "Use a smaller train.batch_size or train.sequence."
    facts = {"type": type(error).__name__, "message": message, "hint": hint}
    journal.event("error", **facts)
    journal.state("failed", message, 0, error=facts, eta_s=None)


def cut_metrics(paths: RunPaths, step: int) -> int:
    """Drop the lines of metrics.jsonl beyond a step, which a resumed run will write again, and broken ones.

    Returns how many. Raises RunError where the folder refuses; the file is as it was then.
    """
    try:
        lines = paths.metrics.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _is_up_to(line, step)]
        if len(kept) < len(lines):
            write_atomic(paths.metrics, b"".join(kept).decode())  # a new file, so that its readers begin anew
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise RunError(
            f"{paths.metrics} cannot be written: {error.strerror}.", "Make room for it, or mend the folder."
        ) from None
    return len(lines) - len(kept)


def _is_up_to(line: bytes, step: int) -> bool:
    try:
        return bool(line.endswith(b"\n") and json.loads(line)["step"] <= step)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
