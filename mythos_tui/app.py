"""The application: modes, themes, help, palette, pictures. Everything else lives in the screens."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, Provider
from textual.notifications import SeverityLevel
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import AwaitMount

from mythos_tui.actions import ACTIONS, bindings
from mythos_tui.alt_digits import tell_alt_digits
from mythos_tui.runs.choice import RunChoice
from mythos_tui.runs.memory import Memory
from mythos_tui.screens.base import with_words
from mythos_tui.screens.help.tour import STEPS, following
from mythos_tui.settings import MIN_COLUMNS, MIN_ROWS, Context
from mythos_tui.settings_file import Loaded, load_settings, remember, tour_was_seen
from mythos_tui.theme import THEMES
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.locale import speaks_unicode
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.workers.inference import InferenceClient

OPENED_BY = {
    ".svg": "A browser shows it.",
    ".md": "A text editor opens it.",
    ".json": "A text editor opens it.",
    ".csv": "A spreadsheet opens it.",
    ".npz": "numpy.load reads it.",
}
"""What to do with a saved file, by its suffix."""
IDS = frozenset(one.id for one in ACTIONS)
"""Names that a sentence may have in brackets, see `MythosApp.with_keys`."""
NOTHING_SAID = "Nothing was said yet: toasts are kept here, the latest first."


def train_screen() -> Screen[Any]:
    from mythos_tui.screens.train.screen import TrainScreen

    return TrainScreen()


def configure_screen() -> Screen[Any]:
    from mythos_tui.screens.configure.screen import ConfigureScreen

    return ConfigureScreen()


def chat_screen() -> Screen[Any]:
    from mythos_tui.screens.chat.screen import ChatScreen

    return ChatScreen()


def inspect_screen() -> Screen[Any]:
    from mythos_tui.screens.inspect.screen import InspectScreen

    return InspectScreen()


def compare_screen() -> Screen[Any]:
    from mythos_tui.screens.compare.screen import CompareScreen

    return CompareScreen()


def actions_provider() -> type[Provider]:
    from mythos_tui.screens.help.palette import ActionsProvider

    return ActionsProvider


class MythosApp(App[None]):
    """The workbench. `context` says which folders it looks into.

    `inference` speaks with the one inference worker; the first screen that needs it makes it.
    """

    TITLE = "Mythos"
    MODES: ClassVar[dict[str, Any]] = {
        "train": train_screen,
        "configure": configure_screen,
        "chat": chat_screen,
        "inspect": inspect_screen,
        "compare": compare_screen,
    }
    DEFAULT_MODE = "train"
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[Any]] = {actions_provider}
    ALLOW_IN_MAXIMIZED_VIEW = "TopBar, TourBar, KeyBar, .-textual-system"

    tour_step: reactive[int | None] = reactive(None)

    def __init__(
        self, context: Context | None = None, theme: str | None = None, loaded: Loaded | None = None, tour: bool = False
    ) -> None:
        super().__init__()
        tell_alt_digits()
        self.context = context or Context()
        loaded = loaded or load_settings()
        self.settings, self._faults = loaded.settings, loaded.faults
        self.memory = Memory()
        self.choice = RunChoice(self.memory, self.context.runs)
        for one in THEMES:
            self.register_theme(one)
        wanted = theme or self.settings.theme
        self.theme = wanted if wanted in self.available_themes else THEMES[0].name
        self.last_checkpoint: Path | None = None
        self.inference: InferenceClient | None = None
        self.glyphs = self.settings.glyphs
        self._keep_to_ascii()
        self.said: deque[str] = deque(maxlen=100)
        self.set_reactive(MythosApp.tour_step, 0 if tour else None)
        self.set_keymap({name: ",".join(keys) for name, keys in self.settings.keys.items()})

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember_theme(theme.name))
        for fault in self._faults:
            self.notify(fault, title="Settings", severity="warning", timeout=20)
        with suppress(NotImplementedError, RuntimeError):  # where a loop knows no signals, or another thread has them
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM)

    async def on_unmount(self) -> None:
        if self.tour_step is not None:
            tour_was_seen()
        if self.inference is not None:
            await self.inference.close()

    def _keep_to_ascii(self) -> None:
        """Everything is drawn in ASCII where the settings or the locale say so."""
        if self.glyphs == "ascii" or (self.glyphs == "auto" and not speaks_unicode(os.environ)):
            from mythos_tui.widgets.glyphs import ASCII_FILTER

            self._filters.append(ASCII_FILTER)

    def _remember_theme(self, name: str) -> None:
        if name != self.settings.theme:
            self.settings = replace(self.settings, theme=name)
            if problem := remember("theme", name):
                self.notify(problem, title="Theme", severity="warning")

    # Telling

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """A toast, with the keys of the actions it names. Nothing in it is markup, and `f8` shows it again, whole."""
        message, title = visible(self.with_keys(message), keep="\n"), visible(title)
        head = f"{time.strftime('%H:%M:%S')}  {title or severity}"
        self.said.append(f"{head}\n{message}")
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    def say_saved(self, title: str, *paths: str | Path) -> None:
        """Which files were written, and what opens them."""
        self.notify("\n".join(f"Saved {path}. {OPENED_BY[Path(path).suffix]}" for path in paths), title=title)

    def action_messages(self) -> None:
        """What was said lately, the latest first."""
        from mythos_tui.screens.help.dialogs import TextDialog

        self.push_screen(TextDialog("Messages", "\n\n".join(reversed(self.said)) or NOTHING_SAID))

    def key_of(self, action: str, typing: bool = False) -> str:
        """How the key of an action of the registry is written; with `typing` rather one that works in a text field."""
        own = self.settings.keys.get(action)
        keys = (
            own
            if isinstance(own, list)
            else [one.key for one in sorted(ACTIONS, key=lambda one: -one.priority * typing) if one.id == action]
        )
        key = keys[0].split(",")[0]
        return key if key == "enter" else self.get_key_display(Binding(key, ""))  # a word among words, not ⏎

    def get_key_display(self, binding: Binding) -> str:
        """How a key is written; in words where signs cannot be drawn."""
        return with_words(self, super().get_key_display(binding))

    def with_keys(self, sentence: str) -> str:
        """`sentence` with each `[action]` replaced by the key it has now; `[!action]` by one that works in a text field too.

        A text of others that looks like one is left alone.
        """

        def key(found: re.Match[str]) -> str:
            return self.key_of(found[2], typing=bool(found[1])) if found[2] in IDS else found[0]

        return re.sub(r"\[(!?)([a-z]+\.[^\[\]]+)\]", key, sentence)

    # The tour

    async def action_tour(self) -> None:
        """Start the tour where it begins, or end it."""
        if self.tour_step is not None:
            self.tour_step = None
            tour_was_seen()
            return
        await self.switch_mode(STEPS[0][0])
        self.tour_step = 0

    def switch_mode(self, mode: str) -> AwaitMount:
        """Show a screen; the tour goes on where it belongs to that one, and what belongs to no screen is not left behind."""
        from mythos_tui.screens.help.small import TooSmallScreen

        if self.tour_step is not None:
            self.tour_step = following(self.tour_step, mode)
        if mode != self.current_mode and isinstance(self.screen, CommandPalette | TooSmallScreen):
            self.screen.dismiss()
        shown = super().switch_mode(mode)
        self._judge_size(*self.size)
        return shown

    # Going places

    def action_open(self, mode: str) -> None:
        """Show one of the screens, closing the dialogs over this one; not while there is text in them, which would be lost."""
        dialogs = self.screen_stack[1:]
        if any(field.value for dialog in dialogs for field in dialog.query(TextField)):
            said = "Close this dialog first: what is written in it would be lost."
            self.notify(said, severity="warning", timeout=3)
            return
        for dialog in reversed(dialogs):
            dialog.dismiss()
        self.switch_mode(mode)

    def _own_screen(self, mode: str) -> Any:
        """The screen of a mode, whatever dialog is over it."""
        return self.get_screen_stack(mode)[0]

    async def open_with_checkpoint(self, mode: str, path: Path) -> None:
        """Show a screen and hand it a checkpoint."""
        self.last_checkpoint = path
        await self.switch_mode(mode)
        self._own_screen(mode).use_checkpoint(path)

    def show_run(self, name: str) -> None:
        """Show the Train screen with a run selected, now or as soon as it is listed."""

        async def show() -> None:
            await self.switch_mode("train")
            self._own_screen("train").select_run(name)

        self.run_worker(show(), exclusive=True, group="open")

    def select_checkpoint(self, path: Path) -> None:
        """Remember the checkpoint that screens opened later start with."""
        self.last_checkpoint = path

    def open_chat(self, path: Path) -> None:
        """Chat with a checkpoint."""
        self.run_worker(self.open_with_checkpoint("chat", path), exclusive=True, group="open")

    def open_inspect(self, path: Path) -> None:
        """Look inside a checkpoint."""
        self.run_worker(self.open_with_checkpoint("inspect", path), exclusive=True, group="open")

    # Size

    def on_resize(self, event: events.Resize) -> None:
        self._judge_size(event.size.width, event.size.height)

    def _judge_size(self, columns: int, rows: int) -> None:
        from mythos_tui.screens.help.small import TooSmallScreen

        small = columns < MIN_COLUMNS or rows < MIN_ROWS
        shown = isinstance(self.screen, TooSmallScreen)
        if small and not shown:
            self.push_screen(TooSmallScreen())
        elif not small and shown:
            self.pop_screen()

    # Whole-application actions

    def action_help(self) -> None:
        """Keys and help for what has the focus."""
        from mythos_tui.screens.help.screen import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def action_save_picture(self) -> None:
        """Save the screen as it is, as SVG, in the current folder."""
        name = f"mythos-{self.current_mode}-{time.strftime('%Y%m%d-%H%M%S')}.svg"
        try:
            path = self.save_screenshot(name, path=str(Path.cwd()))
        except OSError as error:
            said = f"The picture cannot be saved here: {error.strerror}. Start the workbench in a folder you may write."
            self.notify(said, severity="error")
            return
        self.say_saved("Picture", path)

    def action_leave(self) -> None:
        """Leave; say which runs go on."""
        self.exit(message=self._farewell())

    def _farewell(self) -> str | None:
        from mythos_tui.runs.control import live_runs

        live = live_runs(self.context.runs)
        if not live:
            return None
        names = ", ".join(live)
        return f"Training goes on without the workbench: {names}. Start mythos-tui again to watch."
