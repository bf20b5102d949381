"""The application itself: modes, themes, help, palette, size, leaving, and what it never imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widgets import TextArea

from mythos.contract.rundir import RunPaths
from mythos_tui.__main__ import main
from mythos_tui.app import MythosApp
from mythos_tui.messages import RunUpdated
from mythos_tui.runs.reader import RunReader
from mythos_tui.screens.chat.screen import ChatScreen
from mythos_tui.screens.configure.screen import DEFAULTS, ConfigureScreen
from mythos_tui.screens.help.dialogs import ConfirmScreen, ErrorDialog
from mythos_tui.screens.help.small import TooSmallScreen
from mythos_tui.screens.help.tour import STEPS
from mythos_tui.screens.train.screen import TrainScreen
from mythos_tui.settings import Context
from mythos_tui.settings_file import load_settings, settings_path, tour_seen
from mythos_tui.widgets.chart import LineChart
from tests.fakes.runs import FakeRun
from tests.fakes.screen_text import shows, text_of, until


@pytest.mark.action("app.open('configure')", "app.open('train')")
async def test_first_screen_says_what_to_do_when_there_is_nothing(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "Mythos", "1 Train", "4 Inspect", "No runs yet", "Press 2 to configure")
        await pilot.press("2")
        await shows(pilot, "Presets", "quickstart")
        await pilot.press("1")
        await shows(pilot, "No runs yet")


async def test_a_click_on_a_tab_opens_its_screen(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.click("TopBar", offset=(text_of(app).splitlines()[0].index("2 Configure") + 1, 0))
        await until(pilot, lambda: app.current_mode == "configure")


@pytest.mark.parametrize("size", [(59, 40), (120, 17), (10, 3)])
async def test_too_small_says_so_and_recovers(context: Context, size: tuple[int, int]):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.resize_terminal(*size)
        await until(pilot, lambda: isinstance(app.screen, TooSmallScreen))
        if size[0] > 40:
            await shows(pilot, f"{size[0]}x{size[1]}", "60x18")
        await pilot.resize_terminal(80, 24)
        await shows(pilot, "No runs yet")


async def test_too_small_also_while_a_dialog_is_open(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("question_mark")
        await shows(pilot, "esc closes")
        await pilot.resize_terminal(40, 10)
        await until(pilot, lambda: isinstance(app.screen, TooSmallScreen))
        await pilot.resize_terminal(80, 24)
        await shows(pilot, "esc closes")


@pytest.mark.action("app.help", "HelpScreen.dismiss")
async def test_help_lists_keys_of_focus_screen_and_application(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(120, 60)) as pilot:
        await shows(pilot, "● running")
        await pilot.press("question_mark")
        await shows(
            pilot, "Every run in the runs folder", "This screen", "Everywhere", "Save a checkpoint and end the run"
        )
        await pilot.press("escape")
        await until(pilot, lambda: "Everywhere" not in text_of(app))


@pytest.mark.action("app.command_palette")
async def test_palette_finds_actions_and_themes(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+p")
        await shows(pilot, "Configure  [2]")
        await pilot.press(*"mythos-light")
        await shows(pilot, "Theme: mythos-light")
        await pilot.press("enter")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "mythos-light")
    assert settings_path().read_text() == "theme: mythos-light\n"


async def test_a_palette_without_a_match_says_what_to_do(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+p", *"qqqq")
        await shows(pilot, "No action is called that", "Try a word of what it does")
        await pilot.press("enter", "enter")
        await shows(pilot, "esc closes")


@pytest.mark.action("app.save_picture")
async def test_picture_of_the_screen(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    app = MythosApp(context)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+s")
        await shows(pilot, "Saved")
    (picture,) = tmp_path.glob("*.svg")
    assert "Configure" in picture.read_text()


@pytest.mark.action("app.leave")
async def test_leaving_names_the_runs_that_go_on(context: Context, capsys: pytest.CaptureFixture[str]):
    live, ended = FakeRun(context.runs, "alive"), FakeRun(context.runs, "ended")
    live.status("running", 10)
    ended.status("finished", 10)
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "alive")
        await pilot.press("q")
        await pilot.pause()
    said = capsys.readouterr().err
    assert "alive" in said and "ended" not in said


async def test_what_arrives_while_leaving_is_dropped(context: Context):
    """A run's first numbers, or a preset, that came just after `q` mounted widgets into a closed screen: a traceback."""
    FakeRun(context.runs, "alive").status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "alive")
        await pilot.press("2")
        configure = app.screen
        assert isinstance(configure, ConfigureScreen)
        await pilot.press("1")
        train = app.screen
        assert isinstance(train, TrainScreen)
        await until(pilot, lambda: train.selected_name == "alive")
        snapshot, _ = RunReader(RunPaths(context.runs / "alive")).tick()
        assert snapshot is not None
        train._charts = None
        app.exit()
        await train._show_run(RunUpdated(snapshot))
        await configure._load(DEFAULTS)


