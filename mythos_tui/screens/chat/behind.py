"""The column behind a token: asked of the engine when the cursor first comes into an answer, shown as it moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual import events, on

from mythos.contract.protocol import Error, TraceResult
from mythos_tui.screens.chat.column import Column
from mythos_tui.screens.chat.conversing import Conversing
from mythos_tui.screens.chat.exchange import Exchange
from mythos_tui.screens.chat.transcript import Transcript
from mythos_tui.widgets.text import visible

WIDE = 160
"""Columns of the terminal from which the column stands beside the settings instead of in their place."""


class Behind(Conversing):
    """One trace per answer, of exactly the tokens that were read and generated, at the depth of the answer."""

    def __init__(self) -> None:
        super().__init__()
        self._traced: dict[str, Exchange] = {}
        self._notes: dict[Exchange, str] = {}

    @on(Transcript.TokenChosen)
    def _token_chosen(self, message: Transcript.TokenChosen) -> None:
        exchange = message.exchange
        if exchange.trace is None and exchange not in self._notes and exchange.answer.reason:
            self._ask_trace(exchange)
        self._show_column()

    def _ask_trace(self, exchange: Exchange) -> None:
        answer = exchange.answer
        if not answer.read:
            self._notes[exchange] = "The model never read this message."
            return
        path = Path(answer.checkpoint)
        client = self.client if path == self.checkpoint else self.client.beside
        settings = {"loops": answer.settings.get("loops", 0), "exit": answer.settings.get("exit", "")}
        self._traced[client.trace(path, self, answer.read, then=answer.ids, **settings)] = exchange
        self._notes[exchange] = "looking inside…"

    def expects(self, id: str) -> bool:
        return id in self._traced or super().expects(id)

    def answer(self, event: Any) -> None:
        if (exchange := self._traced.pop(event.id, None)) is None:
            super().answer(event)
        elif isinstance(event, TraceResult):
            exchange.trace = event
            self._notes[exchange] = ""
            self._show_column()

    def _failed(self, error: Error) -> None:
        if error.id in self._traced:
            self._trace_failed(error.id, f"{error.message} {error.hint}")
        else:
            super()._failed(error)

    def answer_failed(self, id: str, reason: str) -> None:
        if id in self._traced:
            self._trace_failed(id, reason)
        else:
            super().answer_failed(id, reason)

    def _trace_failed(self, id: str, reason: str) -> None:
        self._notes[self._traced.pop(id)] = f"Nothing more is known: {visible(reason)}"
        self._show_column()

    def _show_column(self) -> None:
        chosen, column = self.query_one(Transcript).chosen, self.query_one(Column)
        shown = chosen is not None and chosen.cursor is not None
        if column.display != shown:
            column.display = shown
            self.refresh_bindings()
        self.set_class(shown and self.app.size.width < WIDE, "-behind")
        if chosen is not None and shown:
            column.show(chosen, self._notes.get(chosen, ""))

    def on_resize(self, event: events.Resize) -> None:
        self._show_column()

    def _close_column(self) -> None:
        self.query_one(Transcript).close()
        self._show_column()

    def action_close_column(self) -> None:
        """Take the cursor away, and the column with it."""
        self._close_column()
