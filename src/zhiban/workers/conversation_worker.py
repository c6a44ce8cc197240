"""Answers and sends whatever waits in a conversation, in order, by one process at a time.

`conversation_work` says who works on it; its revision grows with everything that happens, so a worker that is about to
leave sees that something arrived meanwhile. The worker is woken in process right after the commit; `recovery` finds
what was lost on the way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg

from zhiban.channels.connections import Connections, OpenInbox
from zhiban.conversations import groups, service, topics, transitions, work_state
from zhiban.conversations.models import ConversationState, Status
from zhiban.conversations.outbox import QueuedMessage
from zhiban.conversations.outgoing_files import OutgoingFiles
from zhiban.conversations.quotes import reference_of
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage, Responder
from zhiban.conversations.sending import (
    Deferred,
    NothingToSend,
    NotToBeSent,
    SendOutcome,
    WorkHold,
    dispatch,
    goes_on,
    record_outcome,
    try_once,
)
from zhiban.events import SYSTEM
from zhiban.kit import metrics
from zhiban.kit.background_tasks import BackgroundTasks, attempt, cancelled
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.pubsub import PubSub
from zhiban.ports import Mention

log = logging.getLogger(__name__)

RENEW_SECONDS = 20.0
UNREAD_WAIT = 2.0  # seconds, where the database kept a message from being handed over
MAX_RESTARTS = 3  # how often a new message may restart a turn before it is finished for what it has
MAX_FAILURES = 3  # failed turns before people get the conversation

_STATE = transitions.STATE_COLUMNS

_LOAD = f"""
select {_STATE}, w.revision, w.retry_at, coalesce(nullif(p.remark, ''), p.name, '') as contact_name,
  m.id as message_id, m.state as message_state, m.kind, m.text,
  m.choice, m.content, m.external_id, m.author, m.agent_id, m.attempts, m.sent_at, m.sender_contact_id, m.sender_ref,
  m.mentions, m.reply_to_id, m.tried_at is not null as tried, case when c.kind = 'group' then (
    select coalesce(nullif(g.nickname, ''), s.name) from participant g
    join contact s on s.workspace_id = g.workspace_id and s.id = g.contact_id
    where g.workspace_id = m.workspace_id and g.conversation_id = m.conversation_id
      and g.contact_id = m.sender_contact_id) end as sender_name
from conversation_work w
join conversation c on c.workspace_id = w.workspace_id and c.id = w.conversation_id
left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id
left join message m
  on m.workspace_id = c.workspace_id and m.conversation_id = c.id and m.state in ('pending', 'queued')
