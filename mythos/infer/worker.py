"""The inference worker, `python -m mythos.infer.worker`: the protocol of `contract.protocol` over stdin and stdout.

One thread reads commands, so that `cancel` and `quit` act while the main thread computes. The protocol has a file
descriptor of its own; whatever else prints to stdout lands on stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from mythos.contract import protocol
from mythos.contract.checkpoints import find_checkpoint, read_manifest
from mythos.contract.errors import MythosError
from mythos.threads import share_cores

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint


class Channel:
    """Whole lines of the protocol, from any thread. The worker ends when nobody reads them any more."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: protocol.Message) -> None:
        line = protocol.encode(event)
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError:
                os._exit(0)

    def end(self) -> None:
        """End the process now, whatever the main thread is doing, but not within a line."""
        self._lock.acquire(timeout=0.5)
        os._exit(0)


def private_stdout() -> BinaryIO:
    """Stdout for the protocol alone; descriptor 1 becomes stderr for everyone else."""
    sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


class Inbox:
    """Commands as they come from stdin, read by a thread of their own."""

    def __init__(self, channel: Channel, stream: BinaryIO) -> None:
        self._channel, self._stream = channel, stream
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open: dict[str, bool] = {}
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def next(self) -> Any:
        """The next command to work on."""
        return self._queue.get()

    def cancelled(self, id: str) -> bool:
        """Whether somebody asked to stop this answer."""
        return self._open.get(id, False)

    def close(self, id: str) -> None:
        """An answer has ended."""
        with self._lock:
            self._open.pop(id, None)

    def _listen(self) -> None:
        try:
            for line in self._stream:
                if line.strip():
                    self._take(line)
        finally:
            self._channel.end()

    def _take(self, line: bytes) -> None:
        try:
            command = protocol.decode_command(line)
        except ValueError as error:
            hint = "One JSON object per line; docs/protocol.md lists the commands."
            self._channel.send(protocol.Error(id=_id_of(line), message=f"This is no command: {error}.", hint=hint))
            return
        if isinstance(command, protocol.Quit):
            self._channel.end()
        elif isinstance(command, protocol.Cancel):
            with self._lock:
                if command.target in self._open:
                    self._open[command.target] = True
        else:
            with self._lock:
                self._open[command.id] = False
            self._queue.put(command)


