"""The verbs of the desk. Each takes a transaction, changes rows, writes the event, and never commits or calls out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zhiban.conversations.models import Author, Status
from zhiban.conversations.outbox import Allowance, ReplyWindowClosed, allowance, key_for, queue, queue_move
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
from zhiban.kit.db import Work
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.event_log import LANE, LIVE, record
from zhiban.kit.jobs import later
from zhiban.ports import NativeState, ReplyWindow


@dataclass(frozen=True, slots=True)
class Held:
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
        return allowance(window, last_incoming_at=self.last_incoming_at, replies_used=self.replies_used)


_HOLD = """
select id, inbox_id, contact_id, external_id, status, assignee_id, waiting_since, first_reply_at, last_incoming_at,
  replies_used, native_state, cycle
from conversation where id = %(id)s for update"""


async def hold(work: Work, conversation_id: int) -> Held:
    """Lock a conversation until the end of the transaction. Raises NotFound."""
    held = await work.object(Held, _HOLD, id=conversation_id)
    if held is None:
        raise NotFound("There is no such conversation.")
    return held


async def reply(
    work: Work,
    conversation_id: int,
    *,
    text: str,
    by: int,
    window: ReplyWindow | None,
    now: datetime,
    client_key: str | None = None,
) -> list[int]:
    """An agent answers: the conversation becomes theirs to finish, and the assistant keeps quiet.

    The same `client_key` sends once. Raises ReplyWindowClosed, Conflict on empty text, NotFound.
    """
    if not text.strip():
        raise Conflict("There is nothing to send.")
    held = await hold(work, conversation_id)
    if client_key is not None and await work.value(
        "select 1 from message where conversation_id = %(id)s and client_key = %(key)s", id=held.id, key=client_key
    ):
        return []
    may = held.allowance(window)
    if reason := may.closed(now):
        raise ReplyWindowClosed(reason)
    actor = Actor("agent", by)
    if held.status != Status.OPEN:
        await _open(work, held, actor=actor, now=now, cause="replied")
    if held.assignee_id is None:
        await _assign(work, held, to=by, actor=actor, now=now, cause="replied")
    await _drop_thinking(work, held)
    count = await work.value("select count(*) from message where conversation_id = %(id)s", id=held.id)
    parts = await queue(
        work,
        held.id,
        author=Author.AGENT,
        actor=actor,
        text=text,
        key=key_for("reply", work.workspace_id, held.id, client_key or f"{count}:{now.isoformat()}"),
        now=now,
        client_key=client_key,
        most=may.left,
    )
    await work.run(
        "update conversation set waiting_since = null, first_reply_at = coalesce(first_reply_at, %(now)s) "
        "where id = %(id)s",
        id=held.id,
        now=now,
    )
    return [part.id for part in parts]


async def add_note(work: Work, conversation_id: int, *, text: str, by: int, now: datetime) -> int:
    """Write something for colleagues only. Raises Conflict on empty text, NotFound."""
    if not text.strip():
        raise Conflict("There is nothing to note.")
    held = await hold(work, conversation_id)
    id_ = await _write_line(work, held, author=Author.AGENT, kind="note", text=text, agent=by, content={}, now=now)
    await record(work, NoteAdded(actor=Actor("agent", by), at=now, conversation_id=held.id, message_id=id_))
    return id_


async def hand_off(
    work: Work,
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
    held = await hold(work, conversation_id)
    if held.status in (Status.OPEN, Status.SNOOZED):
        return False
    await _drop_thinking(work, held)
    key = key_for("handoff", work.workspace_id, held.id, held.cycle, now.isoformat())
    if notice and not held.allowance(window).closed(now):
        await queue(work, held.id, author=Author.ASSISTANT, actor=actor, text=notice, key=key, now=now, most=1)
    await record(
        work,
        ConversationHandedOff(
            actor=actor,
            at=now,
            cause=reason,
            conversation_id=held.id,
            contact_id=held.contact_id,
            inbox_id=held.inbox_id,
            before={"status": held.status},
            after={"status": Status.OPEN, "reason": reason},
        ),
    )
    await work.run(
        "update conversation set status = 'open', handoff_reason = %(reason)s, opened_at = %(now)s, failures = 0, "
        "snoozed_until = null, waiting_since = coalesce(waiting_since, last_incoming_at, %(now)s) where id = %(id)s",
        id=held.id,
        reason=reason,
        now=now,
    )
    await _activity(work, held, "handed_off", actor=actor, now=now, reason=reason)
    if native_to is not None:
        await queue_move(work, held.id, to=native_to, actor=actor, key=key + "m", now=now, servicer=servicer, say="")
    await tell_people(work, held.id)
    return True


async def tell_people(work: Work, conversation_id: int) -> None:
    """Let our people hear, once this is committed, that somebody waits for them."""
    await later(work, "tell_people", key=f"tell:{work.workspace_id}:{conversation_id}", conversation_id=conversation_id)


async def open_by_hand(work: Work, conversation_id: int, *, by: int, now: datetime) -> None:
    """An agent takes the conversation, whatever its status, and becomes its assignee."""
    held = await hold(work, conversation_id)
    actor = Actor("agent", by)
    if held.status != Status.OPEN:
        await _open(work, held, actor=actor, now=now, cause="taken")
        await _drop_thinking(work, held)
    if held.assignee_id != by:
        await _assign(work, held, to=by, actor=actor, now=now, cause="taken")


async def assign(
    work: Work, conversation_id: int, *, to: int | None, by: Actor, now: datetime, cause: str = ""
) -> None:
    """Give the conversation to an agent, or to nobody."""
    held = await hold(work, conversation_id)
    if held.assignee_id != to:
        await _assign(work, held, to=to, actor=by, now=now, cause=cause)


async def release(work: Work, agent_id: int, *, now: datetime) -> None:
    """What a disabled agent had in hand waits for the others. One who was enabled again meanwhile keeps it."""
    rows = await work.rows(
        "select c.id from conversation c join agent a on a.workspace_id = c.workspace_id and a.id = c.assignee_id "
        "where a.id = %(agent)s and a.disabled_at is not null and c.status <> 'resolved' order by c.id",
        agent=agent_id,
    )
    for (conversation_id,) in rows:
        await assign(work, conversation_id, to=None, by=SYSTEM, now=now, cause="agent_disabled")


async def resolve(
    work: Work, conversation_id: int, *, by: Actor, now: datetime, closing: str | None = None, cause: str = ""
) -> bool:
    """Done. The contact reads `closing`, or what the inbox's policy says when it is None.

    With such a text, or when people hold the session in the vendor's view, it ends there too: otherwise the assistant
    could never answer again. False when it was resolved already.
    """
    held = await hold(work, conversation_id)
    if held.status == Status.RESOLVED:
        return False
    await record(
        work,
        ConversationResolved(
            actor=by,
            at=now,
            cause=cause,
            conversation_id=held.id,
            contact_id=held.contact_id,
            inbox_id=held.inbox_id,
            before={"status": held.status, "assignee_id": held.assignee_id, "cycle": held.cycle},
            after={"status": Status.RESOLVED},
        ),
    )
    await work.run(
        "update conversation set status = 'resolved', resolved_at = %(now)s, snoozed_until = null, "
        "waiting_since = null, handoff_reason = null, failures = 0 where id = %(id)s",
        id=held.id,
        now=now,
    )
    await _drop_thinking(work, held)
    await _activity(work, held, "resolved", actor=by, now=now)
    if closing is None:
        closing = await work.value("select policy ->> 'closing' from inbox where id = %(id)s", id=held.inbox_id) or ""
    if closing or held.native_state in (NativeState.POOL, NativeState.HUMAN):
        key = key_for("closing", work.workspace_id, held.id, held.cycle)
        await queue_move(work, held.id, to="ended", actor=by, key=key, now=now, servicer=None, say=closing)
    return True


async def reopen(work: Work, conversation_id: int, *, by: int, now: datetime) -> None:
    """An agent takes up a resolved or snoozed conversation again."""
    held = await hold(work, conversation_id)
    if held.status == Status.OPEN:
        return
    await _open(work, held, actor=Actor("agent", by), now=now, cause="reopened")


async def hand_back(work: Work, conversation_id: int, *, by: int, now: datetime) -> None:
    """Give the conversation back to the assistant. Raises Conflict while people have it in the vendor's client."""
    held = await hold(work, conversation_id)
    if held.native_state in ("pool", "human"):
        raise Conflict("A colleague has this session in the WeCom client; it comes back when they end it.")
    if held.status == Status.PENDING:
        return
    actor = Actor("agent", by)
    await record(
        work,
        ConversationReturned(
            actor=actor, at=now, conversation_id=held.id, before={"status": held.status}, after={"status": "pending"}
        ),
    )
    await work.run(
        "update conversation set status = 'pending', assignee_id = null, handoff_reason = null, failures = 0, "
        "snoozed_until = null, waiting_since = null where id = %(id)s",
        id=held.id,
    )
    await _activity(work, held, "returned", actor=actor, now=now)


