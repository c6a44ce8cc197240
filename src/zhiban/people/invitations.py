"""Inviting an agent, and the link by which they choose a password."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from zhiban.events import (
    SYSTEM,
    Actor,
    AgentInvited,
    AgentJoined,
    JoinLinkCreated,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Gone
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.agents import agent_row, change, check_gives, limits
from zhiban.people.models import Role
from zhiban.people.service import add_agent, digest, end_sessions, new_token

JOIN_LIFE = timedelta(hours=24)


class JoinLinkSpent(Gone):
    """The link was used, replaced by a newer one, is too old, or its agent is disabled."""


async def invite(
    tx: Transaction,
    *,
    email: str,
    name: str,
    role: Role = Role.AGENT,
    inbox_ids: Collection[int] | None = None,
    accounts: Mapping[str, str] | None = None,
    locale: str = "zh",
    giver: Role = Role.OWNER,
    by: Actor = SYSTEM,
    now: datetime,
) -> tuple[int, str]:
    """A new colleague, and the token of their link /join/<token>. `giver`: the role of who invites.

    `inbox_ids` None: every inbox; only some roles can be limited. Raises Conflict, NotAllowed, NotFound.
    """
    check_gives(giver, role)
    limited = await limits(tx, role, inbox_ids)
    agent_id = await add_agent(
        tx, email=email, name=name[:80], role=role, password_hash=None, inbox_ids=limited, locale=locale
    )
    invited = AgentInvited(
        actor=by, at=now, agent_id=agent_id, role=str(role), inbox_ids=None if limited is None else tuple(limited)
    )
    await event_log.append(tx, invited)
    await change(tx, agent_id, accounts=accounts or {}, by=by, now=now)
    return agent_id, await new_join_link(tx, agent_id, by=by, now=now)


async def new_join_link(tx: Transaction, agent_id: int, *, by: Actor = SYSTEM, now: datetime) -> str:
    """A token for /join/<token>, by which this agent chooses a password. Their earlier links become void.

    Raises NotFound, Conflict.
    """
    row = await agent_row(tx, agent_id)
    if row.disabled_at is not None:
        raise Conflict("This agent is disabled. Enable them first.")
    await tx.run("delete from setup_link where agent_id = %(id)s and used_at is null", id=agent_id)
    token = new_token(tx.workspace_id)
    await tx.run(
        "insert into setup_link (workspace_id, digest, agent_id, created_at, expires_at) "
        "values (%(workspace)s, %(digest)s, %(agent)s, %(now)s, %(until)s)",
        workspace=tx.workspace_id,
        digest=digest(token),
        agent=agent_id,
        now=now,
        until=now + JOIN_LIFE,
    )
    await event_log.append(tx, JoinLinkCreated(actor=by, at=now, agent_id=agent_id))
    return token


@frozen_dataclass
class Joiner:
    """For whom a link is."""

    name: str
    email: str
    workspace: str


async def check_join_link(tx: Transaction, token: str, *, now: datetime) -> Joiner:
    """Raises JoinLinkSpent."""
    found = await tx.object(
        Joiner,
        "select a.name, a.email, w.name as workspace from setup_link s "
        "join agent a on a.workspace_id = s.workspace_id and a.id = s.agent_id "
        "join workspace w on w.workspace_id = s.workspace_id where s.digest = %(digest)s "
        "and s.used_at is null and s.expires_at > %(now)s and a.disabled_at is null",
        digest=digest(token),
        now=now,
    )
    if found is None:
        raise JoinLinkSpent("This link was used or is too old. Ask the colleague who sent it for a new one.")
    return found


async def join(tx: Transaction, token: str, *, password_hash: str, locale: str, now: datetime) -> int:
    """Set the password, once, and end every session begun with an earlier one. Raises JoinLinkSpent."""
    await check_join_link(tx, token, now=now)
    agent_id: int | None = await tx.value(
        "update setup_link set used_at = %(now)s where digest = %(digest)s and used_at is null returning agent_id",
        now=now,
        digest=digest(token),
    )
    if agent_id is None:  # the same link in another tab was quicker
        raise JoinLinkSpent("This link was used or is too old. Ask the colleague who sent it for a new one.")
    await tx.run(
        "update agent set password_hash = %(hash)s, locale = %(locale)s where id = %(id)s",
        hash=password_hash,
        locale=locale,
        id=agent_id,
    )
    await end_sessions(tx, agent_id)
    await event_log.append(tx, AgentJoined(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))
    return agent_id
