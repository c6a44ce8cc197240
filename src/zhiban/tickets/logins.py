"""Members of groups who write at a tracker under their own account: bound once, by a code typed in there.

A row is asked for in a chat, gets its code, and becomes bound or ends. Secrets in it are sealed for this row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from zhiban.conversations.participants import participants
from zhiban.events import Actor, MemberLoginBound, MemberLoginEnded
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Locale
from zhiban.kit.vault import SealBroken, Vault
from zhiban.ports import MemberBindingEnded, MemberGrant
from zhiban.tickets.card_replies import Replier

ASKED_SINCE = timedelta(hours=1)
WAITED = timedelta(hours=1)  # for somebody to be bound; longer than any code is good for
MOST_ASKED = 3  # times that a member may ask within that

_COLUMNS = (
    "id, connection_id, contact_id, state, login, sealed, interval_seconds, expires_at, conversation_id, ref, name, "
    "locale, created_at, ended_at, reason"
)

Ending = Literal["unbound", "replaced", "denied", "expired", "revoked", "off"]


@frozen_dataclass
class MemberLogin:
    """One member at one tracker. `expires_at`: of the code while it waits, of the token once it is bound."""

    id: int
    connection_id: int
    contact_id: int
    state: Literal["asked", "waiting", "bound", "ended"]
    login: str
    sealed: bytes | None
    interval_seconds: float
    expires_at: datetime | None
    conversation_id: int
    ref: str
    name: str
    locale: Locale
    created_at: datetime
    ended_at: datetime | None
    reason: str


def place_of(tx: Transaction, login_id: int) -> str:
    """What the secrets of a row are bound to."""
    return f"member_login/{tx.workspace_id}/{login_id}/sealed"


async def ask(tx: Transaction, connection_id: int, member: Replier, *, now: datetime) -> int | None:
    """Somebody wants to be bound; what they asked for before is replaced. Returns the row, None where they ask too
    often."""
    asked = await tx.value(
        "select count(*) from member_login where contact_id = %(contact)s and created_at > %(since)s",
        contact=member.contact_id,
        since=now - ASKED_SINCE,
    )
    if int(asked) >= MOST_ASKED:
        return None
    for row in await _rows(tx, "contact_id = %(c)s and state in ('asked', 'waiting') for update", c=member.contact_id):
        await end(tx, row, "replaced", now=now)
    return int(
        await tx.value(
            "insert into member_login (workspace_id, connection_id, contact_id, conversation_id, ref, name, locale, "
            "created_at) values (%(workspace)s, %(connection)s, %(contact)s, %(conversation)s, %(ref)s, %(name)s, "
            "%(locale)s, %(now)s) returning id",
            workspace=tx.workspace_id,
            connection=connection_id,
            contact=member.contact_id,
            conversation=member.conversation_id,
            ref=member.ref,
            name=member.name,
            locale=member.locale,
            now=now,
        )
    )


async def read_login(tx: Transaction, login_id: int) -> MemberLogin | None:
    """One row, locked until the transaction ends."""
    found = await _rows(tx, "id = %(id)s for update", id=login_id)
    return found[0] if found else None


async def bound(tx: Transaction, connection_id: int, contact_id: int) -> MemberLogin | None:
    """The account under which a member writes there; None: under ours."""
    found = await _rows(
        tx, "connection_id = %(c)s and contact_id = %(m)s and state = 'bound'", c=connection_id, m=contact_id
    )
    return found[0] if found else None


async def same_account(tx: Transaction, login_id: int) -> int:
    """The row under which a member's account is bound now, where it was bound anew; else the same row."""
    again = await tx.value(
        "select n.id from member_login o join member_login n on n.workspace_id = o.workspace_id "
        "and n.connection_id = o.connection_id and n.contact_id = o.contact_id and lower(n.login) = lower(o.login) "
        "and n.state = 'bound' where o.id = %(id)s",
        id=login_id,
    )
    return login_id if again is None else int(again)


async def accounts_of(tx: Transaction, contact_id: int) -> list[MemberLogin]:
    """The accounts under which a member writes, one at a tracker."""
    return await _rows(tx, "contact_id = %(m)s and state = 'bound' order by id", m=contact_id)


async def is_bound(tx: Transaction, contact_id: int, connection_ids: Sequence[int]) -> bool:
    """Whether a member writes under their own account at one of these trackers, or at any where none is named."""
    bound_at = {one.connection_id for one in await accounts_of(tx, contact_id)}
    return bool(bound_at.intersection(connection_ids) if connection_ids else bound_at)


async def stale(tx: Transaction, *, now: datetime) -> list[MemberLogin]:
    """What was asked for so long ago that nothing comes of it any more."""
    return await _rows(tx, "state in ('asked', 'waiting') and created_at <= %(before)s", before=now - WAITED)


