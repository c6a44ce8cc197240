"""Ears of several processes: what one says the others hear, and who is alive."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.pubsub import LIVING, PAYLOAD_BYTES, PubSub
from zhiban.postgres.provisioning import DatabaseUrls


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def __call__(self, workspace_id: int, id_: int) -> None:
        self.heard.append((workspace_id, id_))


async def until(condition: Callable[[], object], *, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@pytest.fixture
async def ears(urls: DatabaseUrls) -> AsyncIterator[tuple[PubSub, PubSub]]:
    """Two processes' ears that know of each other, with `lane` near to whoever works."""
    one, two = PubSub(urls.app, local_topics=("lane",)), PubSub(urls.app, local_topics=("lane",))
    for pubsub in (one, two):
        await pubsub.open()
    await until(lambda: one.peers and two.peers)
    yield one, two
    for pubsub in (one, two):
        await pubsub.close()


async def test_what_one_says_both_hear(ears: tuple[PubSub, PubSub]) -> None:
    here, there = Listener(), Listener()
    one, two = ears
    one.subscribe("live", here)
    two.subscribe("live", there)  # after it was opened: heard within a second
    one.publish("live", 1, 7)
    assert here.heard == [(1, 7)]  # oneself at once
    while not there.heard:
        one.publish("live", 1, 8)
        await asyncio.sleep(0.05)
    there.heard.clear()
    one.publish("live", 1, 9)
    one.publish("live", 1, 9)
    one.publish("live", 2, 9)
    await until(lambda: {(1, 9), (2, 9)} <= set(there.heard))
    two.unsubscribe("live", there)
    there.heard.clear()
    mark = Listener()
    two.subscribe("live", mark)
    one.publish_remote("live", 1, 11)
    await until(lambda: mark.heard)
    assert there.heard == []


async def test_closing_while_something_is_said_ends(urls: DatabaseUrls) -> None:
    pubsub = PubSub(urls.app)
    await pubsub.open()
    pubsub.peers = True
    for pause in (0, 0.001, 0.016, 0.05):
        pubsub.publish_remote("live", 1, 1)
        await asyncio.sleep(pause)
    pubsub.publish_remote("live", 1, 2)
    async with asyncio.timeout(30):
        await pubsub.close()


async def test_a_near_topic_stays_with_whoever_works(ears: tuple[PubSub, PubSub]) -> None:
    one, two = ears
    here, there = Listener(), Listener()
    one.subscribe("lane", here)
    two.subscribe("lane", there)
    await reached(one, "lane", there)
    one.publish("lane", 1, 1)
    one.publish_remote("lane", 1, 2)
    await until(lambda: (1, 2) in there.heard)
    assert (1, 1) not in there.heard
    assert (1, 1) in here.heard
    one.unsubscribe("lane", here)
    one.publish("lane", 1, 3)  # nobody works here: the others must
    await until(lambda: (1, 3) in there.heard)


PROBE = (0, 0)


async def reached(pubsub: PubSub, topic: str, there: Listener) -> None:
    """Wait until the other ear listens to the topic."""
    while PROBE not in there.heard:
        pubsub.publish_remote(topic, *PROBE)
        await asyncio.sleep(0.03)


