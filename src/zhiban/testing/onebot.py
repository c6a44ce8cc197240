"""A OneBot v11 program on the wire: it opens the reverse WebSocket, tells what its account sees, and takes calls.

Written from the standard and from what NapCat, Lagrange.OneBot and go-cqhttp do, not from our own code. Like them it is
strict: what it does not understand is refused with a code, events are told to nobody while it is not connected, message
ids have 32 bits with a sign, and what is sent to where the account is not fails.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

TOKEN = "a-token-for-tests-only-0123456789"  # noqa: S105
BOT = 10001000
BOT_NAME = "小值"

SocketRole = Literal["Universal", "API", "Event"]
Shape = Literal["napcat", "lagrange", "go-cqhttp"]
OneBotFault = Literal["busy", "lost", "refused", "muted", "risk", "broken", "timeout", "silent", "held", "nonsense"]

_ANSWERS: dict[str, dict[str, Any]] = {
    "busy": {"retcode": 1200, "message": "发送消息过于频繁，请稍后再试"},
    "refused": {"retcode": 100, "msg": "SEND_MSG_API_ERROR", "wording": "对方已将你加入黑名单"},
    "muted": {"retcode": 1200, "message": 'EventChecker Failed: sendMsg EventRet: {"result": 120, "errMsg": ""}'},
    "risk": {"retcode": 100, "msg": "SEND_MSG_API_ERROR", "wording": "send group message failed: blocked by server"},
    "broken": {"retcode": 1403, "message": "token验证失败"},
    "timeout": {"retcode": 1200, "message": 'Timeout: NTEvent sendMsg EventRet: {"result": 0, "errMsg": ""}'},
}


class Rejected(Exception):
    """The call fails with this code and these words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass
class AccountMessage:
    """A message that the account sent, as it stands at QQ."""

    id: int
    group: int | None
    user: int | None
    message: list[dict[str, Any]]
    recalled: bool = False

    @property
    def text(self) -> str:
        return "".join(one["data"]["text"] for one in self.message if one["type"] == "text").removeprefix(" ")

    def values(self, type_: str, name: str) -> list[str]:
        return [str(one["data"][name]) for one in self.message if one["type"] == type_]


