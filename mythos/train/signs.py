"""Signs of trouble that one record of metrics.jsonl shows by itself, and what an error says of memory.

Each returns the evidence, "" where all is well, or None where the record cannot tell. E experts, L loops, k experts per
token. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mythos.contract.alerts import limit
from mythos.contract.config import Config, RecurrentConfig


def expert_collapse(metrics: dict[str, Any], config: Config) -> str | None:
    """From `expert_load` [E] (shares, summing to 1) and the router's entropy in nats; once settled."""
    load, model = metrics.get("expert_load"), config.model
    if not load or not isinstance(model, RecurrentConfig) or not settled(metrics, config):
        return None
    experts, k = len(load), model.experts_per_token
    if experts < 2 * k:
        return None  # with so few to choose from, even the worst load is nearly even
    most, entropy = max(load) * experts, metrics.get("router_entropy")
    if most > min(limit("load_share") * experts / k, limit("load_times")):
        return f"expert {load.index(max(load))} does {most:.1f} times its share, of at most {experts / k:.1f}"
    if entropy is not None and entropy < limit("router_entropy") * math.log(experts):
        return f"the router's entropy is {entropy:.3f} of at most {math.log(experts):.2f} nats"
    choices = k * sum(loops * tokens for loops, tokens in enumerate(metrics["loops_histogram"], start=1))
    dead = [expert for expert, share in enumerate(load) if share * experts < limit("dead_load")]
    told = len(dead) > limit("dead_share") * experts and choices >= limit("dead_choices") * experts
    return f"{len(dead)} of {experts} experts get nothing: {', '.join(map(str, dead[:8]))}" if told else ""


def halting_collapse(metrics: dict[str, Any], config: Config) -> str | None:
    """From `loops_histogram`, where ACT stops tokens in training; once settled.

    Steps draw different loop counts, so a histogram over several of them may be wide though no token differs from its
    neighbours. Where all tokens of a step stop together, every bin is a whole number of steps.
    """
    if config.objective.kind != "act" or not settled(metrics, config):
        return None
    histogram, tokens = metrics["loops_histogram"], config.train.batch_size * config.train.sequence
    if any(abs(bin - tokens * round(bin / tokens)) > limit("same_depth") * tokens for bin in histogram):
        return ""
    where = (
        "always one" if histogram[0] >= tokens and not any(b >= tokens for b in histogram[1:]) else "none stops alone"
    )
    return f"{where}, mean {metrics['ponder']:.2f} loops"


def settled(metrics: dict[str, Any], config: Config) -> bool:
    """Whether balance and halting have had time to come about."""
    return bool(metrics["step"] > config.train.warmup_steps + limit("settle_steps"))


def state_growth(metrics: dict[str, Any]) -> str | None:
    """From `state_norm` [L], RMS after each loop: still growing at the last loop, and much in all."""
    norms = [norm for norm in metrics.get("state_norm") or [] if norm > 0]
    if len(norms) < 4:
        return None
    grows = norms[-1] > limit("state_growth") * norms[-2] and norms[-1] > limit("state_ratio") * norms[0]
    return f"RMS {norms[0]:.3g} after the first of {len(norms)} loops, {norms[-1]:.3g} after the last" if grows else ""


def rho_at_bound(metrics: dict[str, Any], config: Config) -> str | None:
    """From `rho_a`, the largest share of the state that a loop keeps."""
    rho, model = metrics.get("rho_a"), config.model
    if rho is None or not isinstance(model, RecurrentConfig):
        return None
    return f"{rho:.4f} of at most {model.a_max:g}" if rho > limit("rho_share") * model.a_max else ""


def about_memory(message: str) -> bool:
    """Whether an error's words are those of CUDA, of torch's CPU allocator or of the system when memory is at its end."""
    signs = ("out of memory", "allocate memory", "can't allocate")
    return any(sign in message.lower() for sign in signs)


def relief(config: Config) -> str:
    """The settings that save most memory for the least harm, the harmless ones first."""
    train, ways = config.train, []
    if isinstance(config.model, RecurrentConfig) and not train.checkpoint_loops:
        ways.append("train.checkpoint_loops=true (the same result, slower)")
    if train.batch_size % (2 * train.accumulate) == 0:
        ways.append(f"train.accumulate={2 * train.accumulate} (the same result in smaller parts)")
    elif train.batch_size > 1:
        ways.append(f"train.batch_size={train.batch_size // 2}")
    if train.sequence > 64:
        ways.append(f"train.sequence={train.sequence // 2}")
    return f"Start anew with {', or else '.join([*ways, 'a smaller model.width'])}."


def not_finite(metrics: dict[str, Any]) -> str:
    values = {"loss": metrics["loss"], "grad_norm": metrics["grad_norm"], **metrics["loss_parts"]}
    return ", ".join(f"{name} is {value}" for name, value in values.items() if not math.isfinite(value))


def left_out(metrics: dict[str, Any], kind: str) -> str:
    """Which steps since the last record were left out for this reason, and the loss or gradient norm of each."""
    steps = (metrics.get("skipped") or {}).get(kind) or []
    told = ", ".join(f"step {step} at {value:.4g}" for step, value in steps[:8])
    more = f" and {len(steps) - 8} more" if len(steps) > 8 else ""
    return f"left out: {told}{more}" if steps else ""


def scaled_overflow(metrics: dict[str, Any], config: Config) -> bool:
    """Whether only the gradient is broken where fp16 may be at work: its loss scale then halves, and the step is left out."""
    train = config.train
    may_scale = train.precision == "fp16" or (train.precision == "auto" and train.device != "cpu")
    return may_scale and math.isfinite(metrics["loss"])


def cross_entropy(metrics: dict[str, Any]) -> float:
    """That of the deepest read-out: the one part of the loss that means the same in every kind of step."""
    return float(metrics["loss_parts"].get("cross_entropy", metrics["loss"]))


def kind_of_step(loops: int, parts: Iterable[str], config: Config) -> str:
    """Steps that can be compared: as many loops (the usual ones and more are one kind) and the same parts of the loss."""
    return f"{min(loops, getattr(config.model, 'loops', 0))} {'+'.join(sorted(parts))}"
