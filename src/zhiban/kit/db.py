"""One transaction with its workspace set, over psycopg or over SQLAlchemy.

The hot path speaks psycopg directly, because SQLAlchemy costs it about 4 ms of processor time a message; pages, API and
importers use SQLAlchemy on a connection of their own. Both give a `Work`, so that one verb serves both.
Row-level security compares every row with `app.workspace`, which lives exactly as long as the transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, cast

import psycopg
from psycopg import sql as pgsql
from psycopg.rows import class_row, tuple_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from zhiban.kit.errors import Unavailable

T = TypeVar("T")
Row = tuple[Any, ...]

NOBODY = 0  # no workspace has this id: such a transaction sees the directory, leases and jobs only


class Base(DeclarativeBase):
    """Every table. Names of constraints are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class DatabaseUnavailable(Unavailable):
    """The database does not answer, or has no free connection for us within the time allowed."""


class Work:
    """An open transaction of one workspace. Parameters are psycopg's named ones: `%(name)s`."""

    __slots__ = ("_touched", "raw", "workspace_id")

    def __init__(self, raw: psycopg.AsyncConnection[Row], workspace_id: int) -> None:
        self.raw = raw
        self.workspace_id = workspace_id
        self._touched: dict[tuple[str, int], None] = {}

    def touch(self, topic: str, id_: int) -> None:
        """Announce after the commit that something about this record changed; forgotten on rollback."""
        self._touched[topic, id_] = None

    @property
    def touched(self) -> Iterable[tuple[str, int]]:
        return self._touched

    async def rows(self, sql: str, /, **params: Any) -> list[Row]:
        return await (await self._execute(sql, params)).fetchall()

    async def row(self, sql: str, /, **params: Any) -> Row | None:
        return await (await self._execute(sql, params)).fetchone()

    async def value(self, sql: str, /, **params: Any) -> Any:
        """The first column of the first row, or None."""
        row = await self.row(sql, **params)
        return row[0] if row else None

    async def run(self, sql: str, /, **params: Any) -> int:
        """Execute and return how many rows it touched."""
        return (await self._execute(sql, params)).rowcount

    async def objects(self, cls: type[T], sql: str, /, **params: Any) -> list[T]:
        """Rows as objects of a dataclass whose fields are named like the columns."""
        async with self.raw.cursor(row_factory=class_row(cls)) as cursor:
            await cursor.execute(sql, params)
            return await cursor.fetchall()

    async def object(self, cls: type[T], sql: str, /, **params: Any) -> T | None:
        found = await self.objects(cls, sql, **params)
        return found[0] if found else None

    async def _execute(self, sql: str, params: dict[str, Any]) -> psycopg.AsyncCursor[Row]:
        # psycopg asks for a literal, so that nobody pastes values into SQL; ours are constants or built from constants.
        return await self.raw.execute(sql, params or None)


class Session(Work):
    """A `Work` that SQLAlchemy can use too: `orm` and `raw` are the same transaction."""

    __slots__ = ("orm",)

    def __init__(self, raw: psycopg.AsyncConnection[Row], workspace_id: int, orm: AsyncSession) -> None:
        super().__init__(raw, workspace_id)
        self.orm = orm


def _begin(workspace_id: int) -> pgsql.Composed:
    # One round trip: the connection is in autocommit, so the transaction is ours to open, with the workspace inside it.
    return pgsql.SQL("begin; set local app.workspace = {}").format(pgsql.Literal(str(workspace_id)))


_BEGIN_CACHE: dict[int, bytes] = {}


def _begin_text(workspace_id: int) -> bytes:
    text = _BEGIN_CACHE.get(workspace_id)
    if text is None:
        text = _BEGIN_CACHE[workspace_id] = _begin(workspace_id).as_bytes(None)
    return text


async def _autocommit(connection: psycopg.AsyncConnection[Row]) -> None:
    await connection.set_autocommit(True)


