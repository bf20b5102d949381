"""Pictures of the real application, taken on the tour of a new user: configure, launch, watch, chat, look inside, compare.

    python screenshots/take.py [--seconds N]

Everything is done by keys in a temporary folder: the run on the pictures is launched from the workbench, trained by the
ordinary worker for N seconds, and chatted with and looked into from its own checkpoint. For Compare two siblings of it are
trained for a third of that time each, before.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from mythos.contract.liveness import is_locked
from mythos.contract.load import load_config
from mythos.contract.rundir import RunPaths, send_command
from mythos.contract.watch import list_runs, summarize
from mythos.train.launch import start
from mythos_tui.app import MythosApp
from mythos_tui.settings import Context

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SIZE = (120, 36)
PROMPT = "def read_header(self, line):"
SIBLINGS = {"lower-lr": ["train.muon_lr=0.002", "train.lr=0.0003"], "four-depths": ["objective.supervised_depths=4"]}


async def until(pilot: Pilot[Any], condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for something to be on the screen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"The screen never showed what the picture is for:\n{shown(pilot)}")
        await pilot.pause(0.2)


async def shows(pilot: Pilot[Any], *words: str, seconds: float = 120) -> None:
    await until(pilot, lambda: all(word in shown(pilot) for word in words), seconds)


def shown(pilot: Pilot[Any]) -> str:
    """The screen as text."""
    return "\n".join("".join(one.text for one in strip) for strip in pilot.app.screen._compositor.render_strips())


async def tour(runs: Path, seconds: float) -> None:
    """Every press of a new user, with a picture where there is something to see."""
    app = MythosApp(Context(runs, ROOT / "configs", ROOT / "checkpoints"), "mythos-dark")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await shows(pilot, "2.02M", "tokens/s")
        await picture(pilot, "configure")
        await pilot.press("ctrl+l")
        await shows(pilot, "● running  quickstart", "bits/byte", seconds=240)
        await pilot.pause(seconds)
        await picture(pilot, "train")
        await pilot.press("w")
        await shows(pilot, "saved step-")
        await pilot.press("c")
        await shows(pilot, "2.02M parameters", "exit")
        await pilot.press(*PROMPT, "enter")
        await shows(pilot, "200 tokens")
        await pilot.press("escape", *["left"] * 4)
        await shows(pilot, "read out after each loop")
        await picture(pilot, "chat")
        await pilot.press("escape", "i")
        await shows(pilot, "column: loop")
        for name, key in (("inspect-halting", "h"), ("inspect-lens", "l"), ("inspect-attention", "a")):
            await pilot.press("escape", key)
            await pilot.pause(1)
            await picture(pilot, name)
        await pilot.press("1")
        await shows(pilot, "running")
        await pilot.press("home", "space", "space", "space", "5")
        await shows(pilot, "four-depths", "loss final")
        await pilot.press("enter", "tab", "end")  # the settings that differ stand last in the table
        await shows(pilot, "supervised_depths")
        await picture(pilot, "compare")


async def picture(pilot: Pilot[Any], name: str) -> None:
    """Save the screen once toasts are gone."""
    pilot.app.clear_notifications()
    await pilot.pause(0.5)
    path = HERE / f"{name}.svg"
    path.write_text(self_contained(pilot.app.export_screenshot()), encoding="utf-8")
    print(path)


def self_contained(svg: str) -> str:
    """A picture that fetches no font from anywhere: the viewer's own monospaced one does."""
    return re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL)


def sibling(runs: Path, name: str, changes: list[str], seconds: float) -> None:
    """A run of the quickstart with something changed, stopped after a while."""
    paths = start(load_config(ROOT / "configs/quickstart.yaml", changes), runs, name, ["screenshots/take.py"])
    while (run := summarize(paths)) and (run.state != "running" or not run.step):
        time.sleep(0.5)
    time.sleep(seconds)
    end(paths, "stop")


def end(paths: RunPaths, command: str) -> None:
    send_command(paths, command)
    while is_locked(paths):
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="how long the run on the pictures trains first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        # Nobody's own settings in the pictures, and all colours, whatever the terminal that this is started from.
        os.environ.update(XDG_CONFIG_HOME=temporary, XDG_STATE_HOME=temporary, TERM="xterm-256color")
        os.environ.update(COLORTERM="truecolor", LANG="C.UTF-8")
        os.environ.pop("NO_COLOR", None)
        os.chdir(temporary)
        runs = Path("runs")
        try:
            for name, changes in SIBLINGS.items():
                sibling(runs, name, changes, options.seconds / 3)
            asyncio.run(tour(runs, options.seconds))
        finally:
            for run in list_runs(runs):
                if run.is_live:
                    end(RunPaths(run.root), "kill")


if __name__ == "__main__":
    main()
