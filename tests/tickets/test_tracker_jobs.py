"""What webhooks did not tell is found by looking, and told once; what was there before us is no news."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.tickets.stand import TrackerStand, tracker_stand
from zhiban.events import SYSTEM
from zhiban.kit.db import Database
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.ports import Issue, IssueComment, Repository, TrackerUser
from zhiban.tickets import repositories, tracker_calls
from zhiban.tickets import tracker_outbox as outbox
from zhiban.tickets.tracker_jobs import UNCALLED, TrackerJobs
from zhiban.tickets.tracker_writes import NewComment


@pytest.fixture
async def stand(db: Database, workspace: int) -> AsyncIterator[TrackerStand]:
    async with tracker_stand(db, workspace) as found:
        yield found


async def sync(stand: TrackerStand) -> None:
    jobs = TrackerJobs(stand.database, stand.connections, stand.clock)
    await jobs.sync_tracker(stand.workspace_id, stand.connection_id)


def issue(stand: TrackerStand, number: int, title: str) -> Issue:
    found = Issue("acme/shop", number, "", title, "open", TrackerUser("chen"), stand.now, stand.now)
    stand.board.issues["acme/shop", number] = found
    return found


async def test_what_a_webhook_did_not_tell_is_told_by_looking(stand: TrackerStand) -> None:
    issue(stand, 1, "从前的")
    await sync(stand)
    assert not await stand.facts("issue_changed")
    stand.clock.advance(timedelta(minutes=10))
    issue(stand, 2, "漏掉的")
    stand.board.issues["acme/shop", 1] = replace(
        stand.board.issues["acme/shop", 1], state="closed", updated_at=stand.now
    )
    for _ in range(2):
        await sync(stand)
    # and then the webhook comes after all
    await stand.hears({"repository": "acme/shop", "number": 2, "title": "漏掉的", "actor": "chen", "action": "opened"})
    told = await stand.facts("issue_changed")
    assert [(one["number"], one["change"]) for one in told] == [(1, "closed"), (2, "opened")]


async def test_what_is_new_while_we_look_for_the_first_time_is_news(stand: TrackerStand) -> None:
    """Ours, whose opening has not been answered yet, and a stranger's."""
    issue(stand, 1, "从前的")
    stand.clock.advance(timedelta(minutes=1))
    repository = await stand.repository()
    async with stand.database.transaction(stand.workspace_id) as tx:
        wish = {"title": "我们的", "bodies": ["五句"], "client_key": "k", "by": SYSTEM, "now": stand.now}
        call_id = await outbox.enqueue_issue(tx, repository, **wish)  # type: ignore[arg-type]
        key = await tx.value("select key from tracker_call where id = %(id)s", id=call_id)
    ours = replace(issue(stand, 2, "我们的"), key=str(key))
    stand.board.issues["acme/shop", 2] = ours
    later = stand.now + timedelta(seconds=1)
    stand.board.issues["acme/shop", 3] = replace(issue(stand, 3, "刚开的"), created_at=later, updated_at=later)
    await sync(stand)
    told = await stand.facts("issue_changed")
    assert [(one["number"], one["change"], one.get("call_id")) for one in told] == [
        (2, "opened", call_id),
        (3, "opened", None),
    ]


