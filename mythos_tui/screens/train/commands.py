"""What a person can ask of the selected run: pause, save, stop, kill, chat, look inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from textual import work

from mythos.contract.errors import MythosError
from mythos.contract.watch import RunSummary
from mythos_tui.runs import control
from mythos_tui.screens.picking import RunPicking
from mythos_tui.widgets.text import visible


class RunCommands(RunPicking):
    """The actions on a run; the screen that inherits them says which run is selected."""

    @property
    def selected(self) -> RunSummary | None:
        """The selected run, as last seen."""
        raise NotImplementedError

    def look_now(self) -> None:
        """Look at the run now instead of at the next tick."""

    # Commands to the worker

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not super().check_action(action, parameters):
            return False
        run = self.selected if self.is_mounted else None
        if action in ("pause", "send", "stop", "kill"):
            return run is not None and run.is_live
        if action in ("pin", "select", "fork", "chat", "inspect"):
            return run is not None
        if action == "tune":
            return run is not None and (run.is_live or bool(run.last_checkpoint))
        if action == "resume_run":
            return run is not None and not run.is_live and run.state != "finished" and bool(run.last_checkpoint)
        if action == "error":
            return run is not None and bool(run.error)
        return True

    def title_now(self, action: str, title: str) -> str:
        run = self.selected if action == "pause" else None
        return "Resume" if run and run.state == "paused" else super().title_now(action, title)

    def action_pause(self) -> None:
        """Pause, or resume what is paused."""
        if run := self.selected:
            self.action_send("resume" if run.state == "paused" else "pause")

    def action_send(self, command: str) -> None:
        """Put a command into the run's inbox; the worker's answer appears as a toast."""
        if run := self.selected:
            self._do(command, run.name, lambda: control.command(run.root, command))

    def action_stop(self) -> None:
        """Ask, then stop."""
        if run := self.selected:
            later = self.app.with_keys("[train.resume_run] goes on from there later.")
            text = f"{visible(run.name)} saves a checkpoint and ends at step {run.step}. {later}"
            self._ask("Stop this run?", text, lambda: self.action_send("stop"))

    def action_kill(self) -> None:
        """Ask, then kill."""
        if run := self.selected:
            kept = run.last_checkpoint
            lost = (
                f"Everything since {visible(kept)} is lost." if kept else "It has no checkpoint yet: all of it is lost."
            )
            text = f"{visible(run.name)} ends at once, without a checkpoint. {lost}"
            self._ask("Kill this worker?", text, lambda: self._kill(run))

    def _kill(self, run: RunSummary) -> None:
        way = (
            "[train.resume_run] goes on from its latest checkpoint"
            if run.last_checkpoint
            else "[train.new_run] starts it anew"
        )
        self._do("kill", run.name, lambda: control.kill_worker(run.root), f"the worker is gone; {way}")

    def _ask(self, title: str, text: str, then: Callable[[], None]) -> None:
        from mythos_tui.screens.help.dialogs import ConfirmScreen

        self.app.push_screen(ConfirmScreen(title, text), lambda agreed: then() if agreed else None)

    @work(group="command")
    async def _do(self, name: str, run: str, act: Callable[[], object], said: str = "sent; its answer follows") -> None:
        """Do a small file operation in a thread, and say how it went."""
        try:
            await asyncio.to_thread(act)
        except (MythosError, OSError) as error:
            self.app.notify(visible(str(error)), title=name, severity="error", markup=False)
            return
        self.app.notify(f"{name}: {said}", title=visible(run), timeout=2, markup=False)
        self.look_now()

    def action_error(self) -> None:
        """The whole error of a failed run."""
        if (run := self.selected) and run.error:
            lines = [str(run.error.get(key) or "") for key in ("type", "message", "hint", "traceback")]
            self._show_error(f"{visible(run.name)} failed", "\n".join(line for line in lines if line))

    def _show_error(self, title: str, text: str) -> None:
        from mythos_tui.screens.help.dialogs import ErrorDialog

        self.app.push_screen(ErrorDialog(title, text))

    # Checkpoints

    def action_chat(self) -> None:
        """Chat with the latest checkpoint."""
        self._with_checkpoint(self.app.open_chat)

    def action_inspect(self) -> None:
        """Look inside the latest checkpoint."""
        self._with_checkpoint(self.app.open_inspect)

    @work(group="checkpoint", exclusive=True)
    async def _with_checkpoint(self, open_with: Callable[[Path], None]) -> None:
        if run := self.selected:
            try:
                path = await asyncio.to_thread(control.latest_checkpoint, run.root)
            except MythosError:
                way = (
                    "[train.send('save')] writes one now."
                    if run.is_live
                    else "Choose another run, or launch one from Configure."
                )
                said = f"There is no checkpoint yet. {way}"
                self.app.notify(said, title=visible(run.name), severity="warning", markup=False)
                return
            open_with(path)
