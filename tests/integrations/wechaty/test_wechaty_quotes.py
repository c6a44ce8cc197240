"""Gateways that say what a message quotes: ours by their ids there, and by the words for those that give none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tests.integrations.wechaty.quoting_gateway import QuotingGateway, quoting_gateway

from zhiban.integrations.wechaty.config import WechatyConfig
from zhiban.integrations.wechaty.vendor import WechatyVendor
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import IncomingMessage, Kind, LinkCard, Outgoing

ROOM, LI = "r1@chatroom", "wxid_li"
CARD = "acme/shop #7 增量同步丢数据\nlin新开\nhttps://github.test/acme/shop/issues/7"


@pytest.fixture
async def gateway() -> AsyncIterator[QuotingGateway]:
    async with quoting_gateway() as found:
        yield found


async def heard(vendor: WechatyVendor, id_: str) -> IncomingMessage:
    """The message of this id, as it is told."""
    async with aclosing(vendor.listen()) as batches:
        async for batch in batches:
            for one in batch:
                if isinstance(one.item, IncomingMessage) and one.item.external_id == id_:
                    return one.item
    raise AssertionError("It was never told.")


async def sends(vendor: WechatyVendor, key: str, text: str) -> str:
    return await vendor.channel("wechaty", "wx-1").send(Outgoing(key, ROOM, Kind.TEXT, text))


async def test_whoever_quotes_us_names_what_we_sent_whichever_process_did(gateway: QuotingGateway) -> None:
    async with Http() as http:
        before, vendor = (WechatyVendor(http, WechatyConfig(**gateway.config()), SystemClock()) for _ in range(2))
        sent = await sends(before, "card-1", CARD)
        said = await heard(vendor, await gateway.says(LI, "我也是", ROOM, quotes=sent))
        assert (said.reply_to, said.content) == (sent, {"quoted": {"name": "", "text": CARD}})
        theirs = await heard(vendor, await gateway.says(LI, "接着说", ROOM, quotes=said.external_id))
        assert (theirs.reply_to, theirs.content) == (said.external_id, {})
        gone = await heard(vendor, await gateway.says(LI, "很久以前的", ROOM, quotes="m999"))
        assert (gone.reply_to, gone.content) == ("m999", {})


async def test_whoever_quotes_a_card_names_it_and_its_words_are_known(gateway: QuotingGateway) -> None:
    card = LinkCard(
        "acme/shop #7 <增量>同步 & 丢数据", "lin新开\nchen：看到了", "https://github.test/acme/shop/issues/7?a=1&b=2"
    )
    async with Http() as http:
        before, vendor = (WechatyVendor(http, WechatyConfig(**gateway.config()), SystemClock()) for _ in range(2))
        sent = await before.channel("wechaty", "wx-1").send(Outgoing("card-1", ROOM, Kind.LINK, CARD, link=card))
        said = await heard(vendor, await gateway.says(LI, "我也是", ROOM, quotes=sent))
        assert said.reply_to == sent
        assert said.content["quoted"]["text"] == "\n".join((card.title, card.description, card.url))
