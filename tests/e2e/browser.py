"""A page in headless Chromium, driven by the DevTools protocol: real key presses, what its socket receives, its picture."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import pyte

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=1280,800",
)
KEYS = {"enter": ("Enter", "\r", 13), "esc": ("Escape", "", 27), "tab": ("Tab", "", 9)}


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


class Browser:
    """Open an address; press keys; read the terminal that the page's socket drew, as its emulator would."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self.screen = pyte.Screen(200, 60)
        self._stream = pyte.ByteStream(self.screen)
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Browser:
        program = chromium()
        assert program
        self._process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            f"--user-data-dir={self._profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        port_file = self._profile / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and "\n" in port_file.read_text():
                break
            await asyncio.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as listed:
            (page,) = [one for one in await listed.json() if one["type"] == "page"]
        self._socket = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        await self.do("Network.enable")
        await self.do("Page.enable")
        await self.do("Emulation.setFocusEmulationEnabled", enabled=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        await self._session.close()
        self._process.kill()
        await self._process.wait()

    async def _read(self) -> None:
        async for message in self._socket:
            found = json.loads(message.data)
            if waiting := self._answers.pop(found.get("id", 0), None):
                waiting.set_result(found)
            elif found.get("method") == "Network.webSocketFrameReceived":
                frame = found["params"]["response"]
                if frame["opcode"] == 2:
                    self._stream.feed(base64.b64decode(frame["payloadData"]))

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its result."""
        self._number += 1
        self._answers[self._number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        found = await asyncio.wait_for(answer, 30)
        assert "error" not in found, found
        result: dict[str, Any] = found["result"]
        return result

    async def open(self, address: str) -> None:
        await self.do("Page.navigate", url=address)

    async def press(self, *keys: str) -> None:
        """Named keys, `^x` for control, or single characters."""
        for key in keys:
            if key in KEYS:
                name, text, code = KEYS[key]
                event = {"key": name, "code": name, "text": text, "windowsVirtualKeyCode": code}
            elif len(key) == 2 and key[0] == "^":
                code = ord(key[1].upper())
                event = {"key": key[1], "code": f"Key{key[1].upper()}", "windowsVirtualKeyCode": code, "modifiers": 2}
            else:
                event = {"key": key, "text": key}
            down = "keyDown" if event.get("text") else "rawKeyDown"
            await self.do("Input.dispatchKeyEvent", type=down, **event)
            await self.do("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in event.items() if k != "text"})
            await asyncio.sleep(0.1)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    async def wait_for(self, *wanted: str | re.Pattern[str], seconds: float = 30) -> str:
        """Until every text or pattern is on the screen."""
        for _ in range(int(seconds * 10)):
            missing = [
                one for one in wanted if not re.search(re.escape(one) if isinstance(one, str) else one, self.text)
            ]
            if not missing:
                return self.text
            await asyncio.sleep(0.1)
        raise AssertionError(f"never saw {missing} in\n{self.text}")

    async def picture(self, path: Path) -> bytes:
        """The page as PNG, also written to `path`."""
        shot = base64.b64decode((await self.do("Page.captureScreenshot"))["data"])
        path.write_bytes(shot)
        return shot
