"""The person's own text editor, on a file of its own; the workbench stands still meanwhile."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

USUAL = ("nano", "vi")


class NoEditor(Exception):
    """Nothing that $VISUAL or $EDITOR names can be started."""


def editor_command() -> list[str]:
    """$VISUAL, $EDITOR, or what is usually there. Raises NoEditor."""
    named = next((value for name in ("VISUAL", "EDITOR") if (value := os.environ.get(name, "").strip())), "")
    try:
        command = shlex.split(named)
    except ValueError:
        command = [named]
    choices = [command] if command else [[name] for name in USUAL]
    found = next((choice for choice in choices if shutil.which(choice[0])), None)
    if found is None:
        missing = named or " or ".join(USUAL)
        raise NoEditor(f"There is no editor {missing} here. Set EDITOR to one that is, such as EDITOR=nano.")
    return found


def edit_text(text: str, name: str) -> str | None:
    """Have a text edited in the terminal; returns what was left in the file, None where nothing was changed.

    Raises NoEditor, also where the editor ends with an error, which is how editors say that nothing shall be taken.
    """
    command = editor_command()
    with tempfile.TemporaryDirectory(prefix="mythos-") as folder:
        file = Path(folder) / name
        file.write_text(text, encoding="utf-8")
        code = subprocess.run([*command, str(file)], check=False).returncode
        if code:
            raise NoEditor(f"{command[0]} ended with exit code {code}; nothing was taken over. F5 tries again.")
        edited = file.read_text(encoding="utf-8", errors="replace")
    return edited if edited != text else None
