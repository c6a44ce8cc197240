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

from zhiban.channels.connections import Connections, Place
from zhiban.conversations.models import Status
from zhiban.conversations.outbox import Queued
from zhiban.conversations.responder import Mind, Talk, Waiting
from zhiban.conversations.sending import Postponed, dispatch, settle
from zhiban.conversations.service import hand_off
from zhiban.events import SYSTEM
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Row, Work
from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.event_log import LANE
from zhiban.kit.pubsub import Ear

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
RENEW_SECONDS = 20.0
PATIENCE = 3  # how often a new message may restart the thinking before it is finished for what it has
STRIKES = 3  # failed turns before people get the conversation


@dataclass(slots=True)
class _View:
    """What a look into a lane found."""

    step: Literal["left", "send", "answer"] = "left"
    inbox_id: int = 0
    talk: Talk | None = None
    known: object = None


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


class Lanes:
    """The lanes that this process works on."""

    def __init__(self, database: Database, connections: Connections, ear: Ear, clock: Clock, mind: Mind) -> None:
        self._database = database
        self._connections = connections
        self._ear = ear
        self._clock = clock
        self._mind = mind
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
            self.begin(workspace_id, conversation_id, held=False)

    def begin(self, workspace_id: int, conversation_id: int, *, held: bool) -> None:
        """Work on it. `held` tells that this process has taken the lease already."""
        if self._closing or (workspace_id, conversation_id) in self._running:
            return
        self._running[workspace_id, conversation_id] = asyncio.Event()
        task = asyncio.create_task(self._run(workspace_id, conversation_id, held=held))
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

    async def _run(self, workspace_id: int, conversation_id: int, *, held: bool) -> None:
        key = (workspace_id, conversation_id)
        try:
            if not held and not await self._take(workspace_id, conversation_id):
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
                self.begin(workspace_id, conversation_id, held=False)

    async def _take(self, workspace_id: int, conversation_id: int) -> bool:
        now = self._clock.now()
        async with self._database.work(workspace_id) as work:
            taken = await work.value(_TAKE, id=conversation_id, me=self._ear.me, now=now, lease=now + LEASE)
        if not taken:
            self._ear.shout(LANE, workspace_id, conversation_id)  # its owner should hear that something came
        return bool(taken)

    async def _work_through(self, workspace_id: int, conversation_id: int) -> None:
        changed = self._running[workspace_id, conversation_id]
        restarts = 0
        while True:
            changed.clear()
            view = _View()
            try:
                async with self._database.work(workspace_id) as work:
                    await self._look(work, view, workspace_id, conversation_id)
            except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable):
                raise  # the database is at fault, not this conversation
            except Exception as error:  # whatever it is, the contact must not wait in silence
                if view.talk is None:
                    raise
                await self._strike(view.talk, error)
                continue
            talk = view.talk
            if view.step == "left":
                return
            if talk is None:
                # Opening an inbox needs the database itself: never while we hold a connection.
                await self._connections.place(workspace_id, view.inbox_id)
                continue
            began = time.perf_counter()
            if view.step == "answer":
                talk.strict = restarts < PATIENCE
                restarts = 0 if await self._answer(talk, view.known, changed) else restarts + 1
            if talk.queued and await self._send(talk, changed):
                if view.step == "answer":
                    metrics.took("answer", time.perf_counter() - began)
                return

    async def _look(self, work: Work, view: _View, workspace_id: int, conversation_id: int) -> None:
        """See what waits in the lane and leave it when nothing does, in one transaction with the first reading."""
        while True:
            loaded = await work.rows(_LOAD, id=conversation_id, me=self._ear.me)
            if not loaded:
                return  # somebody else has it
            step = self._next_step(loaded)
            if step != "leave":
                break
            rings = loaded[0][_RINGS]
            if await work.value(_LEAVE, id=conversation_id, me=self._ear.me, rings=rings):
                return
        view.step, view.inbox_id = step, loaded[0][0]
        place = self._connections.known(workspace_id, view.inbox_id)
        if place is not None:
            view.talk = self._talk(place, workspace_id, conversation_id, loaded)
            if step == "answer":
                view.known = await self._mind.read(work, view.talk)

    def _next_step(self, loaded: Sequence[Row]) -> Literal["leave", "send", "answer"]:
        """What is to be done first: messages leave in order before anything new is thought about."""
        status, retry_at = loaded[0][3], loaded[0][8]
        states = {row[11] for row in loaded}
        if retry_at is not None and retry_at > self._clock.now():
            return "leave"
        if "queued" in states:
            return "send"
        return "answer" if "pending" in states and status == Status.PENDING else "leave"

    def _talk(self, place: Place, workspace_id: int, conversation_id: int, loaded: Sequence[Row]) -> Talk:
        _, thread, contact_id, status, last_incoming_at, replies_used, failures, rings = loaded[0][:8]
        talk = Talk(
            workspace_id=workspace_id,
            id=conversation_id,
            place=place,
            thread=thread,
            contact_id=contact_id,
            contact_name=loaded[0][9],
            status=status,
            last_incoming_at=last_incoming_at,
            replies_used=replies_used,
            failures=failures,
            rings=rings,
            me=self._ear.me,
        )
        for row in loaded:
            id_, state, kind, text, choice, content, external_id, author, attempts, sent_at = row[10:]
            if state == "pending":
                talk.waiting.append(Waiting(id_, external_id, kind, text, choice, content, sent_at))
            elif state == "queued":
                talk.queued.append(Queued(id_, author, kind, text, content, external_id, attempts, sent_at))
        return talk

    async def _send(self, talk: Talk, changed: asyncio.Event) -> bool:
        """Send what is queued, in order. True when the lane was left: nothing waits, or it has to wait itself."""
        for message in talk.queued:
            with metrics.timed("send"):
                outcome = await dispatch(talk.place, talk.thread, message, now=self._clock.now())
            now = self._clock.now()
            changed.clear()  # what rang before this transaction, it sees
            async with self._database.work(talk.workspace_id) as work:
                await settle(work, talk.place, talk.id, message, outcome, now=now)
                if isinstance(outcome, Postponed):
                    await work.run(_RELEASE, id=talk.id, me=talk.me)
                elif message is talk.queued[-1]:
                    if await work.value(_LEAVE_EMPTY, id=talk.id, me=talk.me, rings=talk.rings):
                        return True
                    row = await work.row(_KEEP, id=talk.id, me=talk.me, lease=now + LEASE)
                else:
                    row = await work.row(_KEEP, id=talk.id, me=talk.me, lease=now + LEASE)
            if isinstance(outcome, Postponed):
                asyncio.get_running_loop().call_later(outcome.seconds, self.wake, talk.workspace_id, talk.id)
                return True
            if row is None:
                return True  # the lease was lost: somebody else goes on
            if row[0] != talk.rings:
                return False  # people may have taken over between two parts: read again before the next one
        return False

    async def _answer(self, talk: Talk, known: object, changed: asyncio.Event) -> bool:
        """Let the assistant think. False when nothing was stored, because something new came or the turn failed."""
        thinking = asyncio.ensure_future(self._mind.think(talk, known))
        listening = asyncio.ensure_future(changed.wait())
        try:
            while True:
                waiting = {thinking, listening} if talk.strict else {thinking}
                done, _ = await asyncio.wait(waiting, timeout=RENEW_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if thinking in done:
                    if (error := thinking.exception()) is not None:
                        await self._strike(talk, error)
                    return talk.stored and error is None
                if listening in done and not talk.stored:
                    return False
                if listening in done:
                    listening = asyncio.ensure_future(asyncio.Event().wait())
                async with self._database.work(talk.workspace_id) as work:
                    lease = self._clock.now() + LEASE
                    if await work.row(_KEEP, id=talk.id, me=talk.me, lease=lease) is None:
                        return False
        finally:
            for task in (thinking, listening):
                task.cancel()
            await asyncio.gather(thinking, listening, return_exceptions=True)

    async def _strike(self, talk: Talk, error: BaseException) -> None:
        """A turn that failed is repeated; after some strikes people get the conversation, because silence is worst."""
        log.error("The turn in conversation %s failed.", talk.id, exc_info=error)
        async with self._database.work(talk.workspace_id) as work:
            strikes = await work.value(
                "update message set attempts = attempts + 1 where id = any(%(ids)s::bigint[]) and state = 'pending' "
                "returning attempts",
                ids=[message.id for message in talk.waiting],
            )
            if strikes is not None and strikes >= STRIKES:
                await give_up(work, talk, now=self._clock.now(), notice=self._mind.parting_words(talk))
        await asyncio.sleep(0.2)


async def give_up(work: Work, talk: Talk, *, now: datetime, notice: str = "") -> None:
    """Hand a conversation over that the assistant cannot manage, and stop trying. The contact reads `notice`."""
    window = talk.place.channel.reply_window
    await hand_off(work, talk.id, reason="error", actor=SYSTEM, now=now, notice=notice, window=window)
    await work.run(
        "update message set state = 'handled' where conversation_id = %(id)s and state = 'pending'", id=talk.id
    )
