"""Sends one stored message and writes down what became of it. The call and the writing are separate on purpose."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from zhiban.channels.connection_health import mark_broken, mark_inbox_broken, mark_mended
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import groups, service, transitions, work_state
from zhiban.conversations.changes import ChangeNativeSession, Open
from zhiban.conversations.models import PROGRAMS, Author, ConversationState, Status
from zhiban.conversations.outbox import QueuedMessage
from zhiban.conversations.outgoing_files import FILE_KINDS, OutgoingFiles
from zhiban.events import ASSISTANT, SYSTEM, Actor, MessageFailed, MessageSent
from zhiban.kit import event_log, metrics, rich_text
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import (
    Choice,
    ConnectionBroken,
    Kind,
    Limits,
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
  update message m set state = 'sent', attempts = attempts + 1, delivered_at = %(now)s, vendor_id = %(vendor)s::text,
    tried_at = null, failure = %(failure)s::text
  from held
  where m.workspace_id = held.workspace_id and m.id = %(id)s and m.state in ('queued', 'dropped') returning m.id),
{event_log.log_with("exists (select from sent)")},
{work_state.LEAVE_AFTER}
select id, false from logged union all select null, true from left_empty"""

# In a channel where a repeat is heard twice, this stands before the call: whoever finds it later does not know how the
# call ended, and does not make it again. Nobody makes it who has lost the lease meanwhile.
_TRY = """
update message m set tried_at = %(now)s from conversation_work w
where m.id = %(id)s and m.state = 'queued' and m.tried_at is null
  and w.workspace_id = m.workspace_id and w.conversation_id = m.conversation_id and w.leased_by = %(process)s
returning m.id"""
UNCONFIRMED = "unconfirmed"  # of what was sent as far as anybody knows: that the vendor has it was never said

# What may be said of a card and not of its words. Whoever cannot be written to cannot be written words either. Of what
# failed for a reason that nobody knows it may stand there nevertheless, so words follow where a repeat is heard once.
_OF_THE_CARD = frozenset((Refusal.KIND_FORBIDDEN, Refusal.BAD_MESSAGE))

# What went as words is found by them from then on, when somebody quotes it.
_PLAIN = (
    "update message set kind = 'text', content = content - '{title,description,url}'::text[] "
    "where id = %(id)s and kind = 'link'"
)

LONGEST_WAIT = 600.0
BROKEN_WAIT = 60.0
GIVE_UP_AFTER = timedelta(hours=48)
GOODBYE_LASTS = timedelta(minutes=10)  # later than that nobody expects the closing words


@frozen_dataclass
class SendSucceeded:
    """The vendor took it. `native` tells where a session move ended up, `vendor_id` by what the vendor knows it."""

    native: NativeState | None = None
    vendor_id: str | None = None  # where that is another id than our key
    plainly: bool = False  # its words went instead of its card
    confirmed: bool = True  # the vendor said so; otherwise nobody knows, and it is not sent again by itself


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


@frozen_dataclass
class NothingToSend:
    """No call was made, as there is nothing to say any more."""


SendOutcome = SendSucceeded | SendRejected | Deferred | NothingToSend
SendCall = Callable[[], Awaitable[str]]
Mark = Callable[[], Awaitable[None]]


class NotToBeSent(Exception):
    """Others have seen to the message meanwhile: nothing is to be sent any more."""


async def _unmarked() -> None:
    """Where a repeat is heard once, nobody needs to know that a call is about to be made."""


@frozen_dataclass
class WorkHold:
    """The lease of a conversation's work as the worker last saw it."""

    process_id: int
    revision: int


async def try_once(tx: Transaction, message: QueuedMessage, *, process: int, now: datetime) -> bool:
    """Say beforehand that a message is about to be sent whose repeat would be heard twice.

    False where it must not be sent: it waits no more, was tried before, or the lease was lost.
    """
    return bool(await tx.value(_TRY, id=message.id, process=process, now=now))


async def dispatch(
    inbox: OpenInbox,
    thread: str,
    message: QueuedMessage,
    files: OutgoingFiles,
    *,
    now: datetime,
    mark: Mark = _unmarked,
) -> SendOutcome:
    """Make the call. Never raises for what a vendor may answer.

    `mark` is called right before anything is said, when a file has been handed over already; what it raises is raised.
    """
    if message.tried and not inbox.channel.limits.repeats:
        return SendSucceeded(confirmed=False)
    try:
        if message.kind == "move":
            return await _move(inbox, thread, message, mark, now=now)
        if message.kind in FILE_KINDS:
            return await _send_file(inbox, thread, message, files, mark)
        if message.kind == Kind.LINK:
            return await _send_card(inbox, thread, message, mark)
        return await _send(inbox, thread, message, mark, now=now)
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


async def _send(inbox: OpenInbox, thread: str, message: QueuedMessage, mark: Mark, *, now: datetime) -> SendSucceeded:
    outgoing = as_outgoing(thread, message, limits=inbox.channel.limits)
    code = message.content.get("code")
    if not code:
        return await _say(inbox, message, partial(inbox.channel.send, outgoing), mark)
    if now >= datetime.fromisoformat(message.content["expires"]) or not isinstance(inbox.channel, RepliesToEvents):
        raise SendRefused(Refusal.CODE_EXPIRED)
    return await _say(inbox, message, partial(inbox.channel.reply_to_event, code, outgoing), mark)


