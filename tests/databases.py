"""Databases that tests use one after the other, and connections that stay open meanwhile.

A database made anew costs hundreds of files, and every connection to it reads the catalogue and plans each statement
afresh: half of what tests made PostgreSQL do. So what a test wrote is removed after it. Where a test did more than
write rows, or where that cannot be known, its database is dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from zhiban.kit import db
from zhiban.kit.connection import Connection

MOST_CONNECTIONS = 2  # that are kept of each pool: whoever needs more at once connects anew
MOST_FREE = 4  # databases that wait for a test, in each worker: some templates are used for two minutes only
MOST_TESTS = 60  # of one database: what was deleted still lies in its files, and whoever looks at a table passes it
PATIENCE = 2.0  # seconds for connections that were closed to be gone from the server

_TABLES = """
select c.oid::regclass::text from pg_class c
where c.relkind in ('r', 'p') and not c.relispartition
and c.relnamespace in ('public'::regnamespace, 'jobs'::regnamespace) order by 1"""

_SEQUENCES = """
select c.oid::bigint, pg_sequence_last_value(c.oid) from pg_class c
where c.relkind = 'S' and c.relnamespace in ('public'::regnamespace, 'jobs'::regnamespace)"""

# Whether anything but rows is other than it was. A row of a catalogue knows which transaction wrote it.
_SCHEMA_CHANGED = """
select exists (select from pg_class where age(xmin) < age(%(since)s::xid))
  or exists (select from pg_proc where age(xmin) < age(%(since)s::xid))
  or exists (select from pg_policy where age(xmin) < age(%(since)s::xid))
  or exists (select from pg_trigger where age(xmin) < age(%(since)s::xid))
  or exists (select from pg_constraint where age(xmin) < age(%(since)s::xid))
  or exists (select from pg_statistic where age(xmin) < age(%(since)s::xid))
  or exists (select from pg_locks where locktype = 'advisory'
             and database = (select oid from pg_database where datname = current_database()))"""

_SESSIONS = """
select coalesce(array_agg(pid), '{}') from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"""

_RESET_SEQUENCES = """
select setval(id::oid, coalesce(was, 1), was is not null)
from unnest(%(ids)s::bigint[], %(were)s::bigint[]) as s(id, was)
where pg_sequence_last_value(id::oid) is distinct from was"""


class PooledConnection(Connection):
    """A connection of a pool that is kept where the pool closes it, for the next pool that connects to the same."""

    kept: ClassVar[dict[tuple[str, object], list[Self]]] = defaultdict(list)
    databases: ClassVar[set[str]] = set()  # whose connections are kept
    _key: tuple[str, object] = ("", None)

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:  # type: ignore[override]  # psycopg names each option
        """Connect, or take a connection that was kept."""
        key = conninfo, options.get("application_name")
        while cls.kept[key]:
            if not (kept := cls.kept[key].pop()).closed:
                return kept
        made = await super().connect(conninfo, **options)
        made._key = key
        return made

    async def close(self) -> None:
        """Keep this connection where nothing is left of who used it, else disconnect."""
        idle = not self.closed and self.info.transaction_status is TransactionStatus.IDLE
        if idle and self.info.dbname in self.databases and len(self.kept[self._key]) < MOST_CONNECTIONS:
            self._unwatch()
            self.kept[self._key].append(self)
        else:
            await super().close()

    @classmethod
    def of(cls, database: str) -> list[Self]:
        """All that are kept to this database, and open."""
        every = (one for several in cls.kept.values() for one in several if not one.closed)
        return [one for one in every if one.info.dbname == database]

    @classmethod
    async def forget(cls, database: str) -> None:
        """Disconnect all that are kept to this database, and keep none from now on."""
        cls.databases.discard(database)
        for one in cls.of(database):
            cls.kept[one._key].remove(one)
            await one.close()


@contextmanager
def kept_connections() -> Iterator[None]:
    """Let the pools of the product make such connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "Connection", PooledConnection)
        yield


