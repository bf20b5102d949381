"""Generation on token ids alone: prefill, then one token at a time. No text, no file, no process.

Which loops belong to a token: a model predicts a token at the position *before* it, so `Step.loops` are the loops that
the predicting position ran. For tokens of the prompt, which nobody predicted, they are the loops of their own position.
The last token of the prompt and the first generated one therefore report the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mythos.contract.errors import MythosError
from mythos.infer.sampling import GREEDY, Sampling, sample
from mythos.models.build import Model
from mythos.models.cache import Cache
from mythos.models.halting import ExitRule

PREFILL_CHUNK = 256
PREFILL_CHUNK_READING = 4
"""Positions between two looks at `should_stop`; rules that read out take each position on its own and are slower."""


class Cancelled(Exception):
    """`should_stop` said so."""


@dataclass(frozen=True)
class Step:
    """One generated token: its id, the loops that its prediction took, the model's own probability of it, and the
    entropy in nats of the distribution that it was drawn from before temperature and truncation."""

    id: int
    loops: int
    probability: float
    entropy: float


def never() -> bool:
    """Do not stop."""
    return False


def check_room(tokens: int, context: int, what: str = "prompt") -> None:
    """A prompt leaves room for one token at least. Raises MythosError."""
    if tokens > context - 1:
        raise MythosError(
            f"The {what} has {tokens} tokens; the model's context of {context} has room for {context - 1} and one more to come.",
            f"Shorten it by {tokens - context + 1} tokens, or use a model with a longer context.",
        )


class Engine:
    """One sequence through one model, which is put into evaluation mode. `prefill` begins it, every `step` adds a token."""

    def __init__(self, model: Model) -> None:
        self.model = model.eval()
        self.context = model.config.context
        self.device = next(model.parameters()).device
        self._begin(None, None)

    def _begin(self, n_loops: int | None, exit: ExitRule | None) -> None:
        self._cache = Cache()
        self._n_loops, self._exit = n_loops, exit
        self._pending: int | None = None
        self._logits: Tensor | None = None
        self._ids: list[int] = []
        self._loops = 0

    @property
    def length(self) -> int:
        """Tokens of the sequence so far, generated ones included."""
        return self._cache.length + (self._pending is not None)

    @property
    def full(self) -> bool:
        """Whether the sequence has reached the model's context."""
        return self.length >= self.context

    def prefill(
        self,
        ids: Sequence[int],
        n_loops: int | None = None,
        exit: ExitRule | None = None,
        should_stop: Callable[[], bool] = never,
    ) -> list[int]:
        """Forget the last sequence and read a prompt of at least one token; returns the loops of each position.

        `n_loops` and `exit` hold for the whole sequence. Raises MythosError for a prompt that is empty or too long,
        and Cancelled.
        """
        if not ids:
            raise MythosError(
                "The prompt has no token.", "Begin with the end-of-text token, which opens every document."
            )
        check_room(len(ids), self.context)
        self._begin(n_loops, exit)
        size = PREFILL_CHUNK_READING if exit is not None and exit.reads_out else PREFILL_CHUNK
        loops: list[int] = []
        for start in range(0, len(ids), size):
            if should_stop():
                raise Cancelled
            loops += self._advance(ids[start : start + size])
        return loops

    def step(self, sampling: Sampling = GREEDY, generator: torch.Generator | None = None) -> Step:
        """Choose the next token. Raises MythosError where the context is full or predictions are not finite."""
        if self._pending is not None:
            if self.full:
                raise MythosError(
                    f"The context of {self.context} tokens is full.", "Start again with a shorter prompt."
                )
            self._advance([self._pending])
        assert self._logits is not None, "prefill comes first"
        return self._choose(self._logits, sampling, generator)

    @torch.inference_mode()
    def _choose(self, logits: Tensor, sampling: Sampling, generator: torch.Generator | None) -> Step:
        if not bool(torch.isfinite(logits).all()):
            hint = "Its training diverged; choose an earlier checkpoint."
            raise MythosError("The model's predictions are not finite numbers.", hint)
        seen = torch.tensor(self._ids) if sampling.repetition_penalty != 1 else None
        drawn = sample(logits, sampling, generator, seen)
        self._pending = int(drawn.id)
        return Step(self._pending, self._loops, float(drawn.probability), float(drawn.entropy))

    @torch.inference_mode()
    def _advance(self, ids: Sequence[int]) -> list[int]:
        """Feed tokens; returns the loops of each."""
        chunk = torch.tensor([list(ids)], dtype=torch.int64, device=self.device)
        output = self.model(chunk, self._n_loops, cache=self._cache, exit=self._exit)
        self._pending = None
        self._ids += ids
        self._logits = output.logits[0, -1].float().cpu()
        loops: list[int] = output.telemetry.loops[0].tolist()
        self._loops = loops[-1]
        return loops


class Generation(Iterator[Step]):
    """The tokens of an answer, each made when it is asked for.

    `reason` says why it ended: `length` (max_tokens), `end` (a stop id, which is not handed out), `context` (prompt and
    answer fill the model's context) or `cancelled`; "" while it goes on.
    """

    def __init__(
        self,
        engine: Engine,
        ids: Sequence[int],
        max_tokens: int,
        sampling: Sampling = GREEDY,
        n_loops: int | None = None,
        exit: ExitRule | None = None,
        stop_ids: Collection[int] = (),
        generator: torch.Generator | None = None,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        check_room(len(ids), engine.context)
        self.reason = ""
        self._engine, self._ids, self._left = engine, list(ids), max_tokens
        self._sampling, self._n_loops, self._exit = sampling, n_loops, exit
        self._stop_ids, self._generator, self._should_stop = frozenset(stop_ids), generator, should_stop
        self._prompt_loops: list[int] | None = None

    @property
    def prompt_loops(self) -> list[int]:
        """Loops of each prompt token; reads the prompt when first asked for. Empty where that was cancelled."""
        if self._prompt_loops is None:
            try:
                self._prompt_loops = self._engine.prefill(self._ids, self._n_loops, self._exit, self._should_stop)
            except Cancelled:
                self._prompt_loops, self.reason = [], "cancelled"
        return self._prompt_loops

    def __next__(self) -> Step:
        self.reason = self.reason or self._ended()
        if self.reason:
            raise StopIteration
        step = self._engine.step(self._sampling, self._generator)
        if step.id in self._stop_ids:
            self.reason = "end"
            raise StopIteration
        self._left -= 1
        return step

    def _ended(self) -> str:
        """Why no further token comes, or ""."""
        begun = bool(self.prompt_loops)
        if not begun or self._should_stop():
            return "cancelled"
        if self._left <= 0:
            return "length"
        return "context" if self._engine.full else ""


def generate_ids(
    model: Model,
    ids: Sequence[int],
    max_tokens: int,
    sampling: Sampling = GREEDY,
    n_loops: int | None = None,
    exit: ExitRule | None = None,
    stop_ids: Collection[int] = (),
    generator: torch.Generator | None = None,
    should_stop: Callable[[], bool] = never,
) -> Generation:
    """Continue `ids` by up to `max_tokens`; see `Step` and `Generation`. Raises MythosError for a prompt too long."""
    return Generation(Engine(model), ids, max_tokens, sampling, n_loops, exit, stop_ids, generator, should_stop)
