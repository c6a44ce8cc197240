"""Jobs about connections. Each can run twice without harm."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.channels.connections import CONFIG, Connections, OpenConnection, ensure_inbox
from zhiban.kit.db import Database
from zhiban.kit.jobs import Task
from zhiban.ports import ConnectionBroken, VendorAccount


class ChannelJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections) -> None:
        self._database = database
        self._connections = connections

    def tasks(self) -> list[Task]:
        return [Task("discover_inboxes", self.discover_inboxes, attempts=6, wait=5, final=(ConnectionBroken,))]

    async def discover_inboxes(self, workspace_id: int, connection_id: int) -> None:
        """Make an inbox of every account that the connection may manage, and learn what the accounts are called."""
        connection = await self._connections.connection(workspace_id, connection_id)
        await keep_accounts(self._database, connection, await connection.vendor.accounts())


async def keep_accounts(
    database: Database, connection: OpenConnection, accounts: Sequence[VendorAccount], *, wanted: bool = False
) -> None:
    """An inbox for every account, except those that an operator removed or left out, unless they are `wanted` now.

    What people named stays.
    """
    async with database.transaction(connection.workspace_id) as tx:
        for account in accounts:
            inbox_id = await ensure_inbox(
                tx, connection.id, account.kind, account.external_id, account.name, wanted=wanted
            )
            await tx.run(
                "update inbox set name = %(name)s where id = %(id)s and name = external_id and name <> %(name)s",
                name=account.name,
                id=inbox_id,
            )
        tx.publish_after_commit(CONFIG, connection.id)
