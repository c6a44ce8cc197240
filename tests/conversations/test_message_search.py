"""Messages found by words: what is indexed and when, what may be shown, in which order, and behind which walls."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.conftest import Cluster
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.container import ensure_workspace
from zhiban.conversations import message_search, replies, search_index
from zhiban.conversations.message_search import EVERYTHING, SearchFilter, search, search_contacts
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import enqueue
from zhiban.events import ASSISTANT, Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.word_search import query
from zhiban.people.contacts import learn_profiles
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.ports import Limits, Profile
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.workers.search_indexer import SearchIndexer

SOON = NOON + timedelta(seconds=5)
ALL = Access(1, Role.OWNER)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def found(
    tx: Transaction, typed: str, *, access: Access = ALL, notes: bool = True, narrowed: SearchFilter = EVERYTHING
) -> list[str]:
    """The texts that are found, newest first in each conversation."""
    page = await search(tx, query(typed), access=access, now=SOON, narrowed=narrowed, notes=notes)
    return [hit.text for group in page.groups for hit in group.hits]


async def indexed(db: Database, *, at: datetime = SOON) -> None:
    await SearchIndexer(db, SetClock(at)).run_once(pause=0)


async def looked_up(tx: Transaction) -> int:
    return int(await tx.value("select count(*) from message_search"))


async def test_a_message_is_found_as_soon_as_it_is_written_and_stays_found(db: Database, desk: Desk) -> None:
    """By reading what the index has not come to, and then by the index."""
    async with db.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "马骁", "我要退货款")
        await desk.writes(tx, "周予安", "請問怎麼申請退款？")
        assert await found(tx, "退款") == ["請問怎麼申請退款？"]
        assert await looked_up(tx) == 0
    await indexed(db)
    async with db.transaction(desk.workspace_id) as tx:
        assert await looked_up(tx) == 2
        assert await found(tx, "退款") == ["請問怎麼申請退款？"]
        await desk.writes(tx, "马骁", "不用退款了")
        assert await found(tx, "退款") == ["不用退款了", "請問怎麼申請退款？"]
        assert await found(tx, "？！") == []
    await indexed(db)
    async with db.transaction(desk.workspace_id) as tx:
        assert await looked_up(tx) == 3
        assert await found(tx, "退款") == ["不用退款了", "請問怎麼申請退款？"]


async def test_only_what_may_be_shown_is_found_and_only_what_it_is_narrowed_to(db: Database, desk: Desk) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "马骁")
        await desk.writes(tx, "马骁", "发票一")
        await desk.writes(tx, "马骁", "发票二")
        await replies.add_note(tx, state.id, text="发票三", by=Actor("agent", desk.lin), now=SOON)
        limits = Limits(2000)
        await replies.reply(tx, state.id, text="发票四", by=desk.chen, limits=limits, now=SOON)
        state = await desk.state(tx, "马骁")
        await enqueue(
            tx, state, author=Author.ASSISTANT, actor=ASSISTANT, text="发票五", key="k", limits=limits, now=SOON
        )
        await tx.run("update message set recalled_at = now() where text = '发票二'")
        await tx.run("update message set state = 'dropped' where text = '发票五'")
    here = desk.inbox.inbox_id
    narrowed = {
        SearchFilter(notes="only"): ["发票三"],
        SearchFilter(notes="without"): ["发票四", "发票一"],
        SearchFilter(agent_id=desk.lin): ["发票三"],
        SearchFilter(writer="people"): ["发票四", "发票三"],
        SearchFilter(writer="contact", inbox_id=here, conversation_id=state.id): ["发票一"],
        SearchFilter(writer="assistant"): [],
        SearchFilter(inbox_id=here + 1): [],
        SearchFilter(conversation_id=state.id + 1): [],
        SearchFilter(since=SOON): ["发票四", "发票三"],
        SearchFilter(since=NOON - timedelta(days=90), until=SOON): ["发票一"],
        SearchFilter(since=NOON - timedelta(days=9000)): ["发票四", "发票三", "发票一"],
        SearchFilter(until=NOON): [],
    }
    for _ in range(2):  # by reading, then by the index
        async with db.transaction(desk.workspace_id) as tx:
            assert await found(tx, "发票") == ["发票四", "发票三", "发票一"]
            assert await found(tx, "发票", notes=False) == ["发票四", "发票一"]
            assert await found(tx, "发票", notes=False, narrowed=SearchFilter(notes="only")) == []
            assert await found(tx, "发票", access=Access(1, Role.AGENT, (here,))) == ["发票四", "发票三", "发票一"]
            assert await found(tx, "发票", access=Access(1, Role.AGENT, (here + 1,))) == []
            for one, expected in narrowed.items():
                assert await found(tx, "发票", narrowed=one) == expected, one
        await indexed(db)


async def test_pages_go_on_where_the_last_one_ended_and_each_conversation_stands_once_on_one(
    db: Database, desk: Desk
) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        for number in range(message_search.CONVERSATIONS + 3):
            await desk.writes(tx, f"wm{number}", f"退款{number}")
        for again in range(5):
            await desk.writes(tx, "wm1", f"退款，再说{again}")
    await indexed(db)
    async with db.transaction(desk.workspace_id) as tx:
        first = await search(tx, query("退款"), access=ALL, now=SOON)
        assert first.share == 1.0
        assert [len(group.hits) for group in first.groups] == [3, *[1] * (message_search.CONVERSATIONS - 1)]
        assert [hit.text for hit in first.groups[0].hits] == ["退款，再说4", "退款，再说3", "退款，再说2"]
        assert first.groups[0].more == 2
        second = await search(tx, query("退款"), access=ALL, now=SOON, before=first.before)
        assert [group.hits[0].text for group in second.groups] == ["退款3", "退款2", "退款1", "退款0"]
        assert second.before is None


async def test_a_message_that_is_committed_late_is_found_after_all(db: Database, desk: Desk) -> None:
    """Its id was given out before others whose messages were indexed long ago."""
    async with db.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "马骁", "退款一")
    await indexed(db)
    written, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with db.transaction(desk.workspace_id) as tx:
            await desk.writes(tx, "周予安", "退款二")
            written.set()
            await may_end.wait()

    waiting = asyncio.create_task(slow())
    await written.wait()
    async with db.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "马骁", "退款三")
    minute = search_index.SETTLING
    await indexed(db)
    await indexed(db, at=SOON + minute)
    await indexed(db, at=SOON + 3 * minute)  # it may still come: nothing is settled
    may_end.set()
    await waiting
    async with db.transaction(desk.workspace_id) as tx:
        assert await found(tx, "退款") == ["退款三", "退款一"]
    later, deadline = 5, time.monotonic() + 30
    while True:  # transactions of other databases of the server hold it back as well
        await indexed(db, at=SOON + later * minute)
        async with db.transaction(desk.workspace_id) as tx:
            progress = await search_index.progress(tx)
        if progress is not None and later > 5 and progress.settled_to == progress.indexed_to:
            break
        assert time.monotonic() < deadline, progress
        later += 2
    async with db.transaction(desk.workspace_id) as tx:
        assert await found(tx, "退款") == ["退款三", "退款一", "退款二"]


async def test_what_was_there_before_the_index_is_taken_up_backwards_and_says_how_far_it_is(
    db: Database, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "BATCH", 2)
    async with db.transaction(desk.workspace_id) as tx:
        for number in range(6):
            await desk.writes(tx, "马骁", f"退款{number}")

    async def round_() -> tuple[bool, list[str], float]:
        async with db.transaction(desk.workspace_id) as tx:
            more = await search_index.index_some(tx, now=SOON)
        async with db.transaction(desk.workspace_id) as tx:
            page = await search(tx, query("退款"), access=ALL, now=SOON)
        return more, [hit.text for group in page.groups for hit in group.hits], page.share

    shares = []
    expected = [[], ["退款5", "退款4"], ["退款5", "退款4", "退款3"]]
    for texts in expected:
        more, seen, share = await round_()
        assert (more, seen) == (True, texts)
        shares.append(share)
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
    assert await round_() == (False, expected[-1], 1.0)
    assert await round_() == (False, expected[-1], 1.0)


async def test_one_workspace_finds_nothing_of_another(db: Database, desk: Desk) -> None:
    """Neither by the words nor by the index, however a query names its keys."""
    other = await ensure_workspace(db, "banshan", "半山茶社", "zh")
    async with db.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "马骁", "退款一")
        await learn_profiles(tx, "memory", "1", [Profile("马骁", "马骁")], now=NOON)
    await indexed(db, at=NOON + timedelta(minutes=5))
    async with db.transaction(other) as tx:
        assert (await search(tx, query("退款"), access=ALL, now=SOON)).groups == ()
        assert await search_contacts(tx, query("马骁"), access=ALL, most=8) == []
        for function in ("search_messages", "search_contacts"):
            assert await tx.values(f"select id from {function}('{{}}'::bigint[], null, null, 1000000, 10)") == []
    async with db.transaction(desk.workspace_id) as tx:
        assert len(await tx.values("select id from search_messages('{}'::bigint[], null, null, 1000000, 10)")) == 1


async def test_a_server_that_does_not_trust_the_operators_finds_the_same(
    db: Database, urls: DatabaseUrls, cluster: Cluster, desk: Desk
) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "马骁", "退款一")
        await desk.writes(tx, "马骁", "换货")
    await indexed(db)
    superuser = make_conninfo(cluster.superuser, dbname=conninfo_to_dict(urls.app)["dbname"])
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection:
        await connection.execute("alter function arraycontains(anyarray, anyarray) not leakproof")
    async with db.transaction(desk.workspace_id) as tx:
        assert await found(tx, "退款") == ["退款一"]
        assert await found(tx, "退款", narrowed=SearchFilter(since=NOON - timedelta(days=3))) == ["退款一"]


async def contacts(tx: Transaction, typed: str, access: Access = ALL) -> list[str]:
    """Their names, or their ids where they have none."""
    found = await search_contacts(tx, query(typed), access=access, most=8)
    return [one.contact.name or one.contact.external_ids[0] for one in found]


async def test_contacts_are_found_by_name_number_and_id_as_soon_as_they_are_known(db: Database, desk: Desk) -> None:
    kind, account = desk.inbox.connection.vendor.namespace(desk.inbox.kind)
    async with db.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "wmAAA1", "在吗")
        await desk.writes(tx, "wmBBB2", "在吗")
        profile = Profile("wmAAA1", "馬驍", attributes={"手机": "138 1234 5678", "邮箱": "ma@Xiao.example"})
        await learn_profiles(tx, kind, account, [profile], now=NOON)
        for typed in ("马骁", "骁", "13812345678", "5678", "ma@xiao", "wmaaa", "马骁 138"):
            assert await contacts(tx, typed) == ["馬驍"], typed
        assert [one.contact.external_ids for one in await search_contacts(tx, query("wmBBB2"), access=ALL, most=8)] == [
            ["wmBBB2"]
        ]
        elsewhere = Access(1, Role.AGENT, (desk.inbox.inbox_id + 1,))
        assert await contacts(tx, "马骁", elsewhere) == []
        here = Access(1, Role.AGENT, (desk.inbox.inbox_id,))
        assert await contacts(tx, "马骁", here) == ["馬驍"]
        assert await tx.value("select count(*) from contact_search") == 0
    later = NOON + timedelta(minutes=2)
    await indexed(db, at=later)
    async with db.transaction(desk.workspace_id) as tx:
        assert await tx.value("select count(*) from contact_search") == 2
        assert [one.contact.external_ids for one in await search_contacts(tx, query("wmBBB2"), access=ALL, most=8)] == [
            ["wmBBB2"]
        ]
        await learn_profiles(tx, kind, account, [Profile("wmAAA1", "马骁骁")], now=later)
        assert await contacts(tx, "马骁骁") == ["马骁骁"]
