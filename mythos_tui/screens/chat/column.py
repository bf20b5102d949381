"""What is behind one token: loops and halting curve, what the model chose among, its read-out loop by loop, experts.

A token was predicted at the position before it; everything here is of that position, and comes from the engine's trace.
"""

from __future__ import annotations

import math
from itertools import takewhile

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from mythos.contract.protocol import TraceResult
from mythos_tui.chats.conversation import Answer
from mythos_tui.screens.chat.exchange import Exchange
from mythos_tui.widgets.text import crop, fit, visible

WIDTH = 34
NAME = 12
BAR = 10


class Column(VerticalScroll, can_focus=True):
    """The side panel while the cursor is on a token. With the focus it scrolls by the arrow keys."""

    help_text = (
        "Everything here is of the position that predicted the token, the one before it. Read-outs: what the model would "
        "have said had it stopped there; KL is what that would lose against its final prediction, in nats. The bars below "
        "are the exit rule's own number, loop by loop."
    )

    _shown: tuple[Exchange, str] | None = None
    _height = 0

    def compose(self) -> ComposeResult:
        yield Static("", id="column-text")

    def show(self, exchange: Exchange, note: str = "") -> None:
        """Everything that is known of the token under the cursor; `note` says what is still missing."""
        self._shown = exchange, note
        self._fill()
        self.scroll_home(animate=False)

    def _fill(self) -> None:
        """As many candidates as there is room for."""
        if self._shown is not None:
            (exchange, note), most = self._shown, max(3, self.size.height - 26)
            text = column_text(exchange.answer, exchange.cursor or 0, exchange.trace, note, most)
            self.query_one("#column-text", Static).update(text)

    def on_resize(self, event: events.Resize) -> None:
        if event.size.height != self._height:
            self._height = event.size.height
            self._fill()


def column_text(answer: Answer, number: int, trace: TraceResult | None, note: str = "", most: int = 8) -> Text:
    """For token `number` of an answer's message and tokens, with at most so many candidates."""
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    piece, generated = answer.pieces[number], number >= len(answer.prompt)
    text.append(f"{crop(visible(piece.text, spaces=True), WIDTH - 2)}\n", "bold")
    whose = "generated" if generated else "yours"
    text.append(f"token {number + 1} of {len(answer.pieces)} · {whose}\n", "dim")
    if parts := len(list(takewhile(lambda one: not one.text, reversed(answer.pieces[:number])))):
        text.append(f"completes a character begun {parts} token{'s' * (parts > 1)}\nbefore\n", "dim")
    at = answer.earlier + number - 1
    known = trace is not None and 0 <= at < len(trace.loops)
    if piece.probability is not None:
        _pair(text, "probability", f"{piece.probability:.3f}{_rank(trace, at) if known else ''}")
        _pair(text, "entropy", f"{piece.entropy:.2f} nats")
    elif known and trace is not None:
        p, entropy = _last(trace.lens.next_p[at]), _last(trace.lens.entropy[at])
        _pair(text, "probability", "–" if p is None else f"{p:.3f}{_rank(trace, at)}")
        _pair(text, "entropy", "–" if entropy is None else f"{entropy:.2f} nats")
    if answer.limit > 1:
        _pair(text, "loops", f"{piece.loops} of {answer.limit} to {'predict' if generated else 'read'} it")
    if known and trace is not None:
        _candidates(text, trace, at, most)
        _lens(text, trace, at)
        _halting(text, trace, at)
        _experts(text, trace, at)
    return text.append(f"\n{note}", "dim") if note else text


def _pair(text: Text, name: str, value: str) -> None:
    text.append(f"{name:<12}", "dim").append(f"{value}\n")


def _heading(text: Text, words: str) -> None:
    text.append(f"\n{crop(words, WIDTH)}\n", "bold")


def _last(values: list[float | None]) -> float | None:
    """The last number of a row in which a token that stopped has none."""
    return next((value for value in reversed(values) if value is not None), None)


