"""A whole draft: what differs, what is saved, what can be undone, and how it is drawn."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from textual import events
from textual.widgets import Input

from mythos.contract.config import Config, DenseConfig, RecurrentConfig
from mythos.contract.load import load_config, parse_config
from mythos.contract.machine import Machine
from mythos_tui.app import MythosApp
from mythos_tui.screens.configure.budget_panel import BudgetPanel
from mythos_tui.screens.configure.diagram import diagram
from mythos_tui.screens.configure.draft import SECTIONS, Draft
from mythos_tui.screens.configure.screen import ConfigureScreen
from mythos_tui.settings import Context
from mythos_tui.workers import editor, machine
from mythos_tui.workers import launch as launching
from mythos_tui.workers.launch import Launched
from tests.fakes.screen_text import shows, text_of, until
from tests.mythos_tui.test_configure_screen import opened, row, write

PRESETS = sorted(Path(__file__).parents[2].glob("configs/**/*.yaml"))


def draft_of(given: dict[str, Any]) -> tuple[Draft, dict[str, Any]]:
    draft = Draft()
    draft.load(given)
    return draft, {field.key: field for section in SECTIONS for field in draft.fields(section)}


def test_differences_name_both_values_in_the_order_of_the_form():
    draft, by_key = draft_of({"model": {"width": 192}, "train": {"steps": 9}})
    assert draft.differences() == []
    draft.set(by_key["train.lr"], 0.001)
    draft.set(by_key["model.width"], 256)
    assert [(one.key, one.before, one.now) for one in draft.differences()] == [
        ("model.width", "192", "256"),
        ("train.lr", "0.003", "0.001"),
    ]
    draft.set(by_key["model.family"], "dense")
    found = {one.key: (one.before, one.now) for one in draft.differences()}
    assert found["model.loops"] == ("4", "–") and found["model.n_layers"][0] == "–"


def test_undo_goes_back_edit_by_edit_and_redo_forth_until_something_else_is_changed():
    draft, by_key = draft_of({})
    start = draft.values
    for typed in (1, 12, 128):  # letter by letter: one edit
        draft.set(by_key["model.width"], typed)
    draft.set(by_key["train.steps"], 7)
    draft.set(by_key["model.family"], "dense")
    assert draft.undo() and draft.family == "recurrent" and draft.values["train"]["steps"] == 7
    assert draft.undo() and draft.values["train"]["steps"] == Config().train.steps
    assert draft.values["model"]["width"] == 128
    assert draft.redo() and draft.values["train"]["steps"] == 7
    assert draft.undo() and draft.undo() and draft.values == start
    draft.set(by_key["train.steps"], 8)
    assert not draft.redo()
    draft.forget()
    assert not draft.undo()


def test_loading_a_preset_can_be_undone_with_what_it_is_compared_with():
    draft, by_key = draft_of({"model": {"width": 64}, "train": {}})
    draft.set(by_key["train.steps"], 5)
    draft.load({"model": {"family": "dense"}, "train": {"steps": 6}})
    assert draft.differences() == []
    assert draft.undo()
    assert [one.key for one in draft.differences()] == ["train.steps"]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_what_is_saved_means_what_was_loaded(path: Path):
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    draft = Draft()
    draft.load(given)
    if draft.check()[0] is None:
        pytest.skip("no configuration of its own")
    assert parse_config(yaml.safe_load(draft.yaml())) == draft.check()[0]


def test_the_drawing_follows_every_mechanism_and_never_runs_over():
    plain = RecurrentConfig()
    rich = RecurrentConfig(attention="mla", loop_lora_rank=8, loop_index_embedding=True, norm="sandwich", halting="act")
    bare = RecurrentConfig(injection="none", n_experts=0, initial_state="zero", prelude_layers=0, coda_layers=0)
    drawn = {}
    for name, model in (("plain", plain), ("rich", rich), ("bare", bare), ("dense", DenseConfig())):
        for width in (39, 80):
            lines = [line.plain for line in diagram(model, width)]
            assert max(map(len, lines)) <= width
        drawn[name] = "\n".join(lines)
    assert "Prelude, 1 block" in drawn["plain"] and "MoE, 2 of 8 experts × 192" in drawn["plain"]
    assert all(word in drawn["rich"] for word in ("MLA", "LoRA 8", "loop index", "sandwich", "halting"))
    assert "A·h" not in drawn["bare"] and "Prelude" not in drawn["bare"] and "MoE" not in drawn["bare"]
    assert "Loop" not in drawn["dense"] and "6 blocks" in drawn["dense"]


# The screen


@pytest.mark.action("configure.undo", "configure.redo", "configure.differences", "configure.diagram")
@pytest.mark.action("_Reader.dismiss")
async def test_changes_are_taken_back_compared_and_drawn(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await write(pilot, "model.width", "256")
        await pilot.press("f3")
        await shows(pilot, "Changed since quickstart", "model.width", "192", "256")
        await pilot.press("escape", "f4")
        await shows(pilot, "embedding 4096 × 256", "Prelude", "Loop, 4 times")
        await pilot.press("f4")
        await until(pilot, lambda: "Prelude, 1" not in text_of(app) and "Budget" in text_of(app))
        await pilot.press("ctrl+z")
        await until(pilot, lambda: row(app, "model.width").editor.value != "256")
        while app.screen.draft.undo():  # type: ignore[attr-defined]
            pass
        await app.screen.follow()  # type: ignore[attr-defined]
        assert row(app, "model.width").editor.value == "192"
        await pilot.press("ctrl+z")
        await shows(pilot, "nothing to undo")
        await pilot.press("ctrl+y")
        await until(pilot, lambda: row(app, "model.width").editor.value != "192")
        await pilot.resize_terminal(80, 24)
        await pilot.press("f4")
        await shows(pilot, "╭ Prelude, 1 block", "esc close")


async def test_the_time_that_this_machine_needs_is_in_the_budget(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await shows(pilot, "Expected speed", "Expected time", "20% of 1TFLOP/s", "Chinchilla ratio")
        before = app.screen.query_one(BudgetPanel).values["Expected speed"]
        await write(pilot, "model.width", "768")
        await until(pilot, lambda: app.screen.query_one(BudgetPanel).values["Expected speed"] != before)


async def test_a_training_that_this_machine_lacks_the_memory_for_stands_out(
    context: Context, monkeypatch: pytest.MonkeyPatch
):
    async def measured() -> Machine:
        return Machine("cpu", "fp32", 2, 1e12, memory_bytes=8 << 30)

    monkeypatch.setattr(machine, "measure", measured)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await shows(pilot, "there is", "8 GiB")
        panel = app.screen.query_one(BudgetPanel)

        def alarmed() -> bool:
            return any(span.style == "bold $error" for span in panel.render().spans)

        assert not alarmed()
        await write(pilot, "model.width", "8192")
        await until(pilot, alarmed)
        await pilot.resize_terminal(80, 24)
        await shows(pilot, "GiB ✗", " time ")
        assert alarmed()


@pytest.mark.action("configure.save_yaml", "SaveDialog.dismiss(None)")
async def test_a_saved_draft_becomes_a_preset_and_nothing_is_replaced_unasked(context: Context):
    app = MythosApp(context)
    taken = context.configs / "taken.yaml"
    taken.write_text("train: {steps: 1}\n")
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await write(pilot, "model.width", "256")
        await pilot.press("f2", "escape", "f2")
        await shows(pilot, "Save as YAML")
        assert app.screen.query_one(Input).value.endswith("quickstart-mine.yaml")
        app.screen.query_one(Input).value = str(taken)
        await pilot.press("enter")
        await shows(pilot, "taken.yaml is there already")
        assert taken.read_text() == "train: {steps: 1}\n"
        app.screen.query_one(Input).value = str(context.configs / "mine")
        await pilot.press("enter")
        await shows(pilot, "Saved", "mine")
        config = load_config(context.configs / "mine.yaml")
        assert (config.model.width, config.train.steps) == (256, 300)
        screen = cast(ConfigureScreen, app.screen)
        await until(pilot, lambda: screen.preset == "mine" and not screen.draft.differences())


@pytest.mark.action("configure.editor")
async def test_an_editor_that_cannot_be_had_says_so(context: Context, monkeypatch: pytest.MonkeyPatch):
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("f5")  # a test's terminal cannot be handed over
        await shows(pilot, "only in a terminal", "F2")


def script(folder: Path, body: str) -> str:
    path = folder / "editor.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_editor_gets_the_text_and_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", script(tmp_path, 'sed -i s/300/400/ "$1"'))
    assert editor.edit_text("steps: 300\n", "a.yaml") == "steps: 400\n"
    assert editor.edit_text("steps: 500\n", "a.yaml") is None
    monkeypatch.setenv("EDITOR", script(tmp_path, "exit 3"))
    with pytest.raises(editor.NoEditor, match="exit code 3"):
        editor.edit_text("x", "a.yaml")
    monkeypatch.setenv("EDITOR", "no-such-editor --wait")
    with pytest.raises(editor.NoEditor, match="no-such-editor"):
        editor.edit_text("x", "a.yaml")


@pytest.mark.parametrize(
    ("name", "said"),
    [("exit 1", "exit code 1"), ("no-such-editor", "no editor no-such-editor"), ("", "cannot be started")],
)
async def test_an_editor_that_fails_gives_the_terminal_back(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
):
    lacking = script(tmp_path, name)
    if not name:  # what is no program at all
        Path(lacking).write_bytes(b"\x00")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", name if name == "no-such-editor" else lacking)
    happened: list[str] = []
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await write(pilot, "model.width", "128")
        driver = type(app._driver)
        monkeypatch.setattr(driver, "can_suspend", True)
        monkeypatch.setattr(driver, "suspend_application_mode", lambda _: happened.append("suspended"))
        monkeypatch.setattr(driver, "resume_application_mode", lambda _: happened.append("resumed"))
        await pilot.press("f5")
        await shows(pilot, said)
        assert happened == ["suspended", "resumed"]
        assert row(app, "model.width").editor.value == "128"


@pytest.mark.parametrize(
    ("text", "said"), [("model: 5\n", "model holds a int"), ("train: [1]\n", "train holds a list")]
)
async def test_a_section_that_is_no_mapping_is_not_taken_over(
    context: Context, monkeypatch: pytest.MonkeyPatch, text: str, said: str
):
    app = MythosApp(context)
    texts = iter([text, "model:\ntrain: {steps: 77}\n"])
    given: list[str] = []
    monkeypatch.setattr(editor, "edit_text", lambda before, name: given.append(before) or next(texts))
    monkeypatch.setattr(app, "suspend", contextlib.nullcontext)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("f5")
        await shows(pilot, "Not taken over", said)
        await pilot.press("escape", "f5")
        await until(pilot, lambda: cast(ConfigureScreen, app.screen).draft.values["train"]["steps"] == 77)
        assert given[1] == text
        assert row(app, "model.width").editor.value == str(Config().model.width)


async def test_what_was_edited_is_taken_over_or_kept_for_mending(context: Context, monkeypatch: pytest.MonkeyPatch):
    app = MythosApp(context)
    texts: list[str] = []
    answers = ["train: [", "model: {width: 128}\ntrain: {steps: 77}\n"]

    def edited(text: str, name: str) -> str:
        texts.append(text)
        return answers[len(texts) - 1]

    monkeypatch.setattr(editor, "edit_text", edited)
    monkeypatch.setattr(app, "suspend", contextlib.nullcontext)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("f5")
        await shows(pilot, "Not taken over", "not valid YAML")
        await pilot.press("escape", "f5")
        await until(pilot, lambda: row(app, "model.width").editor.value == "128")
        assert texts[1] == "train: ["
        found = {one.key for one in app.screen.draft.differences()}  # type: ignore[attr-defined]
        assert {"model.width", "train.steps"} <= found


async def test_keys_pressed_just_before_the_launch_count(context: Context, monkeypatch: pytest.MonkeyPatch):
    launched: list[str] = []

    async def launch(text: str, name: str, runs: Path) -> Launched:
        launched.append(text)
        return Launched(name, "not in a test")

    monkeypatch.setattr(launching, "launch", launch)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        row(app, "model.ffn_width").editor.focus()
        await pilot.press("end")
        for key, character in (("backspace", "\x7f"), ("6", "6"), ("ctrl+l", "\x0c")):  # in one burst: 704 becomes 706
            app.post_message(events.Key(key, character))
        await until(pilot, lambda: launched)
        assert yaml.safe_load(launched[0])["model"]["ffn_width"] == 706
