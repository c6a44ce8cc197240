"""Sends one stored message and writes down what became of it. The call and the writing are separate on purpose."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from zhiban.channels.connection_health import mark_broken, mark_inbox_broken, mark_mended
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import service, transitions, work_state
from zhiban.conversations.changes import ChangeNativeSession, Open
from zhiban.conversations.models import Author, ConversationState, Status
from zhiban.conversations.outbox import QueuedMessage
from zhiban.conversations.outgoing_files import FILE_KINDS, OutgoingFiles
from zhiban.events import ASSISTANT, SYSTEM, Actor, MessageFailed, MessageSent
from zhiban.kit import event_log, metrics
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import (
    Choice,
    ConnectionBroken,
    Kind,
    LinkCard,
    Media,
    NativeState,
    Outgoing,
    Refusal,
    RepliesToEvents,
    SendRefused,
    TransfersNatively,
    TryLater,
)

log = logging.getLogger(__name__)

# A failure that the vendor reported before its answer was read stays. The work is locked before the message, as every
# verb does, so that no two wait in a ring.
_SENT = f"""
with held as (
  select workspace_id from conversation_work where conversation_id = %(conversation)s for update),
sent as (
  update message m set state = 'sent', attempts = attempts + 1, delivered_at = %(now)s, vendor_id = %(vendor)s::text
  from held
  where m.workspace_id = held.workspace_id and m.id = %(id)s and m.state in ('queued', 'dropped') returning m.id),
{event_log.log_with("exists (select from sent)")},
{work_state.LEAVE_AFTER}
select id, false from logged union all select null, true from left_empty"""

# What may be said of a card and not of its words. Whoever cannot be written to cannot be written words either.
_OF_THE_CARD = frozenset((Refusal.KIND_FORBIDDEN, Refusal.BAD_MESSAGE, Refusal.UNKNOWN))

# What went as words is found by them from then on, when somebody quotes it.
_PLAIN = (
    "update message set kind = 'text', content = content - '{title,description,url}'::text[] "
    "where id = %(id)s and kind = 'link'"
)

LONGEST_WAIT = 600.0
BROKEN_WAIT = 60.0
GIVE_UP_AFTER = timedelta(hours=48)


@frozen_dataclass
class SendSucceeded:
    """The vendor took it. `native` tells where a session move ended up, `vendor_id` by what the vendor knows it."""

    native: NativeState | None = None
    vendor_id: str | None = None  # where that is another id than our key
    plainly: bool = False  # its words went instead of its card


@frozen_dataclass
class SendRejected:
    refusal: Refusal
    code: int
    native: NativeState | None = None  # who holds the session, where the vendor told
    servicer: str | None = None


@frozen_dataclass
class Deferred:
    """Not now: again after `seconds`, with the same key. `broken` says what an operator has to mend."""

    seconds: float
    broken: str | None = None


Outcome = SendSucceeded | SendRejected | Deferred


@frozen_dataclass
class WorkHold:
    """The lease of a conversation's work as the worker last saw it."""

    process_id: int
    revision: int


async def dispatch(
    inbox: OpenInbox, thread: str, message: QueuedMessage, files: OutgoingFiles, *, now: datetime
) -> Outcome:
    """Make the call. Never raises for what a vendor may answer."""
    plainly = False
    try:
        if message.kind == "move":
            return await _move(inbox, thread, message)
        if message.kind in FILE_KINDS:
            id_ = await _send_file(inbox, thread, message, files)
        elif message.kind == Kind.LINK:
            id_, plainly = await _send_card(inbox, thread, message)
        else:
            id_ = await _send(inbox, thread, message, now=now)
    except SendRefused as error:
        return SendRejected(error.refusal, error.code, error.native, error.servicer)
    except TryLater as error:
        if now - message.sent_at > GIVE_UP_AFTER:
            return SendRejected(Refusal.WINDOW_CLOSED, error.code)
        return Deferred(max(error.after, min(0.25 * 2**message.attempts, LONGEST_WAIT)))
    except ConnectionBroken as error:
        if now - message.sent_at > GIVE_UP_AFTER:
            return SendRejected(Refusal.MISCONFIGURED, error.code)
        return Deferred(BROKEN_WAIT, broken=error.sentence)
    return SendSucceeded(vendor_id=id_ if id_ and id_ != message.external_id else None, plainly=plainly)


