"""Whoever runs this hears that a connection fell silent: refused by its vendor, without a gateway, called by no hook.

Nobody looks at settings while all seems well, and what does not arrive is missed by nobody.
"""

from __future__ import annotations

from datetime import datetime

from zhiban.channels.troubled import troubled_connections
from zhiban.events import SYSTEM
from zhiban.kit.db import Transaction
from zhiban.notifications.models import NotificationKind
from zhiban.notifications.service import NewNotification, notify
from zhiban.people.agents import agent_rows


async def watch_connections(tx: Transaction, *, now: datetime) -> int:
    """Tell owners and admins of connections that do not work for a while, once for each time. Returns how many of them
    learn something new."""
    told = 0
    for one in await troubled_connections(tx, now=now):
        key = f"{one.part}-broken-{one.id}-{one.since.timestamp():.0f}"
        told += await tell_of_connection(tx, one.id, one.name, one.why, key=key, now=now)
    return told


async def tell_of_connection(
    tx: Transaction, connection_id: int, name: str, why: str, *, key: str, now: datetime
) -> int:
    """Tell owners and admins; the same `key`, which begins with channel or tracker, tells once."""
    told = NewNotification(
        kind=NotificationKind.CONNECTION,
        key=key,
        conversation_id=None,
        inbox_id=None,
        actor=SYSTEM,
        text=f"{name}\n{why}",
        connection_id=connection_id,
    )
    return await notify(tx, told, await responsible_ids(tx), now=now)


async def responsible_ids(tx: Transaction) -> list[int]:
    """Who runs this: its owners and admins."""
    return [one.id for one in await agent_rows(tx) if one.role in ("owner", "admin")]
