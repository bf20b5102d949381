"""What can be done with a whole draft: undo, compare with its preset, save, hand to a text editor, draw."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import SuspendNotSupported

from mythos.contract.errors import MythosError
from mythos.contract.load import parse_yaml
from mythos.contract.rundir import write_named
from mythos_tui.screens.base import WorkbenchScreen
from mythos_tui.screens.configure.budget_panel import BudgetPanel
from mythos_tui.screens.configure.diagram import Diagram
from mythos_tui.screens.configure.dialogs import DiagramScreen, DifferencesScreen, SaveDialog
from mythos_tui.screens.configure.draft import Draft
from mythos_tui.screens.configure.form import SectionForm
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp


class Keeping(WorkbenchScreen):
    """The part of Configure that knows the draft as a whole. `preset` names what it was loaded from."""

    app: MythosApp

    def __init__(self) -> None:
        super().__init__()
        self.draft = Draft()
        self.preset = ""
        self._unread = ""

    def judge(self) -> None:
        """Validate the draft and show the outcome."""
        raise NotImplementedError

    async def presets_changed(self, path: Path) -> None:
        """A file was saved: it may be a preset."""
        raise NotImplementedError

    def show_error(self, title: str, text: str) -> None:
        """A dialog with all of it."""
        from mythos_tui.screens.help.dialogs import ErrorDialog

        self.app.push_screen(ErrorDialog(visible(title), text))

    async def follow(self) -> None:
        """Show a draft that was changed from elsewhere than its fields."""
        for form in self.query(SectionForm):
            await form.follow()
        self.judge()

    async def action_undo(self) -> None:
        """Take the last change back."""
        await self._travelled(self.draft.undo(), "There is nothing to undo: change a value first, or choose a preset.")

    async def action_redo(self) -> None:
        """Make the change again that was taken back."""
        await self._travelled(self.draft.redo(), "There is nothing to redo: [configure.undo] undoes a change first.")

    async def _travelled(self, moved: bool, otherwise: str) -> None:
        if moved:
            await self.follow()
        else:
            self.notify(otherwise, timeout=2)

    def action_differences(self) -> None:
        """What is not as the preset has it."""
        self.app.push_screen(DifferencesScreen(self.preset, self.draft.differences()))

    def action_diagram(self) -> None:
        """The architecture: beside the form where there is room, else on a page of its own."""
        if self.has_class("-wide") or self.has_class("-huge"):
            self.remove_class("-no-budget")
            self.toggle_class("-diagram")
        elif model := self.query_one(Diagram).model:
            self.app.push_screen(DiagramScreen(model, self.query_one(BudgetPanel).column()))

    # Files

    @work(group="save", exclusive=True)
    async def action_save_yaml(self) -> None:
        """Ask for a file and write the draft to it."""
        stem = Path(self.preset).name or "mine"
        path = await self.app.push_screen_wait(SaveDialog(self.app.context.configs / f"{stem}-mine.yaml"))
        if path is None:
            return
        try:
            await asyncio.to_thread(_write, path, self.draft.yaml())
        except OSError as error:
            self.show_error("Not saved", f"{path}: {error.strerror or error}. Choose another file.")
            return
        await self.presets_changed(path)
        way = (
            "It is a preset now" if path.is_relative_to(self.app.context.configs) else f"mythos train {path} starts it"
        )
        self.notify(f"Saved {path}. {way}, and [configure.launch] launches it.", title="Configuration", markup=False)

    async def action_editor(self) -> None:
        """Edit the draft as YAML in the person's own editor; what cannot be read can be edited on."""
        await self._edit(self._unread or self.draft.yaml())

    async def _edit(self, text: str) -> None:
        try:
            with self.app.suspend():  # which takes the terminal back only where nothing is raised inside
                edited, problem = _edited(text)
        except SuspendNotSupported:
            self.notify("An editor opens only in a terminal: F2 saves the file, edit it there.", severity="warning")
            return
        if problem:
            self.notify(visible(problem), severity="error", markup=False)
            return
        if edited is None:
            self.notify("The editor changed nothing; F5 opens it again.")
            return
        try:
            self.draft.replace(parse_yaml(edited, "What was edited"))
        except MythosError as error:
            self._unread = edited
            self.show_error("Not taken over", f"{error}\n\nF5 goes on with the text where you left it.")
            return
        self._unread = ""
        await self.follow()


def _edited(text: str) -> tuple[str | None, str]:
    """What the person's editor left, None where it changed nothing; and why there is none, or ""."""
    from mythos_tui.workers.editor import NoEditor, edit_text

    try:
        return edit_text(text, "configuration.yaml"), ""
    except NoEditor as error:
        return None, str(error)
    except OSError as error:
        return None, f"The editor cannot be started: {error.strerror or error}. Set EDITOR to one that can."


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_named(path, text)
