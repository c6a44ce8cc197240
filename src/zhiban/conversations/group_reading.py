"""Reading groups from vendors that tell us who is in them, and that something changed, but not what was said."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from zhiban.channels import inboxes
from zhiban.channels.connection_health import mark_inbox_broken, mark_mended
from zhiban.channels.connections import Connections
from zhiban.conversations import groups
from zhiban.events import InboxAdded
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.jobs import Enqueued, Job, Task, enqueue, enqueue_many
from zhiban.ports import ConnectionBroken, FeatureOff, MembersLeft, ReadsGroups, SendRefused

log = logging.getLogger(__name__)

SETTLES = timedelta(seconds=2)  # what a vendor announces, it may not tell yet

READ_GROUP = Job("read_group", queue="slow", attempts=5)
READ_GROUPS = Job("read_groups", queue="slow", attempts=4, wait=60)
PLAN_READING_GROUPS = Job("plan_reading_groups", queue="slow", cron="11 4 * * *")


def for_added(event: InboxAdded) -> Iterable[Enqueued]:
    yield READ_GROUPS.of(key=str(event.inbox_id), inbox_id=event.inbox_id)


async def read_later(tx: Transaction, inbox_id: int, thread: str, *, now: datetime) -> None:
    """Something became different in this group. What happens to it within two seconds is read once."""
    await enqueue(tx, _one(inbox_id, thread, at=now + SETTLES))


def _one(inbox_id: int, thread: str, *, at: datetime | None = None) -> Enqueued:
    return READ_GROUP.of(key=f"{inbox_id}:{thread}", at=at, inbox_id=inbox_id, thread=thread)


class GroupReader:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task(READ_GROUP, self.read_group),
            Task(READ_GROUPS, self.read_groups),
            Task(PLAN_READING_GROUPS, self.plan_reading_groups),
        ]

    async def read_group(self, workspace_id: int, inbox_id: int, thread: str) -> None:
        """What one group is now; of one that is gone, that nothing more comes from it."""
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if not isinstance(inbox.channel, ReadsGroups):
            return
        try:
            found = await inbox.channel.group(thread)
        except (FeatureOff, SendRefused) as error:
            log.info("A group of inbox %s was not read: %s", inbox_id, error)
            return
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            if found is not None:
                await groups.take_in(tx, inbox, found, now=now)
            elif await groups.is_there(tx, inbox_id, thread):
                await groups.take_in(tx, inbox, MembersLeft(thread, (), now, ourselves=True), now=now)

    async def read_groups(self, workspace_id: int, inbox_id: int) -> None:
        """Which groups there are: each of them is read, and those that we knew besides, to see what became of them."""
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if not isinstance(inbox.channel, ReadsGroups):
            return
        try:
            seen = [thread async for thread in inbox.channel.groups()]
        except FeatureOff as error:
            log.info("The groups of inbox %s are not read: %s", inbox_id, error)
            return
        except (ConnectionBroken, SendRefused) as error:
            # An operator has to mend it, which a repetition does not: it is said where they look.
            async with self._database.transaction(workspace_id) as tx:
                await mark_inbox_broken(tx, inbox_id, error.sentence, now=self._clock.now())
            return
        async with self._database.transaction(workspace_id) as tx:
            known = await groups.threads_of(tx, inbox_id)
            await enqueue_many(tx, [_one(inbox_id, thread) for thread in dict.fromkeys((*seen, *known))])
            await mark_mended(tx, inbox.connection.id, inbox_id, now=self._clock.now())

    async def plan_reading_groups(self) -> None:
        """Once a day: read them anew, as announcements get lost."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                rows = [row for row in await inboxes.inboxes(tx) if row.archived_at is None and row.removed_at is None]
                await enqueue_many(tx, [READ_GROUPS.of(key=str(row.id), inbox_id=row.id) for row in rows])
