"""An AI bot: its callback by vectors made elsewhere, its answers by the strict simulator, and whatever may come."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhiban.integrations.wecom.bot import TEXT_BYTES, BotChannel
from zhiban.integrations.wecom.bot_callback import BotAuthenticator
from zhiban.integrations.wecom.bot_config import NAME, SETUP, BotConfig
from zhiban.integrations.wecom.bot_reading import read_body, response_code, stored_body
from zhiban.integrations.wecom.memory_slots import MemorySlots
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    Challenge,
    Entered,
    IncomingMessage,
    InvalidWebhook,
    Kind,
    Outgoing,
    QuotedWords,
    Refusal,
    ReplyPoll,
    SendRefused,
    TakenSlot,
    UnknownVendorEvent,
    UnusableValues,
    VerifiedWebhook,
    Webhook,
)
from zhiban.testing.serving import served
from zhiban.testing.wecom import AES_KEY, TOKEN, WeComSimulator, application

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = BotConfig(bot="值班助手", token=TOKEN, encoding_aes_key=AES_KEY, replay_window=0)


def call(sim: WeComSimulator, said: dict[str, Any], *, nonce: str = "n-1") -> Webhook:
    query, body = sim.bot.call_for(said, nonce=nonce)
    return Webhook("POST", parse_qs(query), body, datetime.now(UTC))


def read(said: object) -> Any:
    body = json.dumps({"at": NOW.timestamp(), "said": said})
    (item,) = read_body(body, CONFIG, now=NOW)
    return item


@pytest.fixture
def bot(sim: WeComSimulator) -> WeComSimulator:
    sim.bot.configure("http://127.0.0.1:9/", token=TOKEN, aes_key=AES_KEY)
    return sim


def test_a_call_that_was_sealed_elsewhere_is_opened() -> None:
    """Sealed by Tencent's own sample and three other programs, with an empty receiver."""
    body = (
        '{"encrypt": "A+aiJNv8gACmp5GIldwvW/9kp+VbbUGu6Wve1bAJNGPiSX+nCW18EDq+AGfjR7nUA3/3ZkssBeE9cqEnd5e+Ye1sK33Qc8L'
        "R1wfsghpDXlE1dgNA2Jwf+foaZ50of9R4TrUkqDoyf+ZrVmomvSLk337dVo7giA8AI2CaZ6PgPWVC+/0ycTCWnbkGqKsky0hOU8Kn//VT7WF"
        'llmYd1FA0jQ=="}'
    )
    query = {
        "msg_signature": ["af110b187775c66818d2bb00adda0a37ea43c6a2"],
        "timestamp": ["1767225663"],
        "nonce": ["77701"],
    }
    authenticator = BotAuthenticator(CONFIG)
    found = authenticator.authenticate(Webhook("POST", query, body.encode(), NOW))
    assert isinstance(found, VerifiedWebhook)
    (message,) = read_body(found.body, CONFIG, now=NOW)
    assert isinstance(message, IncomingMessage)
    assert (message.text, message.thread, message.group, message.sent_at) == ("hi", "lihua", False, NOW)
    # One that is for a corp is for no bot.
    echo = {
        "msg_signature": ["f778fea441031d3fc1736c29803d4c9fe1e0f05e"],
        "timestamp": ["1767225600"],
        "nonce": ["1372623149"],
        "echostr": ["xO0LiRyHuVHwMkp0KEHnTM4Jm0+x9DBObaZXxyNY3Qfc9yVb4NKvsYFiNTM3PBpoqE7WNm444GIWv/jGdam2bA=="],
    }
    with pytest.raises(InvalidWebhook):
        authenticator.authenticate(Webhook("GET", echo, b"", NOW))


