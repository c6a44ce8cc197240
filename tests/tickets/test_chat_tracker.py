"""A ticket from a group becomes an issue, and what happens to the issue is heard in the group."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.tickets.chat import START, Chat, group_chat
from tests.tickets.stand import TrackerStand, tracker_stand
from tests.waiting import LOCK_AWAITED
from zhiban.conversations import transitions
from zhiban.conversations.labels import add_label
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.i18n import Texts
from zhiban.people.permissions import Access, Role
from zhiban.ports import Issue, IssueChange, TrackerUser, TryLater
from zhiban.tickets import filing, repositories, telling, tracker_calls, tracker_outbox
from zhiban.tickets.models import Audience, TicketState
from zhiban.tickets.queries import messages_of_ticket, read_ticket, readable_messages
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
            ticket = await read_ticket(tx, ticket_id)
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


async def test_what_is_recalled_is_not_published_or_goes_from_there(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    await chat.recalls("g1")  # before anything is written
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert "主库切了一次" not in issue.title + issue.body
    assert "2.3.6" in issue.body
    await chat.recalls("g4")
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert "2.3.6" not in issue.title + issue.body
    assert "**老杨**" in issue.body


async def test_what_is_recalled_goes_from_the_comments_that_continue_a_long_issue(
    chat: Chat, stand: TrackerStand
) -> None:
    """Whether they are written, being tried when it is recalled, or yet to come."""

    def overflow() -> str:
        return "".join(one.body for one in stand.board.comments.get(("acme/shop", 1), []))

    said = [await chat.says("yang", f"第{n}段 " + "日志内容 " * 1500) for n in range(12)]
    await chat.asks("liang", "以上12条开工单，标题：日志")
    await chat.asks("liang", "确认")
    await stand.work()
    assert "第11段" in overflow()
    await chat.recalls(said[11])
    await stand.work()
    assert "第11段" not in overflow()
    assert overflow().count("第10段") == 1
    await chat.recalls(said[10])  # again, and what replaces it is not written when the next one comes
    stand.board.faults += [(TryLater("502", unknown=True), True)] * 2
    await stand.work()
    await chat.recalls(said[9])
    for _ in range(8):
        chat.clock.advance(timedelta(minutes=1))
        await stand.work()
    assert not any(f"第{n}段" in overflow() for n in (9, 10, 11))
    everything = overflow() + stand.board.issues["acme/shop", 1].body
    assert all(everything.count(f"第{n}段") == 1 for n in range(9))
    assert "日志内容" not in str(await chat.rows("select content from tracker_call"))
    await chat.asks("liang", "撤销")
    for _ in range(2):
        chat.clock.advance(timedelta(minutes=1))
        await stand.work()
    assert overflow() == ""
    assert not await stand.facts("issue_refused")


async def test_what_is_put_to_a_ticket_inside_is_not_published_when_something_is_recalled(
    chat: Chat, stand: TrackerStand
) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    await stand.work()
    aside = await chat.says("bei", "内部价格是九折，别往外说")
    await chat.asks("liang", "以上1条开工单")
    assert "已加到工单1" in await chat.asks("liang", "加到工单1")
    await chat.recalls("g4")
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert "2.3.6" not in issue.body
    assert "九折" not in issue.body
    await chat.recalls(aside)
    assert await chat.rows("select count(*) from tracker_call where kind = 'change'") == [(1,)]


async def test_what_is_recalled_goes_from_a_comment_that_carries_it(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    await stand.work()
    first = await chat.says("bei", "内部价格是九折，别往外说")
    second = await chat.says("bei", "重启以后也一样")
    await chat.asks("liang", "以上2条开工单，备注：见群文件")
    await chat.asks("liang", "加到 #1")
    await stand.work()
    assert "九折" in "".join(one.body for one in stand.board.comments["acme/shop", 1])
    await chat.recalls(first)
    await stand.work()
    (body,) = [one.body for one in stand.board.comments["acme/shop", 1]]
    assert "重启以后也一样" in body
    assert "见群文件" in body
    assert "九折" not in body
    await chat.recalls(second)
    await stand.work()
    assert stand.board.comments["acme/shop", 1] == []
    assert not await stand.facts("issue_refused")


async def test_a_comment_that_nobody_has_tried_to_write_never_says_what_was_recalled(
    chat: Chat, stand: TrackerStand
) -> None:
    await joined(chat, stand)
    first = await chat.says("bei", "内部价格是九折，别往外说")
    await chat.says("bei", "重启以后也一样")
    await chat.asks("liang", "以上2条开工单")
    await chat.asks("liang", "加到 #7")
    await chat.recalls(first)
    await stand.work()
    bodies = [one.body for one in stand.board.comments["acme/shop", 7]]
    assert len(bodies) == 2
    assert "重启以后也一样" in bodies[1]
    assert "九折" not in "".join(bodies)


async def test_who_asked_not_to_be_quoted_is_not_published_by_moving_the_ticket(
    chat: Chat, stand: TrackerStand
) -> None:
    await chat.rows("delete from repository_link returning 1")
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    await chat.asks("yang", "不要引用我", mentions_us=True)
    async with chat.database.transaction(chat.workspace_id) as tx:
        ((ticket_id, repository_id),) = await tx.rows("select t.id, r.id from ticket t, repository r")
        await filing.move_to(tx, ticket_id, repository_id, texts=Texts("zh"), by=SYSTEM, now=chat.clock.now())
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert "主库切了一次" not in issue.title + issue.body
    assert "binlog" not in issue.body
    assert "2.3.6" in issue.body


async def test_a_recall_is_taken_where_the_repository_is_reached_no_more(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    await stand.work()
    await chat.rows("update repository set removed_at = now() returning 1")
    await chat.recalls("g4")
    assert ("",) in await chat.rows("select text from ticket_message")


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
    await stand.work()
    async with chat.database.transaction(chat.workspace_id) as tx:
        ((ticket_id,),) = await tx.rows("select id from ticket")
        ticket = await lock_ticket(tx, ticket_id)
        await filing.write_comment(
            tx, ticket, "回退到 2.3.6", audience=Audience.ISSUE, key="1", texts=Texts("zh"), by=SYSTEM, now=stand.now
        )
    await stand.work()
    assert len(stand.board.comments["acme/shop", 1]) == 1
    chat.clock.advance(timedelta(minutes=1))
    said = await chat.asks("liang", "撤销")
    assert "已撤销工单1" in said
    assert "修改历史" in said
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert (issue.state, issue.reason) == ("closed", "not_planned")
    assert "主库" not in issue.title + issue.body
    assert stand.board.comments["acme/shop", 1] == []
    assert "主库" not in str(await chat.rows("select content from tracker_call"))
    assert await chat.rows("select body from issue_comment") == [("",)]


async def test_undone_before_it_left_it_never_leaves(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    said = await chat.asks("liang", "撤销")
    assert "议题还没有建出去，不会再建。" in said
    assert "清空，但" not in said
    await stand.work()
    assert not stand.board.issues
    assert not await stand.facts("issue_refused")
    assert "主库" not in str(await chat.rows("select content from tracker_call"))
    assert await chat.rows("select state, tracker_state from ticket") == [("cancelled", "")]


async def test_undone_while_nobody_knows_whether_it_left_no_word_of_it_is_written_any_more(
    chat: Chat, stand: TrackerStand
) -> None:
    stand.board.faults.append((TryLater("502", unknown=True), False))
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    await stand.work()
    assert "会关闭并清空" in await chat.asks("liang", "撤销")
    for _ in range(3):
        chat.clock.advance(timedelta(minutes=1))
        await stand.work()
    (issue,) = stand.board.issues.values()
    assert (issue.title, issue.state) == ("（已撤回）", "closed")
    assert "主库" not in issue.body


async def test_messages_are_put_to_an_issue_that_there_is(chat: Chat, stand: TrackerStand) -> None:
    await stand.hears(news("opened", 7, title="增量同步丢数据"))
    preview = await chat.asks("liang", "以上1条开工单")
    assert "已加到工单1" in await chat.asks("liang", "加到 #7"), preview
    assert await chat.rows("select tracker_state from ticket") == [("opened",)]
    chat.clock.advance(timedelta(minutes=1))
    await stand.hears(news("created", 7, title="增量同步丢数据", comment="修好了 @octocat", comment_id=1))
    assert ("chen", "issue") in await chat.rows("select name, audience from ticket_comment")


async def test_an_issue_that_has_no_number_is_called_as_its_tracker_writes_it(chat: Chat, stand: TrackerStand) -> None:
    await stand.hears(news("opened", 7, title="增量同步丢数据"))
    await chat.rows("update issue set url = 'https://gitee.test/acme/shop/issues/I1JD2C' returning 1")
    await chat.asks("liang", "以上1条开工单")
    assert "没有找到可以加的 #I1JD2X" in await chat.asks("liang", "加到 #I1JD2X")
    assert "已加到工单1" in await chat.asks("liang", "加到 #i1jd2c")
    assert await chat.rows("select tracker_state from ticket") == [("opened",)]
    assert await chat.rows("select number from tracker_call where kind = 'comment'") == [(7,)]


async def joined(chat: Chat, stand: TrackerStand) -> tuple[str, int]:
    """Something that stands at a stranger's issue; what was answered, and the ticket."""
    board = stand.board
    board.issues["acme/shop", 7] = Issue(
        "acme/shop", 7, "https://tracker.test/7", "增量同步丢数据", "open", TrackerUser("chen"), stand.now, stand.now,
        body="陌生人的话",
    )  # fmt: skip
    await stand.hears(news("opened", 7, title="增量同步丢数据"))
    await chat.asks("liang", "以上1条开工单")
    said = await chat.asks("liang", "加到 #7")
    await stand.work()
    ((ticket_id,),) = await chat.rows("select id from ticket order by id desc limit 1")
    return said, ticket_id


