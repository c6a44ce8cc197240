"""Tells a signed-in browser which conversations changed, and that somebody came or went: resumable from an event id.

One subscription per process receives the changes and looks up once, for everybody, whose they are; each open browser
has a small set of ids to be sent. A browser that
slept comes back with the id of the last event it knows and learns what happened meanwhile; a few events before that id
are sent again, because transactions may commit in another order than their ids were given.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import lru_cache

from zhiban.conversations.access import ChangedConversation, changed_conversations
from zhiban.conversations.topics import CONVERSATION_CHANGED, DRAFT_CHANGED, VIEWERS_CHANGED
from zhiban.desk.typing_notices import TypingNotice, TypingNotices
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.event_log import last_event
from zhiban.kit.pubsub import PubSub
from zhiban.notifications.service import NOTIFIED
from zhiban.people.permissions import Access
from zhiban.people.presence import PRESENCE
from zhiban.people.service import SESSIONS
from zhiban.tickets.topics import TICKET_CHANGED

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.02
PACE_SECONDS = 0.05  # between two frames while one change follows the other: each costs something for every tab
BEAT_SECONDS = 20.0
OVERLAP = 200  # events before the last one known
MOST_TABS = 20  # of one agent in one process; a browser keeps six to one address at most
MOST_STREAMS = 2000
SPREAD_MS = 10  # for each tab that is told of a change: what fetching a list costs us
MOST_SPREAD_MS = 1000
MOST = 200  # conversations named after a long sleep; beyond that the browser reads everything again


class Subscriber:
    """One open browser tab."""

    def __init__(self, workspace_id: int, access: Access) -> None:
        self.workspace_id = workspace_id
        self.access = access
        self.last = 0  # the event up to which it knows everything
        self.doubted = False  # whether its session may have ended, or its agent may see something else now
        self.waiting: set[int] = set()
        self.mine = False  # whether one of those is its agent's own
        self.unclaimed = False  # whether one of those needs a person and nobody has it
        self.presence = False  # whether somebody came or went
        self.notified = False  # whether its agent was told something, or has read it elsewhere
        self.tickets = False  # whether a ticket changed
        self.typing: dict[tuple[int, bool], str] = {}  # events that say who types, and that others came or went
        self.lost = False  # whether something could not be told: the browser has to come back and ask
        self.changed = asyncio.Event()

    def tell(self, changes: Sequence[ChangedConversation], last: int) -> None:
        """These changed, and everything up to the event `last` is known now."""
        self.last = max(self.last, last)
        for one in changes:
            if self.access.sees(one.inbox_id):
                self.waiting.add(one.id)
                self.mine = self.mine or one.assignee_id == self.access.agent_id
                self.unclaimed = self.unclaimed or one.is_unclaimed
        if self.waiting:
            self.changed.set()

    def tell_typing(self, notice: TypingNotice) -> None:
        if self.access.sees(notice.inbox_id):
            self.typing[notice.conversation_id, notice.viewing] = notice.frame(self.access.agent_id)
            self.changed.set()


class SseBroker:
    """Everybody who listens at this process. What changed is looked up once for all of a workspace."""

    def __init__(self, database: Database, pubsub: PubSub, clock: Clock) -> None:
        self.database = database
        self._typing = TypingNotices(database, clock, self._tell_typing)
        self._subscribers: dict[int, set[Subscriber]] = {}  # by workspace
        self._changed: dict[int, set[int]] = {}  # conversations that nobody was told of yet, by workspace
        self._telling: dict[int, asyncio.Task[None]] = {}
        self._told: dict[int, float] = {}  # when everybody of a workspace was told last, by the loop's clock
        self._closing = asyncio.Event()
        self.closers: list[Callable[[], None]] = []  # others who keep requests open
        pubsub.subscribe(CONVERSATION_CHANGED, self._heard)
        pubsub.subscribe(DRAFT_CHANGED, self._draft_changed)
        pubsub.subscribe(VIEWERS_CHANGED, self._viewers_changed)
        pubsub.subscribe(SESSIONS, self._sessions_ended)
        pubsub.subscribe(PRESENCE, self._presence_changed)
        pubsub.subscribe(NOTIFIED, self._notified)
        pubsub.subscribe(TICKET_CHANGED, self._ticket_changed)
        pubsub.on_gap(self._missed_notices)

    def _heard(self, workspace_id: int, conversation_id: int) -> None:
        if workspace_id not in self._subscribers:
            return
        self._changed.setdefault(workspace_id, set()).add(conversation_id)
        if workspace_id not in self._telling:
            self._telling[workspace_id] = asyncio.create_task(self._tell(workspace_id), name="live changes")

    async def _tell(self, workspace_id: int) -> None:
        """Tell everybody of a workspace what changed, a short while of it at a time, until nothing is left."""
        try:
            while workspace_id in self._changed:
                loop = asyncio.get_running_loop()
                paced = self._told.get(workspace_id, 0.0) + PACE_SECONDS - loop.time()
                await asyncio.sleep(max(GATHER_SECONDS, paced))
                self._told[workspace_id] = loop.time()
                ids = self._changed.pop(workspace_id)
                async with self.database.transaction(workspace_id) as tx:
                    last, changes = await last_event(tx), await changed_conversations(tx, sorted(ids))
                for subscriber in self._subscribers.get(workspace_id, ()):
                    subscriber.tell(changes, last)
        except Exception:  # whatever it is: they come back, and learn what they missed
            log.exception("What changed in workspace %s cannot be told; its tabs connect again.", workspace_id)
            for subscriber in self._subscribers.get(workspace_id, ()):
                subscriber.lost = True
                subscriber.changed.set()
            self._changed.pop(workspace_id, None)
        finally:
            del self._telling[workspace_id]

    def _missed_notices(self) -> None:
        """This process could not listen for a while: every tab comes back, and learns what happened meanwhile."""
        for subscriber in [one for subscribers in self._subscribers.values() for one in subscribers]:
            subscriber.lost = True
            subscriber.changed.set()

    def _presence_changed(self, workspace_id: int, _agent_id: int) -> None:
        for subscriber in self._subscribers.get(workspace_id, ()):
            subscriber.presence = True
            subscriber.changed.set()

    def _draft_changed(self, workspace_id: int, conversation_id: int) -> None:
        if workspace_id in self._subscribers:
            self._typing.draft_changed(workspace_id, conversation_id)

    def _viewers_changed(self, workspace_id: int, conversation_id: int) -> None:
        if workspace_id in self._subscribers:
            self._typing.viewers_changed(workspace_id, conversation_id)

    def _tell_typing(self, workspace_id: int, notice: TypingNotice) -> None:
        for subscriber in self._subscribers.get(workspace_id, ()):
            subscriber.tell_typing(notice)

    def _tabs_of(self, workspace_id: int, agent_id: int) -> Iterator[Subscriber]:
        return (one for one in self._subscribers.get(workspace_id, ()) if one.access.agent_id == agent_id)

    def _notified(self, workspace_id: int, agent_id: int) -> None:
        for subscriber in self._tabs_of(workspace_id, agent_id):
            subscriber.notified = True
            subscriber.changed.set()

    def _ticket_changed(self, workspace_id: int, _ticket_id: int) -> None:
        for subscriber in self._subscribers.get(workspace_id, ()):
            subscriber.tickets = True
            subscriber.changed.set()

    def _sessions_ended(self, workspace_id: int, agent_id: int) -> None:
        """Somebody signed out, was disabled, ended sessions, or may see something else: their tabs have to ask anew."""
        for subscriber in self._tabs_of(workspace_id, agent_id):
            subscriber.doubted = True
            subscriber.changed.set()

    def has_room(self, workspace_id: int, agent_id: int) -> bool:
        """Whether this agent may open one more stream in this process."""
        return len(list(self._tabs_of(workspace_id, agent_id))) < MOST_TABS and self.listeners < MOST_STREAMS

    @property
    def listeners(self) -> int:
        return sum(map(len, self._subscribers.values()))

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closing.set()
        for task in self._telling.values():
            task.cancel()
        self._typing.close()
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
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
        self._subscribers.setdefault(workspace_id, set()).add(subscriber)
        try:
            yield "retry: 1000\n\n"
            yield await self._missed(subscriber, after)
            while not self._closing.is_set():
                try:
                    async with asyncio.timeout(BEAT_SECONDS):  # wait_for would make a task for each frame
                        await subscriber.changed.wait()
                except TimeoutError:
                    subscriber.doubted = True
                    yield ": still here\n\n"
                if self._closing.is_set() or subscriber.lost:
                    return
                access_changed = False
                if subscriber.doubted:
                    subscriber.doubted = False
                    now_sees = await lives()
                    if now_sees is None:
                        return
                    access_changed, subscriber.access = now_sees != subscriber.access, now_sees
                    if access_changed:
                        subscriber.typing.clear()
                tabs = len(self._subscribers[workspace_id])
                frame = _news(subscriber, access=access_changed, spread=min(MOST_SPREAD_MS, tabs * SPREAD_MS))
                if frame:
                    yield frame
        finally:
            self._subscribers[workspace_id].discard(subscriber)
            if not self._subscribers[workspace_id]:
                del self._subscribers[workspace_id]
                self._told.pop(workspace_id, None)

    async def _missed(self, subscriber: Subscriber, after: int | None) -> str:
        async with self.database.transaction(subscriber.workspace_id) as tx:
            last = await last_event(tx)
            subscriber.last = max(subscriber.last, last)
            if after is None or after >= last:
                return _frame(last, ())
            ids = await tx.values(
                "select distinct conversation_id from event where id > %(after)s and conversation_id is not null "
                "limit %(most)s",
                after=max(0, after - OVERLAP),
                most=MOST + 1,
            )
            changes = await changed_conversations(tx, ids)
        seen = [one for one in changes if subscriber.access.sees(one.inbox_id)]
        return _frame(
            last,
            tuple(one.id for one in seen),
            everything=len(ids) > MOST,
            mine=any(one.assignee_id == subscriber.access.agent_id for one in seen),
            unclaimed=any(one.is_unclaimed for one in seen),
        )


def _news(subscriber: Subscriber, *, access: bool, spread: int) -> str:
    """What the tab has not been told yet; empty where that is nothing."""
    subscriber.changed.clear()
    changed, subscriber.waiting = subscriber.waiting, set()
    mine, subscriber.mine = subscriber.mine, False
    unclaimed, subscriber.unclaimed = subscriber.unclaimed, False
    presence, subscriber.presence = subscriber.presence, False
    notified, subscriber.notified = subscriber.notified, False
    tickets, subscriber.tickets = subscriber.tickets, False
    typing, subscriber.typing = "".join(subscriber.typing.values()), {}
    if not (changed or presence or access or notified or tickets):
        return typing
    return typing + _frame(
        subscriber.last,
        tuple(sorted(changed)),
        mine=mine,
        unclaimed=unclaimed,
        presence=presence,
        access=access,
        notified=notified,
        tickets=tickets,
        spread=spread,
    )


@lru_cache(16)
def _frame(
    last: int,
    conversations: tuple[int, ...],
    *,
    everything: bool = False,
    mine: bool = False,
    unclaimed: bool = False,
    presence: bool = False,
    access: bool = False,
    notified: bool = False,
    tickets: bool = False,
    spread: int = 0,
) -> str:
    """Written once for all tabs that are told the same.

    `mine`: one of them is the agent's own; `unclaimed`: one needs a person and nobody has it; `access`: what the agent
    may see or do is not what the page was made for; `notified`: there is news for them; `tickets`: one changed, which
    they may see or not; `spread`: within how many milliseconds the tabs are to fetch what is not theirs, each at its
    own moment, so that they do not all come at once."""
    said = {
        "conversations": conversations,
        "everything": everything,
        "mine": mine,
        "unclaimed": unclaimed,
        "presence": presence,
        "access": access,
        "notified": notified,
        "tickets": tickets,
        "spread": spread,
    }
    data = json.dumps(said)
    return f"id: {last}\nevent: changed\ndata: {data}\n\n"
