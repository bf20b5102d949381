"""What a model answers to questions of known difficulty, and how many loops it spends on each.

B examples, T positions. An example is a row of its own, after another line, as nearly all of them are in training.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mythos.contract.config import DataConfig
from mythos.data.answers import IGNORED, Answers
from mythos.data.sources import documents
from mythos.data.tasks import Task, examples
from mythos.data.tokenizer import Tokenizer
from mythos.models.halting import ExitRule
from mythos.models.recurrent import RecurrentModel

BEYOND_TRAINING = 7_000_000
"""Seed of the questions: documents of a corpus are numbered, and none gets as far."""


@dataclass(frozen=True)
class Questions:
    """inputs, targets [B, T] (IGNORED where nothing is asked), difficulty [B, T] of what is asked, `within` [B, T] the text,
    and the `lines` [B] themselves."""

    inputs: Tensor
    targets: Tensor
    difficulty: Tensor
    within: Tensor
    lines: tuple[str, ...]

    @property
    def asked(self) -> Tensor:
        """[B, T]: where a character of known difficulty is to be told."""
        return self.difficulty >= 0

    def seen(self, corpus: Set[str]) -> float:
        """The share of them that are `lines_of` a corpus: of short ones there are few, and it may hold all."""
        return sum(_as_shown(line) in corpus for line in self.lines) / len(self.lines)


def lines_of(data: DataConfig) -> set[str]:
    """All lines of a corpus, training's and held-out ones, whichever way they ask for what they ask."""
    texts = (document.text for source in data.sources for document in documents(source))
    return {_as_shown(line) for text in texts for line in text.splitlines()}


def _as_shown(line: str) -> str:
    return line.replace("?", "=")


def questions(task: Task, difficulties: range, count: int, tokenizer: Path) -> Questions:
    """`count` examples drawn apart from those of any corpus, difficulties drawn evenly."""
    encoder, answers = Tokenizer.load(tokenizer), Answers(tokenizer)
    made = list(examples(task, difficulties, count, (BEYOND_TRAINING,)))
    before = [f"\n{example.text}\n" for example in examples(task, range(1, 3), count, (BEYOND_TRAINING, 1))]
    rows = [encoder.encode(f"{line}{example.text}\n") for line, example in zip(before, made, strict=True)]
    width = max(map(len, rows))
    tokens, difficulty = np.full((count, width), encoder.eot), np.full((count, width), -1)
    within = np.zeros((count, width), dtype=bool)
    for row, (ids, line, example) in enumerate(zip(rows, before, made, strict=True)):
        tokens[row, : len(ids)], within[row, len(line) : len(ids)] = ids, True
        asking = [len(line) + at - 1 for at in example.positions]  # the token before it
        difficulty[row, asking] = example.difficulty
    inputs, targets = answers.ask(tokens[:, :-1], tokens[:, 1:])
    asked = torch.from_numpy(difficulty[:, :-1])
    return Questions(
        torch.from_numpy(inputs),
        torch.where(asked >= 0, torch.from_numpy(targets), IGNORED),
        asked,
        torch.from_numpy(within[:, 1:]),
        tuple(example.text for example in made),
    )


@dataclass(frozen=True)
class Answered:
    """Share of characters that were right, and of questions all of whose were; loops of every character and its difficulty
    [N]; mean loops of all tokens, counted as block evaluations, which is what was computed.

    Every character is told with the right ones before it. All of them are right exactly where greedy decoding answers right.
    """

    accuracy: float
    whole: float
    right: np.ndarray
    loops: np.ndarray
    difficulty: np.ndarray
    executed: float

    @property
    def correlation(self) -> float:
        """Spearman's, between the loops of an answer and its difficulty; NaN where all loops are the same."""
        from scipy.stats import spearmanr

        if len(set(self.loops.tolist())) < 2:
            return float("nan")
        return float(spearmanr(self.loops, self.difficulty).statistic)

    def beyond(self, least: int) -> Answered:
        """The answers of at least this difficulty: a hard example asks for easy ones as well, on its way."""
        at = self.difficulty >= least
        right, loops = self.right[at], self.loops[at]
        return Answered(float(right.mean()), self.whole, right, loops, self.difficulty[at], self.executed)

    def of_difficulty(self) -> dict[int, tuple[float, float]]:
        """Accuracy and mean loops per difficulty."""
        each = {}
        for d in sorted(set(self.difficulty.tolist())):
            at = self.difficulty == d
            each[d] = float(self.right[at].mean()), float(self.loops[at].mean())
        return each


@torch.no_grad()
def answer(model: RecurrentModel, asked: Questions, loops: int, exit: ExitRule | None = None) -> Answered:
    """Answer all questions with at most `loops` loops per token, or fewer by a rule."""
    model.eval()
    output = model(asked.inputs, loops, exit=exit)
    right = output.logits.argmax(-1) == asked.targets
    loops_of = output.telemetry.loops
    return Answered(
        float(right[asked.asked].float().mean()),
        float((right | ~asked.asked).all(-1).float().mean()),
        right[asked.asked].numpy(),
        loops_of[asked.asked].numpy(),
        asked.difficulty[asked.asked].numpy(),
        float(loops_of[asked.within].float().mean()),
    )
