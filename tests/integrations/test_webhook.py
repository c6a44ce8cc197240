"""The webhook channel: what is genuine, what a body says, what leaves, and what an answer means."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from zhiban.integrations.standard_webhooks import new_secret, parse_secret
from zhiban.integrations.webhook import WEBHOOK, kinds
from zhiban.integrations.webhook.channel import WebhookChannel, WebhookConfig
from zhiban.integrations.webhook.vendor import WebhookVendor
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http
from zhiban.ports import (
    Challenge,
    Choice,
    ConnectionBroken,
    ContactChanged,
    Incoming,
    IncomingMessage,
    InvalidWebhook,
    Kind,
    Media,
    Outgoing,
    Profile,
    Recalled,
    Receipt,
    Refusal,
    SenderRole,
    SendFailed,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)
from zhiban.testing.serving import served
from zhiban.testing.webhook import OTHER_SECRET, SECRET, WebhookProgram, headers_for

NOW = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
FOLDER = Path(__file__).resolve().parents[1] / "deliveries" / "webhook"
KEY = "z0123456789abcdef0123456789ab"


def vendor(http: Http | None = None, **config: Any) -> WebhookVendor:
    described = {"source": "crm", "url": "http://127.0.0.1:9/inbox", "secret": SECRET, **config}
    return WebhookVendor(http or Http(), WebhookConfig(**described), SetClock(NOW))


def call(body: bytes, *, secret: str = SECRET, id_: str = "c-1", age: float = 0, **changed: Any) -> Webhook:
    """A call as it arrives; `changed` replaces headers, None takes one away."""
    headers = headers_for(secret, id_, body, at=NOW.timestamp() - age)
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    return Webhook("POST", {}, body, NOW, {name: [value] for name, value in headers.items() if value is not None})


def recorded(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def read(name: str) -> list[Incoming]:
    bell = vendor().authenticate(call(recorded(name)))
    assert isinstance(bell, VerifiedWebhook)
    assert (bell.account, bell.pulls, bell.parsable) == (None, False, True)
    channel = vendor().channel("webhook", "crm")
    return list(channel.read(bell.body))


# ----------------------------------------------------------------------------------------------------- what is genuine


def test_only_what_is_signed_is_genuine() -> None:
    body = recorded("message__text")
    assert isinstance(vendor().authenticate(call(body)), VerifiedWebhook)
    genuine = call(body)
    refused = [
        call(body, secret=OTHER_SECRET),
        call(body, age=301),
        call(body, age=-301),
        call(body, webhook_id="c-2"),
        call(body, webhook_id="ß" * 10),
        call(body, webhook_id=None),
        call(body, webhook_timestamp="soon"),
        call(body, webhook_timestamp=None),
        call(body, webhook_signature="v1,"),
        call(body, webhook_signature="v2," + genuine.headers["webhook-signature"][0][3:]),
        call(body, webhook_signature=None),
        Webhook("POST", {}, body + b" ", NOW, genuine.headers),
        Webhook("POST", {}, body, NOW, {**genuine.headers, "webhook-id": ["c-1", "c-1"]}),
        Webhook("POST", {}, body, NOW, {}),
    ]
    for webhook in refused:
        with pytest.raises(InvalidWebhook) as caught:
            vendor().authenticate(webhook)
        assert caught.value.status == 403


def test_one_of_several_signatures_is_enough() -> None:
    body = recorded("message__text")
    right = call(body).headers["webhook-signature"][0]
    wrong = call(body, secret=OTHER_SECRET).headers["webhook-signature"][0]
    assert vendor().authenticate(call(body, webhook_signature=f"v1a,abc {wrong} {right}"))
    with pytest.raises(InvalidWebhook):  # nobody makes us compute for ever
        vendor().authenticate(call(body, webhook_signature=" ".join([wrong] * 8 + [right])))


def test_a_former_secret_is_accepted_until_its_time_is_over() -> None:
    body = recorded("message__text")
    old = {"previous_secret": OTHER_SECRET, "previous_until": NOW + timedelta(minutes=1)}
    assert vendor(**old).authenticate(call(body, secret=OTHER_SECRET))
    assert vendor(**old).authenticate(call(body))
    with pytest.raises(InvalidWebhook):
        vendor(**{**old, "previous_until": NOW}).authenticate(call(body, secret=OTHER_SECRET))


def test_a_repeat_is_known_by_its_id_and_two_programs_may_count_alike() -> None:
    def digest(secret: str, id_: str, body: bytes) -> bytes:
        bell = vendor(secret=secret).authenticate(call(body, secret=secret, id_=id_))
        assert isinstance(bell, VerifiedWebhook)
        return bell.digest

    text, choice = recorded("message__text"), recorded("message__choice")
    assert digest(SECRET, "1", text) == digest(SECRET, "1", choice)
    assert digest(SECRET, "1", text) != digest(SECRET, "2", text)
    assert digest(SECRET, "1", text) != digest(OTHER_SECRET, "1", text)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"\xff\xfe\xfd", "body"),
        (b"[]", "body"),
        (b'{"type": "message"', "body"),
        (b"[" * 100_000, "body"),
        (b'{"type": "reply", "thread": "u", "message": {"id": "z", "text": "x"}}', "body"),  # a call of ours, sent back
        (b'{"type": "message", "message": {"id": "1", "text": "x"}}', "message.contact"),
        (b'{"type": "message", "contact": {"id": ""}, "message": {"id": "1", "text": "x"}}', "message.contact.id"),
        (
            b'{"type": "message", "contact": {"id": "a\\u0000"}, "message": {"id": "1", "text": "x"}}',
            "message.contact.id",
        ),
        (b'{"type": "message", "contact": {"id": "a"}, "message": {"id": "1", "text": " "}}', "message.message"),
        (
            b'{"type": "message", "contact": {"id": "a"}, "message": {"id": "1", "files": [{}]}}',
            "message.message.files.0",
        ),
        (b'{"type": "message", "contact": {"id": "a", "avatar_url": "file:///etc/passwd"}, "message": {}}', "message"),
        (b'{"type": "receipt", "message_id": "1", "status": "eaten"}', "receipt.status"),
        (b'{"type": "receipt", "message_id": "1", "status": "read", "at": "2026-11-20T10:00:00"}', "receipt.at"),
        (b'{"type": "receipt", "message_id": "1", "status": "read", "at": 1e300}', "receipt.at"),
        (b'{"type": "contact", "contact": {"id": "a", "attributes": {"x": NaN}}}', "body"),
        (
            b'{"type": "contact", "contact": {"id": "a", "attributes": {"x": {"deep": 1}}}}',
            "contact.contact.attributes",
        ),
    ],
)
def test_the_program_is_told_what_to_mend(body: bytes, field: str) -> None:
    with pytest.raises(InvalidWebhook) as caught:
        vendor().authenticate(call(body))
    assert caught.value.status == 422
    assert caught.value.reason.startswith(field)
    answer = vendor().acknowledge(WebhookOutcome.REFUSED, status=422, reason=caught.value.reason)
    assert json.loads(answer.body) == {"status": "refused", "error": caught.value.reason}
    silent = vendor().acknowledge(WebhookOutcome.REFUSED, status=403, reason="signature")
    assert json.loads(silent.body) == {"status": "refused"}


def test_a_file_that_is_too_large_must_be_given_by_its_address() -> None:
    def message(size: int) -> bytes:
        data = base64.b64encode(bytes(size)).decode()
        said = {"id": "1", "files": [{"data": data}]}
        return json.dumps({"type": "message", "contact": {"id": "a"}, "message": said}).encode()

    assert vendor().authenticate(call(message(kinds.INLINE_BYTES)))
    with pytest.raises(InvalidWebhook, match="files"):
        vendor().authenticate(call(message(kinds.INLINE_BYTES + 10)))


# -------------------------------------------------------------------------------------------------------- what it says


def test_a_contact_writes() -> None:
    person, message = read("message__text")
    assert isinstance(person, ContactChanged)
    avatar, facts = "https://crm.example/a/1001.png", {"level": "gold", "orders": 3}
    assert person.profile == Profile("u-1001", "李晓", avatar_url=avatar, attributes=facts)
    assert message == IncomingMessage(
        "m-1",
        "u-1001",
        "u-1001",
        SenderRole.CONTACT,
        Kind.TEXT,
        "怎么申请退款？",
        datetime(2026, 11, 20, 2, tzinfo=UTC),
    )


def test_files_come_by_address_or_inside() -> None:
    (message,) = read("message__files")
    assert isinstance(message, IncomingMessage)
    assert (message.thread, message.sender, message.kind, message.reply_to) == (
        "order-77",
        "u-1001",
        Kind.IMAGE,
        "m-1",
    )
    assert message.media == (
        Media("https://crm.example/f/cup.png", Kind.IMAGE, "cup.png", "image/png"),
        Media("data:text/plain;base64,aGVsbG8=", Kind.FILE, "说明.txt", "text/plain"),
    )
    assert message.sent_at == NOW - timedelta(minutes=10)


def test_the_other_events() -> None:
    (choice,) = read("message__choice")
    assert isinstance(choice, IncomingMessage)
    assert (choice.kind, choice.choice, choice.sent_at) == (Kind.MENU, "s:2", NOW)
    (agent,) = read("message__agent")
    assert isinstance(agent, IncomingMessage)
    assert agent.role is SenderRole.AGENT
    assert read("receipt__delivered") == [Receipt(KEY, "", "delivered", NOW - timedelta(minutes=9))]
    assert read("receipt__failed") == [SendFailed(KEY, "", "blocked", 0, NOW, "c-1")]
    assert read("recall__contact") == [Recalled("m-1", "", SenderRole.CONTACT, NOW - timedelta(minutes=29), "c-1")]
    (renamed,) = read("contact__renamed")
    assert isinstance(renamed, ContactChanged)
    assert renamed.profile.attributes == {"level": "platinum", "since": None}


def test_a_message_from_the_future_was_written_now() -> None:
    body = b'{"type": "message", "contact": {"id": "a"}, "message": {"id": "1", "text": "x", "sent_at": 4102444800}}'
    bell = vendor().authenticate(call(body))
    assert isinstance(bell, VerifiedWebhook)
    (message,) = vendor().channel("webhook", "crm").read(bell.body)
    assert isinstance(message, IncomingMessage)
    assert message.sent_at == NOW


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LIKELY = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "receipt", "recall", "contact", "reply", ""])},
    optional={
        "contact": st.fixed_dictionaries(
            {"id": st.text(max_size=5) | JSON_VALUES},
            optional={
                "name": st.text() | JSON_VALUES,
                "attributes": st.dictionaries(st.text(), JSON_VALUES, max_size=3),
            },
        )
        | JSON_VALUES,
        "message": st.fixed_dictionaries(
            {"id": st.text(max_size=5) | JSON_VALUES},
            optional={"text": st.text() | JSON_VALUES, "sent_at": JSON_VALUES, "files": JSON_VALUES, "kind": st.text()},
        )
        | JSON_VALUES,
        "message_id": JSON_VALUES,
        "status": st.sampled_from(["read", "failed"]) | JSON_VALUES,
        "at": JSON_VALUES,
    },
)


@given(st.binary(max_size=300) | (LIKELY | JSON_VALUES).map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        bell = vendor().authenticate(call(body))
    except InvalidWebhook as error:
        status = error.status
    else:
        _is_sound(bell)
        return
    assert status == 422


def _is_sound(bell: VerifiedWebhook | Challenge) -> None:
    assert isinstance(bell, VerifiedWebhook)
    assert "\x00" not in bell.body
    bell.body.encode()
    for item in vendor().channel("webhook", "crm").read(bell.body):
        assert not isinstance(item, UnknownVendorEvent)
        if isinstance(item, IncomingMessage):
            assert item.external_id
            assert item.sent_at <= NOW


@given(st.text())
def test_nothing_that_is_stored_breaks_the_reader(body: str) -> None:
    assert vendor().channel("webhook", "crm").read(body) == [UnknownVendorEvent("unreadable", NOW)]


# --------------------------------------------------------------------------------------------------------- what leaves


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as client:
        yield client


@pytest.fixture
async def program() -> AsyncIterator[tuple[WebhookProgram, str]]:
    other = WebhookProgram()
    async with served(other.app) as url:
        yield other, url


@pytest.fixture
def channel(http: Http, program: tuple[WebhookProgram, str]) -> WebhookChannel:
    config = WebhookConfig(source="crm", url=f"{program[1]}/inbox", secret=SECRET, allow_private=True)
    return WebhookChannel(http, config, SystemClock())


async def test_a_reply_leaves_signed_and_once(channel: WebhookChannel, program: tuple[WebhookProgram, str]) -> None:
    menu = Outgoing(KEY, "u-1", Kind.MENU, "您想问哪一个？", (Choice("s:1", "退款"), Choice("s:2", "发票")), "都不是？")
    assert await channel.send(menu) == KEY
    assert await channel.send(menu) == KEY
    other = program[0]
    assert (len(other.heard), other.repeats, other.forged) == (1, 1, 0)
    assert other.heard[0].id == KEY
    body = other.heard[0].body
    assert (body["type"], body["thread"]) == ("reply", "u-1")
    assert body["message"] == {
        "id": KEY,
        "kind": "menu",
        "text": "您想问哪一个？",
        "choices": [{"id": "s:1", "label": "退款"}, {"id": "s:2", "label": "发票"}],
        "footer": "都不是？",
    }


async def test_files_leave_inside_and_come_back_whole(
    channel: WebhookChannel, program: tuple[WebhookProgram, str]
) -> None:
    media = await channel.upload(b"\x89PNG", kind=Kind.IMAGE, filename="杯子.png", content_type="image/png")
    await channel.send(Outgoing(KEY, "u-1", Kind.IMAGE, "", media=media))
    (file,) = program[0].heard[0].body["message"]["files"]
    assert file == {"kind": "image", "name": "杯子.png", "content_type": "image/png", "data": "iVBORw=="}
    assert b"".join([piece async for piece in channel.fetch(media, limit=100).pieces]) == b"\x89PNG"
    program[0].files["cup.png"] = b"a picture"
    there = Media(f"{program[1]}/files/cup.png", Kind.IMAGE)
    assert b"".join([piece async for piece in channel.fetch(there, limit=9).pieces]) == b"a picture"
    await channel.send(Outgoing("k2", "u-1", Kind.FILE, "看这里", media=there))
    assert program[0].heard[1].body["message"]["files"][0]["url"] == there.reference
    for media, limit in ((there, 8), (Media(f"{program[1]}/files/none.png", Kind.IMAGE), 100)):
        with pytest.raises(SendRefused) as caught:
            [piece async for piece in channel.fetch(media, limit=limit).pieces]
        assert caught.value.refusal is Refusal.BAD_MESSAGE
    for size in (0, kinds.INLINE_BYTES + 1):
        with pytest.raises(SendRefused):
            await channel.upload(bytes(size), kind=Kind.FILE, filename="x", content_type="text/plain")


async def test_a_reply_is_taken_back(channel: WebhookChannel, program: tuple[WebhookProgram, str]) -> None:
    await channel.recall(KEY, thread="u-1")
    heard = program[0].heard[0].body
    assert (heard["type"], heard["message_id"], heard["thread"]) == ("reply_recalled", KEY, "u-1")


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (JSONResponse({"error": "unknown_contact"}, 422), Refusal.UNKNOWN_CONTACT),
        (JSONResponse({"error": "not_in_group"}, 403), Refusal.NOT_IN_GROUP),
        (JSONResponse({"error": "anything else"}, 400), Refusal.BAD_MESSAGE),
        (JSONResponse(["error"], 410), Refusal.BAD_MESSAGE),
        (Response("no JSON", 413), Refusal.BAD_MESSAGE),
    ],
)
async def test_a_refusal_is_final(
    channel: WebhookChannel, program: tuple[WebhookProgram, str], answer: Response, refusal: Refusal
) -> None:
    program[0].script.append(answer)
    with pytest.raises(SendRefused) as caught:
        await channel.send(Outgoing(KEY, "u-1", Kind.TEXT, "在吗"))
    assert caught.value.refusal is refusal


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (Response(status_code=503), 2.0),
        (Response(status_code=429, headers={"Retry-After": "30"}), 30.0),
        (Response(status_code=500, headers={"Retry-After": "999999"}), 3600.0),
        (Response(status_code=429, headers={"Retry-After": "Fri, 20 Nov 2026 02:00:00 GMT"}), 2.0),
    ],
)
async def test_a_busy_program_is_asked_again_later(
    channel: WebhookChannel, program: tuple[WebhookProgram, str], answer: Response, after: float
) -> None:
    program[0].script.append(answer)
    with pytest.raises(TryLater) as caught:
        await channel.send(Outgoing(KEY, "u-1", Kind.TEXT, "在吗"))
    assert caught.value.after == pytest.approx(after, rel=0.1)  # chance makes a pause a little longer


async def test_what_an_operator_has_to_mend(http: Http, program: tuple[WebhookProgram, str]) -> None:
    described = {"source": "crm", "url": f"{program[1]}/inbox", "secret": SECRET, "allow_private": True}
    for wrong, words in (
        ({"secret": OTHER_SECRET}, "signing secrets"),
        ({"url": f"{program[1]}/nothing"}, "nothing at the address"),
        ({"url": f"{program[1]}/moved"}, "not followed"),
        ({"url": f"{program[1]}/files/x"}, "no POST"),
        ({"allow_private": False}, "private network"),
    ):
        broken = WebhookVendor(http, WebhookConfig(**described | wrong), SystemClock())
        with pytest.raises(ConnectionBroken, match=words):
            await broken.channel("webhook", "crm").send(Outgoing(KEY, "u-1", Kind.TEXT, "在吗"))
        (result,) = [one async for one in broken.checks()]
        assert (result.level, words in result.problem) == ("fail", True)
    (result,) = [one async for one in WebhookVendor(http, WebhookConfig(**described), SystemClock()).checks()]
    assert result.level == "ok"
    assert not [one for one in program[0].heard if one.body["type"] != "ping"]


async def test_a_program_that_is_away_may_have_heard_nothing(http: Http) -> None:
    away = WebhookConfig(source="crm", url="http://127.0.0.1:9/inbox", secret=SECRET, allow_private=True)
    with pytest.raises(TryLater) as caught:
        await WebhookChannel(http, away, SystemClock()).send(Outgoing(KEY, "u-1", Kind.TEXT, "在吗"))
    assert not caught.value.unknown


async def test_a_strangers_address_in_a_private_network_is_not_fetched(http: Http) -> None:
    guarded = vendor(http).channel("webhook", "crm")
    assert isinstance(guarded, WebhookChannel)
    for address in ("http://127.0.0.1:9/x", "http://[::ffff:127.0.0.1]/x", "http://169.254.169.254/latest/meta-data"):
        with pytest.raises(SendRefused, match="private network"):
            [piece async for piece in guarded.fetch(Media(address, Kind.FILE), limit=100).pieces]


async def test_what_cannot_be_sent_is_refused_before_it_leaves(
    channel: WebhookChannel, program: tuple[WebhookProgram, str]
) -> None:
    for text in ("", " ", "长" * (kinds.TEXT_CHARACTERS + 1)):
        with pytest.raises(SendRefused):
            await channel.send(Outgoing(KEY, "u-1", Kind.TEXT, text))
    long = "一句话。" * kinds.TEXT_CHARACTERS
    parts = WebhookChannel.limits.parts(long)
    assert "".join(parts) == long
    assert max(map(len, parts)) <= kinds.TEXT_CHARACTERS
    assert not program[0].heard


# -------------------------------------------------------------------------------------------------------- connecting it


def test_a_connection_is_checked_and_filled_in() -> None:
    complete = WEBHOOK.setup.complete
    made = complete({"source": "crm", "url": "https://crm.example/in/"})
    assert made["url"] == "https://crm.example/in/"
    assert len(parse_secret(made["secret"])) == 32
    assert made["allow_private"] is False
    assert complete({"source": "crm", "url": "http://10.0.0.1/", "allow_private": "true"})["allow_private"] is True
    for wrong in (
        {"source": "crm", "url": "ftp://crm.example"},
        {"source": "", "url": "https://crm.example"},
        {"source": "crm", "url": "https://crm.example", "secret": "password"},
        {"source": "crm", "url": "https://crm.example", "secret": "whsec_c2hvcnQ="},
        {"source": "crm"},
    ):
        with pytest.raises(Misconfigured) as caught:
            complete(wrong)
        assert "password" not in str(caught.value)
    assert new_secret() != new_secret()


async def test_a_program_that_is_down_is_tried_by_one_call_and_not_by_every_message(
    http: Http, program: tuple[WebhookProgram, str]
) -> None:
    now = [0.0]
    breakers = LocalBreakers(now=lambda: now[0], chance=lambda: 0.0)
    config = WebhookConfig(source="crm", url=f"{program[1]}/inbox", secret=SECRET, allow_private=True)
    channel = WebhookChannel(http, config, SystemClock(), breakers=breakers)
    program[0].script.extend(Response(status_code=503) for _ in range(6))
    for number in range(10):
        with pytest.raises(TryLater):
            await channel.send(Outgoing(f"k{number}", "u-1", Kind.TEXT, "在吗"))
    assert len(program[0].script) == 1
    now[0] = 1
    with pytest.raises(TryLater):
        await channel.send(Outgoing(KEY, "u-1", Kind.TEXT, "在吗"))
    assert not program[0].script
    now[0] = 4
    assert await channel.send(Outgoing(KEY, "u-1", Kind.TEXT, "在吗")) == KEY
