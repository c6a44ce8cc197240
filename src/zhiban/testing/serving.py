"""Serving an ASGI application on a real loopback socket, inside the running event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from zhiban.web.protocol import SOCKET_SETTINGS


@asynccontextmanager
async def served(
    app: ASGIApp,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    http: Callable[..., asyncio.Protocol] | None = None,
    **settings: Any,
) -> AsyncIterator[str]:
    """The address (`http://127.0.0.1:port`) at which the application answers until the block ends.

    `settings` are uvicorn's own, in place of ours for sockets.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    server = _LoopbackServer(
        uvicorn.Config(
            app,
            http=http or "auto",  # type: ignore[arg-type]  # uvicorn calls it, whatever its kind
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            lifespan="on",
            **{**SOCKET_SETTINGS, **settings},
            timeout_graceful_shutdown=1,
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if running.done():
                running.result()
                raise RuntimeError("the application did not start")
            await asyncio.sleep(0.005)
        yield f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


class _LoopbackServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program around us."""
        yield
