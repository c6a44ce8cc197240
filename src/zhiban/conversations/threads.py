"""Finds the conversations of a vendor's threads, and makes those that are new, with their contacts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from zhiban.channels.connections import OpenInbox
from zhiban.conversations.models import Status
from zhiban.events import Actor, ConversationCreated, Event
from zhiban.kit.db import Transaction
from zhiban.kit.jobs import later
from zhiban.people.contacts import ensure_contacts
from zhiban.ports import IncomingMessage


@dataclass(slots=True)
class MatchedConversation:
    """A conversation as this batch found it, and what the batch does to it."""

    id: int
    contact_id: int | None
    status: str
    blocked: bool
    fresh: bool = False  # created by this batch
    messages: list[tuple[int, IncomingMessage]] = field(default_factory=list)


_FIND = """
select c.external_id, c.id, c.contact_id, c.status, p.blocked_at is not null
from conversation c left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id
where c.inbox_id = %(inbox)s and c.external_id = any(%(threads)s::text[]) order by c.id for update of c"""

_CREATE = """
insert into conversation (workspace_id, inbox_id, contact_id, external_id, status, created_at, last_activity_at)
select %(workspace)s, %(inbox)s, contact, thread, %(status)s, %(now)s, %(now)s
from unnest(%(contacts)s::bigint[], %(threads)s::text[]) as t(contact, thread) order by thread
on conflict (workspace_id, inbox_id, external_id) do nothing returning external_id, id, contact_id, status"""

PROFILES_WAIT = timedelta(seconds=2)  # newcomers are looked up together


async def match_or_create(
    tx: Transaction, inbox: OpenInbox, wanted: Iterable[str], *, now: datetime
) -> dict[str, MatchedConversation]:
    """The conversations of these threads, locked in id order; unknown ones are made, with their contacts.

    Whoever calls this records the `created_events`.
    """
    threads = list(dict.fromkeys(wanted))
    conversations_by_thread = await _find(tx, inbox, threads)
    missing = [thread for thread in threads if thread not in conversations_by_thread]
    if missing:
        kind, account = inbox.connection.vendor.namespace(inbox.kind)
        contacts = await ensure_contacts(tx, kind, account, missing, now=now)
        created = await tx.rows(
            _CREATE,
            workspace=tx.workspace_id,
            inbox=inbox.inbox_id,
            status=Status.PENDING if inbox.settings.assistant else Status.OPEN,
            contacts=[contacts[thread] for thread in missing],
            threads=missing,
            now=now,
        )
        for thread, id_, contact_id, status in created:
            conversations_by_thread[thread] = MatchedConversation(id_, contact_id, status, blocked=False, fresh=True)
        if len(created) < len(missing):
            conversations_by_thread |= await _find(
                tx, inbox, [thread for thread in missing if thread not in conversations_by_thread]
            )
        await later(
            tx,
            "fetch_profiles",
            key=f"profiles:{tx.workspace_id}:{inbox.inbox_id}",
            at=now + PROFILES_WAIT,
            inbox_id=inbox.inbox_id,
        )
    return conversations_by_thread


def created_events(
    inbox: OpenInbox, conversations_by_thread: Iterable[MatchedConversation], *, now: datetime
) -> list[Event]:
    """The events of conversations that were made just now."""
    return [
        ConversationCreated(
            actor=Actor("contact", conversation.contact_id),
            at=now,
            conversation_id=conversation.id,
            contact_id=conversation.contact_id,
            inbox_id=inbox.inbox_id,
        )
        for conversation in conversations_by_thread
        if conversation.fresh
    ]


async def _find(tx: Transaction, inbox: OpenInbox, threads: list[str]) -> dict[str, MatchedConversation]:
    rows = await tx.rows(_FIND, inbox=inbox.inbox_id, threads=threads)
    return {
        thread: MatchedConversation(id_, contact_id, status, blocked)
        for thread, id_, contact_id, status, blocked in rows
    }
