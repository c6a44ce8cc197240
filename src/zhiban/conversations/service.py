"""The verbs of the desk. Each takes a transaction, changes rows, writes the event, and never commits or calls out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zhiban.conversations import outbox
from zhiban.conversations.models import Author, Status
from zhiban.conversations.outbox import (
    Allowance,
    ReplyTooLong,
    ReplyWindowClosed,
    allowance,
    enqueue_transfer,
    key_for,
    parts_needed,
)
from zhiban.events import (
    SYSTEM,
    Actor,
    ConversationAssigned,
    ConversationHandedOff,
    ConversationOpened,
    ConversationReopened,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    Event,
    NoteAdded,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.event_log import CONVERSATION_CHANGED, CONVERSATION_WAITING
from zhiban.kit.jobs import later
from zhiban.ports import NativeState, ReplyWindow


@dataclass(frozen=True, slots=True)
class LockedConversation:
    """A conversation whose row this transaction has locked."""

    id: int
    inbox_id: int
    contact_id: int | None
    external_id: str
    status: Status
    assignee_id: int | None
    waiting_since: datetime | None
    first_reply_at: datetime | None
    last_incoming_at: datetime | None
    replies_used: int
    native_state: str | None
    cycle: int

    def allowance(self, window: ReplyWindow | None) -> Allowance:
        said, used, native = self.last_incoming_at, self.replies_used, self.native_state
        return allowance(window, last_incoming_at=said, replies_used=used, native_state=native)


_LOCK = """
select id, inbox_id, contact_id, external_id, status, assignee_id, waiting_since, first_reply_at, last_incoming_at,
  replies_used, native_state, cycle
