"""Text in, text out, on top of the engine; the settings that nobody gives come from the checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from mythos.contract.budget import flops_spent
from mythos.contract.config import DenseConfig
from mythos.infer.engine import Generation, generate_ids, never
from mythos.infer.exits import make_exit, resolve_exit
from mythos.infer.sampling import Sampling
from mythos.infer.stops import GeneratedToken, StopTexts

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint
    from mythos.data.tokenizer import Tokenizer


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids as the model was trained to see them: one special token opens every document, and none closes a prompt."""
    return [tokenizer.start, *tokenizer.encode(text)]


def fit_prompt(
    tokenizer: Tokenizer, head: str, history: Sequence[str], prompt: str, room: int
) -> tuple[list[int], int]:
    """Ids of `head`, the latest pieces of `history` and `prompt`, and how many pieces were left out to keep within `room`.

    Without any history the ids may still be more than `room`.
    """
    left_out, ids = 0, encode_prompt(tokenizer, "".join([head, *history, prompt]))
    while len(ids) > room and left_out < len(history):
        left_out += 1
        ids = encode_prompt(tokenizer, "".join([head, *history[left_out:], prompt]))
    return ids, left_out


def display_texts(tokenizer: Tokenizer, ids: Sequence[int], eot: str = "") -> list[str]:
    """What each token adds to the text: put together they are the text, with `eot` where the end-of-text token stands."""
    decoder = tokenizer.stream(opening=True)
    return [eot if token == tokenizer.eot else decoder.push(token) for token in ids]


def loops_of(checkpoint: Checkpoint, loops: int | None) -> int | None:
    """Most loops per token: as asked, else the checkpoint's setting, else (None) its model's own."""
    return loops or checkpoint.config.infer.loops or None


class TextGeneration(Iterator[GeneratedToken]):
    """An answer as it is made. `ids` are those of the prompt, without the `left_out` oldest pieces of its history."""

    def __init__(
        self, tokenizer: Tokenizer, ids: list[int], left_out: int, steps: Generation, stops: StopTexts
    ) -> None:
        self.ids, self.left_out = ids, left_out
        self._tokenizer, self._decoder = tokenizer, tokenizer.stream()
        self._steps, self._stops = steps, stops
        self._ready: deque[GeneratedToken] = deque()

    @property
    def reason(self) -> str:
        """Why it ended: stop (one of the stop texts), length, end, context or cancelled; "" while it goes on."""
        return "stop" if self._stops.found else self._steps.reason

    @property
    def prompt(self) -> list[tuple[str, int]]:
        """Text and loops of every token of the prompt; the end-of-text token that opens it has no text."""
        return list(zip(display_texts(self._tokenizer, self.ids), self._steps.prompt_loops, strict=False))

    def __next__(self) -> GeneratedToken:
        while not self._ready:
            if self._stops.found:
                raise StopIteration
            step = next(self._steps, None)
            if step is None:
                self._ready.extend(self._stops.rest())
                break
            text = self._decoder.push(step.id)
            token = GeneratedToken(text, step.id, step.loops, step.probability, step.entropy)
            self._ready.extend(self._stops.push(token))
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()


def generate(
    checkpoint: Checkpoint,
    prompt: str,
    *,
    head: str = "",
    history: Sequence[str] = (),
    stop: Sequence[str] = (),
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    loops: int | None = None,
    exit: str | None = None,
    seed: int | None = None,
    should_stop: Callable[[], bool] = never,
) -> TextGeneration:
    """Continue a text, token by token, until end of text, a text of `stop` or of `infer.stop`, `max_tokens`, or a full context.

    The text is `head`, `history` and `prompt`; pieces of history are left out, oldest first, until a quarter of the context
    (or `max_tokens`, if that is less) is left to the answer. What is None comes from `checkpoint.config.infer`; `loops` 0 is
    the model's own. The same seed gives the same text. Texts are whole characters: bytes of a character that never became
    whole are left out. Raises MythosError for a prompt longer than the context minus 1 and for an exit rule that does not
    fit the model.
    """
    infer, model, tokenizer = checkpoint.config.infer, checkpoint.config.model, checkpoint.tokenizer
    sampling = Sampling(
        infer.temperature if temperature is None else temperature,
        infer.top_k if top_k is None else top_k,
        infer.top_p if top_p is None else top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        vocab=min(tokenizer.vocab_size, model.vocab_size),
    )
    most = infer.max_tokens if max_tokens is None else max_tokens
    ids, left_out = fit_prompt(tokenizer, head, history, prompt, model.context - min(most, model.context // 4))
    rule = make_exit(exit or infer.exit, model)
    depth = loops_of(checkpoint, loops)
    ends = {tokenizer.eot}
    steps = generate_ids(checkpoint.model, ids, most, sampling, depth, rule, ends, generator_of(seed), should_stop)
    return TextGeneration(tokenizer, ids, left_out, steps, StopTexts((*infer.stop, *stop)))


def generator_of(seed: int | None) -> torch.Generator:
    """A source of random numbers; without a seed another one every time."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def flops_of(
    checkpoint: Checkpoint, prompt_tokens: int, taken: Sequence[int], loops: int | None, exit: str | None
) -> tuple[float, float]:
    """(FLOPs spent, FLOPs at all loops without a rule) on tokens after a prompt, whose predictions took `taken` loops.

    `loops` and `exit` are what `generate` was given.
    """
    model = checkpoint.config.model
    rule = resolve_exit(exit or checkpoint.config.infer.exit, model).partition(":")[0]
    limit = loops_of(checkpoint, loops) or (1 if isinstance(model, DenseConfig) else model.loops)
    spans = range(prompt_tokens, prompt_tokens + len(taken))
    spent = [flops_spent(model, rule, span, n, limit) for span, n in zip(spans, taken, strict=True)]
    return sum(spent), sum([flops_spent(model, "fixed", span, limit, limit) for span in spans])
