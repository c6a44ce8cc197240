"""The verbs for our own people: who may enter, and how they prove it.

A session's token is `<workspace>.<secret>`; only its digest is stored. Passwords are stored as argon2id hashes.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.kit.errors import Conflict, Gone, NotFound, ZhibanError
from zhiban.people.models import Role

T = TypeVar("T")

SESSION_LIFE = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=10)
SETUP_LIFE = timedelta(days=2)
SHORTEST_PASSWORD = 10
PATIENCE = timedelta(minutes=10)
FAILURES = 8  # per address or account within that time
_AT_ONCE = asyncio.Semaphore(2)  # a hash costs 64 MiB and a core


class WrongPassword(ZhibanError):
    """Account and password do not belong together; which of them is wrong is not told."""


class TooManyAttempts(ZhibanError):
    """Somebody guesses."""


class SetupLinkSpent(Gone):
    """The link was used, is too old, or never existed."""


@dataclass(frozen=True, slots=True)
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


class LoginThrottle:
    """Counts failed sign-ins of this process and lets nobody guess on."""

    def __init__(self, *, most: int = FAILURES, within: timedelta = PATIENCE) -> None:
        self._most = most
        self._within = within
        self._failures: OrderedDict[str, list[datetime]] = OrderedDict()

    def check(self, *names: str, now: datetime) -> None:
        """Raises TooManyAttempts."""
        for name in names:
            recent = [at for at in self._failures.get(name, ()) if now - at < self._within]
            if len(recent) >= self._most:
                raise TooManyAttempts("Too many attempts. Wait ten minutes, then try again.")

    def failed(self, *names: str, now: datetime) -> None:
        for name in names:
            recent = [at for at in self._failures.pop(name, []) if now - at < self._within]
            self._failures[name] = [*recent, now]
        while len(self._failures) > 10_000:
            self._failures.popitem(last=False)

    def succeeded(self, *names: str) -> None:
        for name in names:
            self._failures.pop(name, None)


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    """Verified against when there is no such account, so that the answer takes as long."""
    return _hasher().hash(secrets.token_hex(16))


async def _slowly(job: Callable[[], T]) -> T:
    async with _AT_ONCE:
        return await asyncio.to_thread(job)


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


async def hash_password(password: str) -> str:
    """Takes some 50 ms on a thread of its own. Raises Conflict when the password is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise Conflict(f"The password needs at least {SHORTEST_PASSWORD} characters.")
    return await _slowly(lambda: _hasher().hash(password))


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def new_token(workspace_id: int) -> str:
    return f"{workspace_id}.{secrets.token_urlsafe(32)}"


def workspace_of(token: str) -> int:
    """The workspace a token claims to belong to; NOBODY when it is no token of ours."""
    workspace, _, secret = token.partition(".")
    return (
        int(workspace)
        if secret and workspace.isascii() and workspace.isdecimal() and len(workspace) < 19
        else NO_WORKSPACE
    )


async def add_agent(
    tx: Transaction, *, email: str, name: str, role: Role, password_hash: str | None, locale: str = "zh"
) -> int:
    """A new colleague. Raises Conflict when the address belongs to somebody already."""
    address = email.strip().lower()
    if "@" not in address or not name.strip():
        raise Conflict("An agent needs a name and an e-mail address.")
    taken = await tx.run(
        "insert into directory (kind, key, workspace_id) values ('agent', %(email)s, %(workspace)s) "
        "on conflict (kind, key) do nothing",
        email=address,
        workspace=tx.workspace_id,
    )
    if not taken:
        raise Conflict("This e-mail address is in use.")
    id_ = await tx.value(
        "insert into agent (workspace_id, email, name, role, password_hash, locale) values "
        "(%(workspace)s, %(email)s, %(name)s, %(role)s, %(hash)s, %(locale)s) returning id",
        workspace=tx.workspace_id,
        email=address,
        name=name.strip(),
        role=role,
        hash=password_hash,
        locale=locale,
    )
    return int(id_)


async def sign_in(database: Database, *, email: str, password: str, now: datetime, hint: str = "") -> str:
    """A new session's token. Raises WrongPassword."""
    address = email.strip().lower()
    async with database.page_transaction(NO_WORKSPACE) as tx:
        workspace_id = await tx.value(
            "select workspace_id from directory where kind = 'agent' and key = %(email)s", email=address
        )
    found = None
    if workspace_id is not None:
        async with database.page_transaction(workspace_id) as tx:
            found = await tx.row(
                "select id, password_hash from agent where email = %(email)s and disabled_at is null", email=address
            )
    agent_id, stored = found or (None, None)
    known = stored or _nobodys_hash()
    right = await _slowly(lambda: _verify(known, password))
    if not right or agent_id is None or not stored or workspace_id is None:
        raise WrongPassword("E-mail address and password do not match.")
    async with database.page_transaction(workspace_id) as tx:
        return await open_session(tx, agent_id=agent_id, now=now, hint=hint)


async def open_session(tx: Transaction, *, agent_id: int, now: datetime, hint: str = "") -> str:
    """Sign an agent in without a password. Returns the token for the cookie."""
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
select a.workspace_id, a.id, a.email, a.name, a.role, a.locale, a.theme, w.name as workspace
from agent_session s join agent a on a.id = s.agent_id join workspace w on w.workspace_id = a.workspace_id
where s.digest = %(digest)s and s.expires_at > %(now)s and a.disabled_at is null"""


async def signed_in_agent(database: Database, token: str, *, now: datetime) -> SignedInAgent | None:
    """Who holds this session; None when nobody does any more."""
    workspace_id = workspace_of(token)
    if workspace_id == NO_WORKSPACE:
        return None
    async with database.page_transaction(workspace_id) as tx:
        agent = await tx.object(SignedInAgent, _SIGNED_IN, digest=digest(token), now=now)
        if agent is not None:
            await tx.run(
                "update agent_session set seen_at = %(now)s, expires_at = %(until)s "
                "where digest = %(digest)s and seen_at < %(now)s - %(every)s",
                now=now,
                until=now + SESSION_LIFE,
                digest=digest(token),
                every=SEEN_EVERY,
            )
    return agent


async def sign_out(tx: Transaction, token: str) -> None:
    await tx.run("delete from agent_session where digest = %(digest)s", digest=digest(token))


async def set_looks(tx: Transaction, agent_id: int, *, locale: str | None, theme: str | None) -> None:
    """Language and look of the desk for one agent."""
    await tx.run(
        "update agent set locale = coalesce(%(locale)s, locale), theme = coalesce(%(theme)s, theme) where id = %(id)s",
        locale=locale,
        theme=theme,
        id=agent_id,
    )


# ------------------------------------------------------------------------------------------- the first owner


async def has_owner(tx: Transaction) -> bool:
    return bool(await tx.value("select 1 from agent where role = 'owner' and disabled_at is null limit 1"))


async def new_setup_link(tx: Transaction, *, now: datetime) -> str:
    """A token for /setup/<token>. Earlier links of this workspace become void."""
    token = new_token(tx.workspace_id)
    await tx.run("delete from setup_link where used_at is null and agent_id is null")
    await tx.run(
        "insert into setup_link (workspace_id, digest, created_at, expires_at) "
        "values (%(workspace)s, %(digest)s, %(now)s, %(until)s)",
        workspace=tx.workspace_id,
        digest=digest(token),
        now=now,
        until=now + SETUP_LIFE,
    )
    return token


async def check_setup_link(tx: Transaction, token: str, *, now: datetime) -> str:
    """The name of the workspace. Raises SetupLinkSpent."""
    found: str | None = await tx.value(
        "select w.name from setup_link s join workspace w on w.workspace_id = s.workspace_id "
        "where s.digest = %(digest)s and s.agent_id is null and s.used_at is null and s.expires_at > %(now)s",
        digest=digest(token),
        now=now,
    )
    if found is None:
        raise SetupLinkSpent("This link was used or is too old. A restart of the server prints a new one.")
    return found


async def set_up(
    tx: Transaction,
    token: str,
    *,
    workspace: str,
    name: str,
    email: str,
    password_hash: str,
    locale: str,
    now: datetime,
) -> int:
    """Create the owner and name the workspace, once. Raises SetupLinkSpent, Conflict."""
    spent = await tx.run(
        "update setup_link set used_at = %(now)s "
        "where digest = %(digest)s and agent_id is null and used_at is null and expires_at > %(now)s",
        digest=digest(token),
        now=now,
    )
    if not spent:
        raise SetupLinkSpent("This link was used or is too old. A restart of the server prints a new one.")
    if not workspace.strip():
        raise Conflict("The workspace needs a name.")
    await tx.run(
        "update workspace set name = %(name)s, locale = %(locale)s where workspace_id = %(workspace)s",
        name=workspace.strip()[:80],
        locale=locale,
        workspace=tx.workspace_id,
    )
    return await add_agent(tx, email=email, name=name, role=Role.OWNER, password_hash=password_hash, locale=locale)


async def access_agent(tx: Transaction, agent_id: int) -> str:
    """The name of a colleague who may be given work. Raises NotFound."""
    name: str | None = await tx.value("select name from agent where id = %(id)s and disabled_at is null", id=agent_id)
    if name is None:
        raise NotFound("There is no such agent.")
    return name
