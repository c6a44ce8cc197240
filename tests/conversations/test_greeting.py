"""A welcome before the first answer, where the channel does not tell that somebody came in."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import WindowedChannel

from zhiban.channels.policy import parse_policy
from zhiban.conversations import service
from zhiban.conversations.ingest import ingest
from zhiban.events import Actor
from zhiban.kit.db import Database, Transaction
from zhiban.ports import IncomingMessage, Kind, SenderRole

HOUR = timedelta(hours=1)


class _UnannouncedChannel(WindowedChannel):
    limits = replace(WindowedChannel.limits, welcomes="first_message")


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    desk = await open_desk(db, workspace)
    desk.inbox = replace(desk.inbox, channel=_UnannouncedChannel(desk.inbox.channel._place))  # type: ignore[attr-defined]
    return behaves(desk)


def behaves(desk: Desk, **policy: Any) -> Desk:
    desk.inbox = replace(desk.inbox, settings=parse_policy({"welcome": "您好", **policy}))
    return desk


def message(who: str, n: int = 1, *, at: datetime = NOON) -> IncomingMessage:
    return IncomingMessage(f"m-{who}-{n}", who, who, SenderRole.CONTACT, Kind.TEXT, "在吗", at)


async def welcomed(tx: Transaction) -> list[str]:
    return await tx.values(
        "select c.external_id from message m join conversation c on c.id = m.conversation_id "
        "where m.text = '您好' order by m.id"
    )


async def test_the_first_message_of_a_thread_is_welcomed_once(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        first = message("wm1")
        for items in ([first, message("wm2"), message("wm1", 2)], [first], [message("wm1", 3)]):
            await ingest(tx, desk.inbox, items, now=NOON, process_id=1)
        assert await welcomed(tx) == ["wm1", "wm2"]
        state = await desk.state(tx, "wm1")
        assert (state.first_reply_at, state.waiting_since) == (None, NOON)
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        await ingest(tx, desk.inbox, [message("wm1", 4)], now=NOON, process_id=1)
        assert await welcomed(tx) == ["wm1", "wm2"]  # who comes back is known


async def test_who_is_not_welcomed(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await ingest(tx, desk.inbox, [replace(message("g"), group=True)], now=NOON, process_id=1)
        await ingest(tx, desk.inbox, [message("late", at=NOON - HOUR)], now=NOON, process_id=1)
        await ingest(tx, desk.inbox, [message("history", at=NOON - HOUR)], now=NOON, process_id=1, history=True)
        behaves(desk, welcome="")
        await ingest(tx, desk.inbox, [message("unwished")], now=NOON, process_id=1)
        behaves(desk)
        for welcomes in ("entering", "itself"):
            limits = replace(_UnannouncedChannel.limits, welcomes=welcomes)
            channel = type("_Other", (WindowedChannel,), {"limits": limits})(desk.inbox.channel._place)  # type: ignore[attr-defined]
            await ingest(tx, replace(desk.inbox, channel=channel), [message(welcomes)], now=NOON, process_id=1)
        assert await welcomed(tx) == []


async def test_with_people_only_it_is_said_too(desk: Desk) -> None:
    behaves(desk, assistant=False)
    async with desk.database.transaction(desk.workspace_id) as tx:
        await ingest(tx, desk.inbox, [message("wm1")], now=NOON, process_id=1)
        assert await welcomed(tx) == ["wm1"]
        assert (await desk.state(tx, "wm1")).waiting_since == NOON
