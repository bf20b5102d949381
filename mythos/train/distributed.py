"""One training step over several processes and micro-batches: the same losses, gradients and counts as one process's.

DDP (Li et al. 2020) keeps the whole model in every process and averages gradients. FSDP2 (Zhao et al. 2023) keeps 1/W of
every weight, gradient and optimizer slot in each of W processes and puts weights together where they are used: dense
blocks one at a time, everything else, above all the looped block, once per pass, since every loop needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from mythos.contract.config import Config
from mythos.contract.errors import ConfigError
from mythos.models.build import Model, build_model
from mythos.models.moe import RouterStats
from mythos.models.telemetry import Telemetry
from mythos.train.device import Device
from mythos.train.objectives import Batch, Loss, even_exits, loss_of
from mythos.train.ranks import Ranks
from mythos.train.schedule import Plan


class Pass(nn.Module):
    """Model and objective as one module, so that DDP's hooks surround all of it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, config: Config, plan: Plan, step: int) -> tuple[Tensor, Sealed]:
        """(loss, all of it sealed)."""
        loss = loss_of(self.model, batch, config, plan, step)
        return loss.total, Sealed(loss)


class Sealed:
    """A loss whose telemetry DDP does not look into: it would wait for the gradient of whatever it finds there."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss


class Parallel:
    """A model shared out over the ranks when this is made. Its weights must be in place by then."""

    def __init__(self, model: Model, config: Config, device: Device, ranks: Ranks) -> None:
        kind = config.train.parallel
        if kind == "fsdp" and device.precision == "fp16":
            raise ConfigError("train.parallel=fsdp cannot train in fp16.", "Use ddp, or train.precision=fp32.")
        self.model = model.to(device.name) if kind != "fsdp" or ranks.world == 1 else shard(model, device, ranks)
        self.whole_pass: nn.Module = Pass(self.model)
        if kind == "ddp" and ranks.world > 1:
            halts = (
                getattr(config.model, "halting", "none") != "none"
            )  # then there are steps that do not use all weights
            self.whole_pass = DistributedDataParallel(self.whole_pass, find_unused_parameters=halts)

    def loss(self, batch: Batch, config: Config, plan: Plan, step: int) -> tuple[Tensor, Loss]:
        """One micro-batch forward: the loss to differentiate, and all of it."""
        total, sealed = self.whole_pass(batch, config, plan, step)
        return total, sealed.loss

    @contextmanager
    def gathering(self, last: bool) -> Iterator[None]:
        """Forward and backward of a micro-batch. In the `last` of a step, the gradients of all ranks are averaged."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(last)
        waits = isinstance(self.whole_pass, DistributedDataParallel) and not last
        with self.whole_pass.no_sync() if waits else nullcontext():  # type: ignore[operator]
            yield


def shard(model: Model, device: Device, ranks: Ranks) -> Model:
    """Split every weight over the ranks, in place. Blocks that run once are units of their own."""
    mesh = init_device_mesh(device.name, (ranks.world,))
    for part in ("prelude", "layers", "coda"):
        for block in getattr(model, part, ()):
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if hasattr(model, "unroll"):
        register_fsdp_forward_method(model, "unroll")
    return model


def whole_model(model: Model, config: Config, device: Device, ranks: Ranks) -> Model:
    """On rank 0 the model with all of its weights. Every rank must ask where weights are split, and gets nothing new."""
    if not isinstance(model, FSDPModule):
        return model
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if not ranks.first:
        return model
    whole = build_model(config.model, "meta")
    whole.load_state_dict(weights, assign=True)
    return whole.to(device.name)


def whole(tensor: Tensor) -> Tensor:
    """A split tensor put together (every rank must ask), any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def split_like(value: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor of the parameter's shape, split as the parameter is."""
    if not isinstance(parameter, DTensor) or isinstance(value, DTensor) or value.shape != parameter.shape:
        return value
    mesh = parameter.device_mesh
    return distribute_tensor(value.to(mesh.device_type), mesh, parameter.placements, src_data_rank=None)


def empty_like(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Without values, split as the parameter is."""
    return torch.empty_like(parameter, dtype=dtype, requires_grad=False)


def draw_exits(plan: Plan, config: Config, device: Device, ranks: Ranks) -> Tensor | None:
    """Loops after which the tokens of this rank stop, [b, T]; None but in steps of mixed exits.

    One process draws all exits of a batch before the first noise: so here those of all ranks and parts are drawn at once.
    """
    if not plan.mixed:
        return None
    train = config.train
    return even_exits(plan, (train.batch_size, train.sequence), device.name).chunk(ranks.world)[ranks.rank]


def skip_noise(config: Config, rows: int, device: Device) -> None:
    """Draw and forget the initial states of `rows` sequences that another rank has, so that ours are as in one process."""
    if getattr(config.model, "initial_state", "") == "random":
        torch.randn(rows, config.train.sequence, config.model.width, device=device.name)


class AllRouters(RouterStats):
    """What the routers of all ranks did together: counts [E] and mean entropy."""

    def __init__(self, load: Tensor, entropy: Tensor) -> None:
        self.load, self.mean_entropy = load, entropy

    def release(self) -> None:
        """There is no graph."""

    @property
    def entropy(self) -> Tensor:
        return self.mean_entropy


def merge(losses: list[Loss], ranks: Ranks) -> Loss:
    """The micro-batches of all ranks as one: losses and state norms averaged, expert counts and loops put together."""
    if len(losses) == 1 and ranks.world == 1:
        return losses[0]
    one = losses[0]
    means = torch.stack([_numbers(loss) for loss in losses]).mean(0)
    means = ranks.sum(means) / ranks.world
    total, parts, squares, entropy = means.split([1, len(one.parts), len(means) - 2 - len(one.parts), 1])
    loads = [load for loss in losses if (load := loss.telemetry.expert_load) is not None]
    telemetry = Telemetry(
        loops=ranks.gather(torch.cat([loss.telemetry.loops for loss in losses])),
        norms=squares.sqrt(),
        rho=one.telemetry.rho,
        block_evaluations=sum(loss.telemetry.block_evaluations for loss in losses) * ranks.world,
        routers=[AllRouters(ranks.sum(torch.stack(loads).sum(0)), entropy[0])] if loads else [],
    )
    return Loss(total[0], dict(zip(one.parts, parts.unbind(), strict=True)), telemetry)


def _numbers(loss: Loss) -> Tensor:
    """What is averaged, [1 + parts + L + 1] in float32: loss, its parts, mean square of the state per loop, entropy."""
    telemetry, total = loss.telemetry, loss.total.detach().float()
    entropy = telemetry.router_entropy
    squares = [] if telemetry.norms is None else [telemetry.norms.float().square()]
    heads = torch.stack([total, *(part.float() for part in loss.parts.values())])
    return torch.cat((heads, *squares, (torch.zeros_like(total) if entropy is None else entropy.float()).reshape(1)))
