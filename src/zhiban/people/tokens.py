"""Tokens by which programs use the API: named, limited to scopes and inboxes, revocable. Only digests are stored.

A token is `zhiban_<workspace>_<secret>`. The prefix lets scanners of source code recognise one that leaked; the
workspace says where to look the digest up, as a session's does.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from zhiban.events import SYSTEM, Actor, ApiTokenCreated, ApiTokenRevoked
from zhiban.kit import event_log
from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.kit.errors import Conflict, NotFound, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.agents import known_inboxes
from zhiban.people.permissions import Access, Permission, access_of_program

PREFIX = "zhiban_"
USED_EVERY = timedelta(minutes=5)  # how old `last_used_at` may be
LONGEST_NAME = 60
MOST_TOKENS = 200  # of one workspace, those that were revoked not counted


class Scope(StrEnum):
    """What a token may do. Each endpoint asks for exactly one."""

    KNOWLEDGE_READ = "knowledge:read"
    KNOWLEDGE_WRITE = "knowledge:write"
    REPORTS_READ = "reports:read"
    TICKETS_READ = "tickets:read"
    TICKETS_WRITE = "tickets:write"
    CONVERSATIONS_READ = "conversations:read"
    CONVERSATIONS_WRITE = "conversations:write"


SCOPE_LABELS = {
    Scope.KNOWLEDGE_READ: mark("查知识库、看文章"),
    Scope.KNOWLEDGE_WRITE: mark("写文章、删文章"),
    Scope.REPORTS_READ: mark("看报表"),
    Scope.TICKETS_READ: mark("看工单"),
    Scope.TICKETS_WRITE: mark("开工单、改工单"),
    Scope.CONVERSATIONS_READ: mark("看会话和消息"),
    Scope.CONVERSATIONS_WRITE: mark("回复、备注、分配、解决会话"),
}
# What a scope lets a program do, and whoever is signed in needs for it; those that read need nothing.
SCOPE_PERMISSIONS: Mapping[Scope, Permission] = {
    Scope.KNOWLEDGE_WRITE: Permission.MANAGE_KNOWLEDGE,
    Scope.REPORTS_READ: Permission.SEE_REPORTS,
    Scope.TICKETS_WRITE: Permission.ANSWER,
    Scope.CONVERSATIONS_WRITE: Permission.ANSWER,
}
STATE_LABELS = {"active": mark("有效"), "expired": mark("已过期"), "revoked": mark("已吊销")}
LEAST = (Scope.KNOWLEDGE_READ,)  # what a token may do when nobody says


class InvalidToken(ZhibanError):
    """The token lets nobody in. `reason` is a word for the metrics and the log."""

    reason: ClassVar[str] = "unknown"


class TokenRevoked(InvalidToken):
    """It was good once."""

    reason = "revoked"


class TokenExpired(InvalidToken):
    """It was good until its time was over."""

    reason = "expired"


@frozen_dataclass
class ApiToken:
    """A token as people see it. `created_by` is an agent's name; None: it was made at the terminal.

    `inbox_ids`: what happens in other inboxes does not exist for it; None: every inbox, those to come included.
    """

    workspace_id: int
    id: int
    name: str
    scopes: frozenset[Scope]
    inbox_ids: tuple[int, ...] | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def access(self) -> Access:
        """What whoever has it may see and do."""
        rights = (right for scope, right in SCOPE_PERMISSIONS.items() if scope in self.scopes)
        return access_of_program(rights, self.inbox_ids)

    def state(self, now: datetime) -> str:
        """active, expired or revoked"""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@frozen_dataclass
class _TokenRow:
    workspace_id: int
    id: int
    name: str
    scopes: list[str]
    inbox_ids: list[int] | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def token(self) -> ApiToken:
        # A scope that this version does not know opens nothing.
        known = frozenset(Scope(scope) for scope in self.scopes if scope in frozenset(Scope))
        return ApiToken(
            self.workspace_id,
            self.id,
            self.name,
            known,
            None if self.inbox_ids is None else tuple(self.inbox_ids),
            self.created_by,
            self.created_at,
            self.expires_at,
            self.last_used_at,
            self.revoked_at,
        )


_TOKENS = """
select t.workspace_id, t.id, t.name, t.scopes, t.inbox_ids, a.name as created_by, t.created_at, t.expires_at,
  t.last_used_at, t.revoked_at
