"""Dialogs of Configure: where to save, what differs from the preset, and the architecture on the full screen."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from mythos_tui.screens.configure.diagram import Diagram, Model
from mythos_tui.screens.configure.draft import Difference
from mythos_tui.screens.help.dialogs import BOX
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.text import crop, visible


class SaveDialog(ModalScreen[Path | None]):
    """Asks for a file. One that is there already is named, and a second enter replaces it."""

    DEFAULT_CSS = f"""SaveDialog {{ {BOX} & > Vertical {{ border: round $primary; }} & Input {{ margin: 1 0 0 0; }}
    & #note {{ height: 1; color: $text-muted; }} & #note.-there {{ color: $warning; }} }}"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", key_display="esc", tooltip="Save nothing")
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._asked = path, Path()

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Save as YAML", classes="title")
            yield Static("What differs from the defaults. Below the folder of configurations it becomes a preset.")
            yield TextField(str(self._path))
            yield Static("", id="note", markup=False)
            yield Static("enter save   esc cancel", classes="keys", markup=False)

    @on(Input.Changed)
    def _named(self) -> None:
        self._tell("")

    def _tell(self, text: str) -> None:
        note = self.query_one("#note", Static)
        note.update(Content(visible(text)))
        note.set_class(bool(text), "-there")

    @on(Input.Submitted)
    def _save(self, event: Input.Submitted) -> None:
        path = Path(event.value.strip()).expanduser()
        if not event.value.strip() or path.is_dir():
            self._tell("Name a file, such as configs/mine.yaml.")
            return
        path = path if path.suffix in (".yaml", ".yml") else path.with_name(path.name + ".yaml")
        if path.exists() and self._asked != path:
            self._asked = path
            self._tell(f"{path.name} is there already; enter again replaces it.")
            return
        self.dismiss(path)


class _Reader(ModalScreen[None]):
    """Something to read: arrows scroll, escape closes."""

    DEFAULT_CSS = f"""_Reader {{ {BOX} & > Vertical {{ border: round $primary; max-width: 100; max-height: 90%; }}
    & VerticalScroll {{ height: auto; max-height: 64vh; }} & VerticalScroll > Static {{ height: auto; }} }}"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close", key_display="esc", tooltip="Back")
    ]


class DifferencesScreen(_Reader):
    """Settings that are not as in the preset."""

    def __init__(self, preset: str, found: list[Difference]) -> None:
        super().__init__()
        self._preset, self._found = preset, found

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"Changed since {visible(self._preset)}", classes="title", markup=False)
            with VerticalScroll():
                yield Static(self._table())
            yield Static("esc close", classes="keys", markup=False)

    def _table(self) -> Content:
        if not self._found:
            return Content.styled("Nothing: every setting is as the preset has it.", "$foreground-muted")
        rows = [("", "preset", "now")] + [(one.key, one.before or "empty", one.now or "empty") for one in self._found]
        keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        values = min(values, 30)
        lines = [
            Content.assemble(
                (f"{key:<{keys}}  ", "bold"),
                (f"{crop(visible(before), values):<{values}}  ", "$foreground-muted"),
                (visible(now), "$foreground-muted" if not key else "$accent"),
            )
            for key, before, now in rows
        ]
        return Content("\n").join(lines)


class DiagramScreen(_Reader):
    """The architecture and the whole budget, where they have no room beside the form."""

    DEFAULT_CSS = (
        "DiagramScreen > Vertical { max-width: 66; } DiagramScreen VerticalScroll > .budget { margin-top: 1; }"
    )

    def __init__(self, model: Model, budget: Content) -> None:
        super().__init__()
        self._model, self._budget = model, budget

    def compose(self) -> ComposeResult:
        with Vertical():
            with VerticalScroll():
                yield Diagram(self._model)
                yield Static(self._budget, classes="budget")
            yield Static("esc close", classes="keys", markup=False)
