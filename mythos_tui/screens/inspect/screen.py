"""The Inspect screen: one text, seen from inside, on any checkpoint and on each new one of a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Static
from textual.widgets.text_area import Selection

from mythos.contract.protocol import AttentionResult, Error, SweepResult, TraceResult
from mythos_tui.actions import bindings
from mythos_tui.screens.chat.controls import Controls
from mythos_tui.screens.chat.prompt import PromptArea, plain
from mythos_tui.screens.inspect import exports, following
from mythos_tui.screens.inspect.pictures import VIEWS, TracePictures
from mythos_tui.screens.inspect.tables import Look
from mythos_tui.screens.inspect.trace import Trace, floats, triangle
from mythos_tui.workers.inference import Said
from mythos_tui.workers.inference_messages import InferenceEvent, WorkerDied

DEFAULT_TEXT = """\
def mean(values):
    '''Return the average of values.'''
    if not values:
        raise ValueError("no values")
    return sum(values) / len(values)
"""
"""Offered where a checkpoint has no `infer.example` of its own, or one that this begins with."""


class InspectScreen(TracePictures):
    """A text, run through a checkpoint, and the pictures of what happened inside."""

    MODE = "inspect"
    CSS_PATH: ClassVar[list[str | PurePath]] = ["../chat/shared.tcss", "screen.tcss"]
    help_text = (
        "Type a text (or [inspect.from_chat] for the last one of Chat) and press enter: it runs through the checkpoint once. "
        "[inspect.view('halting')]: the exit rule's number for every token at every loop. "
        "[inspect.view('lens')]: what each loop would say comes next. "
        "[inspect.view('attention')]: attention entropy, tokens by heads, at one layer or loop; "
        "[inspect.view('depth')]: layers and loops by heads, for one token; [inspect.pattern] there, or "
        "[inspect.view('pattern')]: the pattern behind it. [inspect.view('experts')]: experts. "
        "[inspect.view('states')]: size of the state and of each step. [inspect.view('loss')]: loss of every token. "
        "[inspect.view('sweep')]: loss at every depth. "
        "The cursor is shared by all views; the column at the right explains what is under it. "
        "[inspect.follow] follows a run: each new checkpoint is looked into as it appears. "
        "A wide terminal shows two views side by side."
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings("inspect")

    def __init__(self) -> None:
        super().__init__()
        self.source: exports.Source | None = None
        self.following: Path | None = None
        self._asked: exports.Source | None = None
        self._watch: Timer | None = None
        self._wanted: dict[str, tuple[int, int] | str] = {}
        self._said: Said | None = None
        self._offered = ""

    @property
    def trace(self) -> Trace | None:
        """The trace that is shown."""
        return self.look.trace if self.look else None

    def compose_body(self) -> ComposeResult:
        yield from self.compose_checkpoint()
        with Horizontal():
            with Vertical(id="picture"):
                yield PromptArea(id="text", placeholder="A text to look into · enter runs it")
                yield from self.compose_pictures()
            with VerticalScroll(id="side", can_focus=False).add_class("panel"):
                yield Controls(sampling=False, id="controls")
                yield Static("", id="reading")

    def on_mount(self) -> None:
        self.query_one(PromptArea).border_title = "Text · enter looks inside"
        self.query_one(PromptArea).focus()
        self.query_one(Controls).adapt(self.ready)
        self._offer(DEFAULT_TEXT)
        self._show()

    def _offer(self, text: str) -> None:
        """A text to begin with, where none was written yet: enter runs it, and what is typed takes its place."""
        area = self.query_one(PromptArea)
        if area.text == self._offered != text:
            area.text = self._offered = text
            area.selection = Selection(area.document.end, (0, 0))

    def checkpoint_changed(self) -> None:
        self.query_one(Controls).adapt(self.ready)
        if self.ready and self.source is None:
            example = plain(self.ready.example)
            self._offer(DEFAULT_TEXT if DEFAULT_TEXT.startswith(example) else example)
        self._tell()
        if self.following and (self.checkpoint is None or following.run_of(self.checkpoint) != self.following):
            self._stop_following()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Look into a text that another screen hands over."""
        if self.client.handed_over and getattr(self.app, "last_checkpoint", None):
            self.call_after_refresh(self._take_over)

    def _take_over(self) -> None:
        said, self.client.handed_over = self.client.handed_over, None
        if said and self.checkpoint:
            self._run_said(said)

    # Running

    @on(PromptArea.Sent)
    def _text_sent(self, message: PromptArea.Sent) -> None:
        if not message.text.strip():
            self.notify(
                "Type a text first, or press [inspect.leave_field] and then [inspect.from_chat] for the last one of Chat.",
                severity="warning",
            )
        elif self.checkpoint is None:
            self.action_choose_checkpoint()
        elif values := self.read_settings():
            area = self.query_one(PromptArea)
            area.move_cursor(area.cursor_location)  # what was offered is written now
            self._trace(self.checkpoint, message.text, **values)

    def _trace(self, path: Path, text: str, loops: int, exit: str) -> None:
        if self.request:
            self.client.cancel(self.request)
        self.show_notice("")
        self._asked = exports.Source(path, text, loops, exit, said=self._said)
        self.request = self.client.trace(path, self, **self._asked.asked, loops=loops, exit=exit)
        self._show_stage("waiting for the model…")

    def _show_stage(self, stage: str) -> None:
        super()._show_stage("looking inside…" if stage == "running" else stage)

    def answer(self, event: Any) -> None:
        self.request = ""
        self._show_stage("")
        if isinstance(event, TraceResult) and self._asked is not None:
            again = self.look is not None and self.source is not None and self.source.text == self._asked.text
            self._take(Trace.of(event), self._asked)
            if not (again and self.following):
                self._focus_view()

    def _take(self, trace: Trace, asked: exports.Source) -> None:
        """Show a trace, with the cursor where it was as far as there is such a place."""
        ready, old = self.client.info(asked.path), self.look
        self.source = replace(asked, family=ready.family, step=ready.step) if ready else asked
        look = self.look = Look(trace)
        self._forget_wanted()
        if old is not None:
            look.measures = old.measures
            look.token, look.to = (min(at, len(trace.tokens) - 1) for at in (old.token, old.to))
            look.step = min(old.step, max(len(trace.steps), trace.max_loops) - 1)
            look.row, look.head = min(old.row, max(0, len(trace.rows) - 1)), min(old.head, max(0, trace.heads - 1))
        if not trace.has_depth and self._view == "halting":
            self._view = "lens"
        self._show()
        self._show_source()

    def _show_source(self) -> None:
        """Which checkpoint the pictures are of, in the frame of the text."""
        area = self.query_one(PromptArea)
        area.border_subtitle = f"{self.source.title}{' · following' if self.following else ''}" if self.source else ""

    # What is asked for one at a time

    def want(self, views: Any) -> None:
        look, source = self.look, self.source
        if look is None or source is None:
            return
        cell, trace = (look.row, look.head), look.trace
        if "pattern" in views and cell not in look.patterns and cell not in self._wanted.values() and trace.rows:
            for id in [id for id, wanted in self._wanted.items() if wanted != "sweep"]:
                self.client.cancel(id)
                del self._wanted[id]
            taken, stopped = trace.loops.tolist(), trace.stopped.tolist()
            how = {**source.asked, "loops": source.loops, "taken": taken, "stopped": stopped}
            self._wanted[self.client.attention(source.path, self, row=look.row, head=look.head, **how)] = cell
        if "sweep" in views and look.depth_losses() is None and "sweep" not in self._wanted.values():
            self._wanted[self.client.sweep(source.path, self, **source.asked)] = "sweep"

    def _forget_wanted(self) -> None:
        for id in self._wanted:
            self.client.cancel(id)
        self._wanted = {}

    @on(InferenceEvent)
    def _wanted_arrived(self, message: InferenceEvent) -> None:
        event, look = message.event, self.look
        if event.kind == "ready" or look is None or (wanted := self._wanted.pop(event.id, None)) is None:
            return
        if isinstance(event, AttentionResult) and isinstance(wanted, tuple):
            look.patterns[wanted] = triangle(event.weights)
        elif isinstance(event, SweepResult):
            look.losses = floats(event.losses, (len(event.losses), len(look.trace.tokens)))
        elif isinstance(event, Error):
            self.show_notice(f"{event.message}\n{event.hint}".strip())
            return
        self._draw(self.views)
        self._tell()

    @on(WorkerDied)
    def _wanted_lost(self, message: WorkerDied) -> None:
        if self._wanted.pop(message.id, None) is not None:
            self.show_notice(message.reason)

    # Following a run

    def action_follow(self) -> None:
        """Look into each new checkpoint of the run as it appears, or stop doing so."""
        if self.following:
            self._stop_following()
            return
        run = following.run_of(self.checkpoint) if self.checkpoint else None
        if run is None:
            way = "[checkpoint.choose_checkpoint] chooses a checkpoint of one, then [inspect.follow]."
            self.notify(f"There is no run to follow here: {way}", severity="warning")
            return
        self.following = run
        self._watch = self.set_interval(following.EVERY_S, self._look_for_newer)
        self._show_source()
        self._look_for_newer()

    def _stop_following(self) -> None:
        self.following = None
        if self._watch:
            self._watch.stop()
        self._show_source()

    @work(exclusive=True, group="newest")
    async def _look_for_newer(self) -> None:
        run = self.following
        if run is None or self.request or self.app.screen is not self:
            return
        path = await asyncio.to_thread(following.newest, run)
        if path is None or run != self.following or (self.source and self.source.path == path):
            return
        self.use_checkpoint(path)
        asked = self.source
        values = {"loops": asked.loops, "exit": asked.exit} if asked else self.query_one(Controls).read()
        if values is not None:
            self._trace(path, asked.text if asked else self.query_one(PromptArea).text, **values)

    # Files

    def action_export(self, kind: str) -> None:
        """Write the trace (npz) or the chosen view (svg, md) into the current folder."""
        if self.look is None or self.source is None:
            self.notify(
                "There is nothing to write yet: [inspect.edit] goes to the text, and enter looks inside it.",
                severity="warning",
            )
            return
        view = "trace" if kind == "npz" else self._view
        path = exports.free(Path.cwd(), exports.file_name(view, self.source, kind))
        try:
            self._write(kind, path, self.look, self.source)
        except OSError as error:
            said = (
                f"{path.name} cannot be written here: {error.strerror}. Start the workbench in a folder you may write."
            )
            self.notify(said, severity="error", markup=False)
            return
        self.app.say_saved(VIEWS.get(view, "Trace"), path)

    def _write(self, kind: str, path: Path, look: Look, source: exports.Source) -> None:
        title = VIEWS[self._view]
        if kind == "npz":
            exports.save_npz(path, look.trace, source)
        elif kind == "md":
            exports.save_markdown(path, self._view, title, look, source, self._explain(self._view, look).plain)
        else:
            lines, width = self.lines_of(self._view)
            exports.save_svg(path, lines, width, f"{title} · {source.title}")

    # Moving about

    def action_leave_field(self) -> None:
        """From the text field to the picture."""
        self._focus_view()

    def action_edit(self) -> None:
        """Back to the text."""
        self.query_one(PromptArea).focus()

    def action_from_chat(self) -> None:
        """Take the last text of Chat and run it."""
        if not self.client.last_said:
            self.notify(
                "Chat has no text yet: press [app.open('chat')] and let a model continue something.", severity="warning"
            )
            return
        self._run_said(self.client.last_said)

    def _run_said(self, said: Said) -> None:
        area = self.query_one(PromptArea)
        area.text = said.text
        self._said = replace(said, text=area.text)
        area.action_send()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "leave_field":
            return self.focused is not None and self.focused.id not in VIEWS
        return super().check_action(action, parameters)
