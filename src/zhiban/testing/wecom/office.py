"""Tokens, media, messages to members, and group robots of the simulated platform."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from zhiban.testing.wecom.wire import Call, Complaint, Handler, Json, Raw, SimClock, need, ok

_FILENAME = re.compile(rb'filename="([^"]*)"')
_TASK = re.compile(r"[0-9A-Za-z_@-]{1,128}")
_INTERACTIVE = {"button_interaction", "vote_interaction", "multiple_interaction"}
_CARD_KINDS = _INTERACTIVE | {"text_notice", "news_notice"}
CARD_LIFE = 72 * 3600


@dataclass(slots=True)
class AppMessage:
    """A message of the app to members."""

    order: int
    at: float
    members: list[str]
    msgtype: str
    body: Json
    msgid: str


@dataclass(slots=True)
class RobotMessage:
    at: float
    key: str
    msgtype: str
    body: Json


@dataclass(slots=True)
class SentCard:
    task_id: str
    body: Json
    updates: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class _File:
    name: str
    kind: str
    data: bytes
    until: float


class AccessTokens:
    """gettoken, and whether a call's token counts."""

    def __init__(self, clock: SimClock, corp_id: str, apps: dict[str, int]) -> None:
        self._clock = clock
        self.corp_id = corp_id
        self.apps = apps  # secret -> agent id
        self.life: Any = 7200
        self.granted = 0
        self._tokens: dict[str, tuple[float, int]] = {}

    def grant(self, call: Call) -> Json:
        if call.query.get("corpid") != self.corp_id:
            raise Complaint(40013, "invalid corpid")
        secret = call.query.get("corpsecret", "")
        if secret not in self.apps:
            raise Complaint(40001, "invalid credential")
        self.granted += 1
        token = hashlib.sha256(f"{secret}{self.granted}".encode()).hexdigest() + f"-{self.granted}"
        seconds = self.life if isinstance(self.life, int | float) else 7200
        self._tokens[token] = (self._clock.now() + seconds, self.apps[secret])
        return ok(access_token=token, expires_in=self.life)

    def check(self, token: str) -> int:
        """The agent id that the token belongs to."""
        found = self._tokens.get(token)
        if not token:
            raise Complaint(41001, "access_token missing")
        if found is None:
            raise Complaint(40014, "invalid access_token")
        if found[0] < self._clock.now():
            raise Complaint(42001, "access_token expired")
        return found[1]

    def expire_tokens(self, *, forget: bool = False) -> None:
        """Make every token too old (42001), or unknown (40014) with `forget`."""
        if forget:
            self._tokens.clear()
        else:
            self._tokens = {token: (0.0, agent) for token, (_, agent) in self._tokens.items()}