async def test_what_was_put_to_an_issue_can_be_written_to_and_closed(chat: Chat, stand: TrackerStand) -> None:
    _, ticket_id = await joined(chat, stand)
    async with chat.database.transaction(chat.workspace_id) as tx:
        ticket = await lock_ticket(tx, ticket_id)
        await filing.write_comment(
            tx, ticket, "修好了", audience=Audience.ISSUE, key="1", texts=Texts("zh"), by=SYSTEM, now=stand.now
        )
        await set_state(tx, ticket_id, TicketState.DONE, by=SYSTEM, now=stand.now)
    await stand.work()
    assert [one.body for one in stand.board.comments["acme/shop", 7]][1:] == ["修好了"]
    assert stand.board.issues["acme/shop", 7].state == "closed"
    assert not await stand.facts("issue_refused")


async def test_undone_a_strangers_issue_stays_as_it_is_and_our_comment_goes(chat: Chat, stand: TrackerStand) -> None:
    await joined(chat, stand)
    assert len(stand.board.comments["acme/shop", 7]) == 1
    said = await chat.asks("liang", "撤销")
    assert "我们加到议题里的评论会删掉。" in said
    chat.clock.advance(timedelta(minutes=1))
    await stand.work()
    issue = stand.board.issues["acme/shop", 7]
    assert (issue.title, issue.body, issue.state) == ("增量同步丢数据", "陌生人的话", "open")
    assert stand.board.comments["acme/shop", 7] == []


