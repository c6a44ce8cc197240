"""Contacts and members of ours who added each other at the vendor, kept with their source and from both sides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol, assert_never, cast

from zhiban.channels.connections import OpenConnection
from zhiban.events import SYSTEM, Actor, ContactFollowed, ContactFollowEdited, ContactUnfollowed
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.people.contacts import contact_name, ensure_contacts, learn_profiles
from zhiban.ports import (
    ContactFollow,
    ContactFollowChange,
    ContactFollowChanged,
    ManagesExternalContacts,
    Profile,
    Vendor,
)

_UPSERT = """
insert into contact_follow (workspace_id, connection_id, contact_id, external_id, member, source, state, added_at,
  seen_at)
values (%(workspace)s, %(connection)s, %(contact)s, %(external)s, %(member)s, %(source)s, %(state)s, %(at)s, %(now)s)
on conflict (workspace_id, connection_id, external_id, member) do update set
  state = case when excluded.state = 'half_added' and contact_follow.state = 'added' then contact_follow.state
    else excluded.state end,
  source = coalesce(excluded.source, contact_follow.source), seen_at = excluded.seen_at, removed_at = null,
  added_at = coalesce(contact_follow.added_at, excluded.added_at)
returning id"""

_END = """
update contact_follow set state = %(state)s, removed_at = %(at)s, seen_at = %(now)s
where connection_id = %(connection)s and external_id = %(external)s and member = %(member)s returning contact_id"""

_SEEN = """
insert into contact_follow (workspace_id, connection_id, contact_id, external_id, member, source, remark, state,
  added_at, seen_at)
values (%(workspace)s, %(connection)s, %(contact)s, %(external)s, %(member)s, %(source)s, %(remark)s, 'added',
  %(added)s, %(now)s)
