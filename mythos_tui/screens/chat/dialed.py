"""Depth between messages, and a second answer beside the first: what the keys of the dial do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual import on
from textual.widgets import Static

from mythos.contract.checkpoints import title_of
from mythos.contract.protocol import Ready
from mythos_tui.screens.chat.behind import Behind
from mythos_tui.screens.chat.controls import Controls
from mythos_tui.screens.chat.depth import Depth, Side, dial
from mythos_tui.screens.chat.transcript import Transcript


class Dialed(Behind):
    """The dial shows every side; keys turn it for the side that they act on."""

    def _show_dial(self) -> None:
        sides = [
            self.sides[n].depth if n != self.side else self.query_one(Controls).depth for n in range(len(self.sides))
        ]
        rows = [(depth, self.ready_of(n), self._title(n)) for n, depth in enumerate(sides)]
        self.query_one("#dial", Static).update(dial(rows, self.side))

    def _title(self, side: int) -> str:
        path = self.checkpoint_of(side)
        return title_of(path) if path and len(self.sides) > 1 else ""

    @on(Controls.DepthChanged)
    def _depth_changed(self) -> None:
        self._show_dial()

    def _turn(self, change: Callable[[Depth, Ready], Depth]) -> None:
        """Change the depth of the side that keys act on, where its model has any."""
        ready = self.ready_of(self.side)
        if ready is None:
            self.notify(self._why_no_depth(), severity="warning")
        elif ready.max_loops <= 1:
            self.notify(
                "A dense model computes every token once: no depth to choose. "
                "[checkpoint.choose_checkpoint] lists other checkpoints.",
                severity="warning",
            )
        else:
            self.set_depth(change(self.query_one(Controls).depth, ready))

    def _why_no_depth(self) -> str:
        """Why nothing is known of the depth of the side that keys act on, and what to do."""
        if self._loading:
            return "The checkpoint is still loading: try again once the dial above the text field shows its depth."
        return self.app.with_keys("No checkpoint is loaded: [checkpoint.choose_checkpoint] chooses one.")

    def action_loops(self, by: int) -> None:
        """More or fewer loops."""
        self._turn(lambda depth, ready: depth.deeper(by, ready))

    def action_rule(self) -> None:
        """The next exit rule."""
        self._turn(lambda depth, ready: depth.next_rule(ready))

    def action_threshold(self, by: int) -> None:
        """The next threshold up or down."""
        self._turn(lambda depth, ready: depth.stricter(by, ready))

    # Side by side

    def action_beside(self) -> None:
        """Two answers to every message, or one again."""
        if self._busy():
            return
        self.sides[self.side].depth = self.query_one(Controls).depth
        if len(self.sides) == 1:
            self.sides.append(Side(Depth(rule="fixed")))
            self._act_on(1)
        else:
            self.sides = self.sides[:1]
            self._act_on(0)

    def action_other_side(self) -> None:
        """Keys act on the other of two answers."""
        if len(self.sides) == 1:
            said = "There is one answer to a message; [!chat.beside] puts a second one beside it."
            self.notify(said, severity="warning")
            return
        self.sides[self.side].depth = self.query_one(Controls).depth
        self._act_on(1 - self.side)

    def _act_on(self, side: int) -> None:
        self.side = side
        self.query_one(Controls).adapt(self.ready_of(side))
        self.query_one(Controls).set_depth(self.sides[side].depth)
        self.query_one(Transcript).show_side(side)
        self._show_dial()
        self.refresh_bindings()

    def action_choose_checkpoint(self) -> None:
        """For the side that keys act on."""
        if self.side == 0:
            super().action_choose_checkpoint()
        else:
            self.pick_checkpoint(self.checkpoint_of(1), self._use_beside)

    def _use_beside(self, path: Path) -> None:
        self.sides[1].checkpoint = path
        if self.ready_of(1) is None:
            self._loading = self.client_of(1).load(path, self)
        self._act_on(1)

    def _busy(self) -> bool:
        if self.request:
            self.notify("An answer is under way; [chat.stop] stops it.", severity="warning")
        return bool(self.request)
