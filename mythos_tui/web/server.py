"""Serves the workbench to a browser by textual-serve: one process of the workbench for each page that is open.

Whoever opens the page can do what the account can do, so the server asks for a secret of its own at every start. It is in
the address that is printed; a cookie that other sites cannot use carries it from then on. Without it any other account of
the machine, and any web page that is open beside, could drive the workbench through the loopback address.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WorkbenchServer(Server):
    """The page, its files and its socket, for those who know the secret."""

    def __init__(self, arguments: Sequence[str], host: str, port: int) -> None:
        command = shlex.join([sys.executable, "-m", "mythos_tui", "--served", *arguments])
        shown = f"[{host}]" if ":" in host else host
        super().__init__(f"exec {command}", host, port, title="Mythos", public_url=f"http://{shown}:{port}")
        self.templates_path = Path(__file__).parent
        self.secret = secrets.token_urlsafe(24)
        self._cookie = f"mythos-{port}"

    @property
    def address(self) -> str:
        """What to open."""
        return f"{self.public_url}/?secret={self.secret}"

    async def _make_app(self) -> web.Application:
        made = await super()._make_app()
        made.middlewares.append(self._admit)
        return made

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The secret in the address becomes a cookie; everything else wants that cookie and our own page as its origin."""
        if self._is_secret(request.query.get("secret")):
            answer = web.HTTPFound("/")
            answer.set_cookie(self._cookie, self.secret, httponly=True, samesite="Strict")
            raise answer
        origin = request.headers.get("Origin", f"http://{request.host}")
        if not self._is_secret(request.cookies.get(self._cookie)) or origin != f"http://{request.host}":
            raise web.HTTPForbidden(text="Open the address that mythos-tui --web printed, with its secret.\n")
        return await handler(request)

    def _is_secret(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self.secret.encode())

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page speaks to the name by which it was opened, also through a tunnel to another port."""
        self.public_url = f"http://{request.host}"
        return await super().handle_index(request)

    async def on_startup(self, app: web.Application) -> None:
        """Nothing is listening yet."""

    def serve(self, debug: bool = False) -> None:
        """Until ctrl+c. The address is printed once something listens there."""
        web.run_app(self._make_app(), host=self.host, port=self.port, print=self._announce, access_log=None)

    def _announce(self, *_: object) -> None:
        print(f"Mythos in a browser: {self.address}\nctrl+c ends it; training goes on.", flush=True)


def serve(arguments: Sequence[str], host: str, port: int) -> str | None:
    """Serve until ctrl+c; a sentence where that cannot begin. Port 0 takes a free one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
    except OSError as error:
        return f"--host {host} --port {port}: {error.strerror or error}. Name another --port, or an address of this machine."
    if not is_loopback(host):
        print(
            f"Warning: {host} can be reached from other machines, and what is typed there is not encrypted. Whoever reads the "
            "address can do all that your account can. A tunnel is safer: ssh -L 8000:127.0.0.1:8000 this-machine.",
            file=sys.stderr,
        )
    WorkbenchServer(arguments, host, port).serve()
    return None


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