async def snooze(work: Work, conversation_id: int, *, until: datetime, by: int, now: datetime) -> None:
    """Out of sight until a time. Raises Conflict when that time is over."""
    if until <= now:
        raise Conflict("The time to come back must lie ahead.")
    held = await hold(work, conversation_id)
    actor = Actor("agent", by)
    await record(
        work,
        ConversationSnoozed(
            actor=actor,
            at=now,
            conversation_id=held.id,
            before={"status": held.status},
            after={"status": Status.SNOOZED, "until": until.isoformat()},
        ),
    )
    await work.run(
        "update conversation set status = 'snoozed', snoozed_until = %(until)s where id = %(id)s",
        id=held.id,
        until=until,
    )
    await _drop_thinking(work, held)
    await _activity(work, held, "snoozed", actor=actor, now=now, until=until.isoformat())


async def wake_snoozed(work: Work, *, now: datetime) -> int:
    """Open every conversation whose time has come. Returns how many."""
    due = await work.objects(
        Held,
        _HOLD.replace(
            "where id = %(id)s for update",
            "where status = 'snoozed' and snoozed_until <= %(now)s order by id limit 200 for update skip locked",
        ),
        now=now,
    )
    for held in due:
        await _open(work, held, actor=Actor("timer"), now=now, cause="snooze_over")
    return len(due)


