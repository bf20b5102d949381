"""Text in, text out, on top of the engine; the settings that nobody gives come from the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mythos.infer.engine import generate_ids, never
from mythos.infer.exits import make_exit
from mythos.infer.sampling import Sampling

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint
    from mythos.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class GeneratedToken:
    """One generated token. `text` is the whole characters that it completes, often "" inside an emoji.

    `loops` are those that predicting it took; `probability` and `entropy` (nats) are of the model's own distribution.
    """

    text: str
    id: int
    loops: int
    probability: float
    entropy: float


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids as the model was trained to see them: one special token opens every document, and none closes a prompt."""
    return [tokenizer.start, *tokenizer.encode(text)]


def display_texts(tokenizer: Tokenizer, ids: Sequence[int], eot: str = "") -> list[str]:
    """What each token adds to the text: put together they are the text, with `eot` where the end-of-text token stands."""
    decoder = tokenizer.stream(opening=True)
    return [eot if token == tokenizer.eot else decoder.push(token) for token in ids]


def loops_of(checkpoint: Checkpoint, loops: int | None) -> int | None:
    """Most loops per token: as asked, else the checkpoint's setting, else (None) its model's own."""
    return loops or checkpoint.config.infer.loops or None


class TextGeneration(Iterator[GeneratedToken]):
    """An answer as it is made. `reason` says why it ended (see `engine.Generation`), `prompt` lists (text, loops)."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        prompt: str,
        max_tokens: int,
        sampling: Sampling,
        loops: int | None,
        exit: str,
        seed: int | None,
        should_stop: Callable[[], bool],
    ) -> None:
        tokenizer = checkpoint.tokenizer
        self._ids = encode_prompt(tokenizer, prompt)
        self._tokenizer, self._decoder = tokenizer, tokenizer.stream()
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        rule = make_exit(exit, checkpoint.config.model)
        self._steps = generate_ids(
            checkpoint.model, self._ids, max_tokens, sampling, loops, rule, {tokenizer.eot}, generator, should_stop
        )

    @property
    def reason(self) -> str:
        """length, end, context or cancelled; "" while it goes on."""
        return self._steps.reason

    @property
    def prompt(self) -> list[tuple[str, int]]:
        """Text and loops of every token of the prompt; the end-of-text token that opens it has no text."""
        return list(zip(display_texts(self._tokenizer, self._ids), self._steps.prompt_loops, strict=False))

    def __next__(self) -> GeneratedToken:
        step = next(self._steps)
        return GeneratedToken(self._decoder.push(step.id), step.id, step.loops, step.probability, step.entropy)


def generate(
    checkpoint: Checkpoint,
    prompt: str,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    loops: int | None = None,
    exit: str | None = None,
    seed: int | None = None,
    should_stop: Callable[[], bool] = never,
) -> TextGeneration:
    """Continue a prompt, token by token, until end of text, `max_tokens`, or the model's context is full.

    What is None comes from `checkpoint.config.infer`; `loops` 0 is the model's own. The same seed gives the same text.
    Texts are whole characters: bytes of a character that never became whole are left out.
    Raises MythosError for a prompt longer than the context minus 1 and for an exit rule that does not fit the model.
    """
    infer = checkpoint.config.infer
    sampling = Sampling(
        infer.temperature if temperature is None else temperature,
        infer.top_k if top_k is None else top_k,
        infer.top_p if top_p is None else top_p,
        vocab=min(checkpoint.tokenizer.vocab_size, checkpoint.config.model.vocab_size),
    )
    most = infer.max_tokens if max_tokens is None else max_tokens
    depth = loops_of(checkpoint, loops)
    return TextGeneration(checkpoint, prompt, most, sampling, depth, exit or infer.exit, seed, should_stop)
