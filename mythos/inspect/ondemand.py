"""What is looked at one at a time: the attention pattern of one head, and the loss of a text at every depth.

T positions, N loop counts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mythos.contract.config import DenseConfig
from mythos.contract.errors import MythosError
from mythos.infer.engine import Cancelled, never
from mythos.infer.text import loops_of
from mythos.inspect.attention import PatternRecorder
from mythos.inspect.passes import depth_of, runs_on, watched_pass
from mythos.inspect.trace import computed, ids_of, losses_of
from mythos.models.halting import Replay, RunAll

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint


class Pattern(NamedTuple):
    """`weights` [T, T] float32: what each position attends to at a row such as "loop 2"; NaN where it was not computed."""

    row: str
    weights: np.ndarray


@torch.inference_mode()
def attention_pattern(
    checkpoint: Checkpoint,
    text: str,
    row: int,
    head: int,
    *,
    taken: Sequence[int],
    stopped: Sequence[bool],
    then: Sequence[int] = (),
    loops: int | None = None,
) -> Pattern:
    """The attention of head `head` at row `row` (both from 0) of a trace; `taken` and `stopped` are its `loops` and `stopped`.

    Raises MythosError where there is no such row or head, and where `taken` or `stopped` do not fit.
    """
    model, ids = checkpoint.model, ids_of(checkpoint, text, then)
    depth = depth_of(model, loops_of(checkpoint, loops))
    if not len(taken) == len(stopped) == len(ids) or min(taken) < 1 or max(taken) > depth:
        raise MythosError(
            f"{len(taken)} loop counts do not fit {len(ids)} tokens of at most {depth} loops.",
            "Trace the text again.",
        )
    device = next(model.parameters()).device
    recorder = PatternRecorder(row, head)
    orders = torch.tensor([[loops + (not said) for loops, said in zip(taken, stopped, strict=True)]], device=device)
    watched_pass(model, torch.tensor([ids], device=device), depth, Replay(orders), recorder)
    if recorder.pattern is None:
        raise MythosError(
            f"There is no head {head + 1} at row {row + 1}.",
            f"The rows are {', '.join(recorder.rows)}; the heads 1 to {model.config.n_heads}.",
        )
    weights = np.full((len(ids), len(ids)), np.nan, dtype=np.float32)
    weights[computed(recorder.rows[row], np.array(taken), runs_on(model))] = recorder.pattern
    return Pattern(recorder.rows[row], weights)


@torch.inference_mode()
def depth_losses(
    checkpoint: Checkpoint,
    text: str,
    *,
    then: Sequence[int] = (),
    loops: int | None = None,
    should_stop: Callable[[], bool] = never,
) -> np.ndarray:
    """[N, T] float32: the loss in nats of each token, NaN for the first, where every token runs 1, 2, … N loops.

    N is `loops`, else the most that the model was trained for. Raises MythosError for a dense model, and Cancelled.
    """
    config, model = checkpoint.config.model, checkpoint.model
    if isinstance(config, DenseConfig):
        raise MythosError("A dense model has no loops to sweep.", "Its lens shows the loss after each layer.")
    ids = torch.tensor([ids_of(checkpoint, text, then)], device=next(model.parameters()).device)
    found = []
    for depth in range(1, (loops or config.max_loops) + 1):
        if should_stop():
            raise Cancelled
        found.append(losses_of(model(ids, depth, exit=RunAll()).logits[0], ids[0]))
    return np.stack(found)
