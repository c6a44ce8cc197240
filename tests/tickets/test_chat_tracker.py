"""A ticket from a group becomes an issue, and what happens to the issue is heard in the group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.tickets.chat import START, Chat, group_chat
from tests.tickets.stand import TrackerStand, tracker_stand
from zhiban.conversations.labels import add_label
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.tickets import repositories, telling
from zhiban.tickets.models import TicketState
from zhiban.tickets.service import lock_ticket, set_state
from zhiban.tickets.telling import TicketNews


@pytest.fixture
async def stand(db: Database, workspace: int) -> AsyncIterator[TrackerStand]:
    async with tracker_stand(db, workspace, clock=SetClock(START)) as found:
        yield found


@pytest.fixture
async def chat(db: Database, workspace: int, stand: TrackerStand) -> AsyncIterator[Chat]:
    async with group_chat(db, workspace, clock=stand.clock) as found:
        await stand.repository()
        async with db.transaction(workspace) as tx:
            await repositories.link(tx, found.conversation_id, "acme/shop", by=SYSTEM, now=stand.now)
            for name in ("bug", "同步引擎"):
                await add_label(tx, name=name, color=1, by=SYSTEM, now=stand.now)
        yield found


def news(action: str, number: int, **more: Any) -> dict[str, Any]:
    return {"action": action, "repository": "acme/shop", "number": number, "actor": "chen", **more}


async def heard(chat: Chat, news: TicketNews) -> str:
    """What the job says in the group, which was asked for with the change itself."""
    jobs = await chat.rows(
        "select (args ->> 'ticket_id')::int, (args ->> 'event_id')::int from procrastinate_jobs "
        "where task_name = 'tell_chat_of_ticket' and args ->> 'news' = %(news)s order by id",
        news=news.value,
    )
    if not jobs:
        return ""
    ticket_id, event_id = jobs[-1]
    for _ in range(2):  # a job may run twice
        async with chat.database.transaction(chat.workspace_id) as tx:
            ticket = await lock_ticket(tx, ticket_id)
            await telling.tell_chat(tx, chat.inbox, ticket, news, event_id=event_id, now=chat.clock.now())
    said = await chat.rows("select text from message where author = 'tracker' order by id")
    assert len(said) == len(set(said))
    return str(said[-1][0]) if said else ""


async def test_a_ticket_becomes_an_issue_and_ends_with_it(chat: Chat, stand: TrackerStand) -> None:
    preview = await chat.asks("liang", "以上5条开工单，标签：bug、同步引擎、没有的")
    assert "仓库：acme/shop（公开）" in preview
    assert "标签：bug、同步引擎" in preview
    assert "没有这样的标签：没有的" in preview
    assert "正在建到acme/shop" in await chat.asks("liang", "1")
    await stand.work()

    (issue,) = stand.board.issues.values()
    assert issue.title == "昨晚主库切了一次，增量同步丢了两三秒的数据"
    assert "**老杨**" in issue.body
    assert "13800006021" not in issue.body
    assert "青禾交流" not in issue.body  # a public repository need not know the group
    assert issue.labels == ("bug",)
    said = await heard(chat, TicketNews.OPENED)
    assert f"@梁小满 工单1已建到acme/shop #{issue.number}" in said
    assert issue.url in said
    assert "标签没有写上：同步引擎" in said

    chat.clock.advance(timedelta(hours=1))
    await stand.hears(news("closed", issue.number, state="closed", title=issue.title, body=issue.body))
    assert await chat.rows("select state, done_at is not null from ticket") == [("done", True)]
    done = await heard(chat, TicketNews.DONE)
    assert "工单1已完成" in done
    assert done.startswith("@梁小满 @老杨 @陆知行 ")


async def test_it_is_closed_over_there_when_it_is_done_here(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    await stand.work()
    for state, there in (
        (TicketState.DONE, "closed"),
        (TicketState.IN_PROGRESS, "open"),
        (TicketState.CANCELLED, "closed"),
    ):
        chat.clock.advance(timedelta(minutes=1))
        async with chat.database.transaction(chat.workspace_id) as tx:
            ((ticket_id,),) = await tx.rows("select id from ticket")
            await set_state(tx, ticket_id, state, by=SYSTEM, now=chat.clock.now())
        await stand.work()
        (issue,) = stand.board.issues.values()
        assert issue.state == there
    assert issue.reason == "not_planned"


async def test_a_refusal_is_a_sentence_for_people(chat: Chat, stand: TrackerStand) -> None:
    stand.board.repositories[0] = type(stand.board.repositories[0])("1", "acme/shop", issues_enabled=False)
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    await stand.work()
    said = await heard(chat, TicketNews.REFUSED)
    assert "工单1没能建到仓库" in said
    assert "The tracker" not in said
    assert await chat.rows("select state, tracker_state from ticket") == [("open", "refused")]


async def test_undone_it_is_closed_and_emptied_over_there(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    said = await chat.asks("liang", "撤销")
    assert "已撤销工单1" in said
    assert "修改历史" in said
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert (issue.state, issue.reason) == ("closed", "not_planned")
    assert "主库" not in issue.title + issue.body


async def test_messages_are_put_to_an_issue_that_there_is(chat: Chat, stand: TrackerStand) -> None:
    await stand.hears(news("opened", 7, title="增量同步丢数据"))
    preview = await chat.asks("liang", "以上1条开工单")
    assert "已加到工单1" in await chat.asks("liang", "加到 #7"), preview
    assert await chat.rows("select tracker_state from ticket") == [("opened",)]
    chat.clock.advance(timedelta(minutes=1))
    await stand.hears(news("created", 7, title="增量同步丢数据", comment="修好了 @octocat", comment_id=1))
    assert ("chen", "issue") in await chat.rows("select name, audience from ticket_comment")
