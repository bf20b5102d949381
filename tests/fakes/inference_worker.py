"""A stand-in for the inference worker: the same protocol over stdio, deterministic, no model, no dependency.

Words in the checkpoint's name and in the text choose what goes wrong: `damaged`, `dense`, `crash-on-load` in a name;
SLOW, DIE, ESCAPE, FAIL, BIG in a text.
"""

from __future__ import annotations

import json
import math
import os
import queue
import re
import sys
import threading
import time
from typing import Any

MAX_LOOPS, LOOPS = 8, 4
WORDS = ("def", " add", "(", "a", ",", " b", "):", "\n", "    return", " a", " +", " b", "\n")
commands: queue.Queue[dict[str, Any] | None] = queue.Queue()
cancelled: set[str] = set()
model: dict[str, Any] = {}


def say(kind: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"kind": kind, **fields}) + "\n")
    sys.stdout.flush()


def listen() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if command["kind"] == "cancel":
            cancelled.add(command["target"])
        else:
            commands.put(command)
    commands.put(None)


def die(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os._exit(3)


def load(id: str, path: str) -> None:
    name = os.path.basename(path)
    if "damaged" in name:
        say("error", id=id, message=f"{path}/model.safetensors is damaged.", hint="Name another checkpoint.")
        return
    if "crash-on-load" in name:
        die("MemoryError: cannot allocate 3.1 TB")
    dense = "dense" in name
    model.update(dense=dense, max=1 if dense else MAX_LOOPS)
    exits = ["fixed"] if dense else ["fixed", "act", "confidence:0.8", "kl", "state_delta"]
    facts = {"family": "dense" if dense else "recurrent", "parameters": 1_234_567, "step": 1000, "context": 256}
    depth = {
        "loops": 1 if dense else LOOPS,
        "max_loops": model["max"],
        "exit": "fixed" if dense else "act",
        "exits": exits,
    }
    greedy = "greedy" in name
    own = {"temperature": 0.0 if greedy else 0.8, "top_k": 0, "top_p": 0.95, "max_tokens": 3 if greedy else 200}
    own |= {"example": "1+1=\x1b[31m"} if greedy else {}
    say("ready", id=id, path=path, seconds=0.01, **facts, **depth, **own)


def split(text: str) -> list[str]:
    return re.findall(r"\s?[^\s]+|\s", text)


def generate(id: str, prompt: str, max_tokens: int, loops: int, head: str, history: list[str], **_: Any) -> None:
    limit = min(model["max"], loops or LOOPS)
    left_out = max(0, len(history) - 2)
    before = ["", *split("".join([head, *history[left_out:]]))]
    texts, took = split(prompt), [1 + i % limit for i in range(len(split(prompt)))]
    say("prompt", id=id, texts=before + texts, loops=[1] * len(before) + took, left_out=left_out)
    if "FAIL" in prompt:
        say("error", id=id, message="The prompt is longer than the context of 256 tokens.", hint="Shorten it.")
        return
    reason, done = "length", 0
    for i in range(max_tokens):
        if id in cancelled:
            reason = "cancelled"
            break
        if "DIE" in prompt and i == 2:
            die("RuntimeError: the fake was told to die\nfatal: ␛ \x1b[31mred\x1b[0m [bold]markup[/bold]")
        text = "\x1b[31mred\x07[bold]x" if "ESCAPE" in prompt and i == 1 else WORDS[i % len(WORDS)]
        say("token", id=id, token=i, text=text, loops=1 + i % limit, probability=1 / (1 + i % 5), entropy=0.5 * (i % 5))
        done += 1
        time.sleep(0.02 if "SLOW" in prompt else 0)
    say("done", id=id, reason=reason, tokens=done, seconds=0.5, mean_loops=(1 + limit) / 2, tokens_per_s=done / 0.5)


def trace(id: str, text: str, loops: int, then: list[int], **_: Any) -> None:
    if "FAIL" in text:
        say("error", id=id, message="The text is longer than the context of 256 tokens.", hint="Shorten it.")
        return
    if "DIE" in text:
        die("RuntimeError: the fake was told to die")
    tokens = [*split(text.replace("ESCAPE", "\x1b[31m\x07")), *(WORDS[i % len(WORDS)] for i in then)]
    limit = min(model["max"], loops or LOOPS)
    heads = 2000 if "BIG" in text else 4
    took = [1 + t % limit for t in range(len(tokens))]
    signal = [[round((k + 1) / n, 4) if k < n else None for k in range(limit)] for n in took]
    rows = ["layer 1"] if model["dense"] else ["prelude 1", *(f"loop {k + 1}" for k in range(limit)), "coda 1"]
    middle = range(1, 1 + limit) if not model["dense"] else range(0)
    entropy = [
        [
            [None if r in middle and r > took[t] else (t * 0.25) % 1 + 0.1 * h % 1 for h in range(heads)]
            for t in range(len(tokens))
        ]
        for r in range(len(rows))
    ]
    loss = [round(0.5 * t, 3) if t else None for t in range(len(tokens))]
    exit = {
        "max_loops": limit,
        "exit": "act",
        "signal_name": "" if model["dense"] else "cumulative halting probability",
    }
    fields = {"exit_signal": signal, "attention_rows": rows, "attention_entropy": entropy, "token_loss": loss}
    fields["attention_max"] = [math.log(t + 1) for t in range(len(tokens))]
    states = states_of(tokens, [2] * len(tokens) if model["dense"] else took, 2 if model["dense"] else max(took))
    ids = {"ids": [100 + t for t in range(len(tokens))], "stopped": [True] * len(tokens)}
    say(
        "trace_result",
        id=id,
        tokens=tokens,
        loops=took,
        seconds=0.1,
        **ids,
        **exit,
        **fields,
        **routing(took, limit),
        **states,
    )


def routing(took: list[int], limit: int) -> dict[str, Any]:
    """Two of six experts for every token and loop."""
    if model["dense"]:
        return {"experts": 0, "routes": [[[]] for _ in took], "gates": [[[]] for _ in took]}
    routes = [[[(t + k) % 6, (t + k + 1) % 6] if k < n else [-1, -1] for k in range(limit)] for t, n in enumerate(took)]
    gates = [[[0.75, 0.25] if k < n else [None, None] for k in range(limit)] for n in took]
    return {"experts": 6, "routes": routes, "gates": gates}


def states_of(tokens: list[str], ran: list[int], n: int) -> dict[str, Any]:
    """States and a lens of three candidates, WORDS by number; the likeliest changes once, before the last step."""
    name = "layer" if model["dense"] else "loop"

    def table(value: Any, none: Any = None) -> list[list[Any]]:
        return [[value(t, k) if k < ran[t] else none for k in range(n)] for t in range(len(tokens))]

    def known(value: Any, none: Any) -> list[list[Any]]:
        return [*table(value, none)[:-1], [none] * n]

    lens = {
        "ids": table(lambda t, k: [(t + (k + 1 == ran[t]) + c) % len(WORDS) for c in range(3)], [-1] * 3),
        "p": table(lambda t, k: [0.5 + 0.05 * k, 0.2, 0.1], [None] * 3),
        "entropy": table(lambda t, k: 2.0 - 0.25 * k),
        "kl": table(lambda t, k: round(0.3 * (ran[t] - 1 - k), 3)),
        "next_p": known(lambda t, k: 0.1 * (k + 1), None),
        "next_rank": known(lambda t, k: 5 - k, -1),
        "settled": list(ran),
        "texts": dict(enumerate(WORDS)),
    }
    return {
        "steps": [f"{name} {k + 1}" for k in range(n)],
        "state_norm": table(lambda t, k: 1.0 + 0.5 * k),
        "step_size": table(lambda t, k: round(0.8 / (k + 1), 4)),
        "lens": lens,
    }


def attention(id: str, text: str, taken: list[int], row: int, head: int, **_: Any) -> None:
    """Every position attends evenly to what it sees."""
    looped = not model["dense"] and 1 <= row <= max(taken)
    weights = [None if looped and n < row else [1 / (t + 1)] * (t + 1) for t, n in enumerate(taken)]
    say("attention_result", id=id, row=f"row {row}", head=head, weights=weights, seconds=0.1)


def sweep(id: str, text: str, loops: int, **_: Any) -> None:
    count = len(split(text))
    losses = [[None, *(3.0 / n + 0.1 * t for t in range(1, count))] for n in range(1, (loops or model["max"]) + 1)]
    say("sweep_result", id=id, losses=losses, seconds=0.1)


def main() -> None:
    threading.Thread(target=listen, daemon=True).start()
    print("fake worker: starting", file=sys.stderr, flush=True)
    say("hello", version=3)
    while (command := commands.get()) is not None and command["kind"] != "quit":
        kind = command.pop("kind")
        {"load": load, "generate": generate, "trace": trace, "attention": attention, "sweep": sweep}[kind](**command)


if __name__ == "__main__":
    main()
