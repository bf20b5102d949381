"""The gate of a finished model: a small probe on the state that says whether a token may stop now.

It learns what training's last steps teach a gate (`objectives._gate_alone`), but on text that the model has not seen, and
for any model without learned halting of its own: nothing but the probe changes. Reading out costs little where
KL(deepest read-out ‖ this one) < ε, which is free of the chance in a single next token. A token may stop after a loop
where that holds of the state after the loop, which is read out, and, to be `careful`, of the state before it as well: that is
the one which the keys and values come from that later tokens go on seeing. A token that is not asked for anything has no
read-out to judge by and may stop after some number of loops; what others lose by that shows with the rule in force.

N states, D width, L loops, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mythos.contract.config import RecurrentConfig
from mythos.data.answers import IGNORED, Answers
from mythos.evals.bits import batches, pad
from mythos.models.cache import within_window
from mythos.models.halting import ExitRule, Halt, LoopView, unit
from mythos.models.recurrent import RecurrentModel
from mythos.models.rope import Positions

RIDGE = 1e-5
"""Weight of the squared norm of the probe, so that classes that separate have an optimum."""


def gate_width(config: RecurrentConfig) -> int:
    """Hidden width of a probe: read-outs that are sure lie on all sides of those that are not, which no single plane parts."""
    return max(1, config.width // 8)


class Record:
    """An exit rule that keeps states at RMS 1 [B, T, D] and what they read out [B, T, V], and of every loop who ran [B, T].

    It stops whom `rule` stops, nobody without one. States and read-outs begin with those before the first loop.
    """

    name = "record"
    signal_name = "none"
    reads_out = False

    def __init__(self, model: RecurrentModel, rule: ExitRule | None = None) -> None:
        self.model, self.rule = model, rule

    def start(self) -> None:
        self.states: list[Tensor] = []
        self.log_probs: list[Tensor] = []
        self.ran: list[Tensor] = []

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        if view.loop == 1:
            self.states.append(unit(view.before).float())
            self.log_probs.append(self._of_first(view.before))
        self.states.append(unit(view.after).float())
        self.log_probs.append(view.log_probs().float())
        self.ran.append(view.active)
        if self.rule is not None:
            return self.rule(view)
        return torch.zeros_like(view.active), torch.full_like(view.active, torch.nan, dtype=torch.float32)

    def _of_first(self, state: Tensor) -> Tensor:
        length = state.shape[1]
        mask = within_window(state, self.model.config.attention_window)
        positions = Positions(torch.arange(length, device=state.device), length)
        return self.model.read_out(state, positions, None, 0, mask).float().log_softmax(-1)


class Seen(NamedTuple):
    """What is known of tokens after a loop: the states after and before it [N, 2·D] and what reading these out costs [N, 2],
    in nats, how many loops they have run [N], and whether anything is asked of them [N]."""

    states: Tensor
    costs: Tensor
    loops: Tensor
    asked: Tensor

    def extended(self, others: Iterable[Seen]) -> Seen:
        return Seen(*(torch.cat(parts) for parts in zip(self, *others, strict=True)))


@torch.no_grad()
def _seen(
    model: RecurrentModel, pieces: Sequence[np.ndarray], loops: int, answers: Answers | None, rule: ExitRule | None
) -> Iterator[Seen]:
    """Every loop but the last that tokens run under the rule.

    Tokens of a line whose beginning is cut off are left out: what they are asked for cannot be known.
    """
    device = next(model.parameters()).device
    for batch in batches(pieces, model.config.vocab_size * loops):
        inputs, targets = (x.to(device) for x in pad(batch, answers=answers))
        kept = torch.tensor(
            [[place < len(piece) - 1 for place in range(inputs.shape[1])] for piece in batch], device=device
        )
        if answers is not None:
            kept &= torch.from_numpy(answers.whole(inputs.cpu().numpy())).to(device)
        seen = everything = Record(model)
        model(inputs, loops, exit=everything)
        if rule is not None:
            model(inputs, loops, exit=(seen := Record(model, rule)))
        deepest, asked = everything.log_probs[-1], targets != IGNORED
        costs = [(deepest.exp() * (deepest - now)).sum(-1) for now in seen.log_probs]
        for loop, ran in enumerate(seen.ran[: loops - 1]):
            here = ran & kept
            both = torch.cat((seen.states[loop + 1], seen.states[loop]), dim=-1)[here]
            cost = torch.stack((costs[loop + 1], costs[loop]), dim=-1)[here]
            yield Seen(both, cost, torch.full_like(cost[:, 0], loop + 1), asked[here])


class GateFitter:
    """States of a model on some text and what stopping there costs, as observed so far; a probe for any ε from them."""

    def __init__(
        self, model: RecurrentModel, pieces: Sequence[np.ndarray], loops: int, answers: Answers | None = None
    ) -> None:
        self.model, self.pieces, self.loops, self.answers = model, pieces, loops, answers
        width, device = model.config.width, next(model.parameters()).device
        nothing = torch.empty(0, device=device)
        self.seen = Seen(nothing.new_empty(0, 2 * width), nothing.new_empty(0, 2), nothing, nothing.bool())
        self.observe()
        self._plain = self.seen

    def forget(self) -> None:
        """Keep what was seen without a rule alone."""
        self.seen = self._plain

    def observe(self, rule: ExitRule | None = None) -> None:
        """Add what is seen where every token stops by the rule: states beside tokens that stopped are a little different."""
        self.seen = self.seen.extended(_seen(self.model, self.pieces, self.loops, self.answers, rule))

    def fit(self, epsilon: float, careful: bool = True, least: int = 1) -> Halt:
        """The probe of least logistic loss, as far as its steps take it from a beginning that is always the same.

        Tokens may stop that cost less than ε, or that are asked for nothing and have run `least` loops.
        """
        after, before = self.seen.states.chunk(2, dim=1)
        cost = self.seen.costs.amax(1) if careful else self.seen.costs[:, 0]
        label = torch.where(self.seen.asked, cost < epsilon, self.seen.loops >= least).float()
        probe = Halt(self.model.config.width, gate_width(self.model.config))
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in probe.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw) / parameter.shape[-1] ** 0.5)
        probe.to(after.device)
        solver = torch.optim.LBFGS(probe.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            weights = RIDGE * sum((parameter.square().sum() for parameter in probe.parameters()), torch.zeros(()))
            value = F.binary_cross_entropy_with_logits(probe(before, after), label) + weights
            value.backward()
            return value

        with torch.enable_grad():
            solver.step(loss)
        return probe.requires_grad_(False)
