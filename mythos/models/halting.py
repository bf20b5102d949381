"""Which tokens stop at which loop, and what is read out of them.

A rule is an object apart from the model. After every loop it looks at a `LoopView` and says, per token, whether to stop,
and a number that explains it (its *signal*). Rules that read out through Coda and head say so in `reads_out`: whether a
token stops then depends on the finished Coda entries of all tokens before it, so the model takes such a chunk one
position at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class LoopView:
    """What a rule sees after loop `loop` (1-based). `before` and `after` [B, T, D] are states, `active` [B, T] who ran.

    `halted_p` [B, T] is ACT's cumulative halting probability, `gate_p` [B, T] what the gate says of this state; None for
    models without them. `peek()` is the state that would be read out if every token stopped here, [B, T, D], and
    `log_probs()` what Coda and head say of it, [B, T, V].
    """

    loop: int
    before: Tensor
    after: Tensor
    active: Tensor
    halted_p: Tensor | None
    peek: Callable[[], Tensor]
    log_probs: Callable[[], Tensor]
    gate_p: Tensor | None = None


class ExitRule(Protocol):
    """`start` is called before the first loop of a chunk, the rule itself after every loop."""

    name: str
    signal_name: str
    reads_out: bool

    def start(self) -> None: ...

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        """(stop [B, T] bool, signal [B, T] float); values of tokens that are not active do not matter."""
        ...


class RunAll:
    """No token stops before the last loop; there is nothing to explain."""

    name = "fixed"
    signal_name = "loop"
    reads_out = False

    def start(self) -> None: ...

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(view.active), torch.full_like(view.active, view.loop, dtype=torch.float32)


class ActRule:
    """Stop where the cumulative halting probability reaches the threshold (Graves 2016, eq. 7)."""

    name = "act"
    signal_name = "cumulative halting probability"
    reads_out = False

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def start(self) -> None: ...

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        if view.halted_p is None:
            raise ValueError("exit rule 'act' needs a model with halting 'act'")
        return view.halted_p >= self.threshold, view.halted_p.clamp(max=1)


class GateRule:
    """Stop where the gate says with probability p that stopping costs little."""

    name = "gate"
    signal_name = "probability that it may stop"
    reads_out = False

    def __init__(self, p: float) -> None:
        self.p = p

    def start(self) -> None: ...

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        if view.gate_p is None:
            raise ValueError("exit rule 'gate' needs a model with halting 'gate'")
        return view.gate_p >= self.p, view.gate_p


class Replay:
    """Stop each token after a given number of loops [B, T]: what another rule decided, run in one go."""

    name = "replay"
    signal_name = "loop"
    reads_out = False

    def __init__(self, loops: Tensor) -> None:
        self.loops = loops

    def start(self) -> None: ...

    def __call__(self, view: LoopView) -> tuple[Tensor, Tensor]:
        return self.loops <= view.loop, torch.full_like(view.active, view.loop, dtype=torch.float32)


class Halt(nn.Module):
    """The halting head of a loop that leads from state g [D] to h [D]: w·h + b, or with a hidden layer of `hidden` channels
    w·silu(U·[h, g] + c) + b. The keys and values of a token come from g, so one that is to stop has to be right there too.
    """

    def __init__(self, width: int, hidden: int = 0) -> None:
        super().__init__()
        line = nn.Linear(hidden or width, 1)
        self.weight, self.bias = line.weight, line.bias
        self.hidden = nn.Linear(2 * width, hidden) if hidden else None

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """[…, D] each → logits […], in the dtype of the states."""
        x = after
        if self.hidden is not None:
            both = torch.cat((after, before), dim=-1)
            x = F.silu(F.linear(both, self.hidden.weight.to(x.dtype), self.hidden.bias.to(x.dtype)))
        return x @ self.weight[0].to(x.dtype) + self.bias.to(x.dtype)


def unit(h: Tensor) -> Tensor:
    """The state at RMS 1, as the gate sees it."""
    return F.rms_norm(h, h.shape[-1:])


class Act:
    """The books of adaptive computation time (Graves 2016, eqs. 6–13), [B, T] each.

    A token's weights are its halting probabilities, and what is left of 1 goes to the loop at which it stops, for
    whatever reason. `ponder` is N + R per token; R carries the gradient.
    """

    def __init__(self, halt: Halt) -> None:
        self.halt = halt
        self.p: Tensor | None = None
        self.cumulative: Tensor | float = 0.0
        self.ponder: Tensor | float = 0.0

    def observe(self, h: Tensor) -> Tensor:
        """A loop has run and left `h` [B, T, D]. Returns its halting probabilities."""
        self.p = torch.sigmoid(self.halt(h, h))
        return self.p

    def halted_p(self) -> Tensor:
        """Cumulative probability with this loop's."""
        assert self.p is not None
        return self.cumulative + self.p

    def settle(self, active: Tensor, stop: Tensor, filled: Tensor) -> Tensor:
        """Weight of this loop: p, never more than is left; all that is left for those that stop and are `filled` up."""
        assert self.p is not None
        left = 1 - self.cumulative + torch.zeros_like(self.p)
        rest = active & stop & filled
        weight = torch.where(rest, left, torch.where(active, torch.minimum(self.p, left), 0.0))
        self.ponder = self.ponder + active.to(left.dtype) + torch.where(active & stop, left, 0.0)
        self.cumulative = self.cumulative + weight
        return weight


