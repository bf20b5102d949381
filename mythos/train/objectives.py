"""What a step minimises. `targets` are already the next tokens: nothing is shifted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mythos.contract.config import Config, ObjectiveConfig
from mythos.data.answers import IGNORED
from mythos.models.build import Model
from mythos.models.dense import DenseModel
from mythos.models.halting import ActRule, ExitRule, Replay
from mythos.models.recurrent import RecurrentModel
from mythos.models.telemetry import Telemetry
from mythos.train.cross_entropy import cross_entropy, mean_asked, token_losses
from mythos.train.schedule import Plan


@dataclass
class Loss:
    """`total` to differentiate, its parts by name (each already weighted), and the pass's telemetry."""

    total: Tensor
    parts: dict[str, Tensor]
    telemetry: Telemetry

    def released(self) -> Loss:
        """The numbers without the graph that they came from, once the backward pass is over."""
        self.telemetry.release()
        return Loss(self.total.detach(), self.parts, self.telemetry)


class Batch(NamedTuple):
    """inputs, targets [B, T]; `documents` [B, T] number the document of each input, None where attention may cross.

    `exits` [B, T] are the loops after which tokens stop in a step of mixed exits (None: they are drawn). `asked` [] is the
    divisor of sums over targets (None: how many of these are asked for); a part of a step has the mean over all parts.
    """

    inputs: Tensor
    targets: Tensor
    documents: Tensor | None = None
    exits: Tensor | None = None
    asked: Tensor | None = None

    def cut(self, parts: int) -> list[Batch]:
        """The rows in equal parts, one after the other."""
        cut = [[None] * parts if rows is None else rows.chunk(parts) for rows in self[:4]]
        return [Batch(*rows)._replace(asked=self.asked) for rows in zip(*cut, strict=True)]

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Mean nats per target that is asked for, of logits [B, T, V]."""
        return cross_entropy(logits, self.targets, self.asked)


def compute_loss(
    model: Model,
    inputs: Tensor,
    targets: Tensor,
    config: Config,
    plan: Plan,
    step: int,
    documents: Tensor | None = None,
) -> Loss:
    """The objective of one step. inputs, targets, documents as in `Batch`; `plan` as drawn by the LoopSampler."""
    return loss_of(model, Batch(inputs, targets, documents), config, plan, step)


def loss_of(model: Model, batch: Batch, config: Config, plan: Plan, step: int) -> Loss:
    """The same for a batch that may be a part of the step's."""
    if isinstance(model, DenseModel):
        output = model(batch.inputs, documents=batch.documents)
        loss = batch.cross_entropy(output.logits)
        return Loss(loss, {"cross_entropy": loss.detach()}, output.telemetry)
    if plan.gate_only:
        return _gate_alone(model, batch, config, plan)
    if plan.mixed:
        return _mixed_exits(model, batch, config, plan)
    return {"act": _act, "entropy_gate": _entropy_gate, "depth_supervised": _depth_supervised}[config.objective.kind](
        model, batch, config, plan, step
    )


def _unroll(
    model: RecurrentModel, batch: Batch, config: Config, plan: Plan, exit: ExitRule | None = None
) -> tuple[list[Tensor], Telemetry]:
    return model.unroll(
        batch.inputs,
        plan.loops,
        read_at=plan.depths,
        exit=exit,
        gradient_loops=plan.gradient_loops,
        checkpoint=config.train.checkpoint_loops,
        documents=batch.documents,
    )


def _depth_supervised(model: RecurrentModel, batch: Batch, config: Config, plan: Plan, step: int) -> Loss:
    """Mean cross-entropy over the sampled depths, a uniform prior on them."""
    readouts, telemetry = _unroll(model, batch, config, plan)
    losses = [batch.cross_entropy(logits) for logits in readouts]
    parts = {"cross_entropy": losses[-1]}
    if len(losses) > 1:
        parts["shallow"] = torch.stack(losses[:-1]).mean()
    return _with_router(torch.stack(losses).mean(), parts, telemetry, config.objective)


def even_exits(plan: Plan, shape: Sequence[int], device: torch.device | str) -> Tensor:
    """Loops after which tokens stop, int64 of `shape`: drawn evenly among those that carry gradient."""
    return torch.randint(plan.loops - plan.gradient_loops + 1, plan.loops + 1, shape, device=device)


