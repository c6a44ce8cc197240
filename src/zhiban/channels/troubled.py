"""Connections over which nothing comes in for a while, though nobody paused them."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

BROKEN_FOR = timedelta(minutes=3)  # what mends itself by then is no trouble
AWAY_FOR = timedelta(minutes=5)
NEW_FOR = timedelta(hours=1)  # whoever is setting it up looks at it

# Of a gateway that is gone nothing is wrong but that nobody answers there.
_TROUBLED = """
select c.id, c.part, coalesce(nullif(c.name, ''), c.vendor) as name, coalesce(c.broken, g.reason, '') as why,
  coalesce(c.broken_at, g.since) as since
from connection c left join gateway_state g on g.workspace_id = c.workspace_id and g.connection_id = c.id
where c.removed_at is null and c.paused_at is null and (c.verified_at is not null or c.created_at <= %(old)s)
  and ((c.broken is not null and c.broken_at <= %(broken)s)
    or (c.verified_at is not null and g.state = 'connecting' and g.since <= %(away)s))
order by c.id"""


@frozen_dataclass
class TroubledConnection:
    """`part`: channel or tracker. `why` is a sentence for people, empty where nobody knows."""

    id: int
    part: str
    name: str
    why: str
    since: datetime


async def troubled_connections(tx: Transaction, *, now: datetime) -> list[TroubledConnection]:
    """Those that an operator has to look at."""
    return await tx.objects(
        TroubledConnection, _TROUBLED, old=now - NEW_FOR, broken=now - BROKEN_FOR, away=now - AWAY_FOR
    )
