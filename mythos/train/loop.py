"""The training loop as an object: one `step()` at a time, with everything that resuming needs in `state()`.

It knows models, data and its siblings; nothing of files to write, processes or who watches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mythos.contract.budget import flops_training
from mythos.contract.config import Config, RecurrentConfig
from mythos.data.loader import Loader
from mythos.data.shards import Split
from mythos.models.build import build_model, compile_for_training
from mythos.models.recurrent import moe_layers
from mythos.models.telemetry import Telemetry
from mythos.train.device import Device
from mythos.train.objectives import compute_loss
from mythos.train.optim import Optimizer
from mythos.train.schedule import LoopSampler, Plan, lr_share


@dataclass
class StepResult:
    """One optimizer step. Tensors are left on the device: reading them is the caller's decision."""

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


class Trainer:
    """Model, optimizer, loader and samplers of one run."""

    def __init__(self, config: Config, train: Split, device: Device) -> None:
        self.config = config
        self.device = device
        torch.manual_seed(config.train.seed)
        self.model = build_model(config.model).to(device.name)
        if config.train.compile:
            compile_for_training(self.model)
        self.rebind()
        self.loader = Loader(train, config.train.sequence, config.train.batch_size, config.train.seed)
        self.sampler = LoopSampler(config) if isinstance(config.model, RecurrentConfig) else None
        self.steps_done = 0
        self.tokens_done = 0

    def rebind(self) -> None:
        """New parameters have replaced the old ones: a fresh optimizer for them."""
        self.optimizer = Optimizer(self.model, self.config.train)
        learning = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self._frozen_for_gate = [parameter for name, parameter in learning if not name.startswith("halt.")]

    def step(self) -> StepResult:
        """Forward, backward, update; then the router biases, once."""
        config = self.config
        self.model.train()
        draw = self.loader.next_with_documents if config.train.document_mask else self.loader.next
        inputs, targets, *documents = (torch.from_numpy(part).to(self.device.name) for part in draw())
        plan = self.sampler.draw(self.steps_done) if self.sampler else Plan()
        for parameter in self._frozen_for_gate:
            parameter.requires_grad_(not plan.gate_only)
        lr, muon_lr = self.optimizer.set_share(lr_share(self.steps_done, config))
        with self.device.autocast():
            loss = compute_loss(self.model, inputs, targets, config, plan, self.steps_done, *documents)
        loss.total.backward()
        grad_norm = self.optimizer.step()
        load = loss.telemetry.expert_load
        if load is not None and config.objective.router_bias_rate and not plan.gate_only:
            for layer in moe_layers(self.model):
                layer.update_bias(load, config.objective.router_bias_rate)
        self.steps_done += 1
        self.tokens_done += inputs.numel()
        return StepResult(
            self.steps_done,
            self.tokens_done,
            plan.loops,
            loss.total.detach(),
            loss.parts,
            grad_norm,
            lr,
            muon_lr,
            flops_training(config, plan.loops, len(plan.depths), 0 if plan.gate_only else plan.gradient_loops)
            * inputs.numel(),
            loss.telemetry,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, plain values) of everything but the weights: optimizers, position in the data, random generators, counters."""
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors["rng.cpu"] = torch.get_rng_state()
        if self.device.name == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        plain = {"steps_done": self.steps_done, "tokens_done": self.tokens_done, "loader": self.loader.state()}
        if self.sampler:
            plain["sampler"] = self.sampler.state()
        return tensors, plain

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """The inverse of `state`, after the weights have been loaded."""
        prefix = "optimizer."
        self.optimizer.restore({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
        torch.set_rng_state(tensors["rng.cpu"])
        if self.device.name == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        self.loader.restore(plain["loader"])
        if self.sampler:
            self.sampler.restore(plain["sampler"])
        self.steps_done, self.tokens_done = int(plain["steps_done"]), int(plain["tokens_done"])
