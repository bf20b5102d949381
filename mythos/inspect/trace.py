"""One text through a model, with what can be seen on the way: depth per token, exit signals, attention, routing, loss.

Two passes. The first finds out with the requested exit rule how many loops each token takes. The second replays these
loops over the whole text at once, with hooks on: rules that read out take one position at a time, and their read-outs
would be seen by the hooks too. Both passes give the same logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from mythos.contract.config import DenseConfig
from mythos.contract.errors import MythosError
from mythos.contract.protocol import TraceResult
from mythos.infer.engine import Cancelled, never
from mythos.infer.exits import make_exit, resolve_exit
from mythos.infer.text import display_texts, encode_prompt, loops_of
from mythos.inspect.attention import Recorder, recording
from mythos.models.build import Model
from mythos.models.cache import Cache
from mythos.models.halting import ExitRule, Replay

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint

EOT_TEXT = "⟨eot⟩"
CHUNK = 256
CHUNK_READING = 4


@dataclass(frozen=True)
class Trace:
    """T tokens, L loops that were allowed (1 for dense models), R rows of attention, H heads, k experts per token.

    The first token is the end-of-text token that opens every document.
    """

    family: str
    tokens: list[str]
    """T texts for display: what each token adds to the text, "" inside a character that is not whole, ␀ for NUL."""
    ids: np.ndarray
    """[T] int64"""
    loops: np.ndarray
    """[T] int64: loops that each position ran."""
    exit: str
    """The exit rule, such as `confidence:0.9`."""
    signal_name: str
    """What `exit_signal` measures; "" for dense models."""
    exit_signal: np.ndarray
    """[T, L] float32, NaN where the token had stopped."""
    halt_p: np.ndarray | None
    """[T, L] float32: ACT's halting probability of each loop, NaN where the token had stopped; None without ACT."""
    attention_rows: list[str]
    """R names in order of computation: "layer 1"…, or "prelude 1"…, "loop 1"…, "coda 1"…."""
    attention_entropy: np.ndarray
    """[R, T, H] float32, nats, of the causal distribution actually used; NaN where a row did not compute the token."""
    attention_max: np.ndarray
    """[T] float32, nats: log(t + 1), the most that attention over t + 1 positions can have."""
    token_loss: np.ndarray
    """[T] float32, nats: −log p(token | tokens before it); NaN for the first."""
    routes: np.ndarray
    """[T, L, k] int64: experts that the token used in each loop, likeliest first, −1 where none; k = 0 without routing."""
    state_norm: np.ndarray
    """[L] float32: RMS of the state after each loop, over tokens that ran it; NaN where none did."""

    @property
    def max_loops(self) -> int:
        """L."""
        return int(self.exit_signal.shape[1])

    def save(self, path: str | Path) -> None:
        """Write an .npz that `numpy.load` opens without pickle; texts are arrays of strings, and what is None is absent."""
        values: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items() if value is not None}
        with open(path, "wb") as file:  # given a name, numpy would append .npz to it
            np.savez(file, **values)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read what `save` wrote. Raises MythosError if it is no trace."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                values: dict[str, Any] = {name: stored[name] for name in stored.files}
            for name in ("family", "exit", "signal_name"):
                values[name] = str(values[name])
            for name in ("tokens", "attention_rows"):
                values[name] = values[name].tolist()
            return cls(**{"halt_p": None, **values})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
            raise MythosError(f"{path} is no trace: {error}.", "Make one with `mythos trace`.") from None


def trace(
    checkpoint: Checkpoint,
    text: str,
    *,
    loops: int | None = None,
    exit: str | None = None,
    should_stop: Callable[[], bool] = never,
) -> Trace:
    """Look inside a checkpoint while it reads a text. Defaults of `loops` and `exit` come from the checkpoint.

    Raises MythosError for a text longer than the model's context or an exit rule that does not fit, and Cancelled when
    `should_stop` says so.
    """
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    ids = encode_prompt(tokenizer, text)
    if len(ids) > config.model.context:
        raise MythosError(
            f"The text has {len(ids)} tokens; the model's context holds {config.model.context}.",
            f"Shorten it by {len(ids) - config.model.context} tokens, or use a model with a longer context.",
        )
    spec = resolve_exit(exit or config.infer.exit, config.model)
    texts = [piece.replace("\0", "␀") for piece in display_texts(tokenizer, ids, EOT_TEXT)]
    facts = trace_ids(checkpoint.model, ids, loops_of(checkpoint, loops), make_exit(spec, config.model), should_stop)
    return Trace(family=config.model.family, tokens=texts, exit=spec, **facts)


