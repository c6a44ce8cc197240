"""What every channel promises: the twin in memory and each real one, over the simulated wire.

A fake that is kinder than the real thing hides defects, so all of them pass the same tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ports.channel_stands import MUTE, STANDS, Stand
from zhiban import bootstrap
from zhiban.conversations.outbox import QueuedMessage
from zhiban.conversations.sending import as_outgoing
from zhiban.kit.errors import Misconfigured
from zhiban.ports import (
    AcceptsSockets,
    Channel,
    ConnectionBroken,
    FetchesMedia,
    Integration,
    InvalidWebhook,
    Kind,
    LinkCard,
    OffersContactLinks,
    OffersContactWays,
    Outgoing,
    Polls,
    RecallsMessages,
    Refusal,
    SenderRole,
    SendRefused,
    ShowsCards,
    Streams,
    TryLater,
    UploadsMedia,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)

FILES = (
    (Kind.FILE, b"%PDF-1.7", "application/pdf"),
    (Kind.IMAGE, b"\x89PNG\r\n\x1a\n picture", "image/png"),
)


@pytest.fixture(params=STANDS)
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(STANDS[request.param]())  # type: ignore[arg-type]


def text(key: str, words: str, *, to: str) -> Outgoing:
    return Outgoing(key, to, Kind.TEXT, words)


def test_every_kind_of_channel_is_held_to_this_contract() -> None:
    assert set(bootstrap.KINDS) == set(STANDS) - {"memory"} | MUTE
    assert {one.kind for one in bootstrap.KINDS.values() if one.limits.hears == "nothing"} == MUTE


# --------------------------------------------------------------------------------------------------------- what it is


def test_it_says_what_it_is(stand: Stand) -> None:
    assert isinstance(stand.channel, Channel)
    assert stand.channel.limits.text > 0
    assert stand.vendor.namespace(stand.channel.kind) == stand.vendor.namespace(stand.channel.kind)
    assert stand.vendor.account(None).kind


def test_what_is_said_of_it_beforehand_is_so(stand: Stand) -> None:
    known = bootstrap.KINDS.get(stand.channel.kind)
    if known is None:
        pytest.skip("the twin is never connected")
    assert known.limits == stand.channel.limits
    (integration,) = (each for each in bootstrap.CHANNELS.values() if known in each.kinds)
    for one in (Polls, ShowsCards, OffersContactLinks):
        assert isinstance(stand.channel, one) is (one in known.talents)
    for one in (Streams, AcceptsSockets, OffersContactWays):
        assert isinstance(stand.vendor, one) is (one in integration.talents)


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
    if webhook is None:
        pytest.skip("this vendor never calls: nothing that knocks is genuine")
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


async def test_marks_that_were_meant_are_shown_or_do_not_arrive(stand: Stand) -> None:
    await stand.may_answer()
    limits, source = stand.channel.limits, r"**急**：2\*3，2*3"
    stored = QueuedMessage(1, "agent", Kind.TEXT, "急：2*3，2*3", {"rich": source}, "z12", 0, datetime.now(UTC))
    await stand.channel.send(as_outgoing(stand.contact, stored, limits=limits))
    assert stand.arrived() == [stored.text]
    assert stand.formatted() == ([source] if limits.formats else [])


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
    if not stand.provable:
        return
    results = [result async for result in stand.vendor.checks()]
    assert any(result.level == "fail" and result.problem for result in results)


# ------------------------------------------------------------------------------------------------------------- talents


def carries_files(stand: Stand) -> None:
    """What a channel says of its media and what it can do go together."""
    assert isinstance(stand.channel, UploadsMedia) is bool(stand.channel.limits.media)
    if not stand.channel.limits.media:
        assert stand.channel.limits.kind_of("application/pdf", 1000) is None
        pytest.skip("this channel carries words only")


async def test_files_go_and_come_whole_or_not_at_all(stand: Stand) -> None:
    carries_files(stand)
    channel = stand.channel
    assert isinstance(channel, UploadsMedia)
    assert isinstance(channel, FetchesMedia)
    media = await channel.upload(b"%PDF-1.7", kind=Kind.FILE, filename="说明.pdf", content_type="application/pdf")
    assert b"".join([piece async for piece in channel.fetch(media, limit=8).pieces]) == b"%PDF-1.7"
    with pytest.raises(SendRefused) as caught:
        [piece async for piece in channel.fetch(media, limit=7).pieces]
    assert caught.value.refusal is Refusal.BAD_MESSAGE
    largest = channel.limits.media[Kind.FILE].most
    for size in (0, channel.limits.media[Kind.FILE].least - 1, largest + 1):
        with pytest.raises(SendRefused):
            await channel.upload(bytes(size), kind=Kind.FILE, filename="x", content_type="text/plain")
    with pytest.raises(SendRefused):
        await channel.upload(b"%PDF-1.7", kind=Kind.LOCATION, filename="x", content_type="text/plain")


async def test_a_file_arrives_once_however_often_it_is_sent(stand: Stand) -> None:
    carries_files(stand)
    channel = stand.channel
    assert isinstance(channel, UploadsMedia)
    await stand.may_answer()
    for number, (kind, data, content_type) in enumerate(FILES):
        assert channel.limits.kind_of(content_type, len(data)) is kind
        media = await channel.upload(data, kind=kind, filename="说明", content_type=content_type)
        message = Outgoing(f"z8{number}", stand.contact, kind, "", media=media)
        stand.lost()
        with pytest.raises(TryLater):
            await channel.send(message)
        await channel.send(message)
        await channel.send(message)
    assert stand.files() == [data for _, data, _ in FILES]


async def test_a_file_that_is_kept_no_longer_is_refused_and_not_sent(stand: Stand) -> None:
    carries_files(stand)
    channel = stand.channel
    assert isinstance(channel, UploadsMedia)
    if not channel.limits.media_hours:
        pytest.skip("files travel inside the message")
    await stand.may_answer()
    media = await channel.upload(b"%PDF-1.7", kind=Kind.FILE, filename="说明.pdf", content_type="application/pdf")
    stand.lose_files()
    with pytest.raises(SendRefused) as caught:
        await channel.send(Outgoing("z9", stand.contact, Kind.FILE, "", media=media))
    assert caught.value.refusal is Refusal.BAD_MESSAGE
    assert stand.files() == []


def test_what_it_shows_as_pictures_and_films_it_also_takes_as_files(stand: Stand) -> None:
    """Whatever is no picture of its own for the channel still goes out, until it is too large for any file."""
    carries_files(stand)
    limits = stand.channel.limits
    most = limits.media[Kind.FILE].most
    assert limits.kind_of("image/tiff", limits.media[Kind.FILE].least) in (Kind.IMAGE, Kind.FILE)
    assert limits.kind_of("application/zip", most) is Kind.FILE
    assert limits.kind_of("application/zip", most + 1) is None
    assert max(one.most for one in limits.media.values()) == most


async def test_an_answer_names_what_it_answers_where_the_channel_can(stand: Stand) -> None:
    """Where it cannot, the answer goes out all the same."""
    await stand.may_answer()
    await stand.channel.send(Outgoing("z11", stand.contact, Kind.TEXT, "能开", reply_to=stand.known))
    assert stand.arrived() == ["能开"]
    assert stand.answered() == ([stand.known] if stand.channel.limits.quotes else [])


CARD = LinkCard("acme/shop #7 增量同步丢数据", "lin新开\nchen：看到了", "https://github.test/acme/shop/issues/7")


async def test_a_card_with_a_link_arrives_once_or_is_refused(stand: Stand) -> None:
    """Where there is none, the words go: nobody asks such a channel for a card."""
    most = stand.channel.limits.link
    if most is None:
        pytest.skip("this channel has no cards with links")
    await stand.may_answer()
    assert most.fitting(CARD) == CARD
    message = Outgoing("z12", stand.contact, Kind.LINK, "\n".join((CARD.title, CARD.description, CARD.url)), link=CARD)
    stand.lost()
    with pytest.raises(TryLater):
        await stand.channel.send(message)
    await stand.channel.send(message)
    assert stand.cards() == [CARD]
    for wrong in (
        LinkCard("", "无题", CARD.url),
        LinkCard("长" * most.title, "", CARD.url),
        LinkCard(CARD.title, "长" * most.description, CARD.url),
        LinkCard(CARD.title, "", "javascript:alert(1)"),
        LinkCard(CARD.title, "", f"https://github.test/{'x' * most.url}"),
    ):
        with pytest.raises(SendRefused) as caught:
            await stand.channel.send(Outgoing("z13", stand.contact, Kind.LINK, message.text, link=wrong))
        assert caught.value.refusal is Refusal.BAD_MESSAGE
        fits = most.fitting(wrong)
        assert (fits is None) == (not wrong.title or wrong.url != CARD.url)
        if fits is not None:
            await stand.channel.send(Outgoing(f"z14{len(fits.title)}", stand.contact, Kind.LINK, "x", link=fits))
    assert len(stand.cards()) == 3


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
    calls_us = Streams not in integration.talents
    assert any("{callback}" in step.text for step in integration.setup.steps) is calls_us
    assert all(field.secret for field in integration.setup.fields if field.rotates)
    with pytest.raises(Misconfigured):
        integration.setup.complete({})
    assert {kind.kind for kind in integration.kinds} <= set(bootstrap.KINDS)