def _steps(trace: TraceResult, at: int) -> int:
    """Loops, or layers of a dense model, that were run at a position."""
    return sum(row[0] >= 0 for row in trace.lens.ids[at])


def _rank(trace: TraceResult | None, at: int) -> str:
    rank = trace.lens.next_rank[at][_steps(trace, at) - 1] if trace else -1
    return f" · rank {rank}" if rank > 0 else ""


def _name(trace: TraceResult, token: int, width: int = NAME) -> str:
    return fit(visible(trace.lens.texts.get(token, "?"), spaces=True), width)


def _candidates(text: Text, trace: TraceResult, at: int, most: int) -> None:
    """The likeliest tokens of the prediction, with what came marked."""
    last = _steps(trace, at) - 1
    following = trace.ids[at + 1] if at + 1 < len(trace.ids) else -1
    _heading(text, "chosen among")
    for token, p in zip(trace.lens.ids[at][last][:most], trace.lens.p[at][last][:most], strict=True):
        if p is None:
            continue
        chosen = token == following
        text.append("▸" if chosen else " ").append(_name(trace, token), "bold" if chosen else "")
        _bar(text, p)
        text.append(f" {p:.3f}\n", "bold" if chosen else "")


def _lens(text: Text, trace: TraceResult, at: int) -> None:
    """Read out after every step: the likeliest token, its probability, and what reading out there loses."""
    steps, settled = _steps(trace, at), trace.lens.settled[at]
    unit = trace.steps[0].partition(" ")[0] if trace.steps else "step"
    _heading(text, f"read out after each {unit}")
    text.append(f" {unit:<6}{'likeliest':<{NAME}}  p     KL\n", "dim")
    for step in range(steps):
        token, p, kl = trace.lens.ids[at][step][0], trace.lens.p[at][step][0], trace.lens.kl[at][step]
        flips = step + 1 == settled and step > 0
        text.append(f"{step + 1:>3}{'  ⇢ ' if flips else '    '}", "bold" if flips else "dim")
        text.append(_name(trace, token), "bold" if flips else "").append(f" {p or 0:.2f}  {_number(kl)}\n")
    said = f"⇢ its answer since {unit} {settled}" if settled > 1 else f"the same answer from {unit} 1 on"
    text.append(f"{said}\n", "dim")


def _halting(text: Text, trace: TraceResult, at: int) -> None:
    """The exit rule's own number after each loop."""
    if not trace.signal_name:
        _heading(text, "depth")
        text.append("a dense model computes every token\nonce: no loops, no halting\n", "dim")
        return
    if trace.exit == "fixed":
        _heading(text, "halting")
        text.append("rule fixed: every token takes all\nloops\n", "dim")
        return
    _heading(text, visible(trace.signal_name))
    signals, loops = trace.exit_signal[at], trace.loops[at]
    high = max((value for row in trace.exit_signal for value in row if value is not None), default=1.0)
    for loop, value in enumerate(signals[:loops]):
        text.append(f"{loop + 1:>3}  ", "dim")
        _bar(text, (value or 0) / high if high > 0 else 0, 16)
        end = (" stops" if trace.stopped[at] else " all") if loop + 1 == loops else ""
        text.append(f" {_number(value)}{end}\n")
    text.append(f"rule {visible(trace.exit)}\n", "dim")


def _experts(text: Text, trace: TraceResult, at: int) -> None:
    """Experts of each loop, by number, with the weight of each."""
    rows = [(r, g) for r, g in zip(trace.routes[at], trace.gates[at], strict=True) if r and r[0] >= 0]
    if not rows:
        return
    _heading(text, f"experts of {trace.experts}, with weights")
    for loop, (route, gates) in enumerate(rows, 1):
        text.append(f"{loop:>3}  ", "dim")
        text.append("  ".join(f"{e + 1:>2} {_number(g)}" for e, g in zip(route, gates, strict=True)) + "\n")


def _bar(text: Text, share: float, width: int = BAR) -> None:
    filled = min(width, max(0, round(share * width)))
    text.append("━" * filled).append("━" * (width - filled), "dim")


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "   –"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.0e}".replace("e-0", "e-")
