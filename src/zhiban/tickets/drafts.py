"""What somebody asked for and nobody has said yes to: frozen, in a chat for ten minutes, at the desk for two hours."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from zhiban.conversations import transitions
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM, Actor, TicketDrafted, TicketDraftEnded
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Locale
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.frozen_rows import line_of, line_values

LIFE = timedelta(minutes=10)
DESK_LIFE = timedelta(hours=2)  # of a colleague's, who may be called away

DraftOutcome = Literal["filed", "joined", "cancelled", "replaced", "expired"]

_COLUMNS = (
    "id, conversation_id, requester_contact_id, requester, requester_ref, message_id, preview_message_id, lines, "
    "title, summary, note, priority, owner_id, labels, repository_id, locale, state, ticket_id, created_at, "
    "expires_at, agent_id, due_at, assignees, publish"
)

_BEGIN = """
insert into ticket_draft (workspace_id, conversation_id, requester_contact_id, requester, requester_ref, message_id,
  lines, title, summary, note, priority, owner_id, labels, repository_id, locale, client_key, created_at, expires_at,
  agent_id, assignees, publish)
values (%(workspace)s, %(conversation)s, %(contact)s, %(requester)s, %(ref)s, %(message)s, %(lines)s::jsonb, %(title)s,
  %(summary)s, %(note)s, %(priority)s, %(owner)s, %(labels)s::bigint[], %(repository)s, %(locale)s, %(key)s, %(now)s,
  %(expires)s, %(agent)s, %(assignees)s::text[], %(publish)s::bigint[])
on conflict (workspace_id, client_key) do nothing returning id"""


@frozen_dataclass
class Requester:
    """Who asks: a contact in a chat, or a colleague at the desk; what they are called, the vendor's id of them."""

    contact_id: int | None
    name: str
    ref: str = ""
    agent_id: int | None = None

    @property
    def actor(self) -> Actor:
        return Actor("contact", self.contact_id) if self.agent_id is None else Actor("agent", self.agent_id)


@frozen_dataclass
class Wish:
    """What is to become a ticket."""

    lines: Sequence[FrozenLine]
    title: str
    summary: str = ""
    note: str = ""
    priority: Priority = Priority.NONE
    owner_id: int | None = None
    labels: tuple[int, ...] = ()
    repository_id: int | None = None
    due_at: datetime | None = None
    assignees: tuple[str, ...] = ()  # at the tracker, by their logins there
    publish: tuple[int, ...] = ()  # attachments that everybody may read with the issue


@frozen_dataclass
class TicketDraft:
    """A wish that waits for a word of its requester."""

    id: int
    conversation_id: int
    requester: Requester
    message_id: int
    preview_message_id: int | None
    wish: Wish
    locale: Locale
    state: str
    ticket_id: int | None
    created_at: datetime
    expires_at: datetime

    @property
    def key(self) -> str:
        """What makes its ticket one, whoever says yes how often."""
        return f"draft-{self.id}"


async def begin(
    tx: Transaction,
    conversation_id: int,
    requester: Requester,
    wish: Wish,
    *,
    message_id: int,
    key: str,
    locale: Locale,
    life: timedelta = LIFE,
    now: datetime,
) -> TicketDraft | None:
    """Keep what somebody asked for; what they asked for before is replaced. None where this command is known."""
    for before in await _drafts(
        tx,
        "conversation_id = %(conversation)s and state = 'open' "
        "and (requester_contact_id = %(contact)s or agent_id = %(agent)s) and client_key <> %(key)s for update",
        conversation=conversation_id,
        contact=requester.contact_id,
        agent=requester.agent_id,
        key=key,
    ):
        if before.expires_at <= now:  # the job that ends such drafts has not come to it yet
            await end(tx, before, "expired", by=SYSTEM, now=now)
        else:
            await end(tx, before, "replaced", by=requester.actor, now=now)
    draft_id = await tx.value(
        _BEGIN,
        workspace=tx.workspace_id,
        conversation=conversation_id,
        contact=requester.contact_id,
        requester=requester.name,
        ref=requester.ref,
        message=message_id,
        lines=_json(wish.lines),
        title=wish.title,
        summary=wish.summary,
        note=wish.note,
        priority=int(wish.priority),
        owner=wish.owner_id,
        assignees=list(wish.assignees),
        publish=list(wish.publish),
        labels=list(wish.labels),
        repository=wish.repository_id,
        locale=locale,
        key=key,
        now=now,
        expires=now + life,
        agent=requester.agent_id,
    )
    if draft_id is None:
        return None
    drafted = TicketDrafted(
        actor=requester.actor,
        at=now,
        draft_id=int(draft_id),
        conversation_id=conversation_id,
        message_id=message_id,
        messages=len(wish.lines),
    )
    await event_log.append(tx, drafted)
    return (await _drafts(tx, "id = %(id)s", id=draft_id))[0]


