"""What an agent of some inboxes sees: of every list exactly the part that is theirs, and what they had when it ends."""

from __future__ import annotations

from typing import Any

import pytest
from tests.desk.seed import Seed, create_seed
from tests.twin import open_inbox

from zhiban.conversations import assignment, lists, queries, service
from zhiban.conversations.access import access_conversation, access_conversation_to_answer, visible
from zhiban.conversations.list_models import OwnIds, Queue, Sort, StatusTab
from zhiban.events import Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.people import agents
from zhiban.people.models import Role
from zhiban.people.permissions import Access, NotAllowed
from zhiban.people.teams import create


@pytest.fixture
async def seed(db: Database, clock: SetClock) -> Seed:
    return await create_seed(db, clock)


async def shown(
    tx: Transaction, access: Access, queue: Queue, tab: StatusTab, label: int | None, own: OwnIds
) -> list[int]:
    found = await lists.conversation_list(tx, access, queue=queue, tab=tab, label=label, own=own)
    return [row.id for row in (*found.waiting, *found.rest)]


async def test_every_list_and_count_is_the_part_of_the_whole_that_they_see(
    db: Database, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    w, lin = seed.workspace_id, seed.agents["林晓"]
    places = [seed.inbox.inbox_id]
    places += [(await open_inbox(db, w, public_id=name, name=name)).inbox_id for name in ("乙", "丙")]
    async with db.transaction(w) as tx:
        await tx.run(
            "update conversation set inbox_id = (%(places)s::bigint[])[1 + id %% 3], external_id = id::text",
            places=places,
        )
        teams = [await create(tx, name=name, now=seed.clock.now()) for name in ("售后", "售前", "没有事")]
        await tx.run(
            "update conversation set team_id = (%(teams)s::bigint[])[1 + id %% 4] where id %% 4 < 2", teams=teams
        )
        own = OwnIds(tuple(teams), tuple(seed.conversations[name] for name in ("周予安", "许冬", "叶知秋", "顾南乔")))
        rows = await tx.rows("select id, inbox_id from conversation")
        where = dict(rows)
        whole = Access(lin, Role.OWNER)
        for seen in ((), (places[1],), (places[2], places[0], 99)):
            some = Access(lin, Role.AGENT, seen)
            for label in (None, seed.labels["授权续费"]):
                for queue in Queue:
                    for tab in StatusTab:
                        everything = await shown(tx, whole, queue, tab, label, own)
                        theirs = [id_ for id_ in everything if where[id_] in seen]
                        assert await shown(tx, some, queue, tab, label, own) == theirs, (seen, queue, tab, label)
            counts = await lists.counts(tx, some, own=own)
            for queue in Queue:
                assert counts.of(queue) == len(await shown(tx, some, queue, StatusTab.OPEN, None, own)), (seen, queue)
                for sort in Sort:
                    how: dict[str, Any] = {"queue": queue, "sort": sort, "own": own}
                    ordered = await lists.conversation_list(tx, some, tab=StatusTab.OPEN, **how)
                    assert len(ordered.waiting + ordered.rest) == counts.of(queue), (seen, queue, sort)
                    for first in ordered.waiting[:1]:
                        assert await lists.next_waiting(tx, some, after=0, **how) == first.id
            assert await visible(tx, some, list(where)) == {id_ for id_ in where if where[id_] in seen}
            for most in (1, 2, 3):  # whether or not two queues alone are as many as is counted
                monkeypatch.setattr(lists, "COUNTED", most)
                few = await lists.counts(tx, some, snoozed=Queue.ALL, own=own)
                assert [few.of(queue) for queue in Queue] == [min(most, counts.of(queue)) for queue in Queue]
                assert few.snoozed == min(most, len(await shown(tx, some, Queue.ALL, StatusTab.SNOOZED, None, own)))
            monkeypatch.undo()
        # Of their teams, who waits for us comes first, and of these who is nobody's.
        listed = await lists.conversation_list(tx, whole, queue=Queue.TEAMS, tab=StatusTab.OPEN, own=own)
        assert [row.assignee_id is not None for row in listed.waiting] == sorted(
            row.assignee_id is not None for row in listed.waiting
        )
        assert {row.status for row in (*listed.waiting, *listed.rest)} == {"open"}


async def test_what_they_may_not_answer_any_more_waits_for_the_others(db: Database, seed: Seed) -> None:
    w, chen = seed.workspace_id, seed.agents["陈默"]
    other = await open_inbox(db, w, public_id="other", name="别处")
    gu, now = seed.conversations["顾南乔"], seed.clock.now()
    by = Actor("agent", seed.agents["林晓"])
    async with db.transaction(w) as tx:
        assert (await queries.head(tx, gu)).assignee_id == chen
        # Changed, and changed back before anybody looked: it stays.
        await agents.set_access(tx, chen, role=Role.AGENT, inbox_ids=[other.inbox_id], now=now)
        await agents.set_access(tx, chen, role=Role.AGENT, inbox_ids=None, now=now)
        assert await assignment.release_unanswerable(tx, chen, now=now) == 0
        await agents.set_access(tx, chen, role=Role.AGENT, inbox_ids=[other.inbox_id], now=now)
        assert await assignment.release_unanswerable(tx, chen, now=now) == 1
        assert (await queries.head(tx, gu)).assignee_id is None
        with pytest.raises(NotAllowed):
            await service.assign(tx, gu, to=chen, by=by, now=now)
        with pytest.raises(NotAllowed):
            await service.take(tx, gu, by=chen, now=now)
        assert chen not in [one.id for one in await queries.agent_names(tx, seed.inbox.inbox_id)]
        row = await agents.agent_row(tx, chen)
        access = Access(chen, Role(row.role), tuple(row.inbox_ids or ()))
        with pytest.raises(NotFound):
            await access_conversation(tx, access, gu)
        reader = Access(chen, Role.READ_ONLY)
        assert (await access_conversation(tx, reader, gu)).id == gu
        with pytest.raises(NotAllowed):
            await access_conversation_to_answer(tx, reader, gu)
