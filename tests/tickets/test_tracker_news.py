"""What a tracker tells is known once, whatever arrives twice, late or before our own call was answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.tickets.stand import TrackerStand, tracker_stand
from tests.waiting import LOCK_AWAITED
from zhiban.events import SYSTEM
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.ports import Issue, TrackerUser
from zhiban.testing.tracker import US
from zhiban.tickets import issues, repositories
from zhiban.tickets import tracker_outbox as outbox

SHOP: dict[str, Any] = {"repository": "acme/shop", "number": 1, "title": "支付页白屏", "actor": "chen"}


@pytest.fixture
async def stand(db: Database, workspace: int) -> AsyncIterator[TrackerStand]:
    async with tracker_stand(db, workspace) as found:
        yield found


async def changes(stand: TrackerStand) -> list[tuple[str, str]]:
    return [(one["change"], one["login"]) for one in await stand.facts("issue_changed")]


async def test_news_that_come_thrice_are_told_once(stand: TrackerStand) -> None:
    for _ in range(3):
        await stand.hears({**SHOP, "action": "opened"})
    later = stand.now.timestamp() + 60
    for _ in range(3):
        await stand.hears({**SHOP, "action": "closed", "state": "closed", "at": later})
    # the same told by a second hook: other bytes, the same thing
    await stand.hears({**SHOP, "action": "closed", "state": "closed", "at": later, "hook": 2})
    assert await changes(stand) == [("opened", "chen"), ("closed", "chen")]


async def test_what_comes_too_late_changes_nothing(stand: TrackerStand) -> None:
    at = stand.now.timestamp()
    await stand.hears({**SHOP, "action": "opened"})
    await stand.hears({**SHOP, "action": "reopened", "state": "open", "at": at + 120})
    await stand.hears({**SHOP, "action": "closed", "state": "closed", "at": at + 60})
    assert await changes(stand) == [("opened", "chen")]
    assert await stand.rows("select state from issue") == [("open",)]


async def test_a_comment_is_known_once(stand: TrackerStand) -> None:
    said = {**SHOP, "action": "created", "comment": "看到了", "comment_id": 9}
    await stand.hears(said)
    await stand.hears({**said, "hook": 2})
    (told,) = await stand.facts("issue_commented")
    assert (told["login"], told["ours"]) == ("chen", False)
    await stand.hears({**said, "action": "deleted", "at": stand.now.timestamp() + 9})
    assert await stand.rows("select body, removed_at is not null from issue_comment") == [("", True)]


async def test_our_own_echo_before_our_call_was_answered_is_ours(stand: TrackerStand) -> None:
    repository = await stand.repository()
    async with stand.database.transaction(stand.workspace_id) as tx:
        call = await outbox.enqueue_issue(
            tx, repository, title="支付页白屏", bodies=["五句"], ticket_id=5, client_key="d", by=SYSTEM, now=stand.now
        )
    ((key,),) = await stand.rows("select key from tracker_call")
    await stand.hears({**SHOP, "body": "五句", "action": "opened", "actor": US.login, "key": key})
    await stand.work()
    (changed,) = await stand.facts("issue_changed")
    (opened,) = await stand.facts("issue_opened")
    assert changed["call_id"] == opened["call_id"] == call


async def test_news_of_an_issue_and_the_answer_to_our_call_do_not_wait_for_each_other(stand: TrackerStand) -> None:
    """Both know the same new issue: whoever keeps its repository must not hold up who is writing it already."""
    repository = await stand.repository()
    issue = Issue("acme/shop", 1, "", "支付页白屏", "open", TrackerUser("chen"), stand.now, stand.now)
    async with stand.database.transaction(stand.workspace_id) as reader:
        await repositories.keep(reader, stand.connection_id, stand.board.repository("acme/shop"), now=stand.now)
        async with stand.database.transaction(stand.workspace_id) as writer:
            await writer.run("set local lock_timeout = '2s'")
            assert await issues.note(writer, repository, issue, now=stand.now)
        await issues.note(reader, repository, issue, now=stand.now)
    assert await changes(stand) == [("opened", "")]


async def test_an_issue_that_two_hear_of_at_once_is_new_once(stand: TrackerStand) -> None:
    repository = await stand.repository()
    issue = Issue("acme/shop", 1, "", "支付页白屏", "open", TrackerUser("chen"), stand.now, stand.now)

    async def note() -> None:
        async with stand.database.transaction(stand.workspace_id) as tx:
            await issues.note(tx, repository, issue, now=stand.now)

    async def somebody_waits() -> bool:
        return await stand.rows(LOCK_AWAITED) == [(True,)]

    async with stand.database.transaction(stand.workspace_id) as first:
        await issues.note(first, repository, issue, now=stand.now)
        second = asyncio.create_task(note())
        async with asyncio.timeout(30):
            while not await somebody_waits():  # noqa: ASYNC110 - another session's state
                await asyncio.sleep(0.01)
    await second
    assert await changes(stand) == [("opened", "")]


async def test_a_renamed_repository_keeps_its_issues(stand: TrackerStand) -> None:
    await stand.hears({**SHOP, "action": "opened"})
    await stand.hears({**SHOP, "action": "closed", "state": "closed", "repository": "acme/store", "at": 2e9})
    assert await stand.rows(
        "select r.name, count(*) from repository r join issue i on i.repository_id = r.id group by r.name"
    ) == [("acme/store", 1)]


async def test_what_nobody_can_read_stops_nothing(stand: TrackerStand) -> None:
    await stand.hears({"action": "?", "hook": 3})
    await stand.hears({**SHOP, "action": "opened"})
    assert await stand.rows("select state, count(*) from delivery group by state") == [("done", 2)]
    assert await changes(stand) == [("opened", "chen")]


async def test_groups_are_linked_by_name_alias_or_pattern(stand: TrackerStand) -> None:
    await stand.repository()
    now = stand.now + timedelta(0)
    async with stand.database.transaction(stand.workspace_id) as tx:
        inbox = await tx.value(
            "insert into inbox (workspace_id, public_id, connection_id, kind, external_id, name) values "
            "(%(w)s, 'p', %(c)s, 'webhook', 'x', 'x') returning id",
            w=stand.workspace_id,
            c=stand.connection_id,
        )
        group = await tx.value(
            "insert into conversation (workspace_id, inbox_id, external_id, kind) values (%(w)s, %(i)s, 'g', 'group') "
            "returning id",
            w=stand.workspace_id,
            i=inbox,
        )
        one = await repositories.link(tx, group, "ACME/Shop", by=SYSTEM, now=now)
        assert await repositories.link(tx, group, "acme/shop", by=SYSTEM, now=now) == one
        await repositories.link(tx, group, "acme/*", settings={"mode": "digest"}, by=SYSTEM, now=now)
        assert [row.conversation_id for row in await repositories.links_to(tx, "acme/Shop")] == [group]
        assert [row.name for row in await repositories.repositories_of(tx, group)] == ["acme/shop"]
        for wrong, error in (("acme/nothing", NotFound), ("*", Misconfigured), ("a b/*", Misconfigured)):
            with pytest.raises(error):
                await repositories.link(tx, group, wrong, by=SYSTEM, now=now)
        assert await repositories.unlink(tx, group, "acme/*", by=SYSTEM, now=now)
        assert not await repositories.unlink(tx, group, "acme/*", by=SYSTEM, now=now)
    assert [one["pattern"] for one in await stand.facts("repository_linked")] == ["acme/shop", "acme/*"]


@pytest.mark.parametrize("key", ["of our issue", "made up"])
async def test_a_mark_makes_no_comment_ours_that_we_did_not_write(stand: TrackerStand, key: str) -> None:
    repository = await stand.repository()
    async with stand.database.transaction(stand.workspace_id) as tx:
        await outbox.enqueue_issue(
            tx, repository, title="支付页白屏", bodies=["五句"], client_key="d", by=SYSTEM, now=stand.now
        )
    await stand.work()
    if key == "of our issue":
        ((key,),) = await stand.rows("select key from tracker_call")
    said = {**SHOP, "action": "created", "comment": "看到了", "comment_id": 9, "actor": US.login}
    await stand.hears({**said, "key": key})
    (told,) = await stand.facts("issue_commented")
    assert (told["ours"], told.get("call_id")) == (False, None)
