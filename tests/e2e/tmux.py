"""A program in tmux, a real terminal that parses every byte and can be left, resized and come back to."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

INSTALLED = shutil.which("tmux") is not None


class Tmux:
    """A server of its own with one window. `term` is what the program believes to run in."""

    def __init__(
        self, command: list[str], cwd: Path, term: str = "tmux-256color", env: dict[str, str] | None = None
    ) -> None:
        self.socket = cwd / "tmux"
        self._env = env or {}
        settings = f"set -g default-terminal {term}\nset -g status off\nset -g default-size 120x36\nset -g remain-on-exit on\n"
        (cwd / "tmux.conf").write_text(settings)
        variables = [part for name, value in self._env.items() for part in ("-e", f"{name}={value}")]
        self.do(
            *("-f", str(cwd / "tmux.conf"), "new-session", "-d", "-x", "120", "-y", "36", "-c", str(cwd)),
            *variables,
            shlex.join(["/usr/bin/env", "-u", "COLUMNS", "-u", "LINES", *command]),
        )

    def do(self, *arguments: str) -> str:
        """One tmux command and what it says."""
        command = ["tmux", "-u", "-S", str(self.socket), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names."""
        self.do("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self.do("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def text(self) -> str:
        return self.do("capture-pane", "-p")

    @property
    def colours(self) -> set[str]:
        """Every colour sequence that is on the screen, as numbers between semicolons."""
        return set(re.findall(r"\x1b\[([\d;:]+)m", self.do("capture-pane", "-p", "-e")))

    def wait_for(self, *wanted: str, seconds: float = 30) -> str:
        """Until every text is on the screen."""
        end = time.monotonic() + seconds
        while missing := [one for one in wanted if one not in self.text]:
            assert time.monotonic() < end, f"never saw {missing} in\n{self.text}"
            time.sleep(0.1)
        return self.text

    def __enter__(self) -> Tmux:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], capture_output=True, check=False)
