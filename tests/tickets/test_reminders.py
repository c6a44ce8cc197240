"""What owners are reminded of, when, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.tickets.chat import Chat, group_chat
from zhiban.events import SYSTEM
from zhiban.kit.db import Database
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.tickets import reminders
from zhiban.tickets.involving import watch
from zhiban.tickets.jobs import TicketJobs
from zhiban.tickets.models import NewTicket
from zhiban.tickets.reminders import Reminders
from zhiban.tickets.service import open_ticket, set_due


@pytest.fixture
async def chat(db: Database, workspace: int) -> AsyncIterator[Chat]:
    async with group_chat(db, workspace) as found:
        yield found


async def owner(chat: Chat, *titles: str) -> int:
    async with chat.database.transaction(chat.workspace_id) as tx:
        agent = await add_agent(tx, email="ye@qinghe.example", name="小叶", role=Role.AGENT, password_hash=None)
        for n, title in enumerate(titles):
            due = chat.clock.now() + timedelta(hours=n) if n else None
            new = NewTicket(title, owner_id=agent, due_at=due)
            await open_ticket(tx, new, key=title, by=SYSTEM, now=chat.clock.now() - timedelta(days=2))
    return agent


async def lists(chat: Chat) -> int:
    """Gives every owner their list, as two processes do at once. Returns how many were given."""

    async def process() -> int:
        async with chat.database.transaction(chat.workspace_id) as tx:
            waiting = await reminders.waiting_owners(tx, now=chat.clock.now())
        given = 0
        for agent_id in waiting:
            async with chat.database.transaction(chat.workspace_id) as tx:
                wanted = await reminders.reminders_of(tx)
                inbox = chat.inbox if wanted.group is not None else None
                given += await reminders.tell_list(tx, agent_id, inbox=inbox, now=chat.clock.now())
        return given

    return sum(await asyncio.gather(process(), process()))


async def chooses(chat: Chat, **wanted: object) -> bool:
    async with chat.database.transaction(chat.workspace_id) as tx:
        return await reminders.set_reminders(tx, Reminders.model_validate(wanted), by=SYSTEM, now=chat.clock.now())


TOLD = "select text from notification where key like 'ticket-daily-%%' order by id"


async def test_an_owner_has_one_list_a_working_day_and_never_an_empty_one(chat: Chat) -> None:
    await owner(chat, "没定日子的", "今天的", "打我电话 13800006021")
    assert await lists(chat) == 1
    ((text,),) = await chat.rows(TOLD)
    assert text.index("今天的") < text.index("没定日子的")  # the most pressing first
    assert "13800006021" not in text
    chat.clock.advance(timedelta(hours=2))
    assert await lists(chat) == 0
    chat.clock.advance(timedelta(hours=10))  # Friday night
    assert await lists(chat) == 0
    chat.clock.advance(timedelta(days=1))  # Saturday
    assert await lists(chat) == 0
    chat.clock.advance(timedelta(days=1, hours=10))  # Monday morning
    assert await lists(chat) == 1
    assert "已超期" in (await chat.rows(TOLD))[-1][0]
    await chat.rows("update ticket set state = 'done' returning 1")
    chat.clock.advance(timedelta(days=1))
    assert await lists(chat) == 0
    assert len(await chat.rows(TOLD)) == 2


async def test_single_reminders_wait_for_the_morning_and_are_said_once(chat: Chat) -> None:
    await owner(chat, "没人理的", "快到期的")
    chat.clock.advance(timedelta(hours=12))

    async def remind() -> int:
        async with chat.database.transaction(chat.workspace_id) as tx:
            return await reminders.remind(tx, now=chat.clock.now())

    assert await remind() == 0
    chat.clock.advance(timedelta(days=2, hours=9))
    assert await remind() == 3  # one is late, and nobody has answered either
    assert await remind() == 0
    assert await chooses(chat, unanswered_hours=144, due_hours=1)
    assert await remind() == 0


async def test_a_ticket_of_a_group_that_nobody_took_reminds_those_who_were_told_of_it(chat: Chat) -> None:
    ye = await owner(chat)
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    async with chat.database.transaction(chat.workspace_id) as tx:
        ((ticket_id,),) = await tx.rows("select id from ticket where owner_id is null")
        chen = await add_agent(tx, email="chen@qinghe.example", name="陈默", role=Role.AGENT, password_hash=None)
        await set_due(tx, ticket_id, chat.clock.now() + timedelta(days=2), by=SYSTEM, now=chat.clock.now())
    chat.clock.advance(timedelta(days=2, hours=20))  # Monday morning
    for told in (4, 0):
        async with chat.database.transaction(chat.workspace_id) as tx:
            assert await reminders.remind(tx, now=chat.clock.now()) == told
    said = await chat.rows("select agent_id, key like 'ticket-late-%%' from notification where actor_kind = 'timer'")
    assert sorted(said) == [(ye, False), (ye, True), (chen, False), (chen, True)]
    async with chat.database.transaction(chat.workspace_id) as tx:  # whoever watches it has it in hand
        await watch(tx, ticket_id, chen, by=SYSTEM, now=chat.clock.now())
        await set_due(tx, ticket_id, chat.clock.now(), by=SYSTEM, now=chat.clock.now())
        assert await reminders.remind(tx, now=chat.clock.now()) == 1


async def test_a_group_hears_the_list_outside_of_its_quiet_hours(chat: Chat) -> None:
    await owner(chat, "没做完的")
    assert await chooses(chat, group=chat.conversation_id)
    assert not await chooses(chat, group=chat.conversation_id)
    await chat.behaves(quiet={"start": 0, "end": 1440})
    async with chat.database.transaction(chat.workspace_id) as tx:
        assert not await reminders.group_may_hear(tx, chat.conversation_id, now=chat.clock.now())
    await chat.behaves()
    async with chat.database.transaction(chat.workspace_id) as tx:
        assert await reminders.group_may_hear(tx, chat.conversation_id, now=chat.clock.now())
    assert await lists(chat) == 1
    assert await lists(chat) == 0
    said = await chat.rows("select text from message where author = 'system' and direction = 'out'")
    assert said == [("小叶的工单：工单1 没做完的",)]
    assert not await chat.rows(TOLD)
    ((changed,),) = await chat.rows("select data -> 'after' from event where kind = 'ticket_reminders_changed'")
    assert changed == {"group": chat.conversation_id}


async def test_where_the_group_hears_nothing_any_more_the_owner_does(chat: Chat) -> None:
    """Five answers are all that the vendor allows until somebody writes again."""
    await owner(chat, "没做完的")
    await chooses(chat, group=chat.conversation_id)
    chat.clock.advance(timedelta(days=3))  # Monday
    assert await lists(chat) == 1
    assert await chat.rows(TOLD) == [("工单1 没做完的",)]
    assert not await chat.rows("select 1 from message where author = 'system' and direction = 'out'")


async def test_trouble_with_the_group_of_the_lists_stops_nobody(chat: Chat) -> None:
    agent = await owner(chat, "没人理的")
    await chooses(chat, group=999_999)
    jobs = TicketJobs(chat.database, None, chat.clock)  # type: ignore[arg-type]
    await jobs.remind()
    assert set(await chat.rows("select agent_id, text from notification")) == {(agent, "没人理的")}
