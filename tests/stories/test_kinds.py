"""What is no text: pictures, voices, files and cards get a fitting word; files and names are fetched."""

from __future__ import annotations

from typing import Any

import pytest
from tests.stories.conftest import Shop

from zhiban.testing.wecom.simulator import OPEN_KFID

LI = "wmLIXIAO"
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("location", {"latitude": 31.2, "longitude": 121.4, "name": "人民广场", "address": "上海"}, "位置已收到"),
    ("link", {"title": "好物", "desc": "", "url": "http://127.0.0.1/x", "pic_url": ""}, "链接已收到"),
    ("business_card", {"userid": "lihua"}, "名片已收到"),
    ("miniprogram", {"title": "商城", "appid": "wx1", "pagepath": "a.html"}, "小程序已收到"),
    ("channels_shop_product", {"product_id": "1", "title": "鞋", "sales_price": "100"}, "商品已收到"),
    ("merged_msg", {"title": "聊天记录", "item": []}, "聊天记录已收到"),
    ("meeting", {}, "只看得懂文字"),
]


@pytest.mark.parametrize(("kind", "content", "words"), OTHERS, ids=[kind for kind, _, _ in OTHERS])
async def test_every_kind_gets_a_fitting_reply(shop: Shop, kind: str, content: dict[str, Any], words: str) -> None:
    shop.wecom.contact_says(LI, kind=kind, **content)
    (reply,) = await shop.wecom.until_sent(LI)
    assert words in reply.text
    await shop.idle()
    assert (await shop.conversation()).status == "pending"


async def test_a_contact_whose_origin_the_platform_does_not_explain_is_answered(shop: Shop) -> None:
    entry = {"msgtype": "text", "text": {"content": "怎么申请退款？"}, "origin": 7}
    shop.wecom.kf.contact_writes(OPEN_KFID, LI, entry)
    (answer,) = await shop.wecom.until_sent(LI)
    assert "申请售后" in answer.text
    assert await shop.rows("select 1 from message where direction = 'in' and author = 'contact'")


async def test_an_order_goes_to_people(shop: Shop) -> None:
    shop.wecom.contact_says(
        LI, kind="channels_shop_order", order_id="9", product_titles="鞋", price_wording="¥1", state="已发货"
    )
    await shop.wecom.until_sent(LI)
    assert (await shop.becomes("open")).handoff_reason == "about_order"


@pytest.mark.parametrize(("kind", "words"), [("image", "图片"), ("voice", "语音"), ("video", "视频"), ("file", "文件")])
async def test_files_are_answered_by_kind(shop: Shop, kind: str, words: str) -> None:
    shop.wecom.contact_sends_file(LI, b"\xff\xd8\xff" + bytes(range(256)) * 40, kind=kind)
    (reply,) = await shop.wecom.until_sent(LI)
    assert words in reply.text


async def test_a_second_picture_goes_to_people(shop: Shop) -> None:
    shop.wecom.contact_sends_file(LI, b"\xff\xd8\xff one")
    await shop.wecom.until_sent(LI)
    await shop.idle()
    shop.wecom.contact_sends_file(LI, b"\xff\xd8\xff two")
    await shop.wecom.until_sent(LI, 2)
    assert (await shop.becomes("open")).handoff_reason == "cannot_read"


async def test_names_and_pictures_of_newcomers_are_fetched(shop: Shop) -> None:
    shop.wecom.kf.names[LI] = "李晓\x00🌸"
    await shop.says(LI, "怎么申请退款？")
    name = await shop.eventually("select name from contact where name <> ''")
    assert name == "李晓🌸"
    assert await shop.rows("select 1 from contact where avatar_url like 'http%'")
