"""What one member, one night and one former admin cannot do with commands; and who of ours hears of a ticket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.tickets.chat import GROUP, Chat, group_chat
from zhiban.channels.business_hours import Span
from zhiban.events import SYSTEM
from zhiban.kit.db import Database
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.ports import MembersLeft
from zhiban.tickets import reminders, telling
from zhiban.tickets.queries import read_ticket
from zhiban.tickets.service import set_owner
from zhiban.tickets.telling import TicketNews

ALL_DAY = Span(start=0, end=1440)


@pytest.fixture
async def chat(db: Database, workspace: int) -> AsyncIterator[Chat]:
    async with group_chat(db, workspace) as found:
        yield found


async def test_a_dozen_commands_of_one_member_are_not_a_dozen_previews(chat: Chat) -> None:
    for n in range(12):
        await chat.says("lu", f"以上{n % 4 + 1}条开工单")
    assert len(await chat.turn()) == 3
    assert await chat.rows("select count(*)::int from message where state = 'pending'") == [(0,)]
    assert "工单草稿" in await chat.asks("yang", "以上1条开工单")  # others have their own
    assert await chat.asks("lu", "以上1条开工单") == ""
    chat.clock.advance(timedelta(minutes=2))
    assert "工单草稿" in await chat.asks("lu", "以上1条开工单")


async def test_what_is_put_to_a_ticket_counts_as_what_is_opened(chat: Chat) -> None:
    await chat.behaves(files_per_member=2)
    await chat.asks("lu", "以上5条开工单")
    assert "已开工单1" in await chat.asks("lu", "1")
    for answer in ("已加到工单1", "您今天已经开了2张"):
        chat.clock.advance(timedelta(minutes=2))
        await chat.says("yang", "还是丢数据")
        asked = await chat.asks("lu", "以上1条开工单")
        if "工单草稿" in asked:
            asked = await chat.asks("lu", "加到 #1")
        assert answer in asked


async def test_at_night_only_what_names_us_is_answered(chat: Chat) -> None:
    await chat.behaves(quiet=ALL_DAY)
    assert await chat.asks("lu", "以上5条开工单") == ""
    assert await chat.rows("select count(*)::int from ticket_draft") == [(0,)]
    assert "工单草稿" in await chat.asks("lu", "@值班 以上5条开工单", mentions_us=True)
    assert "已开工单1" in await chat.asks("lu", "1")


async def test_who_asked_in_english_is_told_in_english(chat: Chat) -> None:
    await chat.asks("liang", "file the last 2 messages as a ticket")
    await chat.asks("liang", "ok")
    async with chat.database.transaction(chat.workspace_id) as tx:
        ticket = await read_ticket(tx, await tx.value("select id from ticket"))
        await telling.tell_chat(tx, chat.inbox, ticket, TicketNews.DONE, event_id=1, now=chat.clock.now())
    ((said,),) = await chat.rows("select text from message where author = 'tracker'")
    assert "工单" not in said
    assert "icket 1" in said


async def test_an_admin_who_left_and_writes_again_is_none(chat: Chat) -> None:
    await chat.behaves(files="admins")
    assert "工单草稿" in await chat.asks("liang", "以上5条开工单")
    await chat.told(MembersLeft(GROUP, ("liang",), chat.clock.now()))
    assert "只有群管理" in await chat.asks("liang", "以上5条开工单")


async def test_people_of_the_inbox_hear_of_a_new_ticket_and_only_its_owner_where_it_has_one(chat: Chat) -> None:
    async with chat.database.transaction(chat.workspace_id) as tx:
        for name in ("小叶", "老周"):
            await add_agent(tx, email=f"{name}@qinghe.example", name=name, role=Role.AGENT, password_hash=None)
    told = (
        "select a.name from notification n join agent a on a.id = n.agent_id where n.kind = 'ticket' "
        "and n.key = 'ticket-opened-' || %(id)s order by a.name"
    )
    for command, expected in (("以上5条开工单", {"小叶", "老周"}), ("以上1条开工单，指派 @小叶", {"小叶"})):
        await chat.asks("liang", command)
        await chat.asks("liang", "1")
        ((ticket_id,),) = await chat.rows("select max(id) from ticket")
        assert {name for (name,) in await chat.rows(told, id=str(ticket_id))} == expected


async def test_hundreds_that_are_late_already_keep_no_newer_one_from_being_told(chat: Chat) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    async with chat.database.transaction(chat.workspace_id) as tx:
        agent = await add_agent(tx, email="ye@qinghe.example", name="小叶", role=Role.AGENT, password_hash=None)
        await set_owner(tx, await tx.value("select id from ticket"), agent, by=SYSTEM, now=chat.clock.now())
        await tx.run("update ticket set due_at = %(at)s", at=chat.clock.now() - timedelta(days=1))
        columns = (
            "workspace_id, title, state, priority, owner_id, due_at, labels, signature, tracker_state, created_at, "
            "changed_at"
        )
        await tx.run(
            f"insert into ticket ({columns}, number, client_key) select {columns}, n, 'copy-' || n from ticket, "
            "generate_series(2, 220) n"
        )
        assert await reminders.remind(tx, now=chat.clock.now()) == 220
        await tx.run(
            f"insert into ticket ({columns}, number, client_key) select {columns}, 221, 'new' from ticket limit 1"
        )
        await tx.run("update ticket set due_at = %(at)s where number = 221", at=chat.clock.now() - timedelta(hours=1))
        assert await reminders.remind(tx, now=chat.clock.now()) == 1
