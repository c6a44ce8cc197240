"""One OneBot program as a vendor: it opens a WebSocket to us, tells what happens, and takes calls over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hmac import compare_digest
from typing import Any, Final

from zhiban.integrations.onebot.channel import OneBotChannel
from zhiban.integrations.onebot.client import OneBotClient
from zhiban.integrations.onebot.config import LABEL, NAME, OneBotConfig, own_account
from zhiban.integrations.onebot.events import OneBotEvent, called
from zhiban.integrations.onebot.segments import identifier
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.ports import (
    Acknowledgement,
    Challenge,
    Channel,
    CheckResult,
    ConnectionBroken,
    GatewayState,
    Handshake,
    InvalidWebhook,
    SendRefused,
    SocketAnswer,
    SocketCalls,
    SocketClient,
    TryLater,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)

ASK_SECONDS: Final = 8.0
_STORED: Final = frozenset(("message", "notice", "request"))
_ROLES: Final[Mapping[str, tuple[bool, bool]]] = {
    "universal": (True, True),
    "api": (True, False),
    "event": (False, True),
}


class OneBotVendor:
    """AcceptsSockets. The account that is logged in may be replaced; what was said stays with the connection."""

    def __init__(self, http: Http, config: OneBotConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._client = OneBotClient()
        self._channel = OneBotChannel(self._client, http, config, clock)

    def namespace(self, kind: str) -> tuple[str, str]:  # noqa: ARG002
        """Not every program speaks for QQ: the ids of two connections are never compared."""
        return NAME, self._config.source

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:  # noqa: ARG002
        raise InvalidWebhook("only sockets are opened here")

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        return Acknowledgement(status)

    def account(self, named: str | None) -> VendorAccount:  # noqa: ARG002
        return own_account(self._config.source)

    def channel(self, kind: str, external_id: str) -> Channel:  # noqa: ARG002
        return self._channel

    async def accounts(self) -> Sequence[VendorAccount]:
        return (self.account(None),)

    # ------------------------------------------------------------------------------------------------------- sockets

    def admit(self, handshake: Handshake) -> SocketClient:
        """By its token, of which there is always one, and by the headers that the standard asks for."""
        given = _token(handshake)
        # All of them are compared, so that the time tells nothing.
        right = [compare_digest(given.encode(), known.encode()) for known in self._config.tokens(handshake.received_at)]
        if not any(right):
            raise InvalidWebhook("the token is missing or wrong")
        account = identifier(_sole(handshake.headers, "x-self-id"))
        if account in ("", "0"):
            raise InvalidWebhook("X-Self-ID is missing", status=400)
        role = (_sole(handshake.headers, "x-client-role") or "universal").lower()
        if role not in _ROLES:
            raise InvalidWebhook("X-Client-Role is none that we know", status=400)
        return SocketClient(account, *_ROLES[role])

    def bind(self, calls: SocketCalls) -> None:
        self._client.calls = calls

    def hear(self, frame: str, client: SocketClient) -> SocketAnswer | VerifiedWebhook | GatewayState | None:
        """As AcceptsSockets promises. Raises InvalidWebhook for what is neither an event nor an answer."""
        try:
            found = json.loads(frame)
        except (ValueError, RecursionError):
            raise InvalidWebhook("the frame is no JSON", status=400) from None
        if not isinstance(found, dict):
            raise InvalidWebhook("the frame is no object", status=400)
        event = OneBotEvent(found)
        if not isinstance(found.get("post_type"), str):
            echo = found.get("echo")
            if "retcode" not in found and "status" not in found:
                raise InvalidWebhook("the frame is neither an event nor an answer", status=400)
            return SocketAnswer(echo, frame) if isinstance(echo, str) and echo else None
        if event.us != client.account:
            raise InvalidWebhook("the event is of another account", status=400)
        if event.kind == "meta_event":
            return self._state(event, client)
        if event.word("notice_type") == "bot_offline":
            return GatewayState("logged_out", self._clock.now(), reason=event.named("message"))
        if event.kind not in _STORED:
            return None  # our own words, and what programs made up
        found.pop("raw", None)  # what the program itself was told, a multiple of the event
        body = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        return VerifiedWebhook(self._digest(frame), body)

    def _state(self, event: OneBotEvent, client: SocketClient) -> GatewayState | None:
        if event.word("meta_event_type") != "heartbeat":
            return None
        return _state_of(event.part("status").values, client.account, "", self._clock.now())

    def _digest(self, frame: str) -> bytes:
        content = f"{NAME}\0{self._config.source}\0{frame}".encode(errors="surrogatepass")
        return hashlib.sha256(content).digest()

    def opened(self, client: SocketClient, *, at: datetime) -> VerifiedWebhook:
        """The groups are asked for anew: what happened to them meanwhile was told to nobody."""
        body = json.dumps({"post_type": "zhiban", "self_id": client.account, "at": at.isoformat()})
        return VerifiedWebhook(self._digest(body), body)

    async def ask_state(self, calls: SocketCalls, client: SocketClient) -> GatewayState:
        """Who is logged in and whether they are online. Raises TryLater."""
        status = await self._asked("get_status", calls)
        login = await self._asked("get_login_info", calls)
        name = called(login.get("nickname")) if isinstance(login, Mapping) else ""
        told = status if isinstance(status, Mapping) else {}
        state = _state_of(told, client.account, name, self._clock.now())
        logged_in = login.get("user_id") if isinstance(login, Mapping) else None
        return replace(state, proved=str(logged_in) == client.account)

    async def _asked(self, action: str, calls: SocketCalls | None = None) -> Any:
        """The answer; None where the program knows no such call. Raises TryLater."""
        try:
            return await self._client.call(action, timeout=ASK_SECONDS, over=calls)
        except (SendRefused, ConnectionBroken):
            return None

    async def checks(self) -> AsyncIterator[CheckResult]:
        """Whether a program is connected, takes our calls, and its account is online."""
        try:
            status = await self._client.call("get_status", timeout=ASK_SECONDS)
            version = await self._asked("get_version_info")
        except (SendRefused, TryLater, ConnectionBroken) as error:
            cure = mark("检查OneBot实现里的地址和Token，以及它是否在运行；角色要有Universal或API")
            yield CheckResult(LABEL, "fail", problem=error.sentence, cure=cure, step="account")
            return
        if isinstance(status, Mapping) and status.get("online") is False:
            said, cure = mark("账号不在线"), mark("在OneBot实现那边重新登录QQ")
            yield CheckResult(LABEL, "fail", said, cure=cure, step="account")
            return
        told = version if isinstance(version, Mapping) else {}
        names = (clean(str(told.get(name) or ""))[:40] for name in ("app_name", "app_version"))
        values = {"program": " ".join(filter(None, names)) or "OneBot"}
        yield CheckResult(LABEL, "ok", mark("{program}已连接，账号在线"), values=values, step="account")


def _state_of(status: Mapping[str, Any], account: str, name: str, now: datetime) -> GatewayState:
    """Only an explicit no is one: some do not know whether they are online."""
    if status.get("online") is False:
        return GatewayState("logged_out", now)
    return GatewayState("online", now, account, name)


def _token(handshake: Handshake) -> str:
    """The one that was given: in the header, where most put it, or in the address."""
    scheme, _, token = _sole(handshake.headers, "authorization").partition(" ")
    if scheme.lower() in ("bearer", "token") and token.strip():
        return token.strip()
    return _sole(handshake.query, "access_token")


def _sole(values: Mapping[str, Sequence[str]], name: str) -> str:
    found = values.get(name, ())
    return found[0].strip() if len(found) == 1 else ""
