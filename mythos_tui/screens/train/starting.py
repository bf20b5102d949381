"""Starting runs from the Train screen: anew, forked, resumed; and changing the settings of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work

from mythos.contract.errors import MythosError
from mythos.contract.watch import RunSummary
from mythos_tui.runs import control
from mythos_tui.screens.train.commands import RunCommands
from mythos_tui.widgets.text import visible

if TYPE_CHECKING:
    from mythos_tui.screens.train.start import Order, Source
    from mythos_tui.workers.launch import Launched


class RunStarting(RunCommands):
    """Dialogs first, then the command line does it."""

    def select_run(self, name: str) -> None:
        """Put the cursor on a run now, or as soon as it is listed."""
        raise NotImplementedError

    # Settings

    @work(group="tune", exclusive=True)
    async def action_tune(self) -> None:
        """Change settings of the selected run: live, or as it goes on."""
        from mythos_tui.screens.train.tune import TuneDialog

        if not (run := self.selected):
            return
        try:
            settings = await asyncio.to_thread(control.settings, run.root)
        except MythosError as error:
            self._show_error(f"{visible(run.name)} cannot be changed", str(error))
            return
        overrides = await self.app.push_screen_wait(TuneDialog(run.name, settings, run.is_live))
        if overrides is None:
            return
        if run.is_live:
            self._do("set", run.name, lambda: control.command(run.root, "set", overrides=overrides))
        else:
            await self._resume(run, overrides)

    @work(group="resume", exclusive=True)
    async def action_resume_run(self) -> None:
        """Start the selected run again from its latest checkpoint."""
        if run := self.selected:
            await self._resume(run)

    async def _resume(self, run: RunSummary, overrides: Sequence[str] = ()) -> None:
        from mythos_tui.workers.launch import resume

        await self._launch(run.name, "cannot go on", resume(run.name, self.app.context.runs, overrides))

    # New runs

    @work(group="start", exclusive=True)
    async def action_fork(self) -> None:
        """Start a new run from one of the selected run's checkpoints."""
        from mythos_tui.workers.launch import fork

        if not (run := self.selected):
            return
        sources, check = await asyncio.to_thread(fork_sources, run)
        if not sources:
            way = (
                "[train.send('save')] writes one now."
                if run.is_live
                else "Choose another run, or [train.new_run] starts one anew."
            )
            said = f"There is no checkpoint to fork yet. {way}"
            self.app.notify(said, title=visible(run.name), severity="warning", markup=False)
            return
        order = await self._decide(f"Fork {visible(run.name)}: a new run from its checkpoint at", sources, check)
        if order:
            started = fork(run.name, order.source.value.step, order.name, self.app.context.runs, order.overrides)
            await self._launch(order.name, "cannot be forked", started)

    @work(group="start", exclusive=True)
    async def action_new_run(self) -> None:
        """Start a new run from a preset, or from the selected run's settings."""
        from mythos_tui.workers.launch import launch

        sources, check = await asyncio.to_thread(new_sources, self.app.context.configs, self.selected)
        if not sources:
            said = f"There is no preset in {visible(str(self.app.context.configs))}. 2 configures a run from scratch."
            self.app.notify(said, severity="warning", markup=False)
            return
        if order := await self._decide("Start a run from", sources, check):
            text = await asyncio.to_thread(configuration, order)
            await self._launch(order.name, "cannot start", launch(text, order.name, self.app.context.runs))

    async def _decide(
        self, title: str, sources: list[Source], check: Callable[[Source, Sequence[str]], str]
    ) -> Order | None:
        from mythos_tui.screens.train.start import StartDialog

        return await self.app.push_screen_wait(StartDialog(title, sources, check))

    async def _launch(self, name: str, failed: str, starting: Coroutine[Any, Any, Launched]) -> None:
        """Wait for the command line's answer; then show the run, or what it said against it."""
        self.app.notify("starting …; it comes into the list by itself", title=visible(name), timeout=3, markup=False)
        try:
            ended = await starting
        except OSError as error:
            self._show_error(f"{visible(name)} {failed}", f"{error.strerror or error}. Nothing was changed; try again.")
            return
        if ended.error:
            self._show_error(f"{visible(name)} {failed}", ended.error)
        else:
            self.select_run(ended.run)
            self.look_now()


def fork_sources(run: RunSummary) -> tuple[list[Source], Callable[[Source, Sequence[str]], str]]:
    """Checkpoints of a run, latest first, and what is wrong with forking one under some overrides."""
    from mythos.contract.changes import differences, refuse_bound
    from mythos.contract.load import load_config, parse_config
    from mythos.contract.rundir import fresh_name
    from mythos_tui.screens.train.start import Source
    from mythos_tui.screens.units import grouped, short

    def source(info: Any) -> Source:
        bits = info.metrics.get("bits_per_byte")
        quality = f"  {bits:.3f} bits/byte held out" if isinstance(bits, int | float) else ""
        note = f"{short(info.tokens)} tokens{quality}"
        return Source(f"step {grouped(info.step)}", note, fresh_name(f"{run.name[:40]}-fork"), info)

    def check(source: Source, overrides: Sequence[str]) -> str:
        try:
            before = load_config(source.value.path / "config.yaml")
            after = parse_config(before.model_dump(mode="json"), overrides, where="settings")
            refuse_bound(differences(before, after))
        except MythosError as error:
            return str(error)
        if after.train.length <= source.value.step:
            return f"{source.value.step} of {after.train.length} steps are done: raise train.steps, or take an earlier step."
        return ""

    return [source(info) for info in control.checkpoints(run.root)], check


def new_sources(configs: Path, run: RunSummary | None) -> tuple[list[Source], Callable[[Source, Sequence[str]], str]]:
    """Presets, the selected run's own settings first, and what is wrong with one under some overrides."""
    from mythos.contract.load import parse_config, read_yaml
    from mythos.contract.rundir import RunPaths, fresh_name
    from mythos_tui.screens.train.start import Source
    from mythos_tui.workers.presets import list_presets

    sources = [Source(one.label, one.note, fresh_name(one.stem), one.path) for one in list_presets(configs)]
    if run:
        own = RunPaths(run.root).config
        sources.insert(0, Source(run.name, "the same settings as the selected run", fresh_name(run.name[:40]), own))

    def check(source: Source, overrides: Sequence[str]) -> str:
        try:
            parse_config(read_yaml(source.value), overrides, where=source.title)
        except MythosError as error:
            return str(error)
        return ""

    return sources, check


def configuration(order: Order) -> str:
    """The whole configuration of a new run, as YAML."""
    from mythos.contract.load import dump_config, load_config

    return dump_config(load_config(order.source.value, order.overrides))
