"""Muon on hidden matrices, AdamW on everything else, behind one object with a state made of plain tensors.

Embeddings, head, router, norms, biases, adapters and the injection stay with AdamW; the injection, norms and biases have
no weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mythos.contract.config import TrainConfig
from mythos.train.distributed import empty_like, split_like, whole
from mythos.train.muon import Muon

ADAMW_ONLY = ("embedding", "head", "router", "halt", "lora", "injection")


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon updates this parameter."""
    return parameter.dim() >= 2 and not any(part in ADAMW_ONLY for part in name.split("."))


class Optimizer:
    """One step for all parameters; learning rates are set per step as a share of their peaks.

    `scaler` multiplies losses whose gradients would vanish in float16, and leaves out steps in which they overflow. `dtype`
    is the arithmetic in which Muon orthogonalises.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        scaler: torch.amp.GradScaler | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.scaler = scaler or torch.amp.GradScaler(enabled=False)
        self.named = named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        hidden = [p for name, p in named if config.optimizer == "muon" and is_hidden_matrix(name, p)]
        taken = {id(p) for p in hidden}
        rest = [(name, p) for name, p in named if id(p) not in taken]
        decayed = [p for name, p in rest if p.dim() >= 2 and "injection" not in name]
        plain = [p for name, p in rest if p.dim() < 2 or "injection" in name]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=config.lr, betas=(0.9, 0.95), eps=1e-8, fused=True
        )
        self.muon = Muon(hidden, config.muon_lr, config.weight_decay, dtype=dtype) if hidden else None
        self.parameters = [p for _, p in named]

    def set_share(self, share: float) -> tuple[float, float]:
        """Set both learning rates to a share of their peaks; returns them (AdamW's, Muon's)."""
        for group in self.adamw.param_groups:
            group["lr"] = self.config.lr * share
        if self.muon is not None:
            self.muon.param_groups[0]["lr"] = self.config.muon_lr * share
        return self.config.lr * share, self.config.muon_lr * share

    def step(self, is_bad: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Clip, update, clear the gradients. Returns the gradient's norm before clipping, over all ranks.

        `is_bad` is told that norm and says, as a bool [] on the device, whether to leave out the update.
        """
        learning = [
            o for _, o in self._optimizers() if any(p.grad is not None for g in o.param_groups for p in g["params"])
        ]
        for optimizer in learning:
            self.scaler.unscale_(optimizer)
        norm = whole(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip or float("inf")))
        self._share_overflow(norm, learning)
        bad = is_bad(norm) if is_bad else None
        if bad is not None and self.scaler.is_enabled():  # which waits for the device anyway
            learning, bad = [] if bool(bad) else learning, None
        for optimizer in learning:
            with unless(bad, optimizer):
                self.scaler.step(optimizer)
        self.scaler.update()
        for parameter in self.parameters:
            parameter.grad = None
        return norm

    def _share_overflow(self, norm: Tensor, learning: list[torch.optim.Optimizer]) -> None:
        """An overflow anywhere leaves out the step of every optimizer, and is told without the host waiting for it.

        The scaler keeps a flag per optimizer, of its own gradients before they are clipped by the joint `norm` [].
        """
        if self.scaler.is_enabled():
            for optimizer in learning:
                for found in self.scaler._found_inf_per_device(optimizer).values():
                    found.copy_(~norm.isfinite())

    def state(self) -> dict[str, Tensor]:
        """Every tensor of both optimizers by name, split as its parameter is: `adamw.3.exp_avg`."""
        return {
            f"{name}.{index}.{key}": value if isinstance(value, Tensor) else torch.tensor(value)
            for name, optimizer in self._optimizers()
            for index, slots in optimizer.state_dict()["state"].items()
            for key, value in slots.items()
        }

    def room(self, path: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """An empty tensor for one of the `state`, split as its parameter is. Raises ValueError for one that has no place."""
        return empty_like(self._parameter_of(path, shape), dtype)

    def restore(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`. Raises ValueError, and changes nothing, for what has no place."""
        slots: dict[str, dict[int, dict[str, Any]]] = {name: {} for name, _ in self._optimizers()}
        for path, value in state.items():
            owner, index, key = path.split(".")
            parameter = self._parameter_of(path, value.shape)
            slots[owner].setdefault(int(index), {})[key] = split_like(value, parameter)
        for name, optimizer in self._optimizers():
            optimizer.load_state_dict({"state": slots[name], "param_groups": optimizer.state_dict()["param_groups"]})

    def _parameter_of(self, path: str, shape: torch.Size) -> nn.Parameter:
        """Whose state `path` is: of the parameter's own shape, or a count without any."""
        owner, index, _ = path.split(".")
        optimizer = dict(self._optimizers()).get(owner)
        parameters = [p for group in optimizer.param_groups for p in group["params"]] if optimizer else []
        if int(index) < len(parameters) and shape in ((), (parameter := parameters[int(index)]).shape):
            return parameter
        raise ValueError(f"there is no place for {path} of shape {[*shape]}")

    def _optimizers(self) -> list[tuple[str, torch.optim.Optimizer]]:
        return [("adamw", self.adamw)] + ([("muon", self.muon)] if self.muon is not None else [])


@contextmanager
def unless(bad: Tensor | None, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """A step within changes neither weights nor the optimizer's state where `bad` is true, without anyone reading it.

    Both optimizers look at such a flag, made for overflows.
    """
    if bad is None:
        yield
    else:
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        yield
        del optimizer.found_inf  # type: ignore[attr-defined]
