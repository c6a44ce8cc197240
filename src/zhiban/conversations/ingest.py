"""What a channel read becomes rows: contacts, conversations, messages, events, in one transaction.

The caller moves the cursor (or closes the delivery) in the same transaction, so nothing is taken twice or lost between.
A message id seen before changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Protocol, assert_never

import psycopg

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import inbound_events
from zhiban.conversations.models import Author, Status
from zhiban.conversations.service import notify_handoff
from zhiban.conversations.threads import MatchedConversation, created_events, match_or_create
from zhiban.events import (
    SYSTEM,
    Actor,
    ConversationOpened,
    ConversationReopened,
    Event,
    MessageReceived,
    VendorEventReceived,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.event_log import CONVERSATION_CHANGED
from zhiban.kit.jobs import later
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.ports import CardTapped, Incoming, IncomingMessage, Kind, NativeState, SenderRole

log = logging.getLogger(__name__)

TEXT_LIMIT = 100_000  # characters kept of one message
LEASE = timedelta(seconds=60)


@dataclass(slots=True)
class IngestResult:
    """Which conversations have something to do: `held` are leased to this process already, the others have an owner."""

    leased: list[int] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    new_messages: int = 0


class Ingest(Protocol):
    async def __call__(
        self,
        tx: Transaction,
        inbox: OpenInbox,
        items: Sequence[Incoming],
        *,
        now: datetime,
        me: int,
        first_drain: bool = False,
    ) -> IngestResult: ...


_STORE = """
insert into message (workspace_id, conversation_id, inbox_id, direction, author, kind, text, choice, content,
  external_id, state, sent_at, created_at)
select %(workspace)s, conversation, %(inbox)s, direction, author, kind, text, choice, content, external_id, state,
  sent_at, %(now)s
from unnest(%(conversation)s::bigint[], %(direction)s::text[], %(author)s::text[], %(kind)s::text[], %(text)s::text[],
  %(choice)s::text[], %(content)s::jsonb[], %(external)s::text[], %(state)s::text[], %(sent_at)s::timestamptz[])
  with ordinality as t(conversation, direction, author, kind, text, choice, content, external_id, state, sent_at, n)
order by n on conflict do nothing returning id, external_id"""

# One row a conversation. The lease is taken here, so that the turn can begin at once after the commit.
_ADVANCE = """
update conversation c set
  status = v.status, handoff_reason = coalesce(v.reason, c.handoff_reason),
  opened_at = case when v.status = 'open' and c.status <> 'open' then %(now)s else c.opened_at end,
  snoozed_until = case when v.status = 'snoozed' then c.snoozed_until end,
  cycle = c.cycle + (c.status = 'resolved' and v.status <> 'resolved' and c.resolved_at is not null)::int,
  failures = case when c.status = 'resolved' then 0 else c.failures end,
  last_activity_at = %(now)s,
  last_incoming_at = greatest(coalesce(c.last_incoming_at, v.said_at), v.said_at),
  replies_used = case when v.said_at is null then c.replies_used else 0 end,
  waiting_since = case when v.said_at is null then c.waiting_since else coalesce(c.waiting_since, v.said_at) end,
  native_state = coalesce(v.native, case when v.said_at is null then c.native_state
    else nullif(c.native_state, 'ended') end),
  rings = c.rings + 1,
  owner = case when v.work and (c.owner is null or c.lease_until < %(now)s) then %(me)s else c.owner end,
  lease_until = case when v.work and (c.owner is null or c.lease_until < %(now)s) then %(lease)s else c.lease_until end
from unnest(%(id)s::bigint[], %(status)s::text[], %(reason)s::text[], %(said_at)s::timestamptz[], %(native)s::text[],
  %(work)s::boolean[]) as v(id, status, reason, said_at, native, work)
