"""One lane per conversation: whatever waits in it is answered and sent in order, by one process at a time.

The row says what waits and who works on it (`owner`, `lease_until`); `rings` grows with everything that happens, so a
worker that is about to leave sees that something arrived meanwhile. The lane is woken in process right after the
commit; a sweep finds what was lost on the way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg

from zhiban.channels.connections import Connections, OpenInbox
from zhiban.conversations.models import Status
from zhiban.conversations.outbox import Queued
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage, Responder
from zhiban.conversations.sending import Deferred, dispatch, record_outcome
from zhiban.conversations.service import hand_off
from zhiban.events import SYSTEM
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Row, Transaction
from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.event_log import CONVERSATION_WAITING
from zhiban.kit.pubsub import PubSub

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
RENEW_SECONDS = 20.0
MAX_RESTARTS = 3  # how often a new message may restart the thinking before it is finished for what it has
MAX_FAILURES = 3  # failed turns before people get the conversation


@dataclass(slots=True)
class _Loaded:
    """What a look into a lane found."""

    step: Literal["left", "send", "answer"] = "left"
    inbox_id: int = 0
    conversation: ConversationSnapshot | None = None
    prepared: object = None


_TAKE = """
update conversation set owner = %(me)s, lease_until = %(lease)s
where id = %(id)s and (owner is null or lease_until < %(now)s) returning 1"""

_LOAD = """
select c.inbox_id, c.external_id, c.contact_id, c.status, c.last_incoming_at, c.replies_used, c.failures, c.rings,
  c.retry_at, coalesce(nullif(p.remark, ''), p.name, ''), m.id, m.state, m.kind, m.text, m.choice, m.content,
  m.external_id, m.author, m.attempts, m.sent_at
from conversation c
left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id
left join message m
  on m.workspace_id = c.workspace_id and m.conversation_id = c.id and m.state in ('pending', 'queued')