@dataclass
class OneBotProgram:
    """One account and the program that speaks for it. `shape`: in whose way it tells what the standard leaves open."""

    self_id: int = BOT
    logged_in: int | None = None  # who really is, where that is somebody else than it says when it connects
    nickname: str = BOT_NAME
    token: str = TOKEN
    shape: Shape = "napcat"
    strings: bool = False  # messages as strings with CQ codes
    reports_own: bool = False
    online: bool = True
    groups: dict[int, str] = field(default_factory=dict)
    members: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)
    friends: dict[int, str] = field(default_factory=dict)
    forwards: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    sent: list[AccountMessage] = field(default_factory=list)
    uploaded: list[tuple[str, str, bytes]] = field(default_factory=list)  # where, name, content
    accepted: list[tuple[str, str]] = field(default_factory=list)  # what, flag
    asking: dict[str, int] = field(default_factory=dict)  # who wants to be a friend, or which group us, by flag
    calls: list[str] = field(default_factory=list)
    faults: deque[OneBotFault] = field(default_factory=deque)  # of the next messages that we are asked to send
    always: OneBotFault | None = None
    close_code: int | None = None
    cut: bool = False  # the answer to what was just done is lost with the connection

    def __post_init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._sockets: dict[str, aiohttp.ClientWebSocketResponse] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = itertools.count(1)
        self._news = asyncio.Condition()
        self._again: list[tuple[str, SocketRole]] = []  # where to connect again after an answer was lost

    # ---------------------------------------------------------------------------------------------------- connecting

    async def connect(
        self, url: str, *, role: SocketRole = "Universal", headers: dict[str, str] | None = None, lifecycle: bool = True
    ) -> None:
        """Open a socket, once. Raises aiohttp.WSServerHandshakeError when we are refused."""
        self._session = self._session or aiohttp.ClientSession()
        told = {"X-Self-ID": str(self.self_id), "X-Client-Role": role, "Authorization": f"Bearer {self.token}"}
        given = {name: value for name, value in {**told, **(headers or {})}.items() if value}
        socket = await self._session.ws_connect(url, headers=given, max_msg_size=50 << 20, autoping=True)
        self._sockets[role] = socket
        self._again = [(url, role)]
        if role != "Event":
            self._tasks.append(asyncio.create_task(self._serve(role, socket)))
        else:
            self._tasks.append(asyncio.create_task(self._drain(role, socket)))
        if role != "API" and lifecycle:
            await self.event(post_type="meta_event", meta_event_type="lifecycle", sub_type="connect")

    @property
    def connected(self) -> bool:
        return bool(self._sockets)

    async def disconnect(self) -> None:
        """The network goes, or the program ends."""
        for socket in list(self._sockets.values()):
            await socket.close()
        self._sockets.clear()

    async def close(self) -> None:
        await self.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> OneBotProgram:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def until(self, holds: Callable[[], object], *, within: float = 30) -> None:
        """Wait until this holds, looking whenever something was asked of us or a socket closed."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(holds)

    async def _told(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _drain(self, role: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for _ in socket:
            pass
        await self._lost(role, socket)

    async def _lost(self, role: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.close_code = socket.close_code
        if self._sockets.get(role) is socket:
            del self._sockets[role]
        await self._told()

    # -------------------------------------------------------------------------------------------------------- events

    async def event(self, **values: Any) -> bool:
        """Tell something. False while nobody is connected: nothing is kept."""
        socket = self._sockets.get("Universal") or self._sockets.get("Event")
        if socket is None or socket.closed:
            return False
        told = {"time": int(time.time()), "self_id": self.self_id, **values}
        await socket.send_str(json.dumps(told))
        return True

    async def raw(self, frame: str | bytes) -> None:
        """Send what no program should."""
        socket = self._sockets.get("Universal") or self._sockets["Event"]
        await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))

    async def says(
        self,
        who: int,
        message: str | list[dict[str, Any]],
        *,
        group: int | None = None,
        message_id: int | None = None,
        **values: Any,
    ) -> int:
        """Somebody writes in a group or to us; the id of the message."""
        parts = [{"type": "text", "data": {"text": message}}] if isinstance(message, str) else message
        id_ = self.new_id() if message_id is None else message_id
        sender = {"user_id": who, "nickname": self.friends.get(who, str(who))}
        told: dict[str, Any] = {
            "post_type": "message",
            "message_type": "group" if group else "private",
            "sub_type": "normal" if group else "friend",
            "message_id": id_,
            "user_id": who,
            "message": codes(parts) if self.strings else parts,
            "raw_message": codes(parts),
            "font": 14,
            "sender": sender,
        }
        if group:
            known = self.members.get(group, {}).get(who, {})
            sender |= {"nickname": known.get("nickname", str(who)), "card": known.get("card", ""), "role": "member"}
            told["group_id"] = group
            if self.shape == "napcat":
                told["group_name"] = self.groups.get(group, "")
        await self.event(**{**told, **values})
        return id_

    def new_id(self) -> int:
        """32 bits of little: half of them are negative."""
        found = (next(self._numbers) * 0x9E3779B1) & 0xFFFFFFFF
        return found - (1 << 32) if found >= 1 << 31 else found

    def group(self, id_: int, name: str, members: dict[int, str]) -> None:
        """The account is in this group, with these people."""
        self.groups[id_] = name
        people = {**members, self.self_id: self.nickname}
        self.members[id_] = {
            who: {"group_id": id_, "user_id": who, "nickname": called, "card": "", "role": "member"}
            for who, called in people.items()
        }

    # --------------------------------------------------------------------------------------------------------- calls

    async def _serve(self, role: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            answer = self._answer(message.data)
            if answer is not None:
                await socket.send_str(answer)
            elif self.cut:
                self.cut = False
                await socket.close()
                await self._lost(role, socket)
                for url, again in self._again:
                    await self.connect(url, role=again)
                return
            await self._told()
        await self._lost(role, socket)

    def _answer(self, frame: str) -> str | None:
        try:
            asked = json.loads(frame)
        except ValueError:
            return json.dumps({"status": "failed", "retcode": 1400, "data": None, "echo": None})
        action, params, echo = asked.get("action"), asked.get("params") or {}, asked.get("echo")
        self.calls.append(action)
        fault: OneBotFault | None = self.always
        if action in ("send_group_msg", "send_private_msg", "upload_group_file", "upload_private_file"):
            fault = fault or (self.faults.popleft() if self.faults else None)
        if fault == "nonsense":
            return "}{"
        if fault == "silent":
            return None
        answer: dict[str, Any] = {"status": "ok", "retcode": 0, "data": None, "message": "", "wording": ""}
        if fault in _ANSWERS:
            answer |= {"status": "failed", **_ANSWERS[fault]}
        else:
            try:
                answer["data"] = self._do(str(action), params)
            except Rejected as error:
                answer |= {"status": "failed", "retcode": error.code, "message": str(error), "wording": str(error)}
        if fault == "held":
            return None  # it is done, and the answer does not come yet
        if fault == "lost":
            self.cut = True
            return None
        return json.dumps({**answer, "echo": echo}, ensure_ascii=False)

    def _do(self, action: str, params: dict[str, Any]) -> Any:
        known = getattr(self, f"_{action}", None)
        if known is None:
            raise Rejected(1404, f"不支持的Api {action}")
        return known(params)

    def _get_status(self, _: dict[str, Any]) -> Any:
        return {"online": self.online, "good": True, "stat": {}}

    def _get_login_info(self, _: dict[str, Any]) -> Any:
        return {"user_id": self.logged_in or self.self_id, "nickname": self.nickname}

    def _get_version_info(self, _: dict[str, Any]) -> Any:
        return {"app_name": "NapCat.Onebot", "app_version": "4.8.0", "protocol_version": "v11"}

    def _get_group_list(self, _: dict[str, Any]) -> Any:
        return [{"group_id": id_, "group_name": name, "member_count": 3} for id_, name in self.groups.items()]

    def _get_group_info(self, params: dict[str, Any]) -> Any:
        return {"group_id": _number(params, "group_id"), "group_name": self.groups.get(_number(params, "group_id"), "")}

    def _get_group_member_list(self, params: dict[str, Any]) -> Any:
        group = _number(params, "group_id")
        if group not in self.members:
            raise Rejected(1200, "群不存在")
        return list(self.members[group].values())

    def _get_group_member_info(self, params: dict[str, Any]) -> Any:
        found = self.members.get(_number(params, "group_id"), {}).get(_number(params, "user_id"))
        if found is None:
            raise Rejected(1200, "群成员不存在")
        return found

    def _get_friend_list(self, _: dict[str, Any]) -> Any:
        return [{"user_id": id_, "nickname": name, "remark": ""} for id_, name in self.friends.items()]

    def _get_forward_msg(self, params: dict[str, Any]) -> Any:
        found = self.forwards.get(str(params.get("id") or params.get("message_id")))
        if found is None:
            raise Rejected(1200, "消息已过期或者为内层消息，无法获取转发消息")
        return {"message" if self.shape == "lagrange" else "messages": found}

    def _get_file(self, params: dict[str, Any]) -> Any:
        found = self.files.get(str(params.get("file_id") or params.get("file")))
        if found is None:
            raise Rejected(1200, "file not found")
        return {"file": "/app/.config/QQ/x", "file_name": "说明.pdf", "base64": base64.b64encode(found).decode()}

    _get_image = _get_file
    _get_record = _get_file

    def _set_friend_add_request(self, params: dict[str, Any]) -> Any:
        who = self._asked("friend", str(params["flag"]))
        self.friends.setdefault(who, str(who))

    def _set_group_add_request(self, params: dict[str, Any]) -> Any:
        if params.get("sub_type") not in ("add", "invite"):
            raise Rejected(1400, "sub_type is missing")
        group = self._asked(str(params["sub_type"]), str(params["flag"]))
        self.groups.setdefault(group, str(group))

    def _asked(self, what: str, flag: str) -> int:
        """A request is answered once; its flag means nothing afterwards."""
        if flag not in self.asking:
            raise Rejected(1200, "请求不存在或已处理")
        self.accepted.append((what, flag))
        return self.asking.pop(flag)

    def _send_group_msg(self, params: dict[str, Any]) -> Any:
        group = _number(params, "group_id")
        if group not in self.groups:
            raise Rejected(1200, "发送失败：不在群内")
        return self._sends(group, None, params.get("message"))

    def _send_private_msg(self, params: dict[str, Any]) -> Any:
        user = _number(params, "user_id")
        if user not in self.friends and not any(user in known for known in self.members.values()):
            raise Rejected(1200, "无法获取用户信息")
        return self._sends(None, user, params.get("message"))

    def _sends(self, group: int | None, user: int | None, message: Any) -> Any:
        parts = _checked(message)
        self.sent.append(AccountMessage(self.new_id(), group, user, parts))
        return {"message_id": self.sent[-1].id}

    def _upload_group_file(self, params: dict[str, Any]) -> Any:
        if _number(params, "group_id") not in self.groups:
            raise Rejected(1200, "发送失败：不在群内")
        self.uploaded.append((f"group:{params['group_id']}", str(params["name"]), _content(params["file"])))
        return {"file_id": "/f"}

    def _upload_private_file(self, params: dict[str, Any]) -> Any:
        self.uploaded.append((str(params["user_id"]), str(params["name"]), _content(params["file"])))
        return {"file_id": "/f"}

    def _delete_msg(self, params: dict[str, Any]) -> Any:
        found = next((one for one in self.sent if one.id == params.get("message_id") and not one.recalled), None)
        if found is None:
            raise Rejected(1200, "Recall failed")
        found.recalled = True


def _number(params: dict[str, Any], name: str) -> int:
    value = params.get(name)
    if isinstance(value, bool) or not str(value or "").isdecimal():
        raise Rejected(1400, f"{name} must be a number")
    return int(str(value))


_SENDABLE = {"text": "text", "at": "qq", "reply": "id", "image": "file", "video": "file", "face": "id"}


def _checked(message: Any) -> list[dict[str, Any]]:
    if not isinstance(message, list) or not message:
        raise Rejected(1400, "message must be a list of segments")
    for one in message:
        if one.get("type") not in _SENDABLE or not isinstance(one.get("data", {}).get(_SENDABLE[one["type"]]), str):
            raise Rejected(1400, "a segment is not understood")
        if one["type"] in ("image", "video"):
            _content(one["data"]["file"])
    if not any(one["type"] in ("text", "image", "video", "face") for one in message):
        raise Rejected(1200, "消息体无法解析, 请检查是否发送了不支持的消息类型")
    return message


def _content(reference: str) -> bytes:
    if not reference.startswith("base64://"):
        raise Rejected(1200, "文件处理失败")
    return base64.b64decode(reference.removeprefix("base64://"), validate=True)


def codes(parts: list[dict[str, Any]]) -> str:
    """Segments as a string with CQ codes."""

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("[", "&#91;").replace("]", "&#93;")

    def code(one: dict[str, Any]) -> str:
        if one["type"] == "text":
            return escaped(one["data"]["text"])
        pairs = "".join(f",{name}={escaped(str(value)).replace(',', '&#44;')}" for name, value in one["data"].items())
        return f"[CQ:{one['type']}{pairs}]"

    return "".join(map(code, parts))
