"""Pausing a connection: what arrives is taken in, and nothing goes out."""

from __future__ import annotations

from datetime import datetime

from zhiban.events import Actor, ConnectionPaused, ConnectionResumed
from zhiban.kit import event_log
from zhiban.kit.db import Transaction


async def pause_connection(tx: Transaction, connection_id: int, *, by: Actor, now: datetime) -> bool:
    """Write nothing there until it is resumed. False when it is paused already, or removed."""
    changed = await tx.run(
        "update connection set paused_at = %(now)s where id = %(id)s and paused_at is null and removed_at is null",
        now=now,
        id=connection_id,
    )
    if changed:
        await event_log.append(tx, ConnectionPaused(actor=by, at=now, connection_id=connection_id))
    return bool(changed)


async def resume_connection(tx: Transaction, connection_id: int, *, by: Actor, now: datetime) -> bool:
    """What waited goes out. False when it was not paused."""
    changed = await tx.run(
        "update connection set paused_at = null where id = %(id)s and paused_at is not null", id=connection_id
    )
    if changed:
        await event_log.append(tx, ConnectionResumed(actor=by, at=now, connection_id=connection_id))
    return bool(changed)


async def paused_connections(tx: Transaction) -> set[int]:
    """The connections that are paused now."""
    return set(await tx.values("select id from connection where paused_at is not null and removed_at is null"))
