"""The training loop as an object: one `step()` at a time, with everything that resuming needs in `state()`.

It knows models, data and its siblings; nothing of files to write, processes or who watches. Where several ranks train,
each has a trainer, and what rank 0 does with its own, the others do as well (see `everywhere` and `follower`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from mythos.contract.budget import flops_training
from mythos.contract.config import Config, RecurrentConfig
from mythos.data.loader import Loader
from mythos.data.shards import Split
from mythos.models.build import Model, build_model, compile_for_training
from mythos.models.recurrent import moe_layers
from mythos.models.telemetry import Telemetry
from mythos.train.brake import Brake
from mythos.train.cross_entropy import count_asked
from mythos.train.device import Device
from mythos.train.distributed import Parallel, draw_exits, merge, skip_noise, whole_model
from mythos.train.objectives import Batch, Loss
from mythos.train.optim import Optimizer
from mythos.train.pieces import Pieces
from mythos.train.ranks import Ranks, check_parts
from mythos.train.schedule import LoopSampler, Plan, lr_share
from mythos.train.signs import kind_of_step

ALONE = Ranks()
Result = TypeVar("Result")


def everywhere(method: Callable[[Trainer], Result]) -> Callable[[Trainer], Result]:
    """A method of the trainer that every rank must run: calling it on rank 0 has the followers run it too."""

    @wraps(method)
    def ordered(trainer: Trainer) -> Result:
        trainer.ranks.order(method.__name__)
        return method(trainer)

    return ordered


@dataclass
class StepResult:
    """One optimizer step of all ranks. Tensors are left on the device: reading them is the caller's decision."""

    step: int
    tokens: int
    loops: int
    loss: Tensor
    parts: dict[str, Tensor]
    grad_norm: Tensor
    lr: float
    muon_lr: float
    flops: float
    telemetry: Telemetry
    skipped: Tensor | None = None
    """Which of SKIPPABLE were a reason to leave out the update, bool [3]; None where the run never does."""