where c.id = v.id returning c.id, v.work, c.owner = %(me)s and c.lease_until = %(lease)s"""


async def ingest(
    tx: Transaction, inbox: OpenInbox, items: Sequence[Incoming], *, now: datetime, me: int, first_drain: bool = False
) -> IngestResult:
    """Store everything. On the first drain of an account, old messages are kept but call nobody."""
    result = IngestResult()
    items = [await _as_choice(tx, inbox, item) if isinstance(item, CardTapped) else item for item in items]
    # In the order in which it happened: whoever writes after a session has ended begins a new one.
    for is_said, run in groupby(items, lambda item: isinstance(item, IncomingMessage)):
        if is_said:
            messages = sorted(
                (item for item in run if isinstance(item, IncomingMessage)), key=lambda item: item.sent_at
            )
            await _messages(tx, inbox, messages, result, now=now, me=me, first_drain=first_drain)
        else:
            for item in run:
                await inbound_events.apply(tx, inbox, item, now=now)
    return result


async def ingest_one_by_one(
    tx: Transaction, inbox: OpenInbox, items: Sequence[Incoming], *, now: datetime, me: int, first_drain: bool = False
) -> IngestResult:
    """Like `ingest`, entry by entry: one that cannot be stored is left out, and the log of events says so."""
    result = IngestResult()
    for item in items:
        try:
            async with tx.raw.transaction():
                one = await ingest(tx, inbox, [item], now=now, me=me, first_drain=first_drain)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception:  # whatever it is, the account must not stand still because of it
            log.exception("An entry of inbox %s cannot be stored and is left out.", inbox.inbox_id)
            left = {"what": type(item).__name__, "id": clean(str(getattr(item, "external_id", "")))[:200]}
            await event_log.append(
                tx, VendorEventReceived(actor=SYSTEM, at=now, cause="left_out", inbox_id=inbox.inbox_id, after=left)
            )
            continue
        result.leased += one.leased
        result.busy += one.busy
        result.new_messages += one.new_messages
    return result


async def _as_choice(tx: Transaction, inbox: OpenInbox, item: CardTapped) -> Incoming:
    """A tap on a menu that the assistant sent to a member is something they said; other taps stay what they are."""
    choices = await tx.value(
        "select content -> 'choices' from message where inbox_id = %(inbox)s and external_id = %(task)s "
        "and direction = 'out' and kind = 'menu'",
        inbox=inbox.inbox_id,
        task=item.task,
    )
    label = next((choice["label"] for choice in choices or () if choice["id"] == item.key), None)
    if label is None:
        return item
    return IncomingMessage(
        external_id=f"tap:{item.task}:{item.member}:{item.key}",
        thread=item.member,
        sender=item.member,
        role=SenderRole.CONTACT,
        kind=Kind.MENU,
        text=label,
        sent_at=item.happened_at,
        choice=item.key,
    )


# ------------------------------------------------------------------------------------------------------ messages


async def _messages(
    tx: Transaction,
    inbox: OpenInbox,
    messages: Sequence[IncomingMessage],
    result: IngestResult,
    *,
    now: datetime,
    me: int,
    first_drain: bool,
) -> None:
    conversations_by_thread = await match_or_create(tx, inbox, [message.thread for message in messages], now=now)
    stored = await _store(tx, inbox, messages, conversations_by_thread, now=now)
    result.new_messages = len(stored)
    if not stored:
        return
    events = created_events(inbox, conversations_by_thread.values(), now=now)
    for message in messages:
        if (id_ := stored.get(message.external_id)) is not None:
            conversation = conversations_by_thread[message.thread]
            conversation.messages.append((id_, message))
            actor = (
                Actor("contact", conversation.contact_id) if message.role is SenderRole.CONTACT else Actor("servicer")
            )
            events.append(
                MessageReceived(
                    actor=actor,
                    at=message.sent_at,
                    conversation_id=conversation.id,
                    message_id=id_,
                    contact_id=conversation.contact_id,
                    inbox_id=inbox.inbox_id,
                )
            )
    touched = [conversation for conversation in conversations_by_thread.values() if conversation.messages]
    events += await _advance(tx, inbox, touched, result, now=now, me=me, first_drain=first_drain)
    await event_log.append(tx, *events)
    await _attachments(tx, [pair for conversation in touched for pair in conversation.messages])


async def _store(
    tx: Transaction,
    inbox: OpenInbox,
    messages: Sequence[IncomingMessage],
    conversations_by_thread: dict[str, MatchedConversation],
    *,
    now: datetime,
) -> dict[str, int]:
    rows = await tx.rows(
        _STORE,
        workspace=tx.workspace_id,
        inbox=inbox.inbox_id,
        now=now,
        conversation=[conversations_by_thread[message.thread].id for message in messages],
        direction=["in" if message.role is SenderRole.CONTACT else "out" for message in messages],
        author=[Author.CONTACT if message.role is SenderRole.CONTACT else Author.SERVICER for message in messages],
        kind=[message.kind for message in messages],
        text=[clean(message.text)[:TEXT_LIMIT] for message in messages],
        choice=[message.choice and clean(message.choice) for message in messages],
        content=[json_safe(message.content) for message in messages],
        external=[clean(message.external_id) for message in messages],
        state=["stored" if message.role is not SenderRole.CONTACT else "pending" for message in messages],
        sent_at=[message.sent_at for message in messages],
    )
    return {external_id: int(id_) for id_, external_id in rows}


async def _advance(
    tx: Transaction,
    inbox: OpenInbox,
    conversations_by_thread: Sequence[MatchedConversation],
    result: IngestResult,
    *,
    now: datetime,
    me: int,
    first_drain: bool,
) -> list[Event]:
    plans = [_plan(inbox, conversation, now=now, first_drain=first_drain) for conversation in conversations_by_thread]
    done = [id_ for plan in plans for id_ in plan.settled]
    if done:
        await tx.run("update message set state = 'handled' where id = any(%(ids)s::bigint[])", ids=done)
    taken_over = [
        conversation.id
        for conversation, plan in zip(conversations_by_thread, plans, strict=True)
        if plan.status == Status.OPEN != conversation.status
    ]
    if taken_over:
        # People have it now: what the assistant has thought and not sent is void, and what waited for it is theirs.
        await tx.run(
            "update message set state = case direction when 'in' then 'handled' else 'dropped' end "
            "where conversation_id = any(%(ids)s::bigint[]) "
            "and (state = 'pending' or (state = 'queued' and turn_id is not null))",
            ids=taken_over,
        )
    for conversation, plan in zip(conversations_by_thread, plans, strict=True):
        if plan.tell:
            await notify_handoff(tx, conversation.id)
    rows = await tx.rows(
        _ADVANCE,
        now=now,
        me=me,
        lease=now + LEASE,
        id=[conversation.id for conversation in conversations_by_thread],
        status=[plan.status for plan in plans],
        reason=[plan.reason for plan in plans],
        said_at=[plan.said_at for plan in plans],
        native=[plan.native for plan in plans],
        work=[plan.work for plan in plans],
    )
    for id_, works, ours in rows:
        if works:
            (result.leased if ours else result.busy).append(int(id_))
        else:
            # Nobody has to answer, but an assistant that is thinking must hear that a person spoke.
            result.busy.append(int(id_))
        tx.publish_after_commit(CONVERSATION_CHANGED, int(id_))
    return [event for plan in plans for event in plan.events]


@dataclass(slots=True)
class _Plan:
    status: str
    work: bool  # whether the assistant has to look at it
    said_at: datetime | None  # when the contact last spoke in this batch
    settled: list[int]  # messages that need no answer of the assistant
    reason: str | None = None
    native: str | None = None
    tell: bool = False  # whether our people must hear of it
    events: list[Event] = field(default_factory=list)


def _plan(inbox: OpenInbox, conversation: MatchedConversation, *, now: datetime, first_drain: bool) -> _Plan:
    """Decide, without touching anything, what these messages do to the conversation."""
    said = [(id_, message) for id_, message in conversation.messages if message.role is SenderRole.CONTACT]
    said_at = max((message.sent_at for _, message in said), default=None)
    ids = [id_ for id_, _ in said]
    servicer = any(message.role is SenderRole.AGENT for _, message in conversation.messages)
    native = NativeState.HUMAN.value if servicer else None
    if conversation.blocked:
        return _Plan(Status.RESOLVED, False, None, ids, native=native)
    oldest = now - inbox.settings.answers_after
    if first_drain and all(message.sent_at < oldest for _, message in conversation.messages):
        status = Status.RESOLVED if conversation.fresh else Status(conversation.status)
        return _Plan(status, False, said_at, ids, native=native)
    if servicer:
        return _opened(inbox, conversation, said_at, ids, now=now, reason="native", native=native)
    late = [id_ for id_, message in said if message.sent_at < oldest]
    if len(late) == len(said) and late:
        return _opened(inbox, conversation, said_at, ids, now=now, reason="late", native=None)
    match Status(conversation.status):
        case Status.OPEN:
            return _Plan(Status.OPEN, False, said_at, ids, tell=conversation.fresh)
        case Status.SNOOZED:
            return _opened(inbox, conversation, said_at, ids, now=now, reason="wrote_again", native=None)
        case Status.PENDING:
            return _Plan(Status.PENDING, True, said_at, late)
        case Status.RESOLVED if not inbox.settings.assistant:
            return _opened(inbox, conversation, said_at, ids, now=now, reason="wrote_again", native=None)
        case Status.RESOLVED:
            event = _reopened(inbox, conversation, Status.PENDING, now=now, cause="wrote_again")
            return _Plan(Status.PENDING, True, said_at, late, events=[event])
        case never:
            assert_never(never)


def _opened(
    inbox: OpenInbox,
    conversation: MatchedConversation,
    said_at: datetime | None,
    ids: list[int],
    *,
    now: datetime,
    reason: str,
    native: str | None,
) -> _Plan:
    plan = _Plan(Status.OPEN, False, said_at, ids, reason=reason, native=native)
    plan.tell = native is None and conversation.status in (Status.PENDING, Status.RESOLVED)
    if conversation.status != Status.OPEN:
        plan.events.append(_reopened(inbox, conversation, Status.OPEN, now=now, cause=reason))
    return plan


def _reopened(
    inbox: OpenInbox, conversation: MatchedConversation, status: Status, *, now: datetime, cause: str
) -> Event:
    fact: type[Event] = ConversationOpened if conversation.status == Status.PENDING else ConversationReopened
    return fact(
        actor=Actor("contact", conversation.contact_id),
        at=now,
        cause=cause,
        conversation_id=conversation.id,
        contact_id=conversation.contact_id,
        inbox_id=inbox.inbox_id,
        before={"status": conversation.status},
        after={"status": status},
    )


async def _attachments(tx: Transaction, pairs: Iterable[tuple[int, IncomingMessage]]) -> None:
    for message_id, message in pairs:
        for media in message.media:
            id_ = await tx.value(
                "insert into attachment (workspace_id, message_id, kind, reference, filename, content_type) "
                "values (%(workspace)s, %(message)s, %(kind)s, %(reference)s, %(filename)s, %(type)s) returning id",
                workspace=tx.workspace_id,
                message=message_id,
                kind=media.kind,
                reference=clean(media.reference),
                filename=clean(media.filename or "")[:200],
                type=media.content_type,
            )
            await later(tx, "fetch_attachment", queue="slow", attachment_id=int(id_))
