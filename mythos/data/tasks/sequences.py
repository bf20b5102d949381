"""Tasks on strings: following a permutation, counting open brackets.

A model of fixed depth can only look k steps ahead, nest or count so far; see Delétang et al. 2023, "Neural Networks and
the Chomsky Hierarchy" (arXiv:2207.02098).
"""

from __future__ import annotations

import numpy as np

from mythos.data.tasks.task import Example, Task, answered

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BRACKETS = 40


def _hops(rng: np.random.Generator, hops: int) -> Example:
    """`ca db … 03 a=d`: from a, three steps along the pairs. They form one cycle, so no two step counts agree."""
    cycle = rng.permutation(len(_LETTERS))
    order = rng.permutation(len(_LETTERS))
    pairs = [_LETTERS[cycle[i]] + _LETTERS[cycle[(i + 1) % len(cycle)]] for i in order]
    start = int(rng.integers(len(cycle)))
    end = cycle[(start + hops) % len(cycle)]
    return answered(f"{' '.join(pairs)} {hops:02d} {_LETTERS[cycle[start]]}=", _LETTERS[end], hops)


def _brackets(rng: np.random.Generator, depth: int) -> Example:
    """`(()(=)).`: the brackets that are still open, closed. All strings of the length and depth are equally likely."""
    length = _BRACKETS + depth % 2
    steps = np.repeat([1, -1], [(length + depth) // 2, (length - depth) // 2])
    while True:
        rng.shuffle(steps)
        if steps.cumsum().min() >= 0:
            break
    return answered("".join("(" if step > 0 else ")" for step in steps) + "=", ")" * depth + ".", depth)


HOPS = Task("hops", "steps along a permutation", range(1, 11), range(11, 21), _hops)
BRACKETS = Task("brackets", "brackets that are open at once", range(1, 9), range(9, 17), _brackets)
