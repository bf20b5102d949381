"""The dialog that changes a run's settings: of a living one at once, of a resting one as it goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from mythos.contract.changes import LIVE
from mythos.contract.load import check_config
from mythos_tui.actions import bindings
from mythos_tui.screens.base import with_words
from mythos_tui.screens.configure.draft import Field, as_text, brief, fields
from mythos_tui.screens.configure.editors import FieldRow
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp

ON_RESUME = ("train.steps", "train.max_tokens", "train.max_minutes", *LIVE, "train.threads")
"""What of all that may change on resuming is worth a line here; the command line takes the others."""


def fields_for(settings: Mapping[str, Any], live: bool) -> list[Field]:
    """The settings that this run has of those that may change now."""
    family = str(settings.get("model.family", "recurrent"))
    known = {field.key: field for section in ("model", "train") for field in fields(section, family)}
    return [known[key] for key in (LIVE if live else ON_RESUME) if key in known]


def nested(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of dotted keys, changes applied."""
    values: dict[str, Any] = {}
    for key, value in {**settings, **changes}.items():
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return values


class TuneDialog(ModalScreen[list[str] | None]):
    """Settings of one run; closes with the `key=value` overrides of what was changed, or None."""

    DEFAULT_CSS: ClassVar[str] = """
    TuneDialog { align: center middle; background: $background 60%; }
    TuneDialog > Vertical { width: 92%; max-width: 92; height: auto; max-height: 94%; padding: 1 2; background: $surface;
        border: round $primary; }
    TuneDialog .title { color: $primary; text-style: bold; margin-bottom: 1; }
    TuneDialog VerticalScroll { height: auto; max-height: 50vh; }
    TuneDialog FieldRow > .label { width: 26; }
    TuneDialog FieldRow > Input { background: $panel; }
    TuneDialog .help { color: $text-muted; margin-top: 1; height: 2; }
    TuneDialog .keys { color: $text-muted; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("tune")
    app: MythosApp

    def __init__(self, run: str, settings: Mapping[str, Any], live: bool) -> None:
        super().__init__()
        self._run, self._settings, self._live = run, settings, live
        self._fields = fields_for(settings, live)
        self._changes: dict[str, Any] = {}
        self._faults: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        what = "while it trains" if self._live else "and go on from its latest checkpoint"
        with Vertical():
            yield Static(f"Change {visible(self._run)} {what}", classes="title", markup=False)
            with VerticalScroll(can_focus=False):
                for field in self._fields:
                    yield FieldRow(field, self._settings[field.key])
            yield Static("", classes="help", markup=False)
            deed = "sends what was changed; it holds from the next step on" if self._live else "starts the run again"
            steps = with_words(self.app, "↑↓ fields")
            keys = self.app.with_keys(f"[tune.apply] {deed}   {steps}   [tune.cancel] cancel")
            yield Static(keys, classes="keys", markup=False)

    def on_mount(self) -> None:
        for row, field in zip(self.query(FieldRow), self._fields, strict=True):
            row.query_one(".label", Static).update(Content(field.key.removeprefix("train.")))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        row = event.widget.parent
        if isinstance(row, FieldRow):
            self.query_one(".help", Static).update(Content(row.field.explanation))

    @on(FieldRow.Edited)
    def _edited(self, event: FieldRow.Edited) -> None:
        self._take(event.field, event.value)
        self._judge()

    def _take(self, field: Field, value: Any) -> None:
        if as_text(value) == as_text(self._settings[field.key]):
            self._changes.pop(field.key, None)
        else:
            self._changes[field.key] = value

    def _judge(self) -> None:
        """Find what is wrong with the changes, and show it beside the fields."""
        _, found = check_config(nested(self._settings, self._changes))
        self._faults = {key: brief(text) for key, text in found}
        for row in self.query(FieldRow):
            row.show_state(self._faults.get(row.field.key), row.field.key in self._changes, True)

    def action_step(self, by: int) -> None:
        """The next or previous field."""
        self.screen.focus_next() if by > 0 else self.screen.focus_previous()

    def action_apply(self) -> None:
        """Close with what was changed, unless something of it is wrong. Keys that were pressed before count, however fast."""
        if isinstance(self.focused, Input):
            self.focused.call_later(self._apply_what_was_typed)
        else:
            self._apply()

    def _apply_what_was_typed(self) -> None:
        for row in self.query(FieldRow):
            if row.query(Input):
                self._take(row.field, row.typed)
        self._judge()
        self._apply()

    def _apply(self) -> None:
        if not self.is_current:
            return  # enter came twice in one burst
        if self._faults:
            key, text = next(iter(self._faults.items()))
            self.notify(f"{key}: {text}", title="Not changed: mend this first", severity="error", markup=False)
        elif not self._changes and self._live:
            self.notify("No setting is changed yet: type another value, then [tune.apply]; [tune.cancel] closes.")
        else:
            self.dismiss([f"{key}={as_override(value)}" for key, value in self._changes.items()])

    def action_cancel(self) -> None:
        """Close, changing nothing."""
        self.dismiss(None)


def as_override(value: Any) -> str:
    """A value as YAML reads it in `key=value`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return re.sub(r"[\x00-\x1f\x7f]", "", str(value))
