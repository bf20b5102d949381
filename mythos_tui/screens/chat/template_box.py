"""Choice of the template and, where it takes one, the system text."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Select, Static

from mythos_tui.chats.templates import BUILT_IN, Template, names_shown
from mythos_tui.screens.chat.prompt import plain
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.text import visible


class TemplateBox(Vertical):
    """`template` and `system` are what holds for the next message."""

    help_text = (
        "A base model only continues text. A template says what text your messages make: with what words around them, "
        "whether earlier ones are read again, and what ends an answer. Your own go into the folder `templates` beside "
        "settings.yaml; docs/chat.md shows one."
    )

    class Changed(Message):
        """Another template, or another system text."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.templates: dict[str, Template] = {one.name: one for one in BUILT_IN}

    def compose(self) -> ComposeResult:
        yield Static("Template", classes="heading")
        yield Select(names_shown(self.templates), value="plain", allow_blank=False, compact=True, id="template")
        yield Static("", id="about", markup=False)
        with Horizontal(classes="field", id="field-system"):
            yield Label("system")
            yield TextField("", "none", id="system")

    def on_mount(self) -> None:
        self._show()

    @property
    def template(self) -> Template:
        return self.templates[str(self.query_one("#template", Select).value)]

    @property
    def system(self) -> str:
        """The system text, "" where the template takes none."""
        return self.query_one("#system", Input).value if self.template.takes_system else ""

    def offer(self, templates: dict[str, Template]) -> None:
        """Other templates to choose from; the chosen one stays where it still is there."""
        chosen = self.template.name
        if templates != self.templates:
            self.templates = templates
            self.query_one("#template", Select).set_options(names_shown(templates))
            self.set(chosen, self.query_one("#system", Input).value)

    def set(self, template: str, system: str) -> bool:
        """Choose a template and a system text; False where there is no such template, and `plain` is chosen."""
        known = template in self.templates
        self.query_one("#template", Select).value = template if known else "plain"
        self.query_one("#system", Input).value = plain(system)
        return known

    def _show(self) -> None:
        self.query_one("#about", Static).update(visible(self.template.about))
        self.query_one("#field-system").display = self.template.takes_system

    @on(Select.Changed)
    @on(Input.Changed)
    def _changed(self, event: Select.Changed | Input.Changed) -> None:
        event.stop()
        self._show()
        self.post_message(self.Changed())
