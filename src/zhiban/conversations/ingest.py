"""What a channel read becomes rows: contacts, conversations, messages, events, in one transaction.

The caller moves the cursor (or closes the delivery) in the same transaction, so nothing is taken twice or lost between.
A message id seen before changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

import psycopg

from zhiban.channels.connections import OpenInbox
from zhiban.channels.reply_slots import open_slots
from zhiban.conversations import inbound_events, transitions
from zhiban.conversations.away import plan_away
from zhiban.conversations.changes import Arrived, MessagesArrived
from zhiban.conversations.greeting import greet_newcomer
from zhiban.conversations.group_policy import Consent
from zhiban.conversations.groups import note_heard
from zhiban.conversations.models import Author, ConversationState, MessageState
from zhiban.conversations.participants import Speaker, speakers
from zhiban.conversations.quoted_words import place_quoted
from zhiban.conversations.quotes import link_answers
from zhiban.conversations.surveys import rate_tapped, tapped_ratings
from zhiban.conversations.threads import MatchedConversation, match_or_create
from zhiban.conversations.transitions import Planned, WorkLease
from zhiban.conversations.work_state import LEASE
from zhiban.events import SYSTEM, Actor, EntrySkipped
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.ports import CardTapped, Incoming, IncomingMessage, Kind, SenderRole

log = logging.getLogger(__name__)

TEXT_LIMIT = 100_000  # characters kept of one message
MENTIONS_KEPT = 100  # of one message


@dataclass(slots=True)
class IngestResult:
    """`leased`: conversations whose work this process has now. Those that others work on hear of it by themselves."""

    leased: list[int] = field(default_factory=list)
    new_messages: int = 0


class Ingest(Protocol):
    """What stores items of an inbox, each once. With `history` (the first reading of an account) old messages are kept
    but call nobody. Raises psycopg.Error."""

    async def __call__(
        self,
        tx: Transaction,
        inbox: OpenInbox,
        items: Sequence[Incoming],
        *,
        now: datetime,
        process_id: int,
        history: bool = False,
    ) -> IngestResult: ...


_STORE = """
insert into message (workspace_id, conversation_id, inbox_id, direction, author, sender_contact_id, sender_ref, kind,
  text, choice, content, mentions, external_id, state, sent_at, created_at)
select %(workspace)s, conversation, %(inbox)s, direction, author, sender_contact, sender_ref, kind, text, choice,
  content, coalesce(mentions, '[]'), external_id, state, sent_at, %(now)s
from rows from (json_to_recordset(%(rows)s::json) as (conversation bigint, direction text, author text,
  sender_contact bigint, sender_ref text, kind text, text text, choice text, content jsonb, mentions jsonb,
  external_id text, state text, sent_at timestamptz))
  with ordinality as t(conversation, direction, author, sender_contact, sender_ref, kind, text, choice, content,
    mentions, external_id, state, sent_at, n)
