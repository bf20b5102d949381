"""One line per setting: its name, an editor that fits its kind, and at the right its unit or what is wrong with it."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from mythos_tui.screens.configure.draft import Field, as_text, from_text
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.text import visible


class Choice(Widget, can_focus=True):
    """A few values side by side; the chosen one stands out. Arrow keys and space choose."""

    help_text = "Left and right choose; space takes the next one; enter moves on."
    DEFAULT_CSS = """
    Choice { height: auto; width: auto; min-width: 16; }
    Choice:focus { background: $surface-lighten-1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "step(1)", "Choose", key_display="←→", tooltip="Take the next value"),
        Binding("left", "step(-1)", "Previous", show=False, tooltip="Take the value before"),
        Binding("enter", "app.focus_next", "Next field", show=False, tooltip="Move on"),
    ]
    value: reactive[str] = reactive("", layout=True)

    class Changed(Message):
        """Another value was chosen by hand."""

        def __init__(self, choice: Choice, value: str) -> None:
            super().__init__()
            self.choice, self.value = choice, value

    def __init__(self, options: tuple[str, ...], value: str) -> None:
        super().__init__()
        self.options = options
        self.set_reactive(Choice.value, value)

    def render(self) -> Content:
        here = "bold $primary" if not self.has_focus else "bold $block-cursor-foreground on $block-cursor-background"
        parts: list[str | tuple[str, str]] = []
        for option in self.options:
            parts += [(f" {option} ", here if option == self.value else "$foreground-muted")]
        if self.value not in self.options:
            parts.append((f" {visible(self.value)} ", "$error"))
        return Content.assemble(*parts)

    def action_step(self, by: int) -> None:
        """The next or previous value."""
        at = self.options.index(self.value) if self.value in self.options else -1
        self.value = self.options[(at + by) % len(self.options)]
        self.post_message(self.Changed(self, self.value))


class Fixed(Widget, can_focus=True):
    """A value that is shown only; it can have the focus, so that its explanation can be read."""

    help_text = "This is written in YAML: edit the preset, or another file, and choose it here."
    DEFAULT_CSS = """
    Fixed { height: 1; width: auto; padding: 0 1; color: $foreground-muted; }
    Fixed:focus { background: $surface-lighten-1; }
    """
    value: reactive[str] = reactive("", layout=True)

    def __init__(self, value: str) -> None:
        super().__init__()
        self.set_reactive(Fixed.value, value)

    def render(self) -> Content:
        return Content(visible(self.value))


class FieldRow(Horizontal):
    """A setting. Posts `Edited` when its value was changed by hand."""

    DEFAULT_CSS = """
    FieldRow { height: auto; min-height: 1; }
    FieldRow > .label { width: 21; color: $text-muted; height: 1; }
    FieldRow.-changed > .label { color: $foreground; text-style: bold; }
    FieldRow:focus-within > .label { color: $primary; }
    FieldRow > Input { width: 14; padding: 0 1; background: $surface; }
    FieldRow > Input:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    FieldRow > Input.-wide { width: 1fr; max-width: 48; }
    FieldRow > Choice { width: 1fr; }
    FieldRow > .note { width: 1fr; height: auto; padding: 0 0 0 2; color: $text-muted; }
    FieldRow > .note.-after-choice { width: auto; max-width: 50%; }
    FieldRow.-wrong > .note { color: $error; }
    FieldRow.-wrong > .label { color: $error; }
    FieldRow.-idle { display: none; }
    """

    class Edited(Message):
        """A value was changed by hand."""

        def __init__(self, field: Field, value: Any) -> None:
            super().__init__()
            self.field, self.value = field, value

    def __init__(self, field: Field, value: Any, changed: bool = False, applies: bool = True) -> None:
        super().__init__(id=f"field-{field.section}-{field.name}")
        self.field = field
        self.update_classes(self._classes_for(False, changed, applies), update=False)
        self._text = as_text(value)
        self._note = field.unit
        self.help_text = field.explanation

    def compose(self) -> ComposeResult:
        text = self._text
        yield Static(self.field.name, classes="label", markup=False)
        if self.field.kind == "choice":
            yield Choice(self.field.choices, text)
        elif self.field.kind == "switch":
            yield Choice(("off", "on"), text)
        elif self.field.kind == "fixed":
            yield Fixed(text)
        else:
            yield TextField(
                text,
                select_on_focus=False,
                classes="-wide" if self.field.kind in ("text", "list") else "",
            )
        chosen = self.field.kind in ("choice", "switch")
        yield Static(self._note, classes="note -after-choice" if chosen else "note", markup=False)

    @property
    def editor(self) -> Input | Choice | Fixed:
        """What has the focus while this setting is edited."""
        return self.query_one("Input, Choice, Fixed")  # type: ignore[return-value]

    def show_value(self, value: Any) -> None:
        """Show a value that did not come from this editor."""
        text = self._text = as_text(value)
        if not self.children:
            return  # it is composed with this text; keys act while a section is being made
        editor = self.editor
        if editor.value != text:
            with editor.prevent(Input.Changed, Choice.Changed):
                editor.value = text

    def show_state(self, error: str | None, changed: bool, applies: bool) -> None:
        """Show what is wrong beside the editor, whether it differs from the default, and hide it where it is idle."""
        note = f"✗ {visible(error)}" if error else self.field.unit
        if note != self._note:
            self._note = note
            for shown in self.query(".note").results(Static):
                shown.update(Content(note))
        self.update_classes(self._classes_for(bool(error), changed, applies))

    @staticmethod
    def _classes_for(wrong: bool, changed: bool, applies: bool) -> dict[str, bool]:
        return {"-wrong": wrong, "-changed": changed, "-idle": not applies and not wrong}

    @property
    def typed(self) -> Any:
        """The value of what stands in the text field now, told or not yet."""
        return from_text(self.field, self.query_one(Input).value)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        """Tell of what was typed; a field that only tells the value it began with is no edit."""
        event.stop()
        if event.value != self._text:
            self._text = event.value
            self.post_message(self.Edited(self.field, from_text(self.field, event.value)))

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        value: Any = event.value == "on" if self.field.kind == "switch" else event.value
        self.post_message(self.Edited(self.field, value))

    @on(Input.Submitted)
    def _next(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()
