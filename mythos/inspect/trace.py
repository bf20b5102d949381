"""One text through a model, with what can be seen on the way: depth, exit signals, read-outs, states, attention, routing, loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from mythos.contract.config import DenseConfig
from mythos.contract.errors import MythosError
from mythos.infer.engine import Cancelled, never
from mythos.infer.exits import make_exit, resolve_exit
from mythos.infer.text import display_texts, encode_prompt, loops_of
from mythos.inspect.attention import Recorder
from mythos.inspect.lens import look
from mythos.inspect.passes import depth_of, first_pass, runs_on, watched_pass
from mythos.models.build import Model
from mythos.models.halting import ExitRule, Replay

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint
    from mythos.data.tokenizer import Tokenizer

EOT_TEXT = "⟨eot⟩"
TOP = 8


@dataclass(frozen=True)
class Trace:
    """T tokens, L loops that were allowed (1 for dense models), R rows of attention, H heads, E experts, k of them per token.

    N steps are the loops that somebody ran, or the layers of a dense model; K candidates per read-out. The first token is
    the end-of-text token that opens every document. Rows of the lens say what comes after their token.
    """

    family: str
    tokens: list[str]
    """T texts for display: what each token adds to the text, "" inside a character that is not whole, ␀ for NUL."""
    ids: np.ndarray
    """[T] int64"""
    loops: np.ndarray
    """[T] int64: loops that each position ran."""
    stopped: np.ndarray
    """[T] bool: whether the exit rule stopped it; otherwise it ran out of loops."""
    exit: str
    """The exit rule, such as `confidence:0.9`."""
    signal_name: str
    """What `exit_signal` measures; "" for dense models."""
    exit_signal: np.ndarray
    """[T, L] float32, NaN where the token had stopped."""
    halt_p: np.ndarray | None
    """[T, L] float32: ACT's or the gate's halting probability of each loop, NaN where the token had stopped; else None."""
    attention_rows: list[str]
    """R names in order of computation: "layer 1"…, or "prelude 1"…, "loop 1"…, "coda 1"…."""
    attention_entropy: np.ndarray
    """[R, T, H] float32, nats, of the causal distribution actually used; NaN where a row did not compute the token."""
    attention_max: np.ndarray
    """[T] float32, nats: log n, the most that attention over the n positions in sight can have: t + 1, or a window."""
    token_loss: np.ndarray
    """[T] float32, nats: −log p(token | tokens before it); NaN for the first."""
    experts: np.ndarray
    """[] int64: E, 0 without routing."""
    routes: np.ndarray
    """[T, L, k] int64: experts that the token used in each loop, likeliest first, −1 where none; k = 0 without routing."""
    gates: np.ndarray
    """[T, L, k] float32: their weights, which sum to 1; NaN where none."""
    steps: list[str]
    """N names: "loop 1"… or "layer 1"…."""
    state_norm: np.ndarray
    """[T, N] float32: RMS of the state after each step; NaN where it was not computed."""
    step_size: np.ndarray
    """[T, N] float32: ‖hₜ − hₜ₋₁‖ / ‖hₜ‖, how far a step moved the state; likewise."""
    lens_ids: np.ndarray
    """[T, N, K] int64: likeliest next tokens, read out after each step, first the likeliest; −1 after the token stopped."""
    lens_p: np.ndarray
    """[T, N, K] float32: their probabilities."""
    lens_entropy: np.ndarray
    """[T, N] float32, nats, of the whole distribution."""
    lens_kl: np.ndarray
    """[T, N] float32, nats: KL(final ‖ this step), what reading out here loses."""
    next_p: np.ndarray
    """[T, N] float32: probability of the token that came next; NaN for the last token."""
    next_rank: np.ndarray
    """[T, N] int64: its rank, from 1; −1 for the last token."""
    settled: np.ndarray
    """[T] int64: the step, from 1, from which on the likeliest token no longer changed."""
    text_ids: np.ndarray
    """[n] int64: every id in `lens_ids`, ascending."""
    texts: list[str]
    """Their n texts, bytes that are no whole character as \\xNN."""

    @property
    def max_loops(self) -> int:
        """L."""
        return int(self.exit_signal.shape[1])

    def text_of(self) -> dict[int, str]:
        """Texts of the ids in the lens."""
        return dict(zip(self.text_ids.tolist(), self.texts, strict=True))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every field as an array; what is None is absent."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    def save(self, path: str | Path, **more: np.ndarray) -> None:
        """Write an .npz that `numpy.load` opens without pickle; texts are arrays of strings. `more` arrays go along."""
        values: dict[str, Any] = {**self.arrays(), **more}
        with open(path, "wb") as file:  # given a name, numpy would append .npz to it
            np.savez(file, **values)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read what `save` wrote. Raises MythosError if it is no trace."""
        names = [field.name for field in fields(cls)]
        try:
            with np.load(path, allow_pickle=False) as stored:
                values: dict[str, Any] = {name: stored[name] for name in stored.files if name in names}
            for name in ("family", "exit", "signal_name"):
                values[name] = str(values[name])
            for name in ("tokens", "attention_rows", "steps", "texts"):
                values[name] = values[name].tolist()
            return cls(**{"halt_p": None, **values})
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            EOFError,
            MemoryError,
            RuntimeError,
            BadZipFile,
        ) as error:
            raise MythosError(f"{path} is no trace: {error}.", "Make one with `mythos trace`.") from None


