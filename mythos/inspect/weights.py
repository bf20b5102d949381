"""What the weights of a checkpoint tell without being run: one tensor in memory at a time, read from its safetensors.

D width, E experts, V vocabulary. Kinds of trouble and their limits are those of `mythos.contract.alerts`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mythos.contract.alerts import limit
from mythos.contract.config import Config, RecurrentConfig
from mythos.contract.errors import CheckpointError
from mythos.models.injection import LTIInjection

Sign = tuple[str, str]
"""(kind of trouble, evidence)."""


class Weights:
    """Tensors of a file by name, in float32. Raises CheckpointError where the file cannot be read."""

    def __init__(self, file: Path) -> None:
        try:
            self._file = safe_open(file, "pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}.", "Name another checkpoint.") from None
        self.names = sorted(self._file.keys())

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._file.get_tensor(name)
        return tensor.float() if tensor.is_floating_point() else tensor


class Examination(NamedTuple):
    """Signs of trouble, and the names of what was looked at."""

    signs: list[Sign]
    looked_at: list[str]


def examine(directory: Path, config: Config) -> Examination:
    """All examinations that the model's tensors allow; where some are not finite, that alone is told."""
    weights = Weights(directory / "model.safetensors")
    broken = [name for name in weights.names if not bool(torch.isfinite(weights[name]).all())]
    if broken:
        told = f"{len(broken)} of {len(weights.names)} tensors, among them {', '.join(broken[:3])}"
        return Examination([("bad_weights", told)], ["weights"])
    signs, looked_at = [], ["weights"]
    for name, (kind, evidence_of) in EXAMINATIONS.items():
        evidence = evidence_of(weights, config)
        if evidence is not None:
            looked_at.append(name)
            signs += [(kind, evidence)] if evidence else []
    return Examination(signs, looked_at)


def _embedding(weights: Weights, config: Config) -> str | None:
    norms = weights["embedding.weight"].norm(dim=-1)  # [V]
    middle, most = norms.median(), limit("row_norm")
    odd = ((norms > most * middle) | (norms * most < middle)).nonzero().flatten().tolist()
    first = ", ".join(f"{token} ({float(norms[token] / middle):.2g} times)" for token in odd[:4])
    return f"{len(odd)} of {len(norms)} rows are far from the median norm {middle:.3g}: {first}" if odd else ""


def _injection(weights: Weights, config: Config) -> str | None:
    if not isinstance(config.model, RecurrentConfig) or "injection.raw_dt" not in weights.names:
        return None
    injection = LTIInjection(config.model.width, config.model.a_max)
    injection.raw_dt.data = weights["injection.raw_dt"]
    a = injection.A().detach()  # [D]
    bound = limit("rho_share") * config.model.a_max
    full = int((a > bound).sum())
    return f"A of {full} of {len(a)} channels above {bound:.4g}, at most {a.max():.4f}" if full else ""


def _router_bias(weights: Weights, config: Config) -> str | None:
    if "block.ffn.router_bias" not in weights.names:
        return None
    bias = weights["block.ffn.router_bias"].abs()  # [E]
    usual = weights["block.ffn.router.weight"].norm(dim=-1).median()  # spread of a logit for a state of RMS 1
    worst = int(bias.argmax())
    excessive = bias[worst] > limit("bias_share") * usual
    return f"{bias[worst]:.3g} for expert {worst}, where logits spread by {usual:.3g}" if excessive else ""


def _experts(weights: Weights, config: Config) -> str | None:
    if "block.ffn.up" not in weights.names:
        return None
    norms = weights["block.ffn.up"].flatten(1).norm(dim=1) * weights["block.ffn.out"].flatten(1).norm(dim=1)  # [E]
    small = (norms * limit("expert_norm") < norms.median()).nonzero().flatten().tolist()
    return f"experts {', '.join(map(str, small[:8]))} of {len(norms)}" if small else ""


def _halting(weights: Weights, config: Config) -> str | None:
    if "halt.weight" not in weights.names:
        return None
    size, p = weights["halt.weight"].norm(), weights["halt.bias"].sigmoid().item()
    same = size < limit("halt_weight")
    return f"the halting head says {p:.3f} whatever the state; its weights have norm {size:.2g}" if same else ""


EXAMINATIONS: dict[str, tuple[str, Callable[[Weights, Config], str | None]]] = {
    "embedding": ("embedding_norms", _embedding),
    "A": ("rho_a", _injection),
    "router bias": ("router_bias", _router_bias),
    "experts": ("expert_norms", _experts),
    "halting head": ("halting_collapse", _halting),
}
