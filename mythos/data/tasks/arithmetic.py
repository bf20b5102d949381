"""Tasks on numbers: addition with long carries, of long numbers all alike and of short ones as people write them."""

from __future__ import annotations

import numpy as np

from mythos.data.tasks.task import Example, Task, answered

_DIGITS = 12
_SHORT = 3


def _addition(rng: np.random.Generator, longest: int) -> Example:
    """`0472+5631=06103`, the first digit first: to know it is to know every carry that runs into it.

    A digit's difficulty is the number of places that its incoming carry has come from, 0 where there is none.
    """
    while True:
        first, second = rng.integers(10, size=(2, _DIGITS))  # least significant digit first
        if longest:
            _plant(rng, first, second, longest)
        else:
            second = np.array([rng.integers(10 - digit) for digit in first])
        runs = _carry_runs(first, second)
        if max(runs) == longest:
            break
    values = [int("".join(map(str, digits[::-1]))) for digits in (first, second)]
    question = f"{values[0]:0{_DIGITS}d}+{values[1]:0{_DIGITS}d}="
    return answered(question, f"{sum(values):0{_DIGITS + 1}d}", runs[::-1])


def _sum(rng: np.random.Generator, longest: int) -> Example:
    """`37+58=95`, as one writes it: numbers of up to three digits, or of as many as the carry needs.

    How many digits the shorter one has is drawn evenly, so that `250+7=` is asked as often as `250+731=`. Every digit of the
    answer is as difficult as in `_addition`; a first digit that is nothing but a carry is told by it.
    """
    most = max(_SHORT, longest)
    while True:
        digits = int(rng.integers(max(longest, 1), most + 1))
        fewer = int(rng.integers(1, digits + 1))
        first, second = rng.integers(10, size=(2, digits))  # least significant digit first
        second[fewer:] = 0
        if longest:
            _plant(rng, first, second, longest, fewer)
        one, other = (int("".join(map(str, digits[::-1]))) for digits in (first, second))
        runs = _carry_runs(first, second)
        if max(runs) == longest and (len(str(one)), len(str(other))) == (digits, fewer):
            break
    if rng.integers(2):
        one, other = other, one
    answer = str(one + other)
    return answered(f"{one}+{other}=", answer, runs[: len(answer)][::-1])


def _plant(rng: np.random.Generator, first: np.ndarray, second: np.ndarray, run: int, fewer: int = _DIGITS) -> None:
    """Overwrite some digits so that a carry begins and then runs on through digits whose sum is 9.

    Where the second number has no digit any more, from place `fewer` on, the first one's are 9.
    """
    at = int(rng.integers(len(first) - run + 1))
    first[at] = rng.integers(1, 10)
    second[at] = rng.integers(10 - first[at], 10)
    first[max(fewer, at + 1) : at + run] = 9
    second[at + 1 : at + run] = 9 - first[at + 1 : at + run]


def _carry_runs(first: np.ndarray, second: np.ndarray) -> list[int]:
    """For each digit of the sum, [D + 1] from the least significant one: how many places its carry has run."""
    runs = [0]
    for total in first + second:
        runs.append(1 if total >= 10 else runs[-1] + 1 if total == 9 and runs[-1] else 0)
    return runs


SUMS = Task("sums", "places that the longest carry runs", range(0, 4), range(4, 7), _sum)
ADDITION = Task("addition", "places that the longest carry runs", range(0, 6), range(6, 12), _addition)
