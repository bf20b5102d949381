"""Configure: presets at the left, the form in the middle, the budget at the right, launching at the bottom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from mythos.contract.errors import MythosError
from mythos.contract.rundir import fresh_name
from mythos_tui.actions import bindings
from mythos_tui.screens.configure.budget_panel import BudgetPanel
from mythos_tui.screens.configure.diagram import Diagram
from mythos_tui.screens.configure.draft import SECTIONS
from mythos_tui.screens.configure.editors import FieldRow
from mythos_tui.screens.configure.form import SectionBar, SectionForm
from mythos_tui.screens.configure.keeping import Keeping
from mythos_tui.widgets.fields import TextField
from mythos_tui.widgets.text import crop, visible
from mythos_tui.workers.launch import name_fault
from mythos_tui.workers.presets import Preset, list_presets, read_preset

DEFAULTS = "defaults"


class RunName(TextField):
    """The name that the run will have."""

    help_text = "Name of the run's folder: letters, digits, '.', '_' and '-'. Enter launches."


class PresetList(OptionList):
    """The presets; enter loads one."""

    help_text = (
        "Every YAML file of the configurations folder. Enter loads it; a file with only a model changes only the model."
    )
    DEFAULT_CSS = """
    PresetList { border: none; padding: 0; background: $background; height: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    PresetList:focus { border: none; background-tint: $foreground 0%; }
    """

    def show(self, titles: dict[str, str]) -> None:
        """Options by label; those of one folder stand together below its name."""
        shown = ""
        self.clear_options()
        for label, title in titles.items():
            folder, _, name = title.rpartition("/")
            if folder and folder != shown:
                self.add_option(Option(visible(folder), disabled=True))
            shown = folder
            self.add_option(Option(visible(f" {name}" if folder else name), id=label))


class ConfigureScreen(Keeping):
    """Write a configuration and launch it."""

    MODE = "configure"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#presets"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (108, "-wide"), (150, "-huge")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (52, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = bindings("configure")
    help_text = (
        "Choose a preset, change what you like, launch with [configure.launch]. Up, down, tab and enter move between fields; "
        "[configure.section(-1)] and [configure.section(1)] between sections; [configure.presets] goes back to the presets. "
        "Settings that do nothing as the others stand are not shown; "
        "names in bold differ from their default."
    )

    def __init__(self) -> None:
        super().__init__()
        self._presets: dict[str, Preset] = {}
        self._stem = "run"
        self._own_name = False
        self._launching = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="configure"):
            with Vertical(id="left"):
                yield Static("Presets", classes="heading")
                yield PresetList(id="presets", markup=False)
            with Vertical(id="middle"):
                yield SectionBar()
                yield Static("", id="explain", markup=False)
            with Vertical(id="right"):
                yield BudgetPanel()
                yield Diagram()
        with Horizontal(id="launch"):
            yield Static("Run name", classes="label")
            yield RunName("", id="name")
            yield Static("", id="verdict", markup=False)

    async def on_mount(self) -> None:
        await self._list_presets()
        first = "quickstart" if "quickstart" in self._presets else next(iter(self._presets), DEFAULTS)
        self._highlight(first)
        await self._read(first)
        self.draft.forget()
        self._look_at_machine()
        self.call_after_refresh(self._show_first_section)

    async def _show_first_section(self) -> None:
        """The form comes once the screen stands: what that is told until then would style every field anew."""
        if not self.query(SectionForm):
            await self.show_section(SECTIONS[0])

    @work(group="machine", exclusive=True)
    async def _look_at_machine(self) -> None:
        """Find out how fast this machine trains; the budget tells the time from then on."""
        from mythos_tui.workers.machine import find_machine

        if machine := await find_machine(self.app.context.runs, self.draft.family):
            self.query_one(BudgetPanel).on_machine(machine)

    # Presets

    async def _list_presets(self) -> None:
        found = await asyncio.to_thread(list_presets, self.app.context.configs)
        self._presets = {preset.label: preset for preset in found}
        titles = {label: preset.title for label, preset in self._presets.items()}
        self.query_one(PresetList).show({**titles, DEFAULTS: DEFAULTS})

    def _highlight(self, label: str) -> None:
        presets = self.query_one(PresetList)
        presets.highlighted = presets.get_option_index(label)

    async def presets_changed(self, path: Path) -> None:
        """List the presets anew; a saved one is what the draft is compared with from now on."""
        await self._list_presets()
        saved = next((label for label, preset in self._presets.items() if preset.path == path), None)
        if saved:
            self._highlight(saved)
            self.preset, self.draft.base = saved, self.draft.values

    @on(OptionList.OptionSelected, "#presets")
    async def _chosen(self, event: OptionList.OptionSelected) -> None:
        await self._load(event.option_id or DEFAULTS)
        said = f"Loaded {visible(event.option_id or '')}: tab goes into the form, [configure.launch] launches."
        self.notify(said, timeout=3, markup=False)

    @on(OptionList.OptionHighlighted, "#presets")
    def _preset_highlighted(self) -> None:
        if self.query_one(PresetList).has_focus:
            self._explain(self._hint("presets"))

    async def _load(self, label: str) -> None:
        """Fill the form from a preset."""
        if await self._read(label):
            await self.follow()

    async def _read(self, label: str) -> bool:
        """Whether the draft is that of a preset now; one that cannot be read changes nothing."""
        preset = self._presets.get(label)
        try:
            given = await asyncio.to_thread(read_preset, preset) if preset else {section: {} for section in SECTIONS}
            if not self.is_attached:
                return False  # left while it was read
            self.draft.load(given)
        except MythosError as error:
            self.show_error(f"{label} cannot be loaded", str(error))
            return False
        self.preset = label
        self._stem = preset.stem if preset else "run"
        if not self._own_name:
            self._fresh_name()
        return True

    def _fresh_name(self) -> None:
        field = self.query_one("#name", Input)
        with field.prevent(Input.Changed):
            field.value = fresh_name(self._stem)

    @on(Input.Changed, "#name")
    def _named(self, event: Input.Changed) -> None:
        self._own_name = bool(event.value.strip())

    @on(Input.Submitted, "#name")
    def _launch_from_name(self) -> None:
        self.action_launch()

    # Editing

    @on(FieldRow.Edited)
    async def _edited(self, event: FieldRow.Edited) -> None:
        self.draft.set(event.field, event.value)
        if event.field.key == "model.family":
            for form in self.query(SectionForm):
                await form.follow()
            self.query_one("#field-model-family", FieldRow).editor.focus()
        self.judge()

    def judge(self) -> None:
        """Validate, and show the outcome beside the fields, in the sections, in the budget and at the bottom."""
        config, faults = self.draft.check()
        for form in self.query(SectionForm):
            form.show_faults(faults)
        counts = {
            section: sum(key == section or key.startswith(section + ".") for key in faults) for section in SECTIONS
        }
        self.query_one(SectionBar).faults = counts
        self.query_one(BudgetPanel).show(config)
        self.query_one(Diagram).show(config.model if config else None)
        between = [text for key, text in faults.items() if key.partition(".")[0] not in SECTIONS]
        if between:
            verdict = Content.styled(f"✗ {visible(between[0])}", "$error")
        elif faults:
            verdict = Content.styled(
                f"✗ {len(faults)} to mend in {', '.join(one for one in SECTIONS if counts[one])}", "$error"
            )
        else:
            verdict = Content.assemble(
                (self.app.key_of("configure.launch"), "bold $primary"), (" launches", "$foreground-muted")
            )
        self.query_one("#verdict", Static).update(verdict)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        row = event.widget.parent
        text = row.field.explanation if isinstance(row, FieldRow) else self._hint(event.widget.id)
        self._explain(text)

    def _explain(self, text: str) -> None:
        self.query_one("#explain", Static).update(Content(text))

    def _hint(self, name: str | None) -> str:
        if name == "presets":
            return f"{self._about_preset()}\nEnter loads it; tab goes into the form.".strip()
        if name == "name":
            return RunName.help_text
        return "Left and right choose a section."

    def _about_preset(self) -> str:
        """The note of the highlighted preset, on one line."""
        option = self.query_one(PresetList).highlighted_option
        if option is None or option.id == DEFAULTS:
            return "Every setting at its default."
        preset = self._presets[str(option.id)]
        return crop(visible(preset.note or preset.label), self.query_one("#explain").size.width or 40)

    # Moving about

    @on(SectionBar.Chosen)
    async def _show_section(self, event: SectionBar.Chosen) -> None:
        await self.show_section(event.section)

    async def show_section(self, section: str) -> None:
        """Show a section's form, making it on first use."""
        for form in self.query(SectionForm):
            form.set_class(form.section == section, "-current")
        if not self.query(f"#section-{section}"):
            await self.query_one("#middle").mount(SectionForm(section, self.draft), before="#explain")
            self.judge()
        self.query_one(SectionBar).current = section

    async def action_section(self, by: int) -> None:
        """The next or previous section, with the focus in its first field."""
        bar = self.query_one(SectionBar)
        await self.show_section(SECTIONS[(SECTIONS.index(bar.current) + by) % len(SECTIONS)])
        rows = [
            row for row in self.query_one(f"#section-{bar.current}", SectionForm).rows if not row.has_class("-idle")
        ]
        (rows[0].editor if rows else bar).focus()

    def action_step(self, by: int) -> None:
        """Up and down through the fields."""
        self.focus_next() if by > 0 else self.focus_previous()

    def action_presets(self) -> None:
        """Back to the presets."""
        self.remove_class("-no-presets")
        self.query_one(PresetList).focus()

    def action_toggle_presets(self) -> None:
        """Show or hide the presets."""
        self.toggle_class("-no-presets")

    def action_toggle_budget(self) -> None:
        """Show or hide the budget."""
        self.toggle_class("-no-budget")

    async def action_reset(self) -> None:
        """The focused setting's default."""
        row = self.focused.parent if self.focused else None
        if isinstance(row, FieldRow):
            row.show_value(row.field.default)
            self.draft.set(row.field, list(row.field.default) if row.field.kind == "list" else row.field.default)
            self.judge()

    # Launching

    def action_launch(self) -> None:
        """Launch what is valid; otherwise go to the first fault. Keys that were pressed before count, however fast."""
        if isinstance(self.focused, Input):
            self.focused.call_later(self._launch_what_was_typed, self.focused)
        else:
            self._launch_now()

    def _launch_what_was_typed(self, field: Input) -> None:
        if isinstance(field.parent, FieldRow):
            self.draft.set(field.parent.field, field.parent.typed)
            self.judge()
        self._launch_now()

    def _launch_now(self) -> None:
        config, faults = self.draft.check()
        name = self.query_one("#name", Input).value.strip() or fresh_name(self._stem)
        if config is None:
            key, text = next(iter(faults.items()))
            said = f"{visible(key or 'configuration')}: {visible(text)}"
            self.notify(said, title="Not launched: mend this first", severity="error", markup=False)
            self._go_to(key)
        elif fault := name_fault(name):
            self.notify(fault, title="Not launched: give the run another name", severity="error", markup=False)
            self.query_one("#name", Input).focus()
        elif not self._launching:
            self._launching = True
            self.query_one("#verdict", Static).update(Content.styled("launching …", "$accent"))
            self._launch(self.draft.resolved(config), name)

    @work(group="goto", exclusive=True)
    async def _go_to(self, key: str) -> None:
        section = key.partition(".")[0]
        if section in SECTIONS:
            await self.show_section(section)
            if found := self.query(f"#field-{key.replace('.', '-')}"):
                found.first(FieldRow).editor.focus()

    @work(group="launch")
    async def _launch(self, text: str, name: str) -> None:
        """Start the worker off the event loop; on failure nothing that was typed is lost."""
        from mythos_tui.workers.launch import launch

        try:
            ended = await launch(text, name, self.app.context.runs)
        except OSError as error:
            self.show_error("The run was not launched", f"{error.strerror or error}. Nothing was changed; try again.")
            return
        finally:
            self._launching = False
            self.judge()
        if ended.error:
            self.show_error("The run was not launched", ended.error)
            return
        self._own_name = False
        self._fresh_name()
        said = f"{visible(ended.run)} is starting: its charts come here with its first steps."
        self.app.notify(said, title="Launched", markup=False)
        self.app.show_run(ended.run)
