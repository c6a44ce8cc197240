"""The verbs about colleagues: who they are, what they may do, and the link by which each chooses a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Gone, NotFound
from zhiban.kit.jobs import later
from zhiban.people.models import Role
from zhiban.people.service import SignedInAgent, add_agent, digest, end_sessions, new_token

JOIN_LIFE = timedelta(hours=24)
# "@all" and "a|b" would send a card to everybody, or to several.
_USERID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", re.ASCII)
INVITED_AS = (Role.AGENT, Role.ADMIN)  # there is one owner, who is created by the first set-up


class JoinLinkSpent(Gone):
    """The link was used, replaced by a newer one, is too old, or its agent is disabled."""


class NotAllowed(Conflict):
    """What was wished for is the business of somebody else."""


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent as the others see them. `joined`: they have chosen a password."""

    id: int
    email: str
    name: str
    role: str
    wecom_userid: str | None
    joined: bool
    seen_at: datetime | None
    disabled_at: datetime | None


_COLLEAGUES = """
select a.id, a.email, a.name, a.role, a.wecom_userid, a.password_hash is not null as joined, a.disabled_at,
  (select max(s.seen_at) from agent_session s where s.workspace_id = a.workspace_id and s.agent_id = a.id) as seen_at
from agent a"""


async def agent_rows(tx: Transaction) -> list[AgentRow]:
    """Everybody, those who are disabled last."""
    order = " order by a.disabled_at is not null, a.role <> 'owner', a.name, a.id limit 500"
    return await tx.objects(AgentRow, _COLLEAGUES + order)


async def agent_row(tx: Transaction, agent_id: int) -> AgentRow:
    """Raises NotFound."""
    found = await tx.object(AgentRow, _COLLEAGUES + " where a.id = %(id)s", id=agent_id)
    if found is None:
        raise NotFound("There is no such agent.")
    return found


async def agent_by_email(tx: Transaction, email: str) -> AgentRow:
    """The colleague with this address. Raises NotFound."""
    address = email.strip().lower()
    found = await tx.object(AgentRow, _COLLEAGUES + " where a.email = %(email)s", email=address)
    if found is None:
        raise NotFound(f"There is no agent with the address {address}; zhiban agent list shows them all.")
    return found


# --------------------------------------------------------------------------------------------- who may do what


def manages(agent: SignedInAgent) -> bool:
    """Whether they may invite colleagues and change them."""
    return agent.role in (Role.OWNER, Role.ADMIN)


def may_change(agent: SignedInAgent, row: AgentRow) -> bool:
    """An admin changes agents and themselves: whoever makes a link for an account could use it as well.

    So nobody gets at the account of an equal or of somebody above them.
    """
    return agent.role == Role.OWNER or (agent.role == Role.ADMIN and (row.role == Role.AGENT or row.id == agent.id))


async def to_change(tx: Transaction, agent: SignedInAgent, agent_id: int) -> AgentRow:
    """The colleague whom `member` wants to change. Raises NotFound, NotAllowed."""
    check_manages(agent)
    row = await agent_row(tx, agent_id)
    if not may_change(agent, row):
        raise NotAllowed("Only the owner may change the accounts of the owner and of admins.")
    return row


def check_manages(agent: SignedInAgent) -> None:
    """Raises NotAllowed."""
    if not manages(agent):
        raise NotAllowed("Only the owner and admins may do that.")


# ------------------------------------------------------------------------------------------------------- changes


async def invite(
    tx: Transaction,
    *,
    email: str,
    name: str,
    role: Role = Role.AGENT,
    wecom_userid: str | None = None,
    locale: str = "zh",
    now: datetime,
) -> tuple[int, str]:
    """A new colleague, and the token of their link /join/<token>. Raises Conflict."""
    if role not in INVITED_AS:
        raise NotAllowed("A workspace has one owner; invite an agent or an admin.")
    agent_id = await add_agent(tx, email=email, name=name[:80], role=role, password_hash=None, locale=locale)
    if wecom_userid:
        await change(tx, agent_id, wecom_userid=wecom_userid)
    return agent_id, await new_join_link(tx, agent_id, now=now)


async def change(
    tx: Transaction,
    agent_id: int,
    *,
    name: str | None = None,
    role: Role | None = None,
    wecom_userid: str | None = None,
) -> None:
    """Change what is given; an empty WeCom id takes it away. Raises NotFound, Conflict."""
    row = await agent_row(tx, agent_id)
    if name is not None and not name.strip():
        raise Conflict("An agent needs a name and an e-mail address.")
    if role is not None and role != row.role and (row.role == Role.OWNER or role not in INVITED_AS):
        raise NotAllowed("The owner stays the owner, and there is only one.")
    member = None if wecom_userid is None else wecom_userid.strip()
    if member and not _USERID.fullmatch(member):
        raise Conflict("A WeCom id has letters, digits and . _ - @ only, and begins with a letter or a digit.")
    if member and await _taken(tx, agent_id, member):
        raise Conflict(f"Another agent has the WeCom id {member} already.")
    await tx.run(
        "update agent set name = coalesce(%(name)s, name), role = coalesce(%(role)s, role), "
        "wecom_userid = case when %(given)s::boolean then %(member)s else wecom_userid end where id = %(id)s",
        id=agent_id,
        name=name.strip()[:80] if name else None,
        role=str(role) if role else None,
        given=member is not None,
        member=member[:64] if member else None,
    )


async def _taken(tx: Transaction, agent_id: int, wecom_userid: str) -> bool:
    """A card that is tapped must lead to one agent. WeCom does not tell capital letters from small ones."""
    return bool(
        await tx.value(
            "select 1 from agent where lower(wecom_userid) = lower(%(member)s) and id <> %(id)s limit 1",
            member=wecom_userid,
            id=agent_id,
        )
    )


async def disable(tx: Transaction, agent_id: int, *, now: datetime) -> None:
    """Sign them out everywhere and let nobody give them work; what they had waits for the others.

    Raises NotFound, NotAllowed.
    """
    row = await agent_row(tx, agent_id)
    if row.role == Role.OWNER:
        raise NotAllowed("The owner cannot be disabled: nobody could let them in again.")
    if row.disabled_at is not None:
        return
    await tx.run("update agent set disabled_at = %(now)s where id = %(id)s", now=now, id=agent_id)
    await end_sessions(tx, agent_id)
    await tx.run("delete from setup_link where agent_id = %(id)s and used_at is null", id=agent_id)
    await later(tx, "release_conversations", agent_id=agent_id)


async def enable(tx: Transaction, agent_id: int) -> None:
    """Let them in again, with the password they had. Raises NotFound."""
    await agent_row(tx, agent_id)
    await tx.run("update agent set disabled_at = null where id = %(id)s", id=agent_id)


# --------------------------------------------------------------------------------------------- choosing a password


async def new_join_link(tx: Transaction, agent_id: int, *, now: datetime) -> str:
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
    return token


@dataclass(frozen=True, slots=True)
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
    return agent_id
