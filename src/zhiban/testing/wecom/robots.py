"""群机器人 of the simulated platform: a key, twenty messages a minute, and nothing comes back."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from zhiban.testing.wecom.media import MediaStore
from zhiban.testing.wecom.wire import (
    Call,
    CallHandler,
    Complaint,
    Json,
    Quota,
    SimClock,
    bad,
    fits,
    need,
    ok,
    web_address,
)

_LIMITS = {"text": 2048, "markdown": 4096, "markdown_v2": 4096}
_PICTURE = 2 << 20


@dataclass(slots=True)
class RobotMessage:
    at: float
    key: str
    msgtype: str
    body: Json


class Robots:
    """Robots that were added to groups, and what they said."""

    def __init__(self, clock: SimClock, media: MediaStore) -> None:
        self._clock = clock
        self._media = media
        self.quota = Quota(clock, per_minute=20)
        self.keys: set[str] = set()
        self.messages: list[RobotMessage] = []

    def open_handlers(self) -> dict[str, CallHandler]:
        """Endpoints that need no access token: the key is the only secret."""
        return {"webhook/send": self._send, "webhook/upload_media": self._upload}

    def _send(self, call: Call) -> Json:
        key = self._key(call)
        msgtype = need(call.body, "msgtype")
        inner = call.body.get(msgtype)
        if not isinstance(inner, dict):
            raise bad(f"missing {msgtype}")
        self._check(key, msgtype, inner)
        self.quota.spend(key)
        self.messages.append(RobotMessage(self._clock.now(), key, msgtype, inner))
        return ok()

    def _check(self, key: str, msgtype: str, inner: Json) -> None:
        match msgtype:
            case "text" | "markdown" | "markdown_v2":
                fits(inner.get("content"), _LIMITS[msgtype], f"content exceed max length. max is {_LIMITS[msgtype]}")
            case "image":
                _check_picture(inner)
            case "news":
                articles = inner.get("articles")
                if not isinstance(articles, list) or not 1 <= len(articles) <= 8:
                    raise bad("articles")
                for article in articles:
                    fits(article.get("title"), 128, "title", least=1)
                    web_address(article.get("url"), "url")
            case "file" | "voice":
                self._media.check(inner.get("media_id"), msgtype, robot=key)
            case "template_card":
                if inner.get("card_type") not in ("text_notice", "news_notice"):
                    raise bad("card_type")
            case _:
                raise bad("msgtype")

    def _upload(self, call: Call) -> Json:
        key = self._key(call)
        kind = call.query.get("type", "")
        if kind not in ("file", "voice"):
            raise Complaint(40005, "invalid type")
        return ok(type=kind, media_id=self._media.receive(call, kind, robot=key))

    def _key(self, call: Call) -> str:
        key = call.query.get("key", "")
        if key not in self.keys:
            raise Complaint(93000, "invalid webhook url")
        return key


def _check_picture(inner: Json) -> None:
    try:
        data = base64.b64decode(str(inner.get("base64")), validate=True)
    except (binascii.Error, ValueError):
        raise bad("base64") from None
    if not data or len(data) > _PICTURE or hashlib.md5(data, usedforsecurity=False).hexdigest() != inner.get("md5"):
        raise bad("md5")