where w.conversation_id = %(id)s and w.leased_by = %(process)s order by m.id"""


@frozen_dataclass
class _Loaded:
    """One conversation with what waits in it, as read."""

    state: ConversationState
    revision: int
    retry_at: datetime | None
    contact_name: str
    pending: tuple[PendingMessage, ...]
    queued: tuple[QueuedMessage, ...]

    def next_step(self, now: datetime) -> Literal["leave", "send", "answer"]:
        """What is to be done first: messages leave in order before anything new is answered."""
        if self.retry_at is not None and self.retry_at > now:
            return "leave"
        if self.queued:
            return "send"
        mine = self.state.is_group or self.state.status is Status.PENDING
        return "answer" if self.pending and mine else "leave"


@dataclass(slots=True)
class _Look:
    """What a look at a conversation found to do."""

    step: Literal["left", "send", "answer"] = "left"
    inbox_id: int = 0
    snapshot: ConversationSnapshot | None = None
    prepared: object = None


class ConversationWorker:
    """The conversations that this process works on."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        pubsub: PubSub,
        clock: Clock,
        responder: Responder,
        files: OutgoingFiles,
    ) -> None:
        self._database = database
        self._connections = connections
        self._pubsub = pubsub
        self._clock = clock
        self._responder = responder
        self._files = files
        self._running: dict[tuple[int, int], asyncio.Event] = {}
        self._tasks = BackgroundTasks()
        self._closing = False

    @property
    def running(self) -> list[int]:
        """Ids of the conversations this process really works on now."""
        return [conversation_id for _, conversation_id in self._running]

    def wake(self, workspace_id: int, conversation_id: int) -> None:
        """Something happened in this conversation. Quick, and harmless when nothing is to do."""
        changed = self._running.get((workspace_id, conversation_id))
        if changed is not None:
            changed.set()
        else:
            self.begin(workspace_id, conversation_id, leased=False)

    def begin(self, workspace_id: int, conversation_id: int, *, leased: bool) -> None:
        """Work on it. `leased` tells that this process has taken the lease already."""
        if self._closing or (workspace_id, conversation_id) in self._running:
            return
        self._running[workspace_id, conversation_id] = asyncio.Event()
        self._tasks.start(self._run(workspace_id, conversation_id, leased=leased))

    async def close(self, *, within: float = 8.0) -> None:
        """Let what runs come to an end within so many seconds; what does not is taken up by the next process."""
        self._closing = True
        await self._tasks.close(within=within)

    async def _run(self, workspace_id: int, conversation_id: int, *, leased: bool) -> None:
        key = (workspace_id, conversation_id)
        try:
            if not leased and not await self._take(workspace_id, conversation_id):
                return
            await self._work_through(workspace_id, conversation_id)
        except (psycopg.Error, ZhibanError) as error:
            # The rows still say what waits: recovery takes it up again.
            log.warning("Conversation %s is left to recovery: %s", conversation_id, str(error).strip())
        except Exception:  # one conversation's accident must not silence the others
            log.exception("Conversation %s is left to recovery.", conversation_id)
        finally:
            # What came while the conversation was being left would otherwise wait for recovery.
            if self._running.pop(key).is_set():
                self.begin(workspace_id, conversation_id, leased=False)

    async def _take(self, workspace_id: int, conversation_id: int) -> bool:
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            taken = await work_state.take(tx, conversation_id, process=self._pubsub.process_id, now=now)
        if not taken:
            # Whoever has it should know that something came.
            self._pubsub.publish_remote(topics.CONVERSATION_WAITING, workspace_id, conversation_id)
        return taken

    async def _work_through(self, workspace_id: int, conversation_id: int) -> None:
        changed = self._running[workspace_id, conversation_id]
        restarts = 0
        while True:
            changed.clear()
            look = _Look()
            try:
                async with self._database.transaction(workspace_id) as tx:
                    await self._look(tx, look, workspace_id, conversation_id)
            except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
                raise  # the database is at fault, not this conversation
            except Exception as error:  # whatever it is, the contact must not wait in silence
                if look.snapshot is None:
                    raise
                await self._record_failure(look.snapshot, error)
                continue
            snapshot = look.snapshot
            if look.step == "left":
                return
            if snapshot is None:
                # Opening an inbox needs the database itself: never while we hold a connection.
                await self._connections.inbox(workspace_id, look.inbox_id)
                continue
            began = time.perf_counter()
            if look.step == "answer":
                snapshot.strict = restarts < MAX_RESTARTS and not snapshot.state.is_group
                restarts = 0 if await self._answer(snapshot, look.prepared, changed) else restarts + 1
            if snapshot.queued and await self._send(snapshot, changed):
                if look.step == "answer":
                    metrics.took("answer", time.perf_counter() - began)
                return

    async def _look(self, tx: Transaction, look: _Look, workspace_id: int, conversation_id: int) -> None:
        """See what waits and leave when nothing does, in one transaction with the responder's first reading."""
        process = self._pubsub.process_id
        while True:
            loaded = _loaded(await tx.records(_LOAD, id=conversation_id, process=process))
            if loaded is None:
                return  # somebody else has it
            step = loaded.next_step(self._clock.now())
            if step != "leave":
                break
            if await work_state.leave(tx, conversation_id, process=process, revision=loaded.revision):
                return
        look.step, look.inbox_id = step, loaded.state.inbox_id
        inbox = self._connections.known(workspace_id, loaded.state.inbox_id)
        if inbox is not None:
            look.snapshot = self._snapshot(inbox, loaded)
            if loaded.state.is_group:
                look.snapshot.group = await groups.chat_of(tx, loaded.state.id)
            if step == "answer":
                look.prepared = await self._responder.prepare(tx, look.snapshot)

    def _snapshot(self, inbox: OpenInbox, loaded: _Loaded) -> ConversationSnapshot:
        return ConversationSnapshot(
            workspace_id=inbox.workspace_id,
            inbox=inbox,
            state=loaded.state,
            contact_name=loaded.contact_name,
            pending=list(loaded.pending),
            queued=list(loaded.queued),
            revision=loaded.revision,
            process_id=self._pubsub.process_id,
        )

    async def _send(self, snapshot: ConversationSnapshot, changed: asyncio.Event) -> bool:
        """Send what is queued, in order. True when the conversation was left: nothing waits, or it must wait itself."""
        process = snapshot.process_id
        for message in snapshot.queued:
            with metrics.timed("send"):
                now = self._clock.now()
                outcome: SendOutcome | None
                if goes_on(message, snapshot.state):
                    outcome = NothingToSend()
                elif not message.tried and not snapshot.inbox.channel.limits.repeats:
                    outcome = await self._once(snapshot, message, now=now)
                else:
                    whole = await self._naming(snapshot, message)
                    outcome = await dispatch(snapshot.inbox, snapshot.state.thread, whole, self._files, now=now)
            if outcome is None:
                return False
            now = self._clock.now()
            changed.clear()  # what came before this transaction, it sees
            async with self._database.transaction(snapshot.workspace_id) as tx:
                if isinstance(outcome, Deferred):
                    # Before its message, as every verb locks them.
                    retry_at = now + timedelta(seconds=outcome.seconds)
                    await work_state.release(tx, snapshot.id, process=process, retry_at=retry_at)
                hold = WorkHold(process, snapshot.revision) if message is snapshot.queued[-1] else None
                if await record_outcome(tx, snapshot.inbox, snapshot.state, message, outcome, now=now, leave=hold):
                    return True
                revision = None
                if not isinstance(outcome, Deferred):
                    revision = await work_state.renew(tx, snapshot.id, process=process, now=now)
            if isinstance(outcome, Deferred):
                loop = asyncio.get_running_loop()
                loop.call_later(outcome.seconds, self.wake, snapshot.workspace_id, snapshot.id)
                return True
            if revision is None:
                return True  # the lease was lost: somebody else goes on
            if revision != snapshot.revision:
                return False  # people may have taken over between two parts: read again before the next one
        return False

    async def _once(
        self, snapshot: ConversationSnapshot, message: QueuedMessage, *, now: datetime
    ) -> SendOutcome | None:
        """Make a call that nobody may repeat; None where it is not to be made any more, as others have seen to it.

        The lease is kept however long it takes, so that nobody takes a call under way for one that was lost.
        """
        whole, marked = await self._naming(snapshot, message), False

        async def mark() -> None:
            nonlocal marked
            if marked:
                return  # a second call, after a refusal of the first
            async with self._database.transaction(snapshot.workspace_id) as tx:
                if not await try_once(tx, message, process=snapshot.process_id, now=self._clock.now()):
                    raise NotToBeSent
            marked = True

        calling = asyncio.ensure_future(
            dispatch(snapshot.inbox, snapshot.state.thread, whole, self._files, now=now, mark=mark)
        )
        try:
            while not (await asyncio.wait({calling}, timeout=RENEW_SECONDS))[0]:
                await attempt(self._renew(snapshot), what="Keeping a conversation during a call", log=log)
            return calling.result()
        except NotToBeSent:
            return None
        except (psycopg.Error, Unavailable) as error:
            # Before anything was handed over, as when its file was read: what is lost later, a channel calls unknown.
            log.warning("A message of conversation %s is tried again: %s", snapshot.id, str(error).strip())
            return Deferred(UNREAD_WAIT)
        finally:
            await cancelled((calling,))

    async def _renew(self, snapshot: ConversationSnapshot) -> None:
        async with self._database.transaction(snapshot.workspace_id) as tx:
            await work_state.renew(tx, snapshot.id, process=snapshot.process_id, now=self._clock.now())

    async def _naming(self, snapshot: ConversationSnapshot, message: QueuedMessage) -> QueuedMessage:
        """The message with the vendor's id of what it answers, which was not sent yet when it was stored."""
        answered = message.reply_to_id
        if answered is None or not snapshot.inbox.channel.limits.quotes or "reply_to" in message.content:
            return message
        async with self._database.transaction(snapshot.workspace_id) as tx:
            reference = await reference_of(tx, answered)
        return replace(message, content={**message.content, "reply_to": reference}) if reference else message

    async def _answer(self, snapshot: ConversationSnapshot, prepared: object, changed: asyncio.Event) -> bool:
        """Let the assistant answer. False when nothing was stored: something new came, or the turn failed."""
        responding = asyncio.ensure_future(self._responder.respond(snapshot, prepared))
        listening = asyncio.ensure_future(changed.wait())
        try:
            while True:
                waiting = {responding, listening} if snapshot.strict else {responding}
                done, _ = await asyncio.wait(waiting, timeout=RENEW_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if responding in done:
                    if (error := responding.exception()) is not None:
                        await self._record_failure(snapshot, error)
                    return snapshot.stored and error is None
                if listening in done and not snapshot.stored:
                    return False
                if listening in done:
                    listening = asyncio.ensure_future(asyncio.Event().wait())
                now = self._clock.now()
                async with self._database.transaction(snapshot.workspace_id) as tx:
                    if await work_state.renew(tx, snapshot.id, process=snapshot.process_id, now=now) is None:
                        return False
        finally:
            await cancelled((responding, listening))

    async def _record_failure(self, snapshot: ConversationSnapshot, error: BaseException) -> None:
        """A turn that failed is repeated; after some failures people get the conversation: silence is worst."""
        log.error("The turn in conversation %s failed.", snapshot.id, exc_info=error)
        async with self._database.transaction(snapshot.workspace_id) as tx:
            await transitions.lock(tx, snapshot.id)  # before its messages, as every verb does
            failures = await tx.value(
                "update message set attempts = attempts + 1 where id = any(%(ids)s::bigint[]) and state = 'pending' "
                "returning attempts",
                ids=[message.id for message in snapshot.pending],
            )
            if failures is not None and failures >= MAX_FAILURES:
                text = self._responder.fallback_text(snapshot)
                await give_up(tx, snapshot, now=self._clock.now(), notice=text)
        await asyncio.sleep(0.2)


async def give_up(tx: Transaction, snapshot: ConversationSnapshot, *, now: datetime, notice: str = "") -> None:
    """Hand a conversation over that the assistant cannot manage, and stop trying. The contact reads `notice`.

    Of a group nothing is handed over that was not said to us.
    """
    limits = snapshot.inbox.channel.limits
    if not snapshot.state.is_group or any(message.mentions_us for message in snapshot.pending):
        await service.hand_off(tx, snapshot.id, reason="error", actor=SYSTEM, now=now, notice=notice, limits=limits)
    await tx.run(
        "update message set state = 'handled' where conversation_id = %(id)s and state = 'pending'", id=snapshot.id
    )


def _loaded(rows: Sequence[Mapping[str, Any]]) -> _Loaded | None:
    if not rows:
        return None
    first = rows[0]
    return _Loaded(
        transitions.state_in(first),
        first["revision"],
        first["retry_at"],
        first["contact_name"],
        tuple(_pending(row) for row in rows if row["message_state"] == "pending"),
        tuple(_queued(row) for row in rows if row["message_state"] == "queued"),
    )


def _pending(row: Mapping[str, Any]) -> PendingMessage:
    mentions = row["mentions"]
    return PendingMessage(
        id=row["message_id"],
        external_id=row["external_id"],
        kind=row["kind"],
        text=row["text"],
        choice=row["choice"],
        content=row["content"],
        sent_at=row["sent_at"],
        sender_contact_id=row["sender_contact_id"],
        sender_ref=row["sender_ref"] or "",
        sender_name=row["sender_name"] or "",
        mentions=tuple(one["id"] for one in mentions if "id" in one),
        mentions_us=any("us" in one for one in mentions),
        reply_to_id=row["reply_to_id"],
    )


def _queued(row: Mapping[str, Any]) -> QueuedMessage:
    return QueuedMessage(
        id=row["message_id"],
        author=row["author"],
        kind=row["kind"],
        text=row["text"],
        content=row["content"],
        external_id=row["external_id"],
        attempts=row["attempts"],
        sent_at=row["sent_at"],
        agent_id=row["agent_id"],
        mentions=tuple(Mention(one["id"], one["name"]) for one in row["mentions"]),
        reply_to_id=row["reply_to_id"],
        tried=row["tried"],
    )
