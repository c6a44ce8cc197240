"""Work after the commit about connections, inboxes and deliveries. Each piece can run twice without harm."""

from __future__ import annotations

from collections.abc import Iterable

from zhiban.channels.accounts import find_accounts
from zhiban.channels.connection_health import mark_broken
from zhiban.channels.connections import Connections
from zhiban.channels.service import DISCOVER_INBOXES
from zhiban.events import InboxAdded
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.jobs import Enqueued, Task
from zhiban.ports import ConnectionBroken


def for_added(event: InboxAdded) -> Iterable[Enqueued]:
    """An inbox that a webhook made has to learn what its account is called."""
    if not event.named:
        yield DISCOVER_INBOXES.of(key=str(event.connection_id), connection_id=event.connection_id)


class ChannelJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [Task(DISCOVER_INBOXES, self.discover_inboxes)]

    async def discover_inboxes(self, workspace_id: int, connection_id: int) -> None:
        """Make an inbox of every account that the connection may manage, and learn what the accounts are called."""
        connection = await self._connections.connection(workspace_id, connection_id)
        try:
            await find_accounts(self._database, connection, now=self._clock.now())
        except ConnectionBroken as error:
            # An operator has to mend it, which a repetition does not: it is said where they look.
            async with self._database.transaction(workspace_id) as tx:
                await mark_broken(tx, connection_id, error.sentence, now=self._clock.now())