where c.id = %(id)s and c.owner = %(me)s order by m.id"""

_RINGS = 7  # where the column of that name stands in what _LOAD returns

_LEAVE = """
update conversation set owner = null, lease_until = null
where id = %(id)s and owner = %(me)s and rings = %(rings)s returning 1"""

_RELEASE = "update conversation set owner = null, lease_until = null where id = %(id)s and owner = %(me)s"

# After a settled message that was the last one: nothing came meanwhile, so nothing has to be read again.
_LEAVE_EMPTY = """
update conversation set owner = null, lease_until = null, retry_at = null
where id = %(id)s and owner = %(me)s and rings = %(rings)s and not exists (
  select 1 from message m where m.workspace_id = conversation.workspace_id and m.conversation_id = conversation.id
    and m.state in ('pending', 'queued')) returning 1"""

_KEEP = """
update conversation set lease_until = %(lease)s, retry_at = null where id = %(id)s and owner = %(me)s returning rings"""


class ConversationWorker:
    """The lanes that this process works on."""

    def __init__(
        self, database: Database, connections: Connections, pubsub: PubSub, clock: Clock, responder: Responder
    ) -> None:
        self._database = database
        self._connections = connections
        self._pubsub = pubsub
        self._clock = clock
        self._responder = responder
        self._running: dict[tuple[int, int], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
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
        """Work on it. `held` tells that this process has taken the lease already."""
        if self._closing or (workspace_id, conversation_id) in self._running:
            return
        self._running[workspace_id, conversation_id] = asyncio.Event()
        task = asyncio.create_task(self._run(workspace_id, conversation_id, leased=leased))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, *, within: float = 8.0) -> None:
        """Let what runs come to an end; what does not is taken up by the next process."""
        self._closing = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, workspace_id: int, conversation_id: int, *, leased: bool) -> None:
        key = (workspace_id, conversation_id)
        try:
            if not leased and not await self._take(workspace_id, conversation_id):
                return
            await self._work_through(workspace_id, conversation_id)
        except (psycopg.Error, ZhibanError) as error:
            # The row still says what waits: the sweep takes it up again.
            log.warning("Conversation %s is left to the sweep: %s", conversation_id, str(error).strip())
        except Exception:  # one conversation's accident must not silence the others
            log.exception("Conversation %s is left to the sweep.", conversation_id)
        finally:
            # A ring that came while the lane was being left would otherwise wait for the sweep.
            if self._running.pop(key).is_set():
                self.begin(workspace_id, conversation_id, leased=False)

    async def _take(self, workspace_id: int, conversation_id: int) -> bool:
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            taken = await tx.value(_TAKE, id=conversation_id, me=self._pubsub.process_id, now=now, lease=now + LEASE)
        if not taken:
            self._pubsub.publish_remote(
                CONVERSATION_WAITING, workspace_id, conversation_id
            )  # its owner should hear that something came
        return bool(taken)

    async def _work_through(self, workspace_id: int, conversation_id: int) -> None:
        changed = self._running[workspace_id, conversation_id]
        restarts = 0
        while True:
            changed.clear()
            loaded_work = _Loaded()
            try:
                async with self._database.transaction(workspace_id) as tx:
                    await self._load(tx, loaded_work, workspace_id, conversation_id)
            except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
                raise  # the database is at fault, not this conversation
            except Exception as error:  # whatever it is, the contact must not wait in silence
                if loaded_work.conversation is None:
                    raise
                await self._record_failure(loaded_work.conversation, error)
                continue
            conversation = loaded_work.conversation
            if loaded_work.step == "left":
                return
            if conversation is None:
                # Opening an inbox needs the database itself: never while we hold a connection.
                await self._connections.inbox(workspace_id, loaded_work.inbox_id)
                continue
            began = time.perf_counter()
            if loaded_work.step == "answer":
                conversation.strict = restarts < MAX_RESTARTS
                restarts = 0 if await self._answer(conversation, loaded_work.prepared, changed) else restarts + 1
            if conversation.queued and await self._send(conversation, changed):
                if loaded_work.step == "answer":
                    metrics.took("answer", time.perf_counter() - began)
                return

    async def _load(self, tx: Transaction, loaded_work: _Loaded, workspace_id: int, conversation_id: int) -> None:
        """See what waits in the lane and leave it when nothing does, in one transaction with the first reading."""
        while True:
            loaded = await tx.rows(_LOAD, id=conversation_id, me=self._pubsub.process_id)
            if not loaded:
                return  # somebody else has it
            step = self._next_step(loaded)
            if step != "leave":
                break
            rings = loaded[0][_RINGS]
            if await tx.value(_LEAVE, id=conversation_id, me=self._pubsub.process_id, rings=rings):
                return
        loaded_work.step, loaded_work.inbox_id = step, loaded[0][0]
        inbox = self._connections.known(workspace_id, loaded_work.inbox_id)
        if inbox is not None:
            loaded_work.conversation = self._snapshot(inbox, workspace_id, conversation_id, loaded)
            if step == "answer":
                loaded_work.prepared = await self._responder.prepare(tx, loaded_work.conversation)

    def _next_step(self, loaded: Sequence[Row]) -> Literal["leave", "send", "answer"]:
        """What is to be done first: messages leave in order before anything new is thought about."""
        status, retry_at = loaded[0][3], loaded[0][8]
        states = {row[11] for row in loaded}
        if retry_at is not None and retry_at > self._clock.now():
            return "leave"
        if "queued" in states:
            return "send"
        return "answer" if "pending" in states and status == Status.PENDING else "leave"

    def _snapshot(
        self, inbox: OpenInbox, workspace_id: int, conversation_id: int, loaded: Sequence[Row]
    ) -> ConversationSnapshot:
        _, thread, contact_id, status, last_incoming_at, replies_used, failures, rings = loaded[0][:8]
        conversation = ConversationSnapshot(
            workspace_id=workspace_id,
            id=conversation_id,
            inbox=inbox,
            thread=thread,
            contact_id=contact_id,
            contact_name=loaded[0][9],
            status=status,
            last_incoming_at=last_incoming_at,
            replies_used=replies_used,
            failures=failures,
            rings=rings,
            me=self._pubsub.process_id,
        )
        for row in loaded:
            id_, state, kind, text, choice, content, external_id, author, attempts, sent_at = row[10:]
            if state == "pending":
                conversation.waiting.append(PendingMessage(id_, external_id, kind, text, choice, content, sent_at))
            elif state == "queued":
                conversation.queued.append(Queued(id_, author, kind, text, content, external_id, attempts, sent_at))
        return conversation

    async def _send(self, conversation: ConversationSnapshot, changed: asyncio.Event) -> bool:
        """Send what is queued, in order. True when the lane was left: nothing waits, or it has to wait itself."""
        for message in conversation.queued:
            with metrics.timed("send"):
                outcome = await dispatch(conversation.inbox, conversation.thread, message, now=self._clock.now())
            now = self._clock.now()
            changed.clear()  # what rang before this transaction, it sees
            async with self._database.transaction(conversation.workspace_id) as tx:
                await record_outcome(tx, conversation.inbox, conversation.id, message, outcome, now=now)
                if isinstance(outcome, Deferred):
                    await tx.run(_RELEASE, id=conversation.id, me=conversation.me)
                elif message is conversation.queued[-1]:
                    if await tx.value(_LEAVE_EMPTY, id=conversation.id, me=conversation.me, rings=conversation.rings):
                        return True
                    row = await tx.row(_KEEP, id=conversation.id, me=conversation.me, lease=now + LEASE)
                else:
                    row = await tx.row(_KEEP, id=conversation.id, me=conversation.me, lease=now + LEASE)
            if isinstance(outcome, Deferred):
                asyncio.get_running_loop().call_later(
                    outcome.seconds, self.wake, conversation.workspace_id, conversation.id
                )
                return True
            if row is None:
                return True  # the lease was lost: somebody else goes on
            if row[0] != conversation.rings:
                return False  # people may have taken over between two parts: read again before the next one
        return False

    async def _answer(self, conversation: ConversationSnapshot, prepared: object, changed: asyncio.Event) -> bool:
        """Let the assistant think. False when nothing was stored, because something new came or the turn failed."""
        thinking = asyncio.ensure_future(self._responder.respond(conversation, prepared))
        listening = asyncio.ensure_future(changed.wait())
        try:
            while True:
                waiting = {thinking, listening} if conversation.strict else {thinking}
                done, _ = await asyncio.wait(waiting, timeout=RENEW_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if thinking in done:
                    if (error := thinking.exception()) is not None:
                        await self._record_failure(conversation, error)
                    return conversation.stored and error is None
                if listening in done and not conversation.stored:
                    return False
                if listening in done:
                    listening = asyncio.ensure_future(asyncio.Event().wait())
                async with self._database.transaction(conversation.workspace_id) as tx:
                    lease = self._clock.now() + LEASE
                    if await tx.row(_KEEP, id=conversation.id, me=conversation.me, lease=lease) is None:
                        return False
        finally:
            for task in (thinking, listening):
                task.cancel()
            await asyncio.gather(thinking, listening, return_exceptions=True)

    async def _record_failure(self, conversation: ConversationSnapshot, error: BaseException) -> None:
        """A turn that failed is repeated; after some strikes people get the conversation, because silence is worst."""
        log.error("The turn in conversation %s failed.", conversation.id, exc_info=error)
        async with self._database.transaction(conversation.workspace_id) as tx:
            failures = await tx.value(
                "update message set attempts = attempts + 1 where id = any(%(ids)s::bigint[]) and state = 'pending' "
                "returning attempts",
                ids=[message.id for message in conversation.waiting],
            )
            if failures is not None and failures >= MAX_FAILURES:
                await give_up(
                    tx, conversation, now=self._clock.now(), notice=self._responder.fallback_text(conversation)
                )
        await asyncio.sleep(0.2)


async def give_up(tx: Transaction, conversation: ConversationSnapshot, *, now: datetime, notice: str = "") -> None:
    """Hand a conversation over that the assistant cannot manage, and stop trying. The contact reads `notice`."""
    window = conversation.inbox.channel.limits.reply_window
    await hand_off(tx, conversation.id, reason="error", actor=SYSTEM, now=now, notice=notice, window=window)
    await tx.run(
        "update message set state = 'handled' where conversation_id = %(id)s and state = 'pending'", id=conversation.id
    )
