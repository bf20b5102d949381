"""The dialog that starts a run: anew from a preset or another run's settings, or forked from a checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from mythos_tui.actions import bindings
from mythos_tui.screens.base import with_words
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.rows import Rows
from mythos_tui.widgets.text import crop, visible
from mythos_tui.workers.launch import name_fault

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp


@dataclass(frozen=True)
class Source:
    """What a run can start from: a title, a remark, a name for the new run, and what the caller makes of it."""

    title: str
    note: str
    name: str
    value: Any


@dataclass(frozen=True)
class Order:
    """What a person decided."""

    source: Source
    name: str
    overrides: tuple[str, ...]


class SourceRows(Rows):
    """The sources, one line each."""

    help_text = "What the new run starts from. Tab goes on to the settings that shall differ, and to its name."
    DEFAULT_CSS: ClassVar[str] = "SourceRows { background: $surface; height: auto; max-height: 9; }"

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__(id="sources")
        self.sources = sources
        self._width = max((len(source.title) for source in sources), default=0)

    @property
    def count(self) -> int:
        return len(self.sources)

    def row(self, index: int, width: int) -> Content:
        source = self.sources[index]
        title = f" {visible(source.title):<{min(self._width, 40)}}  "
        return Content.assemble(
            (title, "bold"), (crop(visible(source.note), max(0, width - len(title))), "$foreground-muted")
        )


class StartDialog(ModalScreen[Order | None]):
    """Source, settings, name. `check(source, overrides)` says what is wrong with a choice, or ""."""

    DEFAULT_CSS: ClassVar[str] = """
    StartDialog { align: center middle; background: $background 60%; }
    StartDialog > Vertical { width: 92%; max-width: 100; height: auto; max-height: 94%; padding: 1 2; background: $surface;
        border: round $primary; }
    StartDialog .title { color: $primary; text-style: bold; margin-bottom: 1; }
    StartDialog Horizontal { height: 1; }
    StartDialog #overrides-line { margin-top: 1; }
    StartDialog .label { width: 10; color: $text-muted; }
    StartDialog Input { width: 1fr; background: $panel; padding: 0 1; }
    StartDialog .fault { color: $error; height: auto; min-height: 1; max-height: 3; margin-top: 1; }
    StartDialog .keys { color: $text-muted; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("start")
    app: MythosApp

    def __init__(self, title: str, sources: Sequence[Source], check: Callable[[Source, Sequence[str]], str]) -> None:
        super().__init__()
        self._title, self._sources, self._check = title, sources, check
        self._named = False

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._title, classes="title", markup=False)
            yield SourceRows(self._sources)
            with Horizontal(id="overrides-line"):
                yield Static("settings", classes="label", markup=False)
                yield TextField(placeholder="train.steps=500 train.lr=0.001", id="overrides")
            with Horizontal():
                yield Static("name", classes="label", markup=False)
                yield TextField(self._sources[0].name, id="name")
            yield Static("", classes="fault", markup=False)
            choose = with_words(self.app, "↑↓ choose")
            keys = self.app.with_keys(f"[start.start] start   tab next field   {choose}   [start.cancel] cancel")
            yield Static(keys, classes="keys", markup=False)

    @on(Rows.Moved)
    def _suggest_name(self) -> None:
        if not self._named:
            with self.prevent(Input.Changed):
                self.query_one("#name", Input).value = self.source.name
        self._show_fault()

    @on(Input.Changed, "#name")
    def _name_is_given(self, event: Input.Changed) -> None:
        self._named = event.value != self.source.name
        self._show_fault()

    @on(Input.Changed, "#overrides")
    def _show_fault(self) -> str:
        fault = self._fault()
        self.query_one(".fault", Static).update(Content(f"✗ {visible(fault)}" if fault else ""))
        return fault

    @property
    def source(self) -> Source:
        """The chosen source."""
        return self._sources[self.query_one(SourceRows).cursor]

    def _overrides(self) -> list[str]:
        return shlex.split(self.query_one("#overrides", Input).value)

    @property
    def _run_name(self) -> str:
        return self.query_one("#name", Input).value.strip() or self.source.name

    def _fault(self) -> str:
        try:
            return self._check(self.source, self._overrides()) or name_fault(self._run_name)
        except ValueError:
            return "A quotation mark is missing its other half."

    def action_start(self) -> None:
        """Close with the decision, unless something is wrong with it."""
        if not self._show_fault():
            self.dismiss(Order(self.source, self._run_name, tuple(self._overrides())))

    def action_cancel(self) -> None:
        """Close, starting nothing."""
        self.dismiss(None)
