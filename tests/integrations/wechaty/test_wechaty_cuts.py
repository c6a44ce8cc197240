"""A stream that is cut: it is opened again at once, and gateways that count tell what came meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tests.integrations.wechaty.quoting_gateway import QuotingGateway, quoting_gateway

from zhiban.integrations.wechaty.config import WechatyConfig
from zhiban.integrations.wechaty.vendor import WechatyVendor
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import GatewayState, IncomingMessage, StreamItem

ROOM, LI = "r1@chatroom", "wxid_li"


@pytest.fixture
async def gateway() -> AsyncIterator[QuotingGateway]:
    async with quoting_gateway() as found:
        yield found


@pytest.fixture
async def vendor(gateway: QuotingGateway) -> AsyncIterator[WechatyVendor]:
    async with Http() as http:
        yield WechatyVendor(http, WechatyConfig(**gateway.config()), SystemClock())


async def heard(vendor: WechatyVendor, last: str, after: str = "") -> list[StreamItem]:
    """What is told until this message."""
    found: list[StreamItem] = []
    async with aclosing(vendor.listen(after)) as batches:
        async with asyncio.timeout(30):
            async for batch in batches:
                found += batch
                if any(isinstance(one.item, IncomingMessage) and one.item.external_id == last for one in batch):
                    return found
    raise AssertionError("It was never told.")


def texts(items: list[StreamItem]) -> list[str]:
    return [one.item.text for one in items if isinstance(one.item, IncomingMessage)]


def gaps(items: list[StreamItem]) -> list[GatewayState]:
    return [one.item for one in items if isinstance(one.item, GatewayState) and one.item.gap]


async def test_a_stream_that_was_well_is_opened_again_by_itself(gateway: QuotingGateway, vendor: WechatyVendor) -> None:
    first = await gateway.says(LI, "一", ROOM)
    async with aclosing(vendor.listen()) as batches:
        async with asyncio.timeout(30):
            items: list[StreamItem] = []
            while len(gaps(items)) < 3:
                had = len(items)
                items += await anext(batches)
                if first in [one.item.external_id for one in items[had:] if isinstance(one.item, IncomingMessage)]:
                    await gateway.cut()  # all is told again then, which the store knows already
    beginning, *cuts = gaps(items)
    assert beginning.silent_since is None
    assert all(each.silent_since is not None and each.silent_since <= each.happened_at for each in cuts)


async def counted(gateway: QuotingGateway, vendor: WechatyVendor, *said: str, after: str = "") -> list[StreamItem]:
    """What is told while this is said at a gateway that counts."""
    times = gateway.listens + 1
    listening = asyncio.create_task(heard(vendor, f"m{len(gateway.messages) + len(said)}", after))
    await gateway.is_listened_to(times)
    for text in said:
        await gateway.says(LI, text, ROOM)
    return await listening


async def test_a_gateway_that_counts_tells_what_nobody_heard(gateway: QuotingGateway, vendor: WechatyVendor) -> None:
    gateway.keeps = 100
    before = await counted(gateway, vendor, "一", "二")
    assert texts(before) == ["一", "二"]
    assert len(gaps(before)) == 1  # nobody had ever listened
    for text in ("三", "四"):
        await gateway.says(LI, text, ROOM)
    items = await heard(vendor, "m4", before[-1].cursor)
    assert (texts(items), gaps(items)) == (["三", "四"], [])
    # Until its first number has shown it, nobody can say that nothing is missing.
    assert [one.heard_at is None for one in items if isinstance(one.item, GatewayState)] == [True, True]
    assert items[-1].heard_at is not None


async def test_a_gateway_that_has_not_kept_everything_has_a_gap(gateway: QuotingGateway, vendor: WechatyVendor) -> None:
    gateway.keeps = 100
    before = await counted(gateway, vendor, "一", "二")
    gateway.keeps = 1
    for text in ("三", "四"):
        await gateway.says(LI, text, ROOM)
    items = await heard(vendor, "m4", before[-1].cursor)
    assert (texts(items), len(gaps(items))) == (["四"], 1)
    # The gap stands before what came after it.
    assert [one.item for one in items].index(gaps(items)[0]) < len(items) - 1


async def test_a_gateway_that_begins_to_count_anew_has_a_gap(gateway: QuotingGateway, vendor: WechatyVendor) -> None:
    gateway.keeps = 100
    before = await counted(gateway, vendor, "一", "二", "三")
    gateway.lost = 3
    await gateway.says(LI, "四", ROOM)
    items = await counted(gateway, vendor, "五", after=before[-1].cursor)
    assert (texts(items), len(gaps(items))) == (["五"], 1)


async def test_a_gateway_that_counts_no_more_has_a_gap(gateway: QuotingGateway, vendor: WechatyVendor) -> None:
    items = await counted(gateway, vendor, "一", after="7:wxid_bot")
    assert (texts(items), len(gaps(items))) == (["一"], 1)


async def test_numbers_of_another_account_prove_nothing(gateway: QuotingGateway, vendor: WechatyVendor) -> None:
    gateway.keeps = 100
    items = await counted(gateway, vendor, "一", after="7:wxid_before")
    assert (texts(items), len(gaps(items))) == (["一"], 1)
