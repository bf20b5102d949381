"""Debiased exponential moving average, in numpy alone, going on where it stopped when samples are appended."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mythos_tui.widgets.spans import Floats, Growing

_BLOCK = 128


class Average:
    """The moving average of a vector that only grows: mᵢ = w·mᵢ₋₁ + (1-w)·yᵢ, divided by 1-wⁱ.

    Samples that are not finite stay as they are and do not enter the average. Works in blocks: within a block one
    product with a triangular matrix, across blocks a carried value.
    """

    def __init__(self, weight: float) -> None:
        if not 0 <= weight < 1:
            raise ValueError(f"weight must lie in [0, 1), got {weight}")
        self._weight = weight
        self._out = Growing()
        self._mean, self._seen = 0.0, 0

    def over(self, y: Floats) -> Floats:
        """Smoothed y, (n,); only what was appended since the last call is worked on."""
        if y.size > self._out.size:
            self._out.extend(self._go_on(y[self._out.size :]))
        smoothed: Floats = self._out.values
        return smoothed

    def _go_on(self, y: Floats) -> Floats:
        out = np.array(y, dtype=np.float64)
        finite = np.isfinite(out)
        values = out[finite]
        if self._weight == 0 or values.size == 0:
            return out
        kernel, fade = _kernel(self._weight)
        blocks = -(-values.size // _BLOCK)
        padded = np.zeros(blocks * _BLOCK)
        padded[: values.size] = values
        local = padded.reshape(blocks, _BLOCK) @ kernel
        local += _carried(local[:, -1], float(fade[-1]), self._mean)[:, None] * fade
        flat = local.reshape(-1)[: values.size]
        counts = np.arange(self._seen + 1, self._seen + values.size + 1)
        out[finite] = flat / -np.expm1(counts * np.log(self._weight))
        self._mean, self._seen = float(flat[-1]), self._seen + values.size
        return out


@lru_cache(maxsize=16)
def _kernel(weight: float) -> tuple[Floats, Floats]:
    """What each sample of a block gives to those after it, and what is left of what came before the block."""
    lag = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None]
    kernel = np.where(lag >= 0, (1 - weight) * weight ** np.maximum(lag, 0), 0.0)
    fade: Floats = weight ** np.arange(1.0, _BLOCK + 1)
    return kernel, fade


def _carried(ends: Floats, fade: float, before: float) -> Floats:
    """What each block inherits from those before it, given each block's own end value."""
    carried = [before]
    for end in ends[:-1].tolist():
        carried.append(end + fade * carried[-1])
    return np.array(carried)


def smooth(y: Floats, weight: float) -> Floats:
    """The moving average of a whole vector, (n,) to (n,)."""
    return Average(weight).over(np.asarray(y, dtype=np.float64)).copy()
