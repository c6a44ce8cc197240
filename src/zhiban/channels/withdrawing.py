"""Taking inboxes and connections out of use, for a while or for good, and into use again."""

from __future__ import annotations

from datetime import datetime

from zhiban.channels.connections import CALLBACK, ensure_inbox
from zhiban.channels.credentials import place_of_secrets
from zhiban.channels.gateways import release_accounts
from zhiban.channels.topics import CONFIG
from zhiban.events import SYSTEM, Actor, ConnectionRemoved, InboxPaused, InboxRemoved, InboxResumed
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.vault import Vault


@frozen_dataclass
class _StoredInbox:
    connection_id: int
    removed_at: datetime | None


async def pause(tx: Transaction, inbox_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Go on receiving, and let people answer; the assistant, welcomes and closing texts are silent.

    Raises NotFound, Conflict.
    """
    if (await _inbox(tx, inbox_id)).removed_at is not None:
        raise Conflict("The inbox was removed.")
    if await tx.run(
        "update inbox set paused_at = %(now)s where id = %(id)s and paused_at is null", now=now, id=inbox_id
    ):
        await event_log.append(tx, InboxPaused(actor=by, at=now, inbox_id=inbox_id))
    tx.publish_after_commit(CONFIG, inbox_id)


async def resume(tx: Transaction, inbox_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Let the assistant answer again. Raises NotFound."""
    await _inbox(tx, inbox_id)
    if await tx.run("update inbox set paused_at = null where id = %(id)s and paused_at is not null", id=inbox_id):
        await event_log.append(tx, InboxResumed(actor=by, at=now, inbox_id=inbox_id))
    tx.publish_after_commit(CONFIG, inbox_id)


async def remove(tx: Transaction, vault: Vault, inbox_id: int, *, by: Actor = SYSTEM, now: datetime) -> bool:
    """Take an inbox out of use: nothing is received or sent any more, everything that was said stays.

    With the last inbox of a connection its credentials are forgotten and its address leads nowhere. Returns whether
    they were. Raises NotFound.
    """
    inbox = await _inbox(tx, inbox_id)
    connection_id = inbox.connection_id
    if inbox.removed_at is None:
        await tx.run(
            "update inbox set removed_at = %(now)s, archived_at = coalesce(archived_at, %(now)s), paused_at = null, "
            "broken = null, broken_at = null where id = %(id)s",
            now=now,
            id=inbox_id,
        )
        await event_log.append(tx, InboxRemoved(actor=by, at=now, inbox_id=inbox_id))
    tx.publish_after_commit(CONFIG, inbox_id)
    left = await tx.value(
        "select count(*) from inbox where connection_id = %(id)s and removed_at is null", id=connection_id
    )
    if left:
        return False
    await _forget(tx, vault, connection_id, by=by, now=now)
    return True


async def restore(tx: Transaction, inbox_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Take a removed inbox into use again. Raises NotFound, Conflict (its connection was removed, too)."""
    row = await tx.row(
        "select i.connection_id, i.kind, i.external_id, i.name, c.removed_at from inbox i "
        "join connection c on c.workspace_id = i.workspace_id and c.id = i.connection_id where i.id = %(id)s",
        id=inbox_id,
    )
    if row is None:
        raise NotFound("There is no such inbox.")
    connection_id, kind, external_id, name, removed_at = row
    if removed_at is not None:
        raise Conflict("The connection was removed: connect it again first.")
    await ensure_inbox(tx, connection_id, kind, external_id, name, own=True, wanted=True, by=by, now=now)
    tx.publish_after_commit(CONFIG, inbox_id)


async def disconnect(tx: Transaction, vault: Vault, connection_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Take a connection and all its inboxes out of use, and forget its credentials. Raises NotFound."""
    row = await tx.row("select removed_at from connection where id = %(id)s for update", id=connection_id)
    if row is None:
        raise NotFound("There is no such connection.")
    inbox_ids = await tx.values(
        "select id from inbox where connection_id = %(id)s and removed_at is null order by id", id=connection_id
    )
    for inbox_id in inbox_ids:
        await remove(tx, vault, inbox_id, by=by, now=now)
    if not inbox_ids and row == (None,):
        await _forget(tx, vault, connection_id, by=by, now=now)


async def _forget(tx: Transaction, vault: Vault, connection_id: int, *, by: Actor, now: datetime) -> None:
    """Let the credentials go, the address lead nowhere, and nobody wait for what arrived."""
    public_id = await tx.value("select public_id from connection where id = %(id)s", id=connection_id)
    await tx.run(
        "update connection set secrets = %(nothing)s, token = null, token_expires_at = null, broken = null, "
        "broken_at = null, verified_at = null, paused_at = null, removed_at = %(now)s, "
        "updated_at = %(now)s where id = %(id)s",
        nothing=vault.seal({}, bound_to=place_of_secrets(tx.workspace_id, public_id)),
        now=now,
        id=connection_id,
    )
    await event_log.append(tx, ConnectionRemoved(actor=by, at=now, connection_id=connection_id))
    await tx.run(
        "delete from directory where workspace_id = %(workspace)s and ref = %(id)s "
        "and (kind = %(kind)s or kind like %(kinds)s)",
        workspace=tx.workspace_id,
        id=connection_id,
        kind=CALLBACK,
        kinds=f"{CALLBACK}/%",
    )
    await release_accounts(tx, connection_id)
    await tx.run(
        "update delivery set state = 'parked', handled_at = %(now)s where connection_id = %(id)s and state = 'pending'",
        now=now,
        id=connection_id,
    )
    tx.publish_after_commit(CONFIG, connection_id)


async def _inbox(tx: Transaction, inbox_id: int) -> _StoredInbox:
    found = await tx.object(
        _StoredInbox, "select connection_id, removed_at from inbox where id = %(id)s for update", id=inbox_id
    )
    if found is None:
        raise NotFound("There is no such inbox.")
    return found
