"""A program in a pseudo-terminal, seen from outside: when how many bytes came, and what answered a key."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

ESCAPES = re.compile(rb"\x1b\[[0-9;:?<>=$]*[a-zA-Z]|\x1b[PX^_\]].*?(?:\x1b\\|\x07)|\x1b[()=>].?", re.S)


class Terminal:
    """Runs a command in a terminal of this size; everything it writes is drained and counted."""

    def __init__(self, command: list[str], columns: int, rows: int) -> None:
        self.begun = time.monotonic()
        self.chunks: list[tuple[float, int]] = []
        self.recent = b""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            surroundings = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
            os.execvpe(command[0], command, surroundings)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)

    def drain(self, seconds: float) -> bytes:
        """What comes within so many seconds, at most one read; empty where nothing does."""
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return b""
        try:
            data = os.read(self._fd, 1 << 18)
        except OSError:
            return b""
        self.chunks.append((time.monotonic(), len(data)))
        self.recent = (self.recent + data)[-400_000:]
        return data

    def wait_for(self, *words: str, seconds: float = 60.0) -> float:
        """Seconds since the start when all these words had come."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            self.drain(0.5)
            text = ESCAPES.sub(b"", self.recent)
            if all(word.encode() in text for word in words):
                return time.monotonic() - self.begun
        shown = ESCAPES.sub(b"", self.recent).decode("utf-8", "replace")[-1500:]
        raise SystemExit(f"{words} did not come within {seconds:.0f} s; the terminal showed:\n{shown}")

    def pump(self, seconds: float) -> None:
        """Drain for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.drain(left)

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    def answer(self, key: str, sign: str, seconds: float = 3.0) -> float:
        """Seconds from a key to the write that holds `sign`."""
        self.pump(0.05)
        begun, seen = time.monotonic(), b""
        self.press(key)
        while time.monotonic() - begun < seconds:
            seen += self.drain(begun + seconds - time.monotonic())
            if sign.encode() in ESCAPES.sub(b"", seen):
                return self.chunks[-1][0] - begun
        return seconds

    def bytes_between(self, begun: float, ended: float) -> int:
        return sum(size for when, size in self.chunks if begun <= when <= ended)

    def ended(self) -> bool:
        """Whether the program is gone."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def run_to_end(self, seconds: float) -> None:
        """Drain until the program ends by itself."""
        give_up = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > give_up:
                self.close()
                raise SystemExit(f"The panels did not end within {seconds:.0f} s.")
            self.drain(0.2)
        os.close(self._fd)

    def close(self) -> None:
        """Quit by key, and make sure that nothing stays behind."""
        with contextlib.suppress(OSError):
            self.press("\x11")
        for _ in range(60):
            if self.ended():
                break
            self.drain(0.05)
        else:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._fd)