from conversation where id = %(id)s for update"""


async def lock_conversation(tx: Transaction, conversation_id: int) -> LockedConversation:
    """Lock a conversation until the end of the transaction. Raises NotFound."""
    locked = await tx.object(LockedConversation, _LOCK, id=conversation_id)
    if locked is None:
        raise NotFound("There is no such conversation.")
    return locked


async def reply(
    tx: Transaction,
    conversation_id: int,
    *,
    text: str,
    by: int,
    window: ReplyWindow | None,
    now: datetime,
    client_key: str | None = None,
) -> list[int]:
    """An agent answers: the conversation becomes theirs to finish, and the assistant keeps quiet.

    The same `client_key` sends once. Raises ReplyWindowClosed, ReplyTooLong (a person's words are never cut),
    Conflict on empty text, NotFound.
    """
    if not text.strip():
        raise Conflict("There is nothing to send.")
    locked = await lock_conversation(tx, conversation_id)
    if client_key is not None and await tx.value(
        "select 1 from message where conversation_id = %(id)s and client_key = %(key)s", id=locked.id, key=client_key
    ):
        return []
    may = locked.allowance(window)
    if reason := may.closed(now):
        raise ReplyWindowClosed(reason)
    if may.left is not None and (needed := parts_needed(text)) > may.left:
        raise ReplyTooLong(needed, may.left)
    actor = Actor("agent", by)
    if locked.status != Status.OPEN:
        await _open(tx, locked, actor=actor, now=now, cause="replied")
    if locked.assignee_id is None:
        await _assign(tx, locked, to=by, actor=actor, now=now, cause="replied")
    await _cancel_assistant_work(tx, locked)
    count = await tx.value("select count(*) from message where conversation_id = %(id)s", id=locked.id)
    parts = await outbox.enqueue(
        tx,
        locked.id,
        author=Author.AGENT,
        actor=actor,
        text=text,
        key=key_for("reply", tx.workspace_id, locked.id, client_key or f"{count}:{now.isoformat()}"),
        now=now,
        client_key=client_key,
    )
    await tx.run(
        "update conversation set waiting_since = null, first_reply_at = coalesce(first_reply_at, %(now)s) "
        "where id = %(id)s",
        id=locked.id,
        now=now,
    )
    return [part.id for part in parts]


async def add_note(tx: Transaction, conversation_id: int, *, text: str, by: int, now: datetime) -> int:
    """Write something for colleagues only. Raises Conflict on empty text, NotFound."""
    if not text.strip():
        raise Conflict("There is nothing to note.")
    locked = await lock_conversation(tx, conversation_id)
    id_ = await _write_line(tx, locked, author=Author.AGENT, kind="note", text=text, agent=by, content={}, now=now)
    await event_log.append(tx, NoteAdded(actor=Actor("agent", by), at=now, conversation_id=locked.id, message_id=id_))
    return id_


async def hand_off(
    tx: Transaction,
    conversation_id: int,
    *,
    reason: str,
    actor: Actor,
    now: datetime,
    notice: str = "",
    native_to: str | None = None,
    servicer: str | None = None,
    window: ReplyWindow | None = None,
) -> bool:
    """The assistant gives the conversation to people, who are told, and so is the contact with `notice`.

    `native_to` moves the session in the vendor's view too ("pool" or "human"). False when people have it already.
    """
    locked = await lock_conversation(tx, conversation_id)
    if locked.status in (Status.OPEN, Status.SNOOZED):
        return False
    await _cancel_assistant_work(tx, locked)
    key = key_for("handoff", tx.workspace_id, locked.id, locked.cycle, now.isoformat())
    if notice and not locked.allowance(window).closed(now):
        await outbox.enqueue(tx, locked.id, author=Author.ASSISTANT, actor=actor, text=notice, key=key, now=now, most=1)
    await event_log.append(
        tx,
        ConversationHandedOff(
            actor=actor,
            at=now,
            cause=reason,
            conversation_id=locked.id,
            contact_id=locked.contact_id,
            inbox_id=locked.inbox_id,
            before={"status": locked.status},
            after={"status": Status.OPEN, "reason": reason},
        ),
    )
    await tx.run(
        "update conversation set status = 'open', handoff_reason = %(reason)s, opened_at = %(now)s, failures = 0, "
        "snoozed_until = null, waiting_since = coalesce(waiting_since, last_incoming_at, %(now)s) where id = %(id)s",
        id=locked.id,
        reason=reason,
        now=now,
    )
    await _activity(tx, locked, "handed_off", actor=actor, now=now, reason=reason)
    if native_to is not None:
        await enqueue_transfer(tx, locked.id, to=native_to, actor=actor, key=key + "m", now=now, servicer=servicer)
    await notify_handoff(tx, locked.id)
    return True


async def notify_handoff(tx: Transaction, conversation_id: int) -> None:
    """Let our people hear, once this is committed, that somebody waits for them."""
    await later(tx, "notify_handoff", key=f"tell:{tx.workspace_id}:{conversation_id}", conversation_id=conversation_id)


async def open_by_hand(tx: Transaction, conversation_id: int, *, by: int, now: datetime) -> None:
    """An agent takes the conversation, whatever its status, and becomes its assignee."""
    locked = await lock_conversation(tx, conversation_id)
    actor = Actor("agent", by)
    if locked.status != Status.OPEN:
        await _open(tx, locked, actor=actor, now=now, cause="taken")
        await _cancel_assistant_work(tx, locked)
    if locked.assignee_id != by:
        await _assign(tx, locked, to=by, actor=actor, now=now, cause="taken")


async def assign(
    tx: Transaction, conversation_id: int, *, to: int | None, by: Actor, now: datetime, cause: str = ""
) -> None:
    """Give the conversation to an agent, or to nobody."""
    locked = await lock_conversation(tx, conversation_id)
    if locked.assignee_id != to:
        await _assign(tx, locked, to=to, actor=by, now=now, cause=cause)


async def release(tx: Transaction, agent_id: int, *, now: datetime) -> None:
    """What a disabled agent had in hand waits for the others. One who was enabled again meanwhile keeps it."""
    rows = await tx.rows(
        "select c.id from conversation c join agent a on a.workspace_id = c.workspace_id and a.id = c.assignee_id "
        "where a.id = %(agent)s and a.disabled_at is not null and c.status <> 'resolved' order by c.id",
        agent=agent_id,
    )
    for (conversation_id,) in rows:
        await assign(tx, conversation_id, to=None, by=SYSTEM, now=now, cause="agent_disabled")


async def resolve(
    tx: Transaction, conversation_id: int, *, by: Actor, now: datetime, closing: str | None = None, cause: str = ""
) -> bool:
    """Done. The contact reads `closing`, or what the inbox's policy says when it is None.

    With such a text, or when people hold the session in the vendor's view, it ends there too: otherwise the assistant
    could never answer again. False when it was resolved already.
    """
    locked = await lock_conversation(tx, conversation_id)
    if locked.status == Status.RESOLVED:
        return False
    await event_log.append(
        tx,
        ConversationResolved(
            actor=by,
            at=now,
            cause=cause,
            conversation_id=locked.id,
            contact_id=locked.contact_id,
            inbox_id=locked.inbox_id,
            before={"status": locked.status, "assignee_id": locked.assignee_id, "cycle": locked.cycle},
            after={"status": Status.RESOLVED},
        ),
    )
    await tx.run(
        "update conversation set status = 'resolved', resolved_at = %(now)s, snoozed_until = null, "
        "waiting_since = null, handoff_reason = null, failures = 0 where id = %(id)s",
        id=locked.id,
        now=now,
    )
    await _cancel_assistant_work(tx, locked)
    await _activity(tx, locked, "resolved", actor=by, now=now)
    if closing is None:
        closing = await tx.value("select policy ->> 'closing' from inbox where id = %(id)s", id=locked.inbox_id) or ""
    if closing or locked.native_state in (NativeState.POOL, NativeState.HUMAN):
        key = key_for("closing", tx.workspace_id, locked.id, locked.cycle)
        await enqueue_transfer(tx, locked.id, to="ended", actor=by, key=key, now=now, servicer=None, say=closing)
    return True


async def reopen(tx: Transaction, conversation_id: int, *, by: int, now: datetime) -> None:
    """An agent takes up a resolved or snoozed conversation again."""
    locked = await lock_conversation(tx, conversation_id)
    if locked.status == Status.OPEN:
        return
    await _open(tx, locked, actor=Actor("agent", by), now=now, cause="reopened")


async def hand_back(tx: Transaction, conversation_id: int, *, by: int, now: datetime) -> None:
    """Give the conversation back to the assistant. Raises Conflict while people have it in the vendor's client."""
    locked = await lock_conversation(tx, conversation_id)
    if locked.native_state in ("pool", "human"):
        raise Conflict("A colleague has this session in the vendor's own client; it comes back when they end it.")
    if locked.status == Status.PENDING:
        return
    actor = Actor("agent", by)
    await event_log.append(
        tx,
        ConversationReturned(
            actor=actor,
            at=now,
            conversation_id=locked.id,
            before={"status": locked.status},
            after={"status": "pending"},
        ),
    )
    await tx.run(
        "update conversation set status = 'pending', assignee_id = null, handoff_reason = null, failures = 0, "
        "snoozed_until = null, waiting_since = null where id = %(id)s",
        id=locked.id,
    )
    await _activity(tx, locked, "returned", actor=actor, now=now)


async def snooze(tx: Transaction, conversation_id: int, *, until: datetime, by: int, now: datetime) -> None:
    """Out of sight until a time. Raises Conflict when that time is over."""
    if until <= now:
        raise Conflict("The time to come back must lie ahead.")
    locked = await lock_conversation(tx, conversation_id)
    actor = Actor("agent", by)
    await event_log.append(
        tx,
        ConversationSnoozed(
            actor=actor,
            at=now,
            conversation_id=locked.id,
            before={"status": locked.status},
            after={"status": Status.SNOOZED, "until": until.isoformat()},
        ),
    )
    await tx.run(
        "update conversation set status = 'snoozed', snoozed_until = %(until)s where id = %(id)s",
        id=locked.id,
        until=until,
    )
    await _cancel_assistant_work(tx, locked)
    await _activity(tx, locked, "snoozed", actor=actor, now=now, until=until.isoformat())


async def wake_snoozed(tx: Transaction, *, now: datetime) -> int:
    """Open every conversation whose time has come. Returns how many."""
    due = await tx.objects(
        LockedConversation,
        _LOCK.replace(
            "where id = %(id)s for update",
            "where status = 'snoozed' and snoozed_until <= %(now)s order by id limit 200 for update skip locked",
        ),
        now=now,
    )
    for locked in due:
        await _open(tx, locked, actor=Actor("timer"), now=now, cause="snooze_over")
    return len(due)


async def mark_read(tx: Transaction, conversation_id: int, *, agent_id: int, message_id: int) -> None:
    """Remember how far an agent has read; it never goes back."""
    await tx.run(
        "insert into read_mark (workspace_id, conversation_id, agent_id, message_id) "
        "select %(workspace)s, id, %(agent)s, %(message)s from conversation where id = %(conversation)s "
        "on conflict (workspace_id, conversation_id, agent_id) do update "
        "set message_id = greatest(read_mark.message_id, excluded.message_id)",
        workspace=tx.workspace_id,
        conversation=conversation_id,
        agent=agent_id,
        message=message_id,
    )


async def send_again(tx: Transaction, message_id: int, *, window: ReplyWindow | None, now: datetime) -> None:
    """Queue a failed message once more, under a new key. Raises NotFound, Conflict, ReplyWindowClosed."""
    row = await tx.row(
        "select conversation_id, state, attempts from message where id = %(id)s and direction = 'out'", id=message_id
    )
    if row is None:
        raise NotFound("There is no such message.")
    conversation_id, state, attempts = row
    if state != "failed":
        raise Conflict("Only a message that failed can be sent again.")
    locked = await lock_conversation(tx, conversation_id)
    if reason := locked.allowance(window).closed(now):
        raise ReplyWindowClosed(reason)
    await tx.run(
        "update message set state = 'queued', failure = null, failure_code = null, external_id = %(key)s "
        "where id = %(id)s",
        id=message_id,
        key=key_for("again", tx.workspace_id, message_id, attempts, now.isoformat()),
    )
    await tx.run(
        "update conversation set rings = rings + 1, replies_used = replies_used + 1 where id = %(id)s", id=locked.id
    )
    tx.publish_after_commit(CONVERSATION_WAITING, locked.id)
    tx.publish_after_commit(CONVERSATION_CHANGED, locked.id)


# ------------------------------------------------------------------------------------------------- shared steps


async def open_for_people(
    tx: Transaction, locked: LockedConversation, *, actor: Actor, now: datetime, cause: str
) -> None:
    """Make it people's without telling the contact, for instance because a servicer already writes."""
    if locked.status != Status.OPEN:
        await _open(tx, locked, actor=actor, now=now, cause=cause)
        await _cancel_assistant_work(tx, locked)


async def _open(tx: Transaction, locked: LockedConversation, *, actor: Actor, now: datetime, cause: str) -> None:
    again = locked.status in (Status.RESOLVED, Status.SNOOZED)
    fact: type[Event] = ConversationReopened if again else ConversationOpened
    await event_log.append(
        tx,
        fact(
            actor=actor,
            at=now,
            cause=cause,
            conversation_id=locked.id,
            contact_id=locked.contact_id,
            inbox_id=locked.inbox_id,
            before={"status": locked.status},
            after={"status": Status.OPEN},
        ),
    )
    await tx.run(
        "update conversation set status = 'open', opened_at = %(now)s, snoozed_until = null, failures = 0, "
        "cycle = cycle + %(again)s, handoff_reason = %(cause)s where id = %(id)s",
        id=locked.id,
        now=now,
        again=int(locked.status == Status.RESOLVED),
        cause=cause,
    )
    await _activity(tx, locked, "opened", actor=actor, now=now, reason=cause)


async def _assign(
    tx: Transaction, locked: LockedConversation, *, to: int | None, actor: Actor, now: datetime, cause: str
) -> None:
    await event_log.append(
        tx,
        ConversationAssigned(
            actor=actor,
            at=now,
            cause=cause,
            conversation_id=locked.id,
            before={"assignee_id": locked.assignee_id},
            after={"assignee_id": to},
        ),
    )
    await tx.run("update conversation set assignee_id = %(to)s where id = %(id)s", id=locked.id, to=to)
    await _activity(tx, locked, "assigned", actor=actor, now=now, to=to)


async def _cancel_assistant_work(tx: Transaction, locked: LockedConversation) -> None:
    """The assistant's unsent words and unanswered questions are void once a person has the conversation."""
    await tx.run(
        "update message set state = case direction when 'in' then 'handled' else 'dropped' end "
        "where conversation_id = %(id)s and (state = 'pending' or (state = 'queued' and turn_id is not null))",
        id=locked.id,
    )
    await tx.run("update conversation set rings = rings + 1 where id = %(id)s", id=locked.id)
    tx.publish_after_commit(CONVERSATION_WAITING, locked.id)


async def _activity(
    tx: Transaction, locked: LockedConversation, what: str, *, actor: Actor, now: datetime, **details: Any
) -> None:
    """A line in the thread that says who did what; its words are chosen when it is shown."""
    content = {"what": what, "by": actor.kind, **{name: value for name, value in details.items() if value is not None}}
    await _write_line(
        tx, locked, author=Author.SYSTEM, kind="activity", text="", agent=actor.id, content=content, now=now
    )


async def _write_line(
    tx: Transaction,
    locked: LockedConversation,
    *,
    author: Author,
    kind: str,
    text: str,
    agent: int | None,
    content: Mapping[str, Any],
    now: datetime,
) -> int:
    id_ = await tx.value(
        "insert into message (workspace_id, conversation_id, inbox_id, direction, author, agent_id, kind, text, "
        "content, state, sent_at) values (%(workspace)s, %(conversation)s, %(inbox)s, 'internal', %(author)s, "
        "%(agent)s, %(kind)s, %(text)s, %(content)s::jsonb, 'stored', %(now)s) returning id",
        workspace=tx.workspace_id,
        conversation=locked.id,
        inbox=locked.inbox_id,
        author=author,
        agent=agent,
        kind=kind,
        text=text,
        content=json.dumps(content, ensure_ascii=False),
        now=now,
    )
    return int(id_)
