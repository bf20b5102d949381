"""The Chat screen: messages, answers by any checkpoint at any depth, and what is behind every token of them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path, PurePath
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from mythos.contract.checkpoints import describe, title_of
from mythos_tui.actions import bindings
from mythos_tui.chats.conversation import Conversation
from mythos_tui.chats.export import export
from mythos_tui.chats.templates import load_templates
from mythos_tui.screens.chat.column import Column
from mythos_tui.screens.chat.controls import Controls
from mythos_tui.screens.chat.conversations import ConversationsScreen
from mythos_tui.screens.chat.conversing import said_in
from mythos_tui.screens.chat.dialed import Dialed
from mythos_tui.screens.chat.exchange import BOUNDARY
from mythos_tui.screens.chat.prompt import PromptArea
from mythos_tui.screens.chat.template_box import TemplateBox
from mythos_tui.screens.chat.tint import KINDS, Tint, tint_for
from mythos_tui.screens.chat.transcript import Transcript
from mythos_tui.widgets.palette import has_colour
from mythos_tui.widgets.text import visible

NO_MESSAGE = "This conversation has no message yet: type one into the text field, and enter sends it."


def placeholder(example: str) -> str:
    """What stands in the empty field, with the checkpoint's own example if it has one."""
    such = f", such as  {visible(example)}" if example else ""
    return f"A text to continue{such}\nenter sends · ^j begins a new line"


