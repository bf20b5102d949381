"""From logits to a token. V vocabulary; everything works on the last axis, for any leading axes."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How to choose: temperature 0 is always the likeliest token; top_k 0 and top_p 1 leave all tokens in the draw.

    `min_p` leaves out tokens less likely than that share of the likeliest; 0 leaves out none. `repetition_penalty` above 1
    makes tokens that the sequence holds already less likely, below 1 more. `vocab` bounds the ids that can be drawn
    (0: all), for tokenizers that have fewer tokens than the model has rows.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    _: KW_ONLY
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    vocab: int = 0


LEAST_TEMPERATURE = 1e-30
"""Below it the inverse is no number in float32."""
GREEDY = Sampling(temperature=0.0, top_p=1.0)


@dataclass(frozen=True)
class Sampled:
    """`id` [...] int64, its `probability` [...] and the `entropy` [...] in nats of the model's own distribution."""

    id: Tensor
    probability: Tensor
    entropy: Tensor


def sample(
    logits: Tensor, sampling: Sampling, generator: torch.Generator | None = None, seen: Tensor | None = None
) -> Sampled:
    """Draw a token per row of logits [..., V]; `seen` [n] are the ids that the sequence holds, each any number of times.

    Probability and entropy are those before penalty, temperature and truncation, which apply in this order.
    """
    logits = logits.float()
    p = logits.softmax(-1)
    candidates = penalise(logits, seen, sampling.repetition_penalty)
    candidates = candidates[..., : sampling.vocab] if sampling.vocab else candidates
    if sampling.temperature == 0:
        chosen = candidates.argmax(-1)
    else:
        weights = (candidates - candidates.amax(-1, keepdim=True)) / max(sampling.temperature, LEAST_TEMPERATURE)
        weights = truncate(weights, sampling.top_k, sampling.top_p, sampling.min_p).softmax(-1)
        rows = weights.reshape(-1, weights.shape[-1])
        chosen = torch.multinomial(rows, 1, generator=generator).reshape(weights.shape[:-1])
    return Sampled(chosen, p.gather(-1, chosen.unsqueeze(-1)).squeeze(-1), torch.special.entr(p).sum(-1))


def penalise(logits: Tensor, seen: Tensor | None, penalty: float) -> Tensor:
    """Logits [..., V] of `seen` ids divided by the penalty where positive, else multiplied (CTRL, Keskar et al. 2019)."""
    if seen is None or penalty == 1:
        return logits
    ids = seen.unique()
    held = logits[..., ids]
    return logits.index_copy(-1, ids, torch.where(held > 0, held / penalty, held * penalty))


def truncate(logits: Tensor, top_k: int, top_p: float, min_p: float = 0.0) -> Tensor:
    """Logits [..., V] with −inf outside the k likeliest, of those outside the smallest set that holds top_p, and wherever
    a token is less likely than min_p times the likeliest one (Nguyen et al. 2024).

    The token that crosses top_p stays in, so at least one always does (nucleus sampling, Holtzman et al. 2020).
    """
    if 0 < top_k < logits.shape[-1]:
        kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, logits.topk(top_k, dim=-1).indices, True)
        logits = logits.masked_fill(~kept, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        p = ordered.softmax(-1)
        beyond = (p.cumsum(-1) - p >= top_p) & (torch.arange(p.shape[-1], device=p.device) > 0)
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
    if min_p > 0:
        logits = logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(min_p), -torch.inf)
    return logits
