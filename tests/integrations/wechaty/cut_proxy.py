"""What stands between us and a gateway: connections that can be cut, while the gateway itself knows nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PIECE = 1 << 16


class CutProxy:
    """Hands on what comes to the gateway at `target`, a port on loopback; another one may take its place."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._served: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._served)

    def cut(self) -> None:
        """Reset every connection: what is on its way, either way, is gone."""
        for writer in list(self._open):
            writer.transport.abort()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._hand_on(reader, writer))
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours = {writer}
        self._open |= ours
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            ours.add(back)
            self._open.add(back)
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        for each in ours:
            each.transport.abort()
        self._open -= ours


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def cut_proxy(target: int) -> AsyncIterator[CutProxy]:
    found = CutProxy(target)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await found.close()
