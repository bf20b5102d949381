"""Nested boolean formulas of known depth, after Nangia & Bowman 2018, "ListOps" (arXiv:1804.06028)."""

from __future__ import annotations

import numpy as np

from mythos.data.tasks.task import Example, Task, answered

_SIDE = 3  # the branch that does not matter for the depth stays below this one


def _boolean(rng: np.random.Generator, depth: int) -> Example:
    """`!((T&F)|F)=T`, either value equally likely."""
    value = bool(rng.integers(2))
    return answered(_formula(rng, depth, value) + "=", "FT"[value], depth)


def _formula(rng: np.random.Generator, depth: int, value: bool) -> str:
    """A formula with this value, whose shortest proof is `depth` operations deep.

    Nesting alone would not do: `(F&…)` is false whatever the dots are. So the deep branch of an operation is one
    without which the value does not follow: of a false `&` the only false branch, of a true `|` the only true one.
    """
    if not depth:
        return "FT"[value]
    operation = str(rng.choice(list("!&|^")))
    if operation == "!":
        return f"!{_formula(rng, depth - 1, not value)}"
    side = bool(rng.integers(2)) if operation == "^" else operation == "&"
    deep = value != side if operation == "^" else value
    branches = [
        _formula(rng, depth - 1, deep),
        _formula(rng, int(rng.integers(min(depth, _SIDE))), side),
    ]
    left, right = branches if rng.integers(2) else reversed(branches)
    return f"({left}{operation}{right})"


BOOLEAN = Task("boolean", "operations that the shortest proof nests", range(1, 7), range(7, 13), _boolean)