class LastState:
    """Reads out the state at a token's last loop. With `keep`, states go on changing after it, and the one of that loop stays."""

    def __init__(self, keep: bool = False) -> None:
        self.keep = keep
        self.state: Tensor | None = None
        self._stopped: Tensor | None = None

    def observe(self, h: Tensor) -> None:
        """A loop has run and left `h` [B, T, D]."""
        if self._stopped is not None and self.state is not None:
            h = torch.where(self._stopped.unsqueeze(-1), self.state, h)
        self.state = h

    def settle(self, active: Tensor, stop: Tensor, weight: Tensor | None) -> None:
        """Of the `active` tokens, `stop` have run their last loop; ACT gives this loop `weight` [B, T]."""
        if self.keep:
            self._stopped = ~active | stop

    def peek(self, left: Tensor | None) -> Tensor:
        """What would be read out if every active token stopped now, with `left` [B, T] as its ACT weight: [B, T, D]."""
        assert self.state is not None
        return self.state

    def value(self) -> Tensor:
        """What is read out once every token has stopped, [B, T, D]."""
        return self.peek(None)


class MeanState:
    """Reads out the plain mean of a token's states over the loops that it ran."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.loops: Tensor | float = 0.0
        self._running: Tensor | None = None

    def observe(self, h: Tensor) -> None:
        ran = torch.ones_like(h[..., :1]) if self._running is None else self._running.unsqueeze(-1).to(h.dtype)
        self.total = h if self.total is None else self.total + ran * h
        self.loops = self.loops + ran

    def settle(self, active: Tensor, stop: Tensor, weight: Tensor | None) -> None:
        self._running = active & ~stop

    def peek(self, left: Tensor | None) -> Tensor:
        assert self.total is not None
        return self.total / self.loops

    def value(self) -> Tensor:
        return self.peek(None)


class WeightedState:
    """Reads out Σₜ wₜ·hₜ with the weights of ACT."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self._h: Tensor | None = None

    def observe(self, h: Tensor) -> None:
        self._h = h

    def settle(self, active: Tensor, stop: Tensor, weight: Tensor | None) -> None:
        assert self._h is not None and weight is not None
        self.total = self.total + weight.unsqueeze(-1) * self._h

    def peek(self, left: Tensor | None) -> Tensor:
        assert self._h is not None and left is not None
        return self.total + left.unsqueeze(-1) * self._h

    def value(self) -> Tensor:
        assert isinstance(self.total, Tensor)
        return self.total


ReadOut = LastState | MeanState | WeightedState


def build_read_out(kind: str, act: bool, keep: bool) -> ReadOut:
    """`auto`, `last` or `mean` of the configuration; auto is ACT's weighted state for a model that has it."""
    if kind == "mean":
        return MeanState()
    return WeightedState() if act and kind == "auto" else LastState(keep)
