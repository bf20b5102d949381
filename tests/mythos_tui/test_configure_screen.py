"""The Configure screen by keys: presets, faults beside their fields, the budget, launching."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from textual.css.stylesheet import Stylesheet
from textual.widgets import Input, Static

from mythos.contract.config import Config, RecurrentConfig
from mythos_tui.app import MythosApp
from mythos_tui.screens.configure.budget_panel import BudgetPanel
from mythos_tui.screens.configure.draft import Draft
from mythos_tui.screens.configure.editors import Choice, FieldRow, Fixed
from mythos_tui.screens.configure.form import SectionForm
from mythos_tui.screens.configure.screen import ConfigureScreen
from mythos_tui.settings import Context
from mythos_tui.workers import launch as launching
from mythos_tui.workers.launch import Launched
from tests.fakes.runs import FakeRun
from tests.fakes.screen_text import shows, text_of, until

MIXTURE = [{"source": "stdlib"}, {"source": "files", "paths": ["notes"], "weight": 2.0}, {"source": "synthetic"}]


async def opened(pilot: Any) -> None:
    await shows(pilot, "Mythos")
    await pilot.press("2")
    await shows(pilot, "quickstart", "family")


def row(app: MythosApp, key: str) -> FieldRow:
    return app.screen.query_one(f"#field-{key.replace('.', '-')}", FieldRow)


async def write(pilot: Any, key: str, text: str) -> None:
    """Go into a field and replace what is there by typing."""
    editor = row(pilot.app, key).editor
    editor.focus()
    await pilot.press("end", "ctrl+u", *text)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
async def test_the_quickstart_is_loaded_and_its_cost_shown(context: Context, size: tuple[int, int]):
    app = MythosApp(context)
    async with app.run_test(size=size, notifications=True) as pilot:
        await opened(pilot)
        await shows(pilot, "width", "192", "Run name", "quickstart-", "launches", "active")
        assert isinstance(row(app, "model.width").editor, Input) and isinstance(
            row(app, "model.tie_embeddings").editor, Choice
        )


async def test_a_mixture_is_shown_and_cannot_be_typed_over(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        screen = cast(ConfigureScreen, app.screen)
        await screen.show_section("data")
        screen.draft.load({"data": {"mixture": MIXTURE}})
        form = screen.query_one("#section-data", SectionForm)
        await form.follow()
        form.show_faults({})
        editor = row(app, "data.mixture").editor
        assert isinstance(editor, Fixed) and editor.value == "3 sources, from YAML"
        editor.focus()
        await pilot.press("x", "backspace", "enter")
        assert screen.draft.values["data"]["mixture"] == MIXTURE
        assert row(app, "data.mixture").display and not row(app, "data.source").display


async def test_a_wrong_value_is_told_beside_its_field_and_mending_it_helps(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await write(pilot, "model.width", "4")
        await shows(pilot, "✗ at least 8", "model ✗", "1 to mend in model")
        await write(pilot, "model.width", "wide")
        await shows(pilot, "✗ not a whole")
        await write(pilot, "model.width", "250")
        await shows(pilot, "n_heads 4 does not divide width 250")
        await write(pilot, "model.width", "256")
        await until(pilot, lambda: "✗" not in text_of(app))


async def test_the_budget_follows_the_width(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        panel = app.screen.query_one(BudgetPanel)
        await until(pilot, lambda: panel.values)
        before = panel.values["Parameters"]
        await write(pilot, "model.width", "768")
        await until(pilot, lambda: panel.values["Parameters"] != before)
        assert panel.values["Parameters"] in text_of(app)


async def test_opening_styles_no_field_over_and_over(context: Context, monkeypatch: pytest.MonkeyPatch):
    """Each field was styled nine times: built before the screen had its size, and told its state and kind class by class."""
    styled: Counter[int] = Counter()
    apply = Stylesheet.apply
    monkeypatch.setattr(
        Stylesheet, "apply", lambda sheet, node, **more: styled.update([id(node)]) or apply(sheet, node, **more)
    )
    app = MythosApp(context)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(pilot)
        await shows(pilot, "launches")
        rows = list(app.screen.query(FieldRow))
        assert len(rows) > 30
        assert max(styled[id(node)] for row in rows for node in row.walk_children(with_self=True)) <= 2


async def test_a_section_that_is_being_made_hears_of_values_and_faults(context: Context):
    """A preset chosen right before a page down found rows without an editor, and the workbench ended with a traceback."""
    app = MythosApp(context)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(pilot)
        screen = cast(ConfigureScreen, app.screen)
        form = SectionForm("train", screen.draft)
        mounting = screen.query_one("#middle").mount(form, before="#explain")
        await screen.follow()
        await mounting
        assert row(app, "train.steps").editor.value == "300"
        late = FieldRow(next(one for one in screen.draft.fields("infer") if one.kind == "whole"), 300)
        late.show_value(7)
        late.show_state("too few", True, True)
        await form.mount(late)
        assert late.editor.value == "7" and str(late.query_one(".note", Static).render()) == "✗ too few"


async def test_the_focused_field_is_explained(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        row(app, "model.width").editor.focus()
        await shows(pilot, "Width D of the residual stream. At least 8")


@pytest.mark.action("configure.section(1)", "configure.section(-1)", "configure.step(1)", "configure.step(-1)")
@pytest.mark.action("configure.presets", "configure.reset", "configure.toggle_presets", "configure.toggle_budget")
@pytest.mark.action("SectionBar.step(1)", "SectionBar.step(-1)", "SectionBar.app.focus_next")
@pytest.mark.action("Choice.step(1)", "Choice.step(-1)", "Choice.app.focus_next")
async def test_keys_alone_reach_every_section_and_enter_moves_on(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("tab", "right")
        await shows(pilot, "held_out_percent")
        await pilot.press("left", "enter")
        assert app.focused is row(app, "model.family").editor
        for key, family in (("right", "dense"), ("left", "recurrent")):
            await pilot.press(key)
            await until(pilot, lambda wanted=family: row(app, "model.family").editor.value == wanted)
            await until(pilot, lambda: app.focused is row(app, "model.family").editor)
        await pilot.press("enter")
        assert app.focused is row(app, "model.vocab_size").editor
        await pilot.press("enter")
        assert app.focused is row(app, "model.width").editor
        await pilot.press("7", "ctrl+r")
        assert row(app, "model.width").editor.value == str(RecurrentConfig().width)
        await pilot.press("down", "up", "up", "up")
        assert app.focused is row(app, "model.family").editor
        for first in ("data.source", "train.steps", "objective.kind", "infer.exit", "alerts.nan", "model.family"):
            await pilot.press("pagedown")
            await until(pilot, lambda key=first: app.focused is row(app, key).editor)
        await pilot.press("pageup")
        await until(pilot, lambda: app.focused is row(app, "alerts.nan").editor)
        await pilot.press("escape")
        assert app.focused is app.screen.query_one("#presets")
        for key, pane in (("left_square_bracket", "#left"), ("right_square_bracket", "#right")):
            before = app.screen.query_one(pane).display
            await pilot.press(key)
            assert app.screen.query_one(pane).display != before
            await pilot.press(key)
        await pilot.press("1")
        await until(pilot, lambda: app.current_mode == "train")


async def test_choosing_the_other_family_rebuilds_the_model(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        row(app, "model.family").editor.focus()
        await pilot.press("right")
        await shows(pilot, "n_layers")
        assert "prelude_layers" not in text_of(app) and app.focused is row(app, "model.family").editor
        await pilot.press("left")
        await shows(pilot, "prelude_layers")


async def test_a_model_preset_changes_only_the_model(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("down", "enter")
        await shows(pilot, "n_layers")
        assert app.screen.draft.values["train"]["steps"] == 300  # type: ignore[attr-defined]


async def test_a_broken_preset_says_so_and_changes_nothing(context: Context):
    (context.configs / "a-broken.yaml").write_text("model: [1, 2\n")
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        before = app.screen.draft.values  # type: ignore[attr-defined]
        await pilot.press("home", "enter")
        await shows(pilot, "a-broken cannot be loaded", "not valid YAML")
        await pilot.press("escape")
        assert app.screen.draft.values == before  # type: ignore[attr-defined]


async def test_a_preset_whose_model_is_no_mapping_says_so_and_an_empty_one_has_the_defaults(context: Context):
    (context.configs / "a-number.yaml").write_text("model: 5\n")
    (context.configs / "b-empty.yaml").write_text("model:\n")
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        before = app.screen.draft.values  # type: ignore[attr-defined]
        await pilot.press("home", "enter")
        await shows(pilot, "a-number cannot be loaded", "model holds a int, not a mapping")
        await pilot.press("escape")
        assert app.screen.draft.values is before  # type: ignore[attr-defined]
        await pilot.press("down", "enter")
        await shows(pilot, "Loaded b-empty")
        assert row(app, "model.width").editor.value == str(Config().model.width)


async def test_a_preset_with_an_unknown_key_says_which(context: Context):
    (context.configs / "a-typo.yaml").write_text("model: {family: dense, widht: 64}\n")
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("home", "enter")
        await shows(pilot, "widht: there is no such key; did you mean width?")


async def test_launching_writes_the_resolved_configuration_and_shows_the_run(
    context: Context, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[Config, str, Path]] = []

    async def launch(text: str, name: str, runs: Path) -> Launched:
        seen.append((Config.model_validate(yaml.safe_load(text)), name, runs))
        FakeRun(runs, "elder").status("finished", 1)
        FakeRun(runs, name).status("preparing", 0)
        return Launched(name)

    monkeypatch.setattr(launching, "launch", launch)
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await write(pilot, "model.width", "128")
        await write_name(pilot, "mine")
        await pilot.press("enter")
        await shows(pilot, "◔ preparing  mine")
        config, name, runs = seen[0]
        assert (config.model.width, config.train.steps, name, runs) == (128, 300, "mine", context.runs)
        assert app.current_mode == "train"


async def write_name(pilot: Any, text: str) -> None:
    pilot.app.screen.query_one("#name", Input).focus()
    await pilot.press("end", "ctrl+u", *text)


@pytest.mark.action("configure.launch")
async def test_a_wrong_configuration_is_not_launched_and_its_fault_is_focused(
    context: Context, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(launching, "launch", lambda *given: pytest.fail("launched"))
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("tab", "pagedown", "pagedown")
        await until(pilot, lambda: app.focused is row(app, "train.steps").editor)
        await write(pilot, "train.steps", "0")
        await pilot.press("escape", "ctrl+l")
        await shows(pilot, "train.steps: at least 1")
        await until(pilot, lambda: app.focused is row(app, "train.steps").editor)


async def test_what_the_command_line_refuses_is_shown_and_nothing_is_lost(
    context: Context, monkeypatch: pytest.MonkeyPatch
):
    async def launch(text: str, name: str, runs: Path) -> Launched:
        return Launched(name, f"A run '{name}' exists already in {runs}.\x1b[2J Choose another --run name.")

    monkeypatch.setattr(launching, "launch", launch)
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await write(pilot, "model.width", "128")
        await write_name(pilot, "taken")
        await pilot.press("ctrl+l")
        await shows(pilot, "The run was not launched", "exists already", "␛[2J")
        await pilot.press("escape")
        await until(pilot, lambda: "not launched" not in text_of(app))
        assert app.screen.query_one("#name", Input).value == "taken"
        assert row(app, "model.width").editor.value == "128"


async def test_a_name_that_no_run_can_have_is_not_launched(context: Context, monkeypatch: pytest.MonkeyPatch):
    launched: list[str] = []

    async def launch(text: str, name: str, runs: Path) -> Launched:
        launched.append(name)
        return Launched(name, "not in a test")

    monkeypatch.setattr(launching, "launch", launch)
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot)
        await write_name(pilot, "exp/one")
        row(app, "model.width").editor.focus()
        await pilot.press("ctrl+l")
        await shows(pilot, "Not launched", "A name has letters, digits")
        await until(pilot, lambda: app.focused is app.screen.query_one("#name", Input))
        assert app.screen.query_one("#name", Input).value == "exp/one" and not launched
        await write_name(pilot, "exp-one")
        await pilot.press("enter")
        await until(pilot, lambda: launched == ["exp-one"])


async def test_the_real_launcher_reports_what_a_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\ncat "$4" > "$(dirname "$0")/given"; echo "no such luck" >&2; exit 2\n')
    script.chmod(0o755)
    monkeypatch.setattr(launching.sys, "executable", str(script))
    ended = await launching.launch("model: {}\n", "x", tmp_path)
    assert ended == Launched("x", "no such luck")
    assert (tmp_path / "given").read_text() == "model: {}\n"
    script.write_text("#!/bin/sh\necho the-name\n")
    assert await launching.launch("model: {}\n", "x/y", tmp_path) == Launched("the-name")


async def test_presets_have_short_titles_and_the_highlighted_one_tells_its_note(context: Context):
    (context.configs / "model" / "recurrent").mkdir()
    (context.configs / "model" / "recurrent" / "nano-mla.yaml").write_text(
        "note: Latent [b]attention[/b].\nmodel: {}\n"
    )
    (context.configs / "model" / "broken.yaml").write_text("model: [")
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        lines = [line.partition("▕")[0].rstrip() for line in text_of(app).splitlines()]
        assert lines.index(" recurrent") + 1 == lines.index("  nano-mla") and " dense-10m" in lines
        assert "model/" not in text_of(app)
        await shows(pilot, "small", "Enter loads it")
        await pilot.press("down", "down", "down")
        await shows(pilot, "Latent [b]attention[/b].")
        await pilot.press("down")
        await shows(pilot, "Every setting at its default.")


async def test_the_largest_model_is_legible_in_the_smallest_common_terminal(context: Context):
    largest = (Path(__file__).parents[2] / "configs/model/recurrent/mythos_1t.yaml").read_text()
    (context.configs / "a-large.yaml").write_text(largest)
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("home", "enter")
        await shows(pilot, "parameters 1.01T  active 157B", "memory 31.8 TiB", "1_000_000")
        await app.screen.show_section("objective")  # type: ignore[attr-defined]
        await shows(pilot, "depth_supervised  act  entropy_gate")


async def test_opening_validates_once_for_the_preset_and_not_for_every_field(
    context: Context, monkeypatch: pytest.MonkeyPatch
):
    checks: list[int] = []
    check = Draft.check
    monkeypatch.setattr(Draft, "check", lambda draft: checks.append(1) or check(draft))
    app = MythosApp(context)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(pilot)
        await shows(pilot, "launches")
        await pilot.pause(0.3)
        assert len(checks) <= 2
        await write(pilot, "model.width", "100")
        await until(pilot, lambda: len(checks) > 2)