def ids_of(checkpoint: Checkpoint, text: str, then: Sequence[int] = ()) -> list[int]:
    """Ids of a text and of tokens that follow it. Raises MythosError for more than the context, and for unknown ids."""
    ids, model = [*encode_prompt(checkpoint.tokenizer, text), *then], checkpoint.config.model
    if wrong := [token for token in then if not 0 <= token < model.vocab_size]:
        raise MythosError(f"Token {wrong[0]} is not in the vocabulary of {model.vocab_size}.", "Is it another model's?")
    if len(ids) > model.context:
        raise MythosError(
            f"The text has {len(ids)} tokens; the model's context holds {model.context}.",
            f"Shorten it by {len(ids) - model.context} tokens, or use a model with a longer context.",
        )
    return ids


def trace(
    checkpoint: Checkpoint,
    text: str,
    *,
    then: Sequence[int] = (),
    loops: int | None = None,
    exit: str | None = None,
    top: int = TOP,
    should_stop: Callable[[], bool] = never,
) -> Trace:
    """Look inside a checkpoint while it reads a text and the tokens `then` after it, with `top` candidates per read-out.

    Defaults of `loops` and `exit` come from the checkpoint. Raises MythosError for a text longer than the model's context
    or an exit rule that does not fit, and Cancelled when `should_stop` says so.
    """
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    ids = ids_of(checkpoint, text, then)
    spec = resolve_exit(exit or config.infer.exit, config.model)
    depth, rule = loops_of(checkpoint, loops), make_exit(spec, config.model)
    facts = trace_ids(checkpoint.model, ids, depth, rule, top, should_stop)
    seen = sorted(set(facts["lens_ids"].flatten().tolist()) - {-1})
    return Trace(
        family=config.model.family,
        tokens=[piece.replace("\0", "␀") for piece in display_texts(tokenizer, ids, EOT_TEXT)],
        exit=spec,
        text_ids=np.array(seen, dtype=np.int64),
        texts=[candidate_text(tokenizer, token) for token in seen],
        **facts,
    )


def candidate_text(tokenizer: Tokenizer, token: int) -> str:
    """One token by itself, bytes that are no whole character as \\xNN, ␀ for NUL."""
    if token == tokenizer.eot:
        return EOT_TEXT
    text = tokenizer.token_bytes(token).decode("utf-8", "backslashreplace")
    return (text or tokenizer.token_text(token)).replace("\0", "␀")


