"""What colleagues are told of tickets outside of the desk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.tickets.chat import Chat, group_chat
from zhiban.channels.connections import Connections
from zhiban.events import SYSTEM
from zhiban.kit.db import Database
from zhiban.kit.vault import Vault
from zhiban.notifications import preferences
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.notifications.models import DEFAULT_WAYS, NotificationKind, Way
from zhiban.notifications.personal import PersonalJobs
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.testing.notices import NoticeBoard
from zhiban.tickets import involving, reminders
from zhiban.tickets.service import set_due, set_owner

MOBILE = "13800006021"


@pytest.fixture
async def chat(db: Database, workspace: int) -> AsyncIterator[Chat]:
    async with group_chat(db, workspace) as found:
        yield found


async def colleague(chat: Chat, name: str, number: int) -> int:
    """Somebody who is told of tickets on Telegram."""
    async with chat.database.transaction(chat.workspace_id) as tx:
        agent = await add_agent(tx, email=f"a{number}@qinghe.example", name=name, role=Role.AGENT, password_hash=None)
        ways = {**DEFAULT_WAYS, NotificationKind.TICKET: [Way.PAGE, Way.PERSONAL]}
        await preferences.choose(
            tx, agent, ways=ways, address=f"telegram:{number}", waiting_minutes=9, now=chat.clock.now()
        )
    return agent


async def received(chat: Chat) -> list[tuple[str, str, str]]:
    """Address, title and text of all that leaves for Telegram."""
    board = NoticeBoard()
    registry = NotifierRegistry((), {"telegram": board}, board, "https://desk.example.test")
    connections = Connections(chat.database, Vault(["a key for tests only"]), chat.clock, None, build=None)  # type: ignore[arg-type]
    jobs = PersonalJobs(chat.database, connections, registry, chat.clock)
    for (id_,) in await chat.rows("select id from notification where kind = 'ticket' order by id"):
        await jobs.tell_agent(chat.workspace_id, id_)
    return [(address, notice.title, notice.text) for address, notice in board.pinned]


async def test_no_secret_leaves_with_a_notice(chat: Chat) -> None:
    ye, chen = await colleague(chat, "小叶", 1), await colleague(chat, "陈默", 2)
    await chat.asks("liang", f"以上5条开工单，标题：打我电话{MOBILE}")
    await chat.asks("liang", "确认")
    async with chat.database.transaction(chat.workspace_id) as tx:
        ((ticket_id,),) = await tx.rows("select id from ticket")
        now = chat.clock.now()
        await set_owner(tx, ticket_id, ye, by=SYSTEM, now=now)
        await set_due(tx, ticket_id, now + timedelta(hours=1), by=SYSTEM, now=now)
        await involving.watch(tx, ticket_id, chen, by=SYSTEM, now=now)
        said = f"密码：hunter2024，电话{MOBILE}"
        await involving.comment(tx, ticket_id, said, key="c1", by=SYSTEM, now=now)
        await reminders.remind(tx, now=now)
    told = await received(chat)
    assert {(to, title) for to, title, _ in told} == {
        ("telegram:1", "有一张新工单"),
        ("telegram:2", "有一张新工单"),
        ("telegram:1", "有人把一张工单交给您"),
        ("telegram:1", "有人在工单里说了话"),
        ("telegram:2", "有人在工单里说了话"),
        ("telegram:1", "工单快到期了"),
    }
    everything = "\n".join(text for _, _, text in told)
    assert MOBILE not in everything
    assert "hunter2024" not in everything
    assert everything.count("打我电话138****6021") == 6  # which number it was can still be told
