"""Settings of generation: a column of small fields, each checked while it is typed and explained where it is wrong."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Label, Select, Static

from mythos.contract.config import EXIT_RULES, parse_exit
from mythos.contract.protocol import Generate, Ready
from mythos_tui.screens.chat.depth import Depth, rules_of, threshold_of
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.text import crop, visible

SIGNS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("at least", operator.ge),
    "gt": ("more than", operator.gt),
    "le": ("at most", operator.le),
    "lt": ("less than", operator.lt),
}


@dataclass(frozen=True)
class Setting:
    """One number of `Generate`: its name there, its label, and what an empty field means: what the checkpoint does by itself
    (`own`), or `empty`, shown as the placeholder."""

    name: str
    label: str
    whole: bool
    empty: Any = None
    placeholder: str = ""

    @property
    def own(self) -> bool:
        """Whether checkpoints come with a value of their own."""
        return self.name in Ready.model_fields

    @property
    def bounds(self) -> list[tuple[str, float]]:
        """Its bounds, from the protocol itself: signs of SIGNS with their values."""
        marks = Generate.model_fields[self.name].metadata
        return [(sign, float(getattr(mark, sign))) for mark in marks for sign in SIGNS if hasattr(mark, sign)]

    @property
    def default(self) -> str:
        """The protocol's own default, as typed."""
        value = Generate.model_fields[self.name].default
        return "" if self.placeholder else f"{value:g}"

    def hint(self, ready: Ready | None) -> str:
        """What stands in the empty field: the checkpoint's own value where it has one."""
        if ready is None or not self.own:
            return self.placeholder
        value = getattr(ready, self.name)
        return "default all" if self.name == "top_k" and not value else f"default {value:g}"

    def parse(self, text: str) -> Any:
        """The value, or ValueError with a few words on what is allowed."""
        if not text.strip():
            if self.placeholder:
                return self.empty
            raise ValueError("a number, please")
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            raise ValueError("a whole number, please" if self.whole else "a number, please") from None
        for sign, bound in self.bounds:
            words, holds = SIGNS[sign]
            if not holds(value, bound):
                raise ValueError(f"{words} {bound:g}, please")
        return value


SAMPLING = (
    Setting("temperature", "temperature", False, None, "default"),
    Setting("top_k", "top-k", True, None, "default"),
    Setting("top_p", "top-p", False, None, "default"),
    Setting("min_p", "min-p", False),
    Setting("repetition_penalty", "repetition", False),
    Setting("max_tokens", "max tokens", True, None, "default"),
    Setting("seed", "seed", True, None, "random"),
)
LOOPS = Setting("loops", "loops", True, 0, "default")


class Field(Vertical):
    """A label, a small input, and below it what is wrong with the value, if anything."""

    def __init__(self, name: str, label: str, value: str = "", placeholder: str = "") -> None:
        super().__init__(id=f"field-{name}", classes="field")
        self._label, self._value, self._placeholder = label, value, placeholder
        self._name = name

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label(self._label)
            yield TextField(self._value, self._placeholder, id=self._name)
        yield Static(classes="fault", markup=False)

    def say(self, fault: str) -> None:
        """Show what is wrong; an empty text takes it away."""
        note = self.query_one(".fault", Static)
        note.update(fault)
        note.display = bool(fault)
        self.set_class(bool(fault), "-faulty")


