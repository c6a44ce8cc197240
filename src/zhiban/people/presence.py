"""Who is there: what each agent chose, and what the heartbeat of their open desk makes of it.

An agent is what they chose (`chosen`) while a desk of theirs beats, and offline otherwise. However many tabs and
processes beat, there is one row, and each change of what others see (`status`) is one fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from zhiban.events import (
    TIMER,
    Actor,
    AgentBecameAvailable,
    AgentBecameBusy,
    AgentWentOffline,
    AvailabilityChosen,
    Cause,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.permissions import answering_in

PresenceFact = AgentBecameAvailable | AgentBecameBusy | AgentWentOffline

PRESENCE = "presence"  # topic: what others see of this agent changed
# A desk beats every 20 s (presence.js), but browsers let a tab in the background act once a minute only.
SILENT_AFTER = timedelta(seconds=90)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_SAME_BEAT = timedelta(seconds=5)  # beats of several tabs that come so close are one


class Availability(StrEnum):
    """What an agent chooses, and what others see. Only who is online is given conversations."""

    ONLINE = "online"
    BUSY = "busy"
    OFFLINE = "offline"


AVAILABILITY_LABELS = {"online": mark("在线"), "busy": mark("忙碌"), "offline": mark("离线")}


@frozen_dataclass
class _PresenceRow:
    chosen: str
    status: str
    beat_at: datetime | None


@frozen_dataclass
class AssignableAgent:
    """An agent who may be given a conversation now."""

    id: int
    teams: list[int]
    inbox_ids: list[int] | None  # in which they may answer; None: in every one

    def answers(self, inbox_id: int) -> bool:
        """Whether a conversation of this inbox may be given to them."""
        return self.inbox_ids is None or inbox_id in self.inbox_ids


_LOCK = "select chosen, status, beat_at from agent_presence where agent_id = %(agent)s for update"

_SWEEP = """
update agent_presence p set status = 'offline', changed_at = %(now)s
from (
  select agent_id, status from agent_presence
  where status <> 'offline' and (beat_at is null or beat_at < %(before)s) order by agent_id for update skip locked) was
where p.agent_id = was.agent_id returning p.agent_id, was.status"""

# Whether `sweep` finds anybody; over `silent_since`.
ANY_SILENT = """exists (
  select from agent_presence where status <> 'offline' and (beat_at is null or beat_at < %(silent_since)s))"""

_ASSIGNABLE = """
select a.id, a.inbox_ids,
  array(select m.team_id from team_member m where m.workspace_id = a.workspace_id and m.agent_id = a.id) as teams
