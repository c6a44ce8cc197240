"""Stops what a group and an issue tell each other when that goes on and on: two machines may be answering each other.

More than so many things of one issue within a minute, in either direction, and nothing of it is mirrored for a while;
our own people are told. When the pause is over the groups hear how much they missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.events import SYSTEM, Actor, MirroringPaused, MirroringResumed
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.tickets.naming import reference

MOST_A_MINUTE = 20
PAUSE = timedelta(minutes=15)

# One thing that several groups hear is one.
_LATELY = """
select (select count(distinct digest) from group_news where issue_id = %(issue)s and at > %(since)s)
  + (select count(*) from card_reply where issue_id = %(issue)s and call_id is not null and created_at > %(since)s)"""

_PAUSE = """
insert into mirror_pause (workspace_id, issue_id, paused_at, ends_at)
values (%(workspace)s, %(issue)s, %(now)s, %(end)s)
on conflict (workspace_id, issue_id) do update set ends_at = excluded.ends_at"""

_PAUSES = """
select p.issue_id, r.name as repository, i.number, i.url, i.title, p.paused_at, p.ends_at, p.missed
from mirror_pause p join issue i on i.workspace_id = p.workspace_id and i.id = p.issue_id
join repository r on r.workspace_id = i.workspace_id and r.id = i.repository_id order by p.paused_at, p.issue_id"""

_MISSED = """
update mirror_pause set missed = missed + 1 where issue_id = %(issue)s and ends_at > %(now)s returning issue_id"""


@frozen_dataclass
class MirrorPause:
    """How long nothing of an issue is mirrored, and how much was not."""

    issue_id: int
    repository: str
    number: int
    url: str
    title: str
    paused_at: datetime
    ends_at: datetime
    missed: int

    @property
    def place(self) -> str:
        """owner/name#12, as people write it."""
        return f"{self.repository}{reference(self.number, self.url)}"


async def admits(tx: Transaction, repository_id: int, issue_id: int, *, now: datetime) -> bool:
    """Whether one more thing of this issue may be mirrored; one that may not is counted."""
    if await tx.value(_MISSED, issue=issue_id, now=now) is not None:
        return False
    found = int(await tx.value(_LATELY, issue=issue_id, since=now - timedelta(minutes=1)))
    if found < MOST_A_MINUTE:
        return True
    await tx.run(_PAUSE, workspace=tx.workspace_id, issue=issue_id, now=now, end=now + PAUSE)
    await tx.run(_MISSED, issue=issue_id, now=now)
    paused = MirroringPaused(
        actor=SYSTEM, at=now, repository_id=repository_id, issue_id=issue_id, count=found, until=now + PAUSE
    )
    await event_log.append(tx, paused)
    return False


async def pauses(tx: Transaction) -> list[MirrorPause]:
    """Those that there are, the oldest first."""
    return await tx.objects(MirrorPause, _PAUSES)


async def resume_due(tx: Transaction, *, now: datetime) -> int:
    """End the pauses whose time is over. Returns how many."""
    return await _resume(tx, "p.ends_at <= %(now)s", by=SYSTEM, now=now)


async def resume(tx: Transaction, issue_id: int, *, by: Actor, now: datetime) -> bool:
    """Mirror this issue again at once. False where it was not paused.

    What made it pause counts on: where that still happens, it is paused again.
    """
    return bool(await _resume(tx, "p.issue_id = %(issue)s", by=by, issue=issue_id, now=now))


async def _resume(tx: Transaction, which: str, *, by: Actor, now: datetime, issue: int = 0) -> int:
    rows = await tx.rows(
        f"delete from mirror_pause p using issue i where {which} and i.workspace_id = p.workspace_id "
        "and i.id = p.issue_id returning i.repository_id, p.issue_id, p.missed",
        now=now,
        issue=issue,
    )
    facts = [
        MirroringResumed(actor=by, at=now, repository_id=repository_id, issue_id=issue_id, missed=missed)
        for repository_id, issue_id, missed in rows
    ]
    await event_log.append(tx, *facts)
    return len(facts)
