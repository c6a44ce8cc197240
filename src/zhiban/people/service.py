"""The verbs for our own people: who may enter, and how they prove it.

A session's token is `<workspace>.<secret>`; only its digest is stored.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from zhiban.events import SYSTEM, Actor, SignedIn, SignedOut, SignInFailed
from zhiban.kit import event_log
from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.kit.errors import Conflict, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people import presence
from zhiban.people.models import Role
from zhiban.people.passwords import HashQueue
from zhiban.people.permissions import Access, access_of
from zhiban.people.throttle import account_name

SESSIONS = "sessions"  # topic: sessions of this agent ended
SESSION_LIFE = timedelta(days=30)  # without use
SESSION_END = timedelta(days=90)  # whatever its use: then the password is asked again
SEEN_EVERY = timedelta(minutes=10)
CODE_LIFE = timedelta(minutes=10)  # of a session that waits for the second factor
MOST_WORKSPACES = 4  # of one address that are tried; each costs a hash


class WrongPassword(ZhibanError):
    """Account and password do not belong together; which of them is wrong is not told."""


class WorkspaceUnclear(ZhibanError):
    """The password is right in several workspaces; `choices` are their ids and names."""

    def __init__(self, choices: Mapping[int, str]) -> None:
        self.choices = dict(choices)
        super().__init__("This e-mail address belongs to several workspaces. Choose one.")


@frozen_dataclass
class SignedInAgent:
    """An agent who is signed in."""

    workspace_id: int
    id: int
    email: str
    name: str
    role: str
    locale: str
    theme: str
    workspace: str
    inbox_ids: list[int] | None
    seen_at: datetime  # when their session last noted that they were there
    chosen: str = "online"  # see people/presence.py
    must_enrol: bool = False  # everybody needs a second factor here, and they have none yet

    @property
    def access(self) -> Access:
        """What they may see and do."""
        return access_of(self.id, self.role, self.inbox_ids)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def new_token(workspace_id: int) -> str:
    return f"{workspace_id}.{secrets.token_urlsafe(32)}"


def workspace_of(token: str) -> int:
    """The workspace a token claims to belong to; NO_WORKSPACE when it is no token of ours."""
    workspace, _, secret = token.partition(".")
    return (
        int(workspace)
        if secret and workspace.isascii() and workspace.isdecimal() and len(workspace) < 19
        else NO_WORKSPACE
    )


async def add_agent(
    tx: Transaction,
    *,
    email: str,
    name: str,
    role: Role,
    password_hash: str | None,
    inbox_ids: Collection[int] | None = None,
    locale: str = "zh",
) -> int:
    """A new colleague, who sees these inboxes; None: every one.

    Raises Conflict when this workspace has somebody with the address already.
    """
    address = account_name(email)
    if "@" not in address or not name.strip():
        raise Conflict("An agent needs a name and an e-mail address.")
    id_ = await tx.value(
        "insert into agent (workspace_id, email, name, role, password_hash, inbox_ids, locale) values "
        "(%(workspace)s, %(email)s, %(name)s, %(role)s, %(hash)s, %(inboxes)s, %(locale)s) "
        "on conflict (workspace_id, email) do nothing returning id",
        workspace=tx.workspace_id,
        email=address,
        name=name.strip(),
        role=role,
        hash=password_hash,
        inboxes=None if inbox_ids is None else list(inbox_ids),
        locale=locale,
    )
    if id_ is None:
        raise Conflict("This e-mail address is in use.")
    await tx.run(
        "insert into agent_address (workspace_id, digest, agent_id) values (%(workspace)s, %(digest)s, %(id)s)",
        workspace=tx.workspace_id,
        digest=digest(address),
        id=id_,
    )
    return int(id_)


@frozen_dataclass
class NewSession:
    """A session's token for the cookie. `awaits_code`: it signs nobody in before the second factor was given."""

    token: str
    awaits_code: bool


@frozen_dataclass
class _AgentAccount:
    workspace_id: int
    agent_id: int
    password_hash: str | None


