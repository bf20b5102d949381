"""What this machine can do: asked of its newest run, else measured once by the command line, as torch stays out of here."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mythos.contract.machine import Machine, known_machine

PATIENCE_S = 120.0


async def find_machine(runs: Path, family: str) -> Machine | None:
    """The machine, or None where it cannot be measured."""
    return await asyncio.to_thread(known_machine, runs, family) or await measure()


async def measure() -> Machine | None:
    """Run `mythos machine --json`; a second or two of all cores. The process ends with whoever waits for it."""
    command = [sys.executable, "-m", "mythos", "machine", "--json"]
    with (
        tempfile.TemporaryFile() as out,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            async with asyncio.timeout(PATIENCE_S):
                while process.poll() is None:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return None
        finally:
            process.kill()
        out.seek(0)
        try:
            return Machine(**json.loads(out.read()))
        except (ValueError, TypeError):
            return None
