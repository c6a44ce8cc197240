"""Tells a signed-in browser which conversations changed, and that somebody came or went: resumable from an event id.

One subscription per process receives the changes; each open browser has a small set of ids to be sent. A browser that
slept comes back with the id of the last event it knows and learns what happened meanwhile; a few events before that id
are sent again, because transactions may commit in another order than their ids were given.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import Response, StreamingResponse

from zhiban.conversations.topics import CONVERSATION_CHANGED
from zhiban.kit.db import Database
from zhiban.kit.pubsub import PubSub
from zhiban.people import service
from zhiban.people.auth import COOKIE, CurrentAgent, auth_of
from zhiban.people.presence import PRESENCE
from zhiban.people.service import SESSIONS
from zhiban.web.routers import add_routes

GATHER_SECONDS = 0.02
BEAT_SECONDS = 20.0
OVERLAP = 200  # events before the last one known
MOST_TABS = 20  # of one agent in one process; a browser keeps six to one address at most
MOST_STREAMS = 2000
MOST = 200  # conversations named after a long sleep; beyond that the browser reads everything again

router = APIRouter(include_in_schema=False)


class Subscriber:
    """One open browser tab."""

    def __init__(self, workspace_id: int, agent_id: int) -> None:
        self.workspace_id = workspace_id
        self.agent_id = agent_id
        self.doubted = False  # whether its session may have ended
        self.waiting: set[int] = set()
        self.presence = False  # whether somebody came or went
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

    def _heard(self, workspace_id: int, conversation_id: int) -> None:
        for subscriber in self._subscribers:
            if subscriber.workspace_id == workspace_id:
                subscriber.tell(conversation_id)

    def _presence_changed(self, workspace_id: int, _agent_id: int) -> None:
        for subscriber in self._subscribers:
            if subscriber.workspace_id == workspace_id:
                subscriber.presence = True
                subscriber.changed.set()

    def _sessions_ended(self, workspace_id: int, agent_id: int) -> None:
        """Somebody signed out, was disabled, or ended sessions: their tabs have to prove that theirs still lives."""
        for subscriber in self._subscribers:
            if (subscriber.workspace_id, subscriber.agent_id) == (workspace_id, agent_id):
                subscriber.doubted = True
                subscriber.changed.set()

    def has_room(self, workspace_id: int, agent_id: int) -> bool:
        """Whether this agent may open one more stream in this process."""
        theirs = sum((one.workspace_id, one.agent_id) == (workspace_id, agent_id) for one in self._subscribers)
        return theirs < MOST_TABS and len(self._subscribers) < MOST_STREAMS

    def install(self, app: FastAPI) -> None:
        app.state.broker = self
        add_routes(app, router)

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
        self, workspace_id: int, agent_id: int, after: int | None, *, lives: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[str]:
        """Server-sent events for one tab, until the browser leaves, its session ends or the server stops.

        `lives` tells whether the session still holds; it is asked with every beat and when there is reason to doubt.
        """
        subscriber = Subscriber(workspace_id, agent_id)
        self._subscribers.add(subscriber)
        try:
            yield "retry: 1000\n\n"
            yield await self._missed(workspace_id, after)
            while not self._closing.is_set():
                try:
                    await asyncio.wait_for(subscriber.changed.wait(), BEAT_SECONDS)
                except TimeoutError:
                    if not await lives():
                        return
                    yield ": still here\n\n"
                    continue
                if self._closing.is_set() or (subscriber.doubted and not await lives()):
                    return
                subscriber.doubted = False
                await asyncio.sleep(GATHER_SECONDS)
                subscriber.changed.clear()
                changed, subscriber.waiting = subscriber.waiting, set()
                presence, subscriber.presence = subscriber.presence, False
                yield _frame(await self._last(workspace_id), sorted(changed), presence=presence)
        finally:
            self._subscribers.discard(subscriber)

    async def _last(self, workspace_id: int) -> int:
        async with self.database.transaction(workspace_id) as tx:
            return int(await tx.value("select coalesce(max(id), 0) from event"))

    async def _missed(self, workspace_id: int, after: int | None) -> str:
        async with self.database.transaction(workspace_id) as tx:
            last = int(await tx.value("select coalesce(max(id), 0) from event"))
            if after is None or after >= last:
                return _frame(last, [])
            changed = await tx.values(
                "select distinct conversation_id from event where id > %(after)s and conversation_id is not null "
                "limit %(most)s",
                after=max(0, after - OVERLAP),
                most=MOST + 1,
            )
        return _frame(last, sorted(changed), everything=len(changed) > MOST)


def _frame(last: int, conversations: list[int], *, everything: bool = False, presence: bool = False) -> str:
    data = json.dumps({"conversations": conversations, "everything": everything, "presence": presence})
    return f"id: {last}\nevent: changed\ndata: {data}\n\n"


@router.get("/stream")
async def stream(request: Request, agent: CurrentAgent, after: Annotated[int | None, Query(ge=0)] = None) -> Response:
    """The live stream of one tab. `Last-Event-ID` wins over `after`, which a tab that slept sends itself."""
    broker: SseBroker = request.app.state.broker
    auth = auth_of(request)
    if not broker.has_room(agent.workspace_id, agent.id):
        return Response(status_code=429, headers={"retry-after": "60", "cache-control": "no-store"})
    token = request.cookies.get(COOKIE, "")

    async def lives() -> bool:
        return await service.session_lives(auth.database, token, now=auth.clock.now())

    known = request.headers.get("last-event-id", "")
    since = int(known) if known.isascii() and known.isdecimal() and len(known) < 19 else after
    return StreamingResponse(
        broker.follow(agent.workspace_id, agent.id, since, lives=lives),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )
