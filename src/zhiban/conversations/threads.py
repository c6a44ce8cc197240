"""Finds the conversations of a vendor's threads, and makes those that are new, with their contacts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from zhiban.channels.connections import Place
from zhiban.conversations.models import Status
from zhiban.events import Actor, ConversationCreated, Event
from zhiban.kit.db import Work
from zhiban.kit.jobs import later
from zhiban.people.contacts import ensure_contacts
from zhiban.ports import IncomingMessage


@dataclass(slots=True)
class Found:
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


async def find_or_make(work: Work, place: Place, wanted: Iterable[str], *, now: datetime) -> dict[str, Found]:
    """The conversations of these threads, locked in id order; unknown ones are made, with their contacts.

    Whoever calls this records the `beginnings`.
    """
    threads = list(dict.fromkeys(wanted))
    talks = await _find(work, place, threads)
    missing = [thread for thread in threads if thread not in talks]
    if missing:
        kind, account = place.link.vendor.namespace(place.kind)
        contacts = await ensure_contacts(work, kind, account, missing, now=now)
        created = await work.rows(
            _CREATE,
            workspace=work.workspace_id,
            inbox=place.inbox_id,
            status=Status.PENDING if place.manners.assistant else Status.OPEN,
            contacts=[contacts[thread] for thread in missing],
            threads=missing,
            now=now,
        )
        for thread, id_, contact_id, status in created:
            talks[thread] = Found(id_, contact_id, status, blocked=False, fresh=True)
        if len(created) < len(missing):
            talks |= await _find(work, place, [thread for thread in missing if thread not in talks])
        await later(
            work,
            "fetch_profiles",
            key=f"profiles:{work.workspace_id}:{place.inbox_id}",
            at=now + PROFILES_WAIT,
            inbox_id=place.inbox_id,
        )
    return talks


def beginnings(place: Place, talks: Iterable[Found], *, now: datetime) -> list[Event]:
    """The events of conversations that were made just now."""
    return [
        ConversationCreated(
            actor=Actor("contact", talk.contact_id),
            at=now,
            conversation_id=talk.id,
            contact_id=talk.contact_id,
            inbox_id=place.inbox_id,
        )
        for talk in talks
        if talk.fresh
    ]


async def _find(work: Work, place: Place, threads: list[str]) -> dict[str, Found]:
    rows = await work.rows(_FIND, inbox=place.inbox_id, threads=threads)
    return {thread: Found(id_, contact_id, status, blocked) for thread, id_, contact_id, status, blocked in rows}
