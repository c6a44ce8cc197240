"""The channels that are held to the contract, each with the people on its other side and the mishaps of its wire."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from tests.integrations.wechaty import gateways
from tests.ports.socket_stand import socket_stand
from tests.ports.stand import Stand
from zhiban import bootstrap
from zhiban.integrations.wecom.memory_slots import MemorySlots
from zhiban.integrations.wecom.tokens import MemoryTokens
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    AnswersInSlots,
    ConnectionBroken,
    GatewayState,
    IncomingMessage,
    LinkCard,
    Refusal,
    SendRefused,
    Streams,
    TryLater,
    Vendor,
    Webhook,
)
from zhiban.testing import channel as memory
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET as SIGNING_SECRET
from zhiban.testing.webhook import WebhookProgram, headers_for
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, OPEN_KFID, SECRET, TOKEN, WeComSimulator, application

NOWHERE = "http://127.0.0.1:9/wecom/callback"


class MemoryStand(Stand):
    def __init__(self) -> None:
        self.place = memory.MemoryPlace()
        self.vendor = memory.MemoryVendor(self.place)
        self.channel = self.vendor.channel("memory", "memory")

    async def says(self, text: str) -> Webhook:
        return memory.webhook({"id": "m1", "contact": self.contact, "text": text}, now=datetime.now(UTC))

    def arrived(self) -> list[str]:
        return [one.text for one in self.place.arrived if one.key not in self.place.recalled]

    def files(self) -> list[bytes]:
        return [self.channel._files[one.media.reference] for one in self.place.arrived if one.media]  # type: ignore[attr-defined]

    def answered(self) -> list[str]:
        return [one.reply_to for one in self.place.arrived if one.reply_to]

    def cards(self) -> list[LinkCard]:
        return [one.link for one in self.place.arrived if one.link]

    def lose_files(self) -> None:
        self.channel.expire_files()  # type: ignore[attr-defined]

    def busy(self) -> None:
        self.place.faults.append((TryLater("busy", after=1), False))

    def lost(self) -> None:
        self.place.faults.append((TryLater("lost", after=1, unknown=True), True))

    def refused(self) -> None:
        self.place.faults.append((SendRefused(Refusal.BLOCKED), False))

    def broken(self) -> None:
        self.place.faults += [(ConnectionBroken("broken", code=1), False)] * 3


class WeComStand(Stand):
    """What both of its channels share: one simulated platform. `path` is what sends a message."""

    path: str
    refusal: int

    def __init__(self, simulator: WeComSimulator, vendor: Vendor, kind: str, external_id: str) -> None:
        self.simulator = simulator
        self.vendor = vendor
        self.channel = vendor.channel(kind, external_id)
        simulator.configure(NOWHERE)
        simulator.callbacks.attempts = 1

    async def call(self) -> Webhook:
        await self.simulator.callbacks.settle()
        at = datetime.now(UTC)
        document = self.simulator.callbacks.log[-1].document
        query, body = self.simulator.callbacks.envelope.post(document, timestamp=int(at.timestamp()), nonce="1")
        return Webhook("POST", parse_qs(query), body, at)

    def lose_files(self) -> None:
        self.simulator.media.expire()

    def busy(self) -> None:
        self.simulator.fail(self.path, status=503)

    def lost(self) -> None:
        self.simulator.fail(self.path, status=502, accept=True)

    def refused(self) -> None:
        self.simulator.fail(self.path, errcode=self.refusal)

    def broken(self) -> None:
        self.simulator.fail("*", errcode=60020, errmsg="not allow to access from your ip", times=None)


class KfStand(WeComStand):
    contact = "wmLIHUA"
    path = "kf/send_msg"
    refusal = 95002

    async def says(self, text: str) -> Webhook:
        self.simulator.contact_says(self.contact, text)
        return await self.call()

    def arrived(self) -> list[str]:
        return [entry.text for entry in self.simulator.sent(self.contact) if entry.text]

    def files(self) -> list[bytes]:
        bodies = [entry.body[entry.msgtype] for entry in self.simulator.sent(self.contact)]
        return [self.simulator.media.named(body["media_id"])[1] for body in bodies if "media_id" in body]


class AppStand(WeComStand):
    path = "message/send"
    refusal = 81013

    async def says(self, text: str) -> Webhook:
        self.simulator.member_says(self.contact, text)
        return await self.call()

    def arrived(self) -> list[str]:
        return [str(sent.body.get("content", "")) for sent in self.simulator.office.messages]

    def files(self) -> list[bytes]:
        ids = [sent.body["media_id"] for sent in self.simulator.office.messages if "media_id" in sent.body]
        return [self.simulator.media.named(media_id)[1] for media_id in ids]


class BotStand(WeComStand):
    """A bot whose streams nobody waits for any more: answers are posted, each to an address of its own."""

    path = "aibot/response"
    refusal = 40201
    provable = False

    def __init__(self, simulator: WeComSimulator, vendor: Vendor, kind: str, external_id: str) -> None:
        super().__init__(simulator, vendor, kind, external_id)
        self.slots = MemorySlots(SystemClock())
        assert isinstance(vendor, AnswersInSlots)
        vendor.use_slots(self.slots)
        self.channel = vendor.channel(kind, external_id)
        simulator.bot.configure(NOWHERE, token=TOKEN, aes_key=AES_KEY)

    async def says(self, text: str) -> Webhook:
        bot, at = self.simulator.bot, datetime.now(UTC)
        said = bot.message(self.contact, text)
        bot.begin(said)
        query, body = bot.call_for(said, nonce="1")
        return Webhook("POST", parse_qs(query), body, at)

    async def may_answer(self) -> None:
        for _ in range(4):
            messages = await self.heard(await self.says("在吗"))
            late = [replace(one, slots=tuple(each for each in one.slots if each.how == "posted")) for one in messages]
            self.slots.open(late)

    def arrived(self) -> list[str]:
        return self.simulator.bot.sees(self.contact)

    def files(self) -> list[bytes]:
        return []


class ProgramStand(Stand):
    def __init__(self, program: WebhookProgram, vendor: Vendor) -> None:
        self.program = program
        self.vendor = vendor
        self.channel = vendor.channel("webhook", "crm")

    async def says(self, text: str) -> Webhook:
        event = f'{{"type": "message", "contact": {{"id": "lihua"}}, "message": {{"id": "m1", "text": "{text}"}}}}'
        now, body = datetime.now(UTC), event.encode()
        headers = headers_for(SIGNING_SECRET, "call-1", body, at=now.timestamp())
        return Webhook("POST", {}, body, now, {name: [value] for name, value in headers.items()})

    def arrived(self) -> list[str]:
        gone = {one.body["message_id"] for one in self.program.heard if one.body["type"] == "reply_recalled"}
        return [one.text for one in self.program.replies(self.contact) if one.id not in gone]

    def files(self) -> list[bytes]:
        return [base64.b64decode(file["data"]) for message in self.messages() for file in message.get("files", ())]

    def answered(self) -> list[str]:
        return [message["reply_to"] for message in self.messages() if "reply_to" in message]

    def cards(self) -> list[LinkCard]:
        return [LinkCard(**message["link"]) for message in self.messages() if "link" in message]

    def formatted(self) -> list[str]:
        return [message["markdown"] for message in self.messages() if "markdown" in message]

    def messages(self) -> list[dict[str, Any]]:
        return [one.body["message"] for one in self.program.replies(self.contact)]

    def busy(self) -> None:
        self.program.script.append(Response(status_code=503))

    def lost(self) -> None:
        self.program.loses_answers = 1

    def refused(self) -> None:
        self.program.script.append(JSONResponse({"error": "blocked"}, 403))

    def broken(self) -> None:
        self.program.script += [Response(status_code=401)] * 3


@asynccontextmanager
async def _wecom(kind: type[WeComStand], channel: str, external_id: str) -> AsyncIterator[Stand]:
    async with WeComSimulator() as simulator, served(application(simulator)) as url, Http() as http:
        config = {"corp_id": CORP_ID, "agent_id": AGENT_ID, "api_base": f"{url}/cgi-bin"}
        secrets = {"secret": SECRET, "token": TOKEN, "encoding_aes_key": AES_KEY}
        build = bootstrap.CHANNELS["wecom"].build
        vendor = build(http, SystemClock(), config, secrets, MemoryTokens(), LocalBreakers())
        yield kind(simulator, vendor, channel, external_id)


@asynccontextmanager
async def _bot() -> AsyncIterator[Stand]:
    async with WeComSimulator() as simulator, served(application(simulator)) as url, Http() as http:
        config = {"bot": simulator.bot.name, "api_base": f"{url}/cgi-bin"}
        secrets = {"token": TOKEN, "encoding_aes_key": AES_KEY}
        build = bootstrap.CHANNELS["wecom_bot"].build
        vendor = build(http, SystemClock(), config, secrets, MemoryTokens(), LocalBreakers())
        yield BotStand(simulator, vendor, "wecom_bot", simulator.bot.name)


@asynccontextmanager
async def _program() -> AsyncIterator[Stand]:
    program = WebhookProgram()
    async with served(program.app) as url, Http() as http:
        config = {"source": "crm", "url": f"{url}/inbox", "allow_private": True}
        build = bootstrap.CHANNELS["webhook"].build
        secrets = {"secret": SIGNING_SECRET}
        yield ProgramStand(program, build(http, SystemClock(), config, secrets, MemoryTokens(), LocalBreakers()))


class GatewayStand(Stand):
    """A real gateway, listened to since before the first word."""

    def __init__(self, gateway: gateways.Gateway, vendor: Vendor) -> None:
        self.gateway = gateway
        self.vendor = vendor
        self.channel = vendor.channel("wechaty", "wx-1")
        self.heard_so_far: list[IncomingMessage] = []
        self.state = ""
        self.news = asyncio.Condition()

    async def listen(self) -> None:
        assert isinstance(self.vendor, Streams)
        while True:
            with suppress(TryLater, ConnectionBroken):
                async for batch in self.vendor.listen():
                    async with self.news:
                        self.heard_so_far += [one.item for one in batch if isinstance(one.item, IncomingMessage)]
                        states = [one.item.state for one in batch if isinstance(one.item, GatewayState)]
                        self.state = states[-1] if states else self.state
                        self.news.notify_all()
            await asyncio.sleep(0.02)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(60), self.news:
            await self.news.wait_for(holds)

    async def says(self, text: str) -> None:
        await self.gateway.says(self.contact, text, to=gateways.BOT)

    async def heard(self, webhook: Webhook | None) -> list[IncomingMessage]:
        await self.until(lambda: self.heard_so_far)
        return self.heard_so_far

    def sent(self) -> list[dict[str, Any]]:
        said = self.gateway.play_now("state")
        return [one for one in said["sent"] if one["id"] not in said["recalled"]]

    def arrived(self) -> list[str]:
        return [one["text"] for one in self.sent() if "text" in one]

    def files(self) -> list[bytes]:
        return [base64.b64decode(one["base64"]) for one in self.sent() if "base64" in one]

    def cards(self) -> list[LinkCard]:
        return [LinkCard(**one["link"]) for one in self.sent() if "link" in one]

    def busy(self) -> None:
        self.gateway.play_now("fault", next=["busy"])

    def lost(self) -> None:
        self.gateway.play_now("fault", next=["lost"])

    def refused(self) -> None:
        self.gateway.play_now("fault", next=["refused"])

    def broken(self) -> None:
        self.gateway.play_now("token", token="another")


@asynccontextmanager
async def _gateway() -> AsyncIterator[Stand]:
    gateway = gateways.fresh()
    async with Http() as http:
        config = gateway.config()
        secrets = {"token": config.pop("token")}
        build = bootstrap.CHANNELS["wechaty"].build
        stand = GatewayStand(gateway, build(http, SystemClock(), config, secrets, MemoryTokens(), LocalBreakers()))
        listening = asyncio.create_task(stand.listen())
        try:
            await stand.until(lambda: stand.state)
            await gateway.play("login")
            await stand.until(lambda: stand.state == "online")
            yield stand
        finally:
            await cancelled([listening])


@asynccontextmanager
async def _memory() -> AsyncIterator[Stand]:
    yield MemoryStand()


STANDS: dict[str, Callable[[], object]] = {
    "memory": _memory,
    "wecom_kf": lambda: _wecom(KfStand, "wecom_kf", OPEN_KFID),
    "wecom_app": lambda: _wecom(AppStand, "wecom_app", str(AGENT_ID)),
    "wecom_bot": _bot,
    "webhook": _program,
    "wechaty": _gateway,
    "onebot": socket_stand,
}

# Channels that carry no talk: nobody writes there, and nothing is sent.
MUTE = frozenset({"wecom_customer_groups"})
