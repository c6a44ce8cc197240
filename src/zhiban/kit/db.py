"""One transaction with its workspace set.

Workers, webhooks and pages each have connections of their own, so that none of them can take the others' last one.
Row-level security compares every row with `app.workspace`, which lives exactly as long as the transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Any, Self, TypeVar

import psycopg
from psycopg import sql as pgsql
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from zhiban.kit.connection import Connection, Row
from zhiban.kit.errors import Misconfigured, Unavailable

T = TypeVar("T")

NO_WORKSPACE = 0  # no workspace has this id: such a transaction sees the directory, leases and jobs only


# Whether this role stands above row-level security, and the tables of workspaces that have it switched off. The
# directory is read before a workspace is known, and who hears an account is asked for all of them.
_WALLS = """
select coalesce((select rolsuper or rolbypassrls from pg_roles where rolname = current_user), true),
  array(select c.relname::text from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
        and c.relname not in ('directory', 'heard_account') and not (c.relrowsecurity and c.relforcerowsecurity)
        and exists (select from pg_attribute a
                    where a.attrelid = c.oid and a.attname = 'workspace_id' and not a.attisdropped) order by 1)"""


class DatabaseUnavailable(Unavailable):
    """The database does not answer, or has no free connection for us within the time allowed."""


class Transaction:
    """An open transaction of one workspace. Parameters are psycopg's named ones: `%(name)s`."""

    __slots__ = ("_cursor", "_publications", "_then", "latest", "raw", "reactions", "workspace_id")

    def __init__(self, raw: Connection, workspace_id: int) -> None:
        self.raw = raw
        self._cursor = raw.shared
        self.workspace_id = workspace_id
        self.reactions: Any = None  # who reacts to events; `kit.event_log` knows what it is
        # What this transaction last wrote of rows that it has locked, for whoever read them before; see `transitions`.
        self.latest: dict[int, Any] = {}
        self._publications: dict[tuple[str, int], None] = {}
        self._then: list[Callable[[], None]] = []

    def publish_after_commit(self, topic: str, id_: int) -> None:
        """Publish after the commit that this record changed; forgotten on rollback."""
        self._publications[topic, id_] = None

    def after_commit(self, then: Callable[[], None]) -> None:
        """Call this after the commit, on the event loop; forgotten on rollback. It must be quick and must not raise."""
        self._then.append(then)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What is written inside is undone where it raises, and the transaction goes on."""
        before = dict(self.latest)
        try:
            async with self.raw.transaction():
                yield
        except BaseException:
            self.latest = before
            raise

    @property
    def publications(self) -> Iterable[tuple[str, int]]:
        """Topic and id of what is published after the commit, each once, in the order in which it was first said."""
        return self._publications

    def committed(self) -> Iterable[Callable[[], None]]:
        """What is called after the commit, in this order."""
        return self._then

    async def lift_time_limit(self) -> None:
        """Let statements take as long as they need from here on: for work on whole tables, which nobody waits for."""
        await self.run("set local statement_timeout = 0")

    async def rows(self, sql: str, /, **params: Any) -> list[Row]:
        """All rows, as tuples to be unpacked. Raises psycopg.Error, as all that speaks to PostgreSQL here."""
        return await (await self._execute(sql, params)).fetchall()

    async def row(self, sql: str, /, **params: Any) -> Row | None:
        """The first row; None when there is none."""
        return await (await self._execute(sql, params)).fetchone()

    async def value(self, sql: str, /, **params: Any) -> Any:
        """The first column of the first row, or None."""
        row = await self.row(sql, **params)
        return row[0] if row else None

    async def values(self, sql: str, /, **params: Any) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in await self.rows(sql, **params)]

    async def run(self, sql: str, /, **params: Any) -> int:
        """Execute and return how many rows it touched."""
        return (await self._execute(sql, params)).rowcount

    async def objects(self, cls: type[T], sql: str, /, **params: Any) -> list[T]:
        """Rows as objects of a dataclass whose fields are named like the columns."""
        cursor = await self._execute(sql, params)
        names = _column_names(cursor)
        return [cls(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]

    async def records(self, sql: str, /, **params: Any) -> list[dict[str, Any]]:
        """Rows by the names of their columns, where one row holds parts of several things."""
        cursor = await self._execute(sql, params)
        names = _column_names(cursor)
        return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]

    async def object(self, cls: type[T], sql: str, /, **params: Any) -> T | None:
        """The first row as `objects` gives it; None when there is none."""
        found = await self.objects(cls, sql, **params)
        return found[0] if found else None

    async def _execute(self, sql: str, params: dict[str, Any]) -> psycopg.AsyncCursor[Row]:
        # psycopg asks for a literal, so that nobody pastes values into SQL; ours are constants or built from constants.
        return await self._cursor.execute(sql, params or None)


def _column_names(cursor: psycopg.AsyncCursor[Row]) -> list[str]:
    # Not from `description`, which says everything of each column: as much work as reading a row.
    result = cursor.pgresult
    return [] if result is None else [(result.fname(at) or b"").decode() for at in range(result.nfields)]


Transactions = Callable[[], AbstractAsyncContextManager[Transaction]]  # opens one whenever it is called


@lru_cache(1024)
def _begin(workspace_id: int, *, durable: bool) -> bytes:
    # One round trip: the connection is in autocommit, so the transaction is ours to open, with the workspace inside it.
    text = "begin; set local app.workspace = {}" + ("" if durable else "; set local synchronous_commit = off")
    return pgsql.SQL(text).format(pgsql.Literal(str(workspace_id))).as_bytes(None)


async def _autocommit(connection: Connection) -> None:
    await connection.set_autocommit(True)


async def _by_key(connection: Connection) -> None:
    """For connections that look rows up by key: a plan is made once and kept until the table is analysed.

    One that was made while a table was nearly empty reads all of it, and goes on doing so while the table grows. Left
    to itself, PostgreSQL plans what takes an array anew each time, as it expects ten keys where one is given: half a
    millisecond of each message.
    """
    await connection.set_autocommit(True)
    await connection.execute("set enable_seqscan = off; set plan_cache_mode = force_generic_plan")


class Pool:
    """A psycopg pool whose connections give `Transaction`. `kept` of them are opened at once and never closed."""

    def __init__(self, dsn: str, *, name: str, size: int, timeout: float, by_key: bool = False, kept: int = 1) -> None:
        self._size = size
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            connection_class=Connection,
            min_size=kept,
            max_size=size,
            timeout=timeout,
            name=name,
            open=False,
            configure=_by_key if by_key else _autocommit,
            kwargs={"application_name": f"zhiban {name}"},
            check=None,
            max_idle=300,
            reconnect_timeout=30,
        )

    async def open(self) -> None:
        """Connect. Raises psycopg_pool.PoolTimeout after 30 seconds."""
        await self._pool.open(wait=True, timeout=30)

    async def close(self) -> None:
        """Disconnect. What was begun is not waited for, and rolled back by PostgreSQL."""
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self, workspace_id: int, *, durable: bool = True) -> AsyncIterator[Transaction]:
        """One transaction. Raises DatabaseUnavailable when there is no connection to be had."""
        connection = await self._begun(workspace_id, durable=durable)
        try:
            yield Transaction(connection, workspace_id)
            await connection.shared.execute(b"commit", prepare=False)
        except BaseException:
            await _roll_back(connection)
            raise
        finally:
            await self._pool.putconn(connection)

    async def _begun(self, workspace_id: int, *, durable: bool) -> Connection:
        """A connection inside a transaction. Those that died in the pool are dropped: nothing was done on them yet."""
        died: psycopg.OperationalError | None = None
        for _ in range(self._size + 1):
            try:
                connection = await self._pool.getconn()
            except (PoolTimeout, PoolClosed) as error:
                raise DatabaseUnavailable("The database did not give us a connection in time.") from error
            try:
                # Several statements in one text cannot be prepared.
                await connection.shared.execute(_begin(workspace_id, durable=durable), prepare=False)
            except psycopg.OperationalError as error:
                died = error
                await self._pool.putconn(connection)
            except BaseException:
                await _roll_back(connection)
                await self._pool.putconn(connection)
                raise
            else:
                return connection
        raise DatabaseUnavailable("The database does not answer.") from died


async def _roll_back(connection: Connection) -> None:
    try:
        if not connection.closed:
            await connection.execute(b"rollback", prepare=False)
    except psycopg.Error:
        await connection.close()  # the pool replaces it


Publish = Callable[[str, int, int], None]  # topic, workspace, id


class Database:
    """The application's way to PostgreSQL, as a role that row-level security binds.

    `publish` is called after every commit for what the transaction asked to publish; `reactions` says who reacts to
    events. `kept`: how many connections wait for a webhook, and for a page, before the first one comes.
    """

    publish: Publish | None = None
    reactions: object = None

    def __init__(
        self,
        dsn: str,
        *,
        work_size: int = 6,
        webhook_size: int = 2,
        page_size: int = 8,
        page_seconds: float = 15,
        kept: int = 1,
    ) -> None:
        self.dsn = dsn
        self._workers = Pool(dsn, name="workers", size=work_size, timeout=60, by_key=True)
        self._webhooks = Pool(dsn, name="webhooks", size=webhook_size, timeout=3.5, by_key=True, kept=kept)
        self._pages = Pool(dsn, name="pages", size=page_size, timeout=page_seconds, kept=kept)

    async def open(self) -> Self:
        """Connect, and make sure that the walls between workspaces hold for us. Raises Misconfigured."""
        await self._workers.open()
        try:
            await self._check_walls()
        except BaseException:
            await self._workers.close()
            raise
        await self._webhooks.open()
        await self._pages.open()
        return self

    async def _check_walls(self) -> None:
        """Nothing but row-level security keeps workspaces apart, so we do not work where it does not bind us."""
        async with self.transaction(NO_WORKSPACE) as tx:
            row = await tx.row(_WALLS)
        bypasses, open_tables = row or (True, [])
        if bypasses:
            raise Misconfigured(
                "The role that connects to PostgreSQL bypasses row-level security, which keeps workspaces apart. "
                "Use an ordinary role: neither a superuser nor one with BYPASSRLS."
            )
        if open_tables:
            raise Misconfigured(
                f"Row-level security is switched off for {', '.join(open_tables)}. Run as the owner of the tables: "
                "alter table … enable row level security; alter table … force row level security"
            )

    async def close(self) -> None:
        """Disconnect all three pools."""
        await self._pages.close()
        await self._webhooks.close()
        await self._workers.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def transaction(self, workspace_id: int, *, durable: bool = True) -> AsyncIterator[Transaction]:
        """A transaction on the hot path: `async with database.transaction(workspace_id) as tx`.

        Without `durable` the commit does not wait for the disk: for what a crash of PostgreSQL within the same second
        may undo without anybody noticing.
        """
        async with self._workers.transaction(workspace_id, durable=durable) as tx:
            tx.reactions = self.reactions
            yield tx
        self._publish(tx)

    @asynccontextmanager
    async def webhook_transaction(self, workspace_id: int) -> AsyncIterator[Transaction]:
        """A transaction for storing webhooks: on connections of their own, waiting 3.5 s at most for one."""
        async with self._webhooks.transaction(workspace_id) as tx:
            tx.reactions = self.reactions
            yield tx
        self._publish(tx)

    def _publish(self, tx: Transaction) -> None:
        for then in tx.committed():
            then()
        if self.publish is not None:
            for topic, id_ in tx.publications:
                self.publish(topic, tx.workspace_id, id_)

    @asynccontextmanager
    async def page_transaction(self, workspace_id: int) -> AsyncIterator[Transaction]:
        """A transaction for pages, API, CLI and importers, which wait 15 s at most by default."""
        async with self._pages.transaction(workspace_id) as tx:
            tx.reactions = self.reactions
            yield tx
        self._publish(tx)

    async def workspaces(self) -> list[int]:
        """The ids of all workspaces on this installation, for recovery."""
        async with self.transaction(NO_WORKSPACE) as tx:
            return await tx.values("select workspace_id from directory where kind = 'workspace' order by 1")
