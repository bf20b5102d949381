"""The form of one section, made from its fields, and the line of sections above it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from mythos_tui.screens.configure.draft import SECTIONS, Draft
from mythos_tui.screens.configure.editors import FieldRow
from mythos_tui.widgets.text import visible

NOTHING = "Nothing here applies to a dense model: it is trained with plain cross-entropy."


class SectionBar(Widget, can_focus=True):
    """The sections; those with faults are marked."""

    help_text = "The sections of a configuration. Left and right choose one; page up and page down do so from anywhere in the form."
    DEFAULT_CSS = "SectionBar { height: 1; } SectionBar:focus { background: $surface; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "step(1)", "Next section", key_display="→", tooltip="The next section"),
        Binding("left", "step(-1)", "Previous section", key_display="←", show=False, tooltip="The section before"),
        Binding("enter", "app.focus_next", "Into it", show=False, tooltip="Into the section's first field"),
    ]
    current: reactive[str] = reactive(SECTIONS[0])
    faults: reactive[dict[str, int]] = reactive(dict)

    class Chosen(Message):
        """Another section was chosen."""

        def __init__(self, section: str) -> None:
            super().__init__()
            self.section = section

    def render(self) -> Content:
        parts: list[str | tuple[str, str]] = []
        for section in SECTIONS:
            wrong = self.faults.get(section, 0)
            style = "$error" if wrong else "$foreground-muted"
            if section == self.current:
                style = "bold $background on $primary" if self.has_focus else "bold $primary on $panel"
            parts.append((f" {section}{' ✗' if wrong else ''} ", style))
        return Content.assemble(*parts)

    def action_step(self, by: int) -> None:
        """The next or previous section."""
        self.post_message(self.Chosen(SECTIONS[(SECTIONS.index(self.current) + by) % len(SECTIONS)]))

    def on_click(self, event: events.Click) -> None:
        end = 0
        for section in SECTIONS:
            end += len(section) + 2 + (2 if self.faults.get(section) else 0)
            if event.x < end:
                self.post_message(self.Chosen(section))
                return


class SectionForm(VerticalScroll, can_focus=False, inherit_bindings=False):
    """All settings of one section; its keys move between fields, scrolling follows the focus."""

    DEFAULT_CSS = """
    SectionForm { height: 1fr; display: none; }
    SectionForm.-current { display: block; }
    SectionForm > .fault { color: $error; height: auto; display: none; margin-bottom: 1; }
    SectionForm > .fault.-shown { display: block; }
    SectionForm > .nothing { color: $text-muted; height: auto; display: none; }
    SectionForm > .nothing.-shown { display: block; }
    """

    def __init__(self, section: str, draft: Draft) -> None:
        super().__init__(id=f"section-{section}", classes="-current")
        self.section = section
        self._draft = draft

    def compose(self) -> ComposeResult:
        yield Static("", classes="fault", markup=False)
        yield Static(NOTHING, classes="nothing", markup=False)
        for field in self._draft.fields(self.section):
            yield FieldRow(field, self._draft.get(field), self._draft.changed(field), self._draft.applies(field))

    @property
    def rows(self) -> list[FieldRow]:
        """The rows, in order."""
        return list(self.query(FieldRow))

    async def follow(self) -> None:
        """Show the draft's values after they were changed from elsewhere; build anew where the fields are others."""
        if not self.children:
            return  # being made, of what the draft holds
        if [row.field for row in self.rows] != list(self._draft.fields(self.section)):
            focused = self.screen.focused
            kept = focused.parent.id if focused is not None and isinstance(focused.parent, FieldRow) else None
            await self.recompose()
            if kept and (found := self.query(f"#{kept}")):
                found.first(FieldRow).editor.focus()
            return
        for row in self.rows:
            row.show_value(self._draft.get(row.field))

    def show_faults(self, faults: dict[str, str]) -> None:
        """Put each fault beside its field; those between fields at the head of the section. One being made is judged after."""
        if not self.children:
            return
        for row in self.rows:
            row.show_state(faults.get(row.field.key), self._draft.changed(row.field), self._draft.applies(row.field))
        own = {row.field.key for row in self.rows}
        mine = {key: text for key, text in faults.items() if key.partition(".")[0] == self.section and key not in own}
        rest = [text if key == self.section else f"{key.partition('.')[2]}: {text}" for key, text in mine.items()]
        head = self.query_one(".fault", Static)
        head.update(Content("\n".join(f"✗ {visible(text)}" for text in rest)))
        head.set_class(bool(rest), "-shown")
        self.query_one(".nothing").set_class(
            not rest and not any(self._draft.applies(row.field) for row in self.rows), "-shown"
        )
