"""Tasks that change a state step by step and ask for it on the way: shells, headings, parity, arithmetic modulo 5.

`Azx?By?C`: from A, z and x lead to B, and y from there to C. An answer's difficulty is the number of steps that lie before it.
Training does not show answers to the model (see `mythos.data.answers`), else every one would be a step from the last.

Every step changes states one to one, so none can be left out: they are words of a group, after Liu et al. 2023, "Transformers
Learn Shortcuts to Automata" (arXiv:2210.10749). A model of fixed depth learns shortcuts, one that sees few tokens at a time and
runs a block as often as needed has to take the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mythos.data.tasks.task import Example, Task

ASK = "?"
_MODULUS = 5


def _running(start: str, steps: Sequence[tuple[str, str]]) -> Example:
    """Steps as (text, state after it, one character)."""
    text, answer, difficulty = start, [], []
    for number, (step, state) in enumerate(steps, 1):
        text += step + ASK + state
        answer.append((len(text) - 1, len(text)))
        difficulty.append(number)
    return Example(text, tuple(answer), tuple(difficulty))


def _shells(rng: np.random.Generator, steps: int) -> Example:
    """The ball is under shell A, B or C; x leaves A where it is and swaps the other two, y leaves B, z leaves C."""
    at = start = int(rng.integers(3))
    made = []
    for _ in range(steps):
        stays = int(rng.integers(3))
        at = at if at == stays else 3 - at - stays
        made.append(("xyz"[stays], "ABC"[at]))
    return _running("ABC"[start], made)


def _headings(rng: np.random.Generator, steps: int) -> Example:
    """`Elm?S`: l and r turn by a quarter, m swaps east and west, s goes straight on."""
    heading = start = int(rng.integers(4))
    made = []
    for _ in range(steps):
        turn = str(rng.choice(list("lrms")))
        heading = (-heading if turn == "m" else heading + {"l": -1, "r": 1, "s": 0}[turn]) % 4
        made.append((turn, "NESW"[heading]))
    return _running("NESW"[start], made)


def _parity(rng: np.random.Generator, steps: int) -> Example:
    """`#101?0`: whether the number of ones is odd."""
    odd, made = 0, []
    for _ in range(steps):
        bit = int(rng.integers(2))
        odd ^= bit
        made.append((str(bit), str(odd)))
    return _running("#", made)


def _modular(rng: np.random.Generator, steps: int) -> Example:
    """`3+4*2?4`: from left to right, modulo 5. No factor is 0, so that every step counts."""
    value = start = int(rng.integers(_MODULUS))
    made = []
    for _ in range(steps):
        times = bool(rng.integers(2))
        operand = int(rng.integers(times, _MODULUS))
        value = (value * operand if times else value + operand) % _MODULUS
        made.append((f"{'*' if times else '+'}{operand}", str(value)))
    return _running(str(start), made)


HEADINGS = Task("headings", "turns and mirrors", range(1, 9), range(9, 25), _headings)
SHELLS = Task("shells", "swaps of shells", range(1, 9), range(9, 25), _shells)
PARITY = Task("parity", "bits to be added", range(1, 9), range(9, 25), _parity)
MODULAR = Task("modular", "operations one after the other", range(1, 9), range(9, 25), _modular)
