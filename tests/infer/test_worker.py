"""The real inference worker, as a process: answers, cancels, survives every fault, and ends when it should."""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mythos.contract import protocol
from tests.fakes.checkpoints import write_checkpoint

WAIT = 60.0
PROMPT = "def add(a, b):\n"


class Client:
    """A worker and what it says, line by line."""

    def __init__(self, code: str | None = None) -> None:
        command = [sys.executable, *(["-c", code] if code else ["-m", "mythos.infer.worker"])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        self.events: queue.Queue[Any] = queue.Queue()
        self.errors: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._drain, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.put(protocol.decode_event(line))
        self.events.put(None)

    def _drain(self) -> None:
        assert self.process.stderr
        self.errors += [line.decode() for line in self.process.stderr]

    def raw(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, command: protocol.Message) -> None:
        self.raw(protocol.encode(command))

    def next(self) -> Any:
        return self.events.get(timeout=WAIT)

    def until_last(self, id: str) -> list[Any]:
        """All events of an answer."""
        found = []
        while not found or found[-1].kind not in (
            "done",
            "trace_result",
            "attention_result",
            "sweep_result",
            "error",
            "ready",
        ):
            event = self.next()
            assert event is not None and event.id == id, event
            found.append(event)
        return found

    def ask(self, command: Any) -> list[Any]:
        self.send(command)
        return self.until_last(command.id)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(root / "act", infer={"calibrated": ["kl:0.02"]}, halting="act", context=2048)
    write_checkpoint(root / "dense", "dense")
    damaged = write_checkpoint(root / "damaged")
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    return root


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    client = Client()
    hello = client.next()
    assert hello == protocol.Hello()
    yield client
    client.process.kill()
    client.process.wait()


@pytest.fixture
def worker(shared: Client, folder: Path) -> Client:
    """The shared worker with the ACT model loaded."""
    (ready,) = shared.ask(protocol.Load(id="fixture", path=str(folder / "act")))
    assert ready.kind == "ready", ready
    return shared


def test_load_describes_the_checkpoint_and_is_instant_again(worker: Client, folder: Path) -> None:
    (ready,) = worker.ask(protocol.Load(id="again", path=str(folder / "act")))
    assert ready.seconds < 0.05
    assert (ready.family, ready.step, ready.context, ready.loops, ready.max_loops) == ("recurrent", 7, 2048, 5, 8)
    assert (ready.exit, ready.exits) == ("act", ["fixed", "act", "confidence", "kl:0.02", "state_delta"])
    assert (ready.temperature, ready.top_k, ready.top_p, ready.max_tokens) == (0.8, 0, 0.95, 200)
    manifest = json.loads((folder / "act" / "manifest.json").read_text())
    assert ready.parameters == manifest["parameters"]
    (dense,) = worker.ask(protocol.Load(id="dense", path=str(folder / "dense")))
    assert (dense.family, dense.loops, dense.max_loops, dense.exit, dense.exits) == ("dense", 1, 1, "fixed", ["fixed"])


def test_generate_streams_and_ends(worker: Client) -> None:
    command = protocol.Generate(id="g", prompt=PROMPT, max_tokens=12, seed=4)
    prompt, *tokens, done = worker.ask(command)
    assert prompt.kind == "prompt" and "".join(prompt.texts) == PROMPT and len(prompt.loops) == len(prompt.texts)
    assert [token.kind for token in tokens] == ["token"] * 12
    assert done.reason == "length" and done.tokens == 12
    assert done.mean_loops == pytest.approx(sum(token.loops for token in tokens) / 12)
    assert done.tokens_per_s > 0 and done.seconds > 0
    assert len({*prompt.loops, *(token.loops for token in tokens)}) > 1
    assert worker.ask(command)[1:-1] == tokens
    *_, fixed = worker.ask(command.model_copy(update={"id": "f", "exit": "fixed", "loops": 3}))
    assert fixed.mean_loops == 3


def test_cancel_acts_within_a_token(worker: Client) -> None:
    worker.send(protocol.Generate(id="long", prompt=PROMPT, max_tokens=2000, temperature=0))
    assert [worker.next().kind for _ in range(4)] == ["prompt", "token", "token", "token"]
    worker.send(protocol.Cancel(id="c", target="long"))
    sent = time.monotonic()
    *_, done = worker.until_last("long")
    assert done.kind == "done" and done.reason == "cancelled" and 3 <= done.tokens < 2000
    assert time.monotonic() - sent < 2


def test_cancel_reaches_what_still_waits(worker: Client) -> None:
    worker.send(protocol.Generate(id="first", prompt=PROMPT, max_tokens=2000, temperature=0))
    worker.send(protocol.TraceText(id="second", text=PROMPT))
    worker.send(protocol.Cancel(id="c1", target="second"))
    worker.send(protocol.Cancel(id="c2", target="first"))
    worker.send(protocol.Cancel(id="c3", target="nobody"))
    assert worker.until_last("first")[-1].reason == "cancelled"
    (second,) = worker.until_last("second")
    assert second.kind == "done" and second.reason == "cancelled"


def test_trace(worker: Client) -> None:
    (found,) = worker.ask(protocol.TraceText(id="t", text=PROMPT))
    assert found.kind == "trace_result"
    t = len(found.tokens)
    assert found.tokens[0] == "⟨eot⟩" and "".join(found.tokens[1:]) == PROMPT
    assert found.max_loops == 5 and found.exit == "act" and len(found.loops) == t
    assert found.token_loss[0] is None and all(loss > 0 for loss in found.token_loss[1:])
    for row, loops in zip(found.exit_signal, found.loops, strict=True):
        assert [value is not None for value in row] == [loop < loops for loop in range(5)]
    assert len(found.attention_entropy) == len(found.attention_rows)
    assert found.lens.p[-1][found.loops[-1] - 1][0] > found.lens.p[-1][found.loops[-1] - 1][1]
    assert worker.ask(protocol.TraceText(id="t", text="", then=found.ids[1:]))[0].loops == found.loops


def test_looks_that_are_taken_one_at_a_time(worker: Client) -> None:
    (found,) = worker.ask(protocol.TraceText(id="t", text=PROMPT))
    how = {"text": PROMPT, "taken": found.loops, "stopped": found.stopped}
    (pattern,) = worker.ask(protocol.AttentionOf(id="a", row=2, head=1, **how))
    assert pattern.kind == "attention_result" and pattern.row == found.attention_rows[2] == "loop 2"
    for t, weights in enumerate(pattern.weights):
        shown = found.attention_entropy[2][t][1]
        assert (weights is None) == (shown is None)
        if weights is not None:
            assert sum(weights) == pytest.approx(1, abs=1e-4) and len(weights) == t + 1
            assert -sum(p * math.log(p) for p in weights if p) == pytest.approx(shown, abs=1e-3)
    (fault,) = worker.ask(protocol.AttentionOf(id="b", row=0, head=99, **how))
    assert fault.kind == "error" and "no head 100" in fault.message
    (swept,) = worker.ask(protocol.SweepText(id="s", text=PROMPT))
    assert len(swept.losses) == 8 and swept.losses[0][0] is None and len(swept.losses[0]) == len(found.tokens)
    (fault,) = worker.ask(protocol.AttentionOf(id="c", text="", taken=[1] * 9000, stopped=[True] * 9000, row=0, head=0))
    assert fault.kind == "error" and "9000 tokens" in fault.message and "mythos trace" in fault.hint


def test_faults_are_answered_and_change_nothing(worker: Client, folder: Path) -> None:
    for line in (b"garbage\n", b"[1]\n", b"\xff\xfe\n", b'{"kind": "dance", "id": "x"}\n', b"[" * 100_000 + b"\n"):
        worker.raw(line)
        event = worker.next()
        assert event.kind == "error" and "no command" in event.message
    assert event.id == ""
    worker.raw(b'{"kind": "generate", "id": "bad", "prompt": "x", "temperature": -1}\n')
    (event,) = worker.until_last("bad")
    assert "temperature" in event.message
    (event,) = worker.ask(protocol.Generate(id="long", prompt="word " * 3000))
    assert event.kind == "error" and "context" in event.message and event.hint
    (event,) = worker.ask(protocol.Generate(id="rule", prompt="x", exit="kl:200"))
    assert event.kind == "error" and "kl" in event.message
    *_, done = worker.ask(protocol.Generate(id="fine", prompt="x", max_tokens=2))
    assert done.kind == "done"


def test_a_checkpoint_that_cannot_be_loaded_leaves_none(worker: Client, folder: Path) -> None:
    (event,) = worker.ask(protocol.Load(id="d", path=str(folder / "damaged")))
    assert event.kind == "error" and "damaged" in event.message and "model.safetensors" in event.message
    (event,) = worker.ask(protocol.Generate(id="g", prompt="x"))
    assert event.kind == "error" and "No checkpoint" in event.message
    (event,) = worker.ask(protocol.Load(id="m", path=str(folder / "missing")))
    assert event.kind == "error" and "no checkpoint" in event.message
    (event,) = worker.ask(protocol.Load(id="ok", path=str(folder / "dense")))
    assert event.kind == "ready"


def test_unexpected_exceptions_are_answered_with_their_type() -> None:
    code = (
        "import mythos.checkpoint\n"
        "from mythos.infer import worker\n"
        "def load(path): raise MemoryError('all of it is gone')\n"
        "mythos.checkpoint.load_checkpoint = load\n"
        "worker.find_checkpoint = str\n"
        "worker.main()\n"
    )
    client = Client(code)
    assert client.next().kind == "hello"
    for id in ("1", "2"):
        (event,) = client.ask(protocol.Load(id=id, path="anything"))
        assert event.kind == "error" and event.message == "MemoryError: all of it is gone"
    client.send(protocol.Quit())
    assert client.process.wait(WAIT) == 0
    time.sleep(0.05)
    assert any("Traceback" in line for line in client.errors)


def test_hello_comes_before_torch_and_prints_stay_out_of_the_protocol(folder: Path) -> None:
    """Anything printed to stdout, by Python or below it, would be taken for an event."""
    code = (
        "import os, sys\n"
        "from mythos.infer import worker\n"
        "send = worker.Channel.send\n"
        "def noisy(self, event):\n"
        "    assert event.kind != 'hello' or 'torch' not in sys.modules\n"
        "    print('from python', flush=True); os.write(1, b'from below\\n'); send(self, event)\n"
        "worker.Channel.send = noisy\n"
        "worker.main()\n"
    )
    client = Client(code)
    assert client.next() == protocol.Hello()
    client.raw(b"garbage\n")
    assert client.next().kind == "error"
    client.send(protocol.Quit())
    assert client.next() is None
    assert client.process.wait(WAIT) == 0
    time.sleep(0.05)
    assert client.errors.count("from python\n") == 2 and client.errors.count("from below\n") == 2


@pytest.mark.parametrize("how", ["quit", "eof"])
def test_ends_at_once_even_while_generating(how: str, folder: Path) -> None:
    client = Client()
    assert client.next().kind == "hello"
    client.ask(protocol.Load(id="l", path=str(folder / "act")))
    client.send(protocol.Generate(id="g", prompt=PROMPT, max_tokens=100_000, temperature=0))
    assert client.next().kind == "prompt"
    if how == "quit":
        client.send(protocol.Quit())
    else:
        assert client.process.stdin
        client.process.stdin.close()
    assert client.process.wait(2) == 0
    last = None
    while (event := client.next()) is not None:
        last = event
    assert last is None or last.kind == "token"
