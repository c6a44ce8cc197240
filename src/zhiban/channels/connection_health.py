"""Says on a connection or an inbox what an operator has to mend, and that it works again."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from zhiban.events import (
    SYSTEM,
    ConnectionBroke,
    ConnectionMended,
    ContactReadingResumed,
    ContactReadingStopped,
    InboxBroke,
    InboxMended,
)
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
    inbox_too = inbox_id is not None and await _mark_inbox(tx, inbox_id, why, now=now)
    if changed:
        await event_log.append(
            tx, ConnectionBroke(actor=SYSTEM, at=now, connection_id=connection_id, inbox_id=inbox_id, why=why)
        )
    elif inbox_id is not None and inbox_too:
        await event_log.append(tx, InboxBroke(actor=SYSTEM, at=now, inbox_id=inbox_id, why=why))


async def mark_inbox_broken(tx: Transaction, inbox_id: int, why: str, *, now: datetime) -> None:
    """Only this inbox does not do what its settings say. The first moment stays."""
    why = why[:LONGEST]
    if await _mark_inbox(tx, inbox_id, why, now=now):
        await event_log.append(tx, InboxBroke(actor=SYSTEM, at=now, inbox_id=inbox_id, why=why))


async def _mark_inbox(tx: Transaction, inbox_id: int, why: str, *, now: datetime) -> int:
    return await tx.run(
        "update inbox set broken = %(why)s, broken_at = coalesce(broken_at, %(now)s) "
        "where id = %(id)s and broken is distinct from %(why)s",
        why=why,
        now=now,
        id=inbox_id,
    )


async def note_contacts_off(tx: Transaction, connection_id: int, off: str | None, *, now: datetime) -> None:
    """Remember why the vendor does not tell about friendships; None when it does."""
    changed = await tx.run(
        "update connection set contacts_off = %(off)s where id = %(id)s and contacts_off is distinct from %(off)s",
        off=off,
        id=connection_id,
    )
    if not changed:
        return
    fact = (
        ContactReadingResumed(actor=SYSTEM, at=now, connection_id=connection_id)
        if off is None
        else ContactReadingStopped(actor=SYSTEM, at=now, connection_id=connection_id, why=off)
    )
    await event_log.append(tx, fact)


async def mark_mended(tx: Transaction, connection_id: int, inbox_id: int | None = None, *, now: datetime) -> None:
    """The connection works again, and with `inbox_id` that inbox too."""
    connection = await _mend(tx, "connection", connection_id)
    inbox = inbox_id is not None and await _mend(tx, "inbox", inbox_id)
    if connection:
        await event_log.append(
            tx, ConnectionMended(actor=SYSTEM, at=now, connection_id=connection_id, inbox_id=inbox_id)
        )
    elif inbox_id is not None and inbox:
        await event_log.append(tx, InboxMended(actor=SYSTEM, at=now, inbox_id=inbox_id))


async def _mend(tx: Transaction, table: Literal["connection", "inbox"], id_: int) -> int:
    return await tx.run(
        f"update {table} set broken = null, broken_at = null where id = %(id)s and broken is not null", id=id_
    )