def _mixed_exits(model: RecurrentModel, batch: Batch, config: Config, plan: Plan) -> Loss:
    """Cross-entropy where every token stops at a depth of its own, drawn evenly, and is frozen there as at inference.

    Tokens that are asked for something may be spared: they run all loops, beside others that stop early.
    """
    drawn = batch.exits if batch.exits is not None else even_exits(plan, batch.inputs.shape, batch.inputs.device)
    if config.objective.mixed_exits_spare:
        drawn = torch.where(batch.targets == IGNORED, drawn, plan.loops)
    exits = Replay(drawn)
    (logits,), telemetry = _unroll(model, batch, config, plan, exits)
    loss = batch.cross_entropy(logits)
    return _with_router(loss, {"cross_entropy": loss}, telemetry, config.objective)


def _act(model: RecurrentModel, batch: Batch, config: Config, plan: Plan, step: int) -> Loss:
    """Cross-entropy of the ACT read-out plus a ponder cost that rises from 0 (Graves 2016, eq. 14)."""
    objective = config.objective
    (logits,), telemetry = _unroll(model, batch, config, plan, ActRule(model.config.act_threshold))
    assert telemetry.ponder_cost is not None
    loss = batch.cross_entropy(logits)
    weight = objective.ponder_cost * min(1.0, (step + 1) / max(1, objective.ponder_anneal_steps))
    ponder = weight * telemetry.ponder_cost.mean()
    return _with_router(loss + ponder, {"cross_entropy": loss, "ponder": ponder}, telemetry, objective)


def exit_distribution(gate_logits: Tensor) -> Tensor:
    """Gate logits [..., n] at ascending depths → probability [..., n] of stopping at each; the last takes what is left."""
    stop, go = F.logsigmoid(gate_logits), F.logsigmoid(-gate_logits)
    reached = torch.cat((torch.zeros_like(go[..., :1]), go[..., :-1].cumsum(-1)), dim=-1)
    return torch.cat((reached[..., :-1] + stop[..., :-1], reached[..., -1:]), dim=-1).exp()


def _entropy_gate(model: RecurrentModel, batch: Batch, config: Config, plan: Plan, step: int) -> Loss:
    """Cross-entropy expected under the gate's exits, less a bonus for their entropy (Zhu et al. 2025, LoopLM, eq. 4)."""
    readouts, telemetry = _unroll(model, batch, config, plan)
    p = exit_distribution(_gate_logits(telemetry, plan.depths))
    losses = [token_losses(logits, batch.targets) for logits in readouts]
    expected = mean_asked((p * torch.stack(losses, dim=-1)).sum(-1), batch.targets, batch.asked)
    entropy = config.objective.gate_entropy * torch.special.entr(p).sum(-1).mean()
    deepest = mean_asked(losses[-1], batch.targets, batch.asked)
    parts = {"cross_entropy": deepest, "expected": expected, "gate_entropy": -entropy}
    return _with_router(expected - entropy, parts, telemetry, config.objective)


def _gate_logits(telemetry: Telemetry, depths: Sequence[int]) -> Tensor:
    """The gate's at these depths, [B, T, n]; an index of them would have to be copied to the device."""
    assert telemetry.gate_logits is not None
    return torch.stack([telemetry.gate_logits[..., depth - 1] for depth in depths], dim=-1)


def _gate_alone(model: RecurrentModel, batch: Batch, config: Config, plan: Plan) -> Loss:
    """The gate of a frozen model learns where stopping costs less than ε: KL(deepest read-out ‖ this one) < ε.

    The deepest prediction stands for the truth, which makes the label free of the chance in a single next token.
    """
    readouts, telemetry = _unroll(model, batch, config, plan)
    with torch.no_grad():
        deepest = readouts[-1].float().log_softmax(-1)
        costs = [
            F.kl_div(logits.float().log_softmax(-1), deepest, reduction="none", log_target=True).sum(-1)
            for logits in readouts[:-1]
        ]
        label = (torch.stack(costs, dim=-1) < config.objective.gate_epsilon).float()
    logits = _gate_logits(telemetry, plan.depths[:-1]).float()
    loss = F.binary_cross_entropy_with_logits(logits, label)
    with torch.no_grad():
        parts = {"cross_entropy": batch.cross_entropy(readouts[-1]), "gate": loss.detach()}
    return Loss(loss, parts, telemetry)


def _with_router(total: Tensor, parts: dict[str, Tensor], telemetry: Telemetry, objective: ObjectiveConfig) -> Loss:
    for name, attribute, weight in (
        ("balance", "balance_loss", objective.balance_loss),
        ("router_z", "z_loss", objective.router_z_loss),
    ):
        value = telemetry.router_mean(attribute) if weight else None
        if value is not None:
            parts[name] = weight * value
            total = total + parts[name]
    return Loss(total, {name: part.detach() for name, part in parts.items()}, telemetry)
