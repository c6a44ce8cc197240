"""Conversations and their messages page by page, the newest first, as programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from zhiban.conversations.attachments import Attachment, attachments_of
from zhiban.conversations.models import Status
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access


@frozen_dataclass
class BrowsedConversation:
    """One conversation, without its messages. `name`: of the contact, as colleagues call them, or of the group."""

    id: int
    kind: str
    name: str
    contact_id: int | None
    inbox_id: int
    inbox: str
    channel: str
    status: str
    assignee_id: int | None
    assignee: str | None
    team_id: int | None
    team: str | None
    priority: int
    labels: list[int]
    snoozed_until: datetime | None
    waiting_since: datetime | None
    first_reply_at: datetime | None
    resolved_at: datetime | None
    handoff_reason: str | None
    created_at: datetime
    last_activity_at: datetime
    last_message_id: int | None


@frozen_dataclass
class BrowsedMessage:
    """What somebody said, or noted: `direction` is in, out or internal."""

    id: int
    direction: str
    author: str
    author_name: str
    kind: str
    text: str
    state: str
    failure: str | None
    sent_at: datetime
    delivered_at: datetime | None
    recalled_at: datetime | None
    reply_to_id: int | None
    files: tuple[Attachment, ...] = ()


@frozen_dataclass
class ConversationFilter:
    """Which conversations; None and () leave all. `assignee` and `team` 0: those of nobody, of none."""

    statuses: Sequence[Status] = ()
    inbox_id: int | None = None
    assignee: int | None = None
    team: int | None = None
    label: int | None = None
    contact_id: int | None = None
    before: int | None = None


_CONVERSATIONS = """
select c.id, c.kind, coalesce(nullif(p.remark, ''), nullif(p.name, ''), nullif(c.subject, ''), '') as name,
  c.contact_id, c.inbox_id, i.name as inbox, i.kind as channel, c.status, c.assignee_id, a.name as assignee,
  c.team_id, t.name as team, c.priority, c.labels, c.snoozed_until, c.waiting_since, c.first_reply_at, c.resolved_at,
  c.handoff_reason, c.created_at, c.last_activity_at,
  (select max(m.id) from message m where m.conversation_id = c.id and m.kind not in ('move', 'activity'))
    as last_message_id
from conversation c
join inbox i on i.id = c.inbox_id
left join contact p on p.id = c.contact_id
left join agent a on a.id = c.assignee_id
left join team t on t.workspace_id = c.workspace_id and t.id = c.team_id
where """

_MESSAGES = """
select m.id, m.direction, m.author,
  coalesce(a.name, nullif(p.remark, ''), nullif(p.name, ''), m.content ->> 'program', '') as author_name,
  m.kind, case when m.recalled_at is null then m.text else '' end as text, m.state, m.failure, m.sent_at,
  m.delivered_at, m.recalled_at, m.reply_to_id
from message m
left join agent a on a.id = m.agent_id
left join conversation c on c.id = m.conversation_id
left join contact p on m.author = 'contact' and p.id = coalesce(m.sender_contact_id, c.contact_id)
where m.conversation_id = %(id)s and m.kind not in ('move', 'activity') and m.state <> 'dropped' and """


async def browse(
    tx: Transaction, access: Access, wanted: ConversationFilter, *, limit: int
) -> list[BrowsedConversation]:
    """The newest conversations of the inboxes that `access` sees, of those that are wanted."""
    conditions = {
        "c.status = any(%(statuses)s::text[])": bool(wanted.statuses),
        "c.inbox_id = %(inbox)s": wanted.inbox_id is not None,
        "c.assignee_id is null": wanted.assignee == 0,
        "c.assignee_id = %(assignee)s": bool(wanted.assignee),
        "c.team_id is null": wanted.team == 0,
        "c.team_id = %(team)s": bool(wanted.team),
        "c.labels @> array[%(label)s]::bigint[]": wanted.label is not None,
        "c.contact_id = %(contact)s": wanted.contact_id is not None,
        "c.id < %(before)s": wanted.before is not None,
    }
    kept = " and ".join(["true", *(sql for sql, asked in conditions.items() if asked)])
    return await tx.objects(
        BrowsedConversation,
        f"{_CONVERSATIONS}{kept}{access.condition('c.inbox_id')} order by c.id desc limit %(limit)s",
        statuses=[str(status) for status in wanted.statuses],
        inbox=wanted.inbox_id,
        assignee=wanted.assignee,
        team=wanted.team,
        label=wanted.label,
        contact=wanted.contact_id,
        before=wanted.before,
        limit=limit,
        **access.params,
    )


async def browsed_conversation(tx: Transaction, conversation_id: int) -> BrowsedConversation:
    """Raises NotFound. Whoever asks has made sure that it may be seen."""
    found = await tx.object(BrowsedConversation, _CONVERSATIONS + "c.id = %(id)s", id=conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


async def messages_before(
    tx: Transaction, conversation_id: int, *, before: int | None, limit: int
) -> list[BrowsedMessage]:
    """What was said and noted, before the message `before`, the newest first. What was recalled has lost its words."""
    rows = await tx.objects(
        BrowsedMessage,
        _MESSAGES + "m.id < %(before)s order by m.id desc limit %(limit)s",
        id=conversation_id,
        before=2**62 if before is None else before,
        limit=limit,
    )
    return await _with_files(tx, rows)


async def messages_keyed(tx: Transaction, conversation_id: int, *keys: str) -> list[BrowsedMessage]:
    """The parts of what was queued, or noted, under these keys, the first first."""
    rows = await tx.objects(
        BrowsedMessage,
        _MESSAGES + "(split_part(m.external_id, '_', 1) = any(%(keys)s::text[]) or m.client_key = any(%(keys)s)) "
        "order by m.id",
        id=conversation_id,
        keys=list(keys),
    )
    return await _with_files(tx, rows)


async def _with_files(tx: Transaction, rows: list[BrowsedMessage]) -> list[BrowsedMessage]:
    files = await attachments_of(tx, [row.id for row in rows if row.kind not in ("text", "note")])
    return [replace(row, files=() if row.recalled_at else tuple(files.get(row.id, ()))) for row in rows]
