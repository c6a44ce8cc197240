"""Who works on a conversation. The row says who has the lease and until when; nothing here concerns the business.

`revision` grows with everything that happens, so that a worker that is about to leave, or to store an answer, sees that
something came meanwhile. A process that dies is recognised by its missing advisory lock (`kit.pubsub`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.kit.db import Transaction
from zhiban.kit.pubsub import LIVING

LEASE = timedelta(seconds=60)

_TAKE = """
update conversation_work set leased_by = %(process)s, lease_expires_at = %(until)s
where conversation_id = %(id)s and (leased_by is null or lease_expires_at < %(now)s) returning 1"""

_LEAVE = """
update conversation_work set leased_by = null, lease_expires_at = null
where conversation_id = %(id)s and leased_by = %(process)s and revision = %(revision)s returning 1"""

_RELEASE = """
update conversation_work set leased_by = null, lease_expires_at = null, retry_at = coalesce(%(retry_at)s, retry_at)
where conversation_id = %(id)s and leased_by = %(process)s"""

# Part of the statement that writes down how the last message went: nothing else waits and nothing came meanwhile, so
# nothing has to be read again. Without a process the lease is kept.
LEAVE_AFTER = """left_empty as (
  update conversation_work w set leased_by = null, lease_expires_at = null, retry_at = null
  where w.conversation_id = %(conversation)s and w.leased_by = %(process)s and w.revision = %(revision)s
    and not exists (
      select 1 from message m where m.workspace_id = w.workspace_id and m.conversation_id = w.conversation_id
        and m.state in ('pending', 'queued') and m.id <> %(id)s)
  returning 1)"""

_RENEW = """
update conversation_work set lease_expires_at = %(until)s, retry_at = null
where conversation_id = %(id)s and leased_by = %(process)s returning revision"""

_BUMP = "update conversation_work set revision = revision + 1 where conversation_id = %(id)s"

_FREE_DEAD = f"""
update conversation_work set leased_by = null, lease_expires_at = null
where leased_by is not null and leased_by <> %(process)s
  and (leased_by not in ({LIVING}) or lease_expires_at < %(now)s)"""

# Ours by name, but no task of this process works on it: an accident ended it.
_FREE_OWN = """
update conversation_work set leased_by = null, lease_expires_at = null
where leased_by = %(process)s and lease_expires_at < %(lately)s
  and not (conversation_id = any(%(running)s::bigint[]))"""

_LOST = """
select distinct m.conversation_id from message m
join conversation_work w on w.workspace_id = m.workspace_id and w.conversation_id = m.conversation_id
join conversation c on c.workspace_id = m.workspace_id and c.id = m.conversation_id
where m.state in ('pending', 'queued') and m.created_at < %(quiet)s and w.leased_by is null
  and (w.retry_at is null or w.retry_at <= %(now)s)
  and (m.state = 'queued' or c.status = 'pending' or c.kind = 'group')
limit 500"""


# False only where `free_abandoned` and `unattended` find nothing; over `process`, `lately` and `quiet`.
ANY_ABANDONED = """exists (
  select from conversation_work
  where leased_by is not null and (leased_by <> %(process)s or lease_expires_at < %(lately)s))"""
ANY_UNATTENDED = "exists (select from message where state in ('pending', 'queued') and created_at < %(quiet)s)"


async def take(tx: Transaction, conversation_id: int, *, process: int, now: datetime) -> bool:
    """Take the lease. False when somebody else has it."""
    return bool(await tx.value(_TAKE, id=conversation_id, process=process, now=now, until=now + LEASE))


async def leave(tx: Transaction, conversation_id: int, *, process: int, revision: int) -> bool:
    """Give the lease back, unless something happened since `revision`."""
    return bool(await tx.value(_LEAVE, id=conversation_id, process=process, revision=revision))


async def release(tx: Transaction, conversation_id: int, *, process: int, retry_at: datetime | None = None) -> None:
    """Give the lease back whatever happened; nobody takes it up before `retry_at`."""
    await tx.run(_RELEASE, id=conversation_id, process=process, retry_at=retry_at)


async def renew(tx: Transaction, conversation_id: int, *, process: int, now: datetime) -> int | None:
    """Keep the lease for another minute. Returns the revision, None when it was lost."""
    revision: int | None = await tx.value(_RENEW, id=conversation_id, process=process, until=now + LEASE)
    return revision


async def bump(tx: Transaction, conversation_id: int) -> None:
    """Something happened that is no change of the conversation, for instance a message was taken back."""
    await tx.run(_BUMP, id=conversation_id)


async def free_abandoned(tx: Transaction, *, process: int, running: list[int], now: datetime) -> None:
    """Free what dead processes held, and what this one holds without working on it.

    A lease is renewed or given back within seconds: one that is five seconds old has a task, or is abandoned.
    """
    await tx.run(_FREE_DEAD, process=process, now=now)
    await tx.run(_FREE_OWN, process=process, lately=taken_lately(now), running=running)


def taken_lately(now: datetime) -> datetime:
    """When a lease ends that is five seconds old."""
    return now + LEASE - timedelta(seconds=5)


async def unattended(tx: Transaction, *, now: datetime, quiet: datetime) -> list[int]:
    """Conversations in which something has waited since `quiet` and on which nobody works."""
    return await tx.values(_LOST, quiet=quiet, now=now)
