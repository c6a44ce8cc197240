"""One customer-service account as a channel, over real sockets to the simulated platform."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from zhiban.integrations.wecom.accounts import KfAccounts
from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.kf import KfChannel, wire_key
from zhiban.kit.http import encoded
from zhiban.ports import (
    Channel,
    Choice,
    ConnectionBroken,
    Entered,
    FetchesMedia,
    Incoming,
    IncomingMessage,
    Kind,
    KnowsContacts,
    Media,
    NativeState,
    Outgoing,
    Page,
    Polls,
    Recalled,
    Refusal,
    RepliesToEvents,
    SenderRole,
    SendFailed,
    SendRefused,
    SessionChanged,
    TransfersNatively,
    TryLater,
    UnknownVendorEvent,
)
from zhiban.testing.wecom import OPEN_KFID, WeComSimulator

LIN = "wmTESTLIN"


def text(key: str, words: str = "七天内可退", thread: str = LIN) -> Outgoing:
    return Outgoing(key=key, thread=thread, kind=Kind.TEXT, text=words)


async def drained(
    channel: KfChannel, sim: WeComSimulator, *, cursor: str | None = None
) -> tuple[list[Incoming], str | None]:
    """Everything behind the cursor, as a doorbell of this moment lets it be fetched."""
    found: list[Incoming] = []
    token = sim.kf.fresh_token()
    while True:
        page = await channel.pull(cursor=cursor, token=token)
        found.extend(page.items)
        cursor = page.cursor or cursor
        if not page.more:
            return found, cursor


async def refused(sending: Any) -> Refusal:
    with pytest.raises(SendRefused) as caught:
        await sending
    return caught.value.refusal


def test_it_plays_all_its_parts(channel: KfChannel) -> None:
    for part in (Channel, Polls, TransfersNatively, RepliesToEvents, FetchesMedia, KnowsContacts):
        assert isinstance(channel, part)
    assert channel.limits.reply_window is not None
    assert (channel.limits.reply_window.hours, channel.limits.reply_window.messages) == (48, 5)


# ------------------------------------------------------------------------------------------------- reading


async def test_lin_asks_and_is_read_once(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    found, cursor = await drained(channel, sim)
    (message,) = found
    assert isinstance(message, IncomingMessage)
    assert (message.thread, message.text, message.account) == (LIN, "怎么退货？", OPEN_KFID)
    assert await drained(channel, sim, cursor=cursor) == ([], cursor)


async def test_many_pages_bring_everything_once(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.kf.page_size = 100
    for count in range(250):
        sim.contact_says(LIN, str(count))
    found, cursor = await drained(channel, sim)
    texts = [message.text for message in found if isinstance(message, IncomingMessage)]
    assert sorted(texts, key=int) == list(map(str, range(250)))
    assert texts[99:101] == ["100", "99"]  # across pages nothing is promised
    assert cursor == "c-250"


async def test_everything_a_contact_and_a_servicer_can_do_is_read(channel: KfChannel, sim: WeComSimulator) -> None:
    code = sim.contact_enters(LIN, scene="poster7", scene_param="a%3D1")
    said = sim.contact_says(LIN, "人工")
    sim.recall(LIN, said)
    sim.servicer_takes(LIN, servicer="lihua")
    sim.servicer_says(LIN, "您好", servicer="lihua")
    sim.servicer_takes(LIN, servicer="wangwu")
    sim.servicer_ends(LIN)
    found, _ = await drained(channel, sim)
    entered, message, recalled, taken, answer, passed, ended = found
    assert isinstance(entered, Entered)
    assert (entered.welcome_code, entered.scene) == (code, "poster7")
    assert isinstance(message, IncomingMessage)
    assert isinstance(recalled, Recalled)
    assert recalled.external_id == message.external_id == said
    assert isinstance(answer, IncomingMessage)
    assert (answer.role, answer.sender, answer.thread) == (SenderRole.AGENT, "lihua", LIN)
    assert all(isinstance(event, SessionChanged) for event in (taken, passed, ended))
    assert [event.state for event in (taken, passed, ended) if isinstance(event, SessionChanged)] == [
        NativeState.HUMAN,
        NativeState.HUMAN,
        NativeState.ENDED,
    ]


async def test_hostile_60_a_stale_token_is_dropped(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.kf.page_size, sim.kf.tokenless.per_minute = 1, 10
    for text in ("在吗", "怎么退货？", "？"):
        sim.contact_says(LIN, text)
    token = sim.kf.fresh_token()
    assert len((await channel.pull(cursor=None, token=token)).items) == 1
    sim.clock.advance(601)
    page = await channel.pull(cursor=None, token=token)
    # It is tried once, and not again with every page.
    await channel.pull(cursor=page.cursor, token=token)
    assert sim.journal.counts["kf/sync_msg"] == 4


def test_an_entry_that_breaks_our_reading_is_passed_by(channel: KfChannel) -> None:
    class Broken(dict[str, Any]):
        def get(self, *_: object) -> Any:
            raise RuntimeError("a mistake of ours")

    said = {"msgid": "m1", "external_userid": LIN, "origin": 3, "msgtype": "text", "text": {"content": "在吗"}}
    page = channel._page({"msg_list": [Broken(msgid="m0"), said], "next_cursor": "c-2"}, None)
    noted, message = page.items
    assert isinstance(noted, UnknownVendorEvent)
    assert noted.content == {"msgid": "m0"}
    assert isinstance(message, IncomingMessage)


async def test_pulling_without_a_token_may_have_to_wait(channel: KfChannel, sim: WeComSimulator) -> None:
    await channel.pull(cursor=None, token=None)
    with pytest.raises(TryLater) as caught:
        await channel.pull(cursor=None, token="stale")
    assert caught.value.after > 50


async def test_hostile_61_an_account_that_is_gone(api: WeComApi) -> None:
    with pytest.raises(ConnectionBroken) as caught:
        await KfChannel(api, "wkGONE").pull(cursor=None, token=None)
    assert caught.value.code == 95004


async def test_an_impossible_cursor_is_no_endless_loop(channel: KfChannel) -> None:
    with pytest.raises(ConnectionBroken):
        await channel.pull(cursor="c-999999", token=None)


async def test_hostile_64_an_old_cursor_starts_at_the_oldest_of_three_days(
    channel: KfChannel, sim: WeComSimulator
) -> None:
    sim.contact_says(LIN, "old")
    _, cursor = await drained(channel, sim)
    sim.clock.advance(3 * 86400 + 1)
    sim.contact_says(LIN, "new")
    for start in (None, "c-0", cursor):
        found, _ = await drained(channel, sim, cursor=start)
        assert [message.text for message in found if isinstance(message, IncomingMessage)] == ["new"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"has_more": 1, "next_cursor": "c-9", "msg_list": []}, Page((), "c-9", True)),
        ({"has_more": 1, "next_cursor": "c-1", "msg_list": []}, Page((), "c-1", False)),
        ({"has_more": "1", "next_cursor": "c-9"}, Page((), "c-9", True)),
        ({"has_more": 1, "next_cursor": "", "msg_list": None}, Page((), None, False)),
        ({"has_more": 1, "next_cursor": None, "msg_list": [None, 5, "x", []]}, Page((), None, False)),
        ({"has_more": 1, "msg_list": {"a": 1}}, Page((), None, False)),
        ({}, Page((), None, False)),
    ],
)
async def test_hostile_65_66_odd_pages(
    channel: KfChannel, sim: WeComSimulator, answer: dict[str, Any], expected: Page
) -> None:
    sim.fail("kf/sync_msg", body=encoded({"errcode": 0, **answer}))
    assert await channel.pull(cursor="c-1", token=None) == expected


async def test_hostile_66_the_same_message_twice_keeps_its_id(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "在吗")
    account = sim.kf.accounts[OPEN_KFID]
    account.log.append(account.log[0])
    account.times.append(account.times[0])
    found, _ = await drained(channel, sim)
    assert len({message.external_id for message in found if isinstance(message, IncomingMessage)}) == 1


# ------------------------------------------------------------------------------------------------- sending


async def test_an_answer_arrives_under_our_key(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    assert await channel.send(text("out-1")) == "out-1"
    (sent,) = await sim.until_sent(LIN)
    assert (sent.msgid, sent.text, sent.via) == ("out-1", "七天内可退", "message")


async def test_five_messages_then_a_new_question(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    for count in range(5):
        await channel.send(text(f"out-{count}"))
    assert await refused(channel.send(text("out-5"))) is Refusal.ALLOWANCE_USED
    sim.contact_says(LIN, "然后呢？")
    await channel.send(text("out-5"))


async def test_after_two_days_the_window_is_closed(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    sim.clock.advance(48 * 3600 + 1)
    for code, meaning in ((95018, Refusal.SESSION_ENDED), (95002, Refusal.WINDOW_CLOSED)):
        sim.kf.late_errcode = code
        assert await refused(channel.send(text("out-1"))) is meaning


async def test_a_session_ends_two_days_after_its_beginning(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    sim.clock.advance(47 * 3600)
    sim.contact_says(LIN, "还在等")
    await channel.send(text("out-1"))
    sim.clock.advance(2 * 3600)
    assert await channel.native_state(LIN) == (NativeState.ENDED, None)
    assert await refused(channel.send(text("out-2"))) is Refusal.SESSION_ENDED
    sim.contact_says(LIN, "在吗")
    await channel.send(text("out-2"))


async def test_hostile_77_a_person_took_it_meanwhile(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "人工")
    sim.servicer_takes(LIN, servicer="lihua")
    assert await refused(channel.send(text("out-1"))) is Refusal.HUMAN_ACTIVE
    assert sim.journal.counts["kf/send_msg"] == 1


async def test_the_pool_is_peoples_too(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "人工")
    await channel.move(LIN, NativeState.POOL)
    assert await refused(channel.send(text("out-1"))) is Refusal.IN_POOL


async def test_somebody_who_never_wrote(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_enters(LIN)
    assert await refused(channel.send(text("out-1"))) is Refusal.SESSION_ENDED
    assert await refused(channel.send(text("out-1", thread="wmNOBODY"))) is Refusal.UNKNOWN_CONTACT


async def test_native_reception_is_the_usual_trap(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.kf.accounts[OPEN_KFID].native_servicer = "lihua"
    sim.contact_says(LIN, "你好")
    assert await channel.native_state(LIN) == (NativeState.HUMAN, "lihua")
    assert await refused(channel.send(text("out-1"))) is Refusal.HUMAN_ACTIVE


async def test_hostile_73_accepted_is_not_delivered(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "你好")
    sim.fail_deliveries(LIN, 10)
    await channel.send(text("out-1"))
    found, _ = await drained(channel, sim)
    failed = found[-1]
    assert isinstance(failed, SendFailed)
    assert (failed.external_id, failed.reason) == ("out-1", "refused_by_contact")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (text("k", "字" * 683), "longer"),
        (text("k", "  \n"), "empty"),
        (Outgoing("k", LIN, Kind.MENU, "?", choices=()), "entries"),
        (Outgoing("k", LIN, Kind.MENU, "?", choices=tuple(Choice(str(i), "x") for i in range(11))), "entries"),
        (Outgoing("k", LIN, Kind.MENU, "?", choices=(Choice("a", "字" * 43),)), "longer"),
        (Outgoing("k", LIN, Kind.MENU, "字" * 342, choices=(Choice("a", "b"),)), "longer"),
        (Outgoing("k", LIN, Kind.MENU, "?", choices=(Choice("a#1", "b"),)), "#"),
        (Outgoing("k", LIN, Kind.IMAGE, ""), "cannot send"),
        (Outgoing("k", LIN, Kind.ORDER, ""), "cannot send"),
    ],
)
async def test_nothing_is_sent_that_would_be_cut(
    channel: KfChannel, sim: WeComSimulator, message: Outgoing, words: str
) -> None:
    with pytest.raises(SendRefused, match=words) as caught:
        await channel.send(message)
    assert caught.value.refusal is Refusal.BAD_MESSAGE
    assert "kf/send_msg" not in sim.journal.counts


async def test_a_menu_is_offered_and_tapped(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    choices = (Choice("fb_yes", "有"), Choice("fb_no", "没有，转人工"))
    await channel.send(Outgoing("m-1", LIN, Kind.MENU, "这个回答有帮助吗？", choices, "谢谢"))
    assert sim.sent(LIN)[0].text == "这个回答有帮助吗？"
    sim.contact_taps(LIN, "fb_no")
    tapped = (await drained(channel, sim))[0][-1]
    assert isinstance(tapped, IncomingMessage)
    assert (tapped.choice, tapped.text) == ("fb_no", "没有，转人工")


async def test_files_places_and_links_are_sent(channel: KfChannel, api: WeComApi, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "图")
    media_id = await api.upload("image", b"\xff\xd8\xffpicture", filename="a.jpg", content_type="image/jpeg")
    await channel.send(Outgoing("f-1", LIN, Kind.IMAGE, "", media=Media(media_id, Kind.IMAGE)))
    place = {"name": "海心沙", "address": "广州", "latitude": 23.1, "longitude": 113.3}
    await channel.send(Outgoing("f-2", LIN, Kind.LOCATION, "", content=place))
    assert [sent.body[sent.msgtype] for sent in sim.sent(LIN)] == [{"media_id": media_id}, place]


@pytest.mark.parametrize("key", ["out-8f2c_1", "x" * 33, "键", "a b", "", "w1:c2:m3"])
def test_any_key_becomes_a_msgid(key: str) -> None:
    made = wire_key(key)
    assert 1 <= len(made.encode()) <= 32
    assert made.replace("-", "").replace("_", "").isalnum()
    assert made.isascii()
    assert made == wire_key(key)
    assert (made == key) == (key == "out-8f2c_1")


# ---------------------------------------------------------------------------------------- events and sessions


async def test_hostile_76_one_welcome_within_twenty_seconds(channel: KfChannel, sim: WeComSimulator) -> None:
    code = sim.contact_enters(LIN)
    assert code
    await channel.reply_to_event(code, text("wel-1", "欢迎"))
    assert sim.sent(LIN)[0].via == "event"
    assert await refused(channel.reply_to_event(code, text("wel-2"))) is Refusal.CODE_EXPIRED
    assert sim.contact_enters(LIN) is None
    late = sim.contact_enters("wmLATE")
    assert late
    sim.clock.advance(21)
    assert await refused(channel.reply_to_event(late, text("wel-3"))) is Refusal.CODE_EXPIRED


async def test_an_event_is_answered_with_text_or_menu_only(channel: KfChannel, sim: WeComSimulator) -> None:
    code = sim.contact_enters(LIN)
    assert code
    picture = Outgoing("k", LIN, Kind.IMAGE, "", media=Media("M", Kind.IMAGE))
    assert await refused(channel.reply_to_event(code, picture)) is Refusal.BAD_MESSAGE
    await channel.reply_to_event(code, Outgoing("k", LIN, Kind.MENU, "欢迎", (Choice("a", "退货"),)))


async def test_a_session_goes_to_the_pool_and_to_a_person(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.hire("away")
    sim.kf.accounts[OPEN_KFID].servicers.update(lihua=0, away=1)
    sim.contact_says(LIN, "人工")
    assert await channel.native_state(LIN) == (NativeState.NEW, None)
    assert await channel.move(LIN, NativeState.ASSISTANT) is None
    code = await channel.move(LIN, NativeState.POOL)
    assert code
    await channel.reply_to_event(code, text("pool-1", "正在排队"))
    for servicer, refusal in (("nobody", Refusal.MISCONFIGURED), ("away", Refusal.MISCONFIGURED)):
        assert await refused(channel.move(LIN, NativeState.HUMAN, servicer=servicer)) is refusal
    assert await channel.move(LIN, NativeState.HUMAN, servicer="lihua")
    assert await channel.native_state(LIN) == (NativeState.HUMAN, "lihua")
    assert await refused(channel.move(LIN, NativeState.ASSISTANT)) is Refusal.MOVE_REFUSED
    closing = await channel.move(LIN, NativeState.ENDED)
    assert closing
    await channel.reply_to_event(closing, text("bye-1", "再见"))
    assert await refused(channel.move(LIN, NativeState.POOL)) is Refusal.SESSION_ENDED
    sim.contact_says(LIN, "还有一个问题")
    assert sim.state(LIN) == 0


async def test_only_what_a_person_holds_can_be_ended(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_says(LIN, "怎么退货？")
    for state in (NativeState.ASSISTANT, NativeState.POOL):
        assert await refused(channel.move(LIN, NativeState.ENDED)) is Refusal.MOVE_REFUSED
        await channel.move(LIN, state)
    assert await refused(channel.move(LIN, NativeState.ENDED)) is Refusal.MOVE_REFUSED


@pytest.mark.parametrize("mishap", [{"errcode": -1}, {"drop": True}])
async def test_a_move_whose_answer_was_lost_is_not_an_error(
    channel: KfChannel, sim: WeComSimulator, mishap: dict[str, Any]
) -> None:
    sim.contact_says(LIN, "人工")
    sim.fail("kf/service_state/trans", accept=True, **mishap)
    with suppress(TryLater):
        await channel.move(LIN, NativeState.POOL)
    assert await channel.move(LIN, NativeState.POOL) is None
    assert sim.state(LIN) == 2


# ----------------------------------------------------------------------------------------- files and accounts


async def test_a_picture_is_fetched(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_sends_file(LIN, b"\xff\xd8" + b"x" * 1000)
    (message,) = (await drained(channel, sim))[0]
    assert isinstance(message, IncomingMessage)
    got = b"".join([piece async for piece in channel.fetch(message.media[0], limit=2000).pieces])
    assert got == b"\xff\xd8" + b"x" * 1000
    with pytest.raises(SendRefused):
        _ = [piece async for piece in channel.fetch(message.media[0], limit=500).pieces]


async def test_names_of_those_who_wrote(channel: KfChannel, sim: WeComSimulator) -> None:
    contacts = [f"wm{count:04d}" for count in range(150)]
    for contact in contacts[:120]:
        sim.contact_says(contact, "hi")
    sim.kf.names["wm0000"] = "小林"
    profiles = await channel.profiles(contacts)
    assert len(profiles) == 120
    assert (profiles[0].external_id, profiles[0].name) == ("wm0000", "小林")
    assert profiles[0].unionid == "ounion_wm0000"
    assert sim.journal.counts["kf/customer/batchget"] == 2
    assert await channel.profiles([]) == []


async def test_accounts_and_links(api: WeComApi, sim: WeComSimulator) -> None:
    for count in range(120):
        sim.add_account(f"wk{count:03d}", f"客服{count}", servicers=("lihua",), manage=count % 2 == 0)
    accounts = KfAccounts(api)
    found = await accounts.accounts()
    assert len(found) == 121
    assert sum(account.managed for account in found) == 61
    link = await accounts.contact_link("wk002", scene="poster7", scene_param="a=1&b=二")
    assert link.endswith("&scene_param=a%3D1%26b%3D%E4%BA%8C")
    assert "scene_param" not in await accounts.contact_link("wk002")
    with pytest.raises(ConnectionBroken) as caught:
        await accounts.contact_link("wk001")  # which the console keeps to itself
    assert caught.value.code == 95017


async def test_where_a_contact_came_from_is_told(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.contact_enters(LIN, scene="live3", channels={"nickname": "小店", "scene": 2})
    sim.contact_says(LIN, "多少钱")
    (profile,) = await channel.profiles([LIN])
    assert profile.content["context"] == {
        "scene": "live3",
        "scene_param": "",
        "wechat_channels": {"nickname": "小店", "scene": 2},
    }
    entered = (await drained(channel, sim))[0][0]
    assert isinstance(entered, Entered)


async def test_servicers_whom_the_app_may_not_see_close_the_account(channel: KfChannel, sim: WeComSimulator) -> None:
    sim.kf.accounts[OPEN_KFID].servicers["boss"] = 0
    with pytest.raises(ConnectionBroken) as caught:
        await channel.pull(cursor=None, token=None)
    assert caught.value.code == 60030


def test_documents_that_reach_the_account_are_read_too(channel: KfChannel) -> None:
    (found,) = channel.read("<xml><MsgType>event</MsgType><Event>subscribe</Event></xml>")
    assert isinstance(found, UnknownVendorEvent)
    assert datetime.now(UTC) >= found.happened_at


async def test_hostile_59_a_burst_is_one_pull(channel: KfChannel, sim: WeComSimulator) -> None:
    for count in range(1000):
        sim.contact_says(f"wm{count % 50}", str(count))
    token = sim.kf.fresh_token()
    pages = await asyncio.gather(*(channel.pull(cursor=None, token=token) for _ in range(3)))
    assert {len(page.items) for page in pages} == {1000}
