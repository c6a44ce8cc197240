"""How each connection to a tracker stands: what it reaches, until when it was compared, what waits to be written."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

LATELY = timedelta(days=7)

_STANDINGS = """
select coalesce(r.connection_id, w.connection_id) as connection_id, coalesce(r.repositories, 0) as repositories,
  r.synced_at, coalesce(w.waiting, 0) as waiting, coalesce(w.problem, '') as problem, coalesce(w.refused, 0) as refused
from (
  select connection_id, count(*) as repositories, max(synced_at) as synced_at from repository
  where removed_at is null group by 1) r
full join (
  select connection_id, count(*) filter (where state = 'queued') as waiting,
    count(*) filter (where state = 'refused' and problem <> 'withdrawn') as refused,
    (array_agg(problem order by id) filter (where state = 'queued' and problem is not null))[1] as problem
  from tracker_call where state = 'queued' or (state = 'refused' and settled_at > %(since)s) group by 1) w
using (connection_id)"""


@frozen_dataclass
class TrackerStanding:
    """`problem` is why the oldest of what waits does so, a sentence; `refused` is what the tracker refused lately."""

    connection_id: int
    repositories: int = 0
    synced_at: datetime | None = None
    waiting: int = 0
    problem: str = ""
    refused: int = 0


async def standings(tx: Transaction, *, now: datetime) -> dict[int, TrackerStanding]:
    """By connection; one that reaches nothing and has nothing to write is left out."""
    rows = await tx.objects(TrackerStanding, _STANDINGS, since=now - LATELY)
    return {row.connection_id: row for row in rows}
