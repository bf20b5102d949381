"""Leaving out a step that spikes, before the optimizer moves. Decided on the device, so that the host never waits for it.

Every step is held against the latest ones of its kind, as the guard holds the logged ones (`mythos.train.alerts`), by the
same limits: in logarithms, against their median, in units of a spread that comes from the differences of neighbours. What
was left out counts among the latest too: where the loss stays up, it is the new usual after half a window of medians.
Guarded steps: OLMo (Groeneveld et al. 2024); theirs are one kind, and the spread that of the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mythos.contract.alerts import SKIPPABLE, limit
from mythos.contract.config import AlertConfig


class Brake:
    """Which steps to leave out, of the kinds whose policy is `skip`. Truthy where there are such kinds."""

    def __init__(self, policies: AlertConfig) -> None:
        self.wanted = [getattr(policies, kind) == "skip" for kind in SKIPPABLE]
        self.past: dict[str, Tensor] = {}
        """By kind of step: logarithms of loss and gradient norm [2, W], the latest last, NaN where there is none."""

    def __bool__(self) -> bool:
        return any(self.wanted)

    def judge(self, kind: str, loss: Tensor, norm: Tensor, may_overflow: bool = False) -> Tensor:
        """Why to leave out a step: for each of SKIPPABLE whether that is a reason, bool [3], on the device of `loss`.

        `norm` is the gradient's before clipping. Where it `may_overflow`, as with a loss scale, that is no reason.
        """
        values = torch.stack((loss.detach().float(), norm.detach().float()))
        finite = values.isfinite()
        here = torch.where(finite, values.clamp(min=1e-12).log(), math.nan)
        known = self.past.get(kind)
        if known is None:
            known = here.new_full((2, int(limit("spike_window"))), math.nan)
        self.past[kind] = torch.cat((known[:, 1:], here[:, None]), dim=1)
        broken = ~(finite[0] if may_overflow else finite.all())
        found = (broken, *_spikes(known, here))
        return torch.stack(
            [one if wanted else torch.zeros_like(one) for one, wanted in zip(found, self.wanted, strict=True)]
        )

    def state(self) -> dict[str, Tensor]:
        """What later judgements rest on, by kind of step."""
        return dict(self.past)

    def restore(self, state: dict[str, Tensor], device: str) -> None:
        """The inverse of `state`."""
        self.past = {kind: values.to(device) for kind, values in state.items()}


def _spikes(known: Tensor, here: Tensor) -> Iterator[Tensor]:
    """Whether loss and gradient norm lie too far above the known ones [2, W]; not where either side is unknown."""
    least = int(limit("spike_least"))
    above = here - known[:, -least:].nanmedian(-1).values
    spread = 1.4826 / math.sqrt(2) * known.diff(dim=-1).abs().nanmedian(-1).values
    enough = known.isfinite().sum(-1) >= least
    for row, name in enumerate(("loss", "gradient")):
        far = above[row] > limit("spike_sigmas") * spread[row].clamp(min=limit(f"{name}_floor"))
        yield far & enough[row]
