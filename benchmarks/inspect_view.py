"""From a text to the pictures of the Inspect screen: 64 tokens × 8 loops of the shipped checkpoint, step by step.

    python benchmarks/inspect_view.py [--repeat N] [--json]

`forward` is the model reading the text once, all tokens at 8 loops. What comes after it is the claim: the watched pass and the
lens over all loops, the line of the protocol written and read, and the screen drawn at 120 × 36. At most 300 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mythos.threads import share_cores

share_cores()

import torch  # noqa: E402

import mythos  # noqa: E402
from mythos.checkpoint import Checkpoint  # noqa: E402
from mythos.contract import protocol  # noqa: E402
from mythos.infer.text import encode_prompt  # noqa: E402
from mythos.inspect.wire import trace_event  # noqa: E402
from mythos.models.halting import RunAll  # noqa: E402
from mythos_tui.app import MythosApp  # noqa: E402
from mythos_tui.screens.inspect.exports import Source  # noqa: E402
from mythos_tui.screens.inspect.pictures import VIEWS  # noqa: E402
from mythos_tui.screens.inspect.screen import InspectScreen  # noqa: E402
from mythos_tui.settings import Context  # noqa: E402
from mythos_tui.workers.inference import InferenceClient  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TOKENS, LOOPS, LIMIT_S = 64, 8, 0.3
SILENT = [sys.executable, "-c", "import sys; sys.stdin.read()"]
"""A worker that never answers: the screen is handed its trace."""


def text_of(checkpoint: Checkpoint) -> str:
    """A text of exactly TOKENS tokens, the one that opens it included."""
    source = (ROOT / "mythos" / "checkpoint.py").read_text()
    sizes = {len(encode_prompt(checkpoint.tokenizer, source[:end])): end for end in range(1, 600)}
    return source[: sizes[TOKENS]]


def seconds(work: Callable[[], Any], repeat: int) -> float:
    """Median time of a call, after one that warms up."""
    work()
    found = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def computed(checkpoint: Checkpoint, text: str, repeat: int) -> tuple[dict[str, float], bytes]:
    """Times of everything up to the line, and the line."""
    ids = torch.tensor([encode_prompt(checkpoint.tokenizer, text)])

    def forward() -> None:
        with torch.inference_mode():
            checkpoint.model(ids, LOOPS, exit=RunAll())

    def trace() -> Any:
        return mythos.trace(checkpoint, text, loops=LOOPS, exit="fixed")

    found, reading = trace(), seconds(forward, repeat)
    line = protocol.encode(trace_event(found, "1", 0.0))
    times = {
        "forward": reading,
        "watched pass and lens": seconds(trace, repeat) - reading,
        "line written": seconds(lambda: protocol.encode(trace_event(found, "1", 0.0)), repeat),
        "line read": seconds(lambda: protocol.decode_event(line), repeat),
    }
    return times, line


async def drawn(line: bytes, text: str, repeat: int) -> dict[str, float]:
    """Median time from the event to the frame that shows it, for every view that needs the trace alone."""
    event, app = protocol.decode_event(line), MythosApp(Context(runs=Path("none"), checkpoints=ROOT / "checkpoints"))
    app.inference = InferenceClient(SILENT)
    times = {}
    async with app.run_test(size=(120, 36)) as pilot:
        app.switch_mode("inspect")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, InspectScreen)
        for view in (view for view in VIEWS if view not in ("pattern", "sweep")):
            taken = []
            for _ in range(repeat + 1):
                screen._asked, screen._view, done = Source(ROOT, text, LOOPS, "fixed"), view, asyncio.Event()
                began = time.perf_counter()
                screen.answer(event)
                screen.call_after_refresh(done.set)
                await done.wait()
                taken.append(time.perf_counter() - began)
                await pilot.pause()
            times[f"drawn: {view}"] = statistics.median(taken[1:])
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9, help="calls of which the median counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    checkpoint = mythos.load(ROOT / "checkpoints" / "quickstart")
    text = text_of(checkpoint)
    times, line = computed(checkpoint, text, options.repeat)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        pictures = asyncio.run(drawn(line, text, options.repeat))
    after = sum(times.values()) - times["forward"] + max(pictures.values())
    facts = {"tokens": TOKENS, "loops": LOOPS, "line_bytes": len(line), "after_forward_s": after, "limit_s": LIMIT_S}
    if options.json:
        print(json.dumps(facts | {"seconds": times | pictures}, indent=2))
        return
    for name, value in (times | pictures).items():
        print(f"{name:<24}{1000 * value:>8.1f} ms")
    verdict = "holds" if after <= LIMIT_S else "MISSED"
    print(f"after the forward pass, with the slowest view: {1000 * after:.0f} ms of {1000 * LIMIT_S:.0f} ({verdict}); "
          f"a line of {len(line) / 1000:.0f} kB")  # fmt: skip


if __name__ == "__main__":
    main()