class Trainer:
    """Model, optimizer, loader and samplers of one run."""

    def __init__(self, config: Config, train: Split, device: Device, ranks: Ranks = ALONE) -> None:
        self.config, self.device, self.ranks = config, device, ranks
        check_parts(config.train, ranks.world)
        torch.manual_seed(config.train.seed)
        self.model = build_model(config.model)
        if config.train.parallel != "fsdp":
            self.model.to(device.name)
        if config.train.compile:
            compile_for_training(self.model)
        sizes = config.train.sequence, config.train.batch_size, config.train.seed
        self.loader = Loader(train, *sizes, rank=ranks.rank, world=ranks.world)
        self.sampler = LoopSampler(config) if isinstance(config.model, RecurrentConfig) else None
        self.brake = Brake(config.alerts)
        self.steps_done = 0
        self.tokens_done = 0
        self.seconds_done = 0.0  # told by the worker; rank 0's count

    @cached_property
    def parallel(self) -> Parallel:
        """The model shared out over the ranks, at its first use: until then it is whole and weights may be loaded."""
        return Parallel(self.model, self.config, self.device, self.ranks)

    @cached_property
    def optimizer(self) -> Optimizer:
        """Of the parameters as they are once shared out."""
        return Optimizer(self.parallel.model, self.config.train, self.device.scaler(), self.device.update_dtype)

    def share_out(self) -> None:
        """The weights are in place: every rank takes its part of them, which all have to do together."""
        _ = self.optimizer

    def rebind(self) -> None:
        """New parameters have replaced the old ones: share them out anew, with a fresh optimizer."""
        for made in ("parallel", "optimizer"):
            self.__dict__.pop(made, None)

    @everywhere
    def step(self) -> StepResult:
        """Forward, backward, update; then the router biases, once."""
        config = self.config
        self.model.train()
        seconds = self.ranks.agree(round(1000 * self.seconds_done))[0] / 1000 if config.train.max_minutes else 0.0
        batch, plan = self._draw(seconds)
        lr, muon_lr = self.optimizer.set_share(lr_share(self.steps_done, config, seconds))
        for name, parameter in self.optimizer.named:
            if not name.startswith("halt."):
                parameter.requires_grad_(not plan.gate_only)
        loss = merge(self._passes(batch, plan), self.ranks)
        grad_norm, skipped = self._update(loss, plan)
        if not plan.gate_only:
            self._balance(loss, skipped)
        tokens = batch.inputs.numel() * self.ranks.world
        self.steps_done += 1
        self.tokens_done += tokens
        return StepResult(
            self.steps_done,
            self.tokens_done,
            plan.loops,
            loss.parts["cross_entropy"] if plan.gate_only else loss.total,  # one curve for the model from first to last
            loss.parts,
            grad_norm,
            lr,
            muon_lr,
            flops_training(config, plan.loops, len(plan.depths), 0 if plan.gate_only else plan.gradient_loops) * tokens,
            loss.telemetry,
            skipped,
        )

    def _update(self, loss: Loss, plan: Plan) -> tuple[Tensor, Tensor | None]:
        """Let the optimizer move, unless the step is to be left out: the gradient's norm, and `StepResult.skipped`."""
        if not self.brake:
            return self.optimizer.step(), None
        reasons: list[Tensor] = []

        def is_bad(norm: Tensor) -> Tensor:
            kind, scaled = kind_of_step(plan.loops, loss.parts, self.config), self.optimizer.scaler.is_enabled()
            found = self.brake.judge(kind, loss.parts.get("cross_entropy", loss.total), norm, scaled)
            reasons.append(self.ranks.sum(found.int()) > 0)  # alike on all ranks, whatever their rounding
            return reasons[0].any()

        return self.optimizer.step(is_bad), reasons[0]

    def _balance(self, loss: Loss, skipped: Tensor | None) -> None:
        """Move the router biases, unless the step was left out."""
        load, rate = loss.telemetry.expert_load, self.config.objective.router_bias_rate
        if load is None or not rate:
            return
        for layer in moe_layers(self.model):
            before = layer.router_bias.clone()
            layer.update_bias(load, rate)
            if skipped is not None:
                layer.router_bias.copy_(before.where(skipped.any(), layer.router_bias))

    def _draw(self, seconds: float) -> tuple[Batch, Plan]:
        """This rank's rows of the next batch, and the plan, the same on every rank."""
        draw = self.loader.next_with_documents if self.config.train.document_mask else self.loader.next
        batch = Batch(*(self.device.place(part) for part in draw()))
        plan = self.sampler.draw(self.steps_done, seconds) if self.sampler else Plan()
        exits = draw_exits(plan, self.config, self.device, self.ranks)
        return batch._replace(exits=exits, asked=self._asked(batch.targets)), plan

    def _asked(self, targets: Tensor) -> Tensor | None:
        """Targets asked for in a part of the step, the mean over all parts of all ranks, []; None where there is one."""
        parts = self.config.train.accumulate * self.ranks.world
        if parts == 1 or self.loader.answers is None:
            return None
        return self.ranks.sum(count_asked(targets)).clamp(min=1) / parts

    def _passes(self, batch: Batch, plan: Plan) -> list[Loss]:
        """Forward and backward of every micro-batch; the gradients are those of the mean over all of them and all ranks."""
        parts, rows, ranks = self.config.train.accumulate, len(batch.inputs), self.ranks
        losses = []
        skip_noise(self.config, ranks.rank * rows, self.device)
        for number, part in enumerate(batch.cut(parts)):
            with self.parallel.gathering(last=number == parts - 1):
                with self.device.autocast():
                    total, loss = self.parallel.loss(part, self.config, plan, self.steps_done)
                self.optimizer.scaler.scale(total / parts if parts > 1 else total).backward()
            losses.append(loss.released())
        skip_noise(self.config, (ranks.world - 1 - ranks.rank) * rows, self.device)
        return losses

    @everywhere
    def whole_model(self) -> Model:
        """On rank 0 the model with all of its weights, to be read and saved."""
        return whole_model(self.model, self.config, self.device, self.ranks)

    @everywhere
    def hold(self) -> Pieces:
        """What each rank holds of state that is split over them, as it is now, to be written by all of them."""
        return Pieces(self.state()[0], self.ranks)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, plain values) of everything but the weights: optimizers, position in the data, random generators, counters.

        Alike on every rank but for tensors that are split over them, so that a run may go on with another number of ranks.
        """
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors |= {f"brake.{kind}": tensor for kind, tensor in self.brake.state().items()}
        tensors["rng.cpu"] = torch.get_rng_state()
        if self.device.name == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        plain = {"steps_done": self.steps_done, "tokens_done": self.tokens_done, "loader": self.loader.state()}
        if self.config.train.max_minutes:  # the one thing that no two runs have in common
            plain["seconds_done"] = self.seconds_done
        if self.sampler:
            plain["sampler"] = self.sampler.state()
        if self.optimizer.scaler.is_enabled():
            plain["scaler"] = self.optimizer.scaler.state_dict()
        return tensors, plain

    def room(self, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """An empty tensor for one of the `state`, split over the ranks where that is how it is kept here."""
        return self.optimizer.room(name.removeprefix("optimizer."), shape, dtype)

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """The inverse of `state`, after the weights have been loaded."""

        def of(owner: str) -> dict[str, Tensor]:
            return {name.removeprefix(owner): t for name, t in tensors.items() if name.startswith(owner)}

        self.optimizer.restore(of("optimizer."))
        self.brake.restore(of("brake."), self.device.name)
        torch.set_rng_state(tensors["rng.cpu"])
        if self.device.name == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        if "scaler" in plain:
            self.optimizer.scaler.load_state_dict(plain["scaler"])
        self.loader.restore(plain["loader"])
        if self.sampler:
            self.sampler.restore(plain["sampler"])
        self.steps_done, self.tokens_done = int(plain["steps_done"]), int(plain["tokens_done"])
        self.seconds_done = float(plain.get("seconds_done", 0.0))
