"""Base of the workbench's screens: tabs on top, a body, and the keys that work here at the bottom."""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widget import Widget

from mythos_tui.actions import SCREENS
from mythos_tui.screens.help.tour import TourBar
from mythos_tui.widgets.locale import speaks_unicode

KEY_WORDS = {"⏎": "enter", "←": "left", "→": "right", "↑": "up", "↓": "down", "⌫": "backspace"}


def only_ascii(app: App[Any]) -> bool:
    """Whether nothing but ASCII is drawn."""
    glyphs = getattr(app, "glyphs", "auto")
    return glyphs == "ascii" or (glyphs == "auto" and not speaks_unicode(os.environ))


def with_words(app: App[Any], keys: str) -> str:
    """`keys` with words for signs where only ASCII is drawn, which would make other keys of them: `alt ←→`, `alt left right`."""
    if not only_ascii(app):
        return keys
    signs = "".join(KEY_WORDS)
    apart = re.sub(f"(?<=[{signs}])(?=[{signs}])", " ", keys)
    return re.sub(f"[{signs}]", lambda sign: KEY_WORDS[sign[0]], apart)


class TopBar(Widget):
    """The product's name, the screens with their keys, and a remark at the right. A click opens a screen.

    Before the keys stands `alt+` while a text field has the focus, which takes the digits alone for itself.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"topbar--name", "topbar--current", "topbar--key", "topbar--other"}
    DEFAULT_CSS = """
    TopBar {
        dock: top; height: 1; padding: 0 1; background: $surface; color: $text-muted;
        & .topbar--name { color: $accent; text-style: bold; background: $surface; }
        & .topbar--current { color: $background; background: $primary; text-style: bold; }
        & .topbar--key { color: $primary; background: $surface; }
        & .topbar--other { color: $text-muted; background: $surface; }
    }
    """

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode
        self._spans: list[tuple[int, int, str]] = []
        self._remark = ""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _screen: self.refresh())

    def set_remark(self, remark: str) -> None:
        """Show a few words at the right end."""
        if remark != self._remark:
            self._remark = remark
            self.refresh()

    def render(self) -> Text:
        style = {name: self.get_component_rich_style(f"topbar--{name}") for name in ("name", "current", "key", "other")}
        line = Text("Mythos", style=style["name"], no_wrap=True)
        self._spans = []
        line.append("  " if SCREENS[0][0] in self.screen.active_bindings else " alt+", style["key"])
        line.pad_right(11 - line.cell_len)
        for key, mode, title, _ in SCREENS:
            start = line.cell_len
            if mode == self._mode:
                line.append(f" {key} {title} ", style["current"])
            else:
                line.append(f" {key}", style["key"]).append(f" {title} ", style["other"])
            self._spans.append((start, line.cell_len, mode))
        room = self.size.width - line.cell_len
        if len(self._remark) < room:
            line.append(self._remark.rjust(room), style["other"])
        return line

    def on_click(self, event: events.Click) -> None:
        at = event.x - self.styles.padding.left
        for start, end, mode in self._spans:
            if start <= at < end:
                self.app.switch_mode(mode)


class KeyBar(Widget):
    """The keys that work now, nearest to the focus first; what does not fit is left to `?`, which always shows.

    Of several keys for one action the shortest stands here.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keybar--key", "keybar--title"}
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom; height: 1; padding: 0 1; background: $surface;
        & .keybar--key { color: $primary; background: $surface; text-style: bold; }
        & .keybar--title { color: $text-muted; background: $surface; }
    }
    """
    ALWAYS: ClassVar[tuple[str, ...]] = (
        "app.help",
        "help",
        "command_palette",
        "app.command_palette",
        "leave",
        "app.leave",
    )

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _screen: self.refresh())

    def _keys(self) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
        here: dict[str, tuple[str, str, str]] = {}
        always: dict[str, tuple[str, str, str]] = {}
        screen = self.screen
        assert isinstance(screen, WorkbenchScreen)
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.description:
                chosen = always if binding.action in self.ALWAYS else here
                key = self.app.get_key_display(binding)
                if binding.action not in chosen or len(key) < len(chosen[binding.action][0]):
                    chosen[binding.action] = (key, screen.title_now(binding.action, binding.description), binding.key)
        return list(here.values()), [always[action] for action in self.ALWAYS if action in always]

    def render(self) -> Text:
        key_style, title_style = (
            self.get_component_rich_style("keybar--key"),
            self.get_component_rich_style("keybar--title"),
        )
        here, always = self._keys()
        room = self.size.width - sum(len(key) + len(title) + 3 for key, title, _ in always)
        line, self._spans = Text(no_wrap=True), []
        for key, title, name in here:
            if line.cell_len + len(key) + len(title) + 3 > room:
                break
            self._put(line, key, title, name, key_style, title_style)
        line.append(" " * max(0, room - line.cell_len), title_style)
        for key, title, name in always:
            self._put(line, key, title, name, key_style, title_style)
        return line

    def _put(self, line: Text, key: str, title: str, name: str, key_style: object, title_style: object) -> None:
        start = line.cell_len
        line.append(key, key_style).append(f" {title}  ", title_style)  # type: ignore[arg-type]
        self._spans.append((start, line.cell_len - 2, name))

    def on_click(self, event: events.Click) -> None:
        at = event.x - self.styles.padding.left
        for start, end, key in self._spans:
            if start <= at < end:
                self.app.simulate_key(key)


class WorkbenchScreen(Screen[None]):
    """A screen with a tab of its own. Subclasses set MODE and help_text and compose their body."""

    MODE: ClassVar[str] = ""
    help_text: ClassVar[str] = ""
    DEFAULT_CSS = """
    WorkbenchScreen { background: $background; color: $foreground; }
    WorkbenchScreen > #body { height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        yield TopBar(self.MODE)
        with Vertical(id="body"):
            yield from self.compose_body()
        yield TourBar()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """The widgets between the tabs and the keys."""
        yield from ()

    def title_now(self, action: str, title: str) -> str:
        """What the line of keys calls an action; `title` is what the registry calls it."""
        return title

    def set_remark(self, remark: str) -> None:
        """A few words at the right end of the top line, such as a checkpoint's name."""
        self.query_one(TopBar).set_remark(remark)
