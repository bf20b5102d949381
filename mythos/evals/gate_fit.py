"""The gate of a finished model: a small probe on the state that says whether a token may stop now.

It learns what training's last steps teach a gate (`objectives._gate_alone`), but on text that the model has not seen, and
for any model without learned halting of its own: nothing but the probe changes. Reading out costs little where
KL(deepest read-out ‖ this one) < ε, which is free of the chance in a single next token. A token may stop after a loop
where that holds of the state after the loop, which is read out, and of the state before it as well: that is the one
which the keys and values come from that later tokens go on seeing. A token that is not asked for anything may always stop; what
others lose by that shows when the threshold is chosen with the rule in force.

N states, D width, L loops, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mythos.data.answers import IGNORED, Answers
from mythos.evals.bits import batches, pad
from mythos.models.cache import within_window
from mythos.models.halting import Halt, LoopView
from mythos.models.recurrent import RecurrentModel
from mythos.models.rope import Positions

RIDGE = 1e-5
"""Weight of the squared norm of the probe, so that classes that separate have an optimum."""
WIDTH = 8
"""Hidden width of a probe: read-outs that are sure lie on all sides of those that are not, which no single plane parts."""


class Record:
    """An exit rule that stops nobody and keeps every loop's states at RMS 1 [B, T, D] and read-outs [B, T, V].

    `log_probs` begins with what the state before the first loop says.
    """

    name = "record"
    signal_name = "none"
    reads_out = False

    def __init__(self, model: RecurrentModel) -> None:
        self.model = model

    def start(self) -> None:
        self.states: list[Tensor] = []
        self.log_probs: list[Tensor] = []

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        if view.loop == 1:
            self.log_probs.append(self._of_first(view.before))
        self.states.append(F.rms_norm(view.after, view.after.shape[-1:]).float())
        self.log_probs.append(view.log_probs().float())
        return torch.zeros_like(view.active), torch.full_like(view.active, torch.nan, dtype=torch.float32)

    def _of_first(self, state: Tensor) -> Tensor:
        length = state.shape[1]
        mask = within_window(state, self.model.config.attention_window)
        positions = Positions(torch.arange(length, device=state.device), length)
        return self.model.read_out(state, positions, None, 0, mask).float().log_softmax(-1)


@torch.no_grad()
def _states(
    model: RecurrentModel, pieces: Sequence[np.ndarray], loops: int, answers: Answers | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of every loop but the last: states [N, L − 1, D], and what stopping there costs [N, L − 1].

    Tokens of a line whose beginning is cut off are left out: what they are asked for cannot be known.
    """
    device = next(model.parameters()).device
    for batch in batches(pieces, model.config.vocab_size * loops):
        inputs, targets = (x.to(device) for x in pad(batch, answers=answers))
        record = Record(model)
        model(inputs, loops, exit=record)
        kept = torch.tensor(
            [[place < len(piece) - 1 for place in range(inputs.shape[1])] for piece in batch], device=device
        )
        if answers is not None:
            kept &= torch.from_numpy(answers.whole(inputs.cpu().numpy())).to(device)
        deepest = record.log_probs[-1][kept]
        asked = targets[kept] != IGNORED
        costs = torch.stack(
            [asked * (deepest.exp() * (deepest - now[kept])).sum(-1) for now in record.log_probs[:-1]], 1
        )
        yield torch.stack([state[kept] for state in record.states[:-1]], 1), torch.maximum(costs[:, :-1], costs[:, 1:])


class GateFitter:
    """States and costs of a model on some text, observed once; a probe for any ε from them."""

    def __init__(
        self, model: RecurrentModel, pieces: Sequence[np.ndarray], loops: int, answers: Answers | None = None
    ) -> None:
        states, costs = zip(*_states(model, pieces, loops, answers), strict=True)
        self.states = torch.cat(states).flatten(0, 1)
        self.costs = torch.cat(costs).flatten()

    def fit(self, epsilon: float) -> Halt:
        """The probe of least logistic loss, as far as its steps take it from a beginning that is always the same."""
        label = (self.costs < epsilon).float()
        probe = Halt(self.states.shape[1], WIDTH)
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in probe.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw) / parameter.shape[-1] ** 0.5)
        probe.to(self.states.device)
        solver = torch.optim.LBFGS(probe.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            weights = RIDGE * sum((parameter.square().sum() for parameter in probe.parameters()), torch.zeros(()))
            value = F.binary_cross_entropy_with_logits(probe(self.states), label) + weights
            value.backward()
            return value

        with torch.enable_grad():
            solver.step(loss)
        return probe.requires_grad_(False)