async def sign_in(
    database: Database,
    passwords: HashQueue,
    *,
    email: str,
    password: str,
    now: datetime,
    hint: str = "",
    workspace_id: int | None = None,
) -> NewSession:
    """A new session. `workspace_id`: which one is meant, when the address is known in several.

    The caller reserves the attempt with the throttle first. Raises WrongPassword, WorkspaceUnclear, HashQueueFull.
    """
    accounts = await _accounts(database, account_name(email))
    opened = [one for one in accounts if await passwords.matches(password, one.password_hash)]
    if not accounts:
        await passwords.matches(password, None)
    if workspace_id is not None:
        opened = [one for one in opened if one.workspace_id == workspace_id]
    match opened:
        case []:
            await _record_failures(database, accounts, now=now)
            raise WrongPassword("E-mail address and password do not match.")
        case [account]:
            async with database.page_transaction(account.workspace_id) as tx:
                return await session_after_password(tx, agent_id=account.agent_id, now=now, hint=hint)
        case _:
            raise WorkspaceUnclear({one.workspace_id: await _name_of(database, one.workspace_id) for one in opened})


async def _record_failures(database: Database, accounts: Sequence[_AgentAccount], *, now: datetime) -> None:
    """In each workspace where the address is known: whoever looks after it sees that somebody guesses."""
    for one in accounts:
        async with database.page_transaction(one.workspace_id) as tx:
            await event_log.append(tx, SignInFailed(actor=SYSTEM, at=now, agent_id=one.agent_id))


async def _accounts(database: Database, address: str) -> list[_AgentAccount]:
    """The accounts with this address, in all workspaces. Only who knows a whole address finds where it belongs."""
    wanted = digest(address)
    async with database.page_transaction(NO_WORKSPACE) as tx:
        await tx.run("select set_config('app.address', %(digest)s, true)", digest=wanted.hex())
        places = await tx.rows(
            "select workspace_id, agent_id from agent_address where digest = %(digest)s order by 1 limit %(most)s",
            digest=wanted,
            most=MOST_WORKSPACES,
        )
    found: list[_AgentAccount] = []
    for workspace_id, agent_id in places:
        async with database.page_transaction(workspace_id) as tx:
            found += await tx.objects(
                _AgentAccount,
                "select workspace_id, id as agent_id, password_hash from agent "
                "where id = %(id)s and disabled_at is null",
                id=agent_id,
            )
    return found


async def _name_of(database: Database, workspace_id: int) -> str:
    async with database.page_transaction(workspace_id) as tx:
        return str(await tx.value("select name from workspace where workspace_id = %(id)s", id=workspace_id))


async def session_after_password(tx: Transaction, *, agent_id: int, now: datetime, hint: str = "") -> NewSession:
    """Sign an agent in who proved who they are, or wait for their second factor where they have one."""
    if not await tx.value(
        "select 1 from second_factor where agent_id = %(id)s and enrolled_at is not null", id=agent_id
    ):
        return NewSession(await open_session(tx, agent_id=agent_id, now=now, hint=hint), awaits_code=False)
    token = await new_session(tx, agent_id=agent_id, now=now, hint=hint)
    await tx.run(
        "update agent_session set awaits_code = true, expires_at = %(until)s where digest = %(digest)s",
        until=now + CODE_LIFE,
        digest=digest(token),
    )
    return NewSession(token, awaits_code=True)


async def open_session(tx: Transaction, *, agent_id: int, now: datetime, hint: str = "") -> str:
    """Sign an agent in without a password. Returns the token for the cookie."""
    await event_log.append(tx, SignedIn(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))
    return await new_session(tx, agent_id=agent_id, now=now, hint=hint)


async def new_session(tx: Transaction, *, agent_id: int, now: datetime, hint: str = "") -> str:
    """A session that goes on where another one ended. Returns the token for the cookie."""
    token = new_token(tx.workspace_id)
    await tx.run("delete from agent_session where expires_at < %(now)s", now=now)
    await tx.run(
        "insert into agent_session (workspace_id, digest, agent_id, created_at, seen_at, expires_at, agent_hint) "
        "values (%(workspace)s, %(digest)s, %(agent)s, %(now)s, %(now)s, %(until)s, %(hint)s)",
        workspace=tx.workspace_id,
        digest=digest(token),
        agent=agent_id,
        now=now,
        until=now + SESSION_LIFE,
        hint=hint[:200],
    )
    return token