async def _send_card(inbox: OpenInbox, thread: str, message: QueuedMessage) -> tuple[str, bool]:
    """The vendor's id, and whether the words went instead, because the vendor will not have the card."""
    outgoing = as_outgoing(thread, message)
    try:
        return await _say(inbox, inbox.channel.send(outgoing)), False
    except SendRefused as error:
        if error.refusal not in _OF_THE_CARD:
            raise
    words = replace(outgoing, kind=Kind.TEXT, link=None)
    return await _say(inbox, inbox.channel.send(words)), True


async def _send(inbox: OpenInbox, thread: str, message: QueuedMessage, *, now: datetime) -> str:
    outgoing = as_outgoing(thread, message)
    code = message.content.get("code")
    if not code:
        return await _say(inbox, inbox.channel.send(outgoing))
    if now >= datetime.fromisoformat(message.content["expires"]) or not isinstance(inbox.channel, RepliesToEvents):
        raise SendRefused(Refusal.CODE_EXPIRED)
    return await _say(inbox, inbox.channel.reply_to_event(code, outgoing))


async def _say(inbox: OpenInbox, saying: Coroutine[Any, Any, str]) -> str:
    """The vendor's id. Empty where nobody knows whether it arrived and a repeat might stand there twice, which is worse
    than not at all: it counts as sent at once, as another process would not know."""
    try:
        return await saying
    except TryLater as error:
        if error.unknown and not inbox.channel.limits.repeats:
            return ""
        raise


async def _send_file(inbox: OpenInbox, thread: str, message: QueuedMessage, files: OutgoingFiles) -> str:
    """Hand the file over and send it; once more where the vendor has lost what an earlier attempt gave it."""
    given = await files.hand_over(inbox, message.id)
    try:
        return await _say(inbox, inbox.channel.send(as_outgoing(thread, message, given.media)))
    except SendRefused as error:
        if not given.kept or error.refusal is not Refusal.BAD_MESSAGE:
            raise
        given = await files.hand_over(inbox, message.id, anew=True)
        return await _say(inbox, inbox.channel.send(as_outgoing(thread, message, given.media)))


async def _move(inbox: OpenInbox, thread: str, message: QueuedMessage) -> Outcome:
    """Move the session; what is to be said about it goes out on the code that the vendor returns."""
    channel, content = inbox.channel, message.content
    say = content.get("say")
    if not isinstance(channel, TransfersNatively):
        # A channel without sessions: only the words remain.
        if say:
            await channel.send(Outgoing(key=message.external_id, thread=thread, kind=Kind.TEXT, text=say))
        return SendSucceeded()
    to = NativeState(content["to"])
    text = Outgoing(key=message.external_id, thread=thread, kind=Kind.TEXT, text=say or "")
    try:
        code = await channel.move(thread, to, servicer=content.get("servicer"))
    except SendRefused as error:
        if say and error.native in (NativeState.NEW, NativeState.ASSISTANT):
            await channel.send(text)  # it stays where it is, and a goodbye needs no end
        raise
    if code and say and isinstance(channel, RepliesToEvents):
        await channel.reply_to_event(code, text)
    return SendSucceeded(native=to)


def as_outgoing(thread: str, message: QueuedMessage, media: Media | None = None) -> Outgoing:
    """The stored message in the words of the port, with its file."""
    content = message.content
    return Outgoing(
        key=message.external_id,
        thread=thread,
        kind=Kind(message.kind),
        text=message.text,
        choices=tuple(Choice(choice["id"], choice["label"]) for choice in content.get("choices", ())),
        footer=content.get("footer", ""),
        media=media,
        content=content,
        reply_to=content.get("reply_to"),
        mentions=message.mentions,
        link=LinkCard(content["title"], content["description"], content["url"]) if message.kind == Kind.LINK else None,
    )


