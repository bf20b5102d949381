"""What a task is: made-up examples whose difficulty is known for every character of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

VERSION = 4
"""Raised when any task makes other examples from the same seed."""


@dataclass(frozen=True)
class Example:
    """One line of text. `answer` is where the characters are that follow from the ones before them."""

    text: str
    answer: tuple[tuple[int, int], ...]  # (start, stop) of spans of text
    difficulty: tuple[int, ...]  # of each character of the answer, in order

    @property
    def positions(self) -> list[int]:
        """Indices in the text of the answer's characters, in line with `difficulty`."""
        return [i for start, stop in self.answer for i in range(start, stop)]

    @property
    def ending(self) -> Example:
        """The same with its last question asked by = (see `mythos.data.answers`): the answer is shown and ends the line."""
        return replace(self, text=f"{self.text[:-2]}={self.text[-1]}") if self.text[-2:-1] == "?" else self


def answered(question: str, answer: str, difficulty: int | Sequence[int]) -> Example:
    """A question with its answer at the end, of one difficulty or of one per character."""
    each = (difficulty,) * len(answer) if isinstance(difficulty, int) else tuple(difficulty)
    return Example(question + answer, ((len(question), len(question) + len(answer)),), each)


@dataclass(frozen=True)
class Task:
    """A family of examples. `make(rng, d)` returns one whose hardest character has difficulty d.

    Examples of the difficulties `trained` and `harder` are made of the same characters, so that a model that fails on
    the harder ones does so for their depth.
    """

    name: str
    measure: str  # what difficulty counts
    trained: range
    harder: range
    make: Callable[[np.random.Generator, int], Example]


def examples(task: Task, difficulties: range, count: int, seed: Sequence[int], skew: float = 0.0) -> Iterator[Example]:
    """`count` examples whose difficulties d are drawn with weight max(d, 1)^−skew; the same ones for the same seed (a few
    integers from 0)."""
    rng = np.random.default_rng([*seed, difficulties.start, *task.name.encode()])  # harder ones are made anew
    weights = np.maximum(difficulties, 1) ** -skew
    for difficulty in rng.choice(difficulties, count, p=weights / weights.sum()):
        yield task.make(rng, int(difficulty))
