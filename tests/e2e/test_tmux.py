"""The workbench in a real terminal: sizes, colours, locales, detaching, and a log that would like to rule the screen."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.terminal import Terminal
from tests.e2e.tmux import INSTALLED, Tmux
from tests.fakes.runs import FakeRun

pytestmark = pytest.mark.skipif(not INSTALLED, reason="there is no tmux here; install it, say apt-get install tmux")
ROOT = Path(__file__).parents[2]
WORKBENCH = [sys.executable, "-m", "mythos_tui", "--configs", str(ROOT / "configs")]

HOSTILE = (
    "\x1b]0;TITLE TAKEN\x07title\n"
    "\x1b[2J\x1b[Hcleared \x1b[31mred\x1b[0m\n"
    "\x1b[?1049lleft the screen \x1bc reset\n"
    "\x9b31mC1 \x90q\x9c \u202eesrever \u200bzero\n"
    "[red]markup[/red] [link=file:///etc/passwd]click[/link] [@click=app.leave]leave[/]\n"
    "back\bspace \x07 bell \r carriage\n"
    "\x1b[6n\x1b[c\x1b[>q asks the terminal\n"
)


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """A live run with numbers and a hostile log."""
    made = FakeRun(tmp_path / "runs", "hostile")
    made.metrics(*range(10, 400, 10))
    made.status("running", 390, loss=3.25, message="[bold]not bold[/bold]\x1b[5m")
    made.log(HOSTILE)
    return made


def environ(**more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "COLORTERM": "", **more}


def test_sizes_detaching_and_a_hostile_log(tmp_path: Path, run: FakeRun):
    with Tmux(WORKBENCH, tmp_path, env=environ(LC_ALL="C.UTF-8")) as tmux:
        tmux.wait_for("● running", "hostile", "Loss")
        # The log is shown and never obeyed.
        text = tmux.wait_for("␛[2J␛[Hcleared ␛[31mred␛[0m", "[red]markup[/red]", "[@click=app.leave]leave[/]")
        for shown in (
            "[bold]not bold[/bold]␛[5m",
            "\\u202eesrever",
            "back␈space ␇ bell ␍ carriage",
            "␛[6n␛[c␛[>q asks",
        ):
            assert shown in text, f"{shown} is not in\n{text}"
        assert tmux.do("display-message", "-p", "#{pane_title} #{alternate_on}").split()[-1] == "1"
        assert "TAKEN" not in tmux.do("display-message", "-p", "#{pane_title}")
        assert any(one.startswith("48;5;") for one in ";".join(tmux.colours).replace(";48", " 48").split())
        # A storm of sizes, down to hardly anything, and back: whole again, nothing left over.
        before = tmux.wait_for("charts 1/")
        for columns, rows in ((80, 24), (200, 60), (24, 6), (61, 18), (300, 20), (1, 1), (24, 6)):
            tmux.resize(columns, rows)
            time.sleep(0.03)
        assert "needs at" in tmux.wait_for("24x6")
        assert max(len(line) for line in tmux.text.splitlines()) <= 24
        tmux.resize(120, 36)
        tmux.wait_for("● running", "Loss", "␛[2J␛[Hcleared", "charts 1/")
        assert tmux.text.splitlines()[0] == before.splitlines()[0]
        # Left and come back to, from two terminals of other sizes; the run had news meanwhile.
        attach = ["/usr/bin/env", "tmux", "-S", str(tmux.socket), "attach"]
        with Terminal(attach, tmp_path, 100, 30, {"TERM": "xterm-256color"}) as first:
            first.wait_for("hostile", "Loss")
            first.press("^b", "d")
            first.wait_for_exit()
        run.metrics(400, loss=3.125)
        run.status("running", 400, loss=3.125)
        with Terminal(attach, tmp_path, 90, 28, {"TERM": "xterm-256color"}) as second:
            second.wait_for("hostile", "3.125", "step 400")
            second.press("q")
            tmux.wait_for("Training goes on without the workbench: hostile")


def test_sixteen_colours_without_utf_8(tmp_path: Path, run: FakeRun):
    with Tmux(WORKBENCH, tmp_path, term="screen", env=environ(LC_ALL="C")) as tmux:
        text = tmux.wait_for("running", "hostile", "Loss", "[red]markup[/red]")
        assert text.isascii(), [char for char in text if not char.isascii()]
        numbers = [one for colour in tmux.colours for one in colour.replace(":", ";").split(";")]
        assert numbers and not {"38", "48"} & set(numbers), "more than sixteen colours"
        tmux.press("?")
        assert tmux.wait_for("Help", "Every run in the runs folder", "Save a checkpoint").isascii()


def test_sigterm_leaves_a_terminal_as_it_was(tmp_path: Path):
    """It stayed on the other screen, without a cursor, and told of every movement of the mouse."""
    shell = ["sh", "-c", '"$@"; echo ended with $?; sleep 60', "sh", *WORKBENCH]
    with Tmux(shell, tmp_path, env=environ(LC_ALL="C.UTF-8")) as tmux:
        tmux.wait_for("No runs yet")
        psutil.Process(int(tmux.do("display-message", "-p", "#{pane_pid}"))).children()[0].terminate()
        tmux.wait_for("ended with 143")
        facts = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}"
        assert tmux.do("display-message", "-p", facts).split() == ["0", "0", "1"]


BETWEEN = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, lambda *_: None)
child = subprocess.Popen(sys.argv[2:])
open(sys.argv[1], "w").write(str(child.pid))
child.wait()
"""
"""Leads the session, as make does in `tmux new-session 'make run'`, and does not hand on that the terminal was closed."""


def test_a_closed_terminal_ends_the_workbench_whoever_stands_between(tmp_path: Path):
    """It went on for ever, reading nothing from a terminal that was gone, at three quarters of a core."""
    with Tmux([sys.executable, "-c", BETWEEN, "pid", *WORKBENCH], tmp_path, env=environ(LC_ALL="C.UTF-8")) as tmux:
        tmux.wait_for("No runs yet")
        workbench = psutil.Process(int((tmp_path / "pid").read_text()))
    try:
        workbench.wait(20)
    finally:
        if workbench.is_running():
            workbench.kill()