async def test_it_proves_itself_and_opens_a_stream_that_is_filled_when_asked(bot: WeComSimulator) -> None:
    authenticator = BotAuthenticator(CONFIG)
    envelope = bot.bot.envelope
    echo = parse_qs(envelope.check("4711", timestamp=1767225600, nonce="1"))
    assert authenticator.authenticate(Webhook("GET", echo, b"", NOW)) == Challenge("4711")

    said = bot.bot.message("lihua", "怎么退款", chat="wr1")
    first, again = (authenticator.authenticate(call(bot, one)) for one in (said, {**said, "response_url": "other"}))
    assert isinstance(first, VerifiedWebhook)
    assert isinstance(again, VerifiedWebhook)
    assert first.digest == again.digest  # the same message, whatever address it brings
    assert first.answer is not None
    opened = bot.bot.opened(first.answer.body, "n-1")
    stream = opened["stream"]
    assert (opened["msgtype"], stream["finish"], stream["content"]) == ("stream", False, "")

    poll = authenticator.authenticate(call(bot, {**said, "msgtype": "stream", "stream": {"id": stream["id"]}}))
    assert isinstance(poll, ReplyPoll)
    assert poll.key == stream["id"]
    assert bot.bot.opened(poll.answer(None).body, "n-1")["stream"]["finish"] is False
    assert bot.bot.opened(poll.answer("在订单里").body, "n-1")["stream"] == {
        "id": stream["id"],
        "finish": True,
        "content": "在订单里",
    }


def test_while_keys_change_an_answer_has_the_key_of_its_call(bot: WeComSimulator) -> None:
    """WeCom has the new key only once it is saved there, too; until then it can open nothing else."""
    changing = BotConfig(
        bot="值班助手",
        token="new",
        encoding_aes_key="b" * 43,
        previous_token=TOKEN,
        previous_encoding_aes_key=AES_KEY,
        previous_until=datetime.now(UTC) + timedelta(hours=1),
    )
    authenticator, said = BotAuthenticator(changing), bot.bot.message("lihua", "怎么退款")
    found = authenticator.authenticate(call(bot, said))
    assert isinstance(found, VerifiedWebhook)
    assert found.answer is not None
    stream = bot.bot.opened(found.answer.body, "n-1")["stream"]["id"]
    poll = authenticator.authenticate(call(bot, {**said, "msgtype": "stream", "stream": {"id": stream}}))
    assert isinstance(poll, ReplyPoll)
    assert bot.bot.opened(poll.answer("好").body, "n-1")["stream"]["content"] == "好"


def test_who_enters_is_greeted_where_that_is_set(bot: WeComSimulator) -> None:
    entered = {"msgid": "e1", "from": {"userid": "lihua"}, "msgtype": "event", "event": {"eventtype": "enter_chat"}}
    for greeting, told in (("您好，我是值班助手", True), ("", False)):
        found = BotAuthenticator(CONFIG.model_copy(update={"greeting": greeting})).authenticate(call(bot, entered))
        assert isinstance(found, VerifiedWebhook)
        assert (found.answer is not None) is told
        if found.answer is not None:
            reply = bot.bot.opened(found.answer.body, "n-1")
            assert reply == {"msgtype": "text", "text": {"content": greeting}}
    assert read(entered) == Entered("lihua", NOW, event_id="e1")
    tapped = {**entered, "event": {"eventtype": "template_card_event", "template_card_event": {"event_key": "k"}}}
    assert isinstance(read(tapped), UnknownVendorEvent)


def test_what_members_send_is_read_with_what_they_quote(bot: WeComSimulator) -> None:
    said = bot.bot.message("lihua", "怎么退款", chat="wr1", quote={"msgtype": "text", "text": {"content": "上一句"}})
    message = read(said)
    assert (message.thread, message.sender, message.text, message.group, message.mentions_us) == (
        "wr1",
        "lihua",
        "怎么退款",
        True,
        True,
    )
    assert message.quoted == QuotedWords(Kind.TEXT, "上一句")
    assert [slot.how for slot in message.slots] == ["fetched", "posted"]
    assert message.slots[1].until < NOW + timedelta(hours=1)
    picture = {"msgtype": "image", "image": {"url": "https://cos.example/i"}}
    words = {"msgtype": "text", "text": {"content": "@值班助手 看图"}}
    mixed = read({**said, "msgtype": "mixed", "mixed": {"msg_item": [words, picture, {"msgtype": "mixed"}]}})
    assert (mixed.text, mixed.kind, [one.reference for one in mixed.media]) == (
        "看图",
        Kind.TEXT,
        ["https://cos.example/i"],
    )
    alone = {**said, "chattype": "single"}
    assert read({**alone, "msgtype": "voice", "voice": {"content": "退款"}}).text == "退款"
    file = read({**alone, "msgtype": "file", "file": {"url": "https://cos.example/f"}})
    assert (file.kind, file.thread, file.group) == (Kind.FILE, "lihua", False)
    quoting = read({**said, "quote": {"msgtype": "image", "image": {"url": "https://cos.example/i?sign=7"}}})
    assert quoting.quoted == QuotedWords(Kind.TEXT, "[图片]", ("cos.example/i",))
    for unfit in ({**said, "from": {}}, {**said, "chatid": ""}, {**said, "msgtype": "hologram"}):
        noted = read(unfit)
        assert isinstance(noted, UnknownVendorEvent)
        assert "response_url" not in noted.content


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=RC1", "RC1"),
        ("http://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=RC1", ""),
        ("https://evil.example/cgi-bin/aibot/response?response_code=RC1", ""),
        ("https://qyapi.weixin.qq.com/cgi-bin/message/send?response_code=RC1", ""),
        ("https://qyapi.weixin.qq.com@evil.example/cgi-bin/aibot/response?response_code=RC1", ""),
        ("https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=a&response_code=b", ""),
        ("https://[/cgi-bin", ""),
        ("", ""),
    ],
)
def test_only_the_vendors_own_address_gives_a_code(url: str, code: str) -> None:
    assert response_code(url) == code


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ("msgid", "aibotid", "chatid", "chattype", "from", "response_url", "text", "mixed", "quote", "event", "stream")


