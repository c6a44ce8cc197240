"""The verbs about teams: agents who share work. A conversation may belong to a team besides its assignee.

A team may have business hours of its own, kept as they are written in a policy; else those of each inbox hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from zhiban.events import SYSTEM, Actor, TeamChanged, TeamCreated, TeamRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean

LONGEST = 40  # characters of a name


@frozen_dataclass
class TeamRow:
    """A team with the ids of its members, disabled agents left out. `hours` None: those of the inbox."""

    id: int
    name: str
    members: list[int]
    hours: dict[str, Any] | None = None


_TEAMS = """
select t.id, t.name, t.hours, array(
  select m.agent_id from team_member m
  join agent a on a.workspace_id = m.workspace_id and a.id = m.agent_id
  where m.workspace_id = t.workspace_id and m.team_id = t.id and a.disabled_at is null order by a.name, a.id) as members
from team t where t.removed_at is null"""


async def team_rows(tx: Transaction) -> list[TeamRow]:
    """Every team, by name."""
    return await tx.objects(TeamRow, _TEAMS + " order by t.name, t.id limit 200")


async def team_row(tx: Transaction, team_id: int) -> TeamRow:
    """Raises NotFound."""
    found = await tx.object(TeamRow, _TEAMS + " and t.id = %(id)s", id=team_id)
    if found is None:
        raise NotFound("There is no such team.")
    return found


async def team_called(tx: Transaction, name: str) -> TeamRow:
    """The team of this name or number. Raises NotFound."""
    found = next((row for row in await team_rows(tx) if name.strip() in (row.name, str(row.id))), None)
    if found is None:
        raise NotFound(f"There is no team called {name}; zhiban team list shows them all.")
    return found


async def create(
    tx: Transaction, *, name: str, members: Collection[int] = (), by: Actor = SYSTEM, now: datetime
) -> int:
    """A new team. Raises Conflict where the name is empty or taken, NotFound where a member does not exist."""
    called = _name(name)
    team_id: int | None = await tx.value(
        "insert into team (workspace_id, name, created_at) values (%(workspace)s, %(name)s, %(now)s) "
        "on conflict (workspace_id, name) where removed_at is null do nothing returning id",
        workspace=tx.workspace_id,
        name=called,
        now=now,
    )
    if team_id is None:
        raise Conflict("There is a team of this name already.")
    await _set_members(tx, team_id, members)
    members_now = tuple((await team_row(tx, team_id)).members)
    await event_log.append(tx, TeamCreated(actor=by, at=now, team_id=team_id, name=called, members=members_now))
    return team_id


async def change(
    tx: Transaction,
    team_id: int,
    *,
    name: str | None = None,
    members: Collection[int] | None = None,
    by: Actor = SYSTEM,
    now: datetime,
) -> None:
    """Change what is given. Raises NotFound, and Conflict where the name is empty or taken."""
    before = await _locked(tx, team_id)
    if name is not None and (called := _name(name)) != before.name:
        taken = await tx.value(
            "select 1 from team where name = %(name)s and id <> %(id)s and removed_at is null", name=called, id=team_id
        )
        if taken:
            raise Conflict("There is a team of this name already.")
        await tx.run("update team set name = %(name)s where id = %(id)s", name=called, id=team_id)
    if members is not None:
        await _set_members(tx, team_id, members)
    after = await team_row(tx, team_id)
    was: dict[str, object] = {"name": before.name, "members": before.members}
    became: dict[str, object] = {"name": after.name, "members": after.members}
    changed = [key for key in was if was[key] != became[key]]
    if changed:
        fact = TeamChanged(
            actor=by,
            at=now,
            team_id=team_id,
            before={key: was[key] for key in changed},
            after={key: became[key] for key in changed},
        )
        await event_log.append(tx, fact)


async def set_hours(
    tx: Transaction, team_id: int, hours: Mapping[str, Any] | None, *, by: Actor = SYSTEM, now: datetime
) -> None:
    """Give the team business hours of its own, or None: those of each inbox. Raises NotFound."""
    before = await _locked(tx, team_id)
    after = None if hours is None else dict(hours)
    if after == before.hours:
        return
    await tx.run(
        "update team set hours = %(hours)s::jsonb where id = %(id)s",
        hours=None if after is None else json_safe(after),
        id=team_id,
    )
    was: dict[str, object] = {"hours": before.hours}
    became: dict[str, object] = {"hours": after}
    await event_log.append(tx, TeamChanged(actor=by, at=now, team_id=team_id, before=was, after=became))


async def team_hours(tx: Transaction, team_id: int | None) -> dict[str, Any] | None:
    """The business hours of a team, None where it has none of its own, or where there is no team."""
    found: dict[str, Any] | None = (
        None if team_id is None else await tx.value("select hours from team where id = %(id)s", id=team_id)
    )
    return found


async def remove(tx: Transaction, team_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Let nobody give it anything any more; its name may be used again. Raises NotFound."""
    row = await _locked(tx, team_id)
    await tx.run("update team set removed_at = %(now)s where id = %(id)s", now=now, id=team_id)
    await tx.run("delete from team_member where team_id = %(id)s", id=team_id)
    await event_log.append(tx, TeamRemoved(actor=by, at=now, team_id=team_id, name=row.name))


async def access_team(tx: Transaction, team_id: int) -> str:
    """The name of a team that may be given work, which stays while this transaction lasts. Raises NotFound."""
    return (await _locked(tx, team_id)).name


async def members_of(tx: Transaction, team_ids: Sequence[int]) -> list[int]:
    """Everybody in one of these teams, each once."""
    return await tx.values(
        "select distinct agent_id from team_member where team_id = any(%(teams)s::bigint[]) order by 1",
        teams=list(team_ids),
    )


async def teams_of(tx: Transaction, agent_id: int) -> tuple[int, ...]:
    """The teams that an agent is in."""
    found = await tx.values(
        "select t.id from team_member m join team t on t.workspace_id = m.workspace_id and t.id = m.team_id "
        "where m.agent_id = %(agent)s and t.removed_at is null order by t.id",
        agent=agent_id,
    )
    return tuple(found)


async def _locked(tx: Transaction, team_id: int) -> TeamRow:
    await tx.run("select 1 from team where id = %(id)s and removed_at is null for update", id=team_id)
    return await team_row(tx, team_id)


async def _set_members(tx: Transaction, team_id: int, members: Collection[int]) -> None:
    """These and those who are disabled, who cannot be chosen, and come back as members when they are enabled."""
    wanted = sorted(set(members))
    known = await tx.values(
        "select id from agent where id = any(%(ids)s::bigint[]) and disabled_at is null", ids=wanted
    )
    if len(known) != len(wanted):
        raise NotFound("There is no such agent.")
    await tx.run(
        "delete from team_member m using agent a where m.team_id = %(team)s and a.workspace_id = m.workspace_id "
        "and a.id = m.agent_id and a.disabled_at is null and m.agent_id <> all(%(ids)s::bigint[])",
        team=team_id,
        ids=wanted,
    )
    await tx.run(
        "insert into team_member (workspace_id, team_id, agent_id) "
        "select %(workspace)s, %(team)s, id from unnest(%(ids)s::bigint[]) as t(id) on conflict do nothing",
        workspace=tx.workspace_id,
        team=team_id,
        ids=wanted,
    )


def _name(text: str) -> str:
    name = " ".join(clean(text).split())
    if not name:
        raise Conflict("A team needs a name.")
    if len(name) > LONGEST:
        raise Conflict(f"A team's name has {LONGEST} characters at most.")
    return name
