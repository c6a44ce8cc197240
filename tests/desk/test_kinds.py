"""What the desk lays out of messages that are more than words, whatever stands in their fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.conversations.attachments import Attachment
from zhiban.desk.kinds import ContentView, content_view, web_address


def shown(kind: str, **content: Any) -> ContentView:
    found = content_view(kind, content)
    assert found is not None
    return found


def test_a_place_has_a_map_that_opens_on_a_click() -> None:
    found = shown("location", name="人民广场", address="上海市黄浦区", latitude=31.2304, longitude=121.4737)
    assert (found.title, found.lines) == ("人民广场", ("上海市黄浦区",))
    assert found.url == (
        "https://uri.amap.com/marker?position=121.473700,31.230400&name=%E4%BA%BA%E6%B0%91%E5%B9%BF%E5%9C%BA"
    )


def test_a_place_without_a_name_shows_its_coordinates() -> None:
    assert shown("location", latitude=31.5, longitude=121).title == "31.50000, 121.00000"
    assert shown("location", address="只有地址").url is None


def test_a_link_names_where_it_leads() -> None:
    found = shown("link", title="升级说明", description="2.4版", url="https://docs.example/2.4?x=1")
    assert (found.title, found.lines, found.url) == (
        "升级说明",
        ("2.4版", "docs.example"),
        "https://docs.example/2.4?x=1",
    )


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://", "//x", "x"]
)
def test_an_address_that_is_none_is_shown_and_not_opened(url: str) -> None:
    assert web_address(url) is None
    found = shown("link", url=url)
    assert (found.title, found.url) == (url, None)


def test_orders_and_products_name_their_numbers() -> None:
    order = shown("order", title="茶杯", price="¥19.90", state="已发货", order_id="9001")
    assert (order.lines, order.labelled) == (("¥19.90", "已发货"), (("订单号", "9001"),))
    product = shown("product", title="茶杯", price="¥19.90", shop="青禾", product_id="7")
    assert (product.lines, product.labelled) == (("¥19.90", "青禾"), (("商品编号", "7"),))


def test_a_long_history_is_folded_after_some_lines() -> None:
    items = [
        {"sender": "李晓", "kind": "text", "text": str(number), "sent_at": "2026-11-20T02:00:00+00:00"}
        for number in range(9)
    ]
    found = shown("merged", title="群聊的聊天记录", items=items)
    assert [line.text for line in found.shown] == ["0", "1", "2", "3"]
    assert [line.text for line in found.folded] == ["4", "5", "6", "7", "8"]
    assert found.shown[0].at is not None
    assert not shown("merged", title="短", items=items[:5]).folded


@pytest.mark.parametrize("kind", ["text", "image", "voice", "menu", "other", "nonsense"])
def test_words_and_files_are_laid_out_elsewhere(kind: str) -> None:
    assert content_view(kind, {"title": "x"}) is None


fields = st.sampled_from(
    [
        "title",
        "name",
        "address",
        "latitude",
        "longitude",
        "url",
        "description",
        "items",
        "member",
        "path",
        "price",
        "shop",
        "sent_at",
        "sender",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["location", "link", "card", "miniprogram", "product", "order", "merged"]),
    st.dictionaries(fields, values, max_size=6),
)
def test_no_content_breaks_the_page(kind: str, content: dict[str, Any]) -> None:
    found = content_view(kind, content)
    if found is not None:
        assert found.url is None or found.url.startswith(("https://", "http://"))


def attachment(**values: Any) -> Attachment:
    return Attachment(
        **{"id": 1, "message_id": 1, "filename": "", "content_type": None, "size": 1, "state": "stored", **values}
    )


def test_a_voice_says_what_can_be_played() -> None:
    voice = {"kind": "voice", "content_type": "audio/amr"}
    assert attachment(**voice).sound == "converting"
    assert attachment(**voice, seconds=2.0, playback_sha256="a").sound == "playback"
    assert attachment(**voice, playback_failure="The recording is damaged.").sound == "failed"
    assert attachment(kind="voice", content_type="audio/mpeg", seconds=61.4).sound == "original"
    assert attachment(kind="file", content_type="audio/mpeg").sound == ""
    assert [attachment(kind="voice", seconds=seconds).duration for seconds in (None, 0.2, 59.6, 65)] == [
        "",
        "0:01",
        "1:00",
        "1:05",
    ]