async def test_a_hook_that_calls_no_more_is_told_to_whoever_runs_this_once(stand: TrackerStand) -> None:
    async with stand.database.transaction(stand.workspace_id) as tx:
        for name, role in (("林晓", Role.OWNER), ("陈默", Role.AGENT)):
            await add_agent(tx, email=f"{name}@qinghe.example", name=name, role=role, password_hash=None)
    told = "select a.name, n.text from notification n join agent a on a.id = n.agent_id order by n.id"
    await sync(stand)
    issue(stand, 1, "从来没有通知过")
    for _ in range(2):  # where no webhook ever came, the set-up says so
        stand.clock.advance(timedelta(minutes=20))
        await sync(stand)
    assert await stand.rows(told) == []
    await stand.hears(
        {"repository": "acme/shop", "number": 2, "title": "通知到了", "actor": "chen", "action": "opened"}
    )
    stand.clock.advance(timedelta(minutes=1))
    issue(stand, 2, "通知到了")
    await sync(stand)
    stand.clock.advance(timedelta(minutes=5))
    issue(stand, 3, "还可能在路上")
    await sync(stand)
    # Hooks for what is confidential are another choice over there.
    stand.board.issues["acme/shop", 7] = replace(issue(stand, 7, "机密"), confidential=True)
    stand.clock.advance(timedelta(minutes=20))
    await sync(stand)
    stand.clock.advance(timedelta(minutes=20))
    await sync(stand)
    assert await stand.rows(told) == []
    for number in (4, 5):
        issue(stand, number, "没有通知")
        stand.clock.advance(timedelta(minutes=20))
        await sync(stand)
    assert await stand.rows(told) == [("林晓", f"memory acme/shop\n{UNCALLED}")]
    # It calls again, and falls silent again.
    await stand.hears({"repository": "acme/shop", "number": 9, "title": "又来了", "actor": "chen", "action": "opened"})
    stand.clock.advance(timedelta(minutes=1))
    issue(stand, 6, "又没有通知")
    stand.clock.advance(timedelta(minutes=20))
    await sync(stand)
    assert len(await stand.rows(told)) == 2


async def test_comments_that_no_webhook_told_of_are_found_and_ours_are_ours(stand: TrackerStand) -> None:
    issue(stand, 1, "从前的")
    comments = stand.board.comments.setdefault(("acme/shop", 1), [])
    comments.append(IssueComment("8", "u", "从前的话", TrackerUser("lin"), stand.now, stand.now))
    await sync(stand)
    repository = await stand.repository()
    stand.clock.advance(timedelta(minutes=10))
    async with stand.database.transaction(stand.workspace_id) as tx:
        await outbox.enqueue(tx, repository, NewComment("我们的"), number=1, client_key="c", by=SYSTEM, now=stand.now)
        call = await tracker_calls.take(tx, stand.connection_id, process_id=4711, now=stand.now)
    assert call is not None
    assert isinstance(call.write, NewComment)
    tracker = (await stand.connections.tracker(stand.workspace_id, stand.connection_id)).tracker
    await tracker.comment(call.comment_draft("acme/shop", 1, call.write))  # and our commit is yet to come
    comments = stand.board.comments["acme/shop", 1]
    comments[0] = replace(comments[0], body="改过", updated_at=stand.now)
    comments.append(IssueComment("9", "u", "漏掉的话", TrackerUser("chen"), stand.now, stand.now))
    for _ in range(2):
        await sync(stand)
    told = await stand.facts("issue_commented")
    assert [(one["login"], one.get("call_id")) for one in told] == [("zhiban", call.id), ("chen", None)]
    stand.clock.advance(timedelta(minutes=10))
    stand.board.comments["acme/shop", 1][-1] = replace(comments[-1], body="改了", updated_at=stand.now)
    await sync(stand)
    changed = await stand.facts("issue_comment_changed")
    assert [one["change"] for one in changed] == ["edited", "edited"]  # the old one, which was no news, too


async def test_repositories_come_and_go(stand: TrackerStand) -> None:
    stand.board.repositories.append(Repository("2", "acme/docs", issues_enabled=False))
    await sync(stand)
    stand.board.repositories.pop(0)
    await sync(stand)
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert [row.name for row in await repositories.repositories(tx)] == ["acme/docs"]
    stand.board.repositories.append(Repository("1", "acme/store"))
    await sync(stand)
    assert [(one["name"], one["previous"]) for one in await stand.facts("repository_renamed")] == [
        ("acme/store", "acme/shop")
    ]


async def test_refused_credentials_are_said_where_operators_look(stand: TrackerStand) -> None:
    stand.board.broken = True
    await sync(stand)
    await sync(stand)
    assert len(await stand.facts("connection_broke")) == 1
    stand.board.broken = False
    await sync(stand)
    assert len(await stand.facts("connection_mended")) == 1


async def test_every_tracker_is_looked_at(stand: TrackerStand) -> None:
    await stand.rows("delete from jobs.procrastinate_jobs returning 1")
    await TrackerJobs(stand.database, stand.connections, stand.clock).sync_trackers()
    found = await stand.rows("select args ->> 'connection_id' from jobs.procrastinate_jobs")
    assert found == [(str(stand.connection_id),)]
