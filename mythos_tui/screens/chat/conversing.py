"""A conversation as it is led: messages sent to one or two sides, answers coming in, everything kept on disk."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textual import work

from mythos.contract.checkpoints import title_of
from mythos.contract.protocol import Done, PromptTokens, Ready, Token
from mythos.contract.words import counted
from mythos_tui.chats.conversation import Answer, Conversation, Piece, Turn
from mythos_tui.chats.store import ChatStore
from mythos_tui.screens.chat.checkpointed import CheckpointScreen
from mythos_tui.screens.chat.controls import Controls
from mythos_tui.screens.chat.depth import Depth, Side
from mythos_tui.screens.chat.exchange import Exchange, Row
from mythos_tui.screens.chat.template_box import TemplateBox
from mythos_tui.screens.chat.tint import Tint
from mythos_tui.screens.chat.transcript import Transcript
from mythos_tui.workers.inference import InferenceClient, Said

REDRAWS_PER_S = 12


def said_in(answer: Answer) -> Said:
    """An answer as Inspect takes it."""
    return Said(Path(answer.checkpoint), answer.read, answer.ids, answer.read + answer.text)


@dataclass
class Asked:
    """An answer that is waited for: where it is shown, who makes it, what was sent, and tokens not drawn yet."""

    exchange: Exchange
    client: InferenceClient
    sent: dict[str, Any]
    came: list[Piece] = field(default_factory=list)
    began: float = 0.0


class Conversing(CheckpointScreen):
    """`sides` are one, or two that answer every message side by side with the same seed; keys act on `side`."""

    def __init__(self) -> None:
        super().__init__()
        self.store = ChatStore()
        self.conversation = Conversation()
        self.sides, self.side = [Side()], 0
        self._asked: dict[str, Asked] = {}
        self._writing = asyncio.Lock()

    def on_mount(self) -> None:
        self._ticker = self.set_interval(1 / REDRAWS_PER_S, self._flush, pause=True)

    @property
    def tint(self) -> Tint:
        """What the backgrounds of tokens tell now."""
        raise NotImplementedError

    # Sides

    def client_of(self, side: int) -> InferenceClient:
        """A second checkpoint gets a second worker, so that both stay loaded."""
        return self.client if self.checkpoint_of(side) == self.checkpoint else self.client.beside

    def checkpoint_of(self, side: int) -> Path | None:
        return self.checkpoint if side == 0 else self.sides[side].checkpoint or self.checkpoint

    def ready_of(self, side: int) -> Ready | None:
        """What is known of a side's checkpoint."""
        path = self.checkpoint_of(side)
        return self.client_of(side).info(path) if path else None

    # Sending

    async def say(self, text: str) -> bool:
        """Send a message to every side; False where something is in the way, which is then shown."""
        values = self._values()
        if values is None:
            return False
        self.show_notice("")
        self.sides[self.side].depth = self.query_one(Controls).depth
        box = self.query_one(TemplateBox)
        self.conversation.template, self.conversation.system = box.template.name, box.system
        values["seed"] = secrets.randbits(31) if values["seed"] is None else values["seed"]
        parts = box.template.render(box.system, self.conversation.past(len(self.conversation.turns)), text)
        turn = Turn(text=text)
        self.conversation.turns.append(turn)
        sent = {"head": parts.head, "history": list(parts.history), "prompt": parts.prompt, "stop": box.template.stop}
        for side in range(len(self.sides)):
            turn.answers.append(self._answer_of(side, self._for_side(values, side)))
        row = self._row(turn)
        await self.query_one(Transcript).turns.mount(row)
        self.query_one(Transcript).anchor()
        for side, exchange in enumerate(row.exchanges):
            self._ask(side, exchange, sent)
        self._ticker.resume()
        self.refresh_bindings()
        self.save()
        return True

    def _values(self) -> dict[str, Any] | None:
        """Settings of generation, or None where something is in the way."""
        if self._asked:
            self.notify("An answer is under way; [chat.stop] stops it.", severity="warning")
            return None
        if self.checkpoint is None:
            self.action_choose_checkpoint()
            return None
        return self.read_settings()

    def _for_side(self, values: dict[str, Any], side: int) -> dict[str, Any]:
        """With the side's depth, and its checkpoint's own sampling where that is known and no other was typed."""
        depth, ready = self.sides[side].depth, self.ready_of(side)
        own = {name: getattr(ready, name, None) if value is None else value for name, value in values.items()}
        dense = ready is not None and ready.max_loops <= 1
        return {**own, "loops": 0 if dense else depth.number, "exit": "" if dense else depth.exit}

    def _answer_of(self, side: int, settings: dict[str, Any]) -> Answer:
        path = self.checkpoint_of(side)
        assert path is not None
        ready = self.ready_of(side)
        title = title_of(path)
        return Answer(
            checkpoint=str(path),
            title=title,
            settings=settings,
            limit=settings["loops"] or (ready.loops if ready else 0),
        )

    def _ask(self, side: int, exchange: Exchange, sent: dict[str, Any]) -> None:
        exchange.waiting()
        path, client = self.checkpoint_of(side), self.client_of(side)
        assert path is not None
        id = client.generate(path, self, **sent, **exchange.answer.settings)
        self._asked[id] = Asked(exchange, client, sent)
        self.request = self.request or id

    def _row(self, turn: Turn) -> Row:
        """The widgets of a turn."""
        labels = ["", ""] if len(turn.answers) == 1 else [self._label(n, one) for n, one in enumerate(turn.answers)]
        return Row([Exchange(one, self.tint, label) for one, label in zip(turn.answers, labels, strict=False)])

    @staticmethod
    def _label(side: int, answer: Answer) -> str:
        depth = answer.settings.get("exit") or "default rule"
        return f"{'AB'[side]} · {answer.title} · {answer.limit or 'default'} loops · {depth}"

    # Answers

    def expects(self, id: str) -> bool:
        return id in self._asked or super().expects(id)

    def answer(self, event: Any) -> None:
        asked = self._asked.get(event.id)
        if asked is None:
            return
        if isinstance(event, PromptTokens):
            self._prompt_read(asked, event)
        elif isinstance(event, Token):
            asked.began = asked.began or time.monotonic()
            asked.came.append(Piece(event.text, event.loops, event.token, event.probability, event.entropy))
        elif isinstance(event, Done):
            self._finish(asked, event)

    def _prompt_read(self, asked: Asked, event: PromptTokens) -> None:
        """Keep the tokens of the message itself, and count those before it."""
        start, rest = len(event.texts), len(asked.sent["prompt"])
        while start > 1 and rest > 0:
            start -= 1
            rest -= len(event.texts[start])
        answer, sent = asked.exchange.answer, asked.sent
        answer.read = "".join([sent["head"], *sent["history"][event.left_out :], sent["prompt"]])
        answer.earlier, answer.left_out = start, event.left_out
        answer.prompt = [Piece(*one) for one in zip(event.texts[start:], event.loops[start:], strict=True)]
        asked.exchange.show_answer()

    def _flush(self) -> None:
        """Draw the tokens that came since the last time."""
        for asked in self._asked.values():
            new, asked.came = asked.came, []
            if new:
                asked.exchange.add(new)
                count = len(asked.exchange.answer.tokens)
                rate = count / max(1e-3, time.monotonic() - asked.began)
                stops = self.app.with_keys("[chat.stop] stops")
                asked.exchange.say(f"{counted(count, 'token')} · {rate:.1f} tokens/s · {stops}")

    def _finish(self, asked: Asked, done: Done) -> None:
        answer, ready = asked.exchange.answer, asked.client.info(Path(asked.exchange.answer.checkpoint))
        for name, value in done.model_dump(exclude={"kind", "id", "tokens"}).items():
            setattr(answer, name, value)
        answer.limit = answer.settings["loops"] or (ready.loops if ready else 1)
        self._settle(done.id)

    def answer_failed(self, id: str, reason: str) -> None:
        if asked := self._asked.get(id):
            asked.exchange.answer.reason, asked.exchange.answer.fault = "failed", reason
            self._settle(id)

    def _settle(self, id: str) -> None:
        """An answer has ended, however it did."""
        self._flush()
        exchange = self._asked.pop(id).exchange
        self.client.last_said = said_in(exchange.answer)
        exchange.say_end()
        self.request = next(iter(self._asked), "")
        if not self._asked:
            self._ticker.pause()
        self.save()
        self.refresh_bindings()

    def stop(self) -> None:
        """End every answer that is under way; what came stays."""
        for id, asked in self._asked.items():
            asked.client.cancel(id)

    def give_up(self) -> None:
        """Stop, and wait for no more answers; what came is kept."""
        self.stop()
        for id in list(self._asked):
            self._asked[id].exchange.answer.reason = "cancelled"
            self._settle(id)

    def on_unmount(self) -> None:
        """What came of an answer that is under way is kept."""
        if self._asked:
            self._flush()
            with suppress(OSError, ValueError):
                self.store.save(self.conversation)

    # Keeping

    def save(self) -> None:
        """Write the conversation as it is now, once something was said."""
        if self.conversation.turns:
            self.conversation.updated = time.time()
            self._write(self.conversation.model_copy(deep=True))

    @work(exclusive=False, group="save")
    async def _write(self, conversation: Conversation) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(self.store.save, conversation)
            except (OSError, ValueError) as error:
                way = "[!chat.export('md')] writes it as Markdown into this folder instead."
                said = f"This conversation is not kept: {error}. {way}"
                self.notify(said, severity="error", markup=False)

    async def show_conversation(self, conversation: Conversation) -> None:
        """Lead this conversation from now on."""
        self.conversation = conversation
        transcript = self.query_one(Transcript)
        transcript.close()
        await transcript.turns.remove_children()
        await transcript.turns.mount(*(self._row(turn) for turn in conversation.turns if turn.answers))
        transcript.anchor()
        self.query_one(TemplateBox).set(conversation.template, conversation.system)

    async def cut(self, turn: int) -> None:
        """Go on as a new conversation from before a turn; the old one stays in its file."""
        self.conversation = self.conversation.until(turn)
        transcript = self.query_one(Transcript)
        transcript.close()
        for row in transcript.rows[turn:]:
            await row.remove()

    def set_depth(self, depth: Depth) -> None:
        """Another depth for the side that keys act on."""
        self.sides[self.side] = replace(self.sides[self.side], depth=depth)
        self.query_one(Controls).set_depth(depth)
