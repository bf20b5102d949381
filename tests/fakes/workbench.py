"""Driving the workbench in tests: an application with the fake inference worker, and words for what a person does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, Static

from mythos.contract.checkpoints import new_checkpoint
from mythos_tui.app import MythosApp
from mythos_tui.screens.chat.prompt import PromptArea
from mythos_tui.screens.chat.screen import ChatScreen
from mythos_tui.screens.chat.transcript import Transcript
from mythos_tui.screens.inspect.screen import InspectScreen
from mythos_tui.screens.inspect.tables import Table
from mythos_tui.screens.inspect.views import TraceMap
from mythos_tui.settings import Context
from mythos_tui.workers.inference import InferenceClient

FAKE = Path(__file__).with_name("inference_worker.py")


def make_checkpoint(folder: Path, name: str, family: str = "recurrent", step: int = 1000) -> Path:
    quality = {"metrics": {"bits_per_byte": 1.973}, "saved": time.time() - 7200}
    facts = {"step": step, "tokens": 10**6, "family": family, "parameters": 3_300_000, **quality}
    with new_checkpoint(folder / name, facts) as directory:
        for file in ("model.safetensors", "config.yaml", "tokenizer.json"):
            (directory / file).write_bytes(b"x" * 1000)
    return folder / name


def make_app(folder: Path, *checkpoints: str) -> MythosApp:
    """An application over the named checkpoints, with the fake worker."""
    for name in checkpoints:
        make_checkpoint(folder / "checkpoints", name, "dense" if "dense" in name else "recurrent")
    app = MythosApp(Context(runs=folder / "runs", configs=folder, checkpoints=folder / "checkpoints"))
    app.inference = InferenceClient([sys.executable, "-u", str(FAKE)])  # type: ignore[attr-defined]
    return app


async def until(pilot: Pilot[Any], test: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "did not happen in time"
        await pilot.pause(0.02)


async def open_chat(pilot: Pilot[Any]) -> ChatScreen:
    await pilot.press("3")
    await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and pilot.app.screen.is_mounted)
    screen = pilot.app.screen
    assert isinstance(screen, ChatScreen)
    await until(pilot, lambda: screen.ready is not None or notice(screen))
    return screen


async def send(pilot: Pilot[Any], text: str) -> None:
    """Put a text into the field, as if it were pasted, and send it."""
    area = pilot.app.screen.query_one(PromptArea)
    area.focus()
    area.insert(text)
    await pilot.press("enter")


async def finished(pilot: Pilot[Any], screen: ChatScreen) -> None:
    await until(pilot, lambda: not screen.request and screen.query_one(Transcript).exchanges)
    await pilot.pause()


def shown(screen: Any, selector: str) -> str:
    return str(screen.query_one(selector, Static).render())


def notice(screen: Any) -> str:
    return shown(screen, "#notice") if screen.query_one("#notice").display else ""


def screen_text(app: MythosApp) -> str:
    return "\n".join("".join(segment.text for segment in line) for line in app.screen._compositor.render_strips())


async def open_brief(pilot: Any) -> ChatScreen:
    """Chat, with answers of a few tokens."""
    screen = await open_chat(pilot)
    screen.query_one("#max_tokens", Input).value = "20"
    return screen


def rows_listed(pilot: Any) -> int:
    """Rows of the list of checkpoints; 0 while it is not open."""
    tables = pilot.app.screen.query("#picker-table")
    return tables.first().row_count if tables else 0


async def open_inspect(pilot: Pilot[Any]) -> InspectScreen:
    await pilot.press("4")
    await until(pilot, lambda: isinstance(pilot.app.screen, InspectScreen) and pilot.app.screen.is_mounted)
    screen = pilot.app.screen
    assert isinstance(screen, InspectScreen)
    await until(pilot, lambda: screen.ready is not None or notice(screen))
    return screen


async def look(pilot: Pilot[Any], screen: InspectScreen, text: str) -> None:
    area = screen.query_one(PromptArea)
    area.text = text
    area.focus()
    await pilot.press("enter")
    await until(pilot, lambda: screen.trace is not None and not screen.request)
    await pilot.pause()


def table(screen: InspectScreen, view: str) -> Table:
    return screen.query_one(f"#{view}", TraceMap).table