_SIGNED_IN = """
select a.workspace_id, a.id, a.email, a.name, a.role, a.inbox_ids, a.locale, a.theme, w.name as workspace,
  coalesce(p.chosen, 'online') as chosen, w.second_factor_required and not exists (
    select from second_factor f where f.workspace_id = a.workspace_id and f.agent_id = a.id
    and f.enrolled_at is not null) as must_enrol, s.seen_at
from agent_session s join agent a on a.id = s.agent_id join workspace w on w.workspace_id = a.workspace_id
left join agent_presence p on p.workspace_id = a.workspace_id and p.agent_id = a.id
where s.digest = %(digest)s and not s.awaits_code and s.expires_at > %(now)s and a.disabled_at is null"""


async def signed_in_agent(database: Database, token: str, *, now: datetime) -> SignedInAgent | None:
    """Who holds this session; None when nobody does any more."""
    workspace_id = workspace_of(token)
    if workspace_id == NO_WORKSPACE:
        return None
    async with database.page_transaction(workspace_id) as tx:
        agent = await tx.object(SignedInAgent, _SIGNED_IN, digest=digest(token), now=now)
        if agent is not None and now - agent.seen_at > SEEN_EVERY:
            await tx.run(
                "update agent_session set seen_at = %(now)s, expires_at = least(%(until)s, created_at + %(longest)s) "
                "where digest = %(digest)s and seen_at < %(now)s - %(every)s",
                now=now,
                until=now + SESSION_LIFE,
                longest=SESSION_END,
                digest=digest(token),
                every=SEEN_EVERY,
            )
    return agent


async def session_access(database: Database, token: str, *, now: datetime) -> Access | None:
    """What the agent of this session may see now; None when it holds no more. Asking does not prolong it.

    None too where a second factor has to be set up first.
    """
    workspace_id = workspace_of(token)
    if workspace_id == NO_WORKSPACE:
        return None
    async with database.page_transaction(workspace_id) as tx:
        agent = await tx.object(SignedInAgent, _SIGNED_IN, digest=digest(token), now=now)
    return None if agent is None or agent.must_enrol else agent.access


async def beat(database: Database, token: str, *, now: datetime) -> bool:
    """A desk is open in this session, which that does not prolong. False when the session holds no more."""
    workspace_id = workspace_of(token)
    if workspace_id == NO_WORKSPACE:
        return False
    async with database.page_transaction(workspace_id) as tx:
        agent = await tx.object(SignedInAgent, _SIGNED_IN, digest=digest(token), now=now)
        if agent is None or agent.must_enrol:
            return False
        await presence.beat(tx, agent.id, now=now)
    return True


async def sign_out(tx: Transaction, token: str, *, now: datetime) -> None:
    """End this session, and with it every stream that lives by it."""
    agent_id = await tx.value(
        "delete from agent_session where digest = %(digest)s returning agent_id", digest=digest(token)
    )
    if agent_id is not None:
        tx.publish_after_commit(SESSIONS, agent_id)
        await event_log.append(tx, SignedOut(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))
        await leave_without_session(tx, agent_id, now=now)


async def leave_without_session(tx: Transaction, agent_id: int, *, now: datetime) -> None:
    """An agent whose last session ended is offline at once."""
    if not await tx.value(
        "select 1 from agent_session where agent_id = %(id)s and not awaits_code and expires_at > %(now)s limit 1",
        id=agent_id,
        now=now,
    ):
        await presence.leave(tx, agent_id, by=Actor("agent", agent_id), reason="signed_out", now=now)


async def end_sessions(tx: Transaction, agent_id: int, *, but: str = "") -> int:
    """End all sessions of an agent, except the one whose token is given. Returns how many ended."""
    ended = await tx.run(
        "delete from agent_session where agent_id = %(id)s and digest <> %(but)s", id=agent_id, but=digest(but)
    )
    tx.publish_after_commit(SESSIONS, agent_id)
    return ended


async def set_looks(tx: Transaction, agent_id: int, *, locale: str | None, theme: str | None) -> None:
    """Language and look of the desk for one agent."""
    await tx.run(
        "update agent set locale = coalesce(%(locale)s, locale), theme = coalesce(%(theme)s, theme) where id = %(id)s",
        locale=locale,
        theme=theme,
        id=agent_id,
    )