class Office:
    """Members, media and robots."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._counter = 0
        self.members: set[str] = set()  # empty: every userid is one
        self.messages: list[AppMessage] = []
        self.cards: dict[str, SentCard] = {}
        self.codes: dict[str, tuple[str, float]] = {}  # response code -> task, end of life
        self.robot_keys: set[str] = set()  # empty: every key is one
        self.robot_messages: list[RobotMessage] = []
        self.robot_per_minute = 20
        self.one_piece = 8 << 20  # larger files must be fetched in ranges
        self._robot_times: dict[str, deque[float]] = {}
        self._files: dict[str, _File] = {}
        self._recent: dict[str, float] = {}

    def handlers(self) -> dict[str, Handler]:
        return {
            "message/send": self._send,
            "message/update_template_card": self._update_card,
            "message/recall": self._recall,
            "media/upload": self._upload,
            "media/uploadimg": self._upload_image,
            "media/get": self._get,
            "get_api_domain_ip": lambda _call: ok(ip_list=["127.0.0.1"]),
            "getcallbackip": lambda _call: ok(ip_list=["127.0.0.*"]),
        }

    def open_handlers(self) -> dict[str, Handler]:
        """Endpoints that need no access token."""
        return {"webhook/send": self._robot, "webhook/upload_media": self._robot_upload}

    def store(self, data: bytes, *, name: str = "image.jpg", kind: str = "image/jpeg") -> str:
        """Keep a file for three days and return its media id."""
        self._counter += 1
        media_id = f"MEDIA{self._counter:08x}"
        self._files[media_id] = _File(name, kind, data, self._clock.now() + 3 * 86400)
        return media_id

    def response_code(self, task_id: str) -> str:
        self._counter += 1
        code = f"RC{self._counter:08x}"
        self.codes[code] = (task_id, self._clock.now() + CARD_LIFE)
        return code

    # ------------------------------------------------------------------------------------- messages to members

    def _send(self, call: Call) -> Json:
        body = call.body
        wanted = [user for user in str(body.get("touser", "")).split("|") if user]
        if not (wanted or body.get("toparty") or body.get("totag")):
            raise Complaint(40058, "touser, toparty and totag are all empty")
        invalid = [user for user in wanted if self.members and user not in self.members and user != "@all"]
        if wanted and len(invalid) == len(wanted):
            raise Complaint(81013, "user & party & tag all invalid")
        msgtype = need(body, "msgtype")
        inner = body.get(msgtype)
        if not isinstance(inner, dict):
            raise Complaint(40058, f"invalid Request Parameter, missing {msgtype}")
        self._counter += 1
        result = ok(
            invaliduser="|".join(user.lower() for user in invalid), invalidparty="", invalidtag="", unlicenseduser=""
        )
        msgid = result["msgid"] = f"msg{self._counter:08x}"
        if self._seen(body):
            return result
        if msgtype == "template_card":
            self._check_card(inner)
        reached = [user for user in wanted if user not in invalid]
        self.messages.append(AppMessage(len(self.messages), self._clock.now(), reached, msgtype, inner, msgid))
        if msgtype == "template_card" and inner.get("task_id"):
            self.cards[inner["task_id"]] = SentCard(inner["task_id"], inner)
            result["response_code"] = self.response_code(inner["task_id"])
        return result

    def _seen(self, body: Json) -> bool:
        if not body.get("enable_duplicate_check"):
            return False
        now = self._clock.now()
        fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        seen = self._recent.get(fingerprint, 0.0) > now
        self._recent[fingerprint] = now + float(body.get("duplicate_check_interval", 1800))
        return seen

    def _check_card(self, card: Json) -> None:
        kind = card.get("card_type")
        if kind not in _CARD_KINDS:
            raise Complaint(40058, "invalid Request Parameter, card_type")
        task = card.get("task_id", "")
        if (kind in _INTERACTIVE or "action_menu" in card) and not _TASK.fullmatch(task):
            raise Complaint(40058, "invalid Request Parameter, task_id")
        if task in self.cards:
            raise Complaint(43012, "task_id existed")
        if kind == "button_interaction" and not 1 <= len(card.get("button_list", [])) <= 6:
            raise Complaint(40058, "invalid Request Parameter, button_list")

    def _update_card(self, call: Call) -> Json:
        task, until = self.codes.pop(need(call.body, "response_code"), ("", 0.0))
        if until < self._clock.now():
            raise Complaint(42045, "invalid response_code")
        change = call.body.get("template_card") or call.body.get("button")
        if not isinstance(change, dict):
            raise Complaint(40058, "invalid Request Parameter, button or template_card")
        if task in self.cards:
            self.cards[task].updates.append(change)
        return ok(invaliduser=[])

    def _recall(self, call: Call) -> Json:
        msgid = need(call.body, "msgid")
        self.messages = [message for message in self.messages if message.msgid != msgid]
        return ok()

    # ------------------------------------------------------------------------------------------------- media

    def _upload(self, call: Call) -> Json:
        kind = call.query.get("type", "")
        if kind not in ("image", "voice", "video", "file"):
            raise Complaint(40004, "invalid media type")
        name, data = _form(call.raw)
        types = {"image": "image/jpeg", "voice": "audio/amr", "video": "video/mp4", "file": "application/octet-stream"}
        media_id = self.store(data, name=name, kind=types[kind])
        return {
            "errcode": 0,
            "errmsg": "",
            "type": kind,
            "media_id": media_id,
            "created_at": str(int(self._clock.now())),
        }

    def _upload_image(self, call: Call) -> Json:
        name, data = _form(call.raw)
        return ok(url=f"https://wework.qpic.cn/wwpic/{self.store(data, name=name)}/0")

    def _get(self, call: Call) -> Json | Raw:
        found = self._files.get(call.query.get("media_id", ""))
        if found is None or found.until < self._clock.now():
            raise Complaint(40007, "invalid media_id")
        headers = {"content-type": found.kind, "content-disposition": f'attachment; filename="{found.name}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
        if wanted is None:
            if len(found.data) > self.one_piece:
                raise Complaint(830002, "media file too large, use range")
            return Raw(found.data, 200, headers)
        start = int(wanted[1])
        end = min(int(wanted[2]) if wanted[2] else len(found.data) - 1, len(found.data) - 1)
        if start > end:
            return Raw(b"", 416, {"content-range": f"bytes */{len(found.data)}"})
        headers["content-range"] = f"bytes {start}-{end}/{len(found.data)}"
        return Raw(found.data[start : end + 1], 206, headers)

    # ------------------------------------------------------------------------------------------------- robots

    def _robot(self, call: Call) -> Json:
        key = self._robot_key(call)
        msgtype = need(call.body, "msgtype")
        inner = call.body.get(msgtype)
        if not isinstance(inner, dict):
            raise Complaint(40058, f"invalid Request Parameter, missing {msgtype}")
        limit = {"text": 2048, "markdown": 4096, "markdown_v2": 4096}.get(msgtype)
        if limit is not None and len(str(inner.get("content", "")).encode()) > limit:
            raise Complaint(40058, f"content exceed max length. max is {limit}")
        now = self._clock.now()
        times = self._robot_times.setdefault(key, deque())
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= self.robot_per_minute:
            raise Complaint(45009, "api freq out of limit")
        times.append(now)
        self.robot_messages.append(RobotMessage(now, key, msgtype, inner))
        return ok()

    def _robot_upload(self, call: Call) -> Json:
        self._robot_key(call)
        name, data = _form(call.raw)
        return ok(type=call.query.get("type", "file"), media_id=self.store(data, name=name))

    def _robot_key(self, call: Call) -> str:
        key = call.query.get("key", "")
        if not key or (self.robot_keys and key not in self.robot_keys):
            raise Complaint(93000, "invalid webhook url")
        return key


def _form(raw: bytes) -> tuple[str, bytes]:
    """Name and content of the one part. As on the platform, `filename*` is not understood."""
    boundary, _, rest = raw.partition(b"\r\n")
    head, _, content = rest.partition(b"\r\n\r\n")
    data, found, _ = content.rpartition(b"\r\n" + boundary)
    name = _FILENAME.search(head)
    if not found or name is None or b'name="media"' not in head:
        raise Complaint(41005, "media data missing")
    if len(data) <= 5:
        raise Complaint(40009, "invalid media size")
    return name[1].decode("ascii", "replace"), data
