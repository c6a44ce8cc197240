"""Contacts who became friends of our members, and what we do then: welcome, tags, remark, source."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from zhiban.channels.connections import OpenConnection
from zhiban.events import SYSTEM, Actor, RelationAdded, RelationEnded
from zhiban.kit import event_log
from zhiban.kit.db import Row, Transaction
from zhiban.kit.jobs import later
from zhiban.kit.text import clean
from zhiban.people.contacts import ensure_contacts
from zhiban.ports import ManagesExternalContacts, RelationChange, RelationChanged

_UPSERT = """
insert into relation (workspace_id, connection_id, contact_id, external_id, member, source, state, added_at, seen_at)
values (%(workspace)s, %(connection)s, %(contact)s, %(external)s, %(member)s, %(source)s, %(state)s, %(at)s, %(now)s)
on conflict (workspace_id, connection_id, external_id, member) do update set
  state = case when excluded.state = 'half_added' and relation.state = 'added' then relation.state
    else excluded.state end,
  source = coalesce(excluded.source, relation.source), seen_at = excluded.seen_at, removed_at = null,
  added_at = coalesce(relation.added_at, excluded.added_at)
returning id"""

_END = """
update relation set state = %(state)s, removed_at = %(at)s, seen_at = %(now)s
where connection_id = %(connection)s and external_id = %(external)s and member = %(member)s returning id, contact_id"""


async def changed(tx: Transaction, connection: OpenConnection, item: RelationChanged, *, now: datetime) -> None:
    """Store the change. What must be said or marked at the vendor becomes a job in the same transaction."""
    match item.change:
        case RelationChange.ADDED | RelationChange.HALF_ADDED:
            await _added(tx, connection, item, now=now)
        case RelationChange.REMOVED_BY_US | RelationChange.REMOVED_BY_CONTACT | RelationChange.TRANSFER_FAILED:
            await _ended(tx, connection, item, now=now)
        case RelationChange.EDITED:
            await later(
                tx,
                "reread_contact",
                key=f"contact:{tx.workspace_id}:{connection.id}:{item.contact}",
                queue="slow",
                connection_id=connection.id,
                contact=item.contact,
            )
        case never:
            assert_never(never)


async def _added(tx: Transaction, connection: OpenConnection, item: RelationChanged, *, now: datetime) -> None:
    vendor = connection.vendor
    if not isinstance(vendor, ManagesExternalContacts):
        raise TypeError("A vendor told of contacts whom it does not tend.")
    kind, account = vendor.namespace(vendor.contact_kind)
    contacts = await ensure_contacts(tx, kind, account, [item.contact], now=now)
    contact_id = contacts[item.contact]
    relation_id = await tx.value(
        _UPSERT,
        workspace=tx.workspace_id,
        connection=connection.id,
        contact=contact_id,
        external=item.contact,
        member=item.member,
        source=clean(item.state)[:200] if item.state else None,
        state=item.change,
        at=item.happened_at,
        now=now,
    )
    await event_log.append(
        tx,
        RelationAdded(
            actor=Actor("contact", contact_id),
            at=item.happened_at,
            cause=item.change,
            contact_id=contact_id,
            after={"member": item.member, "source": item.state},
        ),
    )
    expires = item.happened_at + timedelta(seconds=vendor.contact_welcome_seconds)
    if item.welcome_code and now < expires:
        await later(
            tx, "welcome_relation", relation_id=int(relation_id), code=item.welcome_code, expires=expires.isoformat()
        )
    await later(tx, "mark_relation", key=f"mark:{tx.workspace_id}:{relation_id}", relation_id=int(relation_id))


async def _mark_ended(
    tx: Transaction, connection: OpenConnection, item: RelationChanged, *, now: datetime
) -> Row | None:
    """The relation's id and contact, or None when we do not know the two."""
    return await tx.row(
        _END,
        state=item.change,
        at=item.happened_at,
        now=now,
        connection=connection.id,
        external=item.contact,
        member=item.member,
    )


async def _ended(tx: Transaction, connection: OpenConnection, item: RelationChanged, *, now: datetime) -> None:
    row = await _mark_ended(tx, connection, item, now=now)
    if row is None and item.change is not RelationChange.TRANSFER_FAILED:
        # The end arrived before the beginning: keep both, so that the beginning cannot revive it unseen.
        await _added(tx, connection, _without_code(item), now=now)
        row = await _mark_ended(tx, connection, item, now=now)
    await event_log.append(
        tx,
        RelationEnded(
            actor=SYSTEM,
            at=item.happened_at,
            cause=item.change,
            contact_id=row[1] if row else None,
            after={"member": item.member, "reason": item.reason},
        ),
    )


def _without_code(item: RelationChanged) -> RelationChanged:
    return RelationChanged(
        change=RelationChange.ADDED, contact=item.contact, member=item.member, happened_at=item.happened_at
    )