async def mark_read(work: Work, conversation_id: int, *, agent_id: int, message_id: int) -> None:
    """Remember how far an agent has read; it never goes back."""
    await work.run(
        "insert into read_mark (workspace_id, conversation_id, agent_id, message_id) "
        "select %(workspace)s, id, %(agent)s, %(message)s from conversation where id = %(conversation)s "
        "on conflict (workspace_id, conversation_id, agent_id) do update "
        "set message_id = greatest(read_mark.message_id, excluded.message_id)",
        workspace=work.workspace_id,
        conversation=conversation_id,
        agent=agent_id,
        message=message_id,
    )


async def save_draft(work: Work, conversation_id: int, *, agent_id: int, mode: str, text: str, now: datetime) -> None:
    """Keep what an agent has typed; empty text forgets it."""
    if not text.strip():
        await work.run(
            "delete from draft where conversation_id = %(conversation)s and agent_id = %(agent)s",
            conversation=conversation_id,
            agent=agent_id,
        )
        return
    await work.run(
        "insert into draft (workspace_id, conversation_id, agent_id, mode, text, saved_at) "
        "select %(workspace)s, id, %(agent)s, %(mode)s, %(text)s, %(now)s from conversation "
        "where id = %(conversation)s on conflict (workspace_id, conversation_id, agent_id) do update "
        "set mode = excluded.mode, text = excluded.text, saved_at = excluded.saved_at",
        workspace=work.workspace_id,
        conversation=conversation_id,
        agent=agent_id,
        mode=mode,
        text=text,
        now=now,
    )