class Pool:
    """A psycopg pool whose connections give `Work`."""

    def __init__(self, dsn: str, *, name: str, size: int, timeout: float) -> None:
        self._size = size
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=timeout,
            name=name,
            open=False,
            configure=_autocommit,
            kwargs={"row_factory": tuple_row, "application_name": f"zhiban {name}"},
            check=None,
            max_idle=300,
            reconnect_timeout=30,
        )

    async def open(self) -> None:
        await self._pool.open(wait=True, timeout=30)

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def work(self, workspace_id: int) -> AsyncIterator[Work]:
        """One transaction. Raises DatabaseUnavailable when there is no connection to be had."""
        connection = await self._begun(workspace_id)
        try:
            yield Work(connection, workspace_id)
            await connection.execute(b"commit", prepare=False)
        except BaseException:
            await _roll_back(connection)
            raise
        finally:
            await self._pool.putconn(connection)

    async def _begun(self, workspace_id: int) -> psycopg.AsyncConnection[Row]:
        """A connection inside a transaction. Those that died in the pool are dropped: nothing was done on them yet."""
        died: psycopg.OperationalError | None = None
        for _ in range(self._size + 1):
            try:
                connection = await self._pool.getconn()
            except (PoolTimeout, PoolClosed) as error:
                raise DatabaseUnavailable("The database did not give us a connection in time.") from error
            try:
                # Several statements in one text cannot be prepared.
                await connection.execute(_begin_text(workspace_id), prepare=False)
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


async def _roll_back(connection: psycopg.AsyncConnection[Row]) -> None:
    try:
        if not connection.closed:
            await connection.execute(b"rollback", prepare=False)
    except psycopg.Error:
        await connection.close()  # the pool replaces it


Announce = Callable[[str, int, int], None]  # topic, workspace, id


class Database:
    """The application's way to PostgreSQL, as a role that row-level security binds.

    `announce` is called after every commit for what the transaction touched.
    """

    announce: Announce | None = None

    def __init__(
        self,
        dsn: str,
        *,
        work_size: int = 6,
        door_size: int = 2,
        session_size: int = 5,
        session_overflow: int = 5,
        session_patience: float = 15,
    ) -> None:
        self.dsn = dsn
        self._work = Pool(dsn, name="work", size=work_size, timeout=60)
        self._door = Pool(dsn, name="door", size=door_size, timeout=3.5)
        self._session_size = session_size
        self._session_overflow = session_overflow
        self._session_patience = session_patience
        self._engine: AsyncEngine | None = None

    async def open(self) -> Self:
        await self._work.open()
        await self._door.open()
        return self

    async def close(self) -> None:
        await self._door.close()
        await self._work.close()
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def work(self, workspace_id: int) -> AsyncIterator[Work]:
        """A transaction on the hot path: `async with database.work(workspace_id) as work`."""
        async with self._work.work(workspace_id) as work:
            yield work
        self._tell(work)

    @asynccontextmanager
    async def door(self, workspace_id: int) -> AsyncIterator[Work]:
        """A transaction for the callback door, which has connections of its own and waits 3.5 s at most for one."""
        async with self._door.work(workspace_id) as work:
            yield work
        self._tell(work)

    def _tell(self, work: Work) -> None:
        if self.announce is not None:
            for topic, id_ in work.touched:
                self.announce(topic, work.workspace_id, id_)

    @asynccontextmanager
    async def session(self, workspace_id: int) -> AsyncIterator[Session]:
        """A transaction with SQLAlchemy, for pages, API, CLI and importers. Raises DatabaseUnavailable."""
        async with AsyncSession(self.engine, expire_on_commit=False) as orm, orm.begin():
            connection = await _connected(orm)
            # Through SQLAlchemy first: it only commits what it knows to have begun.
            await connection.exec_driver_sql(
                "select set_config('app.workspace', %(workspace)s, true)", {"workspace": str(workspace_id)}
            )
            adapted = await connection.get_raw_connection()
            raw = cast("psycopg.AsyncConnection[Row]", adapted.driver_connection)
            session = Session(raw, workspace_id, orm)
            yield session
        self._tell(session)

    @property
    def engine(self) -> AsyncEngine:
        if self._engine is None:
            dsn = self.dsn

            async def connect() -> psycopg.AsyncConnection[Row]:
                return await psycopg.AsyncConnection.connect(dsn, application_name="zhiban pages")

            self._engine = create_async_engine(
                "postgresql+psycopg://",
                async_creator=connect,
                pool_size=self._session_size,
                max_overflow=self._session_overflow,
                pool_timeout=self._session_patience,
                pool_pre_ping=True,
            )
        return self._engine

    async def workspaces(self) -> list[int]:
        """The ids of all workspaces on this installation, for sweeps."""
        async with self.work(NOBODY) as work:
            rows = await work.rows("select workspace_id from directory where kind = 'workspace' order by 1")
        return [row[0] for row in rows]


async def _connected(orm: AsyncSession) -> AsyncConnection:
    try:
        return await orm.connection()
    except NoConnectionInTime as error:
        raise DatabaseUnavailable("The database did not give us a connection in time.") from error
    except DBAPIError as error:
        raise DatabaseUnavailable("The database does not answer.") from error