async def open_drafts(tx: Transaction, conversation_id: int, *, now: datetime) -> list[TicketDraft]:
    """Those that a chat's own people began there, that wait and are not too old; the newest first."""
    return await _drafts(
        tx,
        "conversation_id = %(conversation)s and state = 'open' and expires_at > %(now)s and agent_id is null "
        "order by id desc",
        conversation=conversation_id,
        now=now,
    )


async def begun_of(
    tx: Transaction, conversation_id: int, agent_id: int, messages: Collection[int], *, now: datetime
) -> TicketDraft | None:
    """The draft that this colleague has begun of these very messages, and that waits: another window of theirs joins
    it. Whoever asks keeps the conversation until the transaction ends, so that of two windows one is the first."""
    await transitions.lock(tx, conversation_id)
    found = await _drafts(
        tx,
        "conversation_id = %(conversation)s and agent_id = %(agent)s and state = 'open' and expires_at > %(now)s",
        conversation=conversation_id,
        agent=agent_id,
        now=now,
    )
    return next((one for one in found if {line.message_id for line in one.wish.lines} == set(messages)), None)


async def access_draft(tx: Transaction, draft_id: int, agent_id: int) -> TicketDraft:
    """A draft that this colleague began, or that was begun in a chat, also one that waits no more; locked.

    Whether they may answer in its conversation is still to be asked. Raises NotFound.
    """
    mine = "id = %(id)s and coalesce(agent_id, %(agent)s) = %(agent)s for update"
    found = await _drafts(tx, mine, id=draft_id, agent=agent_id)
    if not found:
        raise NotFound("There is no such draft.")
    return found[0]


async def decide(tx: Transaction, draft_id: int) -> None:
    """Keep the chat from deciding about the draft until the transaction ends, as the chat keeps others from it: it
    locks its conversation, and whoever comes second sees what became of it. Raises NotFound."""
    await transitions.lock(tx, (await read_draft(tx, draft_id)).conversation_id)


async def read_draft(tx: Transaction, draft_id: int) -> TicketDraft:
    """Raises NotFound."""
    found = await _drafts(tx, "id = %(id)s", id=draft_id)
    if not found:
        raise NotFound("There is no such draft.")
    return found[0]


async def draft_keyed(tx: Transaction, key: str) -> TicketDraft:
    """The draft that was begun with this key. Raises NotFound."""
    found = await _drafts(tx, "client_key = %(key)s", key=key)
    if not found:
        raise NotFound("There is no such draft.")
    return found[0]


async def open_with(tx: Transaction, message_id: int) -> list[TicketDraft]:
    """Those that wait and have this message."""
    return await _drafts(
        tx,
        "state = 'open' and lines @> jsonb_build_array(jsonb_build_object('message_id', %(message)s::bigint)) "
        "order by id for update",
        message=message_id,
    )


async def note_preview(tx: Transaction, draft_id: int, message_id: int) -> None:
    """Which message of ours shows it: an answer to that message is meant for this draft."""
    await tx.run(
        "update ticket_draft set preview_message_id = %(message)s where id = %(id)s", message=message_id, id=draft_id
    )


async def rewrite(
    tx: Transaction,
    draft: TicketDraft,
    *,
    title: str | None = None,
    summary: str | None = None,
    leave_out: Sequence[int] = (),
    publish: Sequence[int] | None = None,
) -> TicketDraft:
    """Called otherwise, without the messages of these ids, or with these attachments for everybody."""
    lines = [line for line in draft.wish.lines if line.message_id not in leave_out]
    await tx.run(
        "update ticket_draft set title = coalesce(%(title)s, title), summary = coalesce(%(summary)s, summary), "
        "lines = %(lines)s::jsonb, publish = coalesce(%(publish)s::bigint[], publish) where id = %(id)s",
        publish=None if publish is None else list(publish),
        title=title,
        summary=summary,
        lines=_json(lines),
        id=draft.id,
    )
    return (await _drafts(tx, "id = %(id)s", id=draft.id))[0]


async def revise(tx: Transaction, draft: TicketDraft, wish: Wish) -> TicketDraft:
    """Another wish in its place."""
    await tx.run(
        "update ticket_draft set lines = %(lines)s::jsonb, title = %(title)s, summary = %(summary)s, note = %(note)s, "
        "priority = %(priority)s, owner_id = %(owner)s, labels = %(labels)s::bigint[], repository_id = %(repository)s, "
        "due_at = %(due)s, publish = %(publish)s::bigint[] where id = %(id)s and state = 'open'",
        lines=_json(wish.lines),
        title=wish.title,
        summary=wish.summary,
        note=wish.note,
        priority=int(wish.priority),
        owner=wish.owner_id,
        labels=list(wish.labels),
        repository=wish.repository_id,
        due=wish.due_at,
        publish=list(wish.publish),
        id=draft.id,
    )
    return (await _drafts(tx, "id = %(id)s", id=draft.id))[0]


