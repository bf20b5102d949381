"""What the workbench and the inference worker say to each other: one JSON object per line, version 3.

Commands go to the worker's stdin, events come from its stdout. `id` ties the events of an answer to its command.
Every command is answered by any number of events and then exactly one of `done`, `error`, or the result of its kind
(`ready` for `load`). Lines that do not validate are answered by an `error` and change nothing.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

VERSION = 3


class Message(BaseModel):
    """Base of commands and events: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Load(Message):
    """Load a checkpoint directory, or the latest one of a run directory."""

    kind: Literal["load"] = "load"
    id: str
    path: str


class Generate(Message):
    """Continue a text: `head`, then what fits of `history`, then `prompt`.

    Where the whole leaves less than a quarter of the context to the answer, pieces of `history` are left out, oldest first.
    `stop` lists texts that end the answer and are left out of it, beside those of the checkpoint. None, `loops` 0 and
    `exit` "" mean the checkpoint's own defaults; a `seed` of None is another one every time.
    """

    kind: Literal["generate"] = "generate"
    id: str
    prompt: str
    head: str = ""
    history: list[str] = []
    stop: list[str] = []
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    temperature: float | None = Field(None, ge=0, le=10)
    top_k: int | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, ge=0.1, le=10)
    loops: int = Field(0, ge=0, le=1024)
    exit: str = ""
    seed: int | None = Field(None, ge=0, lt=2**63)


class TraceText(Message):
    """Run a text, and the tokens `then` after it, through the model and look inside; `top` candidates per read-out."""

    kind: Literal["trace"] = "trace"
    id: str
    text: str
    then: list[int] = []
    loops: int = Field(0, ge=0, le=1024)
    exit: str = ""
    top: int = Field(8, ge=1, le=64)


class AttentionOf(Message):
    """What one head attends to at one row, both counted from 0, of a trace; `taken` and `stopped` are those of its tokens."""

    kind: Literal["attention"] = "attention"
    id: str
    text: str
    then: list[int] = []
    loops: int = Field(0, ge=0, le=1024)
    taken: list[int]
    stopped: list[bool]
    row: int = Field(ge=0)
    head: int = Field(ge=0)


class SweepText(Message):
    """The loss of a text at 1, 2, … `loops` loops per token; 0 is the most that the model was trained for."""

    kind: Literal["sweep"] = "sweep"
    id: str
    text: str
    then: list[int] = []
    loops: int = Field(0, ge=0, le=1024)


class Cancel(Message):
    """Stop the answer `target` as soon as possible; it still ends in `done`."""

    kind: Literal["cancel"] = "cancel"
    id: str
    target: str


class Quit(Message):
    """End the worker. Closing its stdin does the same."""

    kind: Literal["quit"] = "quit"
    id: str = ""


class Hello(Message):
    """First line of the worker."""

    kind: Literal["hello"] = "hello"
    version: int = VERSION


class Ready(Message):
    """A checkpoint is loaded. `exits` are the rules that it takes, with a threshold where one was calibrated for it.

    `temperature` to `max_tokens` are what `generate` takes where it is not told another, `example` is a text to try or "".
    """

    kind: Literal["ready"] = "ready"
    id: str
    path: str
    family: str
    parameters: int
    step: int
    context: int
    loops: int
    max_loops: int
    exit: str
    exits: list[str]
    temperature: float
    top_k: int
    top_p: float
    max_tokens: int
    seconds: float
    example: str = ""


class PromptTokens(Message):
    """The prompt as the model saw it, with the loops each token took, and how many pieces of history were left out."""

    kind: Literal["prompt"] = "prompt"
    id: str
    texts: list[str]
    loops: list[int]
    left_out: int = 0


class Token(Message):
    """One generated token. `text` is whole characters only, so it may be empty while a character is incomplete."""

    kind: Literal["token"] = "token"
    id: str
    token: int
    text: str
    loops: int
    probability: float
    entropy: float