from api_token t left join agent a on a.workspace_id = t.workspace_id and a.id = t.created_by
"""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def workspace_of(token: str) -> int:
    """The workspace a token claims to belong to; NO_WORKSPACE when it is no token of ours."""
    workspace, _, secret = token.removeprefix(PREFIX).partition("_")
    ours = token.startswith(PREFIX) and secret and workspace.isascii() and workspace.isdecimal() and len(workspace) < 19
    return int(workspace) if ours else NO_WORKSPACE


async def create(
    tx: Transaction,
    name: str,
    *,
    scopes: Iterable[Scope] = LEAST,
    inbox_ids: Collection[int] | None = None,
    expires_at: datetime | None = None,
    by: int | None = None,
    now: datetime,
) -> tuple[ApiToken, str]:
    """A new token and its text, which is not stored and cannot be shown again. `by` is an agent's id.

    `inbox_ids`: what it sees; None: every inbox. Raises Conflict when the name is taken by a token that was not
    revoked, or when nothing would come of it, NotFound when there is no such inbox.
    """
    called, granted = " ".join(name.split()), sorted(frozenset(scopes))
    if not 0 < len(called) <= LONGEST_NAME:
        raise Conflict(f"A token needs a name of at most {LONGEST_NAME} characters.")
    if not granted:
        raise Conflict("A token needs at least one scope.")
    if expires_at is not None and expires_at <= now:
        raise Conflict("A token must expire in the future.")
    if await tx.value("select count(*) from api_token where revoked_at is null") >= MOST_TOKENS:
        raise Conflict(f"There are {MOST_TOKENS} tokens. Revoke those that nobody uses.")
    seen = None if inbox_ids is None else await known_inboxes(tx, inbox_ids)
    if seen == []:
        raise Conflict("A token needs at least one inbox, or all of them.")
    token = f"{PREFIX}{tx.workspace_id}_{secrets.token_urlsafe(32)}"
    id_ = await tx.value(
        "insert into api_token (workspace_id, name, digest, scopes, inbox_ids, created_by, created_at, expires_at) "
        "values (%(workspace)s, %(name)s, %(digest)s, %(scopes)s, %(inboxes)s, %(by)s, %(now)s, %(expires)s) "
        "on conflict (workspace_id, name) where revoked_at is null do nothing returning id",
        workspace=tx.workspace_id,
        name=called,
        digest=_digest(token),
        scopes=[str(scope) for scope in granted],
        inboxes=seen,
        by=by,
        now=now,
        expires=expires_at,
    )
    if id_ is None:
        raise Conflict(f"There is a token named {called} already. Revoke it first, or choose another name.")
    actor = SYSTEM if by is None else Actor("agent", by)
    granted_words = tuple(str(scope) for scope in granted)
    made = ApiTokenCreated(
        actor=actor,
        at=now,
        token_id=id_,
        name=called,
        scopes=granted_words,
        inbox_ids=None if seen is None else tuple(seen),
    )
    await event_log.append(tx, made)
    return await access_token(tx, id_), token


async def access_token(tx: Transaction, token_id: int) -> ApiToken:
    """A token, in force or not. Raises NotFound."""
    row = await tx.object(_TokenRow, _TOKENS + " where t.id = %(id)s", id=token_id)
    if row is None:
        raise NotFound("There is no such token.")
    return row.token()


async def tokens(tx: Transaction) -> Sequence[ApiToken]:
    """Every token of the workspace, those that were revoked last."""
    rows = await tx.objects(_TokenRow, _TOKENS + " order by t.revoked_at is not null, t.name, t.id")
    return [row.token() for row in rows]


async def revoke(tx: Transaction, name: str, *, by: Actor = SYSTEM, now: datetime) -> ApiToken:
    """Let a token be worth nothing from now on. Raises NotFound when no token in force has this name."""
    token_id = await tx.value(
        "update api_token set revoked_at = %(now)s where name = %(name)s and revoked_at is null returning id",
        name=" ".join(name.split()),
        now=now,
    )
    if token_id is None:
        raise NotFound(f"There is no token named {name} in force; zhiban token list shows them all.")
    called = " ".join(name.split())
    await event_log.append(tx, ApiTokenRevoked(actor=by, at=now, token_id=token_id, name=called))
    return await access_token(tx, token_id)


async def authenticate(database: Database, token: str, *, now: datetime) -> ApiToken:
    """The token behind this text. Raises InvalidToken.

    It is found by its digest, so that how long the answer takes tells nothing about any other token. That a token was
    revoked or expired is told to those who hold it only.
    """
    workspace_id = workspace_of(token)
    if workspace_id == NO_WORKSPACE:
        raise InvalidToken("This is no token of ours.")
    async with database.page_transaction(workspace_id) as tx:
        row = await tx.object(_TokenRow, _TOKENS + " where t.digest = %(digest)s", digest=_digest(token))
        if row is None:
            raise InvalidToken("This is no token of ours.")
        found = row.token()
        match found.state(now):
            case "revoked":
                raise TokenRevoked("This token was revoked.")
            case "expired":
                raise TokenExpired("This token has expired.")
        if found.last_used_at is None or now - found.last_used_at >= USED_EVERY:
            await tx.run("update api_token set last_used_at = %(now)s where id = %(id)s", now=now, id=found.id)
    return found
