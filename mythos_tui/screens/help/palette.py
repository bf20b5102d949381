"""The command palette: everything that can be done here, by widgets without the focus, and on the other screens.

All of it comes from the bindings and the registry. Choosing what belongs elsewhere goes there first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.widget import Widget

from mythos_tui.actions import ACTIONS, OF_SCREENS, ON_CHARTS, SCREENS, Action, offered

PATIENCE_S = 3.0
"""How long a screen that was just opened may take until an action is possible there."""

NOTHING = "No action is called that"
TRY_INSTEAD = "Try a word of what it does, such as chart or save; enter shows the keys of this screen"


class Command(NamedTuple):
    """A line of the palette."""

    title: str
    help: str
    act: Callable[[], Any]


class ActionsProvider(Provider):
    """Offers all actions, those of here first, and every theme by name."""

    def _commands(self) -> Iterator[Command]:
        for key, title, help_text, action, node in offered(self.screen):
            if "command_palette" not in action:
                yield Command(f"{title}  [{key}]", help_text, partial(self.app.run_action, action, node))
        yield from self._widgets()
        yield from self._elsewhere()
        for name in sorted(self.app.available_themes):
            yield Command(f"Theme: {name}", "Use these colours", partial(setattr, self.app, "theme", name))

    def _widgets(self) -> Iterator[Command]:
        """What widgets of this screen offer once they have the focus; the first of each kind."""
        here = set(self.screen.focused.ancestors_with_self) if self.screen.focused else set()
        for kind, widget in {type(one): one for one in reversed(self.screen.focus_chain)}.items():
            if widget not in here and kind.__module__.startswith("mythos_tui."):
                name = str(widget.border_title or _words(kind.__name__))
                for binding in kind.__dict__.get("BINDINGS", ()):
                    if isinstance(binding, Binding) and binding.tooltip:
                        key = self.app.get_key_display(binding)
                        act = partial(self._focus_and_run, widget, binding.action)
                        yield Command(f"{name}: {binding.description}  [{key}]", binding.tooltip, act)

    async def _focus_and_run(self, widget: Any, action: str) -> None:
        widget.focus()
        await self.app.run_action(action, widget)

    def _elsewhere(self) -> Iterator[Command]:
        for _, mode, screen, _ in SCREENS:
            if mode == self.app.current_mode:
                continue
            there = (one for one in ACTIONS if mode in OF_SCREENS.get(one.scope, (one.scope,)))
            for name in dict.fromkeys(one.id for one in there if one.scope not in ON_CHARTS):
                one = next(one for one in ACTIONS if one.id == name)
                key = self.app.key_of(name)  # type: ignore[attr-defined]
                act = partial(self._go, mode, one)
                yield Command(f"{screen}: {one.title}  [{key}]", one.help, act)

    def _go(self, mode: str, action: Action) -> None:
        self.app.run_worker(self._go_and_run(mode, action), group="open", exclusive=True)

    async def _go_and_run(self, mode: str, action: Action) -> None:
        """Open a screen and do it there as soon as that is possible."""
        app = self.app
        await app.switch_mode(mode)
        for _ in range(int(PATIENCE_S / 0.1)):
            if node := self._able(action):
                if isinstance(node, Widget):
                    node.focus()
                await app.run_action(action.name, node)
                return
            await asyncio.sleep(0.1)
        app.notify(f"{action.title} is not possible here now; [app.help] tells what is.", severity="warning")

    def _able(self, action: Action) -> Any:
        """Who does it on this screen now: somebody with the focus, else a widget that could have it."""
        screen = self.app.screen
        if found := [node for _, _, _, name, node in offered(screen) if name == action.name]:
            return found[0]
        return next((one for one in screen.focus_chain if _offers(one, action)), None)

    async def discover(self) -> Hits:
        for title, help_text, act in self._commands():
            if not title.startswith("Theme: "):
                yield DiscoveryHit(Content(title), act, text=title, help=help_text)

    async def search(self, query: str) -> AsyncIterator[Hit]:
        matcher, found = self.matcher(query), False
        for title, help_text, act in self._commands():
            if (score := max(matcher.match(title), 0.8 * matcher.match(help_text))) > 0:
                found = True
                yield Hit(score, matcher.highlight(title.replace("[", r"\[")), act, text=title, help=help_text)
        if not found:
            yield Hit(1.0, NOTHING, partial(self.app.run_action, "help"), text=NOTHING, help=TRY_INSTEAD)


def _offers(widget: Widget, action: Action) -> bool:
    return any(isinstance(one, Binding) and one.id == action.id for one in type(widget).__dict__.get("BINDINGS", ()))


def _words(name: str) -> str:
    """LineChart → Line chart."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).capitalize()