async def test_more_than_one_notice_can_carry(ears: tuple[PubSub, PubSub]) -> None:
    one, two = ears
    there = Listener()
    two.subscribe("live", there)
    await reached(one, "live", there)
    many = {(1, 10**12 + number) for number in range(PAYLOAD_BYTES // 10)}
    for pair in many:
        one.publish("live", *pair)
    await until(lambda: set(there.heard) - {PROBE} == many)


async def test_alone_nobody_is_told(urls: DatabaseUrls) -> None:
    pubsub = PubSub(urls.app)
    await pubsub.open()
    assert not pubsub.peers
    heard = Listener()
    pubsub.subscribe("live", heard)
    pubsub.publish("live", 1, 1)
    await pubsub.close()
    assert heard.heard == [(1, 1)]


async def test_foreign_notices_do_no_harm(ears: tuple[PubSub, PubSub], urls: DatabaseUrls) -> None:
    one, two = ears
    there = Listener()
    two.subscribe("live", there)
    await reached(one, "live", there)
    async with await psycopg.AsyncConnection.connect(urls.app, autocommit=True) as connection:
        for payload in ("", "nonsense", "1:", ":1", "1:-2", "²:1", "1:2:3", "x" * 7999, "4:5"):
            await connection.execute("select pg_notify('live', %s)", (payload,))
    await until(lambda: (4, 5) in there.heard)
    assert set(there.heard) == {PROBE, (4, 5)}


async def test_a_lost_connection_is_made_again(ears: tuple[PubSub, PubSub], urls: DatabaseUrls, db: Database) -> None:
    one, two = ears
    there = Listener()
    two.subscribe("live", there)
    async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as connection:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'zhiban pubsub' and datname = current_database()"
        )
    deadline = time.monotonic() + 30
    while not there.heard:
        assert time.monotonic() < deadline
        one.publish("live", 1, 1)
        await asyncio.sleep(0.05)
    assert await _alive(db) == {one.process_id, two.process_id}


async def test_the_last_word_of_a_process_is_heard(ears: tuple[PubSub, PubSub], urls: DatabaseUrls) -> None:
    """A command that changes something and ends."""
    there = Listener()
    ears[1].subscribe("live", there)
    await reached(ears[0], "live", there)
    command = PubSub(urls.app, sure_topics=("live",))
    await command.open()
    command.peers = False  # those that it does not know yet may know already what it changes
    command.publish("live", 1, 42)
    await command.close()
    await until(lambda: (1, 42) in there.heard)


async def test_what_cannot_be_sent_is_sent_again(ears: tuple[PubSub, PubSub], urls: DatabaseUrls) -> None:
    there = Listener()
    ears[1].subscribe("live", there)
    await reached(ears[0], "live", there)
    target = Path(str(conninfo_to_dict(urls.app)["host"]))
    # Beside it, since the path of a socket has room for a hundred characters.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        way = Path(folder) / "way"
        way.symlink_to(target)
        sender = PubSub(make_conninfo(urls.app, host=str(way)), sure_topics=("live",))
        await sender.open()
        way.unlink()  # from now on it cannot connect anew
        sender.publish("live", 1, 7)
        tried = time.monotonic() + 0.5
        await until(lambda: time.monotonic() > tried)
        sender.publish("live", 1, 8)
        assert set(there.heard) == {PROBE}
        way.symlink_to(target)
        await until(lambda: {(1, 7), (1, 8)} <= set(there.heard))
        await sender.close()


async def test_who_may_have_missed_something_says_so(ears: tuple[PubSub, PubSub], urls: DatabaseUrls) -> None:
    gaps: list[bool] = []
    ears[1].on_gap(lambda: gaps.append(True))
    async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as connection:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'zhiban pubsub' and datname = current_database()"
        )
    await until(lambda: gaps)


async def _alive(db: Database) -> set[int]:
    async with db.transaction(NO_WORKSPACE) as tx:
        return {row[0] for row in await tx.rows(LIVING)}


async def test_who_closes_is_no_longer_alive(ears: tuple[PubSub, PubSub], db: Database) -> None:
    one, two = ears
    assert await _alive(db) == {one.process_id, two.process_id}
    await two.close()
    deadline = time.monotonic() + 30
    while await _alive(db) != {one.process_id}:
        assert time.monotonic() < deadline
    await until(lambda: not one.peers)


PROCESS = """
import asyncio, sys
from zhiban.kit.pubsub import PubSub

async def main():
    pubsub = PubSub(sys.argv[1])
    pubsub.subscribe("live", lambda workspace, id_: print("heard", workspace, id_, flush=True))
    await pubsub.open()
    print("alive", pubsub.process_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.process
async def test_a_killed_process_is_dead_at_once(urls: DatabaseUrls, db: Database) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, urls.app, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    me = int((await asyncio.wait_for(process.stdout.readline(), 60)).split()[1])
    pubsub = PubSub(urls.app)
    await pubsub.open()
    assert pubsub.peers
    pubsub.publish("live", 3, 4)
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"heard 3 4\n"
    assert await _alive(db) == {me, pubsub.process_id}
    process.send_signal(signal.SIGKILL)
    await process.wait()
    deadline = time.monotonic() + 30
    while await _alive(db) != {pubsub.process_id}:
        assert time.monotonic() < deadline
    await pubsub.close()
