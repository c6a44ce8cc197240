"""A desk with conversations of long ago, and the deleter that runs over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.kernel_desk import Desk
from zhiban.conversations import replies, service
from zhiban.events import SYSTEM, Actor
from zhiban.insights.service import count_some
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.db import Transaction
from zhiban.kit.file_store import FileMissing, FileStore, PostgresFileStore, spooled
from zhiban.people.retention import RetentionTimes, set_retention
from zhiban.ports import Limits
from zhiban.workers.retention import Retention

# The right to delete facts looks at the clock of the database, so these stories are told from today.
NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=200)
YEAR = RetentionTimes(messages=100)


async def chosen(desk: Desk, times: RetentionTimes) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await set_retention(tx, times, by=SYSTEM, now=NOW)


async def over(desk: Desk, tx: Transaction, who: str, *, at: datetime = LONG_AGO, said: str = "在") -> int:
    """Written, answered by 林晓 and resolved. Returns the conversation."""
    state = await desk.handed_over(tx, who, at=at)
    await replies.reply(tx, state.id, text=said, by=desk.lin, limits=Limits(2000), now=at + timedelta(minutes=1))
    await tx.run("update message set state = 'sent' where state = 'queued'")
    await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=at + timedelta(minutes=2))
    await tx.run("update message set state = 'handled' where state = 'pending'")
    return state.id


def deleter(desk: Desk, *, files: FileStore | None = None, now: datetime = NOW) -> Retention:
    files = files or PostgresFileStore(desk.database, SystemClock())
    return Retention(desk.database, files, SetClock(now))


async def rows(desk: Desk, sql: str) -> list[tuple[Any, ...]]:
    async with desk.database.transaction(desk.workspace_id) as tx:
        return await tx.rows(sql)


async def kept(store: FileStore, workspace_id: int, content: bytes) -> str:
    async def arriving() -> AsyncIterator[bytes]:
        yield content

    async with spooled(arriving(), limit=100, head=16) as spool:
        await store.keep(workspace_id, spool)
        return spool.sha256


async def there(store: FileStore, workspace_id: int, sha256: str) -> bool:
    try:
        return bool([piece async for piece in store.read(workspace_id, sha256)])
    except FileMissing:
        return False


async def attached(tx: Transaction, conversation_id: int, sha256: str) -> None:
    await tx.run(
        "insert into attachment (workspace_id, message_id, kind, reference, sha256, state) "
        "select workspace_id, min(id), 'file', 'r', %(sha)s, 'stored' from message "
        "where conversation_id = %(id)s group by 1",
        sha=sha256,
        id=conversation_id,
    )


async def counted(desk: Desk) -> None:
    async with asyncio.timeout(30):
        while True:
            async with desk.database.transaction(desk.workspace_id) as tx:
                await count_some(tx, now=NOW, settling=timedelta(0))
                if await tx.value("select counted_to = (select max(id) from event) from report_progress"):
                    return