async def test_another_group_gets_a_ticket_of_its_own_for_the_same_issue(chat: Chat, stand: TrackerStand) -> None:
    _, first = await joined(chat, stand)
    ((issue_id,),) = await chat.rows("select issue_id from ticket")
    # the same ticket, as another group's
    other = await chat.rows(
        "insert into conversation (workspace_id, inbox_id, external_id, kind) select workspace_id, inbox_id, 'g-2', "
        "'group' from conversation limit 1 returning id"
    )
    await chat.rows(
        "update ticket_conversation set conversation_id = %(other)s where ticket_id = %(id)s returning 1",
        other=other[0][0],
        id=first,
    )
    await chat.rows(
        "update ticket set title = '令牌 ghp_0123456789abcdefghijklmnopqrstuvwx', conversation_id = %(o)s returning 1",
        o=other[0][0],
    )
    await chat.asks("liang", "以上2条开工单")
    said = await chat.asks("liang", "加到 #7")
    assert "已加到工单2" in said
    assert "ghp_" not in said
    assert await chat.rows(
        "select count(*), count(distinct ticket_id) from ticket_message where ticket_id <> %(id)s", id=first
    ) == [(2, 1)]
    assert await chat.rows("select count(*) from ticket where issue_id = %(id)s", id=issue_id) == [(2,)]
    elsewhere = Access(1, Role.AGENT, (4711,))
    async with chat.database.transaction(chat.workspace_id) as tx:
        assert len(await messages_of_ticket(tx, first)) == 1
        assert await readable_messages(tx, elsewhere, first) == []  # whose inbox they do not see
    chat.clock.advance(timedelta(minutes=1))
    await stand.hears(news("closed", 7, title="增量同步丢数据", state="closed"))
    assert await chat.rows("select distinct state from ticket") == [("done",)]


