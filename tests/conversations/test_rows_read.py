"""What a message costs PostgreSQL must not grow with what is stored: counted in rows, as times say little in a test."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median

import psycopg
import pytest
from tests.twin import open_inbox

from zhiban.bootstrap import limits_of
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import sending, transitions
from zhiban.conversations.ingest import ingest
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import enqueue
from zhiban.events import ASSISTANT
from zhiban.kit.clock import SetClock
from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.ports import IncomingMessage, Kind, Limits, SenderRole
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.workers.maintenance import Maintenance

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
PROCESS = 7

_READ = """
select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables where schemaname = 'public'"""


async def _answer(tx: Transaction, inbox: OpenInbox, contact: str) -> int:
    """A new contact writes, is answered and gets the answer. Returns how many rows that read."""
    before = int(await tx.value(_READ))
    message = IncomingMessage(contact, contact, contact, SenderRole.CONTACT, Kind.TEXT, "在吗", NOON)
    result = await ingest(tx, inbox, [message], now=NOON, process_id=PROCESS)
    state = await transitions.lock(tx, result.leased[0])
    queued = await enqueue(
        tx,
        state,
        author=Author.ASSISTANT,
        actor=ASSISTANT,
        text="在",
        key=f"to-{contact}",
        limits=Limits(2000),
        now=NOON,
    )
    assert queued.revision is not None
    hold = sending.WorkHold(PROCESS, queued.revision)
    outcome = sending.SendSucceeded()
    await sending.record_outcome(tx, inbox, state, queued.messages[0], outcome, now=NOON, leave=hold)
    return int(await tx.value(_READ)) - before


@pytest.mark.parametrize("analysed", [(), (9, 97)], ids=["left alone", "analysed while small"])
async def test_a_message_reads_as_many_rows_in_a_grown_database_as_in_a_young_one(
    urls: DatabaseUrls, workspace: int, clock: SetClock, analysed: tuple[int, ...]
) -> None:
    """Plans are made on empty tables, and a young database has no statistics until we see to it. PostgreSQL's own
    daemon may have had a table while it was so small that reading all of it was right."""
    read = []
    async with (
        Database(urls.app, work_size=1, page_size=1) as db,  # one connection: what it counted is told for all
        await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as daemon,
    ):
        inbox = await open_inbox(db, workspace)
        maintenance = Maintenance(db, limits_of, clock)
        for number in range(200):
            async with db.transaction(workspace) as tx:
                read.append(await _answer(tx, inbox, f"wm{number}"))
            if number in analysed:
                await daemon.execute("analyze")
            if number % 20 == 15:  # as the timers do every second
                async with db.transaction(NO_WORKSPACE) as tx:
                    await tx.value("select pg_stat_force_next_flush()")
                await maintenance.run_once(idle=False)
    # From then on: where statistics change, one may pay.
    assert median(read[100:]) <= 40, read


async def test_tables_are_analysed_once_when_they_have_grown(db: Database, workspace: int) -> None:
    """What is nearly empty is left for when it is not; what was analysed is PostgreSQL's own matter from then on."""
    inbox = await open_inbox(db, workspace)

    async def analyzed() -> dict[str, int]:
        """How often each table was, after having been looked at once more."""
        async with db.transaction(NO_WORKSPACE) as tx:
            await tx.value("select pg_stat_force_next_flush()")
        async with db.transaction(NO_WORKSPACE) as tx:
            await tx.value("select analyze_grown_tables()")
            await tx.value("select pg_stat_force_next_flush()")
        async with db.transaction(NO_WORKSPACE) as tx:
            return dict(await tx.rows("select relname, analyze_count from pg_stat_user_tables where analyze_count > 0"))

    begun = await analyzed()
    for number in range(12):
        async with db.transaction(workspace) as tx:
            await _answer(tx, inbox, f"wm{number}")
        if number == 5:  # messages and their events are more than ten by now
            assert "conversation" not in await analyzed()
    grown = await analyzed()
    assert {"conversation", "message", "contact", "identity", "conversation_work", "event"} <= set(grown) - set(begun)
    assert await analyzed() == grown
