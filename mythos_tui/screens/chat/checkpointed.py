"""What Chat and Inspect share: a chosen checkpoint, its loading, and what to say when something goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Static

from mythos.contract.checkpoints import CheckpointInfo
from mythos.contract.protocol import Error, Ready
from mythos_tui.actions import bindings
from mythos_tui.screens.base import WorkbenchScreen
from mythos_tui.screens.chat import catalog
from mythos_tui.screens.chat.controls import Controls
from mythos_tui.screens.chat.picker import NO_CHECKPOINT, CheckpointPicker
from mythos_tui.widgets.text import visible
from mythos_tui.workers.inference import InferenceClient
from mythos_tui.workers.inference_messages import InferenceEvent, InferenceStage, WorkerDied

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp

STAGES = {"starting": "starting the inference worker…", "loading": "loading the checkpoint…", "running": ""}

CHOOSE_ANOTHER = "[checkpoint.choose_checkpoint] chooses another checkpoint."
AFTER_DEATH = f"Try again: a new worker is started for it. {CHOOSE_ANOTHER}"


class CheckpointScreen(WorkbenchScreen):
    """A screen that asks the inference worker about one checkpoint, the same on every such screen."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = bindings("checkpoint")

    app: MythosApp

    def __init__(self) -> None:
        super().__init__()
        self.checkpoint: Path | None = None
        self.ready: Ready | None = None
        self.request = ""
        self._loading = ""
        self._facts: CheckpointInfo | None = None
        self._stage = ""
        self._stage_began = 0.0
        self._clock: Timer | None = None

    @property
    def client(self) -> InferenceClient:
        """The application's inference client, made on first use."""
        if self.app.inference is None:
            self.app.inference = InferenceClient()
        return self.app.inference

    def compose_checkpoint(self) -> ComposeResult:
        """The line about the checkpoint, and room for a notice below it."""
        with Horizontal(id="checkpoint-line"):
            yield Static("", id="checkpoint", markup=False)
            yield Static("", id="stage", markup=False)
        yield Static("", id="notice", markup=False)

    # Choosing

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Follow a choice that was made elsewhere, and look again where there was nothing to choose."""
        chosen: Path | None = self.app.last_checkpoint or self.checkpoint
        if chosen is None:
            self._choose_first()
        elif chosen != self.checkpoint or (self.ready is None and not self._loading and not self.request):
            self._choose(chosen)

    @work(exclusive=True, group="first")
    async def _choose_first(self) -> None:
        """The newest run's latest checkpoint, else the first shipped one."""
        found = await asyncio.to_thread(catalog.all_checkpoints, self.app.context)
        if self.checkpoint is None and found:
            self.use_checkpoint(found[0].path)
        elif self.checkpoint is None:
            self.show_notice(self.app.with_keys(NO_CHECKPOINT), fault=False)
            self._show_line()

    def use_checkpoint(self, path: Path) -> None:
        """Work with this checkpoint from now on, here and on the other screens."""
        self.app.select_checkpoint(path)
        if self.is_mounted and path != self.checkpoint:
            self._choose(path)

    def _choose(self, path: Path) -> None:
        self.checkpoint, self.ready, self._facts = path, self.client.info(path), None
        self.show_notice("")
        self._describe(path)
        if self.ready is None:
            self._loading = self.client.load(path, self)
        self._show_line()
        self.checkpoint_changed()

    @work(exclusive=True, group="describe")
    async def _describe(self, path: Path) -> None:
        facts = await asyncio.to_thread(catalog.about, path)
        if path == self.checkpoint:
            self._facts = facts
            self._show_line()

    def action_choose_checkpoint(self) -> None:
        """Open the list of checkpoints."""
        self.pick_checkpoint(self.checkpoint, self.use_checkpoint)

    def pick_checkpoint(self, current: Path | None, use: Callable[[Path], None]) -> None:
        """Have a checkpoint chosen from the list, and use it."""

        def chosen(info: CheckpointInfo | None) -> None:
            if info is not None:
                use(info.path)

        self.app.push_screen(CheckpointPicker(self.app.context, current), chosen)

    def action_toggle_panel(self) -> None:
        """Show or hide the side panel."""
        panel = self.query_one(".panel")
        panel.display = not panel.display

    def read_settings(self) -> dict[str, Any] | None:
        """The panel's values; None where one is wrong, which then has the focus, with a toast."""
        controls = self.query_one(Controls)
        if (values := controls.read()) is None:
            self.query_one(".panel").display = True
            self.call_after_refresh(controls.read)  # a hidden field took no focus
            said = "A setting is out of its range: mend it in the panel at the right, where you are now."
            self.notify(said, severity="error")
        return values

    # What is shown

    def _show_line(self) -> None:
        if self.checkpoint is None:
            text = "no checkpoint yet"
        else:
            text = catalog.sentence(self._facts) if self._facts else self.checkpoint.name
            if self.ready and self.ready.max_loops > 1:
                text += f" · {self.ready.loops} loops · exit {self.ready.exit}"
        self.query_one("#checkpoint", Static).update(visible(text))
        seconds = int(time.monotonic() - self._stage_began)
        clock = f" {seconds} s" if seconds else ""
        self.query_one("#stage", Static).update(f" {self._stage}{clock}" if self._stage else "")

    def show_notice(self, text: str, fault: bool = True) -> None:
        """Some lines below the checkpoint; an empty text takes them away."""
        notice = self.query_one("#notice", Static)
        notice.update(visible(text, keep="\n"))
        notice.display = bool(text)
        notice.set_class(fault, "-fault")

    def _show_stage(self, stage: str) -> None:
        self._stage = STAGES.get(stage, stage)
        self._stage_began = time.monotonic()
        if self._clock is None:
            self._clock = self.set_interval(1, self._show_line)
        (self._clock.resume if self._stage else self._clock.pause)()
        self._show_line()

    # What the worker says

    @on(InferenceStage)
    def _stage_reached(self, message: InferenceStage) -> None:
        if message.id == self._loading or self.expects(message.id):
            self._show_stage(message.stage)

    @on(InferenceEvent)
    def _event_arrived(self, message: InferenceEvent) -> None:
        event = message.event
        if isinstance(event, Ready):
            self._loaded(event)
        elif isinstance(event, Error) and (event.id == self._loading or self.expects(event.id)):
            self._failed(event)
        elif self.expects(event.id):
            self.answer(event)

    def _loaded(self, ready: Ready) -> None:
        if ready.id == self._loading:
            self._loading = ""
        self.ready = self.client.info(self.checkpoint) if self.checkpoint else None
        self._show_stage("")
        self.checkpoint_changed()

    def _failed(self, error: Error) -> None:
        self._loading = "" if error.id == self._loading else self._loading
        self._show_stage("")
        hint = error.hint or ("" if self.ready else self.app.with_keys(CHOOSE_ANOTHER))
        self.show_notice(f"{error.message}\n{hint}".strip())
        if self.expects(error.id):
            self.answer_failed(error.id, error.message)

    @on(WorkerDied)
    def _worker_died(self, message: WorkerDied) -> None:
        if message.id != self._loading and not self.expects(message.id):
            return
        last_words = [line for line in message.stderr_tail.splitlines() if line.strip()][-3:]
        self._loading = ""
        self._show_stage("")
        self.show_notice("\n".join([message.reason, *last_words, self.app.with_keys(AFTER_DEATH)]))
        if self.expects(message.id):
            self.answer_failed(message.id, message.reason)

    # For subclasses

    def checkpoint_changed(self) -> None:
        """Another checkpoint was chosen, or what it can do has become known (`ready`)."""

    def expects(self, id: str) -> bool:
        """Whether an answer to this request is waited for."""
        return bool(id) and id == self.request

    def answer(self, event: Any) -> None:
        """An event that answers a request."""

    def answer_failed(self, id: str, reason: str) -> None:
        """A request ended without an answer; the notice says so already."""
        self.request = ""
