"""Every screen at three sizes and in two themes, compared with its record below recorded/looks. `make snapshots` records.

What is on them is real: two small runs that `python tests/record_runs.py` trained, and answers of the real worker about the
shipped checkpoint. Time, blinking and paths stand still.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from mythos_tui.app import MythosApp
from mythos_tui.runs.machine import Gauge, Machine
from mythos_tui.screens.configure import screen as configure
from mythos_tui.settings import Context
from mythos_tui.workers.inference import InferenceClient
from tests.fakes.looks import differences, text_and_styles, written
from tests.fakes.screen_text import shows, text_of, until

ROOT = Path(__file__).parents[2]
RECORDED = Path(__file__).parent / "recorded"
WORKER = Path(__file__).parents[1] / "fakes" / "recorded_worker.py"
SIZES = ((120, 36), (80, 24), (200, 60))
THEMES = ("mythos-dark", "mythos-light")


async def train(pilot: Pilot[Any]) -> None:
    await shows(pilot, "steady", "eager", "✓ finished", "Loss", "Ponder")


async def help_of_train(pilot: Pilot[Any]) -> None:
    await pilot.press("question_mark")
    await shows(pilot, "This screen", "esc closes")


async def palette(pilot: Pilot[Any]) -> None:
    await pilot.press("escape", "ctrl+p")
    await shows(pilot, "Search")


async def messages(pilot: Pilot[Any]) -> None:
    await pilot.press("escape", "f8")
    await shows(pilot, "Messages", "c copy")


async def compare(pilot: Pilot[Any]) -> None:
    await pilot.press("escape", "space", "space", "5")
    await shows(pilot, "2 compared", "160 of 160", "240 of 240", "loss final", "bits/byte best", "train.steps")


async def configured(pilot: Pilot[Any]) -> None:
    await pilot.press("2")
    await shows(pilot, "quickstart", "2.02M", "tokens/s")


async def chat(pilot: Pilot[Any]) -> None:
    await pilot.press("3")
    await shows(pilot, "2.03M parameters", "· exit", limit_s=60)
    pilot.app.screen.query_one("#max_tokens", Input).value = "40"
    pilot.app.screen.query_one("#seed", Input).value = "7"
    await pilot.press(*"def mean(values):", "enter")
    await shows(pilot, "40 tokens", "FLOPs", limit_s=60)


async def token_column(pilot: Pilot[Any]) -> None:
    await pilot.press("escape", "left", "left", "left")
    await shows(pilot, "chosen among", "read out after each")


async def inspect(pilot: Pilot[Any]) -> None:
    await pilot.press("escape", "4", "enter")
    await until(pilot, lambda: getattr(pilot.app.screen, "trace", None), 30)


WALK: dict[str, Callable[[Pilot[Any]], Awaitable[None]]] = {
    "train": train,
    "help": help_of_train,
    "palette": palette,
    "dialog": messages,
    "compare": compare,
    "configure": configured,
    "chat": chat,
    "chat-column": token_column,
    "inspect": inspect,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sizes", [SIZES[:1], pytest.param(SIZES[1:], marks=pytest.mark.slow)], ids=["120x36", "others"])
async def test_screens_look_as_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: bool, sizes: tuple[tuple[int, int], ...]
):
    stand_still(monkeypatch, tmp_path)
    shutil.copytree(RECORDED / "runs", "runs")
    context = Context(Path("runs"), ROOT / "configs", ROOT / "checkpoints")
    app = MythosApp(context, THEMES[0])
    app.animation_level = "none"
    answers, recording = RECORDED / "answers.jsonl", list[str]()
    if update and SIZES[0] in sizes:  # asked once, then played back for the other sizes
        answers.unlink(missing_ok=True)
        recording = ["--record"]
    app.inference = InferenceClient([sys.executable, "-u", str(WORKER), str(answers), *recording])
    wrong = []
    async with app.run_test(size=SIZES[0]) as pilot:
        for name, go in WALK.items():
            await go(pilot)
            for size in sizes:
                path = RECORDED / "looks" / f"{name}-{size[0]}x{size[1]}.txt"
                found = await look(pilot, size)
                if update:
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(found, encoding="utf-8")
                elif (wanted := path.read_text(encoding="utf-8")) != found:
                    wrong.append(differences(wanted, found, path.relative_to(ROOT)))
    assert not wrong, "\n\n".join(wrong) + "\n\nIf that is meant: make snapshots"


def stand_still(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """One moment, one place, no blinking, no colours of the surroundings."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(configure, "fresh_name", lambda stem: f"{stem}-0101-120000-aa")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    busy = tuple(0.5 + 0.4 * math.sin(moment / 7) for moment in range(120))
    now = Machine((0.9, 0.35), busy, memory=3 << 30, memory_total=8 << 30, swap=0, disk_free=20 << 30)
    monkeypatch.setattr(Gauge, "read", lambda gauge, run=None: now)
    for name in ("NO_COLOR", "LC_ALL", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")


async def look(pilot: Pilot[Any], size: tuple[int, int]) -> str:
    """The screen at a size, in all themes, once it no longer changes."""
    await pilot.resize_terminal(*size)
    pilot.app.screen.refresh(layout=True)
    texts: list[str] = []
    styles = {}
    for theme in THEMES:
        pilot.app.theme = theme
        text, styles[theme] = await settled(pilot)
        texts = texts or text
        assert text == texts, f"other characters in {theme}"
    pilot.app.theme = THEMES[0]
    await pilot.resize_terminal(*SIZES[0])
    return written(texts, styles)


async def settled(pilot: Pilot[Any]) -> Any:
    for field in pilot.app.screen.query("Input, TextArea").results(Input | TextArea):
        field.cursor_blink = False
    seen: list[Any] = []
    for _ in range(100):
        await pilot.pause(0.15)
        seen = [*seen[-2:], text_and_styles(pilot.app)]
        if len(seen) == 3 and all(one == seen[0] for one in seen):
            return seen[0]
    raise AssertionError(f"never came to rest:\n{text_of(pilot.app)}")
