"""Reads about notifications. An agent sees their own, and of these only what is in inboxes that they see now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.notifications.models import NotificationKind, NotificationRow, Way
from zhiban.people.permissions import Access, Permission

ROWS = 50
FRESH = 20
OVERLAP = 1000  # ids: they are given out before they are committed, so that an older one may come later

_WHO = "coalesce(a.name, case when n.actor_kind = 'api' then n.actor_ref end)"

_ROWS = f"""
select n.id, n.kind, n.key, n.conversation_id, n.ticket_id, n.connection_id,
  coalesce(nullif(p.remark, ''), p.name, c.subject, '') as contact,
  coalesce(i.name, '') as inbox, {_WHO} as who, n.actor_kind, n.actor_ref, n.text, n.ways, n.created_at, n.read_at
from notification n left join conversation c on c.workspace_id = n.workspace_id and c.id = n.conversation_id
left join inbox i on i.workspace_id = c.workspace_id and i.id = c.inbox_id
left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id
left join agent a on a.workspace_id = n.workspace_id and n.actor_kind = 'agent' and a.id = n.actor_id
where n.agent_id = %(agent)s{{seen}} and {{wanted}} order by n.id desc limit %(limit)s"""


_NOT_THEIRS = f" and n.kind not in ('{NotificationKind.CONNECTION}', '{NotificationKind.TRACKER}')"


def _seen(access: Access) -> str:
    """SQL that keeps what this agent sees: of a ticket that belongs to no conversation, everybody does; of connections,
    whoever runs them still."""
    seen = "" if access.inbox_ids is None else " and (c.id is null or c.inbox_id = any(%(inboxes)s::bigint[]))"
    return seen if access.may(Permission.MANAGE_INBOXES) else seen + _NOT_THEIRS


async def notifications(
    tx: Transaction, access: Access, *, unread: bool = False, before: int | None = None, limit: int = ROWS
) -> list[NotificationRow]:
    """What this agent was told on the page, newest first; with `before`, what is older than that one."""
    wanted = "%(page)s = any(n.ways) and (%(before)s::bigint is null or n.id < %(before)s)"
    wanted += " and n.read_at is null" if unread else ""
    return await tx.objects(
        NotificationRow,
        _ROWS.format(seen=_seen(access), wanted=wanted),
        agent=access.agent_id,
        page=Way.PAGE,
        before=before,
        limit=limit,
        **access.params,
    )


@frozen_dataclass
class News:
    """What is new to an open desk: how many are unread, the last one there is, and those after the one it knows."""

    unread: int
    latest: int
    rows: tuple[NotificationRow, ...]


async def news(tx: Transaction, access: Access, *, after: int | None, since: datetime) -> News:
    """What was told after this one, unread and not before `since`, oldest first; None: how many are unread.

    With those shortly before it, of which some may have been committed since: whoever asks knows what they were told.
    """
    unread = await count_unread(tx, access)
    latest = int(
        await tx.value(
            "select coalesce(max(id), 0) from notification where agent_id = %(agent)s", agent=access.agent_id
        )
    )
    if after is None:
        return News(unread, latest, ())
    rows = await tx.objects(
        NotificationRow,
        _ROWS.format(
            seen=_seen(access),
            wanted="n.id > %(after)s - %(overlap)s and n.read_at is null and n.created_at > %(since)s",
        ),
        agent=access.agent_id,
        after=after,
        overlap=OVERLAP,
        since=since,
        limit=FRESH,
        **access.params,
    )
    return News(unread, latest, tuple(reversed(rows)))


async def mentioned_in(tx: Transaction, agent_id: int, *, most: int = 1000) -> tuple[int, ...]:
    """Conversations with a note that mentions this agent and that they have not read."""
    found = await tx.values(
        "select distinct conversation_id from notification where agent_id = %(agent)s and read_at is null "
        "and kind = %(kind)s and conversation_id is not null and ticket_id is null limit %(most)s",
        agent=agent_id,
        kind=NotificationKind.MENTIONED,
        most=most,
    )
    return tuple(found)


@frozen_dataclass
class MentioningNote:
    """The last note in a conversation that mentions an agent, and who wrote it."""

    conversation_id: int
    who: str
    text: str


async def mentioning_notes(tx: Transaction, agent_id: int, ids: Sequence[int]) -> dict[int, MentioningNote]:
    """Of these conversations the note each that mentions this agent and that they have not read, by conversation."""
    rows = await tx.objects(
        MentioningNote,
        f"select distinct on (n.conversation_id) n.conversation_id, coalesce({_WHO}, '') as who, n.text "
        "from notification n left join agent a on a.workspace_id = n.workspace_id and n.actor_kind = 'agent' "
        "and a.id = n.actor_id where n.agent_id = %(agent)s and n.read_at is null and n.kind = %(kind)s "
        "and n.ticket_id is null and n.conversation_id = any(%(ids)s::bigint[]) order by n.conversation_id, n.id desc",
        agent=agent_id,
        kind=NotificationKind.MENTIONED,
        ids=list(ids),
    )
    return {row.conversation_id: row for row in rows}


async def count_unread(tx: Transaction, access: Access, *, most: int = 100) -> int:
    """How many of those on the page are unread, `most` at most."""
    return int(
        await tx.value(
            "select count(*) from (select 1 from notification n left join conversation c "
            "on c.workspace_id = n.workspace_id and c.id = n.conversation_id "
            "where n.agent_id = %(agent)s and n.read_at is null and %(page)s = any(n.ways)"
            f"{_seen(access)} limit %(most)s) unread",
            agent=access.agent_id,
            page=Way.PAGE,
            most=most,
            **access.params,
        )
    )


async def has_chosen(tx: Transaction, agent_id: int) -> bool:
    """Whether this agent has looked at how they are told, and kept or changed it."""
    found = await tx.value(
        "select exists (select from notification_setting where agent_id = %(agent)s)", agent=agent_id
    )
    return bool(found)


async def notification(tx: Transaction, access: Access, notification_id: int) -> NotificationRow | None:
    """One of this agent's; None where there is none that they see (any more)."""
    return await tx.object(
        NotificationRow,
        _ROWS.format(seen=_seen(access), wanted="n.id = %(id)s"),
        agent=access.agent_id,
        id=notification_id,
        limit=1,
        **access.params,
    )