async def send_again(work: Work, message_id: int, *, window: ReplyWindow | None, now: datetime) -> None:
    """Queue a failed message once more, under a new key. Raises NotFound, Conflict, ReplyWindowClosed."""
    row = await work.row(
        "select conversation_id, state, attempts from message where id = %(id)s and direction = 'out'", id=message_id
    )
    if row is None:
        raise NotFound("There is no such message.")
    conversation_id, state, attempts = row
    if state != "failed":
        raise Conflict("Only a message that failed can be sent again.")
    held = await hold(work, conversation_id)
    if reason := held.allowance(window).closed(now):
        raise ReplyWindowClosed(reason)
    await work.run(
        "update message set state = 'queued', failure = null, failure_code = null, external_id = %(key)s "
        "where id = %(id)s",
        id=message_id,
        key=key_for("again", work.workspace_id, message_id, attempts, now.isoformat()),
    )
    await work.run(
        "update conversation set rings = rings + 1, replies_used = replies_used + 1 where id = %(id)s", id=held.id
    )
    work.touch(LANE, held.id)
    work.touch(LIVE, held.id)


# ------------------------------------------------------------------------------------------------- shared steps


async def open_for_people(work: Work, held: Held, *, actor: Actor, now: datetime, cause: str) -> None:
    """Make it people's without telling the contact, for instance because a servicer already writes."""
    if held.status != Status.OPEN:
        await _open(work, held, actor=actor, now=now, cause=cause)
        await _drop_thinking(work, held)


async def _open(work: Work, held: Held, *, actor: Actor, now: datetime, cause: str) -> None:
    again = held.status in (Status.RESOLVED, Status.SNOOZED)
    fact: type[Event] = ConversationReopened if again else ConversationOpened
    await record(
        work,
        fact(
            actor=actor,
            at=now,
            cause=cause,
            conversation_id=held.id,
            contact_id=held.contact_id,
            inbox_id=held.inbox_id,
            before={"status": held.status},
            after={"status": Status.OPEN},
        ),
    )
    await work.run(
        "update conversation set status = 'open', opened_at = %(now)s, snoozed_until = null, failures = 0, "
        "cycle = cycle + %(again)s, handoff_reason = %(cause)s where id = %(id)s",
        id=held.id,
        now=now,
        again=int(held.status == Status.RESOLVED),
        cause=cause,
    )
    await _activity(work, held, "opened", actor=actor, now=now, reason=cause)


async def _assign(work: Work, held: Held, *, to: int | None, actor: Actor, now: datetime, cause: str) -> None:
    await record(
        work,
        ConversationAssigned(
            actor=actor,
            at=now,
            cause=cause,
            conversation_id=held.id,
            before={"assignee_id": held.assignee_id},
            after={"assignee_id": to},
        ),
    )
    await work.run("update conversation set assignee_id = %(to)s where id = %(id)s", id=held.id, to=to)
    await _activity(work, held, "assigned", actor=actor, now=now, to=to)


async def _drop_thinking(work: Work, held: Held) -> None:
    """The assistant's unsent words and unanswered questions are void once a person has the conversation."""
    await work.run(
        "update message set state = case direction when 'in' then 'handled' else 'dropped' end "
        "where conversation_id = %(id)s and (state = 'pending' or (state = 'queued' and turn_id is not null))",
        id=held.id,
    )
    await work.run("update conversation set rings = rings + 1 where id = %(id)s", id=held.id)
    work.touch(LANE, held.id)


async def _activity(work: Work, held: Held, what: str, *, actor: Actor, now: datetime, **details: Any) -> None:
    """A line in the thread that says who did what; its words are chosen when it is shown."""
    content = {"what": what, "by": actor.kind, **{name: value for name, value in details.items() if value is not None}}
    await _write_line(
        work, held, author=Author.SYSTEM, kind="activity", text="", agent=actor.id, content=content, now=now
    )


async def _write_line(
    work: Work,
    held: Held,
    *,
    author: Author,
    kind: str,
    text: str,
    agent: int | None,
    content: Mapping[str, Any],
    now: datetime,
) -> int:
    id_ = await work.value(
        "insert into message (workspace_id, conversation_id, inbox_id, direction, author, agent_id, kind, text, "
        "content, state, sent_at) values (%(workspace)s, %(conversation)s, %(inbox)s, 'internal', %(author)s, "
        "%(agent)s, %(kind)s, %(text)s, %(content)s::jsonb, 'stored', %(now)s) returning id",
        workspace=work.workspace_id,
        conversation=held.id,
        inbox=held.inbox_id,
        author=author,
        agent=agent,
        kind=kind,
        text=text,
        content=json.dumps(content, ensure_ascii=False),
        now=now,
    )
    return int(id_)