from agent_presence p join agent a on a.workspace_id = p.workspace_id and a.id = p.agent_id
where p.status = 'online' and p.beat_at >= %(since)s and a.disabled_at is null
  and a.role <> 'read_only' order by a.id"""


# --------------------------------------------------------------------------------------------------------- changes


async def beat(tx: Transaction, agent_id: int, *, now: datetime) -> Availability:
    """A desk of this agent is open. They are what they chose, `online` the first time. Returns that."""
    row = await _locked(tx, agent_id)
    if row.status == row.chosen and row.beat_at is not None and now - row.beat_at < _SAME_BEAT:
        return Availability(row.status)
    return await _become(tx, agent_id, row, Availability(row.chosen), now=now)


async def choose(tx: Transaction, agent_id: int, availability: Availability, *, now: datetime) -> None:
    """What this agent wants to be while a desk of theirs is open; the one they choose it in is."""
    row = await _locked(tx, agent_id)
    if row.chosen != availability:
        await tx.run(
            "update agent_presence set chosen = %(chosen)s where agent_id = %(agent)s",
            chosen=availability,
            agent=agent_id,
        )
        fact = AvailabilityChosen(
            actor=Actor("agent", agent_id), at=now, agent_id=agent_id, chosen=availability.value, previous=row.chosen
        )
        await event_log.append(tx, fact)
        tx.publish_after_commit(PRESENCE, agent_id)
    await _become(tx, agent_id, row, availability, now=now)


async def leave(tx: Transaction, agent_id: int, *, by: Actor, reason: str, now: datetime) -> None:
    """Offline at once, because no desk of theirs can be open any more: signed out, or disabled."""
    row = await tx.object(_PresenceRow, _LOCK, agent=agent_id)
    if row is None or row.status == Availability.OFFLINE:
        return
    await tx.run(
        "update agent_presence set status = 'offline', changed_at = %(now)s where agent_id = %(agent)s",
        now=now,
        agent=agent_id,
    )
    await _record(tx, _offline(agent_id, row.status, by=by, reason=reason, now=now))


async def sweep(tx: Transaction, *, now: datetime) -> Sequence[int]:
    """Let everybody be offline whose desks have been silent for SILENT_AFTER. Returns who that is."""
    rows = await tx.rows(_SWEEP, now=now, before=now - SILENT_AFTER)
    cause = Cause("timer")
    facts = [_offline(id_, was, by=TIMER, reason="silent", now=now, cause=cause) for id_, was in rows]
    await _record(tx, *facts)
    return [fact.agent_id for fact in facts]


async def _locked(tx: Transaction, agent_id: int) -> _PresenceRow:
    row = await tx.object(_PresenceRow, _LOCK, agent=agent_id)
    if row is None:
        await tx.run(
            "insert into agent_presence (workspace_id, agent_id) values (%(workspace)s, %(agent)s) "
            "on conflict do nothing",
            workspace=tx.workspace_id,
            agent=agent_id,
        )
        row = await tx.object(_PresenceRow, _LOCK, agent=agent_id)
    return row or _PresenceRow(Availability.ONLINE, Availability.OFFLINE, None)


async def _become(
    tx: Transaction, agent_id: int, row: _PresenceRow, status: Availability, *, now: datetime
) -> Availability:
    await tx.run(
        "update agent_presence set status = %(status)s, beat_at = greatest(beat_at, %(now)s), "
        "changed_at = case when status = %(status)s then changed_at else %(now)s end where agent_id = %(agent)s",
        status=status,
        now=now,
        agent=agent_id,
    )
    if row.status != status:
        await _record(tx, _fact(agent_id, status, row.status, now=now))
    return status


def _fact(agent_id: int, status: Availability, previous: str, *, now: datetime) -> PresenceFact:
    by = Actor("agent", agent_id)
    match status:
        case Availability.ONLINE:
            return AgentBecameAvailable(actor=by, at=now, agent_id=agent_id, previous=previous)
        case Availability.BUSY:
            return AgentBecameBusy(actor=by, at=now, agent_id=agent_id, previous=previous)
        case Availability.OFFLINE:
            return _offline(agent_id, previous, by=by, reason="chosen", now=now)


def _offline(
    agent_id: int, previous: str, *, by: Actor, reason: str, now: datetime, cause: Cause | None = None
) -> AgentWentOffline:
    return AgentWentOffline(
        actor=by, at=now, cause=cause or Cause(), agent_id=agent_id, previous=previous, reason=reason
    )


async def _record(tx: Transaction, *facts: PresenceFact) -> None:
    await event_log.append(tx, *facts)
    for fact in facts:
        tx.publish_after_commit(PRESENCE, fact.agent_id)


# ----------------------------------------------------------------------------------------------------------- reads


async def availabilities(tx: Transaction, *, inbox_id: int | None = None) -> dict[int, Availability]:
    """What others see of every agent who is not disabled; with `inbox_id`, of those who may answer there."""
    wanted = "a.disabled_at is null" if inbox_id is None else answering_in("%(inbox)s")
    rows = await tx.rows(
        "select a.id, coalesce(p.status, 'offline') from agent a left join agent_presence p "
        f"on p.workspace_id = a.workspace_id and p.agent_id = a.id where {wanted}",
        inbox=inbox_id,
    )
    return {id_: Availability(status) for id_, status in rows}


async def availability_of(tx: Transaction, agent_id: int) -> Availability:
    """What others see of this agent; offline where there is none, or a disabled one."""
    return (await availabilities(tx)).get(agent_id, Availability.OFFLINE)


async def assignable(tx: Transaction, *, now: datetime) -> list[AssignableAgent]:
    """Everybody who may be given a conversation: online with a desk that beats, not disabled, and there to answer."""
    return await tx.objects(AssignableAgent, _ASSIGNABLE, since=now - SILENT_AFTER)


async def standing_of(tx: Transaction, agent_id: int) -> tuple[Availability, datetime | None]:
    """What others see of this agent, and since when; None where they never had a desk open."""
    row = await tx.row("select status, changed_at from agent_presence where agent_id = %(agent)s", agent=agent_id)
    if row is None:
        return Availability.OFFLINE, None
    status, since = row
    return Availability(status), since


async def absent_since(tx: Transaction, agent_id: int, *, now: datetime) -> datetime | None:
    """Since when this agent has been offline, which stays so until the transaction ends; None when they are there.

    Who is just coming or going counts as gone since now, so that nobody waits for anybody; whoever acts on it later
    looks again. Who never had a desk open has always been offline.
    """
    row = await tx.row(
        "select status, changed_at from agent_presence where agent_id = %(agent)s for share skip locked",
        agent=agent_id,
    )
    if row is not None:
        status, since = row
        return (since or NEVER) if status == Availability.OFFLINE else None
    known = await tx.value("select 1 from agent_presence where agent_id = %(agent)s", agent=agent_id)
    return now if known else NEVER


async def absences(tx: Transaction) -> dict[int, datetime]:
    """Every agent who is offline, with since when."""
    rows = await tx.rows(
        "select a.id, p.changed_at from agent a left join agent_presence p on p.workspace_id = a.workspace_id "
        "and p.agent_id = a.id where coalesce(p.status, 'offline') = 'offline'"
    )
    return {id_: since or NEVER for id_, since in rows}


async def offline_since(tx: Transaction, before: datetime) -> dict[int, datetime]:
    """Agents who went offline, and have been so since `before` or longer, with the moment when they did."""
    return dict(
        await tx.rows(
            "select agent_id, changed_at from agent_presence where status = 'offline' and changed_at <= %(before)s "
            "order by agent_id",
            before=before,
        )
    )