async def test_ctrl_c_ends_nothing(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert app.is_running


def test_start_faults_are_one_paragraph_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "file"
    file.write_text("")
    for arguments in (["--runs", str(file)], ["--configs", str(tmp_path / "none")], []):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("mythos-tui: ") and said.count("\n") == 1 and "Traceback" not in said


def test_unknown_theme_names_those_there_are(capsys: pytest.CaptureFixture[str]):
    from mythos_tui.__main__ import theme_fault

    assert "mythos-contrast" in (theme_fault("nope") or "") and theme_fault("mythos-dark") is None


def test_importing_the_application_brings_no_torch_and_no_slow_parts():
    code = (
        "import sys, mythos_tui.app, mythos_tui.screens.train.screen; "
        "print([m for m in ('torch', 'pydantic', 'numpy', 'mythos.models') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_importing_every_screen_brings_no_torch():
    code = (
        "import sys, mythos_tui.screens.configure.screen, mythos_tui.screens.chat.screen, mythos_tui.screens.inspect.screen, "
        "mythos_tui.runs.reader, mythos_tui.screens.train.charts; "
        "print([m for m in sys.modules if m.split('.')[0] == 'torch' "
        "or (m.startswith('mythos.') and not m.startswith('mythos.contract'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


@pytest.mark.action("app.open('train')", "app.open('configure')", "app.open('chat')", "app.open('inspect')")
@pytest.mark.action("app.help", "app.leave")
async def test_alt_with_a_digit_opens_screens_from_inside_a_text_field(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40)) as pilot:
        await shows(pilot, "No runs yet")
        assert "alt+ 1 Train" not in text_of(app)
        await pilot.press("3")
        await shows(pilot, "alt+ 1 Train", "^q Quit", "f1 Help")
        await pilot.press("2", "alt+2")
        await until(pilot, lambda: app.current_mode == "configure")
        await shows(pilot, "Presets")
        await until(pilot, lambda: "alt+ 1 Train" not in text_of(app))
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "inspect")
        await pilot.press("alt+1")
        await until(pilot, lambda: app.current_mode == "train")
        await pilot.press("alt+4")
        await until(pilot, lambda: app.current_mode == "inspect")
        await pilot.press("alt+3")
        await until(pilot, lambda: app.current_mode == "chat")
        assert app.screen.query_one("#prompt", TextArea).text == "2"
        await pilot.press("f1")
        await shows(pilot, "What has the focus", "This screen")
        await pilot.press("escape", "ctrl+q")
        await until(pilot, lambda: not app.is_running)


async def test_a_jump_from_a_dialog_closes_it_and_what_comes_next_finds_its_screen(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10, last_checkpoint="step-00000005")
    run.checkpoint(5)
    app = MythosApp(context)
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await shows(pilot, "● running")
        for there, back in (("alt+3", "alt+1"), ("alt+2", "alt+1")):
            await pilot.press(there, "f1")
            await shows(pilot, "esc closes")
            await pilot.press(back)
            await shows(pilot, "● running")
        await pilot.press("f1", "alt+2", "f1")
        await shows(pilot, "esc closes")
        app.show_run("one")
        await until(pilot, lambda: type(app.screen) is TrainScreen)
        await pilot.press("c")
        await until(pilot, lambda: app.current_mode == "chat")
        assert type(app.screen) is ChatScreen


async def test_whoever_is_sent_to_a_screen_finds_it_below_its_dialog(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 10)
    app = MythosApp(context)
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await shows(pilot, "● running")
        app.push_screen(ErrorDialog("It failed", "for some reason"))
        app.show_run("one")
        await pilot.pause()
        await shows(pilot, "It failed")
        app.open_chat(run.checkpoint(5))
        await until(pilot, lambda: app.current_mode == "chat")
        app.push_screen(ErrorDialog("That failed too", "for some reason"))
        app.open_chat(run.checkpoint(6))
        await pilot.pause()
        await shows(pilot, "That failed too")


async def test_the_palette_stays_on_no_screen_that_is_left(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+p", *"pre", "alt+2")
        await until(pilot, lambda: type(app.screen) is ConfigureScreen)
        for _ in range(2):
            await pilot.press("ctrl+p")
            await until(pilot, lambda: CommandPalette.is_open(app))
            app.show_run("one")
            await until(pilot, lambda: type(app.screen) is TrainScreen)
            await pilot.press("2")
            await until(pilot, lambda: type(app.screen) is ConfigureScreen)


async def test_a_dialog_with_text_in_it_is_not_left_by_a_jump(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("L")
        await shows(pilot, "Start a run from")
        await pilot.press("tab", *"train.steps=5", "alt+2")
        await shows(pilot, "Close this dialog first")
        assert app.current_mode == "train" and "train.steps=5" in text_of(app)
        await pilot.press("escape", "alt+2")
        await until(pilot, lambda: type(app.screen) is ConfigureScreen)


async def test_too_small_goes_along_to_another_screen(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.resize_terminal(50, 12)
        await until(pilot, lambda: isinstance(app.screen, TooSmallScreen))
        await pilot.press("alt+2")
        await until(pilot, lambda: app.current_mode == "configure" and isinstance(app.screen, TooSmallScreen))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: type(app.screen) is ConfigureScreen)
        await pilot.press("alt+1")
        await until(pilot, lambda: type(app.screen) is TrainScreen)


@pytest.mark.action("app.change_theme")
async def test_colours_are_chosen_from_a_list_and_remembered(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("ctrl+t")
        await pilot.press(*"mythos-con")
        await shows(pilot, "mythos-contrast")
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.theme == "mythos-contrast")
    assert load_settings().settings.theme == "mythos-contrast"


@pytest.mark.action("ConfirmScreen.answer(True)", "ConfirmScreen.answer(False)")
@pytest.mark.action("TextDialog.copy", "TextDialog.dismiss")
async def test_dialogs_are_answered_read_and_copied_by_keys(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        answers: list[bool | None] = []
        for key in ("y", "n", "escape"):
            app.push_screen(ConfirmScreen("Sure?", "All of it is lost."), answers.append)
            await shows(pilot, "Sure?", "All of it is lost.")
            await pilot.press(key)
            await until(pilot, lambda: "Sure?" not in text_of(app))
        assert answers == [True, False, False]
        app.push_screen(ErrorDialog("It failed", "first line\nsecond [b]line[/b]\x1b[2J"))
        await shows(pilot, "It failed", "second [b]line[/b]␛[2J")
        await pilot.press("c")
        await shows(pilot, "Copied, if")
        assert app.clipboard == "first line\nsecond [b]line[/b]␛[2J"
        await pilot.press("escape")
        await until(pilot, lambda: "It failed" not in text_of(app))


@pytest.mark.action("app.messages")
async def test_messages_are_never_markup_and_can_be_read_again_whole(context: Context):
    app = MythosApp(context)
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await shows(pilot, "No runs yet")
        app.screen.notify("[red]not[/red]\x1b[2J markup", title="[b]Title", timeout=1)
        await shows(pilot, "[red]not[/red]␛[2J markup")
        await until(pilot, lambda: "[red]" not in text_of(app))
        await pilot.press("f8")
        await shows(pilot, "Messages", "[b]Title", "[red]not[/red]␛[2J markup", "c copy")


@pytest.mark.action("app.tour")
async def test_the_tour_follows_what_is_done_takes_no_key_and_can_be_had_again(context: Context):
    app = MythosApp(context, tour=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "Tour 1 of 5", "Press 2 to configure", "f9 ends it")
        await pilot.press("2")
        await shows(pilot, "Tour 2 of 5", "Press ^l to launch")
        await pilot.press("3")
        await shows(pilot, "Tour 4 of 5", "alt+4")
        await pilot.press("alt+1")
        await shows(pilot, "Tour 4 of 5")
        await pilot.press("f9")
        await until(pilot, lambda: "Tour" not in text_of(app))
        assert tour_seen()
        await pilot.press("2", "f9")
        await shows(pilot, "Tour 1 of 5", "No runs yet")


def test_the_tour_names_keys_that_there_are():
    app = MythosApp()
    for _, sentence in STEPS:
        for action in re.findall(r"\[!?(.+?)\]", sentence):
            assert app.key_of(action)


async def test_the_palette_reaches_other_widgets_and_other_screens(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 20)
    run.metrics(10, 20)
    app = MythosApp(context)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, "Loss", "Ponder")
        await pilot.press("ctrl+p", *"log y")
        await shows(pilot, "Log y  [y]")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.focused, LineChart) and " log y" in text_of(app))
        await pilot.press("ctrl+p", *"preset list")
        await shows(pilot, "Configure: Preset list  [[]")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: app.current_mode == "configure" and app.screen.has_class("-no-presets"))
        await pilot.press("ctrl+p", *"in: err")
        await shows(pilot, "Train: Error  [e]")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: app.current_mode == "train")
        await shows(pilot, "Error is not possible here now")
        await pilot.press("2")
        await shows(pilot, "Presets")
        await pilot.press("ctrl+p", *"turn ar")
        await shows(pilot, "Train: Turn around  [O]")
        await pilot.press("enter", "enter")
        await shows(pilot, "newest, reversed")


async def test_whatever_can_have_the_focus_has_help_of_its_own(context: Context):
    run = FakeRun(context.runs, "one")
    run.status("running", 20)
    run.metrics(10, 20)
    app = MythosApp(context)
    silent = []
    async with app.run_test(size=(160, 50)) as pilot:
        await shows(pilot, "Loss")
        for mode in app.MODES:
            await app.switch_mode(mode)
            await pilot.pause(0.3)
            for widget in app.screen.focus_chain:
                between = [one for one in widget.ancestors_with_self if one is not app.screen and one is not app]
                if not any(getattr(one, "help_text", "") for one in between):
                    silent.append(f"{mode}: {widget!r}")
    assert not silent, "\n".join(silent)
