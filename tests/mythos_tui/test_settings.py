"""settings.yaml: what it changes, how its faults are told, and that docs/settings.md says what the code does."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from textual.keys import key_to_character

from mythos_tui.actions import ACTIONS
from mythos_tui.app import MythosApp
from mythos_tui.settings import Context, Settings
from mythos_tui.settings_file import context_of, load_settings, remember, settings_path
from mythos_tui.theme import THEMES
from mythos_tui.widgets.chart import LineChart
from tests.fakes.runs import FakeRun
from tests.fakes.screen_text import shows, text_of, until

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def write(text: str) -> Path:
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_file_every_setting_has_its_default():
    assert load_settings().settings == Settings() and not load_settings().faults


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("them: mythos-light", ["'them'", "did you mean theme?"]),
        ("theme: neon", ["theme is 'neon'", "mythos-light", "mythos-terminal"]),
        ("glyphs: emoji", ["glyphs is 'emoji'", "auto, braille, block or ascii"]),
        ("frames_per_second: 400", ["frames_per_second is 400", "0.5 to 20"]),
        ("frames_per_second: fast", ["'fast'", "a number"]),
        ("runs: /etc/passwd", ["runs is '/etc/passwd'", "no folder"]),
        ("configs: /nowhere", ["configs is '/nowhere'", "no folder"]),
        ("imported: models", ["imported is 'models'", "a list of folders"]),
        ("keys: {train.puase: P}", ["'train.puase'", "did you mean train.pause?"]),
        ("keys: {train.pause: hyper+p}", ["train.pause is given 'hyper+p'", "no key"]),
        ("keys: {train.pause: w}", ["train.pause would share 'w' with train.send('save')"]),
        ("keys: {train.pause: '?'}", ["'question_mark' with app.help"]),
        ("keys: [p]", ["keys is ['p']", "action: key"]),
        ("theme: [", ["not valid YAML", "line"]),
        ("- theme", ["holds a list"]),
        ("!!python/object:os.system {}", ["not valid YAML"]),
    ],
)
def test_a_fault_is_told_with_file_key_and_what_is_allowed_and_the_rest_holds(text: str, told: list[str]):
    sound = "" if text.startswith(("-", "!", "theme")) else "\ntheme: mythos-contrast\n"
    path = write(text + sound)
    loaded = load_settings()
    (fault,) = loaded.faults
    assert all(part in fault for part in [str(path), *told]), fault
    assert loaded.settings.theme == ("mythos-contrast" if sound else "mythos-dark")
    assert not loaded.settings.keys and loaded.settings.frames_per_second == 4


def test_folders_come_from_the_command_line_then_the_settings_then_habit(tmp_path: Path):
    write(f"runs: {tmp_path}\nimported: [~/models]\n")
    settings = load_settings().settings
    assert context_of(settings, lambda name: None).runs == tmp_path
    assert context_of(settings, lambda name: Path("here")).runs == Path("here")
    assert context_of(settings, lambda name: None).imported == (Path.home() / "models",)
    assert context_of(Settings(), lambda name: None).runs == Path("runs")


def test_remembering_a_choice_leaves_every_other_line_alone():
    path = write("# mine\ntheme: mythos-light  # by day\nkeys: {train.pause: P}  # habit\n")
    assert remember("theme", "mythos-dark") is None
    assert path.read_text() == "# mine\nkeys: {train.pause: P}  # habit\ntheme: mythos-dark\n"
    path.write_text("keys: [\n")
    assert "this session only" in (remember("theme", "mythos-light") or "")
    assert path.read_text() == "keys: [\n"


async def test_own_keys_work_show_and_take_the_place_of_the_usual_ones(context: Context):
    write("keys: {train.pause: u, app.help: [f7, ctrl+g]}\n")
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "● running", "f7 Help")
        await pilot.press("P", "question_mark")
        await pilot.pause()
        assert not list(run.paths.control.glob("*.json")) and "esc closes" not in text_of(app)
        await pilot.press("u")
        await until(pilot, lambda: list(run.paths.control.glob("[!.]*.json")))
        await pilot.press("ctrl+g")
        await shows(pilot, "esc closes")


async def test_sentences_name_the_keys_that_hold_now(context: Context):
    said = "[chat.stop] stops it, [checkpoint.choose_checkpoint] chooses another, [1] is text."
    assert MythosApp(context).with_keys(said) == "esc stops it, ^o chooses another, [1] is text."
    write("keys: {chat.stop: f6, checkpoint.choose_checkpoint: ctrl+g}\n")
    assert MythosApp(context).with_keys(said) == "f6 stops it, ^g chooses another, [1] is text."


async def test_own_keys_of_charts_work_too(context: Context):
    write("keys: {chart.toggle_log: u, view.reset_view: ctrl+r}\n")
    run = FakeRun(context.runs, "one")
    run.status("finished", 10)
    run.metrics(*range(1, 50))
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "✓ finished", "nats/token")  # enter does nothing before there are charts
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, LineChart))
        chart = app.focused
        await shows(pilot, "u Log y", "^r Reset")
        await pilot.press("y")
        assert not chart.y_log
        await pilot.press("u", "full_stop")
        assert chart.y_log and chart.crosshair is not None
        await pilot.press("ctrl+r")
        assert chart.crosshair is None


async def test_a_bad_file_never_stops_the_start_and_is_told(context: Context):
    write("theme: [red]neon[/red]\nglyphs: \x1b[2J\n")
    app = MythosApp(context)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await shows(pilot, "No runs yet", "Settings", "not valid YAML")
        assert app.theme == "mythos-dark"


def page() -> str:
    """docs/settings.md, from the settings and actions as they are."""
    lines = [
        "# Settings",
        "",
        "`$XDG_CONFIG_HOME/mythos/settings.yaml`, by default `~/.config/mythos/settings.yaml`. Every key may be left out. A fault",
        "in the file is told at the start with the key and what is allowed, and the default stands in its place.",
        "",
        "```yaml",
        "theme: mythos-light",
        "frames_per_second: 10",
        "runs: ~/experiments/runs",
        "imported: [~/models]",
        "keys:",
        "  train.pause: u",
        "  app.help: [f1, ctrl+g]",
        "```",
        "",
        "| key | default | meaning | allowed |",
        "|---|---|---|---|",
    ]
    for one in fields(Settings):
        default = one.default if one.default is not MISSING else one.default_factory()  # type: ignore[misc]
        shown = "" if default is None or default == [] or default == {} else f"`{default}`"
        lines.append(f"| `{one.name}` | {shown} | {one.metadata['help']} | {one.metadata['allowed']} |")
    own = ", ".join(f"`{one.name}`" for one in THEMES)
    lines += [
        "",
        f"Themes: {own}, and those of Textual,",
        "which `ctrl+t` lists. `mythos-terminal` keeps the terminal's own sixteen colours and its background.",
        "",
        "## Actions and their keys",
        "",
        "Toasts, help and dialogs tell the keys that hold now. Two actions of one place never share a key: an override that would",
        "is told and left out. `ctrl+g`, `alt+x`, `f5`, `P` and `?` are examples of keys.",
        "",
        "| action | keys | what it does |",
        "|---|---|---|",
    ]
    for name in dict.fromkeys(one.id for one in ACTIONS):
        mine = [one for one in ACTIONS if one.id == name]
        keys = " ".join(f"`{key_to_character(key) or key}`" for one in mine for key in one.key.split(","))
        lines.append(f"| `{name}` | {keys} | {next(one.help for one in mine if one.help)} |")
    return "\n".join(lines) + "\n"


def test_the_page_says_what_the_code_does(update: bool):
    if update:
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make snapshots`"