@settings(max_examples=150, deadline=None)
@given(
    said=st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=8),
    kind=st.sampled_from(("text", "mixed", "image", "voice", "file", "event", "stream", "quote", "", "新")),
)
def test_whatever_a_genuine_call_says_is_taken(said: dict[str, Any], kind: str) -> None:
    sim = WeComSimulator()
    sim.bot.configure("http://127.0.0.1:9/", token=TOKEN, aes_key=AES_KEY)
    found = BotAuthenticator(CONFIG).authenticate(call(sim, {**said, "msgtype": kind}))
    if isinstance(found, ReplyPoll):
        assert found.answer("好").status == 200
    else:
        assert isinstance(found, VerifiedWebhook)
        assert read_body(found.body, CONFIG, now=NOW)


def test_what_an_operator_fills_in_is_checked() -> None:
    made = SETUP.complete({"bot": " @值班助手 "})
    assert (made["bot"], len(made["encoding_aes_key"]), bool(made["waiting"])) == ("值班助手", 43, True)
    for wrong in ({}, {"bot": "x" * 41}, {"bot": "x", "token": "t", "encoding_aes_key": "short"}):
        with pytest.raises(UnusableValues):
            SETUP.complete(wrong)
    with pytest.raises(UnusableValues):
        SETUP.complete({"bot": "x", "api_base": "ftp://x"})
    with pytest.raises(UnusableValues):
        SETUP.complete({"bot": "x", "waiting": "等" * 1000})
    assert BotChannel.kind == NAME


# ------------------------------------------------------------------------------------------------------------ answers


@pytest.fixture
async def answering(bot: WeComSimulator, http: Http) -> AsyncIterator[tuple[BotChannel, MemorySlots, list[float]]]:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    async with served(application(bot)) as url:
        config = CONFIG.model_copy(update={"api_base": f"{url}/cgi-bin"})
        bot.bot.file_base = url
        slots = MemorySlots(SystemClock())
        yield BotChannel(http, config, SystemClock(), slots, sleep=nap), slots, naps


def asks(sim: WeComSimulator, slots: MemorySlots, *, chat: str = "") -> IncomingMessage:
    said = sim.bot.message("lihua", "怎么退款", chat=chat)
    sim.bot.begin(said)
    (message,) = read_body(stored_body(said, at=datetime.now(UTC)), CONFIG, now=datetime.now(UTC))
    assert isinstance(message, IncomingMessage)
    slots.open([message])
    return message


def text(key: str, words: str, *, to: str = "lihua", answers: str | None = None) -> Outgoing:
    return Outgoing(key, to, Kind.TEXT, words, reply_to=answers)


Answering = tuple[BotChannel, MemorySlots, list[float]]


