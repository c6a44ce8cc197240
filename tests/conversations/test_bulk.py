"""Many conversations at once: each with its own right, refusal and undo, in as many statements as one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import open_inbox

from zhiban.automation import queries as rule_queries
from zhiban.automation import service as rules
from zhiban.conversations import bulk, bulk_undo, service, transitions
from zhiban.conversations.changes import Assign, ChangeLabels, Resolve, SetPriority, Snooze
from zhiban.conversations.models import Status
from zhiban.conversations.queries import history
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.people.models import Role
from zhiban.people.permissions import Access, NotAllowed


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def test_each_is_changed_left_or_refused_for_its_own_reason(desk: Desk) -> None:
    chen = Access(desk.chen, Role.AGENT)
    async with desk.database.transaction(desk.workspace_id) as tx:
        states = [await desk.handed_over(tx, f"wm{number}") for number in range(4)]
        await service.resolve(tx, states[3].id, by=Actor("agent", desk.lin), now=NOON)
        ids = [state.id for state in states]
        done = await bulk.change_many(tx, chen, [*ids, 999], Snooze(NOON + timedelta(hours=1)), now=NOON)
        assert done.changed == tuple(ids[:3])
        assert done.refused == {ids[3]: "It is resolved; reopen it before you put it off.", 999: bulk.GONE}
        again = await bulk.change_many(tx, chen, ids[:3], Snooze(NOON + timedelta(hours=1)), now=NOON)
        assert (again.changed, again.unchanged) == ((), tuple(ids[:3]))
        facts = [one for one in await history(tx, ids[0]) if one.cause.kind == "bulk"]
        assert [(one.kind(), one.actor.id) for one in facts] == [("conversation_snoozed", desk.chen)]
        assert (await desk.state(tx, "wm3")).status is Status.RESOLVED


async def test_nobody_changes_what_they_may_not_see_or_not_change(desk: Desk) -> None:
    other = await open_inbox(desk.database, desk.workspace_id, public_id="other", name="别处")
    async with desk.database.transaction(desk.workspace_id) as tx:
        here = await desk.handed_over(tx, "wm1")
        there = await desk.handed_over(tx, "wm2")
        await tx.run("update conversation set inbox_id = %(i)s where id = %(id)s", i=other.inbox_id, id=there.id)
        await tx.run(
            "update agent set inbox_ids = array[%(i)s::bigint] where id = %(a)s", i=other.inbox_id, a=desk.chen
        )
        limited = Access(desk.chen, Role.AGENT, (other.inbox_id,))
        ids = [here.id, there.id]
        done = await bulk.change_many(tx, limited, ids, Assign(None), now=NOON)
        assert (done.changed, done.refused) == ((there.id,), {here.id: bulk.GONE})
        # A colleague is given only what they may answer.
        given = await bulk.assign_many(tx, Access(desk.lin, Role.OWNER), ids, to=desk.chen, now=NOON)
        assert (given.changed, given.refused) == ((there.id,), {here.id: "陈默 may not answer in this inbox."})
        with pytest.raises(NotAllowed):
            await bulk.change_many(tx, Access(desk.chen, Role.READ_ONLY), ids, Assign(None), now=NOON)
        for ids, most in (([], 5), ([1, 2], 1)):
            with pytest.raises(Conflict):
                bulk.check_few(ids, most)


async def test_giving_opens_what_is_not_open_as_the_menu_does(desk: Desk) -> None:
    lin = Access(desk.lin, Role.AGENT)
    async with desk.database.transaction(desk.workspace_id) as tx:
        one, other = await desk.handed_over(tx, "wm1"), await desk.writes(tx, "wm2")
        await service.snooze(tx, one.id, until=NOON + timedelta(hours=1), by=Actor("agent", desk.lin), now=NOON)
        await bulk.assign_many(tx, lin, [one.id, other.id], to=desk.chen, now=NOON)
        for who in ("wm1", "wm2"):
            state = await desk.state(tx, who)
            assert (state.status, state.assignee_id) == (Status.OPEN, desk.chen)
        taken = await bulk.assign_many(tx, lin, [one.id, other.id], to=desk.lin, now=NOON)
        assert taken.changed == (one.id, other.id)


async def test_what_one_resolved_can_be_taken_back_in_time(desk: Desk) -> None:
    lin, chen = Access(desk.lin, Role.AGENT), Access(desk.chen, Role.AGENT)
    async with desk.database.transaction(desk.workspace_id) as tx:
        states = [await desk.handed_over(tx, f"wm{number}") for number in range(3)]
        ids = [state.id for state in states]
        await bulk.change_many(tx, lin, ids, Resolve("agent"), now=NOON)
        await desk.writes(tx, "wm2", "还有", at=NOON + timedelta(seconds=1))
        soon = NOON + timedelta(seconds=3)
        assert len((await bulk_undo.undo_resolutions(tx, chen, ids, now=soon)).refused) == 3  # somebody else's
        done = await bulk_undo.undo_resolutions(tx, lin, ids, now=soon)
        assert (done.changed, list(done.refused)) == (tuple(ids[:2]), [ids[2]])
        assert [await transitions.lock(tx, id_) for id_ in ids[:2]] == states[:2]
        await bulk.change_many(tx, lin, ids[:1], Resolve("agent"), now=soon)
        late = await bulk_undo.undo_resolutions(tx, lin, ids[:1], now=soon + timedelta(seconds=9))
        assert late.refused == {ids[0]: "It is too late to take that back; reopen the conversation instead."}


async def test_sixty_cost_as_many_statements_as_two(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    execute = Transaction._execute

    async def counting(self: Transaction, sql: str, params: dict[str, Any]) -> Any:
        told.append(sql)
        return await execute(self, sql, params)

    monkeypatch.setattr(Transaction, "_execute", counting)
    lin = Access(desk.lin, Role.OWNER)
    async with desk.database.transaction(desk.workspace_id) as tx:
        for rule in await rule_queries.rules(tx):
            await rules.remove(tx, rule.id, by=SYSTEM, now=NOON)
        label = await tx.value(
            "insert into label (workspace_id, name) values (%(w)s, '退款') returning id", w=desk.workspace_id
        )
        ids = [(await desk.writes(tx, f"wm{number}")).id for number in range(60)]
        change = ChangeLabels(add=frozenset({label}))
        counted = []
        for some, priority in ((ids[:2], 3), (ids, 4)):
            told.clear()
            await bulk.change_many(tx, lin, some, change, SetPriority(priority), now=NOON)
            counted.append(len(told))
        assert counted[0] == counted[1]
