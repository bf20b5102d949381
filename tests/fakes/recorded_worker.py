"""Plays back what the real inference worker once said, or with `--record` asks it and writes that down.

    python recorded_worker.py FILE [--record]

A line of the file is [command without id, [events without id]]. Pictures of the screens then have the shipped checkpoint's own
numbers, the same on every machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FINAL = {"ready", "done", "trace_result", "attention_result", "sweep_result", "error"}


def key(command: dict[str, Any]) -> str:
    """What a command asks, whoever asks and wherever the checkpoint lies."""
    asked = {name: value for name, value in command.items() if name != "id"}
    if "path" in asked:
        asked["path"] = Path(asked["path"]).name
    return json.dumps(asked, sort_keys=True)


def say(event: dict[str, Any], id: str) -> None:
    sys.stdout.write(json.dumps({**event, "id": id} if event["kind"] != "hello" else event) + "\n")
    sys.stdout.flush()


def record(file: Path) -> None:
    """Between the workbench and the real worker, one command after the other."""
    worker = subprocess.Popen(
        [sys.executable, "-u", "-m", "mythos.infer.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin and worker.stdout
    say(json.loads(worker.stdout.readline()), "")
    known = dict(json.loads(line) for line in file.read_text().splitlines()) if file.exists() else {}
    for line in sys.stdin:
        command = json.loads(line)
        worker.stdin.write(line)
        worker.stdin.flush()
        if command["kind"] not in ("load", "generate", "trace", "attention", "sweep"):
            continue
        events: list[dict[str, Any]] = []
        while not events or events[-1]["kind"] not in FINAL:
            event = json.loads(worker.stdout.readline())
            say(event, command["id"])
            events.append({name: value for name, value in event.items() if name not in ("id", "path")})
        known[key(command)] = events
        file.write_text("".join(json.dumps(pair) + "\n" for pair in known.items()), encoding="utf-8")
    worker.stdin.close()
    worker.wait()


def play(file: Path) -> None:
    known = dict(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    say(_hello(), "")
    for line in sys.stdin:
        command = json.loads(line)
        if command["kind"] == "quit":
            return
        if command["kind"] == "cancel":
            continue
        unknown = {"kind": "error", "message": f"Not recorded: {key(command)}", "hint": "Run `make snapshots`."}
        for event in known.get(key(command), [unknown]):
            say({**event, "path": command["path"]} if event["kind"] == "ready" else event, command["id"])


def _hello() -> dict[str, Any]:
    from mythos.contract.protocol import Hello

    hello: dict[str, Any] = json.loads(Hello().model_dump_json())
    return hello


if __name__ == "__main__":
    (record if "--record" in sys.argv else play)(Path(sys.argv[1]))