async def test_a_maintainers_close_while_we_change_something_else_is_heard(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    await stand.work()
    chat.clock.advance(timedelta(minutes=1))
    async with chat.database.transaction(chat.workspace_id) as tx:
        ((ticket_id, repository_id),) = await tx.rows("select id, repository_id from ticket")
        await tracker_outbox.enqueue(
            tx, repository_id, IssueChange(add_labels=("bug",)), number=1, ticket_id=ticket_id,
            client_key="label", by=SYSTEM, now=stand.now,
        )  # fmt: skip
        assert await tracker_calls.take(tx, stand.connection_id, process_id=1, now=stand.now)
    (issue,) = stand.board.issues.values()
    await stand.hears(news("closed", 1, state="closed", title=issue.title, body=issue.body))
    assert await chat.rows("select state from ticket") == [("done",)]


async def test_telling_a_chat_and_a_turn_in_it_do_not_wait_for_each_other(chat: Chat, stand: TrackerStand) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    await stand.work()
    ((ticket_id,),) = await chat.rows("select id from ticket")

    async def tells() -> None:
        async with chat.database.transaction(chat.workspace_id) as tx:
            ticket = await read_ticket(tx, ticket_id)
            await telling.tell_chat(tx, chat.inbox, ticket, TicketNews.OPENED, event_id=1, now=chat.clock.now())

    async with chat.database.transaction(chat.workspace_id) as tx:
        await transitions.lock(tx, chat.conversation_id)  # a turn has begun
        telling_it = asyncio.create_task(tells())
        await waits_for_a_lock(chat)
        await tx.run("set local lock_timeout = '2s'")
        await lock_ticket(tx, ticket_id)
    await telling_it
    assert await chat.rows("select count(*) from message where author = 'tracker'") == [(1,)]


async def waits_for_a_lock(chat: Chat) -> None:
    async with asyncio.timeout(30):
        while await chat.rows(LOCK_AWAITED) != [(True,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.process
async def test_a_worker_that_is_killed_anywhere_leaves_a_draft_to_confirm_and_then_one_issue(
    chat: Chat, stand: TrackerStand
) -> None:
    ids = (chat.workspace_id, chat.conversation_id, chat.inbox.connection.id, chat.inbox.inbox_id)
    command = [sys.executable, "-m", "tests.tickets.draft_process", chat.database.dsn, *map(str, ids)]
    root = str(Path(__file__).resolve().parent.parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))}
    drafts: list[tuple[str, int]] = []
    # What is frozen is committed sixth, after a look for issues about the same; so is the word, once that is known.
    for number, when in ((6, "before"), (6, "after"), (6, "before"), (6, "after")):
        child = await asyncio.create_subprocess_exec(*command, str(number), when, env=environment)
        async with asyncio.timeout(120):
            assert await child.wait() == -signal.SIGKILL
        found = await chat.rows("select state, (select count(*)::int from ticket) from ticket_draft")
        drafts.append(found[0] if found else ("none", 0))
    assert drafts == [("none", 0), ("open", 0), ("open", 0), ("filed", 1)]
    child = await asyncio.create_subprocess_exec(*command, "0", "never", env=environment)
    assert await child.wait() == 0
    stand.board.faults.append((TryLater("The answer was lost.", unknown=True), True))  # it took the issue all the same
    await stand.work()
    chat.clock.advance(timedelta(minutes=10))
    await stand.work()
    assert [issue.title for issue in stand.board.issues.values()] == ["昨晚主库切了一次，增量同步丢了两三秒的数据"]
    assert await chat.rows("select number, tracker_state from ticket") == [(1, "opened")]
    said = await chat.rows("select text from message where author = 'assistant' order by id")
    assert [text.split("\n")[0][-8:] for (text,) in said] == [said[0][0].split("\n")[0][-8:], "丢了两三秒的数据"]
