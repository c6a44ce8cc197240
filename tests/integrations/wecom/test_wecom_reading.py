"""What recorded deliveries say, and that nothing at all breaks the reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.integrations.wecom.documents import read_document
from zhiban.integrations.wecom.kf_entries import read_entry
from zhiban.integrations.wecom.values import moment, number, storable
from zhiban.ports import (
    AccountsChanged,
    CardTapped,
    ContactFollowChange,
    ContactFollowChanged,
    Entered,
    Incoming,
    IncomingMessage,
    Kind,
    Media,
    NativeState,
    Recalled,
    SenderRole,
    SendFailed,
    SessionChanged,
    UnknownVendorEvent,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SAID = datetime.fromtimestamp(1767226000, UTC)
HAPPENED = datetime.fromtimestamp(1767226001, UTC)
ACCOUNT, CONTACT, OTHER = "wkTESTAAAA0001", "wmTESTCUST01", "wmTESTCUST02"
FOLDER = Path(__file__).resolve().parents[2] / "deliveries" / "wecom"


def entry(name: str) -> Incoming:
    found = read_entry(json.loads((FOLDER / f"kf_{name}.json").read_text("utf-8")), account=ACCOUNT, now=NOW)
    assert found is not None
    return found


def said(name: str) -> IncomingMessage:
    found = entry(name)
    assert isinstance(found, IncomingMessage)
    assert (found.thread, found.account, found.sent_at) == (CONTACT, ACCOUNT, SAID)
    assert found.external_id == "4gcVtW8oGk3oEXAMPLE0001"
    return found


def document(name: str) -> Incoming:
    (found,) = read_document((FOLDER / f"{name}.xml").read_text("utf-8"), now=NOW)
    return found


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("text__plain", Kind.TEXT, "怎么退货？😀"),
        ("text__no_account", Kind.TEXT, "在吗"),
        ("text__numbers_as_text", Kind.TEXT, "12"),
        ("image__photo", Kind.IMAGE, ""),
        ("location__shop", Kind.LOCATION, "海心沙\n广州市天河区\n(23.1, 113.3)"),
        ("link__article", Kind.LINK, "退货说明\n七天内\nhttps://example.test/r"),
        ("business_card__member", Kind.CARD, "wangwu"),
        ("miniprogram__order", Kind.MINIPROGRAM, "我的订单"),
        ("channels_shop_product__shoes", Kind.PRODUCT, "跑鞋\n¥199.00\n小店"),
        ("channels_shop_order__paid", Kind.ORDER, "跑鞋 42码\n¥199\n待发货\n订单号 22\n小店"),
        ("merged_msg__history", Kind.MERGED, "群聊的聊天记录\n张三: 打不开\n李四: [图片]\n王五: not json"),
        ("channels__live", Kind.OTHER, "[视频号直播] 小店直播 · 今晚八点"),
        ("meeting__bare", Kind.OTHER, "[会议]"),
        ("future__unknown", Kind.OTHER, "[hologram]"),
    ],
)
def test_a_contacts_message(name: str, kind: Kind, text: str) -> None:
    message = said(name)
    assert (message.kind, message.text, message.role, message.sender) == (kind, text, SenderRole.CONTACT, CONTACT)
    assert (message.content == {}) == (kind in (Kind.TEXT, Kind.IMAGE))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "location__shop",
            {"name": "海心沙", "address": "广州市天河区", "latitude": 23.1, "longitude": 113.3},
        ),
        ("business_card__member", {"member": "wangwu"}),
        (
            "channels_shop_product__shoes",
            {
                "title": "跑鞋",
                "price": "¥199.00",
                "shop": "小店",
                "image_url": "https://e.test/1.jpg",
                "product_id": "11",
            },
        ),
        (
            "merged_msg__history",
            {
                "title": "群聊的聊天记录",
                "items": [
                    {"sender": "张三", "kind": "text", "text": "打不开", "sent_at": "2025-12-31T23:50:00+00:00"},
                    {"sender": "李四", "kind": "image", "text": "[图片]", "sent_at": "2025-12-31T23:50:01+00:00"},
                    {"sender": "王五", "kind": "text", "text": "not json", "sent_at": "2025-12-31T23:50:02+00:00"},
                ],
            },
        ),
        (
            "channels__live",
            {"type": "channels", "raw": {"sub_type": 2, "nickname": "小店直播", "title": "今晚八点"}},
        ),
    ],
)
def test_a_page_finds_fields_to_lay_out(name: str, content: dict[str, Any]) -> None:
    assert said(name).content == content


def test_further_kinds_keep_their_content() -> None:
    assert said("future__unknown").content == {"type": "hologram", "raw": {"beam": [1, 2, {"x": "y"}]}}
    assert said("meeting__bare").content == {"type": "meeting", "raw": {}}


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [("x", 1), (91, 0), (0, 181), (None, None), (float("nan"), 0), (True, 1), ("1" * 400, 1), ({}, [])],
)
def test_hostile_66_a_place_that_is_nowhere_keeps_its_name(latitude: object, longitude: object) -> None:
    plain = json.loads((FOLDER / "kf_location__shop.json").read_text("utf-8"))
    plain["location"] |= {"latitude": latitude, "longitude": longitude}
    found = read_entry(plain, account=ACCOUNT, now=NOW)
    assert isinstance(found, IncomingMessage)
    assert (found.text, found.content) == ("海心沙\n广州市天河区", {"name": "海心沙", "address": "广州市天河区"})


@pytest.mark.parametrize("origin", [7, 0, None, "x", {}, "3"])
def test_hostile_66_a_message_of_unknown_origin_is_the_contacts(origin: object) -> None:
    """What we sent never comes back: without a servicer's name it can only be the contact's, and is answered."""
    plain = json.loads((FOLDER / "kf_text__plain.json").read_text("utf-8")) | {"origin": origin}
    found = read_entry(plain, account=ACCOUNT, now=NOW)
    assert isinstance(found, IncomingMessage)
    assert (found.role, found.sender) == (SenderRole.CONTACT, CONTACT)


def test_hostile_66_a_servicer_is_known_by_name_whatever_the_origin() -> None:
    plain = json.loads((FOLDER / "kf_text__servicer.json").read_text("utf-8")) | {"origin": 9}
    found = read_entry(plain, account=ACCOUNT, now=NOW)
    assert isinstance(found, IncomingMessage)
    assert (found.role, found.sender) == (SenderRole.AGENT, "lihua")


def test_the_platforms_own_words_are_nobodys_message() -> None:
    plain = json.loads((FOLDER / "kf_text__plain.json").read_text("utf-8")) | {"origin": 4}
    found = read_entry(plain, account=ACCOUNT, now=NOW)
    assert isinstance(found, UnknownVendorEvent)
    assert (found.kind, found.thread, found.event_id) == ("system_message", CONTACT, "4gcVtW8oGk3oEXAMPLE0001")


def test_a_tap_names_its_entry() -> None:
    assert said("text__menu_tap").choice == "fb_yes"
    assert said("text__plain").choice is None


def test_a_person_of_ours_is_an_agent() -> None:
    message = said("text__servicer")
    assert (message.role, message.sender) == (SenderRole.AGENT, "lihua")
    assert said("msgmenu__servicer").text == "满意吗\n满意\n更多\n谢谢"


@pytest.mark.parametrize(
    ("name", "media"),
    [
        ("image__photo", Media("MEDIA1", Kind.IMAGE, None, "image/jpeg")),
        ("voice__amr", Media("MEDIA2", Kind.VOICE, None, "audio/amr")),
        ("video__short", Media("MEDIA3", Kind.VIDEO, None, "video/mp4")),
        ("file__pdf", Media("MEDIA4", Kind.FILE, None, None)),
    ],
)
def test_files_are_named(name: str, media: Media) -> None:
    assert said(name).media == (media,)


ID = "4gcVtW8oGk3oEXAMPLE0002"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("enter_session__welcome", Entered(OTHER, HAPPENED, "WC-1", "poster7", "a%3D1", ID)),
        ("enter_session__again", Entered(OTHER, HAPPENED, event_id=ID)),
        ("msg_send_fail__allowance", SendFailed("out-8f2c_1", OTHER, "allowance_used", 6, HAPPENED, ID)),
        ("msg_send_fail__new_reason", SendFailed("out-8f2c_1", OTHER, "unknown", 99, HAPPENED, ID)),
        (
            "session_status_change__taken",
            SessionChanged(OTHER, NativeState.HUMAN, HAPPENED, "lihua", None, "MC1", ID),
        ),
        (
            "session_status_change__transferred",
            SessionChanged(OTHER, NativeState.HUMAN, HAPPENED, "wangwu", "lihua", None, ID),
        ),
        (
            "session_status_change__ended",
            SessionChanged(OTHER, NativeState.ENDED, HAPPENED, None, "lihua", "MC2", ID),
        ),
        ("user_recall_msg__text", Recalled("4gcVtW8oGk3oEXAMPLE0001", OTHER, SenderRole.CONTACT, HAPPENED, ID)),
        ("servicer_recall_msg__text", Recalled("4gcVtW8oGk3oEXAMPLE0003", OTHER, SenderRole.AGENT, HAPPENED, ID)),
    ],
)
def test_an_event(name: str, expected: Incoming) -> None:
    assert entry(name) == expected


@pytest.mark.parametrize(
    ("name", "kind", "thread"),
    [
        ("session_status_change__unknown", "session_status_change", OTHER),
        ("servicer_status_change__stopped", "servicer_status_change", None),
        ("reject_customer_msg_switch_change__on", "reject_customer_msg_switch_change", OTHER),
        ("event__no_type", "unnamed_event", None),
    ],
)
def test_other_events_are_noted(name: str, kind: str, thread: str | None) -> None:
    found = entry(name)
    assert isinstance(found, UnknownVendorEvent)
    assert (found.kind, found.thread) == (kind, thread)


# --------------------------------------------------------------------------------------------------- documents


def test_a_member_writes_to_the_app() -> None:
    message = document("app_text__plain")
    assert isinstance(message, IncomingMessage)
    assert (message.thread, message.text, message.account) == ("lihua", "开票信息", "1000002")
    assert message.external_id == "1000002:7459035031717794001"


@pytest.mark.parametrize(
    ("name", "kind", "text", "account"),
    [
        ("app_text__no_msgid", Kind.TEXT, "开票信息", None),
        ("app_image__photo", Kind.IMAGE, "", "1000002"),
        ("app_location__lower_agentid", Kind.LOCATION, "广州塔\n(23.1, 113.3)", "1000002"),
        ("app_link__article", Kind.LINK, "标题\n说明\nhttps://e.test", None),
        ("app_unknown__hologram", Kind.OTHER, "[hologram]", "x1"),
    ],
)
def test_hostile_41_42_odd_messages_to_the_app(name: str, kind: Kind, text: str, account: str | None) -> None:
    message = document(name)
    assert isinstance(message, IncomingMessage)
    assert (message.kind, message.text, message.account) == (kind, text, account)
    assert message.external_id


def test_a_card_was_tapped() -> None:
    found = document("app_event__template_card")
    assert found == CardTapped(
        "lihua", "take:123", "handoff-123", datetime.fromtimestamp(1767225950 - 50, UTC), reply_code="RC-9"
    )


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("added", ContactFollowChange.ADDED, None),
        ("half", ContactFollowChange.HALF_ADDED, None),
        ("removed_by_contact", ContactFollowChange.REMOVED_BY_CONTACT, None),
        ("removed_by_transfer", ContactFollowChange.REMOVED_BY_US, "DELETE_BY_TRANSFER"),
        ("transfer_fail", ContactFollowChange.TRANSFER_FAILED, "customer_refused"),
    ],
)
def test_a_relation_changed(name: str, change: ContactFollowChange, reason: str | None) -> None:
    found = document(f"contact_change__{name}")
    assert isinstance(found, ContactFollowChanged)
    assert (found.change, found.contact, found.member, found.reason) == (change, CONTACT, "lihua", reason)
    assert (found.welcome_code, found.state) == (("WCODE-77", "poster7") if name == "added" else (None, None))


def test_hostile_43_accounts_are_listed() -> None:
    found = document("kf_account_auth_change__many")
    assert found == AccountsChanged(("wkA", "wkC"), ("wkB",), HAPPENED)


@pytest.mark.parametrize(
    ("name", "kind", "thread"),
    [
        ("app_event__location", "location", "lihua"),
        ("app_event__enter_agent", "enter_agent", "lihua"),
        ("app_event__bad_time", "subscribe", "lihua"),
        ("app_event__nameless", "unnamed", "sys"),
        ("contact_change__unknown", "change_external_contact.msg_audit_approved", CONTACT),
        ("tag_change__created", "change_external_tag.create", "sys"),
        ("chat_change__joined", "change_external_chat.update", "wrTESTCHAT01"),
    ],
)
def test_hostile_39_other_documents_are_noted(name: str, kind: str, thread: str) -> None:
    found = document(name)
    assert isinstance(found, UnknownVendorEvent)
    assert (found.kind, found.thread) == (kind, thread)


def test_hostile_58_member_lists_and_versions_are_kept() -> None:
    found = document("chat_change__joined")
    assert isinstance(found, UnknownVendorEvent)
    assert found.content["MemChangeList"] == {"Item": [CONTACT, OTHER]}
    assert (found.content["LastMemVer"], found.content["CurMemVer"]) == ("9c3f97c2", "71217227")


def test_a_doorbell_says_nothing_itself() -> None:
    assert read_document((FOLDER / "kf_doorbell__plain.xml").read_text("utf-8"), now=NOW) == ()


def test_every_recorded_delivery_is_read() -> None:
    for path in FOLDER.glob("*.xml"):
        read_document(path.read_text("utf-8"), now=NOW)
    for path in FOLDER.glob("kf_*.json"):
        assert read_entry(json.loads(path.read_text("utf-8")), account=ACCOUNT, now=NOW)


# ------------------------------------------------------------------------- hostile inputs of the protocol notes


@pytest.mark.parametrize(
    "document", ["", "x", "<xml/>", "<xml><MsgType/></xml>", "<xml><MsgType><a/></MsgType></xml>", "\ud83d", "\x00"]
)
def test_hostile_39_empty_documents(document: str) -> None:
    assert isinstance(read_document(document, now=NOW)[0], UnknownVendorEvent)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", NOW),
        ("", NOW),
        (None, NOW),
        (-5, NOW),
        (0, NOW),
        ("1767226000", SAID),
        (1767226000000, SAID),
        (1767226000.9, SAID),
        (10**30, NOW),
        ("9" * 5000, NOW),
        (float("nan"), NOW),
        (float("inf"), NOW),
        (True, datetime.fromtimestamp(1, UTC)),
        ((NOW + timedelta(days=400)).timestamp(), NOW),
        ([], NOW),
    ],
)
def test_hostile_40_66_any_timestamp(value: object, expected: datetime) -> None:
    assert moment(value, NOW) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": "x"},
        {"text": {"content": None}},
        {"text": {"content": [1]}},
        {"text": {}},
        {"origin": 7},
        {"origin": None},
        {"origin": "x"},
        {"msgtype": None},
        {"msgtype": ["text"]},
        {"send_time": {}},
        {"open_kfid": 5},
    ],
)
def test_hostile_48_66_odd_fields_still_make_a_message(change: dict[str, Any]) -> None:
    plain = json.loads((FOLDER / "kf_text__plain.json").read_text("utf-8"))
    found = read_entry({**plain, **change}, account=ACCOUNT, now=NOW)
    assert isinstance(found, IncomingMessage)


@pytest.mark.parametrize("missing", ["msgid", "external_userid"])
def test_hostile_66_messages_nobody_can_place_are_noted(missing: str) -> None:
    plain = json.loads((FOLDER / "kf_text__plain.json").read_text("utf-8"))
    del plain[missing]
    found = read_entry(plain, account=ACCOUNT, now=NOW)
    assert isinstance(found, UnknownVendorEvent)
    assert found.kind == "malformed_message"


def test_hostile_45_nothing_the_database_refuses_comes_through() -> None:
    text = "a\x00b" + json.loads('"\\ud83d"')
    plain = json.loads((FOLDER / "kf_link__article.json").read_text("utf-8"))
    found = read_entry({**plain, "link": {"title": text, text: text, "n": float("nan")}}, account=ACCOUNT, now=NOW)
    assert isinstance(found, IncomingMessage)
    assert found.text == "ab"
    assert found.content == {"title": "ab"}
    strange = read_entry({**plain, "msgtype": "zzz", "zzz": {text: text, "n": float("nan")}}, account=ACCOUNT, now=NOW)
    assert isinstance(strange, IncomingMessage)
    assert strange.content == {"type": "zzz", "raw": {"ab": "ab", "n": None}}


def test_hostile_67_forwarded_history_without_end() -> None:
    inner: dict[str, Any] = {"title": "t", "item": []}
    for _ in range(50):
        item = {"msgtype": "merged_msg", "sender_name": "x", "msg_content": json.dumps({"merged_msg": inner})}
        inner = {"title": "t", "item": [item]}
        if len(json.dumps(inner)) > 100_000:
            break
    plain = json.loads((FOLDER / "kf_merged_msg__history.json").read_text("utf-8"))
    found = read_entry({**plain, "merged_msg": inner}, account=ACCOUNT, now=NOW)
    assert isinstance(found, IncomingMessage)
    nested = "[" * 100_000
    item = {"msgtype": "text", "sender_name": "x", "msg_content": nested}
    assert read_entry({**plain, "merged_msg": {"item": [item]}}, account=ACCOUNT, now=NOW)


def test_content_is_cut_where_it_is_too_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"a": deep, "b": [deep]} if not deep else {"a": deep}
    assert len(json.dumps(storable(deep))) < 1000


@pytest.mark.parametrize(
    ("value", "expected"), [("7", 7), (7.9, 7), ("7.5", 7), (True, 1), ("x", None), (None, None), ("1" * 30, None)]
)
def test_numbers(value: object, expected: int | None) -> None:
    assert number(value) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["text", "image", "link", "location", "msgmenu", "merged_msg", "event", "channels_shop_order", "voice", "zzz"]
)
events = st.sampled_from(
    ["enter_session", "msg_send_fail", "session_status_change", "user_recall_msg", "servicer_recall_msg", "zzz"]
)


@given(json_values)
def test_any_json_is_read(value: object) -> None:
    read_entry(value, account=ACCOUNT, now=NOW)


@given(names, json_values, st.dictionaries(st.text(max_size=10), json_values, max_size=3), json_values, json_values)
def test_any_message_is_read(name: str, body: object, extra: dict[str, Any], time: object, origin: object) -> None:
    value = {"msgid": "m", "external_userid": "wm", "send_time": time, "origin": origin, "msgtype": name, name: body}
    found = read_entry({**extra, **value}, account=ACCOUNT, now=NOW)
    assert found is not None
    json.dumps(getattr(found, "content", {}), allow_nan=False).encode()


@given(
    events,
    st.dictionaries(
        st.sampled_from(
            ["external_userid", "fail_msgid", "fail_type", "change_type", "recall_msgid", "welcome_code", "msg_code"]
        ),
        json_values,
    ),
)
def test_any_event_is_read(name: str, fields: dict[str, Any]) -> None:
    value = {"msgid": "m", "msgtype": "event", "event": {"event_type": name, **fields}}
    assert read_entry(value, account=ACCOUNT, now=NOW) is not None


@given(st.text(max_size=200) | st.text(max_size=50).map(lambda text: f"<xml><MsgType>{text}</MsgType></xml>"))
def test_any_document_is_read(document: str) -> None:
    read_document(document, now=NOW)
