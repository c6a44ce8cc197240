"""OneBot v11: what programs tell in our words, who is admitted, and what hostile ones may try."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhiban.integrations.onebot import events, segments
from zhiban.integrations.onebot.config import OneBotConfig
from zhiban.integrations.onebot.vendor import OneBotVendor
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    GatewayState,
    GroupChanged,
    Handshake,
    Incoming,
    IncomingMessage,
    InvalidWebhook,
    Kind,
    MembersJoined,
    MembersLeft,
    Recalled,
    SenderRole,
    SocketAnswer,
    SocketClient,
    UnknownVendorEvent,
    VerifiedWebhook,
)
from zhiban.testing.onebot import BOT, TOKEN, codes

NOW = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)
THEN = int(NOW.timestamp()) - 60
GROUP, LI, WANG = 700100, 20002, 20003
US = SocketClient(str(BOT))


def event(**values: Any) -> dict[str, Any]:
    return {"time": THEN, "self_id": BOT, **values}


def said(message: Any, **values: Any) -> dict[str, Any]:
    told = {"post_type": "message", "message_type": "group", "sub_type": "normal", "group_id": GROUP, "user_id": LI}
    sender = {"user_id": LI, "nickname": "李华", "card": "华仔"}
    return event(**told, message_id=-71, message=message, raw_message="?", sender=sender) | values


def read(told: dict[str, Any]) -> list[Incoming]:
    found = events.parse(json.dumps(told))
    assert found is not None
    return events.incoming(found, now=NOW)


def heard(message: Any, **values: Any) -> IncomingMessage:
    (found,) = read(said(message, **values))
    assert isinstance(found, IncomingMessage)
    return found


def part(type_: str, **data: Any) -> dict[str, Any]:
    return {"type": type_, "data": data}


# ------------------------------------------------------------------------------------------------------------ messages


def test_a_group_message_with_everything_in_it() -> None:
    found = heard(
        [
            part("reply", id="-70"),
            part("at", qq=str(BOT), name="小 值"),
            part("text", text="看[这里]&这里 "),
            part("at", qq=WANG),
            part("at", qq="all"),
            part("face", id="178", raw={"faceText": "/斜眼笑"}),
            part("image", file="a.jpg", url="https://multimedia.nt.qq.com.cn/download?x=1"),
        ]
    )
    assert found.text == "@小值 看[这里]&这里 @20003 @全体成员 [斜眼笑]"
    assert (found.thread, found.sender, found.sender_name, found.group) == ("group:700100", "20002", "华仔", True)
    assert (found.external_id, found.reply_to) == ("group:700100:-71", "group:700100:-70")
    assert (found.mentions, found.mentions_us, found.role) == (("20003",), True, SenderRole.CONTACT)
    assert found.media[0].reference == "url:https://multimedia.nt.qq.com.cn/download?x=1"
    assert found.sent_at == NOW - timedelta(minutes=1)


def test_both_formats_say_the_same() -> None:
    parts = [
        part("at", qq=str(BOT)),
        part("text", text="a[CQ:b]&amp;,=x"),
        part("share", title="震惊,[小伙]=", url="http://x.test/?a=1&b=2"),
    ]
    as_array, as_string = heard(parts), heard(codes(parts))
    assert as_array == as_string
    assert as_array.text == "@10001000 a[CQ:b]&amp;,=x\n震惊,[小伙]=\nhttp://x.test/?a=1&b=2"
    assert as_array.kind is Kind.LINK


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4), st.text(max_size=20))
def test_whatever_is_escaped_comes_back(texts: list[str], title: str) -> None:
    parts = [part("text", text=texts[0]), *(part("share", title=one, url=title) for one in texts[1:])]
    found = [(one.type, dict(one.data)) for one in segments.segments_of(codes(parts))]
    assert found == [(one["type"], one["data"]) for one in parts]


@pytest.mark.parametrize(
    ("one", "kind", "reference", "name"),
    [
        (part("image", file="A1.jpg", url="https://x.test/1"), Kind.IMAGE, "url:https://x.test/1", "A1.jpg"),
        (part("image", file="https://x.test/2"), Kind.IMAGE, "url:https://x.test/2", None),
        (part("record", file="B.amr", path="/app/B.amr"), Kind.VOICE, "record:B.amr", "B.amr"),
        (part("video", file="C.mp4", file_size="9"), Kind.VIDEO, "video:C.mp4", "C.mp4"),
        (part("file", file="价目.xlsx", file_id="/u-1"), Kind.FILE, "file:/u-1", "价目.xlsx"),
        (
            part("file", file_name="D.zip", file_id="u2", url="http://x.test/d"),
            Kind.FILE,
            "url:http://x.test/d",
            "D.zip",
        ),
        (part("mface", url="https://x.test/m.gif", summary="[赞]"), Kind.IMAGE, "url:https://x.test/m.gif", None),
    ],
)
def test_files(one: dict[str, Any], kind: Kind, reference: str, name: str | None) -> None:
    found = heard([one])
    assert (found.kind, found.text) == (kind, "")
    assert [(each.kind, each.reference, each.filename) for each in found.media] == [(kind, reference, name)]


RECORDED = Path(__file__).parents[1] / "deliveries" / "onebot"


@pytest.mark.parametrize(
    ("name", "kind", "text", "content"),
    [
        (
            "share",
            Kind.LINK,
            "退货说明\n七天\nhttps://shop.example/r",
            {"title": "退货说明", "description": "七天", "url": "https://shop.example/r"},
        ),
        ("miniprogram_object", Kind.MINIPROGRAM, "[QQ小程序]青禾\n青禾\n看新品", {"title": "看新品"}),
        (
            "location",
            Kind.LOCATION,
            "人民广场\n黄浦区人民大道",
            {"name": "人民广场", "address": "黄浦区人民大道", "latitude": 31.23, "longitude": 121.47},
        ),
        (
            "xml_in_cq_code",
            Kind.LINK,
            "退货说明\n七天<内>\nhttps://shop.example/?a=1&b=2",
            {"title": "退货说明", "description": "七天<内>", "url": "https://shop.example/?a=1&b=2"},
        ),
    ],
)
def test_recorded_cards(name: str, kind: Kind, text: str, content: dict[str, Any]) -> None:
    (found,) = read(json.loads((RECORDED / f"message__{name}.json").read_text("utf-8")))
    assert isinstance(found, IncomingMessage)
    assert (found.kind, found.text, found.content) == (kind, text, content)


@pytest.mark.parametrize(
    ("one", "kind", "text", "content"),
    [
        (part("location", lat="91", lon="1", title="某地"), Kind.LOCATION, "某地", {"name": "某地"}),
        (part("json", data="{" * 2000), Kind.OTHER, "", {"type": "qq_json", "raw": "{" * 2000}),
        (part("contact", type="group", id="700101"), Kind.CARD, "[推荐群] 700101", {"member": "700101"}),
        (part("dice", result="6"), Kind.TEXT, "[骰子6]", {}),
        (part("new_thing"), Kind.TEXT, "[new_thing]", {}),
    ],
)
def test_further_segments(one: dict[str, Any], kind: Kind, text: str, content: dict[str, Any]) -> None:
    found = heard([one])
    assert (found.kind, found.text, found.content) == (kind, text, content)


def test_who_is_hidden_has_a_name_and_our_own_words_are_none() -> None:
    found = heard("走过", sub_type="anonymous", user_id=80000000, anonymous={"id": 12, "name": "大力水手", "flag": "x"})
    assert (found.sender, found.sender_name) == ("anonymous:12", "大力水手")
    assert read(said("我们自己说的", user_id=BOT)) == []
    assert read(said("x", post_type="message_sent")) == []


def test_a_private_message_and_a_group_of_the_same_number_are_two_threads() -> None:
    private = heard("在吗", message_type="private", sub_type="friend", group_id=None, user_id=GROUP)
    session = heard("在吗", message_type="private", sub_type="group", group_id=GROUP)
    assert (private.thread, private.group, private.mentions_us) == ("700100", False, False)
    assert (session.thread, session.group) == ("20002", False)  # by way of a group, and private all the same


def test_bridges_have_ids_of_their_own() -> None:
    found = heard("hi", self_id="wxid_bot", group_id="7@chatroom", user_id="wxid_li", message_id="m:1")
    assert (found.thread, found.sender, found.external_id) == ("group:7@chatroom", "wxid_li", "group:7@chatroom:m:1")


# ------------------------------------------------------------------------------------------------------------- notices


def notice(kind: str, **values: Any) -> list[Incoming]:
    return read(event(post_type="notice", notice_type=kind, group_id=GROUP, user_id=LI, **values))


def test_what_happens_in_a_group() -> None:
    room = f"group:{GROUP}"
    (gone,) = notice("group_recall", operator_id=WANG, message_id=-71)
    assert isinstance(gone, Recalled)
    assert (gone.external_id, gone.thread, gone.role) == (f"{room}:-71", room, SenderRole.CONTACT)
    (came,) = notice("group_increase", sub_type="invite", operator_id=WANG)
    assert isinstance(came, MembersJoined)
    assert ([one.external_id for one in came.members], came.inviter, came.ourselves) == ([str(LI)], str(WANG), False)
    (we,) = read(event(post_type="notice", notice_type="group_increase", group_id=GROUP, user_id=BOT, operator_id=0))
    assert isinstance(we, MembersJoined)
    assert (we.members, we.inviter, we.ourselves) == ((), None, True)
    for how, us, by in (
        ("leave", False, None),
        ("kick", False, str(WANG)),
        ("kick_me", True, str(WANG)),
        ("disband", True, str(WANG)),
    ):
        (left,) = notice("group_decrease", sub_type=how, operator_id=WANG)
        assert isinstance(left, MembersLeft)
        assert (left.ourselves, left.remover) == (us, by)
    for kind, more in (
        ("notify", {"sub_type": "group_name", "name_new": "新名"}),
        ("group_name_change", {"name": "新名"}),
    ):
        (renamed,) = notice(kind, **more)
        assert isinstance(renamed, GroupChanged)
        assert renamed.name == "新名"
    assert notice("notify", sub_type="poke", target_id=BOT) == []
    (unknown,) = notice("brand_new")
    assert isinstance(unknown, UnknownVendorEvent)
    assert unknown.kind == "qq_brand_new"


def test_repeats_of_a_notice_have_one_id_and_others_have_another() -> None:
    first, again = notice("group_increase", operator_id=WANG)[0], notice("group_increase", operator_id=WANG)[0]
    other = read(event(post_type="notice", notice_type="group_increase", group_id=GROUP, user_id=LI, time=THEN + 1))[0]
    assert first.event_id == again.event_id != other.event_id  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [(THEN, 60), (THEN * 1000, 60), (THEN + 900, 0), (0, 0), (-5, 0), ("x", 0), (True, 0), (1e300, 0), (None, 0)],
)
def test_times(stated: object, seconds: int) -> None:
    assert heard("x", time=stated).sent_at == NOW - timedelta(seconds=seconds)


# -------------------------------------------------------------------------------------------------------- hostile ones

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "message",
    "raw_message",
    "message_id",
    "user_id",
    "group_id",
    "sender",
    "anonymous",
    "time",
    "file",
    "operator_id",
)
KINDS = ("message", "notice", "request", "meta_event", "message_sent", "zhiban")
NOTICES = ("group_recall", "group_increase", "group_decrease", "group_upload", "friend_add", "notify", "group_card")
TYPES = ("text", "at", "reply", "image", "file", "json", "xml", "forward", "location", "face", "contact", "markdown")


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {
            "post_type": st.sampled_from(KINDS),
            "notice_type": st.sampled_from(NOTICES),
            "message_type": st.sampled_from(("group", "private")),
        },
        optional=dict.fromkeys(NAMES, JSON),
    ),
    st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(TYPES),
                "data": st.dictionaries(st.sampled_from(("text", "id", "qq", "file", "url", "data", "content")), JSON),
            }
        ),
        max_size=3,
    ),
)
def test_no_event_breaks_the_reader(told: dict[str, Any], parts: list[Any]) -> None:
    for one in (told, {**told, "message": parts, "user_id": 7, "message_id": 1}):
        for item in read(one):
            if isinstance(item, IncomingMessage):
                assert item.external_id
                assert item.thread
                assert len(item.text) < 700_000
                assert "\x00" not in item.text
    segments.nodes_of(told.get("message"))


@pytest.fixture
def vendor() -> OneBotVendor:
    config = {"source": "qq-1", "token": TOKEN, "previous_token": "the-former-token-of-yesterday"}
    return OneBotVendor(Http(), OneBotConfig(**config, previous_until=NOW + timedelta(hours=1)), SystemClock())


@given(frame=st.text(max_size=60) | JSON.map(json.dumps))
def test_no_frame_breaks_the_vendor(frame: str) -> None:
    found = OneBotVendor(Http(), OneBotConfig(source="qq-1", token=TOKEN), SystemClock())
    try:
        told = found.hear(frame, US)
    except InvalidWebhook:
        return
    assert told is None or isinstance(told, SocketAnswer | VerifiedWebhook | GatewayState)


def test_frames(vendor: OneBotVendor) -> None:
    for nonsense in (
        "",
        "[]",
        "[" * 100_000,
        "null",
        '{"a": 1}',
        json.dumps(said("x", self_id=BOT + 1)),
        '{"post_type": 7}',
    ):
        with pytest.raises(InvalidWebhook):
            vendor.hear(nonsense, US)
    answer = vendor.hear('{"status": "ok", "retcode": 0, "echo": "k1"}', US)
    assert isinstance(answer, SocketAnswer)
    assert answer.key == "k1"
    assert vendor.hear('{"status": "ok", "retcode": 0, "echo": {"a": 1}}', US) is None
    first, again, other = (vendor.hear(json.dumps(said(words, raw={"x": 1})), US) for words in ("a", "a", "b"))
    assert isinstance(first, VerifiedWebhook)
    assert first == again
    assert isinstance(other, VerifiedWebhook)
    assert other.digest != first.digest
    assert "raw" not in json.loads(first.body)
    beat = event(post_type="meta_event", meta_event_type="heartbeat", interval=5000)
    for status, state in (
        ({"online": True}, "online"),
        ({"online": None}, "online"),
        ({}, "online"),
        ({"online": False}, "logged_out"),
    ):
        told = vendor.hear(json.dumps(beat | {"status": status}), US)
        assert isinstance(told, GatewayState)
        assert told.state == state
    offline = vendor.hear(json.dumps(event(post_type="notice", notice_type="bot_offline", message="被挤下线")), US)
    assert isinstance(offline, GatewayState)
    assert (offline.state, offline.reason) == ("logged_out", "被挤下线")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, None),
        ({"authorization": f"Token {TOKEN}", "x-client-role": "Api"}, None),
        ({"authorization": "Bearer the-former-token-of-yesterday", "x-client-role": "EVENT"}, None),
        ({"authorization": "Bearer "}, 403),
        ({"authorization": TOKEN}, 403),
        ({"authorization": "Bearer wröng"}, 403),
        ({}, 403),
        ({"authorization": f"Bearer {TOKEN}", "x-self-id": "0"}, 400),
        ({"authorization": f"Bearer {TOKEN}", "x-self-id": ""}, 400),
        ({"authorization": f"Bearer {TOKEN}", "x-client-role": "Other"}, 400),
    ],
)
def test_who_is_admitted(vendor: OneBotVendor, headers: dict[str, str], status: int | None) -> None:
    given_ = {name: [value] for name, value in {"x-self-id": str(BOT), **headers}.items()}
    if status is None:
        assert vendor.admit(Handshake({}, given_, NOW)).account == str(BOT)
        return
    with pytest.raises(InvalidWebhook) as caught:
        vendor.admit(Handshake({}, given_, NOW))
    assert caught.value.status == status


def test_roles_and_the_token_in_the_address(vendor: OneBotVendor) -> None:
    def client(role: str) -> SocketClient:
        return vendor.admit(Handshake({"access_token": [TOKEN]}, {"x-self-id": ["7"], "x-client-role": [role]}, NOW))

    assert [(one.calls, one.events) for one in map(client, ("Universal", "API", "Event"))] == [
        (True, True),
        (True, False),
        (False, True),
    ]
    with pytest.raises(InvalidWebhook):  # a day later the former token is none any more
        vendor.admit(
            Handshake(
                {},
                {"x-self-id": ["7"], "authorization": ["Bearer the-former-token-of-yesterday"]},
                NOW + timedelta(hours=2),
            )
        )
