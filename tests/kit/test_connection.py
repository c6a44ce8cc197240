"""Speaking to PostgreSQL over a socket that stays watched: whatever happens between, the next statement is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest
import uvloop

from zhiban.kit.connection import Connection
from zhiban.postgres.provisioning import DatabaseUrls

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [uvloop.new_event_loop, asyncio.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["uvloop", "asyncio"])
def on_a_loop(request: pytest.FixtureRequest, urls: DatabaseUrls) -> Callable[..., Any]:
    """Runs what takes two connections on an event loop of its own, as the server's or as that of tests."""

    def run(what: Callable[[Connection, Connection], Coroutine[Any, Any, None]]) -> None:
        async def connected() -> None:
            async with asyncio.timeout(60):
                one, other = [await Connection.connect(urls.app, autocommit=True) for _ in range(2)]
                try:
                    await what(one, other)
                finally:
                    await one.close()
                    await other.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(connected())

    return run


async def says(connection: Connection, number: int) -> None:
    await connection.shared.execute("select %(n)s::int", {"n": number})
    assert await connection.shared.fetchall() == [(number,)]


def test_statements_after_each_other_are_answered(on_a_loop: Callable[..., Any]) -> None:
    async def work(one: Connection, other: Connection) -> None:
        for number in range(30):
            await asyncio.gather(says(one, number), says(other, -number))

    on_a_loop(work)


def test_more_than_a_socket_takes_at_once_arrives(on_a_loop: Callable[..., Any]) -> None:
    async def work(one: Connection, _other: Connection) -> None:
        await says(one, 1)
        text = "值" * 4_000_000
        await one.shared.execute("select length(%(text)s), %(text)s", {"text": text})
        assert await one.shared.fetchone() == (len(text), text)
        await says(one, 2)

    on_a_loop(work)


def test_what_psycopg_does_by_itself_leaves_it_usable(on_a_loop: Callable[..., Any]) -> None:
    async def work(one: Connection, other: Connection) -> None:
        await says(one, 1)
        async with one.pipeline():
            cursors = [await one.execute("select %s::int", [number]) for number in range(3)]
            assert [await cursor.fetchone() for cursor in cursors] == [(0,), (1,), (2,)]
        await says(one, 2)
        await one.execute("create temp table said (words text)")
        async with one.cursor() as cursor, cursor.copy("copy said from stdin") as copy:
            for _ in range(100):
                await copy.write_row(("你好",))
        await one.execute("listen said")
        await says(one, 3)
        await other.execute("notify said, 'again'")
        heard = [notice.payload async for notice in one.notifies(timeout=30, stop_after=1)]
        assert heard == ["again"]
        await says(one, 4)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await one.execute("select from nowhere")
        await says(one, 5)

    on_a_loop(work)


def test_a_statement_nobody_waits_for_any_more_is_stopped_and_the_next_is_answered(
    on_a_loop: Callable[..., Any],
) -> None:
    async def work(one: Connection, other: Connection) -> None:
        await says(one, 1)
        sleeps = asyncio.create_task(one.execute("select pg_sleep(50)"))
        asleep = "select count(*) from pg_stat_activity where query = 'select pg_sleep(50)' and state = 'active'"
        while (await (await other.execute(asleep)).fetchone()) != (1,):
            assert not sleeps.done()
        sleeps.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeps
        await says(one, 2)
        assert await (await other.execute(asleep)).fetchone() == (0,)

    on_a_loop(work)


def test_a_connection_that_the_server_ended_says_so_and_its_socket_is_left_to_others(
    on_a_loop: Callable[..., Any], urls: DatabaseUrls
) -> None:
    async def work(one: Connection, other: Connection) -> None:
        await says(one, 1)
        number = one.pgconn.socket
        await other.execute("select pg_terminate_backend(%s, 10000)", [one.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            await says(one, 2)
        await one.close()
        fresh = []
        while number not in [connection.pgconn.socket for connection in fresh]:
            fresh.append(await Connection.connect(urls.app, autocommit=True))
        for connection in fresh:
            await says(connection, 3)
            await connection.close()

    on_a_loop(work)
