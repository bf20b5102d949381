"""A real program in a real pseudo-terminal: keys go in, the screen comes out as text (pyte emulates the terminal)."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from pathlib import Path
from types import TracebackType

import pyte

KEYS = {
    "enter": "\r",
    "tab": "\t",
    "esc": "\x1b",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
}
KEYS |= {"backspace": "\x7f", "home": "\x1b[H", "end": "\x1b[F", "shift+tab": "\x1b[Z"}


class Terminal:
    """Runs a command until it ends or the block is left."""

    def __init__(
        self, command: list[str], cwd: Path, columns: int = 120, rows: int = 36, env: dict[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.environ.update(
                {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "", "LINES": "", **(env or {})}
            )
            os.environ.pop("COLUMNS"), os.environ.pop("LINES")
            time.sleep(0.05)  # until the parent has set the size
            os.execv(command[0], command)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.code: int | None = None
        self.presses = 0

    def press(self, *keys: str) -> None:
        """Named keys, `^x` for control, or single characters."""
        self.presses += len(keys)
        for key in keys:
            text = KEYS.get(key) or (chr(ord(key[1].upper()) - 64) if len(key) == 2 and key[0] == "^" else key)
            os.write(self._fd, text.encode())
            self.pump(0.15)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())
        self.pump(0.3)

    def pump(self, seconds: float) -> None:
        """Let the program run and take what it draws."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                try:
                    self._stream.feed(os.read(self._fd, 1 << 16))
                except OSError:
                    return

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, *wanted: str | re.Pattern[str], seconds: float = 30) -> str:
        """Until every text or pattern is on the screen; fails with a picture of what was there instead."""
        end = time.monotonic() + seconds
        while missing := [
            one for one in wanted if not re.search(re.escape(one) if isinstance(one, str) else one, self.text)
        ]:
            assert time.monotonic() < end, f"never saw {missing} in\n{self.text}"
            self.pump(0.1)
        return self.text

    def wait_for_exit(self, seconds: float = 15) -> int:
        end = time.monotonic() + seconds
        while self.code is None:
            assert time.monotonic() < end, f"still running:\n{self.text}"
            self.pump(0.05)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        self.pump(0.1)
        return self.code

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)
