"""Starts training workers through the command line; they live on their own from then on."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mythos.contract.rundir import NAME

PATIENCE_S = 60.0
NAME_RULE = "A name has letters, digits, '.', '_' and '-', begins with a letter or digit, and is not taken yet."


@dataclass(frozen=True)
class Launched:
    """How a launch went: the run's name, and what the command line said against it ("" when it went well)."""

    run: str
    error: str = ""


def name_fault(name: str) -> str:
    """What is wrong with a name for a run, or ""; whether it is taken, the command line tells."""
    return "" if NAME.fullmatch(name) else NAME_RULE


async def launch(config_text: str, name: str, runs: Path) -> Launched:
    """Start a new run from a resolved configuration. Returns when its run directory is there, or with the error."""
    handle, path = tempfile.mkstemp(prefix="mythos-", suffix=".yaml")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(config_text)
        return await _start("train", [path, "--runs", str(runs), "--run", name], name)
    finally:
        os.unlink(path)


async def resume(name: str, runs: Path, overrides: Sequence[str] = ()) -> Launched:
    """Go on with a run from its latest checkpoint, under `key=value` overrides."""
    return await _start("train", ["--resume", name, "--runs", str(runs), *_settings(overrides)], name)


async def fork(parent: str, step: int, name: str, runs: Path, overrides: Sequence[str] = ()) -> Launched:
    """Start a new run from the parent's checkpoint at `step`, under `key=value` overrides."""
    chosen = ["--at", str(step), "--run", name, "--runs", str(runs)]
    return await _start("fork", [parent, *chosen, *_settings(overrides)], name)


def _settings(overrides: Sequence[str]) -> list[str]:
    return [argument for override in overrides for argument in ("--set", override)]


async def _start(what: str, arguments: Sequence[str], name: str) -> Launched:
    """Run `mythos WHAT … --detach`. Its output goes to files: a detached child must never hold a pipe of ours."""
    command = [sys.executable, "-m", "mythos", what, *arguments, "--detach"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            code = await asyncio.wait_for(process.wait(), PATIENCE_S)
        except TimeoutError:
            process.kill()
            said = f"mythos {what} gave no answer within {PATIENCE_S:.0f} s."
            return Launched(name, f"{said} Look at the run's output.log, then try again.")
        out.seek(0)
        err.seek(0)
        said = out.read().decode("utf-8", "replace").strip()
        complaint = err.read().decode("utf-8", "replace").strip()
    if code == 0:
        return Launched(said.splitlines()[-1].strip() if said else name)
    return Launched(name, complaint or said or f"mythos {what} ended with exit code {code} and said nothing.")
