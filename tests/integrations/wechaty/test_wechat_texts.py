"""What WeChat's texts say: quotes, mentions, cards, recalls. And nothing that anybody writes breaks it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.integrations.wechaty import contents, file_box
from zhiban.integrations.wechaty.config import complete
from zhiban.ports import Kind, Mention, UnusableValues

RULE = "- - - - - - - - - - - - - - -"


def test_a_quote_is_taken_apart() -> None:
    read = contents.read(contents.TEXT, f"「李华：怎么退款？\n急」\n{RULE}\n在订单里申请")
    assert read.text == "在订单里申请"
    assert read.quote == contents.Quote("李华", "怎么退款？\n急")


@pytest.mark.parametrize("text", ["「李华：怎么退款」", f"{RULE}\n你好", f"「a」{RULE}b", "「」", "- - -"])
def test_what_is_no_quote_stays_as_it_is(text: str) -> None:
    assert contents.read(contents.TEXT, text).text == text
    assert contents.read(contents.TEXT, text).quote is None


def test_mentions_are_written_and_read_in_wechats_way() -> None:
    text = contents.with_mentions("请看这里", [Mention("a", "李华"), Mention("b", "小 王@店"), Mention("c", "")])
    assert text == "@李华\u2005@小 王 店\u2005请看这里"
    assert contents.mentioned_names(text) == ["李华", "小 王 店"]
    assert contents.mentioned_names("写信到 a@b.example 吧") == []


def test_cards_become_fields_that_the_desk_lays_out() -> None:
    place = contents.read(
        contents.LOCATION, '<msg><location x="39.9" y="116.4" label="东单&amp;1号" poiname="店"/></msg>'
    )
    assert place.content == {"name": "店", "address": "东单&1号", "latitude": 39.9, "longitude": 116.4}
    link = contents.read(contents.LINK, "<appmsg><title><![CDATA[说明]]></title><url>https://a.example</url></appmsg>")
    assert (link.kind, link.content) == (Kind.LINK, {"title": "说明", "url": "https://a.example"})
    history = contents.read(contents.HISTORY, "<title>群聊</title><des>李华: 在吗\n小王: 在</des>")
    assert [one["text"] for one in history.content["items"]] == ["在吗", "在"]
    assert contents.read(contents.CONTACT, '<msg nickname="小王"/>').text == "小王"
    assert contents.read(contents.MINI_PROGRAM, "<title>商城</title>").kind is Kind.MINIPROGRAM
    assert contents.read(contents.RED_ENVELOPE, "<x/>").text == "[红包]"
    assert contents.read(99, "<hologram/>").content == {"type": "wechat_99", "raw": "<hologram/>"}


def test_a_recall_names_its_message_where_it_can() -> None:
    assert contents.recalled_id("<revokemsg><newmsgid>42</newmsgid></revokemsg>") == "42"
    assert contents.recalled_id("5d1f-4") == "5d1f-4"
    assert contents.recalled_id("“李华”撤回了一条消息") == ""


@given(kind=st.integers(-3, 40), text=st.text(max_size=300))
def test_nothing_that_anybody_writes_breaks_the_reader(kind: int, text: str) -> None:
    read = contents.read(kind, text)
    assert "\x00" not in read.text
    json.dumps(read.content)
    contents.recalled_id(text)


@given(st.text(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_nothing_that_a_gateway_gives_breaks_the_reader_of_files(text: str) -> None:
    file_box.parse(text)


def test_files_in_all_their_forms() -> None:
    assert file_box.parse(file_box.inline(b"hello", "a.txt")).content == b"hello"  # type: ignore[union-attr]
    assert file_box.parse(file_box.uploaded("u-1", "a.txt")).reference == "u-1"  # type: ignore[union-attr]
    assert file_box.parse('{"type": 2, "url": "https://a.example/x", "name": "x"}').where == "url"  # type: ignore[union-attr]
    for broken in ('{"type": 1, "base64": "?"}', '{"type": 2}', '{"type": 5, "name": "x"}', "[]", "1"):
        assert file_box.parse(broken) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "a b"),
        ("endpoint", "http://host:1"),
        ("endpoint", "host:0"),
        ("endpoint", "host/path:80"),
        ("token", ""),
        ("token", "a\nb"),
        ("tls", "perhaps"),
        ("ca", "no certificate"),
    ],
)
def test_what_cannot_be_used_names_its_field(field: str, value: str) -> None:
    with pytest.raises(UnusableValues) as caught:
        complete({"source": "wx-1", "endpoint": "127.0.0.1:8788", "token": "t", field: value})
    assert caught.value.fields == (field,)


def test_what_is_left_out_is_filled_in() -> None:
    found = complete({"source": "wx-1", "endpoint": "gateway.example", "token": " t ", "read_only": "是"})
    assert found["endpoint"] == "gateway.example:8788"
    assert (found["token"], found["read_only"], found["accept_friends"], found["tls"]) == ("t", True, True, False)
