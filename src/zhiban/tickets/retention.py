"""What tickets no longer say once they have been finished for long. The promise, and what became of it, stays."""

from __future__ import annotations

from datetime import datetime

from zhiban.conversations.published_files import withdraw_tickets
from zhiban.events import TIMER
from zhiban.kit.db import Transaction

_FORGETTABLE = (
    "state in ('done', 'cancelled') and done_at < %(before)s and (forgotten_at is null or forgotten_at < done_at)"
)


async def forget_words(tx: Transaction, *, before: datetime, limit: int, now: datetime) -> int:
    """Delete what was frozen for tickets that were finished before then, and what was said about them; nobody reads any
    more what was published of them. Their numbers, titles, owners, days and issues stay. Returns how many that were.

    A ticket that was opened again and is finished anew counts from that time.
    """
    ids = await tx.values(
        f"update ticket set summary = '', note = '', requester = '', forgotten_at = %(now)s where id = any(array("
        f"select id from ticket where {_FORGETTABLE} order by done_at limit %(limit)s for update skip locked)) "
        "returning id",
        before=before,
        limit=limit,
        now=now,
    )
    if ids:
        await withdraw_tickets(tx, ids, by=TIMER, now=now)
        await tx.run("delete from ticket_message where ticket_id = any(%(ids)s::bigint[])", ids=ids)
        await tx.run("delete from ticket_comment where ticket_id = any(%(ids)s::bigint[])", ids=ids)
        await tx.run("update ticket_draft set title = '', note = '' where ticket_id = any(%(ids)s::bigint[])", ids=ids)
    return len(ids)


async def count_forgettable(tx: Transaction, *, before: datetime, most: int) -> int:
    """How many tickets `forget_words` would empty, at most `most`."""
    return int(
        await tx.value(
            f"select count(*) from (select from ticket where {_FORGETTABLE} limit %(most)s) t",
            before=before,
            most=most,
        )
    )
