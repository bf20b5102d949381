"""Whether loops follow predictability: mean loops in tenths of the tokens, from the most predictable to the least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from mythos.data.answers import IGNORED
from mythos.data.loader import HeldOutDocument
from mythos.evals.bits import batches, pad, windows
from mythos.models.build import Model
from mythos.models.halting import ExitRule

PARTS = 10


@dataclass(frozen=True)
class Tenths:
    """Mean loss (nats) and mean loops of each tenth, tokens ordered by their loss under the rule."""

    tokens: int
    losses: tuple[float, ...]
    loops: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Loops of the hardest tenth over those of the easiest."""
        return self.loops[-1] / self.loops[0]


@torch.no_grad()
def tenths(
    model: Model, documents: Sequence[HeldOutDocument], context: int, loops: int | None, exit: ExitRule
) -> Tenths:
    """Score the documents with a rule in force and sort what comes out."""
    losses, executed = [], []
    for batch in batches(windows(documents, context), model.config.vocab_size):
        inputs, targets = pad(batch, answers=documents[0].answers)
        output = model.eval()(inputs, loops, exit=exit)
        scored = targets != IGNORED
        losses.append(F.cross_entropy(output.logits[scored].float(), targets[scored], reduction="none"))
        executed.append(output.telemetry.loops[scored])
    loss, ran = torch.cat(losses).numpy(), torch.cat(executed).numpy()
    parts = np.array_split(np.argsort(loss, kind="stable"), PARTS)
    return Tenths(
        len(loss), tuple(float(loss[part].mean()) for part in parts), tuple(float(ran[part].mean()) for part in parts)
    )
