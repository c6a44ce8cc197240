"""The program at the other end of the webhook channel: it calls us signed, and checks the signatures of our calls.

Written against docs/en/how-to/webhook-channel.md, not against our own code, so that the two can disagree.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban.kit.frozen_dataclass import frozen_dataclass

SECRET = "whsec_" + base64.b64encode(b"a signing key for tests only, 40 bytes!!").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another signing key for tests, 40 bytes!").decode()


@frozen_dataclass
class Heard:
    """A call of ours, as the program understood it."""

    id: str
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.body.get("message", {}).get("text", ""))


def signature(secret: str, id_: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, b".".join((id_.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def headers_for(secret: str, id_: str, body: bytes, *, at: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    return {
        "webhook-id": id_,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secret, id_, timestamp, body),
        "content-type": "application/json",
    }


@dataclass
class WebhookProgram:
    """The program's state. `hooks` is where it calls us; `script` holds the answers to our next calls, oldest first."""

    secret: str = SECRET
    hooks: str = ""
    heard: list[Heard] = field(default_factory=list)
    repeats: int = 0  # calls whose id had been heard before
    forged: int = 0  # calls whose signature did not fit
    script: deque[Response] = field(default_factory=deque)
    loses_answers: int = 0  # how many of the next calls are heard and answered with 502
    files: dict[str, bytes] = field(default_factory=dict)  # what it offers at /files/<name>
    app: Starlette = field(init=False)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self.app = Starlette(
            routes=[
                Route("/inbox", self._take, methods=["POST"]),
                Route("/files/{name}", self._file),
                Route(
                    "/moved",
                    lambda _request: Response(status_code=307, headers={"location": "/inbox"}),
                    methods=["POST"],
                ),
            ]
        )

    # ------------------------------------------------------------------------------------------------ it calls us

    async def call(self, event: object, *, id_: str | None = None, **headers: str) -> tuple[int, Any]:
        """Send an event; the answer's status and body."""
        body = event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()
        signed = {**headers_for(self.secret, id_ or f"call-{next(self._numbers)}", body), **headers}
        async with aiohttp.ClientSession() as client, client.post(self.hooks, data=body, headers=signed) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def says(self, contact: str, text: str, *, name: str = "", **message: Any) -> str:
        """A contact writes; returns the message's id."""
        id_ = f"m{next(self._numbers)}"
        person = {"id": contact, "name": name} if name else {"id": contact}
        status, answer = await self.call(
            {"type": "message", "contact": person, "message": {"id": id_, "text": text, **message}}
        )
        if status != 202:
            raise AssertionError(f"{status}: {answer}")
        return id_

    # ------------------------------------------------------------------------------------------------ we call it

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        id_, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        right = signature(self.secret, id_, timestamp, body)
        if right not in request.headers["webhook-signature"].split(" ") or abs(int(timestamp) - time.time()) > 300:
            self.forged += 1
            return JSONResponse({"error": "signature"}, 401)
        if self.script:
            return self.script.popleft()
        if id_ in {heard.id for heard in self.heard}:
            self.repeats += 1
            return JSONResponse({"status": "known"}, 409)
        self.heard.append(Heard(id_, json.loads(body)))
        if self.loses_answers:
            self.loses_answers -= 1
            return Response(status_code=502)
        return JSONResponse({"status": "ok"})

    async def _file(self, request: Request) -> Response:
        content = self.files.get(request.path_params["name"])
        return Response(status_code=404) if content is None else Response(content, media_type="image/png")

    def replies(self, thread: str) -> list[Heard]:
        """What reached a contact."""
        return [one for one in self.heard if one.body["type"] == "reply" and one.body["thread"] == thread]
