"""One conversation: messages, answers with every token's depth, and the settings behind each. Its JSON is its file."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


class Piece(NamedTuple):
    """One token; those of a message have neither id nor probability nor entropy."""

    text: str
    loops: int
    id: int | None = None
    probability: float | None = None
    entropy: float | None = None


class Answer(BaseModel):
    """What a checkpoint went on with. `read` is the text it read, `prompt` the tokens of the last message in it.

    `settings` are those of sampling and depth as they were sent, seed included. `earlier` tokens stood before the message,
    and `left_out` earlier messages found no room. `reason` is "" until it ended; `fault` says what broke it off.
    """

    checkpoint: str
    title: str
    settings: dict[str, Any]
    read: str = ""
    prompt: list[Piece] = []
    earlier: int = 0
    left_out: int = 0
    tokens: list[Piece] = []
    limit: int = 0
    reason: str = ""
    fault: str = ""
    seconds: float = 0.0
    mean_loops: float = 0.0
    tokens_per_s: float = 0.0
    flops: float = 0.0
    flops_full: float = 0.0

    @property
    def text(self) -> str:
        """The answer alone."""
        return "".join(piece.text for piece in self.tokens)

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens of the answer."""
        return tuple(piece.id for piece in self.tokens if piece.id is not None)

    @property
    def pieces(self) -> list[Piece]:
        """Message and answer, token by token."""
        return [*self.prompt, *self.tokens]

    @property
    def saved(self) -> float | None:
        """Share of computation that stopping early saved, net of the exit rule; negative where the rule cost more."""
        return 1 - self.flops / self.flops_full if self.flops_full else None


class Turn(BaseModel):
    """A message and its answers: one, or two that stand side by side."""

    text: str
    answers: list[Answer] = []


class Conversation(BaseModel):
    """`updated` and `created` are seconds since 1970."""

    format: Literal[1] = 1
    id: str = Field(default_factory=lambda: new_id(), pattern=ID.pattern)
    created: float = Field(default_factory=time.time)
    updated: float = Field(default_factory=time.time)
    template: str = "plain"
    system: str = ""
    turns: list[Turn] = []

    @property
    def title(self) -> str:
        """Its first message, on one line."""
        return " ".join(self.turns[0].text.split()) if self.turns else "empty"

    @property
    def text(self) -> str:
        """All that was said, for searching."""
        said = [self.system, *(part for turn in self.turns for part in (turn.text, *(a.text for a in turn.answers)))]
        return "\n".join(said)

    def past(self, before: int) -> list[tuple[str, str]]:
        """Messages and their first answers before turn number `before`; what was never answered is left out."""
        return [
            (turn.text, turn.answers[0].text) for turn in self.turns[:before] if turn.answers and turn.answers[0].text
        ]

    def until(self, turn: int) -> Conversation:
        """A new conversation that holds the turns before number `turn`."""
        return Conversation(template=self.template, system=self.system, turns=self.turns[:turn])


def new_id() -> str:
    """Sorts by time, is safe as a file's name, and two at once differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