@torch.inference_mode()
def trace_ids(
    model: Model, ids: list[int], n_loops: int | None, rule: ExitRule, should_stop: Callable[[], bool] = never
) -> dict[str, Any]:
    """The arrays of a trace, from token ids."""
    chunk = torch.tensor([ids], device=next(model.parameters()).device)
    dense = isinstance(model.config, DenseConfig)
    depth = 1 if isinstance(model.config, DenseConfig) else n_loops or model.config.loops
    first = _first_pass(model, chunk, depth, rule, should_stop)
    with recording(model) as recorder:
        output = model(chunk, depth, exit=None if dense else Replay(first.loops))
    taken = first.loops[0].cpu().numpy()
    every = getattr(model.config, "halted_tokens", "freeze") == "run"
    norms = np.full(depth, np.nan, dtype=np.float32)
    norms[: len(output.telemetry.state_norm)] = output.telemetry.state_norm
    return {
        "ids": np.array(ids, dtype=np.int64),
        "loops": taken,
        "signal_name": "" if dense else rule.signal_name,
        "exit_signal": np.full((len(ids), depth), np.nan, np.float32)
        if first.signals is None
        else _numpy(first.signals),
        "halt_p": None if first.halt_p is None else _numpy(first.halt_p),
        "attention_rows": [name for name, _ in recorder.rows],
        "attention_entropy": _entropies(recorder, taken, every),
        "attention_max": np.log(np.arange(1, len(ids) + 1)).astype(np.float32),
        "token_loss": _losses(output.logits[0], chunk[0]),
        "routes": _routes(recorder, taken, depth, every),
        "state_norm": norms,
    }


class _First(NamedTuple):
    """What the first pass found: loops [1, T], signals and halting probabilities [1, T, L]."""

    loops: Tensor
    signals: Tensor | None
    halt_p: Tensor | None


def _first_pass(model: Model, chunk: Tensor, depth: int, rule: ExitRule, should_stop: Callable[[], bool]) -> _First:
    """The requested rule, a few positions at a time."""
    cache, size = Cache(), CHUNK_READING if rule.reads_out else CHUNK
    parts = []
    for start in range(0, chunk.shape[1], size):
        if should_stop():
            raise Cancelled
        parts.append(model(chunk[:, start : start + size], depth, cache=cache, exit=rule).telemetry)
    loops = torch.cat([part.loops for part in parts], dim=1)
    return _First(loops, _joined([part.signals for part in parts]), _joined([part.halt_p for part in parts]))


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    held = [part for part in parts if part is not None]
    return torch.cat(held, dim=1) if held else None


def _numpy(x: Tensor) -> np.ndarray:
    return x[0].float().cpu().numpy()


def _losses(logits: Tensor, ids: Tensor) -> np.ndarray:
    losses = np.full(len(ids), np.nan, dtype=np.float32)
    log_p = logits[:-1].float().log_softmax(-1)
    losses[1:] = -log_p.gather(1, ids[1:, None])[:, 0].cpu().numpy()
    return losses


def _entropies(recorder: Recorder, taken: np.ndarray, every: bool) -> np.ndarray:
    """[R, T, H]: rows back to the positions that computed them."""
    heads = recorder.rows[0][1].shape[0]
    entropies = np.full((len(recorder.rows), len(taken), heads), np.nan, dtype=np.float32)
    for row, (name, found) in enumerate(recorder.rows):
        kind, _, number = name.partition(" ")
        ran = taken >= int(number) if kind == "loop" and not every else np.ones(len(taken), dtype=bool)
        entropies[row, ran] = found.T
    return entropies


def _routes(recorder: Recorder, taken: np.ndarray, depth: int, every: bool) -> np.ndarray:
    """[T, L, k], likewise."""
    k = recorder.routes[0].shape[1] if recorder.routes else 0
    routes = np.full((len(taken), depth, k), -1, dtype=np.int64)
    for loop, found in enumerate(recorder.routes):
        routes[(taken > loop) | every, loop] = found
    return routes


def to_protocol(trace: Trace, id: str, seconds: float) -> TraceResult:
    """The trace as an event of the protocol: lists, and None for NaN."""
    return TraceResult(
        id=id,
        tokens=trace.tokens,
        loops=trace.loops.tolist(),
        max_loops=trace.max_loops,
        exit=trace.exit,
        signal_name=trace.signal_name,
        exit_signal=_lists(trace.exit_signal),
        attention_rows=trace.attention_rows,
        attention_entropy=_lists(trace.attention_entropy),
        token_loss=_lists(trace.token_loss),
        seconds=seconds,
    )


def _lists(values: np.ndarray) -> Any:
    """Nested lists with None for whatever is not finite."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()