async def test_who_is_not_waited_for_hears_by_the_address_and_then_nothing_more(
    bot: WeComSimulator, answering: Answering
) -> None:
    channel, slots, naps = answering
    message = asks(bot, slots)
    await channel.send(text("z1", "七天内"))  # nobody came for the stream
    assert sum(naps) > 5
    assert await slots.fetch(message.slots[0].key) == CONFIG.waiting
    assert [(one.how, one.text) for one in bot.bot.shown] == [("address", "七天内")]
    with pytest.raises(SendRefused) as caught:
        await channel.send(text("z2", "还有"))
    assert caught.value.refusal is Refusal.ALLOWANCE_USED


async def test_an_address_that_is_spent_leads_to_the_next(bot: WeComSimulator, answering: Answering) -> None:
    channel, slots, _ = answering
    first, second = asks(bot, slots, chat="wr1"), asks(bot, slots, chat="wr1")
    bot.bot.interactions[second.external_id].used = True
    await channel.send(text("z1", "七天内", to="wr1", answers=second.external_id))
    assert [(one.answers, one.text) for one in bot.bot.shown] == [(first.external_id, "七天内")]
    bot.bot.clock.advance(3700)
    asks_again = asks(bot, slots, chat="wr1")
    bot.bot.clock.advance(3700)
    with pytest.raises(SendRefused) as caught:
        await channel.send(text("z2", "太晚", to="wr1", answers=asks_again.external_id))
    assert caught.value.refusal is Refusal.CODE_EXPIRED


async def test_a_lost_answer_tells_what_arrived_only_while_the_address_lives(
    bot: WeComSimulator, answering: Answering, http: Http
) -> None:
    channel, slots, _ = answering
    config = CONFIG.model_copy(update={"api_base": f"{bot.bot.file_base}/cgi-bin"})
    late = BotChannel(http, config, SetClock(datetime.now(UTC) + timedelta(hours=1)), slots)
    for key in ("z1", "z2"):
        message = asks(bot, slots)
        bot.bot.interactions[message.external_id].used = True
        fetched = await slots.take("lihua", key, "七天内")
        assert fetched is not None
        await slots.close(fetched)
        posted = await slots.take("lihua", key, "七天内")
        assert posted is not None
        await slots.trying(posted)
    assert await channel.send(text("z1", "七天内")) == "z1"  # refused as used: the first attempt arrived
    with pytest.raises(SendRefused) as caught:
        await late.send(text("z2", "七天内"))
    assert "Nobody knows" in caught.value.hint


async def test_a_slot_that_is_gone_has_carried_nothing(bot: WeComSimulator, answering: Answering) -> None:
    channel, slots, _ = answering
    message = asks(bot, slots)

    async def forgotten(slot: TakenSlot) -> bool:
        slots.forget(slot.key)
        return False

    slots.close = forgotten  # type: ignore[method-assign]
    await channel.send(text("z1", "七天内"))
    assert [(one.how, one.answers) for one in bot.bot.shown] == [("address", message.external_id)]


async def test_what_would_vanish_or_call_somebody_is_shown_as_words(bot: WeComSimulator, answering: Answering) -> None:
    channel, slots, _ = answering
    asks(bot, slots)
    await channel.send(text("z1", "<think>秘密</think><@all> a<b"))
    assert bot.bot.sees("lihua") == ["＜think>秘密＜/think>＜@all> a<b"]
    asks(bot, slots)
    with pytest.raises(SendRefused):
        await channel.send(text("z2", "长" * (TEXT_BYTES // 3 + 1)))


async def test_a_file_is_deciphered_and_gone_after_five_minutes(bot: WeComSimulator, answering: Answering) -> None:
    channel, slots, _ = answering
    message = asks(bot, slots)
    url = bot.bot.stores(b"%PDF-1.7")
    media = replace(read({**bot.bot.message("lihua", ""), "msgtype": "file", "file": {"url": url}}).media[0])
    assert b"".join([piece async for piece in channel.fetch(media, limit=8).pieces]) == b"%PDF-1.7"
    with pytest.raises(SendRefused):
        [piece async for piece in channel.fetch(media, limit=7).pieces]
    bot.clock.advance(301)
    with pytest.raises(SendRefused):
        [piece async for piece in channel.fetch(media, limit=8).pieces]
    # An address inside our own network is no file of the vendor's.
    for inside in ("http://10.0.0.1/x", "http://[::1]/x", "file:///etc/passwd"):
        with pytest.raises(SendRefused):
            [piece async for piece in channel.fetch(replace(media, reference=inside), limit=8).pieces]
    assert message.media == ()