def _id_of(line: bytes) -> str:
    """The id of a line that is no command, if it has one."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(line)
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return str(value["id"])
    return ""


class Worker:
    """Answers commands one after the other with the checkpoint that was loaded last."""

    def __init__(self, channel: Channel, inbox: Inbox) -> None:
        self.channel, self.inbox = channel, inbox
        self.checkpoint: Checkpoint | None = None

    def run(self) -> None:
        """Serve until the process is ended by `quit` or the end of stdin. No fault of a command ends it."""
        answers: dict[type, Callable[[Any], protocol.Message]] = {
            protocol.Load: self.load,
            protocol.Generate: self.generate,
            protocol.TraceText: self.trace,
            protocol.AttentionOf: self.attention,
            protocol.SweepText: self.sweep,
        }
        while True:
            command = self.inbox.next()
            if self.inbox.cancelled(command.id):
                last: protocol.Message = _cancelled(command.id)
            else:
                last = _guarded(answers[type(command)], command)
            self.inbox.close(command.id)
            self.channel.send(last)

    def load(self, command: protocol.Load) -> protocol.Message:
        """`ready`. The checkpoint in memory is kept if it is the one asked for; otherwise it is given up first."""
        from mythos.checkpoint import load_checkpoint

        began = time.perf_counter()
        directory = find_checkpoint(command.path)
        held = self.checkpoint
        if held is None or held.path != directory or held.manifest != read_manifest(directory):
            self.checkpoint = held = None
            self.checkpoint = held = load_checkpoint(directory)
        return _ready(command.id, held, time.perf_counter() - began)

    def generate(self, command: protocol.Generate) -> protocol.Message:
        """`prompt`, a `token` each, `done`."""
        from mythos.infer.text import flops_of, generate

        began = time.perf_counter()
        settings = command.model_dump(exclude={"kind", "id", "prompt"}) | {"exit": command.exit or None}
        stop, checkpoint = self._stop(command.id), self._loaded()
        answer = generate(checkpoint, command.prompt, should_stop=stop, **settings)
        prompt = answer.prompt
        if answer.reason != "cancelled":
            texts, loops = [text for text, _ in prompt], [n for _, n in prompt]
            self.channel.send(protocol.PromptTokens(id=command.id, texts=texts, loops=loops, left_out=answer.left_out))
        read, taken = time.perf_counter(), []
        for token in answer:
            taken.append(token.loops)
            self.channel.send(
                protocol.Token(
                    id=command.id,
                    token=token.id,
                    text=token.text,
                    loops=token.loops,
                    probability=token.probability,
                    entropy=token.entropy,
                )
            )
        now = time.perf_counter()
        flops, flops_full = flops_of(checkpoint, len(answer.ids), taken, command.loops, command.exit)
        return protocol.Done(
            id=command.id,
            reason=answer.reason,
            tokens=len(taken),
            seconds=now - began,
            mean_loops=sum(taken) / len(taken) if taken else 0.0,
            tokens_per_s=len(taken) / (now - read) if taken else 0.0,
            flops=flops,
            flops_full=flops_full,
        )

    def trace(self, command: protocol.TraceText) -> protocol.Message:
        """`trace_result`."""
        from mythos.infer.text import loops_of
        from mythos.inspect.passes import depth_of
        from mythos.inspect.trace import ids_of, trace
        from mythos.inspect.wire import check_trace, trace_event

        began, held = time.perf_counter(), self._loaded()
        depth = depth_of(held.model, loops_of(held, command.loops))
        check_trace(held.config.model, len(ids_of(held, command.text, command.then)), depth, command.top)
        found = trace(
            held,
            command.text,
            then=command.then,
            loops=command.loops,
            exit=command.exit or None,
            top=command.top,
            should_stop=self._stop(command.id),
        )
        return trace_event(found, command.id, time.perf_counter() - began)

    def attention(self, command: protocol.AttentionOf) -> protocol.Message:
        """`attention_result`."""
        from mythos.inspect.ondemand import attention_pattern
        from mythos.inspect.wire import attention_event, check_numbers

        began, tokens = time.perf_counter(), len(command.taken)
        check_numbers(tokens, (tokens + 1) // 2)
        settings = command.model_dump(exclude={"kind", "id"})
        found = attention_pattern(self._loaded(), **settings)
        return attention_event(found, command.id, command.head, time.perf_counter() - began)

    def sweep(self, command: protocol.SweepText) -> protocol.Message:
        """`sweep_result`."""
        from mythos.inspect.ondemand import depth_losses
        from mythos.inspect.wire import sweep_event

        began, settings = time.perf_counter(), command.model_dump(exclude={"kind", "id"})
        found = depth_losses(self._loaded(), should_stop=self._stop(command.id), **settings)
        return sweep_event(found, command.id, time.perf_counter() - began)

    def _stop(self, id: str) -> Callable[[], bool]:
        return lambda: self.inbox.cancelled(id)

    def _loaded(self) -> Checkpoint:
        if self.checkpoint is None:
            raise MythosError("No checkpoint is loaded.", "Load one first.")
        return self.checkpoint


def _guarded(answer: Callable[[Any], protocol.Message], command: Any) -> protocol.Message:
    """The last event of an answer; `done` where it was cancelled, an `error` instead of any other exception."""
    try:
        return answer(command)
    except MythosError as error:
        return protocol.Error(id=command.id, message=error.message, hint=error.hint)
    except Exception as error:
        from mythos.infer.engine import Cancelled

        if isinstance(error, Cancelled):
            return _cancelled(command.id)
        traceback.print_exc()
        hint = "The worker's stderr holds the traceback."
        return protocol.Error(id=command.id, message=f"{type(error).__name__}: {error}", hint=hint)


def _ready(id: str, checkpoint: Checkpoint, seconds: float) -> protocol.Ready:
    from mythos.infer.exits import exits_of, resolve_exit
    from mythos.models.build import count_parameters

    model, infer = checkpoint.config.model, checkpoint.config.infer
    default = getattr(model, "loops", 1)
    calibrated = {rule.partition(":")[0]: rule for rule in infer.calibrated}
    return protocol.Ready(
        id=id,
        path=str(checkpoint.path),
        family=model.family,
        parameters=count_parameters(checkpoint.model),
        step=int(checkpoint.manifest.get("step") or 0),
        context=model.context,
        loops=default if model.family == "dense" else infer.loops or default,
        max_loops=getattr(model, "max_loops", 1),
        exit=resolve_exit(infer.exit, model),
        exits=[calibrated.get(name, name) for name in exits_of(model)],
        temperature=infer.temperature,
        top_k=infer.top_k,
        top_p=infer.top_p,
        max_tokens=infer.max_tokens,
        seconds=seconds,
        example=infer.example,
    )


def _cancelled(id: str) -> protocol.Done:
    return protocol.Done(id=id, reason="cancelled", tokens=0, seconds=0.0, mean_loops=0.0, tokens_per_s=0.0)


def main() -> None:
    """Say hello before anything heavy is imported, then serve."""
    channel = Channel(private_stdout())
    channel.send(protocol.Hello())
    share_cores()
    inbox = Inbox(channel, sys.stdin.buffer)
    with contextlib.suppress(KeyboardInterrupt):
        Worker(channel, inbox).run()
    os._exit(0)


if __name__ == "__main__":
    main()