@dataclass(frozen=True)
class Contents:
    """What a template holds: of every table that is not empty how many rows, and the rows; where sequences stand."""

    counts: dict[str, int]
    rows: dict[str, bytes]
    sequences: dict[int, int | None]

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> Contents:
        counts, rows = {}, {}
        for (name,) in connection.execute(_TABLES).fetchall():
            counts[name] = connection.execute(f"select count(*) from {name}").fetchone()[0]
            if counts[name]:
                with connection.cursor().copy(f"copy {name} to stdout (format binary)") as copy:
                    rows[name] = b"".join(copy)
        return cls(counts, rows, dict(connection.execute(_SEQUENCES).fetchall()))

    def written(self, since: int) -> str:
        """A statement that names the tables which hold something else now."""
        cases = []
        for name, count in self.counts.items():
            other = f"exists (select from {name})"
            if count:
                other = (
                    f"exists (select from {name} t where age(t.xmin) < age('{since}'::xid)) "
                    f"or (select count(*) from {name}) <> {count}"
                )
            cases.append(f"case when {other} then '{name}' end")
        return f"select array_remove(array[{', '.join(cases)}], null)"


class KeptDatabase:
    """A database of one test at a time."""

    def __init__(self, name: str, keeper: psycopg.Connection[Any]) -> None:
        self.name = name
        self.keeper = keeper  # a superuser's connection
        self.contents = Contents.of(keeper)
        self.tests = 0
        keeper.execute("set session_replication_role = replica; set jit = off")  # rows go without asking triggers
        self.since = keeper.execute("select txid_current()").fetchone()[0]
        self.written = self.contents.written(self.since)
        PooledConnection.databases.add(name)

    async def emptied(self) -> bool:
        """Whether it is as it was before a test, and nobody else is connected."""
        self.tests += 1
        try:
            return self.tests < MOST_TESTS and await self._left() and self._unchanged() and self._reset()
        except psycopg.Error:
            return False  # a test disturbs even whoever looks after it

    async def _left(self) -> bool:
        own = {one.info.backend_pid for one in PooledConnection.of(self.name)}
        deadline = time.monotonic() + PATIENCE
        while set(self.keeper.execute(_SESSIONS, prepare=True).fetchone()[0]) != own:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def _unchanged(self) -> bool:
        return not self.keeper.execute(_SCHEMA_CHANGED, {"since": str(self.since)}, prepare=True).fetchone()[0]

    def _reset(self) -> bool:
        for name in self.keeper.execute(self.written, prepare=True).fetchone()[0]:
            self.keeper.execute(f"delete from {name}", prepare=True)
            if name in self.contents.rows:
                with self.keeper.cursor().copy(f"copy {name} from stdin (format binary)") as copy:
                    copy.write(self.contents.rows[name])
        ids, were = list(self.contents.sequences), list(self.contents.sequences.values())
        self.keeper.execute(_RESET_SEQUENCES, {"ids": ids, "were": were}, prepare=True)
        return True


class KeptDatabases:
    """The databases of this worker that no test uses at the moment, the one that was used last at the end."""

    def __init__(self, make: Callable[[str], tuple[str, psycopg.Connection[Any]]], drop: Callable[[str], None]) -> None:
        self._make = make
        self._drop = drop
        self._free: list[tuple[str, KeptDatabase]] = []

    def take(self, template: str) -> KeptDatabase:
        """One that holds what the template holds."""
        for place in reversed(range(len(self._free))):
            if self._free[place][0] == template:
                return self._free.pop(place)[1]
        return KeptDatabase(*self._make(template))

    async def give_back(self, template: str, database: KeptDatabase) -> None:
        """After a test. Dropped where it cannot be used again."""
        if not await database.emptied():
            await self._end(database)
            return
        self._free.append((template, database))
        if len(self._free) > MOST_FREE:
            await self._end(self._free.pop(0)[1])

    async def close(self) -> None:
        """Drop them all."""
        while self._free:
            await self._end(self._free.pop()[1])

    async def _end(self, database: KeptDatabase) -> None:
        await PooledConnection.forget(database.name)
        database.keeper.close()
        self._drop(database.name)