async def record_outcome(
    tx: Transaction,
    inbox: OpenInbox,
    state: ConversationState,
    message: QueuedMessage,
    outcome: Outcome,
    *,
    now: datetime,
    leave: WorkHold | None = None,
) -> bool:
    """Write down what became of the message, with its consequences. `state` may be some seconds old.

    With `leave` the lease is given back when the message was sent, nothing else waits and nothing came meanwhile;
    whether it was, is returned.
    """
    match outcome:
        case SendSucceeded():
            metrics.send(inbox.kind, "sent")
            metrics.message("outgoing", inbox.kind)
            left = await _record_sent(tx, state, message, outcome, now=now, leave=leave)
            if message.attempts or message.kind == "move":
                await mark_mended(tx, inbox.connection.id, inbox.inbox_id, now=now)
            return left
        case SendRejected():
            metrics.send(inbox.kind, "refused")
            await _record_refused(tx, inbox, state, message, outcome, now=now)
        case Deferred():
            metrics.send(inbox.kind, "delayed")
            await tx.run("update message set attempts = attempts + 1 where id = %(id)s", id=message.id)
            if outcome.broken:
                await mark_broken(tx, inbox.connection.id, outcome.broken, now=now)
    return False


async def _record_sent(
    tx: Transaction,
    state: ConversationState,
    message: QueuedMessage,
    outcome: SendSucceeded,
    *,
    now: datetime,
    leave: WorkHold | None,
) -> bool:
    moved = message.kind == "move"
    events = () if moved else (MessageSent(actor=_actor(message), at=now, message_id=message.id, **state.about()),)
    if moved and outcome.native is not None:
        change = ChangeNativeSession(outcome.native)
        await transitions.apply(tx, state.id, change, actor=SYSTEM, now=now)
    rows = await tx.rows(
        _SENT,
        id=message.id,
        conversation=state.id,
        workspace=tx.workspace_id,
        facts=event_log.facts(events),
        vendor=outcome.vendor_id,
        process=leave.process_id if leave else None,
        revision=leave.revision if leave else None,
        now=now,
    )
    if outcome.plainly:
        await tx.run(_PLAIN, id=message.id)
    ids = [event_id for event_id, _ in rows if event_id is not None]
    await event_log.react(tx, events if ids else (), ids)
    return any(left for _, left in rows)


async def _record_refused(
    tx: Transaction,
    inbox: OpenInbox,
    state: ConversationState,
    message: QueuedMessage,
    outcome: SendRejected,
    *,
    now: datetime,
) -> None:
    state = await transitions.lock(tx, state.id)
    await tx.run(
        "update message set state = 'failed', attempts = attempts + 1, failure = %(failure)s, failure_code = %(code)s "
        "where id = %(id)s and state in ('queued', 'dropped')",
        failure=outcome.refusal,
        code=outcome.code,
        id=message.id,
    )
    await event_log.append(
        tx,
        MessageFailed(
            actor=_actor(message),
            at=now,
            reason=outcome.refusal.value,
            code=outcome.code,
            message_id=message.id,
            **state.about(),
        ),
    )
    native = outcome.native or (NativeState.HUMAN if outcome.refusal is Refusal.HUMAN_ACTIVE else None)
    if native is not None:
        change = ChangeNativeSession(native, outcome.servicer)
        state = (await transitions.apply_to(tx, state, change, actor=SYSTEM, now=now)).state
    # A session that could not be moved is no message that a person has to write instead, nor is a survey or a goodbye.
    answers = message.kind != "move" and message.content.keys().isdisjoint(("survey", "idle"))
    if native in (NativeState.HUMAN, NativeState.POOL) and answers:
        await transitions.apply_to(tx, state, Open("native"), actor=SYSTEM, now=now)
    elif message.author == Author.ASSISTANT and state.status is Status.PENDING and not message.content.get("code"):
        await service.hand_off(tx, state.id, reason="reply_failed", actor=SYSTEM, now=now)
    if outcome.refusal is Refusal.MISCONFIGURED:
        why = f"{outcome.refusal.value} ({outcome.code})"
        if message.kind == "move":
            # People have it in the desk anyway; an operator should hear why it did not reach the vendor's client.
            await mark_inbox_broken(tx, inbox.inbox_id, f"handoff.to: {why}", now=now)
        else:
            await mark_broken(tx, inbox.connection.id, why, now=now)


def _actor(message: QueuedMessage) -> Actor:
    if message.agent_id is not None:
        return Actor("agent", message.agent_id)
    return ASSISTANT if message.author == Author.ASSISTANT else SYSTEM