async def end(
    tx: Transaction,
    draft: TicketDraft,
    outcome: DraftOutcome,
    *,
    ticket_id: int | None = None,
    by: Actor,
    now: datetime,
) -> None:
    """It waits no more, and what was said is kept in it no more: the ticket has it, or nobody."""
    ended = await tx.run(
        "update ticket_draft set state = %(state)s, ticket_id = %(ticket)s, ended_at = %(now)s, lines = '[]', "
        "summary = '' where id = %(id)s and state = 'open'",
        state=outcome,
        ticket=ticket_id,
        now=now,
        id=draft.id,
    )
    if not ended:
        return
    fact = TicketDraftEnded(
        actor=by,
        at=now,
        draft_id=draft.id,
        conversation_id=draft.conversation_id,
        outcome=outcome,
        ticket_id=ticket_id,
    )
    await event_log.append(tx, fact)


async def locale_of(tx: Transaction, ticket_id: int) -> Locale:
    """The language in which the ticket was asked for in its chat; Chinese where no command was."""
    found = await tx.value(
        "select locale from ticket_draft where ticket_id = %(ticket)s and state = 'filed' and agent_id is null "
        "order by id limit 1",
        ticket=ticket_id,
    )
    return found or "zh"


async def written_in(tx: Transaction, ticket_id: int) -> Locale:
    """The language in which the ticket's issue is written."""
    found = await tx.value(
        "select locale from ticket_draft where ticket_id = %(ticket)s order by id limit 1", ticket=ticket_id
    )
    return found or "zh"


async def asked_in_chat(tx: Transaction, ticket_id: int) -> bool:
    """Whether somebody asked for the ticket in a chat, who waits there for what becomes of it."""
    return bool(
        await tx.value(
            "select exists (select from ticket_draft where ticket_id = %(ticket)s and agent_id is null)",
            ticket=ticket_id,
        )
    )


async def filed_since(tx: Transaction, conversation_id: int, contact_id: int | None, *, since: datetime) -> int:
    """How many drafts begun in a chat became a ticket or were put to one, of this contact or of all its people."""
    return int(
        await tx.value(
            "select count(*) from ticket_draft where conversation_id = %(conversation)s and ended_at >= %(since)s "
            "and agent_id is null and state in ('filed', 'joined') "
            "and (%(contact)s::bigint is null or requester_contact_id = %(contact)s)",
            conversation=conversation_id,
            contact=contact_id,
            since=since,
        )
    )


async def begun_since(tx: Transaction, conversation_id: int, *, since: datetime) -> list[int]:
    """Who began a draft since then, once for each."""
    return await tx.values(
        "select requester_contact_id from ticket_draft where conversation_id = %(conversation)s "
        "and created_at >= %(since)s and agent_id is null",
        conversation=conversation_id,
        since=since,
    )


async def expire(tx: Transaction, *, now: datetime, limit: int = 200) -> int:
    """End those that nobody said a word to in time. Returns how many."""
    old = await _drafts(
        tx, "state = 'open' and expires_at <= %(now)s order by id limit %(limit)s for update", now=now, limit=limit
    )
    for draft in old:
        await end(tx, draft, "expired", by=SYSTEM, now=now)
    return len(old)


async def _drafts(tx: Transaction, condition: str, **params: Any) -> list[TicketDraft]:
    names = _COLUMNS.split(", ")
    rows = await tx.rows(f"select {_COLUMNS} from ticket_draft where {condition}", **params)
    return [_draft(dict(zip(names, row, strict=True))) for row in rows]


def _draft(row: Mapping[str, Any]) -> TicketDraft:
    wish = Wish(
        tuple(line_of(line) for line in row["lines"]),
        row["title"],
        row["summary"],
        row["note"],
        Priority(row["priority"]),
        row["owner_id"],
        tuple(row["labels"]),
        row["repository_id"],
        row["due_at"],
        tuple(row["assignees"]),
        tuple(row["publish"]),
    )
    return TicketDraft(
        row["id"],
        row["conversation_id"],
        Requester(row["requester_contact_id"], row["requester"], row["requester_ref"], row["agent_id"]),
        row["message_id"],
        row["preview_message_id"],
        wish,
        row["locale"],
        row["state"],
        row["ticket_id"],
        row["created_at"],
        row["expires_at"],
    )


def _json(lines: Sequence[FrozenLine]) -> str:
    return json.dumps([line_values(line) for line in lines], ensure_ascii=False)
