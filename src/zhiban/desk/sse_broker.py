"""Tells a signed-in browser which conversations changed, and that somebody came or went: resumable from an event id.

One subscription per process receives the changes; each open browser has a small set of ids to be sent. A browser that
slept comes back with the id of the last event it knows and learns what happened meanwhile; a few events before that id
are sent again, because transactions may commit in another order than their ids were given.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from zhiban.conversations.access import visible
from zhiban.conversations.topics import CONVERSATION_CHANGED
from zhiban.kit.db import Database
from zhiban.kit.pubsub import PubSub
from zhiban.notifications.service import NOTIFIED
from zhiban.people.permissions import Access
from zhiban.people.presence import PRESENCE
from zhiban.people.service import SESSIONS

GATHER_SECONDS = 0.02
BEAT_SECONDS = 20.0
OVERLAP = 200  # events before the last one known
MOST_TABS = 20  # of one agent in one process; a browser keeps six to one address at most
MOST_STREAMS = 2000
MOST = 200  # conversations named after a long sleep; beyond that the browser reads everything again


class Subscriber:
    """One open browser tab."""

    def __init__(self, workspace_id: int, access: Access) -> None:
        self.workspace_id = workspace_id
        self.access = access
        self.doubted = False  # whether its session may have ended, or its agent may see something else now
        self.waiting: set[int] = set()
        self.presence = False  # whether somebody came or went
        self.notified = False  # whether its agent was told something, or has read it elsewhere
        self.changed = asyncio.Event()

    def tell(self, conversation_id: int) -> None:
        self.waiting.add(conversation_id)
        self.changed.set()


class SseBroker:
    """Everybody who listens at this process."""

    def __init__(self, database: Database, pubsub: PubSub) -> None:
        self.database = database
        self._subscribers: set[Subscriber] = set()
        self._closing = asyncio.Event()
        self.closers: list[Callable[[], None]] = []  # others who keep requests open
        pubsub.subscribe(CONVERSATION_CHANGED, self._heard)
        pubsub.subscribe(SESSIONS, self._sessions_ended)
        pubsub.subscribe(PRESENCE, self._presence_changed)
        pubsub.subscribe(NOTIFIED, self._notified)

    def _heard(self, workspace_id: int, conversation_id: int) -> None:
        for subscriber in self._subscribers:
            if subscriber.workspace_id == workspace_id:
                subscriber.tell(conversation_id)

    def _presence_changed(self, workspace_id: int, _agent_id: int) -> None:
        for subscriber in self._subscribers:
            if subscriber.workspace_id == workspace_id:
                subscriber.presence = True
                subscriber.changed.set()

    def _notified(self, workspace_id: int, agent_id: int) -> None:
        for subscriber in self._subscribers:
            if (subscriber.workspace_id, subscriber.access.agent_id) == (workspace_id, agent_id):
                subscriber.notified = True
                subscriber.changed.set()

    def _sessions_ended(self, workspace_id: int, agent_id: int) -> None:
        """Somebody signed out, was disabled, ended sessions, or may see something else: their tabs have to ask anew."""
        for subscriber in self._subscribers:
            if (subscriber.workspace_id, subscriber.access.agent_id) == (workspace_id, agent_id):
                subscriber.doubted = True
                subscriber.changed.set()

    def has_room(self, workspace_id: int, agent_id: int) -> bool:
        """Whether this agent may open one more stream in this process."""
        theirs = sum((one.workspace_id, one.access.agent_id) == (workspace_id, agent_id) for one in self._subscribers)
        return theirs < MOST_TABS and len(self._subscribers) < MOST_STREAMS

    @property
    def listeners(self) -> int:
        return len(self._subscribers)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closing.set()
        for subscriber in self._subscribers:
            subscriber.changed.set()
        for close in self.closers:
            close()

    async def follow(
        self, workspace_id: int, access: Access, after: int | None, *, lives: Callable[[], Awaitable[Access | None]]
    ) -> AsyncIterator[str]:
        """Server-sent events for one tab, until the browser leaves, its session ends or the server stops.

        It is told of conversations that its agent sees. `lives` tells what that is, None where the session holds no
        more; it is asked with every beat and when there is reason to doubt.
        """
        subscriber = Subscriber(workspace_id, access)
        self._subscribers.add(subscriber)
        try:
            yield "retry: 1000\n\n"
            yield await self._missed(subscriber, after)
            while not self._closing.is_set():
                try:
                    await asyncio.wait_for(subscriber.changed.wait(), BEAT_SECONDS)
                except TimeoutError:
                    subscriber.doubted = True
                    yield ": still here\n\n"
                if self._closing.is_set():
                    return
                access_changed = False
                if subscriber.doubted:
                    subscriber.doubted = False
                    now_sees = await lives()
                    if now_sees is None:
                        return
                    access_changed, subscriber.access = now_sees != subscriber.access, now_sees
                await asyncio.sleep(GATHER_SECONDS)
                subscriber.changed.clear()
                changed, subscriber.waiting = subscriber.waiting, set()
                presence, subscriber.presence = subscriber.presence, False
                notified, subscriber.notified = subscriber.notified, False
                last, seen = await self._seen(subscriber, changed)
                if seen or presence or access_changed or notified:
                    yield _frame(last, sorted(seen), presence=presence, access=access_changed, notified=notified)
        finally:
            self._subscribers.discard(subscriber)

    async def _seen(self, subscriber: Subscriber, changed: set[int]) -> tuple[int, set[int]]:
        """The last event there is, and those of the conversations that the subscriber's agent sees."""
        async with self.database.transaction(subscriber.workspace_id) as tx:
            last = int(await tx.value("select coalesce(max(id), 0) from event"))
            return last, await visible(tx, subscriber.access, sorted(changed))

    async def _missed(self, subscriber: Subscriber, after: int | None) -> str:
        async with self.database.transaction(subscriber.workspace_id) as tx:
            last = int(await tx.value("select coalesce(max(id), 0) from event"))
            if after is None or after >= last:
                return _frame(last, [])
            changed = await tx.values(
                "select distinct conversation_id from event where id > %(after)s and conversation_id is not null "
                "limit %(most)s",
                after=max(0, after - OVERLAP),
                most=MOST + 1,
            )
            seen = await visible(tx, subscriber.access, changed)
        return _frame(last, sorted(seen), everything=len(changed) > MOST)


def _frame(
    last: int,
    conversations: list[int],
    *,
    everything: bool = False,
    presence: bool = False,
    access: bool = False,
    notified: bool = False,
) -> str:
    """`access`: what the agent may see or do is not what the page was made for; `notified`: there is news for them."""
    said = {
        "conversations": conversations,
        "everything": everything,
        "presence": presence,
        "access": access,
        "notified": notified,
    }
    data = json.dumps(said)
    return f"id: {last}\nevent: changed\ndata: {data}\n\n"
