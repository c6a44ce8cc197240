"""The simulated platform on a socket, and an app that calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from zhiban.kit.http import Http
from zhiban.testing.serving import served
from zhiban.testing.wecom import AGENT_ID, CORP_ID, OPEN_KFID, SECRET, WeComSimulator, application

LI = "wmLIXIAO"


class Wire:
    """Calls to the platform with an access token, as an app makes them."""

    def __init__(self, http: Http, base: str, token: str) -> None:
        self._http = http
        self._base = base
        self.token = token

    async def __call__(self, path: str, body: dict[str, Any] | None = None, **params: str) -> dict[str, Any]:
        method: Any = "GET" if body is None else "POST"
        answer = await self._http.request(
            method, f"{self._base}/{path}", json=body, params={"access_token": self.token, **params}
        )
        found: dict[str, Any] = answer.json()
        return found

    async def renew(self) -> None:
        """A fresh token, as time may have been pushed forward."""
        self.token = (await self("gettoken", corpid=CORP_ID, corpsecret=SECRET))["access_token"]

    async def raw(
        self, path: str, data: bytes, content_type: str = "application/json", **params: str
    ) -> dict[str, Any]:
        answer = await self._http.request(
            "POST",
            f"{self._base}/{path}",
            data=data,
            params={"access_token": self.token, **params},
            headers={"Content-Type": content_type},
        )
        found: dict[str, Any] = answer.json()
        return found

    async def code(self, path: str, body: dict[str, Any] | None = None, **params: str) -> int:
        return int((await self(path, body, **params)).get("errcode", 0))

    async def send(self, msgid: str, inner: dict[str, Any] | None = None, *, kind: str = "text", to: str = LI) -> int:
        content = {"content": "七天内可退"} if inner is None else inner
        body = {"touser": to, "open_kfid": OPEN_KFID, "msgid": msgid, "msgtype": kind, kind: content}
        return await self.code("kf/send_msg", body)

    async def trans(self, state: int, servicer: str = "", to: str = LI) -> dict[str, Any]:
        body = {"open_kfid": OPEN_KFID, "external_userid": to, "service_state": state}
        return await self("kf/service_state/trans", body | ({"servicer_userid": servicer} if servicer else {}))

    async def card(self, card: dict[str, Any], *, to: str = "chen|omar", **more: Any) -> dict[str, Any]:
        body = {"touser": to, "agentid": AGENT_ID, "msgtype": "template_card", "template_card": card, **more}
        return await self("message/send", body)


@pytest.fixture
async def sim() -> AsyncIterator[WeComSimulator]:
    async with WeComSimulator() as simulator:
        yield simulator


@pytest.fixture
async def wire(sim: WeComSimulator) -> AsyncIterator[Wire]:
    async with served(application(sim)) as address, Http() as http:
        base = f"{address}/cgi-bin"
        found = Wire(http, base, "")
        await found.renew()
        yield found