async def bound_by_name(tx: Transaction, connection_id: int, conversation_id: int) -> dict[str, str]:
    """The accounts of a group's members, by what the members are called there, in small letters; no name of two."""
    sql = "select contact_id, login from member_login where connection_id = %(c)s and state = 'bound'"
    rows: dict[int, str] = dict(await tx.rows(sql, c=connection_id))
    there = [one for one in await participants(tx, conversation_id) if one.contact_id in rows] if rows else []
    names = [name.casefold() for one in there for name in {one.name, one.nickname} if name]
    return {
        name.casefold(): rows[one.contact_id]
        for one in there
        for name in {one.name, one.nickname}
        if name and names.count(name.casefold()) == 1
    }


async def revoked_since(tx: Transaction, connection_id: int, contact_id: int, moment: datetime) -> bool:
    """Whether the tracker let go of a member's account after a moment."""
    return bool(
        await tx.value(
            "select 1 from member_login where connection_id = %(c)s and contact_id = %(m)s and reason = 'revoked' "
            "and ended_at >= %(moment)s limit 1",
            c=connection_id,
            m=contact_id,
            moment=moment,
        )
    )


async def note_code(
    tx: Transaction,
    row: MemberLogin,
    vault: Vault,
    code: str,
    *,
    connection_id: int,
    interval: float,
    until: datetime,
) -> None:
    """This tracker gave a code, which waits to be typed in."""
    await tx.run(
        "update member_login set state = 'waiting', connection_id = %(connection)s, "
        "sealed = %(sealed)s, interval_seconds = %(interval)s, "
        "expires_at = %(until)s where id = %(id)s and state = 'asked'",
        connection=connection_id,
        sealed=vault.seal({"code": code}, bound_to=place_of(tx, row.id)),
        interval=interval,
        until=until,
        id=row.id,
    )


async def note_interval(tx: Transaction, login_id: int, interval: float) -> None:
    """So long, in seconds, the tracker wants us to wait between two looks."""
    await tx.run("update member_login set interval_seconds = %(s)s where id = %(id)s", s=interval, id=login_id)


async def bind(tx: Transaction, row: MemberLogin, login: str, *, now: datetime) -> None:
    """They typed the code in, and this is who they are. Another account of theirs there is replaced."""
    before = await bound(tx, row.connection_id, row.contact_id)
    if before is not None:
        await end(tx, before, "replaced", now=now)
    await tx.run("update member_login set state = 'bound', login = %(login)s where id = %(id)s", login=login, id=row.id)
    fact = MemberLoginBound(
        actor=Actor("contact", row.contact_id),
        at=now,
        connection_id=row.connection_id,
        contact_id=row.contact_id,
        login=login,
    )
    await event_log.append(tx, fact)


async def keep_grant(tx: Transaction, row: MemberLogin, vault: Vault, grant: MemberGrant, *, now: datetime) -> None:
    """The token to use from now on. Raises MemberBindingEnded where it was ended meanwhile."""
    secrets = {"token": grant.token, "refresh": grant.refresh}
    kept = await tx.run(
        "update member_login set sealed = %(sealed)s, expires_at = %(until)s where id = %(id)s and state <> 'ended'",
        sealed=vault.seal(secrets, bound_to=place_of(tx, row.id)),
        until=now + timedelta(seconds=grant.seconds) if grant.seconds is not None else None,
        id=row.id,
    )
    if not kept:
        raise MemberBindingEnded("revoked")


async def end(tx: Transaction, row: MemberLogin, reason: Ending, *, now: datetime) -> bool:
    """It is over, and its secrets are gone. False where it was already."""
    ended = await tx.run(
        "update member_login set state = 'ended', sealed = null, ended_at = %(now)s, reason = %(reason)s "
        "where id = %(id)s and state <> 'ended'",
        now=now,
        reason=reason,
        id=row.id,
    )
    if ended and row.state == "bound":
        fact = MemberLoginEnded(
            actor=Actor("contact", row.contact_id) if reason in ("unbound", "replaced") else Actor("tracker"),
            at=now,
            connection_id=row.connection_id,
            contact_id=row.contact_id,
            login=row.login,
            reason=reason,
        )
        await event_log.append(tx, fact)
    return bool(ended)


async def end_all(tx: Transaction, connection_id: int, *, now: datetime) -> None:
    """Nobody writes there any more, and no secret for it is kept."""
    for row in await _rows(tx, "connection_id = %(c)s and state <> 'ended' for update", c=connection_id):
        await end(tx, row, "off", now=now)


def secrets_of(tx: Transaction, row: MemberLogin, vault: Vault) -> dict[str, Any]:
    """What is sealed in it. Raises SealBroken."""
    if row.sealed is None:
        raise SealBroken("This account has no secrets any more.")
    return vault.open(row.sealed, bound_to=place_of(tx, row.id))


async def reseal(tx: Transaction, vault: Vault) -> None:
    """Seal all of them with the first key. Raises SealBroken."""
    for row in await _rows(tx, "sealed is not null for update"):
        if row.sealed is not None and not vault.is_current(row.sealed):
            await tx.run(
                "update member_login set sealed = %(sealed)s where id = %(id)s",
                sealed=vault.reseal(row.sealed, bound_to=place_of(tx, row.id)),
                id=row.id,
            )


async def _rows(tx: Transaction, which: str, **params: Any) -> list[MemberLogin]:
    return await tx.objects(MemberLogin, f"select {_COLUMNS} from member_login where {which}", **params)
