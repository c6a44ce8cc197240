"""What an organisation does not want to keep goes, whole and once; what it keeps, and what was counted, stays."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from pydantic import SecretStr

from tests.kernel_desk import Desk, open_desk
from tests.workers.retention_desk import (
    LONG_AGO,
    NOW,
    YEAR,
    attached,
    chosen,
    counted,
    deleter,
    kept,
    over,
    rows,
    there,
)
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.flows import add_flow
from zhiban.container import ensure_workspace
from zhiban.conversations import service
from zhiban.conversations.drafts import Mode, save_draft
from zhiban.conversations.retention import forgotten_in
from zhiban.events import SYSTEM, Actor
from zhiban.insights.periods import period
from zhiban.insights.queries import Dimension, ReportFilter, ReportQuery
from zhiban.insights.report import report
from zhiban.insights.service import rebuild
from zhiban.integrations.s3 import S3FileStore
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict
from zhiban.kit.file_store import FileStore, FolderFileStore, PostgresFileStore
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.people.retention import RetentionTimes, last_run, retention_times, set_retention
from zhiban.testing.s3 import S3Simulator
from zhiban.testing.serving import served
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.involving import comment
from zhiban.tickets.models import NewTicket, TicketState
from zhiban.tickets.service import open_ticket, set_state
from zhiban.workers.retention import preview


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


@pytest.mark.parametrize("where", ["postgres", "folder", "s3"])
async def test_messages_go_with_all_that_hangs_on_them(desk: Desk, where: str, tmp_path: Path) -> None:
    simulator = S3Simulator()
    async with served(simulator) as url:
        secret = SecretStr(simulator.secret)
        stores: dict[str, FileStore] = {
            "postgres": PostgresFileStore(desk.database, SetClock(NOW - timedelta(days=5))),
            "folder": FolderFileStore(tmp_path / "files"),
            "s3": S3FileStore(simulator.bucket, "zhiban", endpoint=url, key=simulator.key, secret=secret),
        }
        store = stores[where]
        alone, shared = [await kept(store, desk.workspace_id, content) for content in (b"alone", b"shared")]
        stored_at = NOW - timedelta(days=5)
        for path in (tmp_path / "files").glob("*/*/*"):
            os.utime(path, (stored_at.timestamp(), stored_at.timestamp()))
        for one in simulator.objects.values():
            one.modified = stored_at
        async with desk.database.transaction(desk.workspace_id) as tx:
            old = await over(desk, tx, "马骁")
            young = await over(desk, tx, "周予安", at=NOW - timedelta(days=50))
            waiting = (await desk.handed_over(tx, "苏禾", at=LONG_AGO)).id
            for conversation_id, sha256 in ((old, alone), (old, shared), (young, shared)):
                await attached(tx, conversation_id, sha256)
            await save_draft(tx, old, agent_id=desk.lin, mode=Mode.REPLY, text="还没写完", now=LONG_AGO)
            await tx.run(
                "insert into turn (workspace_id, conversation_id, question, decision, started_at, finished_at) "
                "values (%(w)s, %(id)s, '在吗', 'answer', %(at)s, %(at)s)",
                w=tx.workspace_id,
                id=old,
                at=LONG_AGO,
            )
            asks = load_flow({"steps": [{"question": "手机号？", "kind": "phone"}]})
            flow = await add_flow(tx, name="登记", definition=asks, enabled=True, by=SYSTEM, now=LONG_AGO)
            for conversation_id, at in ((old, LONG_AGO), (young, NOW - timedelta(days=50))):
                await tx.run(
                    "insert into flow_run (workspace_id, flow_id, revision, conversation_id, depth, answers, "
                    "started_at, due_at, ended_at, outcome) values (%(w)s, %(flow)s, 1, %(id)s, 0, "
                    """'[{"step": 0, "name": "手机号", "value": "13800138000", "save": ""}]', """
                    "%(at)s, %(at)s, %(at)s, 'finished')",
                    w=tx.workspace_id,
                    flow=flow,
                    id=conversation_id,
                    at=at,
                )
            await tx.run("insert into message_search select workspace_id, id, '{7}' from message")
        before = await rows(desk, "select * from event order by id")
        mine = f"where conversation_id = {old}"
        (n,) = (await rows(desk, f"select count(*) from message {mine}"))[0]
        await chosen(desk, YEAR)
        async with desk.database.transaction(desk.workspace_id) as tx:
            would = await preview(tx, YEAR, now=NOW)
        assert (would.counts["messages"], would.conversations) == (n, 1)
        begun = NOW - timedelta(days=2)
        await deleter(desk, files=store, now=begun).run_once(desk.workspace_id, pause=0)
        assert await rows(desk, "select conversation_id from flow_run") == [(young,)]
        for table in ("message", "turn", "draft", "notification"):
            assert await rows(desk, f"select 1 from {table} {mine}") == [], table
        found = await rows(desk, "select message_id in (select id from message) from message_search")
        assert set(found) == {(True,)}
        found = await rows(desk, "select conversation_id, count(*) > 2 from message group by 1 order by 1")
        assert found == [(young, True), (waiting, True)]
        assert [await there(store, desk.workspace_id, one) for one in (alone, shared)] == [False, True]
        async with desk.database.transaction(desk.workspace_id) as tx:
            said = await forgotten_in(tx, old)
            assert said is not None
            assert said.messages == n
            assert await forgotten_in(tx, young) is None
        after = await rows(desk, "select * from event order by id")
        assert after[: len(before)] == before
        told = await rows(desk, "select kind, actor_kind, data from event order by id desc limit 1")
        assert told == [("data_forgotten", "timer", {"messages": n, "conversations": 1, "turns": 1})]
        # Once a day, and nothing twice.
        assert await deleter(desk, now=begun + timedelta(hours=23)).run_once(desk.workspace_id) is None
        again = await deleter(desk, now=begun + timedelta(days=1)).run_once(desk.workspace_id)
        assert again is not None
        assert not any(again.counts.values())


async def test_what_an_agent_writes_today_stays_though_the_conversation_was_over_long_ago(desk: Desk) -> None:
    fresh = await kept(PostgresFileStore(desk.database, SystemClock()), desk.workspace_id, b"fresh")
    async with desk.database.transaction(desk.workspace_id) as tx:
        old = await over(desk, tx, "马骁")
        await save_draft(tx, old, agent_id=desk.lin, mode=Mode.REPLY, text="旧的", now=LONG_AGO)
        await save_draft(tx, old, agent_id=desk.chen, mode=Mode.REPLY, text="今天的", now=NOW)
        for sha256, at in ((fresh, NOW), ("0" * 64, LONG_AGO)):
            await tx.run(
                "insert into draft_file (workspace_id, conversation_id, agent_id, kind, filename, content_type, size, "
                "sha256, created_at) values (%(w)s, %(id)s, %(agent)s, 'file', 'a.pdf', '', 1, %(sha)s, %(at)s)",
                w=tx.workspace_id,
                id=old,
                agent=desk.chen,
                sha=sha256,
                at=at,
            )
    await chosen(desk, YEAR)
    await deleter(desk).run_once(desk.workspace_id, pause=0)
    assert await rows(desk, "select text from draft") == [("今天的",)]
    assert await rows(desk, "select sha256 from draft_file") == [(fresh,)]


async def test_everything_stays_until_somebody_chooses(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await over(desk, tx, "马骁", at=NOW - timedelta(days=5000))
        connection = await tx.value("select min(id) from connection")
        for days, state in ((3, "done"), (5, "done"), (5, "failed"), (4000, "failed")):
            await tx.run(
                "insert into delivery (workspace_id, connection_id, digest, pulls, body, state, received_at) "
                "values (%(w)s, %(c)s, %(digest)s, false, '', %(state)s, %(at)s)",
                w=tx.workspace_id,
                c=connection,
                digest=f"{days}{state}".encode(),
                state=state,
                at=NOW - timedelta(days=days),
            )
        assert await retention_times(tx) == RetentionTimes()
        for wrong in ({"messages": 29}, {"events": 0}, {"deliveries": 3}, {"turns": 40_000}):
            with pytest.raises(Conflict):
                await set_retention(tx, RetentionTimes(**wrong), by=SYSTEM, now=NOW)
    done = await deleter(desk).run_once(desk.workspace_id, pause=0)
    assert done is not None
    assert {name: n for name, n in done.counts.items() if n} == {"deliveries": 1}
    await chosen(desk, RetentionTimes(failed_deliveries=30))
    await deleter(desk).run_once(desk.workspace_id, due_only=False, pause=0)
    assert await rows(desk, "select state from delivery order by id") == [("done",), ("failed",)]


async def test_what_somebody_writes_into_at_this_moment_comes_first(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        busy, calm = [await over(desk, tx, who) for who in ("马骁", "周予安")]
    await chosen(desk, YEAR)
    async with desk.database.transaction(desk.workspace_id) as writing:
        await desk.writes(writing, "马骁", "又来了", at=NOW)
        async with asyncio.timeout(30):  # nobody waits for the contact
            await deleter(desk).run_once(desk.workspace_id, pause=0)
    assert await rows(desk, f"select 1 from message where conversation_id = {calm}") == []
    assert len(await rows(desk, f"select 1 from message where conversation_id = {busy} and direction = 'in'")) == 2
    # Over again a year later, all of it goes, the first cycle's, too.
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.resolve(tx, busy, by=Actor("agent", desk.lin), now=NOW)
        await tx.run("update message set state = 'handled', sent_at = least(sent_at, %(at)s)", at=LONG_AGO)
        await tx.run("update conversation set resolved_at = %(at)s, last_activity_at = %(at)s", at=LONG_AGO)
    await deleter(desk).run_once(desk.workspace_id, due_only=False, pause=0)
    assert await rows(desk, "select 1 from message") == []


class _DyingStore(PostgresFileStore):
    """The process is killed while it takes away the first file."""

    async def remove(self, workspace_id: int, sha256: str, *, stored_before: datetime) -> None:
        raise SystemError(sha256)


async def test_one_workspace_that_cannot_be_cleaned_does_not_starve_the_others(desk: Desk) -> None:
    other = await ensure_workspace(desk.database, "other", "another organisation", "zh")
    sha256 = await kept(PostgresFileStore(desk.database, SystemClock()), desk.workspace_id, b"a file")
    async with desk.database.transaction(desk.workspace_id) as tx:
        await attached(tx, await over(desk, tx, "马骁"), sha256)
    await chosen(desk, YEAR)
    await deleter(desk, files=_DyingStore(desk.database, SystemClock())).run_due()
    async with desk.database.transaction(other) as tx:
        done = await last_run(tx)
    assert done is not None
    assert done.finished_at is not None


async def test_a_run_goes_on_where_a_process_was_killed(desk: Desk) -> None:
    store = PostgresFileStore(desk.database, SetClock(NOW - timedelta(days=5)))
    sha256 = await kept(store, desk.workspace_id, b"a file")
    async with desk.database.transaction(desk.workspace_id) as tx:
        await attached(tx, await over(desk, tx, "马骁"), sha256)
        await over(desk, tx, "周予安")
        await tx.run(
            "insert into message (workspace_id, conversation_id, inbox_id, direction, author, kind, text, state, "
            "sent_at) "
            "select workspace_id, conversation_id, inbox_id, 'in', 'contact', 'text', '在吗', 'handled', sent_at "
            "from (select * from message where direction = 'in' order by id limit 1) m, generate_series(1, 700)"
        )
    (total,) = (await rows(desk, "select count(*) from message"))[0]
    await chosen(desk, YEAR)
    dying = deleter(desk, files=_DyingStore(desk.database, SystemClock()))
    with pytest.raises(SystemError):
        await dying.run_once(desk.workspace_id, pause=0)
    (left,) = (await rows(desk, "select count(*) from message"))[0]
    assert 0 < left < total
    assert await rows(desk, "select 1 from event where kind = 'data_forgotten'") == []
    # Two others take it up at once.
    others = [deleter(desk) for _ in range(2)]
    await asyncio.gather(*(one.run_once(desk.workspace_id, pause=0) for one in others))
    await deleter(desk).run_once(desk.workspace_id, pause=0)
    assert await rows(desk, "select data from event where kind = 'data_forgotten'") == [
        ({"messages": total, "conversations": 2},)
    ]


# ----------------------------------------------------------------------------------------------------------- facts


async def numbers(desk: Desk) -> Any:
    days = (LONG_AGO - timedelta(days=1)).date(), (NOW + timedelta(days=1)).date()
    async with desk.database.transaction(desk.workspace_id) as tx:
        asked = ReportQuery(Access(1, Role.OWNER), period(*days, ZoneInfo("Asia/Shanghai")), ReportFilter())
        found = await report(tx, asked, by=Dimension.AGENT, now=NOW)
        return found.total, found.parts, found.steps


async def test_facts_go_and_what_was_counted_of_them_stays(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        old = await over(desk, tx, "马骁")
        waiting = (await desk.handed_over(tx, "苏禾", at=LONG_AGO)).id
        young = await over(desk, tx, "周予安", at=NOW - timedelta(days=50))
    await chosen(desk, RetentionTimes(events=90))
    await deleter(desk).run_once(desk.workspace_id, due_only=False, pause=0)
    assert await rows(desk, f"select 1 from event where conversation_id = {old}")  # nobody has counted it yet
    await counted(desk)
    before = await numbers(desk)
    done = await deleter(desk).run_once(desk.workspace_id, due_only=False, pause=0)
    assert done is not None
    assert done.counts["events"] > 5
    left = await rows(desk, "select distinct conversation_id from event where conversation_id is not null order by 1")
    assert left == [(old,), (waiting,), (young,)]
    # Of the one that is over, who had it last.
    assert await rows(desk, f"select kind from event where conversation_id = {old}") == [("conversation_assigned",)]
    await counted(desk)
    assert await numbers(desk) == before
    # It goes on being counted, but never anew.
    async with desk.database.transaction(desk.workspace_id) as tx:
        with pytest.raises(Conflict):
            await rebuild(tx)
        await tx.run("update report_progress set recipe = 0")
    await counted(desk)
    assert await numbers(desk) == before
    async with desk.database.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "马骁", "又来了", at=NOW)
    await counted(desk)
    assert await numbers(desk) != before


async def test_the_right_to_delete_facts_is_lent_for_what_was_chosen(desk: Desk, workspace: int) -> None:
    forget = "select forgotten from forget_events(0, 1000, %(reading)s)"
    async with desk.database.transaction(workspace) as tx:
        await over(desk, tx, "马骁", at=NOW - timedelta(days=40))
        await over(desk, tx, "周予安", at=NOW - timedelta(days=20))
    await counted(desk)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await rows(desk, "delete from event returning id")
    far = NOW + timedelta(days=10_000)
    async with desk.database.transaction(workspace) as tx:
        assert await tx.value(forget, reading=far) == 0  # nobody has chosen
        await set_retention(tx, RetentionTimes(events=60), by=SYSTEM, now=NOW)
        assert await tx.value(forget, reading=far) == 0  # a wrong clock deletes nothing
        with pytest.raises(psycopg.errors.CheckViolation):
            async with tx.savepoint():
                await tx.run("update retention set events_days = 1")
        await set_retention(tx, RetentionTimes(events=30), by=SYSTEM, now=NOW)
        assert await tx.value(forget, reading=NOW - timedelta(days=20)) == 0
        assert await tx.value(forget, reading=far) > 0
        first = await tx.value("select min(at) from event where kind = 'conversation_resolved'")
        assert first > NOW - timedelta(days=30)
    # Nor those of another workspace.
    async with desk.database.transaction(workspace + 1) as tx:
        assert await tx.value(forget, reading=far) == 0


async def test_finished_tickets_keep_their_names_and_lose_what_was_said(desk: Desk) -> None:
    frozen = FrozenLine(1, "contact-1", "马骁", "", LONG_AGO, "打我电话 13800006021", contact_id=1)
    async with desk.database.transaction(desk.workspace_id) as tx:
        talk = await over(desk, tx, "马骁")
        found = []
        for name in ("早完成的", "刚完成的", "没完成的"):
            new = NewTicket(name, (frozen,), "摘要", conversation_id=talk, requester="马骁")
            ticket = await open_ticket(tx, new, key=name, by=SYSTEM, now=LONG_AGO)
            await comment(tx, ticket.id, "说了什么", key=name, by=SYSTEM, now=LONG_AGO)
            found.append(ticket.id)
        for ticket_id, at in zip(found, (LONG_AGO, NOW - timedelta(days=1)), strict=False):
            await set_state(tx, ticket_id, TicketState.DONE, by=SYSTEM, now=at)
        would = await preview(tx, RetentionTimes(tickets=100), now=NOW)
        assert would.counts["tickets"] == 1
    await chosen(desk, RetentionTimes(messages=100, tickets=100))
    for _ in range(2):
        run = await deleter(desk).run_once(desk.workspace_id, due_only=False, pause=0)
        assert run is not None
    told = "select title, summary, requester, (select count(*)::int from ticket_message m where m.ticket_id = t.id), "
    told += "(select count(*)::int from ticket_comment c where c.ticket_id = t.id) from ticket t order by id"
    assert await rows(desk, told) == [
        ("早完成的", "", "", 0, 0),
        ("刚完成的", "摘要", "马骁", 1, 1),
        ("没完成的", "摘要", "马骁", 1, 1),
    ]
    ((counts,),) = await rows(desk, "select data from event where kind = 'data_forgotten' order by id limit 1")
    assert counts["tickets"] == 1
