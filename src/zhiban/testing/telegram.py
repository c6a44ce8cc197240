"""A simulator of Telegram's bot API, as far as notices need it.

`python -m zhiban.testing.telegram --port 9010` runs it on its own.
"""

from __future__ import annotations

import argparse
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban.kit.frozen_dataclass import frozen_dataclass

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"  # noqa: S105 - of the simulator only
_TAGS = frozenset(("b", "i", "u", "s", "a", "code", "pre"))


@frozen_dataclass
class TelegramMessage:
    chat: str
    text: str  # as people see it, without marks


@dataclass
class TelegramSimulator:
    """The server's state. `script` holds the answers to the next calls, oldest first: (status, body)."""

    token: str = TOKEN
    chats: set[str] = field(default_factory=lambda: {"8518085684"})
    blocked: set[str] = field(default_factory=set)
    moved: dict[str, int] = field(default_factory=dict)  # group → supergroup
    sent: list[TelegramMessage] = field(default_factory=list)
    script: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    calls: int = 0
    app: Starlette = field(init=False)

    def __post_init__(self) -> None:
        self.app = Starlette(routes=[Route("/bot{token}/{method}", self._call, methods=["POST", "GET"])])

    def slow_down(self, seconds: int) -> None:
        """Answer the next call with 429."""
        body = {"description": f"Too Many Requests: retry after {seconds}", "parameters": {"retry_after": seconds}}
        self.script.append((429, body))

    async def _call(self, request: Request) -> Response:
        self.calls += 1
        if request.path_params["token"] != self.token:
            return _no(401, "Unauthorized")
        if self.script:
            status, extra = self.script.popleft()
            return JSONResponse({"ok": False, "error_code": status, **extra}, status)
        match request.path_params["method"]:
            case "getMe":
                return _yes({"id": 110201543, "is_bot": True, "first_name": "值班", "username": "zhiban_bot"})
            case "sendMessage":
                return self._send(await request.json())
            case _:
                return _no(404, "Not Found")

    def _send(self, body: dict[str, Any]) -> Response:
        chat = str(body.get("chat_id", ""))
        if chat in self.moved:
            return _no(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                parameters={"migrate_to_chat_id": self.moved[chat]},
            )
        if chat in self.blocked:
            return _no(403, "Forbidden: bot was blocked by the user")
        if chat not in self.chats:
            return _no(400, "Bad Request: chat not found")
        return self._deliver(chat, str(body.get("text", "")), body.get("parse_mode"))

    def _deliver(self, chat: str, text: str, mode: object) -> Response:
        if mode == "HTML":
            seen = _SeenUpdate()
            if not seen.understands(text):
                return _no(400, "Bad Request: can't parse entities")
            text = seen.text
        if not text.strip():
            return _no(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > 4096:
            return _no(400, "Bad Request: message is too long")
        self.sent.append(TelegramMessage(chat, text))
        return _yes({"message_id": len(self.sent), "chat": {"id": chat}, "text": text})


class _SeenUpdate(HTMLParser):
    """What a reader sees of Telegram's HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self._open: list[str] = []
        self._bad = False

    def understands(self, text: str) -> bool:
        self._bad = bool(re.search(r"<(?!/?[a-z]+[ >])|&(?!(?:lt|gt|amp|quot|#\d+);)", text))
        self.feed(text)
        self.close()
        return not self._bad and not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._bad = self._bad or tag not in _TAGS
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self._bad = True

    def handle_data(self, data: str) -> None:
        self.text += data


def _yes(result: dict[str, Any]) -> Response:
    return JSONResponse({"ok": True, "result": result})


def _no(status: int, description: str, **more: Any) -> Response:
    return JSONResponse({"ok": False, "error_code": status, "description": description, **more}, status)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9010)
    parser.add_argument("--token", default=TOKEN)
    chosen = parser.parse_args(arguments)
    uvicorn.run(TelegramSimulator(token=chosen.token).app, host=chosen.host, port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
