"""The gate of a finished model: a linear probe on the state that says whether reading out now would cost little.

It learns what training's last steps teach it (`objectives._gate_alone`), but on text that the model has not seen, to the
optimum of a convex problem, and for any model without learned halting of its own: nothing but the probe changes. The
label of a state is KL(deepest read-out ‖ this one) < ε, which is free of the chance in a single next token. A token that is
not asked for anything may always stop; what others lose by that shows when the threshold is chosen with the rule in force.

N states, D width, L loops, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mythos.data.answers import IGNORED, Answers
from mythos.evals.bits import batches, pad
from mythos.models.halting import LoopView
from mythos.models.recurrent import RecurrentModel

RIDGE = 1e-4
"""Weight of the squared norm of the probe, so that classes that separate have an optimum."""


class Record:
    """An exit rule that stops nobody and keeps every loop's states at RMS 1 [B, T, D] and read-outs [B, T, V]."""

    name = "record"
    signal_name = "none"
    reads_out = False

    def start(self) -> None:
        self.states: list[Tensor] = []
        self.log_probs: list[Tensor] = []

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        self.states.append(F.rms_norm(view.after, view.after.shape[-1:]).float())
        self.log_probs.append(view.log_probs().float())
        return torch.zeros_like(view.active), torch.full_like(view.active, torch.nan, dtype=torch.float32)


@torch.no_grad()
def _states(
    model: RecurrentModel, pieces: Sequence[np.ndarray], loops: int, answers: Answers | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of every loop but the last: states [N, L − 1, D] and what reading them out costs against the deepest [N, L − 1]."""
    device = next(model.parameters()).device
    for batch in batches(pieces, model.config.vocab_size * loops):
        inputs, targets = (x.to(device) for x in pad(batch, answers=answers))
        record = Record()
        model(inputs, loops, exit=record)
        kept = torch.tensor(
            [[place < len(piece) - 1 for place in range(inputs.shape[1])] for piece in batch], device=device
        )
        deepest = record.log_probs[-1][kept]
        asked = targets[kept] != IGNORED
        costs = [asked * (deepest.exp() * (deepest - now[kept])).sum(-1) for now in record.log_probs[:-1]]
        yield torch.stack([state[kept] for state in record.states[:-1]], 1), torch.stack(costs, 1)


class GateFitter:
    """States and costs of a model on some text, observed once; a probe for any ε from them."""

    def __init__(
        self, model: RecurrentModel, pieces: Sequence[np.ndarray], loops: int, answers: Answers | None = None
    ) -> None:
        states, costs = zip(*_states(model, pieces, loops, answers), strict=True)
        self.states = torch.cat(states).flatten(0, 1).double()
        self.costs = torch.cat(costs).flatten()

    def fit(self, epsilon: float) -> nn.Linear:
        """The probe of least logistic loss."""
        label = (self.costs < epsilon).double()
        weights = torch.zeros(self.states.shape[1] + 1, dtype=torch.float64, device=self.states.device)
        weights.requires_grad_()
        solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            logits = self.states @ weights[:-1] + weights[-1]
            value = F.binary_cross_entropy_with_logits(logits, label) + RIDGE * weights[:-1].square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            solver.step(loss)
        gate = nn.Linear(self.states.shape[1], 1)
        with torch.no_grad():
            gate.weight.copy_(weights[:-1])
            gate.bias.copy_(weights[-1:])
        return gate.requires_grad_(False)
