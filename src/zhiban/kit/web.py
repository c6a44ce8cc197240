"""Serving an ASGI application on one address until the program is told to stop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from zhiban.kit.errors import Misconfigured

BACKLOG = 4096  # a vendor's storm waits in the kernel, not at a closed door
GRACE_SECONDS = 8


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program around us."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises Misconfigured when it is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(
                f"Port {port} is in use by another program. Choose another one, for example --port {port + 1}."
            ) from error
        if error.errno == errno.EACCES:
            raise Misconfigured(f"Port {port} may only be opened by root. Choose one above 1023.") from error
        raise Misconfigured(f"{host}:{port} cannot be opened: {error.strerror}.") from error
    return listener


async def serve(app: ASGIApp, listener: socket.socket, *, trusted: str, ready: Callable[[], None]) -> None:
    """Answer on the socket until cancelled; then finish what runs and close. `ready` is called once it answers."""
    server = _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            http="httptools",
            ws="none",
            lifespan="on",
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
            proxy_headers=True,
            forwarded_allow_ips=trusted,
            server_header=False,
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not running.done():
            await asyncio.sleep(0.01)
        if not running.done():
            ready()
        await asyncio.shield(running)
    except asyncio.CancelledError:
        server.should_exit = True
        await running
        raise
    finally:
        listener.close()