class Done(Message):
    """An answer has ended: `reason` is length, end, stop, cancelled or context.

    `flops` were spent on its tokens, exit rule included; `flops_full` is what they cost at all loops without a rule.
    """

    kind: Literal["done"] = "done"
    id: str
    reason: str
    tokens: int
    seconds: float
    mean_loops: float
    tokens_per_s: float
    flops: float = 0.0
    flops_full: float = 0.0


Numbers = list[float | None]


class LensResult(BaseModel):
    """What would be read out after each of N steps (loops, or layers of a dense model): K candidates per token and step.

    Row t says what comes after token t. `kl` is KL(final ‖ this step) in nats; `next_p` and `next_rank` are of the token
    that came next, `settled` is the step (from 1) from which the likeliest stayed. After a token stopped ids are −1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: list[list[list[int]]]
    p: list[list[Numbers]]
    entropy: list[Numbers]
    kl: list[Numbers]
    next_p: list[Numbers]
    next_rank: list[list[int]]
    settled: list[int]
    texts: dict[int, str]


class TraceResult(Message):
    """A trace. T tokens, L loops allowed (1 for dense models), R rows of attention (layers and loops), H heads, N steps.

    `stopped` tells which tokens the exit rule stopped; the others ran out of loops.
    `exit_signal` is the exit rule's own number at each loop (ACT: cumulative halting probability), null where the token
    had stopped; `attention_entropy` is in nats, null where a row did not compute the token, and `attention_max` the most that
    it can be at each token. `routes` are the experts of
    each token and loop, `gates` their weights; `state_norm` (RMS) and `step_size` (relative) are of each token and step.
    """

    kind: Literal["trace_result"] = "trace_result"
    id: str
    tokens: list[str]
    ids: list[int]
    loops: list[int]
    stopped: list[bool]
    max_loops: int
    exit: str
    signal_name: str
    exit_signal: list[Numbers]
    attention_rows: list[str]
    attention_entropy: list[list[Numbers]]
    attention_max: list[float]
    token_loss: Numbers
    experts: int
    routes: list[list[list[int]]]
    gates: list[list[Numbers]]
    steps: list[str]
    state_norm: list[Numbers]
    step_size: list[Numbers]
    lens: LensResult
    seconds: float


class AttentionResult(Message):
    """What each position attends to: weights of the positions up to its own; null where it was not computed."""

    kind: Literal["attention_result"] = "attention_result"
    id: str
    row: str
    head: int
    weights: list[list[float] | None]
    seconds: float


class SweepResult(Message):
    """The loss in nats of every token, null for the first, at 1, 2, … loops."""

    kind: Literal["sweep_result"] = "sweep_result"
    id: str
    losses: list[Numbers]
    seconds: float


class Error(Message):
    """A command failed; the worker goes on."""

    kind: Literal["error"] = "error"
    id: str
    message: str
    hint: str = ""


Command = Annotated[Load | Generate | TraceText | AttentionOf | SweepText | Cancel | Quit, Field(discriminator="kind")]
Event = Annotated[
    Hello | Ready | PromptTokens | Token | Done | TraceResult | AttentionResult | SweepResult | Error,
    Field(discriminator="kind"),
]

_COMMAND: TypeAdapter[Any] = TypeAdapter(Command)
_EVENT: TypeAdapter[Any] = TypeAdapter(Event)


def encode(message: Message) -> bytes:
    """One line. ASCII only, so that no terminal and no line splitter ever sees a stray control character."""
    return (json.dumps(message.model_dump(), allow_nan=False) + "\n").encode("ascii")


def decode_command(line: bytes) -> Any:
    """A command. Raises ValueError with one sentence where the line is none."""
    return _decode(_COMMAND, line)


def decode_event(line: bytes) -> Any:
    """An event. Raises ValueError with one sentence where the line is none."""
    return _decode(_EVENT, line)


def _decode(adapter: TypeAdapter[Any], line: bytes) -> Any:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc'])) or 'line'}: {fault['msg']}") from None
