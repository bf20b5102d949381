"""What a view shows, in a line below it, and everything about the cell under the cursor, in words and small bars."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from rich.text import Text

from mythos_tui.screens.inspect.tables import FLIP, MEASURES, Look, mean_loss, step_name
from mythos_tui.screens.inspect.trace import Trace
from mythos_tui.screens.inspect.views import EXIT_MARK
from mythos_tui.widgets.text import crop, fit, visible

BAR = 10
WIDTH = 27
MEASURE, PATTERN = "[inspect.measure]", "[inspect.pattern] pattern"
STEP, HEAD = "[inspect.step(-1)] [inspect.step(1)]", "[inspect.head(-1)] [inspect.head(1)]"


def explain(view: str, look: Look, with_keys: Callable[[str], str]) -> Text:
    """What rows, columns and colours of a view are, with the keys of the actions that are named."""
    trace = look.trace
    say = {
        "halting": _halting,
        "lens": _lens,
        "attention": _attention,
        "depth": _depth,
        "pattern": _pattern,
        "experts": _experts,
        "states": _states,
        "sweep": _sweep,
    }[view]
    bold, rest = say(look, trace)
    return Text.assemble((with_keys(bold), "bold"), (with_keys(rest), "dim"))


def _measure(view: str, look: Look) -> str:
    return f"{MEASURES[view][look.measure(view)]} ({MEASURE})"


def _halting(look: Look, trace: Trace) -> tuple[str, str]:
    if not trace.has_depth:
        return (
            "",
            "A dense model computes every token once: there is no halting to show. [inspect.view('lens')] shows its layers.",
        )
    what = visible(trace.signal_name) if trace.has_signal else f"computed (exit rule {trace.exit} has no number)"
    return "", f"row: token, its loops · column: loop · colour: {what} · {EXIT_MARK} exit"


def _lens(look: Look, trace: Trace) -> tuple[str, str]:
    step = step_name(trace)
    what = f"cell: what comes next, read out after this {step} · {FLIP} changed · colour: {_measure('lens', look)}"
    return "", what


def _attention(look: Look, trace: Trace) -> tuple[str, str]:
    name = visible(trace.rows[look.row]) if trace.rows else "none"
    place = f" ({look.row + 1} of {len(trace.rows)}; {STEP})"
    return (
        name,
        f"{place} · row: token · column: head · colour: entropy, {_measure('attention', look)} · {PATTERN}",
    )


def _depth(look: Look, trace: Trace) -> tuple[str, str]:
    name = crop(visible(trace.tokens[look.token], spaces=True), 20)
    what = f" ({STEP}) · row: layer or loop · column: head · colour: entropy, {_measure('depth', look)} · {PATTERN}"
    return f"token {look.token + 1} {name}", what


def _pattern(look: Look, trace: Trace) -> tuple[str, str]:
    name = f"{visible(trace.rows[look.row])} ({STEP}) · head {look.head + 1} of {trace.heads} ({HEAD})"
    return name, " · row attends to column · colour: weight"


def _experts(look: Look, trace: Trace) -> tuple[str, str]:
    if not trace.experts:
        return "", "This model routes no tokens to experts."
    return "", f"row: token, its loops · column: loop · {_measure('experts', look)} of {trace.experts}, from 0"


def _states(look: Look, trace: Trace) -> tuple[str, str]:
    what = ("how far the step moved the state, ‖hₜ−hₜ₋₁‖/‖hₜ‖", "size of the state, RMS")[look.measure("states")]
    return "", f"row: token · column: {step_name(trace)} · colour: {what} ({MEASURE})"


def _sweep(look: Look, trace: Trace) -> tuple[str, str]:
    if not trace.has_depth:
        return "", f"loss (nats) read out after each layer: mean of all tokens, and the token at the cursor ({STEP})"
    loops, loss = trace.exit_point()
    return (
        "",
        f"loss (nats) of all tokens at each number of loops · exit rule {trace.exit}: {loss:.3f} at {loops:.2f} loops",
    )


# The column at the side


def reading(view: str, look: Look, lines: int = 40) -> Text:
    """Everything about the token under the cursor, then what the view knows of the cell there, in about so many lines."""
    trace, token = look.trace, look.token
    text = Text(no_wrap=True, overflow="ellipsis")
    _pair(text, "token", f"{token + 1} of {len(trace.tokens)} · id {trace.ids[token]}")
    _pair(text, "text", crop(visible(trace.tokens[token], spaces=True), 15))
    if token + 1 < len(trace.tokens):
        _pair(text, "next", crop(visible(trace.tokens[token + 1], spaces=True), 15))
    loss = float(trace.loss[token])
    _pair(text, "loss", "first token: none" if math.isnan(loss) else f"{loss:.2f} nats (p {math.exp(-loss):.2f})")
    if trace.has_depth:
        why = "exit" if trace.stopped[token] else "ran out"
        _pair(text, "loops", f"{int(trace.loops[token])} of {trace.max_loops} · {why}")
    text.append("\n")
    room = max(3, lines - 8)
    {
        "halting": _signal,
        "lens": _candidates,
        "attention": _entropy,
        "depth": _entropy,
        "pattern": _weights,
        "experts": _routes,
        "states": _moves,
        "loss": _candidates,
        "sweep": _depths,
    }[view](text, look, room)
    return text


def _pair(text: Text, name: str, value: str) -> None:
    text.append(f"{name:<8}", "dim").append(f"{value}\n")


def _bar(text: Text, label: str, share: float, value: str) -> None:
    """A label, a bar as long as its share (0 to 1), and the value."""
    filled = min(BAR, max(0, round(share * BAR)))
    text.append(label, "dim").append("━" * filled).append("━" * (BAR - filled), "dim").append(f" {value}\n")


def _signal(text: Text, look: Look, room: int) -> None:
    """One bar per loop, as many as there is room for around the exit; a dot where the token had stopped."""
    trace, token = look.trace, look.token
    if not trace.has_signal:
        text.append("no signal to show\n", "dim")
        return
    text.append(f"{crop(visible(trace.signal_name), WIDTH)}\n", "bold")
    low, high = trace.halting_scale()
    room -= 1
    first = min(max(0, int(trace.loops[token]) - room + 1), max(0, trace.max_loops - room))
    for loop in range(first, min(trace.max_loops, first + room)):
        value = float(trace.signal[token, loop])
        if math.isnan(value):
            text.append(f"{loop + 1:>3} ", "dim").append(
                "· not run\n" if loop >= trace.loops[token] else "not read\n", "dim"
            )
            continue
        share = (value - low) / (high - low) if high > low else 0
        _bar(text, f"{loop + 1:>3} ", share, f"{value:.3g}" + (" exit" if loop + 1 == trace.loops[token] else ""))


def _candidates(text: Text, look: Look, room: int) -> None:
    """The likeliest next tokens after the step under the cursor, and what is known of the one that came."""
    trace, token, lens = look.trace, look.token, look.trace.lens
    step = min(look.step, trace.ran(token) - 1)
    text.append(f"what comes next, {visible(trace.steps[step])}\n", "bold")
    if look.step > step:
        text.append(f"{step_name(trace)} {look.step + 1} was not run\n", "dim")
    for number in range(min(lens.p.shape[2], max(3, room - 6))):
        p = float(lens.p[token, step, number])
        name = fit(visible(lens.texts.get(int(lens.ids[token, step, number]), "?"), spaces=True), 10)
        _bar(text, f"{name} ", p, f"{p:.3f}")
    text.append("\n")
    _pair(text, "entropy", f"{lens.entropy[token, step]:.3f} nats")
    _pair(text, "KL", f"{lens.kl[token, step]:.3f} nats to final")
    if lens.rank[token, step] > 0:
        _pair(text, "came", f"rank {lens.rank[token, step]} · p {lens.came[token, step]:.3f}")
    _pair(text, "settled", f"{step_name(trace)} {lens.settled[token]} of {trace.ran(token)}")


def _entropy(text: Text, look: Look, room: int) -> None:
    trace = look.trace
    if not trace.rows or not trace.heads:
        return
    value, most = float(trace.entropy[look.row, look.token, look.head]), float(trace.most_entropy[look.token])
    text.append("attention entropy\n", "bold")
    text.append(crop(f"{visible(trace.rows[look.row])} · head {look.head + 1}", WIDTH) + "\n", "dim")
    share = f" ({value / most:.0%})" if most > 0 else ""
    text.append("not run\n" if math.isnan(value) else f"{value:.2f} of {most:.2f} nats{share}\n")
    pattern = look.patterns.get((look.row, look.head))
    if pattern is None:
        text.append("\nits pattern: what it attends to\n", "dim")
    elif not math.isnan(value):
        text.append("\n")
        _most_attended(text, look, pattern[look.token], room - 4)


def _weights(text: Text, look: Look, room: int) -> None:
    _entropy(text, look, room)


def _most_attended(text: Text, look: Look, weights: np.ndarray, room: int) -> None:
    """The positions with the greatest weights."""
    text.append("attends to\n", "bold")
    best = np.argsort(-np.nan_to_num(weights[: look.token + 1], nan=-1.0), kind="stable")[: max(3, room)]
    for at in best.tolist():
        name = fit(visible(look.trace.tokens[at], spaces=True), 6)
        _bar(text, f"{at + 1:>4} {name} ", float(weights[at]), f"{weights[at]:.2f}")


def _routes(text: Text, look: Look, room: int) -> None:
    """Experts and their weights, loop by loop."""
    trace, token = look.trace, look.token
    if not trace.experts:
        return
    text.append("experts and their weights\n", "bold")
    first = min(max(0, look.step - room + 2), max(0, trace.max_loops - room))
    for loop in range(first, min(trace.max_loops, first + room)):
        pairs = zip(trace.routes[token, loop], trace.gates[token, loop], strict=True)
        told = "  ".join(f"{expert}: {gate:.2f}" for expert, gate in pairs if expert >= 0)
        text.append(f"{loop + 1:>3} ", "bold" if loop == look.step else "dim").append(told or "· not run").append("\n")


def _moves(text: Text, look: Look, room: int) -> None:
    """Step size and norm, step by step."""
    trace, token = look.trace, look.token
    text.append("    step size         norm\n", "bold")
    count = len(trace.steps)
    first = min(max(0, look.step - room + 2), max(0, count - room))
    most = max(1e-9, float(np.nanmax(trace.change[token])))
    for step in range(first, min(count, first + room)):
        change, norm = float(trace.change[token, step]), float(trace.norm[token, step])
        label = f"{step + 1:>3} "
        if math.isnan(change):
            text.append(label + "· not run\n", "dim")
        else:
            _bar(text, label, change / most, f"{change:.3f}  {norm:.2f}")


def _depths(text: Text, look: Look, room: int) -> None:
    """Mean loss and the token's, depth by depth."""
    losses = look.depth_losses()
    if losses is None:
        return
    text.append(f"loss, nats by {step_name(look.trace)}\n", "bold").append("    all tokens   this one\n", "dim")
    mean = mean_loss(losses)
    for step in range(min(len(losses), room)):
        one = float(losses[step, look.token])
        best = "◆" if np.isfinite(mean).any() and step == int(np.nanargmin(mean)) else ""
        text.append(f"{step + 1:>3} ", "dim").append(f"{mean[step]:>8.3f}{best:<1}  {one:>8.3f}\n")
