"""Where notices arrive in tests and demos: a Notifier in memory, and a web hook that Apprise's json:// can post to.

`python -m zhiban.testing.notices --port 9011` runs the web hook on its own.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban.ports import ConnectionBroken, Notice, TryLater


@dataclass
class NoticeBoard:
    """A Notifier that pins every notice to a list. `script` holds errors to raise first, oldest first.

    An address in `closed` leads to nobody.
    """

    pinned: list[tuple[str, Notice]] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    script: deque[TryLater | ConnectionBroken] = field(default_factory=deque)

    async def notify(self, address: str, notice: Notice) -> None:
        if self.script:
            raise self.script.popleft()
        if address in self.closed:
            raise ConnectionBroken("The address leads to nobody", code=404)
        if all(pinned.key != notice.key or to != address for to, pinned in self.pinned):
            self.pinned.append((address, notice))


@dataclass
class NoticeHook:
    """A web hook that takes JSON. `statuses` holds the answers to the next calls, oldest first."""

    received: list[dict[str, Any]] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    app: Starlette = field(init=False)

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/", self._listed, methods=["GET"]),
                Route("/{path:path}", self._taken, methods=["POST"]),
            ]
        )

    async def _listed(self, request: Request) -> Response:
        del request
        return JSONResponse(self.received)

    async def _taken(self, request: Request) -> Response:
        status = self.statuses.popleft() if self.statuses else 200
        if status < 300:
            self.received.append(await request.json())
        return JSONResponse({"ok": status < 300}, status)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9011)
    chosen = parser.parse_args(arguments)
    uvicorn.run(NoticeHook().app, host=chosen.host, port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