async def _say(inbox: OpenInbox, message: QueuedMessage, call: SendCall, mark: Mark) -> SendSucceeded:
    """Where nobody knows whether it arrived and a repeat might stand there twice, which is worse than not at all, it
    counts as sent at once, as another process would not know."""
    await mark()
    try:
        id_ = await call()
    except TryLater as error:
        if error.unknown and not inbox.channel.limits.repeats:
            return SendSucceeded(confirmed=False)
        raise
    return SendSucceeded(vendor_id=id_ if id_ and id_ != message.external_id else None)


async def _send_card(inbox: OpenInbox, thread: str, message: QueuedMessage, mark: Mark) -> SendSucceeded:
    """Send the card, or its words where the vendor will not have it."""
    outgoing = as_outgoing(thread, message)
    try:
        return await _say(inbox, message, partial(inbox.channel.send, outgoing), mark)
    except SendRefused as error:
        doubtful = error.refusal is Refusal.UNKNOWN and inbox.channel.limits.repeats
        if error.refusal not in _OF_THE_CARD and not doubtful:
            raise
    words = replace(outgoing, kind=Kind.TEXT, link=None)
    return replace(await _say(inbox, message, partial(inbox.channel.send, words), mark), plainly=True)


async def _send_file(
    inbox: OpenInbox, thread: str, message: QueuedMessage, files: OutgoingFiles, mark: Mark
) -> SendSucceeded:
    """Hand the file over and send it; once more where the vendor has lost what an earlier attempt gave it."""
    given = await files.hand_over(inbox, message.id)
    try:
        outgoing = as_outgoing(thread, message, given.media)
        return await _say(inbox, message, partial(inbox.channel.send, outgoing), mark)
    except SendRefused as error:
        if not given.kept or error.refusal is not Refusal.BAD_MESSAGE:
            raise
        given = await files.hand_over(inbox, message.id, anew=True)
        outgoing = as_outgoing(thread, message, given.media)
        return await _say(inbox, message, partial(inbox.channel.send, outgoing), mark)


def goes_on(message: QueuedMessage, state: ConversationState) -> bool:
    """Whether this would end the session, and say goodbye, to somebody who has written again meanwhile."""
    return message.kind == "move" and message.content["to"] == "ended" and state.status is not Status.RESOLVED


async def _move(inbox: OpenInbox, thread: str, message: QueuedMessage, mark: Mark, *, now: datetime) -> SendOutcome:
    """Move the session; what is to be said about it goes out on the code that the vendor returns."""
    channel, content = inbox.channel, message.content
    late = content["to"] == "ended" and now - message.sent_at > GOODBYE_LASTS
    say = "" if late else content.get("say")
    if not isinstance(channel, TransfersNatively):
        # A channel without sessions: only the words remain. Nobody quotes what no message stands for.
        if not say:
            return NothingToSend()
        words = Outgoing(key=message.external_id, thread=thread, kind=Kind.TEXT, text=say)
        return replace(await _say(inbox, message, partial(channel.send, words), mark), vendor_id=None)
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


def as_outgoing(
    thread: str, message: QueuedMessage, media: Media | None = None, *, limits: Limits | None = None
) -> Outgoing:
    """The stored message in the words of the port, with its file. Where the channel of these `limits` formats, with the
    marks that its writer chose; everywhere else its text has none."""
    content = message.content
    source = content.get("rich")
    if source and limits is not None and limits.formats:
        # What stands above the writer's own words, a quotation or names, holds no marks of theirs.
        above = message.text[: len(message.text) - len(rich_text.plain(source))]
        marked = rich_text.escaped(above) + source
        if limits.size(marked) <= limits.text:
            message = replace(message, kind=Kind.MARKDOWN, text=marked)
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
    outcome: SendOutcome,
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
        case NothingToSend():
            await tx.run("update message set state = 'dropped' where id = %(id)s and state = 'queued'", id=message.id)
        case Deferred():
            metrics.send(inbox.kind, "delayed")
            await tx.run("update message set attempts = attempts + 1, tried_at = null where id = %(id)s", id=message.id)
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
    sent = MessageSent(
        actor=_actor(message), at=now, message_id=message.id, confirmed=outcome.confirmed, **state.about()
    )
    events = () if moved else (sent,)
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
        failure=None if outcome.confirmed else UNCONFIRMED,
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
        "update message set state = 'failed', attempts = attempts + 1, failure = %(failure)s, failure_code = %(code)s, "
        "tried_at = null where id = %(id)s and state in ('queued', 'dropped')",
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
    state = await groups.note_refused(tx, state, outcome.refusal, now=now)
    native = outcome.native or (NativeState.HUMAN if outcome.refusal is Refusal.HUMAN_ACTIVE else None)
    if native is not None:
        change = ChangeNativeSession(native, outcome.servicer)
        state = (await transitions.apply_to(tx, state, change, actor=SYSTEM, now=now)).state
    # A session that could not be moved is no message that a person has to write instead, nor is a survey or a goodbye.
    answers = message.kind != "move" and message.content.keys().isdisjoint(("survey", "idle"))
    if native in (NativeState.HUMAN, NativeState.POOL) and answers:
        await transitions.apply_to(tx, state, Open("native"), actor=SYSTEM, now=now)
    elif message.author in PROGRAMS and state.status is Status.PENDING and not message.content.get("code"):
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