class ChatScreen(Dialed):
    """Base language models continue a text; they were not taught to answer questions."""

    MODE = "chat"
    CSS_PATH: ClassVar[list[str | PurePath]] = ["shared.tcss", "screen.tcss"]
    help_text = (
        "The model continues your message, token by token; it is a base language model, not one that was taught to answer. "
        "The colour behind a token tells how many loops it took. The line above the text field is the depth dial: how many "
        "loops a token may take and by which rule it stops earlier, also between two messages. In the text field every single "
        "key is text: press it together with alt (for the dial: alt with an arrow key), or press [chat.leave_field] first."
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings("chat")

    def __init__(self) -> None:
        super().__init__()
        self._kind = "loops"
        self._editing: int | None = None
        self._draft = ""

    def compose_body(self) -> ComposeResult:
        yield from self.compose_checkpoint()
        with Horizontal():
            with Vertical(id="talk"):
                yield Transcript(id="transcript")
                yield Static("", id="legend")
                yield Static("", id="dial")
                yield PromptArea(id="prompt", placeholder=placeholder(""))
            with VerticalScroll(id="side", can_focus=False).add_class("panel"):
                yield TemplateBox(id="template-box")
                yield Controls(id="controls")
            yield Column(id="column")

    def on_mount(self) -> None:
        self.query_one(Transcript).anchor()
        self.query_one(PromptArea).focus()
        self.query_one(Controls).adapt(self.ready)
        self._show_legend()
        self._show_dial()
        self._load_templates()

    @work
    async def _load_templates(self) -> None:
        found, faults = await asyncio.to_thread(load_templates)
        self.query_one(TemplateBox).offer(found)
        for fault in faults:
            said = "Template left out: mend it and start again"
            self.notify(fault, title=said, severity="warning", markup=False, timeout=12)

    # Tint

    @property
    def tint(self) -> Tint:
        """What backgrounds tell now. A model without depth shows probability instead of loops."""
        most = self.ready.max_loops if self.ready else 8
        most = max([most, *(one.answer.limit for one in self.query_one(Transcript).exchanges)])
        if self._kind == "loops" and most <= 1:
            return tint_for("probability", 1)
        return tint_for(self._kind, most)

    def _show_legend(self) -> None:
        text = self.tint.legend(has_colour(self.app))
        if self._kind == "loops" and self.tint.kind != "loops":
            text.append(" · dense: no loops")
        elif self.tint.kind != "loops":
            text.append(" · prompt untinted")
        rest = Text(f" · {BOUNDARY} continuation", style="dim")
        self.query_one("#legend", Static).update(text.append_text(rest))

    def action_tint(self) -> None:
        """Tint by the next kind."""
        self._kind = KINDS[(KINDS.index(self.tint.kind) + 1) % len(KINDS)]
        self._retint()

    def _retint(self) -> None:
        for exchange in self.query_one(Transcript).exchanges:
            exchange.set_tint(self.tint)
        self._show_legend()

    def checkpoint_changed(self) -> None:
        ready = self.ready_of(self.side)
        self.query_one(Controls).adapt(ready)
        self.query_one(PromptArea).placeholder = placeholder(ready.example if ready else "")
        self._show_dial()
        self._retint()

    # Sending and stopping

    @on(PromptArea.Sent)
    async def _sent(self, message: PromptArea.Sent) -> None:
        if not message.text.strip():
            self.notify("Type a text first; the model goes on from there.", severity="warning")
        elif not self._busy() and await self._say_edited(message.text):
            self.query_one(PromptArea).remember()
            self._write_on()

    async def _say_edited(self, text: str) -> bool:
        """Send; a message that was edited goes where it stood, in a new conversation."""
        turn, self._editing = self._editing, None
        if turn is not None:
            await self.cut(turn)
            self._close_column()
        self.query_one(PromptArea).border_title = ""
        return await self.say(text)

    def _end_editing(self) -> None:
        """Leave the message as it is."""
        if self._editing is not None:
            self._editing = None
            self.query_one(PromptArea).border_title = ""
            self._write_on()

    def _write_on(self) -> None:
        """Back to what was being written when editing began."""
        draft, self._draft = self._draft, ""
        self.query_one(PromptArea).take(draft)

    async def show_conversation(self, conversation: Conversation) -> None:
        """Lead this conversation from now on; a message of another one is no longer edited."""
        if conversation.id != self.conversation.id:
            self._end_editing()
        await super().show_conversation(conversation)

    def action_edit(self) -> None:
        """Take the message under the cursor, else the last, into the text field; what was being written comes back after."""
        turn, turns = self.query_one(Transcript).current_row, self.conversation.turns
        if not 0 <= turn < len(turns):
            self.notify(NO_MESSAGE, severity="warning")
        elif not self._busy():
            area = self.query_one(PromptArea)
            if self._editing is None:
                self._draft = area.text
            self._editing = turn
            area.take(turns[turn].text)
            title = (
                f"Editing message {turn + 1} of {len(turns)} · enter sends it instead · [chat.leave_field] leaves it"
            )
            area.border_title = self.app.with_keys(title)
            area.focus()

    async def action_regenerate(self) -> None:
        """Answer the last message again, in place of its answer."""
        turns = self.conversation.turns
        if not turns:
            self.notify(NO_MESSAGE, severity="warning")
        elif not self._busy():
            last = turns[-1]
            self._close_column()
            await self.query_one(Transcript).rows[-1].remove()
            turns.pop()
            if not await self.say(last.text):
                await self.show_conversation(self.conversation.model_copy(update={"turns": [*turns, last]}))

    async def action_new(self) -> None:
        """Stop, and begin a new conversation; this one is kept."""
        self.give_up()
        self._close_column()
        self.show_notice("")
        box = self.query_one(TemplateBox)
        await self.show_conversation(Conversation(template=box.template.name, system=box.system))
        self.query_one(PromptArea).focus()
        self.refresh_bindings()

    def action_stop(self) -> None:
        """Stop the generation; what came stays."""
        self.stop()

    def action_leave_field(self) -> None:
        """Give the focus to the transcript."""
        self._end_editing()
        self.query_one(Transcript).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            return bool(self.request)
        if action == "leave_field":
            return not self.request and self.focused is not None and not isinstance(self.focused, Transcript)
        if action == "close_column":
            return isinstance(self.focused, Transcript) and self.focused.chosen is not None and not self.request
        return super().check_action(action, parameters)

    @on(Transcript.PromptWanted)
    @on(Controls.Leave)
    def _to_prompt(self) -> None:
        self.query_one(PromptArea).focus()

    @on(Transcript.InspectWanted)
    def _inspect(self) -> None:
        current = self.query_one(Transcript).current
        if current and current.answer.read:
            self.client.handed_over = said_in(current.answer)
            self.app.open_inspect(Path(current.answer.checkpoint))
        else:
            self.notify(NO_MESSAGE, severity="warning")

    # Conversations

    def action_conversations(self) -> None:
        """Search and open what was kept."""

        async def chosen(conversation: Conversation | None) -> None:
            if conversation is not None and conversation.id != self.conversation.id:
                self._close_column()
                self.show_notice("")
                await self.show_conversation(conversation)
                await self._take_its_checkpoint(conversation)
                self._retint()

        if not self._busy():
            self.app.push_screen(ConversationsScreen(self.store, self.conversation.id), chosen)

    async def _take_its_checkpoint(self, conversation: Conversation) -> None:
        """Go on with the checkpoint that answered last, where it is still there."""
        answers = [answer for turn in conversation.turns for answer in turn.answers[:1]]
        path = Path(answers[-1].checkpoint) if answers else None
        if path is None or path == self.checkpoint:
            return
        if await asyncio.to_thread(describe, path) is None:
            said = f"{title_of(path)}, which led this conversation, is not there any more. "
            said += "[checkpoint.choose_checkpoint] chooses who goes on with it."
            self.notify(said, severity="warning", markup=False)
        else:
            self.use_checkpoint(path)

    def action_export(self, kind: str) -> None:
        """Write the conversation into the current folder."""
        if not self.conversation.turns:
            self.notify(NO_MESSAGE, severity="warning")
            return
        self._export(kind)

    @work
    async def _export(self, kind: str) -> None:
        try:
            path = await asyncio.to_thread(partial(export, self.conversation.model_copy(deep=True), kind, Path.cwd()))
        except (OSError, ValueError) as error:
            said = f"It cannot be written here: {error}. Start the workbench in a folder you may write."
            self.notify(said, severity="error", markup=False)
        else:
            self.app.say_saved("Conversation", path)
