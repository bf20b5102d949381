"""Texts that end an answer. Tokens are held back while what they say may be the beginning of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class GeneratedToken:
    """One generated token. `text` is the whole characters that it completes, often "" inside an emoji.

    `loops` are those that predicting it took; `probability` and `entropy` (nats) are of the model's own distribution.
    """

    text: str
    id: int
    loops: int
    probability: float
    entropy: float


class StopTexts:
    """Lets tokens through that are surely before any of the `stops`; `found` once one has come."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held: list[GeneratedToken] = []
        self.found = False

    def push(self, token: GeneratedToken) -> list[GeneratedToken]:
        """Tokens that may be handed out now. A token in which a stop text begins loses its text from there on."""
        self._held.append(token)
        text = "".join(one.text for one in self._held)
        starts = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if starts:
            self.found = True
            return self._release(min(starts), cut=True)
        return self._release(len(text) - self._suspects(text), cut=False)

    def rest(self) -> list[GeneratedToken]:
        """What was held back when the text ended otherwise."""
        held, self._held = self._held, []
        return held

    def _suspects(self, text: str) -> int:
        """Characters at the end of the text that may begin a stop text."""
        longest = min(len(text), max(map(len, self._stops), default=1) - 1)
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self._stops)), 0)

    def _release(self, until: int, cut: bool) -> list[GeneratedToken]:
        """Tokens that end by character `until`; with `cut` also the beginning of the one across it."""
        free, at = [], 0
        while self._held and at + len(self._held[0].text) <= until:
            free.append(self._held.pop(0))
            at += len(free[-1].text)
        if cut and self._held and at < until:
            free.append(replace(self._held[0], text=self._held[0].text[: until - at]))
        return free
