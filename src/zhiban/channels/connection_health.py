"""Says on a connection or an inbox what an operator has to mend, and that it works again."""

from __future__ import annotations

from datetime import datetime

from zhiban.events import SYSTEM, ConnectionBroke, ConnectionMended
from zhiban.kit import event_log
from zhiban.kit.db import Transaction

LONGEST = 500  # characters kept of a reason


async def mark_broken(
    tx: Transaction, connection_id: int, why: str, *, now: datetime, inbox_id: int | None = None
) -> None:
    """The connection, and with `inbox_id` that inbox too, does not work. The first moment stays."""
    why = why[:LONGEST]
    changed = await tx.run(
        "update connection set broken = %(why)s, broken_at = coalesce(broken_at, %(now)s) "
        "where id = %(id)s and broken is distinct from %(why)s",
        why=why,
        now=now,
        id=connection_id,
    )
    if inbox_id is not None:
        await mark_inbox_broken(tx, inbox_id, why, now=now)
    if changed:
        await event_log.append(
            tx, ConnectionBroke(actor=SYSTEM, at=now, connection_id=connection_id, inbox_id=inbox_id, why=why)
        )


async def mark_inbox_broken(tx: Transaction, inbox_id: int, why: str, *, now: datetime) -> None:
    """Only this inbox does not do what its settings say."""
    await tx.run(
        "update inbox set broken = %(why)s, broken_at = coalesce(broken_at, %(now)s) where id = %(id)s",
        why=why[:LONGEST],
        now=now,
        id=inbox_id,
    )


async def mark_mended(tx: Transaction, connection_id: int, inbox_id: int | None = None, *, now: datetime) -> None:
    """The connection works again, and with `inbox_id` that inbox too."""
    mended = 0
    for table, id_ in (("connection", connection_id), ("inbox", inbox_id)):
        if id_ is None:
            continue
        mended += await tx.run(
            f"update {table} set broken = null, broken_at = null where id = %(id)s and broken is not null", id=id_
        )
    if mended:
        await event_log.append(
            tx, ConnectionMended(actor=SYSTEM, at=now, connection_id=connection_id, inbox_id=inbox_id)
        )
