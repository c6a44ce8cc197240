"""What every channel promises: the twin in memory and each real one, over the simulated wire.

A fake that is kinder than the real thing hides defects, so all of them pass the same tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from zhiban import bootstrap
from zhiban.integrations.wecom.tokens import MemoryTokens
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.clock import SystemClock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http
from zhiban.ports import (
    Channel,
    ConnectionBroken,
    FetchesMedia,
    IncomingMessage,
    Integration,
    InvalidWebhook,
    Kind,
    Outgoing,
    Polls,
    RecallsMessages,
    Refusal,
    SenderRole,
    SendRefused,
    TryLater,
    UploadsMedia,
    Vendor,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)
from zhiban.testing import channel as memory
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET as SIGNING_SECRET
from zhiban.testing.webhook import WebhookProgram, headers_for
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, OPEN_KFID, SECRET, TOKEN, WeComSimulator, application

NOWHERE = "http://127.0.0.1:9/wecom/callback"


class Stand(ABC):
    """A channel, the people on its other side, and the mishaps of its wire."""

    contact = "lihua"
    vendor: Vendor
    channel: Channel

    @abstractmethod
    async def says(self, text: str) -> Webhook:
        """The contact writes; the genuine call that follows."""

    @abstractmethod
    def arrived(self) -> list[str]:
        """The texts that the contact sees."""

    @abstractmethod
    def busy(self) -> None:
        """The next message is not taken."""

    @abstractmethod
    def lost(self) -> None:
        """The next message is taken and the answer never comes."""

    @abstractmethod
    def refused(self) -> None:
        """The next message is refused for good, because of the contact."""

    @abstractmethod
    def broken(self) -> None:
        """Nothing is taken until an operator mends it."""

    async def may_answer(self) -> None:
        """Whatever has to happen before we may write."""
        await self.says("在吗")

    async def heard(self, webhook: Webhook) -> list[IncomingMessage]:
        """The messages that a call brings, by whatever way the channel has."""
        found = self.vendor.authenticate(webhook)
        assert isinstance(found, VerifiedWebhook)
        items = list(self.channel.read(found.body))
        if found.pulls:
            assert isinstance(self.channel, Polls)
            items = list((await self.channel.pull(cursor=None, token=found.token)).items)
        return [item for item in items if isinstance(item, IncomingMessage)]


class MemoryStand(Stand):
    def __init__(self) -> None:
        self.place = memory.MemoryPlace()
        self.vendor = memory.MemoryVendor(self.place)
        self.channel = self.vendor.channel("memory", "memory")

    async def says(self, text: str) -> Webhook:
        return memory.webhook({"id": "m1", "contact": self.contact, "text": text}, now=datetime.now(UTC))

    def arrived(self) -> list[str]:
        return [one.text for one in self.place.arrived if one.key not in self.place.recalled]

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
        return [entry.text for entry in self.simulator.sent(self.contact)]


class AppStand(WeComStand):
    path = "message/send"
    refusal = 81013

    async def says(self, text: str) -> Webhook:
        self.simulator.member_says(self.contact, text)
        return await self.call()

    def arrived(self) -> list[str]:
        return [str(sent.body.get("content", "")) for sent in self.simulator.office.messages]


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
async def _program() -> AsyncIterator[Stand]:
    program = WebhookProgram()
    async with served(program.app) as url, Http() as http:
        config = {"source": "crm", "url": f"{url}/inbox", "allow_private": True}
        build = bootstrap.CHANNELS["webhook"].build
        secrets = {"secret": SIGNING_SECRET}
        yield ProgramStand(program, build(http, SystemClock(), config, secrets, MemoryTokens(), LocalBreakers()))


@asynccontextmanager
async def _memory() -> AsyncIterator[Stand]:
    yield MemoryStand()


STANDS: dict[str, Callable[[], object]] = {
    "memory": _memory,
    "wecom_kf": lambda: _wecom(KfStand, "wecom_kf", OPEN_KFID),
    "wecom_app": lambda: _wecom(AppStand, "wecom_app", str(AGENT_ID)),
    "webhook": _program,
}


@pytest.fixture(params=STANDS)
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(STANDS[request.param]())  # type: ignore[arg-type]


def text(key: str, words: str, *, to: str) -> Outgoing:
    return Outgoing(key, to, Kind.TEXT, words)


def test_every_kind_of_channel_is_held_to_this_contract() -> None:
    assert set(bootstrap.KINDS) == set(STANDS) - {"memory"}


# --------------------------------------------------------------------------------------------------------- what it is


def test_it_says_what_it_is(stand: Stand) -> None:
    assert isinstance(stand.channel, Channel)
    assert stand.channel.kind
    assert stand.channel.label
    assert stand.channel.icon
    assert stand.channel.limits.text > 0
    assert stand.vendor.namespace(stand.channel.kind) == stand.vendor.namespace(stand.channel.kind)
    assert stand.vendor.account(None).kind


# -------------------------------------------------------------------------------------------------------- what comes in


async def test_what_a_contact_writes_comes_in(stand: Stand) -> None:
    webhook = await stand.says("怎么申请退款？")
    (message,) = await stand.heard(webhook)
    assert (message.text, message.kind, message.role) == ("怎么申请退款？", Kind.TEXT, SenderRole.CONTACT)
    assert (message.thread, message.sender) == (stand.contact, stand.contact)
    assert message.external_id
    assert abs(datetime.now(UTC) - message.sent_at) < timedelta(minutes=1)


async def test_only_genuine_calls_are_let_in(stand: Stand) -> None:
    webhook = await stand.says("在吗")
    found = stand.vendor.authenticate(webhook)
    assert isinstance(found, VerifiedWebhook)
    assert len(found.digest) == 32
    again = stand.vendor.authenticate(webhook)
    assert isinstance(again, VerifiedWebhook)
    assert again.digest == found.digest
    middle = len(webhook.body) // 2
    spoilt = webhook.body[:middle] + bytes([webhook.body[middle] ^ 1]) + webhook.body[middle + 1 :]
    for forged in (
        Webhook("POST", webhook.query, spoilt, webhook.received_at, webhook.headers),
        Webhook("POST", {}, webhook.body, webhook.received_at, {}),
        Webhook("GET", {}, b"", webhook.received_at, {}),
    ):
        with pytest.raises(InvalidWebhook):
            stand.vendor.authenticate(forged)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(body=st.text())
async def test_nothing_that_was_stored_breaks_the_reader(stand: Stand, body: str) -> None:
    assert stand.channel.read(body) is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(body=st.binary(max_size=200), name=st.text(max_size=20), value=st.text(max_size=20))
async def test_nothing_that_knocks_breaks_the_vendor(stand: Stand, body: bytes, name: str, value: str) -> None:
    webhook = Webhook("POST", {name: [value]}, body, datetime.now(UTC), {name.lower(): [value]})
    with pytest.raises(InvalidWebhook):
        stand.vendor.authenticate(webhook)


def test_each_outcome_has_its_answer(stand: Stand) -> None:
    stored = stand.vendor.acknowledge(WebhookOutcome.STORED, status=200)
    assert 200 <= stored.status < 300
    refused = stand.vendor.acknowledge(WebhookOutcome.REFUSED, status=403, reason="the signature is wrong")
    assert refused.status == 403
    assert b"signature" not in refused.body  # whoever knocks learns nothing
    assert stand.vendor.acknowledge(WebhookOutcome.UNAVAILABLE, status=503).status == 503


# --------------------------------------------------------------------------------------------------------- what leaves


async def test_a_text_arrives_once_however_often_it_is_sent(stand: Stand) -> None:
    await stand.may_answer()
    message = text("z0001", "在“我的订单”里申请。", to=stand.contact)
    assert await stand.channel.send(message)
    assert await stand.channel.send(message)
    assert stand.arrived() == [message.text]


async def test_a_long_text_arrives_in_parts(stand: Stand) -> None:
    await stand.may_answer()
    limits = stand.channel.limits
    words = "".join(f"退货说明第{number}条：七天内都可以申请。😀" for number in range(limits.text // 8))
    parts = limits.parts(words)[:3]
    assert "".join(limits.parts(words)) == words
    assert len(parts) >= 2
    for number, part in enumerate(parts):
        await stand.channel.send(text(f"z1{number}", part, to=stand.contact))
    assert stand.arrived() == parts


async def test_what_cannot_be_shown_is_refused_and_does_not_arrive(stand: Stand) -> None:
    await stand.may_answer()
    for words in ("", "  \n", "长" * (stand.channel.limits.text * 2)):
        with pytest.raises(SendRefused) as caught:
            await stand.channel.send(text("z2", words, to=stand.contact))
        assert caught.value.refusal is Refusal.BAD_MESSAGE
    assert stand.arrived() == []


async def test_busy_means_later_and_loses_nothing(stand: Stand) -> None:
    await stand.may_answer()
    stand.busy()
    message = text("z3", "您好", to=stand.contact)
    with pytest.raises(TryLater) as caught:
        await stand.channel.send(message)
    assert caught.value.after > 0
    assert stand.arrived() == []


async def test_an_answer_that_was_lost_doubles_nothing(stand: Stand) -> None:
    await stand.may_answer()
    stand.lost()
    message = text("z4", "您好", to=stand.contact)
    with pytest.raises(TryLater) as caught:
        await stand.channel.send(message)
    assert caught.value.unknown
    await stand.channel.send(message)
    assert stand.arrived() == ["您好"]


async def test_a_refusal_is_no_accident_of_ours(stand: Stand) -> None:
    await stand.may_answer()
    stand.refused()
    with pytest.raises(SendRefused) as caught:
        await stand.channel.send(text("z5", "您好", to=stand.contact))
    assert caught.value.refusal is not Refusal.BAD_MESSAGE
    assert stand.arrived() == []


async def test_what_an_operator_must_mend_is_said_by_sending_and_by_checking(stand: Stand) -> None:
    assert [result.level async for result in stand.vendor.checks() if result.level == "fail"] == []
    await stand.may_answer()
    stand.broken()
    with pytest.raises(ConnectionBroken) as caught:
        await stand.channel.send(text("z6", "您好", to=stand.contact))
    assert caught.value.sentence
    results = [result async for result in stand.vendor.checks()]
    assert any(result.level == "fail" and result.problem for result in results)


# ------------------------------------------------------------------------------------------------------------- talents


async def test_files_go_and_come_whole_or_not_at_all(stand: Stand) -> None:
    channel = stand.channel
    assert isinstance(channel, UploadsMedia)
    assert isinstance(channel, FetchesMedia)
    media = await channel.upload(b"%PDF-1.7", kind=Kind.FILE, filename="说明.pdf", content_type="application/pdf")
    assert b"".join([piece async for piece in channel.fetch(media, limit=8).pieces]) == b"%PDF-1.7"
    with pytest.raises(SendRefused) as caught:
        [piece async for piece in channel.fetch(media, limit=7).pieces]
    assert caught.value.refusal is Refusal.BAD_MESSAGE
    largest = channel.limits.media[Kind.FILE]
    for size in (0, largest + 1):
        with pytest.raises(SendRefused):
            await channel.upload(bytes(size), kind=Kind.FILE, filename="x", content_type="text/plain")
    with pytest.raises(SendRefused):
        await channel.upload(b"%PDF-1.7", kind=Kind.LOCATION, filename="x", content_type="text/plain")


async def test_a_message_is_taken_back(stand: Stand) -> None:
    if not isinstance(stand.channel, RecallsMessages):
        pytest.skip("this channel takes nothing back")
    sent = await stand.channel.send(text("z7", "发错了", to=stand.contact))
    await stand.channel.recall(sent, thread=stand.contact)
    assert stand.arrived() == []


# ------------------------------------------------------------------------------------------------------- connecting it


@pytest.mark.parametrize("integration", bootstrap.CHANNELS.values(), ids=lambda one: one.name)
def test_its_set_up_can_be_asked_for(integration: Integration) -> None:
    names = [field.name for field in integration.setup.fields]
    assert len(names) == len(set(names))
    assert not {"name", "account", "base", "values", "json"} & set(names)  # options of `zhiban inbox add` itself
    assert any(field.identifies for field in integration.setup.fields)
    assert any("{callback}" in step for step in integration.setup.steps)
    assert all(field.secret for field in integration.setup.fields if field.rotates)
    with pytest.raises(Misconfigured):
        integration.setup.complete({})
    assert {channel.kind for channel in integration.channels} <= set(bootstrap.KINDS)