class Controls(VerticalScroll, can_focus=False):
    """The side panel. `read()` is what `Generate` (or with `sampling=False` a trace) takes, or None where a value is wrong."""

    help_text = (
        "An empty field is what the checkpoint does by itself. Temperature 0 always takes the most likely token. Top-k keeps "
        "that many likeliest tokens, top-p the likeliest that hold this share of probability, min-p those with this share of the "
        "likeliest one's. Repetition above 1 makes tokens that the text holds already less likely. The same seed gives the same "
        "text. Loops is the most that a token may take; the exit rule decides when a token stops earlier."
    )

    class Leave(Message):
        """Enter in a field: back to the prompt."""

    class DepthChanged(Message):
        """Loops, rule or threshold are others now."""

    def __init__(self, sampling: bool = True, id: str | None = None) -> None:
        super().__init__(id=id, classes="controls")
        self._settings = (*SAMPLING, LOOPS) if sampling else (LOOPS,)
        self._sampling = sampling
        self._defaults = ""
        self._rules = [""]
        self._ready: Ready | None = None

    def compose(self) -> ComposeResult:
        if self._sampling:
            yield Static("Sampling", classes="heading")
            for one in SAMPLING:
                yield Field(one.name, one.label, one.default, one.placeholder)
        yield Static("Depth", classes="heading", id="depth-heading")
        yield Field(LOOPS.name, LOOPS.label, "", LOOPS.placeholder)
        with Horizontal(classes="field", id="field-exit"):
            yield Label("exit rule")
            yield Select([("default", "")], value="", allow_blank=False, compact=True, id="exit")
        yield Field("threshold", "threshold")
        yield Static("", id="depth-note", markup=False)

    def on_mount(self) -> None:
        self._show_threshold()

    def adapt(self, ready: Ready | None) -> None:
        """Offer what a checkpoint can do; without one, nothing of depth."""
        self._ready = ready
        can_loop = ready is not None and ready.max_loops > 1
        for field in ("loops", "exit", "threshold"):
            self.query_one(f"#{field}").disabled = not can_loop
        note = self.query_one("#depth-note", Static)
        note.update(self._note(ready))
        note.display = bool(self._note(ready))
        default = f"default ({visible(ready.exit)})" if ready and can_loop else "default"
        rules = rules_of(ready) if ready and can_loop else [""]
        choices = [(rule or default, rule) for rule in rules]
        self._rules = rules
        for one in self._settings:
            self.query_one(f"#{one.name}", Input).placeholder = one.hint(
                ready if one is not LOOPS or can_loop else None
            )
        if repr(choices) != self._defaults:
            select = self.query_one("#exit", Select)
            kept = select.value
            select.set_options(choices)
            select.value = kept if kept in [value for _, value in choices] else ""
            self._defaults = repr(choices)

    def _note(self, ready: Ready | None) -> str:
        if ready is None or not (self._sampling or ready.max_loops <= 1):
            return ""
        if ready.max_loops <= 1:
            return "A dense model computes every token once: no depth to choose."
        return f"Trained to {ready.max_loops} loops."  # not wrapped beside a scrollbar, which it would bring about

    def read(self) -> dict[str, Any] | None:
        """All values, or None where one is wrong; that field then has the focus."""
        values: dict[str, Any] = {}
        for one in self._settings:
            try:
                values[one.name] = one.parse(self.query_one(f"#{one.name}", Input).value)
            except ValueError:
                self.query_one(f"#{one.name}", Input).focus()
                return None
        values["exit"] = self.depth.exit
        if self._threshold_fault():
            self.query_one("#threshold", Input).focus()
            return None
        if self.query_one("#loops", Input).disabled:
            values.update(loops=0, exit="")
        return values

    @property
    def depth(self) -> Depth:
        """What the fields of depth hold."""
        loops, threshold = (self.query_one(f"#{name}", Input).value.strip() for name in ("loops", "threshold"))
        return Depth(loops, str(self.query_one("#exit", Select).value), threshold)

    def set_depth(self, depth: Depth) -> None:
        """Fill the fields of depth."""
        select, threshold = self.query_one("#exit", Select), self.query_one("#threshold", Input)
        with self.prevent(Select.Changed, Input.Changed):
            self.query_one("#loops", Input).value = depth.loops
            select.value = depth.rule if depth.rule in self._rules else ""
            threshold.value = depth.threshold
        self.query_one("#field-threshold").display = bool(EXIT_RULES.get(depth.rule))
        self.query_one("#field-threshold", Field).say(self._threshold_fault())
        self.post_message(self.DepthChanged())

    def _threshold_fault(self) -> str:
        if self.query_one("#loops", Input).disabled or not self.query_one("#field-threshold").display:
            return ""
        try:
            parse_exit(self.depth.exit)
        except ValueError:
            low, high = EXIT_RULES[self.depth.rule] or (0, 0)
            return f"between {low:g} and {high:g}, please"
        return ""

    def _show_threshold(self) -> None:
        """A threshold only where the rule has one, beginning with what suits the checkpoint."""
        rule = str(self.query_one("#exit", Select).value)
        field = self.query_one("#field-threshold", Field)
        field.display = bool(EXIT_RULES.get(rule))
        if field.display:
            self.query_one("#threshold", Input).value = threshold_of(rule, self._ready)

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._show_threshold()
        self.post_message(self.DepthChanged())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        fault = ""
        if event.input.id == "threshold":
            fault = self._threshold_fault()
        else:
            try:
                next(one for one in self._settings if one.name == event.input.id).parse(event.value)
            except ValueError as error:
                fault = crop(str(error), 40)
        self.query_one(f"#field-{event.input.id}", Field).say(fault)
        if event.input.id in ("loops", "threshold"):
            self.post_message(self.DepthChanged())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Leave())
