"""Which tokens of a row are answers: what training asks for when `data.answers_only` is set.

A line of text holds answers after two signs. What follows `=`, to the end of the line and with it, is shown to the model once
it is past. The one character after `?` is asked for and never shown: the model sees a dot in its place, so that what it
works out later does not start from it. Tokens are bytes, or these signs could be parts of longer ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mythos.contract.errors import ConfigError
from mythos.data.tokenizer import Tokenizer

IGNORED = -100
"""Target of a token that is not asked for."""
BYTES = 257
"""Tokens of a vocabulary in which each byte has one of its own: the bytes and the end of a text."""


class Answers:
    """Finds and hides the answers in rows of tokens. Raises ConfigError for a vocabulary of more than bytes."""

    def __init__(self, tokenizer: Path) -> None:
        loaded = Tokenizer.load(tokenizer)
        if loaded.vocab_size != BYTES:
            raise ConfigError(
                f"data.answers_only needs a token per byte, and this vocabulary has {loaded.vocab_size} tokens.",
                f"Set model.vocab_size={BYTES}.",
            )
        self.eot = loaded.eot
        self.newline, self.shown, self.hidden, self.dot = (loaded.encode(sign)[0] for sign in "\n=?.")

    def ask(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows as they are read, [B, T] each → inputs with hidden answers as dots, targets IGNORED where nothing is asked.

        A line whose beginning lies before the row is left out: what it asks for may not follow from what is seen.
        """
        begun = self._begun(inputs)
        after_sign = _last(inputs == self.shown) > begun
        asked = (begun >= 0) & (after_sign | (inputs == self.hidden))
        before = np.zeros_like(inputs)
        before[:, 1:] = inputs[:, :-1]
        return np.where(before == self.hidden, self.dot, inputs), np.where(asked, targets, IGNORED)

    def whole(self, inputs: np.ndarray) -> np.ndarray:
        """Tokens [B, T] of lines whose beginning is in the row; those before have no answer that could be found."""
        return self._begun(inputs) >= 0

    def _begun(self, inputs: np.ndarray) -> np.ndarray:
        return _last((inputs == self.newline) | (inputs == self.eot))


def _last(found: np.ndarray) -> np.ndarray:
    """At each place [B, T], where something was found last; −1 before."""
    return np.maximum.accumulate(np.where(found, np.arange(found.shape[1]), -1), axis=1)