@torch.inference_mode()
def trace_ids(
    model: Model,
    ids: list[int],
    n_loops: int | None,
    rule: ExitRule,
    top: int = TOP,
    should_stop: Callable[[], bool] = never,
) -> dict[str, Any]:
    """The arrays of a trace, from token ids."""
    chunk = torch.tensor([ids], device=next(model.parameters()).device)
    dense, depth = isinstance(model.config, DenseConfig), depth_of(model, n_loops)
    if should_stop():
        raise Cancelled
    first = first_pass(model, chunk, depth, rule, should_stop) if rule.reads_out else None
    recorder = Recorder()
    steps, depths, logits = watched_pass(model, chunk, depth, Replay(first.orders) if first else rule, recorder)
    found = first or depths
    loops, count = found.loops[0], len(steps.read)
    lens = look(model, steps, chunk[0], torch.full_like(loops, count) if dense else loops, top, should_stop)
    taken, every = loops.cpu().numpy(), runs_on(model)
    routes, gates = (_routing(rows, taken, depth, every) for rows in (recorder.routes, recorder.gates))
    return {
        "ids": np.array(ids, dtype=np.int64),
        "loops": taken,
        "stopped": found.stopped[0].cpu().numpy(),
        "signal_name": "" if dense else rule.signal_name,
        "exit_signal": np.full((len(ids), depth), np.nan, np.float32)
        if found.signals is None
        else _numpy(found.signals),
        "halt_p": None if found.halt_p is None else _numpy(found.halt_p),
        "attention_rows": recorder.rows,
        "attention_entropy": _entropies(recorder, taken, every),
        "attention_max": most_entropy(len(ids), getattr(model.config, "attention_window", 0)),
        "token_loss": losses_of(logits[0], chunk[0]),
        "experts": np.array(getattr(model.config, "n_experts", 0)),
        "routes": routes,
        "gates": gates,
        "steps": [f"{'layer' if dense else 'loop'} {number + 1}" for number in range(count)],
        "state_norm": steps.table(steps.norm, count),
        "step_size": steps.table(steps.change, count),
        **{name if name in ("next_p", "next_rank", "settled") else f"lens_{name}": value
           for name, value in lens._asdict().items()},
    }  # fmt: skip


def _numpy(x: Tensor) -> np.ndarray:
    return x[0].float().cpu().numpy()


def most_entropy(length: int, window: int) -> np.ndarray:
    """[T] float32, nats: of attention spread evenly over every position in sight of each; `window` 0 is all before it."""
    seen = np.arange(1, length + 1)
    return np.log(np.minimum(seen, window) if window else seen).astype(np.float32)


def losses_of(logits: Tensor, ids: Tensor) -> np.ndarray:
    """[T] float32: what each token of ids [T] costs, NaN for the first; logits [T, V]."""
    losses = np.full(len(ids), np.nan, dtype=np.float32)
    losses[1:] = torch.nn.functional.cross_entropy(logits[:-1].float(), ids[1:], reduction="none").cpu().numpy()
    return losses


def _entropies(recorder: Recorder, taken: np.ndarray, every: bool) -> np.ndarray:
    """[R, T, H]: rows back to the positions that computed them."""
    heads = recorder.entropies[0].shape[0]
    entropies = np.full((len(recorder.rows), len(taken), heads), np.nan, dtype=np.float32)
    for row, (name, found) in enumerate(zip(recorder.rows, recorder.entropies, strict=True)):
        entropies[row, computed(name, taken, every)] = found.T
    return entropies


def computed(row: str, taken: np.ndarray, every: bool) -> np.ndarray:
    """[T] bool: the positions that a row of attention computed, where they took `taken` loops."""
    kind, _, number = row.partition(" ")
    return taken >= int(number) if kind == "loop" and not every else np.ones(len(taken), dtype=bool)


def _routing(rows: list[np.ndarray], taken: np.ndarray, depth: int, every: bool) -> np.ndarray:
    """[T, L, k], likewise: −1 or NaN where a loop did not compute a position."""
    whole = not rows or rows[0].dtype.kind == "i"
    shape = (len(taken), depth, rows[0].shape[1] if rows else 0)
    found = np.full(shape, -1, dtype=np.int64) if whole else np.full(shape, np.nan, dtype=np.float32)
    for loop, values in enumerate(rows):
        found[(taken > loop) | every, loop] = values
    return found
