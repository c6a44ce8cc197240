"""What is the same for every call to a simulated forge: mishaps, refusals, pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from zhiban.testing.forge import Forge, ForgeFault

RouteHandler = Callable[[Request], Awaitable[Response]]


class ApiRefusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, said: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(said)
        self.status = status
        self.response = JSONResponse(said, status, headers=headers)


class _Broken(Response):
    """An answer that breaks off in the middle."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        length = str(len(self.body) + 100).encode()
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        # What is announced never comes: the server closes the connection when the application returns.


class ForgeApi:
    """The calls of one forge; `prefix` stands before every path."""

    size = "per_page"
    default_size = 30
    most = 100

    def __init__(self, forge: Forge, prefix: str) -> None:
        self._forge = forge
        self._prefix = prefix

    def guarded(self, handler: RouteHandler) -> RouteHandler:
        """The call with its mishaps: those before it, those of its own, those after it was carried out."""

        async def answer(request: Request) -> Response:
            forge, path = self._forge, request.url.path
            body = await request.body()
            said = json.loads(body) if body else None
            forge.calls.append((request.method, path, said))
            fault = forge.fault(request.method, path)
            try:
                self._look(request.method, path.removeprefix(self._prefix), said)
                if fault is not None and not fault.kind.endswith("_after"):
                    await self._mishap(fault)
                self._before(request)
                response = await handler(request)
            except ApiRefusal as refused:
                return refused.response
            if request.method != "GET" and "/issues" in path and forge.written_hook is not None:
                await forge.written_hook()
            if fault is not None and fault.kind == "502_after":
                return JSONResponse({"message": "Server Error"}, 502)
            if fault is not None and fault.kind == "broken_after":
                return _Broken(response.body)
            return response

        return answer

    def _look(self, method: str, path: str, body: Any) -> None:
        """Whether the vendor describes such a call. Raises ApiRefusal."""

    def _before(self, request: Request) -> None:
        """What a forge looks at first. Raises ApiRefusal."""

    async def _mishap(self, fault: ForgeFault) -> None:
        match fault.kind:
            case "502":
                raise ApiRefusal(502, {"message": "Server Error"})
            case "401":
                raise ApiRefusal(401, {"message": "Bad credentials"})
            case "429":
                raise ApiRefusal(429, {"message": "Too many requests"}, {"Retry-After": str(fault.retry_after or 1)})
            case _:
                await asyncio.sleep(0.3)

    def _page(self, request: Request, found: list[Any]) -> Response:
        size = min(int(request.query_params.get(self.size, str(self.default_size))), self.most)
        page = int(request.query_params.get("page", "1"))
        headers = {}
        if page * size < len(found):
            following = request.url.include_query_params(page=page + 1)
            headers["Link"] = f'<{following}>; rel="next"'
        return JSONResponse(found[(page - 1) * size : page * size], headers=headers)


def bearer(request: Request) -> str:
    """The token of a call, empty where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() in ("bearer", "token") else ""