order by n on conflict do nothing returning id, external_id"""

_ATTACH = """
insert into attachment (workspace_id, message_id, kind, reference, filename, content_type)
select %(workspace)s, message, kind, reference, filename, content_type
from json_to_recordset(%(rows)s::json)
  as t(message bigint, kind text, reference text, filename text, content_type text)"""


async def ingest(
    tx: Transaction,
    inbox: OpenInbox,
    items: Sequence[Incoming],
    *,
    now: datetime,
    process_id: int,
    history: bool = False,
) -> IngestResult:
    """Store everything. With `history` (the first reading of an account) old messages are kept but call nobody."""
    result = IngestResult()
    items = [await _as_choice(tx, inbox, item) if isinstance(item, CardTapped) else item for item in items]
    # In the order in which it happened: whoever writes after a session has ended begins a new one.
    for is_message, run in groupby(items, lambda item: isinstance(item, IncomingMessage)):
        if is_message:
            messages = sorted(
                (item for item in run if isinstance(item, IncomingMessage)), key=lambda item: item.sent_at
            )
            await _messages(tx, inbox, messages, result, now=now, process_id=process_id, history=history)
        else:
            for item in run:
                await inbound_events.apply(tx, inbox, item, now=now)
    return result


async def ingest_one_by_one(
    tx: Transaction,
    inbox: OpenInbox,
    items: Sequence[Incoming],
    *,
    now: datetime,
    process_id: int,
    history: bool = False,
) -> IngestResult:
    """Like `ingest`, entry by entry: one that cannot be stored is left out, and the log of events says so."""
    result = IngestResult()
    for item in items:
        try:
            async with tx.savepoint():
                one = await ingest(tx, inbox, [item], now=now, process_id=process_id, history=history)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception:  # whatever it is, the account must not stand still because of it
            log.exception("An entry of inbox %s cannot be stored and is left out.", inbox.inbox_id)
            external_id = clean(str(getattr(item, "external_id", "")))[:200]
            await event_log.append(
                tx,
                EntrySkipped(
                    actor=SYSTEM, at=now, inbox_id=inbox.inbox_id, what=type(item).__name__, external_id=external_id
                ),
            )
            continue
        result.leased += one.leased
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


async def _messages(
    tx: Transaction,
    inbox: OpenInbox,
    messages: Sequence[IncomingMessage],
    result: IngestResult,
    *,
    now: datetime,
    process_id: int,
    history: bool,
) -> None:
    settings = inbox.settings
    threads = {message.thread for message in messages}
    recent = {message.thread for message in messages if message.sent_at >= now - settings.answers_after}
    groups = {message.thread for message in messages if message.group}
    matched = await match_or_create(
        tx,
        inbox,
        [message.thread for message in messages if not message.group],
        groups=groups,
        quiet=threads - recent if history else (),
        now=now,
    )
    states = {thread: one.state for thread, one in matched.items()}
    said_by = await speakers(tx, inbox, messages, states, now=now)
    if spoken := {one.thread: one.sent_at for one in messages if one.group and one.role is SenderRole.CONTACT}:
        await note_heard(tx, [(states[thread], at) for thread, at in spoken.items()], now=now)
    messages = [_as_allowed(one, said_by.get((one.thread, one.sender))) for one in messages]
    messages = await place_quoted(tx, inbox, messages, states, now=now)
    await open_slots(tx, inbox.connection.id, inbox.inbox_id, messages, now=now)
    stored = await _store(tx, inbox, messages, states, said_by, now=now)
    result.new_messages = len(stored)
    if not stored:
        return
    await link_answers(tx, stored, messages)
    ratings = await tapped_ratings(tx, [one for one in messages if one.external_id in stored], matched)
    for message in messages:
        if (id_ := stored.get(message.external_id)) is not None:
            conversation = matched[message.thread]
            speaker = said_by.get((message.thread, message.sender))
            aside = message.external_id in ratings or (speaker is not None and _calls_nobody(message, speaker))
            conversation.arrived.append(_arrived(id_, message, conversation, speaker, aside=aside))
    planned = [
        Planned(
            one.state,
            MessagesArrived(
                tuple(one.arrived),
                assistant=settings.assistant,
                answers_after=settings.answers_after,
                blocked=one.blocked,
                history=history,
                flow_run_id=one.state.flow_run_id,
            ),
            one.arrived[-1].author,
        )
        for one in matched.values()
        if one.arrived
    ]
    await _attachments(tx, [(stored.get(message.external_id), message) for message in messages])
    applied = await transitions.apply_many(tx, planned, now=now, lease=WorkLease(process_id, now + LEASE))
    result.leased += [one.state.id for one in applied if one.leased]
    said = {one.state.id: one.arrived for one in matched.values()}
    for one in applied:
        if matched[one.state.thread].created:
            await greet_newcomer(tx, inbox, one.state, said[one.state.id], now=now)
    await plan_away(tx, inbox, [(one.state, said[one.state.id]) for one in applied], now=now)
    await rate_tapped(tx, list(ratings.values()), now=now)


def _as_allowed(message: IncomingMessage, speaker: Speaker | None) -> IncomingMessage:
    """The message as its member lets us keep it. What is said to us is kept: otherwise it could not be answered."""
    if speaker is None or speaker.consent is not Consent.UNSTORED or message.mentions_us:
        return message
    return replace(message, kind=Kind.OTHER, text="", choice=None, media=(), content={"withheld": True}, mentions=())


def _calls_nobody(message: IncomingMessage, speaker: Speaker) -> bool:
    return speaker.blocked or bool(message.content.get("withheld"))


def _arrived(
    id_: int, message: IncomingMessage, conversation: MatchedConversation, speaker: Speaker | None, *, aside: bool
) -> Arrived:
    by_contact = message.role is SenderRole.CONTACT
    contact_id = conversation.state.contact_id if speaker is None else speaker.contact_id
    author = (
        Actor("contact", contact_id, message.sender) if by_contact else Actor("servicer", ref=message.sender or None)
    )
    return Arrived(id_, message.sent_at, author, from_contact=by_contact, files=len(message.media), aside=aside)


async def _store(
    tx: Transaction,
    inbox: OpenInbox,
    messages: Sequence[IncomingMessage],
    states: Mapping[str, ConversationState],
    said_by: Mapping[tuple[str, str], Speaker],
    *,
    now: datetime,
) -> dict[str, int]:
    """The ids of those that are new, by the vendor's id."""
    rows = await tx.rows(
        _STORE,
        workspace=tx.workspace_id,
        inbox=inbox.inbox_id,
        now=now,
        rows=json_safe([_row(one, states[one.thread], said_by.get((one.thread, one.sender))) for one in messages]),
    )
    return {external_id: int(id_) for id_, external_id in rows}


def _row(message: IncomingMessage, state: ConversationState, speaker: Speaker | None) -> dict[str, Any]:
    by_contact = message.role is SenderRole.CONTACT
    sender_contact = state.contact_id if speaker is None else speaker.contact_id
    row: dict[str, Any] = {
        "conversation": state.id,
        "direction": "in" if by_contact else "out",
        "author": Author.CONTACT if by_contact else Author.SERVICER,
        "sender_contact": sender_contact if by_contact else None,
        "sender_ref": message.sender or None,
        "kind": message.kind,
        "text": message.text[:TEXT_LIMIT],
        "choice": message.choice,
        "content": message.content,
        "external_id": message.external_id,
        "state": MessageState.PENDING if by_contact else MessageState.STORED,
        "sent_at": message.sent_at,
    }
    if message.mentions or message.mentions_us:
        named: list[dict[str, Any]] = [{"id": one} for one in message.mentions[:MENTIONS_KEPT]]
        row["mentions"] = [{"us": True}, *named] if message.mentions_us else named
    return row


async def _attachments(tx: Transaction, pairs: Iterable[tuple[int | None, IncomingMessage]]) -> None:
    files = [(id_, media) for id_, message in pairs if id_ is not None for media in message.media]
    if files:
        await tx.run(
            _ATTACH,
            workspace=tx.workspace_id,
            rows=json_safe(
                [
                    {
                        "message": id_,
                        "kind": media.kind,
                        "reference": media.reference,
                        "filename": (media.filename or "")[:200],
                        "content_type": media.content_type,
                    }
                    for id_, media in files
                ]
            ),
        )
