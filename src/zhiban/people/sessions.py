"""One's own password and sessions: change it, see where one is signed in, end what one does not know."""

from __future__ import annotations

from datetime import datetime

from zhiban.events import Actor, PasswordChanged, SessionRevoked
from zhiban.kit import event_log
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.passwords import HashQueue
from zhiban.people.service import (
    SESSIONS,
    SignedInAgent,
    WrongPassword,
    digest,
    end_sessions,
    leave_without_session,
    new_session,
)


@frozen_dataclass
class SessionRow:
    """A browser in which an agent is signed in. `id` names it in addresses and opens nothing."""

    id: str
    current: bool
    hint: str
    created_at: datetime
    seen_at: datetime


async def sessions(tx: Transaction, agent_id: int, *, token: str, now: datetime) -> list[SessionRow]:
    """Where this agent is signed in, the session of `token` first, then the most recently seen."""
    return await tx.objects(
        SessionRow,
        "select encode(digest, 'hex') as id, digest = %(own)s as current, agent_hint as hint, created_at, seen_at "
        "from agent_session where agent_id = %(agent)s and not awaits_code and expires_at > %(now)s "
        "order by digest = %(own)s desc, seen_at desc limit 50",
        own=digest(token),
        agent=agent_id,
        now=now,
    )


@frozen_dataclass
class AgentSession:
    """A browser in which some agent of the workspace is signed in."""

    id: str
    agent_id: int
    agent: str
    role: str
    hint: str
    created_at: datetime
    seen_at: datetime


MOST_SESSIONS = 500  # that are listed
_ALL = """
select encode(s.digest, 'hex') as id, a.id as agent_id, a.name as agent, a.role, s.agent_hint as hint, s.created_at,
  s.seen_at from agent_session s join agent a on a.workspace_id = s.workspace_id and a.id = s.agent_id
where not s.awaits_code and s.expires_at > %(now)s"""


async def all_sessions(tx: Transaction, *, now: datetime) -> list[AgentSession]:
    """Where everybody is signed in, the most recently seen first."""
    return await tx.objects(AgentSession, f"{_ALL} order by s.seen_at desc limit %(most)s", now=now, most=MOST_SESSIONS)


async def access_session(tx: Transaction, session_id: str, *, now: datetime) -> AgentSession:
    """Raises NotFound."""
    found = await tx.object(AgentSession, f"{_ALL} and encode(s.digest, 'hex') = %(id)s", now=now, id=session_id)
    if found is None:
        raise NotFound("There is no such session.")
    return found


async def end_session(
    tx: Transaction, agent_id: int, session_id: str, *, by: Actor | None = None, now: datetime
) -> None:
    """End one of this agent's sessions, and its live streams; `by` None: they do it themselves. Raises NotFound."""
    ended = await tx.run(
        "delete from agent_session where agent_id = %(agent)s and encode(digest, 'hex') = %(id)s",
        agent=agent_id,
        id=session_id,
    )
    if not ended:
        raise NotFound("There is no such session.")
    tx.publish_after_commit(SESSIONS, agent_id)
    actor = by or Actor("agent", agent_id)
    await event_log.append(tx, SessionRevoked(actor=actor, at=now, agent_id=agent_id))
    await leave_without_session(tx, agent_id, now=now)


async def end_other_sessions(tx: Transaction, agent_id: int, *, token: str, now: datetime) -> None:
    """End all of this agent's sessions but the one of `token`, and their live streams."""
    if await end_sessions(tx, agent_id, but=token):
        await event_log.append(tx, SessionRevoked(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))


async def check_password(database: Database, passwords: HashQueue, agent: SignedInAgent, password: str) -> str:
    """The stored hash, when this is the password of the agent. Raises WrongPassword, HashQueueFull."""
    async with database.page_transaction(agent.workspace_id) as tx:
        stored: str | None = await tx.value("select password_hash from agent where id = %(id)s", id=agent.id)
    if stored is None or not await passwords.matches(password, stored):
        raise WrongPassword("The current password is not right.")
    return stored


async def change_password(
    database: Database, passwords: HashQueue, agent: SignedInAgent, *, current: str, new: str, hint: str, now: datetime
) -> str:
    """Take a new password, end every session and every open link of this agent. Returns a fresh session's token.

    The caller reserves the attempt with the throttle first. Raises WrongPassword, Conflict (too easy), HashQueueFull.
    """
    stored = await check_password(database, passwords, agent, current)
    hashed = await passwords.hash(new, about=(agent.name, agent.email, agent.workspace))
    async with database.page_transaction(agent.workspace_id) as tx:
        changed = await tx.run(
            "update agent set password_hash = %(new)s where id = %(id)s and password_hash = %(old)s",
            new=hashed,
            id=agent.id,
            old=stored,
        )
        if not changed:  # another browser was quicker
            raise WrongPassword("The current password is not right.")
        await tx.run("delete from setup_link where agent_id = %(id)s and used_at is null", id=agent.id)
        await end_sessions(tx, agent.id)
        await event_log.append(tx, PasswordChanged(actor=Actor("agent", agent.id), at=now, agent_id=agent.id))
        return await new_session(tx, agent_id=agent.id, now=now, hint=hint)
