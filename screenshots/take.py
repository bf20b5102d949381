"""Pictures of the real application on a real run, as SVG beside this file.

    python screenshots/take.py [--runs DIR]

Without --runs, the quickstart is trained for a while in a temporary folder first, by the ordinary worker. Chat and
Inspect use the shipped checkpoint, so those pictures show what the first minute with the product looks like.
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

from textual.pilot import Pilot

from mythos.contract.liveness import is_locked
from mythos.contract.load import load_config
from mythos.contract.rundir import RunPaths, send_command
from mythos.contract.watch import summarize
from mythos.train.launch import start
from mythos_tui.app import MythosApp
from mythos_tui.settings import Context

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SIZE = (120, 36)


async def until(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to be on the screen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("The screen never showed what the picture is for.")
        await pilot.pause(0.2)


def shown(app: MythosApp) -> str:
    """The screen as text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def take(runs: Path) -> None:
    """Walk through the screens by keys and save each."""
    app = MythosApp(Context(runs=runs, configs=ROOT / "configs", checkpoints=ROOT / "checkpoints"), "mythos-dark")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Expert load" in shown(app) and "held out" in shown(app))
        await picture(pilot, "train")
        await pilot.press("2")
        await until(pilot, lambda: "Budget" in shown(app) and "2.02M" in shown(app))
        await picture(pilot, "configure")
        app.open_chat(ROOT / "checkpoints" / "quickstart")
        await until(pilot, lambda: "· exit" in shown(app))
        for key in "def read_header(self, line):":
            await pilot.press({" ": "space"}.get(key, key))
        await pilot.press("enter")
        await until(pilot, lambda: "% saved" in shown(app))
        await picture(pilot, "chat")
        app.open_inspect(ROOT / "checkpoints" / "quickstart")
        await until(pilot, lambda: "· exit" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "column: loop" in shown(app))
        await picture(pilot, "inspect-halting")
        await pilot.press("escape", "a")
        await until(pilot, lambda: "column: head" in shown(app))
        await picture(pilot, "inspect-attention")


async def picture(pilot: Pilot[None], name: str) -> None:
    """Save the screen once toasts are gone."""
    pilot.app.clear_notifications()
    await pilot.pause(0.5)
    path = HERE / f"{name}.svg"
    path.write_text(self_contained(pilot.app.export_screenshot()), encoding="utf-8")
    print(path)


def self_contained(svg: str) -> str:
    """A picture that fetches no font from anywhere: the viewer's own monospaced one does."""
    return re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL)


def train(runs: Path, seconds: float) -> RunPaths:
    """A real run of the quickstart that has gone on for a while, and still does."""
    overrides = ["train.steps=900", "train.eval_every=40", "train.eval_tokens=8192", "train.checkpoint_every=0"]
    paths = start(load_config(ROOT / "configs/quickstart.yaml", overrides), runs, "quickstart", ["screenshots/take.py"])
    end = time.monotonic() + seconds
    while (run := summarize(paths)) and run.is_live and time.monotonic() < end:
        time.sleep(1)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="folder with a run to show")
    parser.add_argument("--seconds", type=float, default=150, help="how long to train first, without --runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_STATE_HOME"] = temporary  # nobody's own settings in the pictures
        if options.runs:
            asyncio.run(take(options.runs))
            return
        paths = train(Path(temporary) / "runs", options.seconds)
        try:
            asyncio.run(take(paths.root.parent))
        finally:
            send_command(paths, "kill")
            while is_locked(paths):
                time.sleep(0.1)


if __name__ == "__main__":
    main()
