"""What this machine can do: asked of its newest run, else measured once by the command line, as torch stays out of here."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from mythos.contract.machine import Machine, known_machine

PATIENCE_S = 120.0


async def find_machine(runs: Path, family: str) -> Machine | None:
    """The machine, or None where it cannot be measured."""
    return await asyncio.to_thread(known_machine, runs, family) or await measure()


async def measure() -> Machine | None:
    """Run `mythos machine --json`; a second or two of all cores."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mythos", "machine", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        return Machine(**json.loads(out))
    except (TimeoutError, ValueError, TypeError):
        return None
    finally:
        if process.returncode is None:
            process.kill()
