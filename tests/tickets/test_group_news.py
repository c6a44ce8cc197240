"""What groups hear of their repositories: each thing once, gathered, within a budget, and never at night."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.tickets.stand import TrackerStand, tracker_stand
from tests.twin import open_inbox
from zhiban.channels.business_hours import Span
from zhiban.channels.connections import OpenInbox
from zhiban.channels.pausing import pause_connection, resume_connection
from zhiban.conversations import groups
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.conversations.ingest import ingest
from zhiban.desk.checks import NoticeSetup, findings
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database
from zhiban.kit.i18n import Texts
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.ports import IncomingMessage, Issue, Kind, Repository, SenderRole, TrackerNews, TrackerUser
from zhiban.testing.tracker import US
from zhiban.tickets import group_news, mirroring, repositories
from zhiban.tickets import tracker_outbox as outbox
from zhiban.tickets.news import take_in
from zhiban.tickets.tracker_jobs import TrackerJobs
from zhiban.tickets.tracker_writes import NewComment

SHOP: dict[str, Any] = {"repository": "acme/shop", "number": 1, "title": "支付页\n白屏", "actor": "lin"}


class LinkedGroup:
    """A group that is linked with acme/shop."""

    def __init__(self, stand: TrackerStand, inbox: OpenInbox, conversation_id: int) -> None:
        self.stand = stand
        self.inbox = inbox
        self.id = conversation_id

    async def linked(self, **settings: Any) -> None:
        async with self.stand.database.transaction(self.stand.workspace_id) as tx:
            await repositories.link(tx, self.id, "acme/shop", settings=settings, by=SYSTEM, now=self.stand.now)

    async def hears(self, *, after: float = 61) -> list[str]:
        """The messages that come after so many seconds."""
        self.stand.clock.advance(timedelta(seconds=after))
        async with self.stand.database.transaction(self.stand.workspace_id) as tx:
            before = await tx.value("select coalesce(max(id), 0) from message")
            for conversation_id, _inbox in await group_news.waiting_groups(tx, now=self.stand.now):
                await group_news.tell(tx, self.inbox, conversation_id, now=self.stand.now)
            return await tx.values(
                "select text from message where author = 'tracker' and id > %(before)s order by id", before=before
            )


@pytest.fixture
async def stand(db: Database, workspace: int) -> AsyncIterator[TrackerStand]:
    async with tracker_stand(db, workspace) as found:
        yield found


@pytest.fixture
async def group(stand: TrackerStand) -> LinkedGroup:
    await stand.repository()
    inbox = await open_inbox(stand.database, stand.workspace_id)
    said = IncomingMessage(
        "g1", "g-1", "zhou", SenderRole.CONTACT, Kind.TEXT, "大家好", stand.now, group=True, sender_name="周周"
    )
    async with stand.database.transaction(stand.workspace_id) as tx:
        await ingest(tx, inbox, [said], now=stand.now, process_id=1)
        conversation_id = int(await tx.value("select id from conversation where kind = 'group'"))
    found = LinkedGroup(stand, inbox, conversation_id)
    await found.linked()
    return found


async def comments(stand: TrackerStand, count: int, *, number: int = 1, actor: str = "lin") -> None:
    for n in range(count):
        said = {"action": "created", "comment": f"第{n}句", "comment_id": 100 * number + n}
        await stand.hears({**SHOP, **said, "number": number, "actor": actor, "title": f"问题{number}"})


async def test_what_happens_to_one_issue_within_a_minute_is_one_message(
    stand: TrackerStand, group: LinkedGroup
) -> None:
    for _ in range(3):
        await stand.hears({**SHOP, "action": "opened"})
    await stand.hears({**SHOP, "action": "created", "comment": "看到了\n马上修", "comment_id": 9, "actor": "chen"})
    assert await group.hears(after=30) == []
    (said,) = await group.hears(after=31)
    assert said.splitlines() == [
        "acme/shop #1 支付页 白屏",
        "lin新开",
        "chen：看到了 马上修",
        "https://tracker.test/acme/shop/issues/1",
    ]
    assert await group.hears() == []  # and not once more


async def test_news_of_one_issue_are_a_card_where_the_group_wants_cards(
    stand: TrackerStand, group: LinkedGroup
) -> None:
    async def told() -> list[tuple[str, str | None, str | None, str | None]]:
        ((before,),) = await stand.rows("select coalesce(max(id), 0) from message")
        await group.hears()
        return await stand.rows(
            "select kind, content ->> 'title', content ->> 'description', content ->> 'url' from message "
            "where author = 'tracker' and id > %(before)s order by id", before=before,
        )  # fmt: skip

    await stand.hears({**SHOP, "action": "opened"})
    await stand.hears({**SHOP, "action": "created", "comment": "看到了", "comment_id": 9, "actor": "chen"})
    url = "https://tracker.test/acme/shop/issues/1"
    assert await told() == [("link", "acme/shop #1 支付页 白屏", "lin新开\nchen：看到了", url)]
    await group.linked(mode="list")
    await stand.hears({**SHOP, "number": 2, "action": "opened"})
    await stand.hears({**SHOP, "number": 3, "action": "opened"})
    stand.clock.advance(timedelta(days=1))
    assert await told() == [("text", None, None, None)]  # a list leads to many places
    await group.linked(mode="all")
    async with stand.database.transaction(stand.workspace_id) as tx:
        await groups.configure(tx, group.id, GroupPolicy(news_cards=False), by=SYSTEM, now=stand.now)
    await stand.hears({**SHOP, "action": "created", "comment": "再看", "comment_id": 10, "actor": "chen"})
    assert await told() == [("text", None, None, None)]


async def test_too_many_messages_become_a_list(stand: TrackerStand, group: LinkedGroup) -> None:
    for number in range(1, 10):
        await stand.hears({**SHOP, "number": number, "title": f"问题{number}", "action": "opened"})
    said = await group.hears()
    assert len(said) == group_news.MESSAGES_A_MINUTE
    assert said[-1].splitlines()[0] == "仓库动态"
    assert sum("#" in line for line in said[-1].splitlines()) == 4


async def test_many_comments_are_counted(stand: TrackerStand, group: LinkedGroup) -> None:
    await comments(stand, 12)
    (said,) = await group.hears()
    assert "还有9条" in said
    assert len(said.splitlines()) == 7


async def test_bots_and_what_we_wrote_are_no_news(stand: TrackerStand, group: LinkedGroup) -> None:
    await stand.hears({**SHOP, "action": "opened"})
    await group.hears()
    bot = {**SHOP, "action": "created", "comment": "bump", "comment_id": 8, "actor": "renovate[bot]", "bot": True}
    await stand.hears(bot)
    await stand.hears({**SHOP, "action": "created", "comment": "我们写的", "comment_id": 9, "actor": US.login})
    assert await group.hears() == []
    await group.linked(bots=True)
    await stand.hears({**bot, "comment_id": 10})
    assert len(await group.hears()) == 1


async def test_modes_and_labels(stand: TrackerStand, group: LinkedGroup) -> None:
    await group.linked(mode="first")
    await stand.hears({**SHOP, "action": "opened"})
    await comments(stand, 2)
    (said,) = await group.hears()
    assert said.splitlines()[1:-1] == ["lin新开"]
    await group.linked(labels=["bug"])
    await stand.hears({**SHOP, "number": 2, "action": "opened", "labels": ["question"]})
    await stand.hears({**SHOP, "number": 3, "action": "opened", "labels": ["bug"]})
    (said,) = await group.hears()
    assert "#3" in said
    await group.linked(mode="none")
    await comments(stand, 1, number=4)
    assert await group.hears() == []


async def test_what_waits_to_be_told_follows_its_comment(stand: TrackerStand, group: LinkedGroup) -> None:
    await comments(stand, 2)
    later = {**SHOP, "at": stand.now.timestamp() + 5}
    await stand.hears({**later, "action": "edited", "comment": "改过的", "comment_id": 100})
    await stand.hears({**later, "action": "deleted", "comment": "第1句", "comment_id": 101})
    # An edit of what was written before we knew of it is no news.
    await stand.hears({**later, "action": "edited", "comment": "老话", "comment_id": 99})
    (said,) = await group.hears()
    assert said.splitlines()[1:-1] == ["lin新开", "lin：改过的"]
    await stand.hears({**later, "at": stand.now.timestamp(), "action": "edited", "comment": "再改", "comment_id": 100})
    assert await group.hears() == []
    changed = await stand.facts("issue_comment_changed")
    assert [one["change"] for one in changed] == ["edited", "removed", "edited"]


async def test_two_machines_that_answer_each_other_are_stopped(stand: TrackerStand, group: LinkedGroup) -> None:
    async with stand.database.transaction(stand.workspace_id) as tx:
        boss = await add_agent(tx, email="lin@example.test", name="林知夏", role=Role.OWNER, password_hash=None)
    await comments(stand, mirroring.MOST_A_MINUTE + 9)
    await comments(stand, 1, number=2)
    said = await group.hears()
    assert len(said) == 2  # the other issue is told as ever
    (paused,) = await stand.facts("mirroring_paused")
    assert paused["count"] == mirroring.MOST_A_MINUTE
    assert await stand.rows("select agent_id, kind from notification") == [(boss, "tracker")]
    assert (await stand.rows("select missed from mirror_pause"))[0][0] == 10  # with its opening twenty were told
    stand.clock.advance(mirroring.PAUSE)
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert await mirroring.resume_due(tx, now=stand.now) == 1
    (said,) = await group.hears()
    assert "有10条没有逐条说" in said
    await comments(stand, 1, number=1)
    assert await stand.rows("select count(*) from mirror_pause") == [(0,)]


async def test_an_operator_sees_what_is_paused_and_lets_it_go_on(stand: TrackerStand, group: LinkedGroup) -> None:
    await comments(stand, mirroring.MOST_A_MINUTE + 9)
    await group.hears()
    async with stand.database.transaction(stand.workspace_id) as tx:
        (paused,) = await mirroring.pauses(tx)
        assert (paused.place, paused.missed, paused.ends_at - paused.paused_at) == ("acme/shop#1", 10, mirroring.PAUSE)
        said = [one for one in await findings(tx, NoticeSetup(), Texts("zh")) if one.check == "暂停的议题"]
        assert "zhiban tracker resume acme/shop#1" in said[0].cure
        assert await mirroring.resume(tx, paused.issue_id, by=Actor("agent", 1), now=stand.now)
        assert not await mirroring.resume(tx, paused.issue_id, by=Actor("agent", 1), now=stand.now)
        assert await mirroring.pauses(tx) == []
    (said_there,) = await group.hears()
    assert "有10条没有逐条说" in said_there
    (fact,) = await stand.facts("mirroring_resumed")
    assert fact["missed"] == 10


async def test_a_copy_of_our_text_is_news(stand: TrackerStand, group: LinkedGroup) -> None:
    await stand.hears({**SHOP, "action": "opened"})
    repository = await stand.repository()
    stand.board.issues["acme/shop", 1] = Issue(
        "acme/shop", 1, "u", "t", "open", TrackerUser("lin"), stand.now, stand.now
    )
    async with stand.database.transaction(stand.workspace_id) as tx:
        await outbox.enqueue(tx, repository, NewComment("我们写的"), number=1, client_key="c", by=SYSTEM, now=stand.now)
    await stand.work()
    await group.hears()
    ((key,),) = await stand.rows("select key from tracker_call")
    copied = {**SHOP, "action": "created", "comment": "我们写的", "comment_id": 77, "key": key, "actor": US.login}
    await stand.hears(copied)
    (said,) = await group.hears()
    assert "我们写的" in said


async def test_a_daily_list_waits_for_the_morning(stand: TrackerStand, group: LinkedGroup) -> None:
    await group.linked(mode="list")
    await comments(stand, 2)  # at ten in the morning
    assert await group.hears(after=3600) == []
    (said,) = await group.hears(after=22 * 3600)
    assert said.splitlines() == ["仓库动态", "acme/shop #1 问题1（3）"]  # it was opened, too


async def test_at_night_it_waits_and_where_nothing_may_be_said_it_is_dropped(
    stand: TrackerStand, group: LinkedGroup
) -> None:
    quiet = GroupPolicy(quiet=Span(start=540, end=720))
    async with stand.database.transaction(stand.workspace_id) as tx:
        await groups.configure(tx, group.id, quiet, by=SYSTEM, now=stand.now)
    await stand.hears({**SHOP, "action": "opened"})
    assert await group.hears() == []
    assert len(await group.hears(after=3 * 3600)) == 1
    async with stand.database.transaction(stand.workspace_id) as tx:
        await groups.configure(tx, group.id, GroupPolicy(read_only=True), by=SYSTEM, now=stand.now)
    await comments(stand, 1)
    assert await group.hears() == []
    assert await stand.rows("select count(*) from group_news where told_at is null") == [(0,)]


async def test_who_asked_for_an_issue_hears_it_as_a_ticket_only(stand: TrackerStand, group: LinkedGroup) -> None:
    """An issue of ours is news for the other groups; what our call did elsewhere is told once."""
    repository = await stand.repository()
    async with stand.database.transaction(stand.workspace_id) as tx:
        await outbox.enqueue_issue(tx, repository, title="一", bodies=["二"], client_key="k", by=SYSTEM, now=stand.now)
    await stand.work()
    (said,) = await group.hears()
    assert "#1" in said


async def test_a_review_and_its_lines_are_one_line_and_a_release_is_told(
    stand: TrackerStand, group: LinkedGroup
) -> None:
    shop, lin = Repository("1", "acme/shop"), TrackerUser("lin")
    change = Issue("acme/shop", 5, "https://t/5", "修好它", "open", lin, stand.now, stand.now, is_change=True)
    told = [
        TrackerNews(
            kind="review",
            action=action,
            repository=shop,
            actor=lin,
            happened_at=stand.now,
            digest=f"d{n}",
            issue=change,
            summary={"text": "再看看" if action != "line" else "这一行", "url": "https://t/5#r"},
        )
        for n, action in enumerate(("changes_requested", "line", "line"))
    ]
    release = TrackerNews(
        kind="release",
        action="published",
        repository=shop,
        actor=lin,
        happened_at=stand.now,
        digest="r",
        summary={"name": "v1.2", "url": "https://t/v1.2"},
    )
    async with stand.database.transaction(stand.workspace_id) as tx:
        for _ in range(2):
            await take_in(tx, stand.connection_id, [*told, release], now=stand.now)
    review, released = await group.hears()
    assert review.splitlines() == [
        "acme/shop #5 修好它",
        "lin新开",
        "lin要求修改：再看看（评审里的意见：2处）",
        "https://t/5",
    ]
    assert released.splitlines() == ["acme/shop", "lin发布了v1.2", "https://t/v1.2"]


async def test_discussions_are_told_and_what_else_somebody_asked_for(stand: TrackerStand, group: LinkedGroup) -> None:
    shop, lin = Repository("1", "acme/shop"), TrackerUser("lin")
    change = Issue("acme/shop", 5, "https://t/5", "修好它", "open", lin, stand.now, stand.now, is_change=True)

    def news(kind: str, action: str, number: int, **summary: Any) -> TrackerNews:
        found = change if kind == "change" else None
        return TrackerNews(kind, action, shop, lin, stand.now, f"{kind}-{number}", found, summary=summary)  # type: ignore[arg-type]

    told = [
        news("discussion", "created", 1, title="要不要支持ARM", url="https://t/d/1"),
        news("discussion", "answered", 2, title="要不要支持ARM", url="https://t/d/1"),
        news("workflow", "failed", 3, name="CI", url="https://t/run/3"),
        news("stars", "created", 4, count=49, url="https://t"),
        news("stars", "created", 5, count=50, url="https://t"),
        news("stars", "created", 6, count=50, url="https://t"),  # taken back and given again
        news("change", "ready_for_review", 7),
    ]

    async def hears(*more: dict[str, Any]) -> list[list[str]]:
        async with stand.database.transaction(stand.workspace_id) as tx:
            await take_in(tx, stand.connection_id, told, now=stand.now)
        for one in more:
            await stand.hears({**SHOP, "number": 6, **one})
        return [one.splitlines()[1:-1] for one in await group.hears()]

    bug = {"action": "labeled", "labels": ["bug"], "at": stand.now.timestamp() + 5}
    assert await hears({"action": "opened"}, bug) == [
        ["lin发起讨论：要不要支持ARM"], ["讨论有了答案：要不要支持ARM"], ["lin新开", "lin：可以评审了"], ["lin新开"],
    ]  # fmt: skip
    await stand.rows("delete from group_news returning 1")
    await group.linked(events=["failed", "starred", "labeled"])
    labeled = {"action": "labeled", "labels": ["bug", "急"], "at": stand.now.timestamp() + 5}
    assert await hears(labeled) == [["默认分支上失败了：CI"], ["有50颗星了"], ["标签：bug、急"]]


async def test_who_is_assigned_is_told_where_somebody_asked_for_it(stand: TrackerStand, group: LinkedGroup) -> None:
    await stand.hears({**SHOP, "action": "opened"})
    await group.hears()
    for events, people, told in (((), ["chen"], []), (("assigned",), ["chen", "lin"], [["负责：chen、lin"]])):
        await group.linked(events=list(events))
        assigned = {"action": "assigned", "assignees": people, "at": stand.now.timestamp() + 5}
        await stand.hears({**SHOP, **assigned})
        assert [one.splitlines()[1:-1] for one in await group.hears()] == told


async def test_events_quiet_hours_and_a_budget_of_a_link(stand: TrackerStand, group: LinkedGroup) -> None:
    await group.linked(events=["closed", "commented"], budget=2)
    for number in range(1, 5):
        await stand.hears({**SHOP, "number": number, "title": f"问题{number}", "action": "opened"})
    assert await group.hears() == []
    for number in range(1, 5):
        await comments(stand, 1, number=number)
    said = await group.hears()
    assert len(said) == 2
    assert said[-1].splitlines()[0] == "仓库动态"
    # It is ten in the morning in Shanghai; until noon all waits, and is told then.
    await group.linked(quiet={"start": 9 * 60, "end": 12 * 60})
    await stand.hears({**SHOP, "number": 9, "title": "问题9", "action": "opened"})
    assert await group.hears(after=3600) == []
    assert len(await group.hears(after=3600)) == 1


async def test_a_paused_tracker_writes_nothing_and_tells_nobody(stand: TrackerStand, group: LinkedGroup) -> None:
    async with stand.database.transaction(stand.workspace_id) as tx:
        repository_id = await repositories.keep(tx, stand.connection_id, Repository("1", "acme/shop"), now=stand.now)
        assert await pause_connection(tx, stand.connection_id, by=SYSTEM, now=stand.now)
        wish = {"title": "支付页白屏", "bodies": ["五句话"], "client_key": "draft-1"}
        await outbox.enqueue_issue(tx, repository_id, by=SYSTEM, now=stand.now, **wish)
    await stand.work()
    stand.worker.wake(stand.workspace_id, stand.connection_id)
    await stand.hears({**SHOP, "number": 9, "action": "opened"})
    assert (stand.board.issues, await group.hears()) == ({}, [])
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert await resume_connection(tx, stand.connection_id, by=SYSTEM, now=stand.now)
        assert not await resume_connection(tx, stand.connection_id, by=SYSTEM, now=stand.now)
    await stand.work()
    assert [one.title for one in stand.board.issues.values()] == ["支付页白屏"]


async def test_a_repository_that_is_gone_keeps_nobody_elses_news(stand: TrackerStand, group: LinkedGroup) -> None:
    """A pause of one of its issues ends as any other, in silence."""
    await group.linked()
    for number in (9, 10):
        await stand.hears({**SHOP, "number": number, "title": f"问题{number}", "action": "opened"})
    async with stand.database.transaction(stand.workspace_id) as tx:
        await tx.run(
            "insert into mirror_pause (workspace_id, issue_id, paused_at, ends_at, missed) "
            "select workspace_id, id, %(now)s, %(now)s, 3 from issue where number = 9",
            now=stand.now,
        )
        await repositories.keep_only(tx, stand.connection_id, (), now=stand.now)
    stand.clock.advance(timedelta(minutes=2))
    stand.connections._inboxes_open[stand.workspace_id, group.inbox.inbox_id] = group.inbox
    await TrackerJobs(stand.database, stand.connections, stand.clock).tell_groups()
    said = await stand.rows("select count(*) from message where author = 'tracker'")
    assert (said, await stand.rows("select count(*) from mirror_pause")) == ([(2,)], [(0,)])
