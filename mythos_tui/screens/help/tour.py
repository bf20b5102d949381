"""The tour: one sentence at a time above the keys, for somebody who has never been here. It takes no key and no focus.

It goes on by itself when the person does what it says: each step belongs to a screen and comes when that screen opens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

if TYPE_CHECKING:
    from mythos_tui.app import MythosApp

STEPS: tuple[tuple[str, str], ...] = (
    (
        "train",
        "Welcome. Here runs are launched and watched; the model is made on the next screen. "
        "Press [app.open('configure')] to configure a small one.",
    ),
    (
        "configure",
        "The preset quickstart is loaded: 2 M parameters, trained on source code that is on this machine. "
        "Press [configure.launch] to launch it; every value can be changed before.",
    ),
    (
        "train",
        "A launched run trains in a process of its own, also while you are away. Watch the loss fall, "
        "then press [train.send('save')] to save a checkpoint and [train.chat] to chat with it.",
    ),
    (
        "chat",
        "Write how a text begins and press enter; the model goes on. Tokens are tinted by the loops they took. "
        "Then press [!app.open('inspect')] to look inside.",
    ),
    (
        "inspect",
        "Press enter: token by loop, when each token was done. [app.help] explains the keys of whatever has the focus, "
        "[app.command_palette] finds every action. That was the tour.",
    ),
)
"""(screen, what to do there). `[action]` becomes its key, `[!action]` the key that works in a text field too."""


def following(step: int, mode: str) -> int:
    """The step after opening a screen: the next one that belongs to it, else the same."""
    return next((later for later in range(step + 1, len(STEPS)) if STEPS[later][0] == mode), step)


class TourBar(Static):
    """The present step, on every screen; not there while no tour is under way."""

    DEFAULT_CSS = """
    TourBar { height: auto; max-height: 4; display: none; padding: 0 1; background: $panel; color: $foreground; }
    TourBar.-shown { display: block; }
    """
    app: MythosApp

    def on_mount(self) -> None:
        self.watch(self.app, "tour_step", self._show)

    def _show(self, step: int | None) -> None:
        self.set_class(step is not None, "-shown")
        if step is not None:
            self.update(self._sentence(step))

    def _sentence(self, step: int) -> Content:
        parts = re.split(r"(\[.+?\])", f"{STEPS[step][1]}  [app.tour] ends it.")
        styled = [(self.app.with_keys(part), "bold $primary" if at % 2 else "") for at, part in enumerate(parts)]
        return Content.assemble((f"Tour {step + 1} of {len(STEPS)}  ", "bold $accent"), *styled)
