"""The inference worker as the workbench sees it: a child process, its protocol turned into typed messages.

One client serves every screen. Requests wait in line and are answered one after another; each is made for a checkpoint,
which is loaded first where it is not the loaded one. A worker that died is explained and started anew by the next
request. The child ends with the workbench, however that ends, because its stdin closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from textual.message_pump import MessagePump

from mythos.contract import protocol
from mythos_tui.workers.child import Child
from mythos_tui.workers.inference_messages import InferenceEvent, InferenceStage, WorkerDied

COMMAND = (sys.executable, "-u", "-m", "mythos.infer.worker")
DECODE_IN_THREAD = 256 << 10
FINAL = (
    protocol.Done,
    protocol.TraceResult,
    protocol.AttentionResult,
    protocol.SweepResult,
    protocol.Error,
    protocol.Ready,
)


@dataclass
class _Request:
    """A request in line: the checkpoint it needs, then the command itself (None only loads)."""

    id: str
    path: Path
    command: Any
    owner: MessagePump
    cancelled: bool = False

    def post(self, event: Any) -> None:
        self.owner.post_message(InferenceEvent(event))

    def stage(self, stage: str) -> None:
        self.owner.post_message(InferenceStage(self.id, stage))


@dataclass(frozen=True)
class Said:
    """A text that a checkpoint went on with: what it read, and the tokens that followed, which cutting `text` into tokens
    again need not give."""

    checkpoint: Path
    read: str
    then: tuple[int, ...]
    text: str


class InferenceClient:
    """Starts the worker when it is first needed and speaks the protocol with it.

    `last_said` is the latest text that a screen had generated; `handed_over` one that another screen is to look into now.
    `beside` is a second worker, for a second checkpoint at the same time; ids of its requests begin with another letter.
    """

    def __init__(self, command: Sequence[str] = COMMAND, grace_s: float = 1.0, letter: str = "a") -> None:
        self.command = tuple(command)
        self.grace_s = grace_s
        self.letter = letter
        self._beside: InferenceClient | None = None
        self.loaded: protocol.Ready | None = None
        self.stderr: deque[str] = deque()
        self.last_said: Said | None = None
        self.handed_over: Said | None = None
        self._known: dict[Path, protocol.Ready] = {}
        self._ids = count(1)
        self._waiting: deque[_Request] = deque()
        self._current: _Request | None = None
        self._answer: asyncio.Future[Any] | None = None
        self._awaited = ""
        self._runner: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._loaded_path: Path | None = None
        self._returncode: int | None = None

    @property
    def beside(self) -> InferenceClient:
        """Another client of the same kind; ends with this one."""
        if self._beside is None:
            self._beside = InferenceClient(self.command, self.grace_s, chr(ord(self.letter) + 1))
        return self._beside

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._current is not None

    def info(self, path: Path) -> protocol.Ready | None:
        """What the worker said about a checkpoint when it last loaded it."""
        return self._known.get(path)

    def load(self, path: Path, owner: MessagePump) -> str:
        """Have a checkpoint loaded; answered by Ready or Error."""
        return self._enqueue(self._new_id(), path, None, owner)

    def generate(self, path: Path, owner: MessagePump, **settings: Any) -> str:
        """Continue a prompt with a checkpoint; `settings` are the fields of `protocol.Generate`."""
        id = self._new_id()
        return self._enqueue(id, path, protocol.Generate(id=id, **settings), owner)

    def trace(self, path: Path, owner: MessagePump, text: str, **settings: Any) -> str:
        """Run a text through a checkpoint and look inside; `settings` are the fields of `protocol.TraceText`."""
        id = self._new_id()
        return self._enqueue(id, path, protocol.TraceText(id=id, text=text, **settings), owner)

    def attention(self, path: Path, owner: MessagePump, **settings: Any) -> str:
        """What one head attends to in a trace; `settings` are the fields of `protocol.AttentionOf`."""
        id = self._new_id()
        return self._enqueue(id, path, protocol.AttentionOf(id=id, **settings), owner)

    def sweep(self, path: Path, owner: MessagePump, **settings: Any) -> str:
        """The loss of a text at every depth; `settings` are the fields of `protocol.SweepText`."""
        id = self._new_id()
        return self._enqueue(id, path, protocol.SweepText(id=id, **settings), owner)

    def cancel(self, id: str) -> None:
        """End a request early: it is still answered by Done, at once where it had not yet begun."""
        for request in [request for request in self._waiting if request.id == id]:
            self._waiting.remove(request)
            request.post(_cancelled(id))
        current = self._current
        if current and current.id == id and not current.cancelled:
            current.cancelled = True
            if self._awaited == id:
                self._send(protocol.Cancel(id=self._new_id(), target=id))

    async def close(self) -> None:
        """Ask the worker to quit, then terminate, then kill it. Nothing is answered any more."""
        if self._beside:
            await self._beside.close()
        self._waiting.clear()
        if self._runner:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
            self._runner = None
        child, self._child = self._child, None
        self.loaded, self._loaded_path = None, None
        if child:
            await child.end(protocol.encode(protocol.Quit()))

    def _new_id(self) -> str:
        return f"{self.letter}{next(self._ids)}"

    def _enqueue(self, id: str, path: Path, command: Any, owner: MessagePump) -> str:
        self._waiting.append(_Request(id, path, command, owner))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="inference requests")
        return id

    async def _run(self) -> None:
        """Answer what waits in line, then end."""
        while self._waiting:
            self._current = request = self._waiting.popleft()
            try:
                await self._perform(request)
            except _Died as death:
                request.owner.post_message(WorkerDied(request.id, death.returncode, "\n".join(self.stderr)))
            finally:
                self._current = None

    async def _perform(self, request: _Request) -> None:
        if self._child is None:
            request.stage("starting")
            await self._start()
        wanted = self._loaded_path != request.path or request.command is None
        if (wanted and not await self._load(request)) or request.command is None:
            return
        if request.cancelled:
            request.post(_cancelled(request.id))
            return
        request.stage("running")
        request.post(await self._ask(request.command))

    async def _load(self, request: _Request) -> bool:
        """Load the request's checkpoint and tell its owner; False where that failed and the request is answered."""
        request.stage("loading")
        only_load = request.command is None
        answer = await self._ask(protocol.Load(id=request.id if only_load else self._new_id(), path=str(request.path)))
        self.loaded, self._loaded_path = None, None
        if isinstance(answer, protocol.Ready):
            self.loaded, self._loaded_path = answer, request.path
            self._known[request.path] = answer
        request.post(answer.model_copy(update={"id": request.id}))
        return isinstance(answer, protocol.Ready)

    async def _ask(self, command: Any) -> Any:
        """Send a command and wait for the event that ends its answer. Raises _Died."""
        if self._child is None:
            raise _Died(self._returncode)
        self._answer = asyncio.get_running_loop().create_future()
        self._awaited = command.id
        try:
            self._send(command)
            return await self._answer
        finally:
            self._answer, self._awaited = None, ""

    def _send(self, command: Any) -> None:
        if self._child:
            self._child.write(protocol.encode(command))

    async def _start(self) -> None:
        self.loaded, self._loaded_path = None, None
        try:
            self._child = await Child.start(self.command, self.grace_s, self._receive, self._died)
        except OSError as error:
            self.stderr = deque([f"{self.command[0]}: {error.strerror or error}"])
            raise _Died(None) from None
        self.stderr = self._child.stderr

    def _died(self, returncode: int) -> None:
        self._returncode = returncode
        self._child, self.loaded, self._loaded_path = None, None, None
        if self._answer and not self._answer.done():
            self._answer.set_exception(_Died(returncode))

    async def _receive(self, line: bytes) -> None:
        try:
            large = len(line) > DECODE_IN_THREAD
            event = await asyncio.to_thread(protocol.decode_event, line) if large else protocol.decode_event(line)
        except ValueError as error:
            self.stderr.append(f"not an event ({error}): {line[:200]!r}")
            if line.startswith(b"{"):
                self._settle(_unreadable(self._awaited, str(error)))
            return
        if isinstance(event, protocol.Hello):
            if event.version != protocol.VERSION:
                why = f"it speaks version {event.version}, not {protocol.VERSION}"
                self._settle(_unreadable(self._awaited, why))
        elif event.id != self._awaited and not (event.kind == "error" and not event.id):
            return  # the late rest of an answer that nobody waits for
        elif isinstance(event, FINAL):
            self._settle(event.model_copy(update={"id": self._awaited}))
        elif self._current:
            self._current.post(event)

    def _settle(self, event: Any) -> None:
        """The answer that is waited for has come."""
        if self._answer and not self._answer.done():
            self._answer.set_result(event)


class _Died(Exception):
    """The worker is gone."""

    def __init__(self, returncode: int | None) -> None:
        super().__init__(returncode)
        self.returncode = returncode


def _cancelled(id: str) -> protocol.Done:
    return protocol.Done(id=id, reason="cancelled", tokens=0, seconds=0.0, mean_loops=0.0, tokens_per_s=0.0)


def _unreadable(id: str, why: str) -> protocol.Error:
    return protocol.Error(
        id=id, message=f"The inference worker's answer cannot be read: {why}.", hint="Restart the workbench."
    )