on conflict (workspace_id, connection_id, external_id, member) do update set seen_at = %(now)s,
  removed_at = null, state = 'added', remark = excluded.remark,
  source = coalesce(contact_follow.source, excluded.source)"""


@frozen_dataclass
class StoredFollow:
    """One of them, with the name we know the contact by."""

    connection_id: int
    contact_id: int
    member: str
    external_id: str
    source: str | None
    name: str = ""


class ContactVendor(Vendor, ManagesExternalContacts, Protocol):
    """A vendor that knows the contacts of our members."""


def _vendor(connection: OpenConnection) -> ContactVendor:
    if not isinstance(connection.vendor, ManagesExternalContacts):
        raise TypeError(f"{connection.vendor_name} knows no contacts of members.")
    return cast("ContactVendor", connection.vendor)


def _namespace(connection: OpenConnection) -> tuple[str, str]:
    vendor = _vendor(connection)
    return vendor.namespace(vendor.contact_kind)


async def changed(tx: Transaction, connection: OpenConnection, item: ContactFollowChanged, *, now: datetime) -> None:
    """Store the change; what must be said or marked at the vendor is done by the jobs of its event."""
    match item.change:
        case ContactFollowChange.ADDED | ContactFollowChange.HALF_ADDED:
            await _added(tx, connection, item, now=now)
        case (
            ContactFollowChange.REMOVED_BY_US
            | ContactFollowChange.REMOVED_BY_CONTACT
            | ContactFollowChange.TRANSFER_FAILED
        ):
            await _ended(tx, connection, item, now=now)
        case ContactFollowChange.EDITED:
            contact_id = await tx.value(
                "select contact_id from contact_follow where connection_id = %(connection)s "
                "and external_id = %(external)s and member = %(member)s",
                connection=connection.id,
                external=item.contact,
                member=item.member,
            )
            await event_log.append(
                tx,
                ContactFollowEdited(
                    actor=Actor("servicer", ref=item.member),
                    at=item.happened_at,
                    contact_id=contact_id,
                    connection_id=connection.id,
                    external_id=item.contact,
                    member=item.member,
                ),
            )
        case never:
            assert_never(never)


async def _added(tx: Transaction, connection: OpenConnection, item: ContactFollowChanged, *, now: datetime) -> None:
    contact_id, follow_id = await _keep(tx, connection, item, state=item.change, now=now)
    vendor = _vendor(connection)
    expires = item.happened_at + timedelta(seconds=vendor.contact_welcome_seconds)
    welcome = item.welcome_code if item.welcome_code and now < expires else None
    await event_log.append(
        tx,
        ContactFollowed(
            actor=Actor("contact", contact_id, item.contact),
            at=item.happened_at,
            contact_id=contact_id,
            follow_id=follow_id,
            state=item.change,
            member=item.member,
            source=item.state,
            welcome_code=welcome,
            welcome_until=expires if welcome else None,
        ),
    )


async def _keep(
    tx: Transaction,
    connection: OpenConnection,
    item: ContactFollowChanged,
    *,
    state: ContactFollowChange,
    now: datetime,
) -> tuple[int, int]:
    """The contact and the row of the two, made when they are new."""
    kind, account = _namespace(connection)
    contacts = await ensure_contacts(tx, kind, account, [item.contact], now=now)
    contact_id = contacts[item.contact].id
    follow_id = await tx.value(
        _UPSERT,
        workspace=tx.workspace_id,
        connection=connection.id,
        contact=contact_id,
        external=item.contact,
        member=item.member,
        source=clean(item.state)[:200] if item.state else None,
        state=state,
        at=item.happened_at,
        now=now,
    )
    return contact_id, int(follow_id)


async def _ended(tx: Transaction, connection: OpenConnection, item: ContactFollowChanged, *, now: datetime) -> None:
    contact_id = await _mark_ended(tx, connection, item, now=now)
    if contact_id is None and item.change is not ContactFollowChange.TRANSFER_FAILED:
        # The end arrived before the beginning: keep both, so that the beginning cannot revive it unseen.
        await _keep(tx, connection, item, state=ContactFollowChange.ADDED, now=now)
        contact_id = await _mark_ended(tx, connection, item, now=now)
    await event_log.append(
        tx,
        ContactUnfollowed(
            actor=SYSTEM,
            at=item.happened_at,
            contact_id=contact_id,
            state=item.change,
            member=item.member,
            reason=item.reason,
        ),
    )


async def _mark_ended(
    tx: Transaction, connection: OpenConnection, item: ContactFollowChanged, *, now: datetime
) -> int | None:
    """The contact, or None when we do not know the two."""
    contact_id: int | None = await tx.value(
        _END,
        state=item.change,
        at=item.happened_at,
        now=now,
        connection=connection.id,
        external=item.contact,
        member=item.member,
    )
    return contact_id


async def read(tx: Transaction, follow_id: int) -> StoredFollow | None:
    """One of them by id."""
    row = await tx.row(
        "select connection_id, contact_id, member, external_id, source from contact_follow where id = %(id)s",
        id=follow_id,
    )
    if row is None:
        return None
    connection_id, contact_id, member, external_id, source = row
    name = await contact_name(tx, contact_id)
    return StoredFollow(connection_id, contact_id, member, external_id, source, name)


async def set_tags(tx: Transaction, follow_id: int, tags: list[str]) -> None:
    """The tags that we set at the vendor."""
    await tx.run(
        "update contact_follow set tags = to_jsonb(%(tags)s::text[]) where id = %(id)s", id=follow_id, tags=tags
    )


async def keep_seen(tx: Transaction, connection: OpenConnection, seen: ContactFollow, *, now: datetime) -> None:
    """What the vendor lists now, whatever we knew."""
    kind, account = _namespace(connection)
    contacts = await ensure_contacts(tx, kind, account, [seen.contact], now=now)
    await learn_profiles(tx, kind, account, [Profile(seen.contact, seen.name)], now=now)
    await tx.run(
        _SEEN,
        workspace=tx.workspace_id,
        connection=connection.id,
        contact=contacts[seen.contact].id,
        external=seen.contact,
        member=seen.member,
        source=seen.source,
        remark=seen.remark,
        added=seen.added_at,
        now=now,
    )


async def end_unseen(tx: Transaction, connection_id: int, *, before: datetime, now: datetime) -> None:
    """Those that the vendor did not list in a reading that began at `before` are over."""
    await tx.run(
        "update contact_follow set state = 'ended', removed_at = %(now)s where connection_id = %(connection)s "
        "and removed_at is null and state <> 'half_added' and seen_at < %(before)s",
        now=now,
        connection=connection_id,
        before=before,
    )
