"""What every store of access tokens promises: the one for one process, and the one that all processes share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from zhiban.channels.connections import SharedTokens
from zhiban.integrations.wecom.tokens import MemoryTokens
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.vault import Vault
from zhiban.ports import AccessToken, ConnectionBroken, TokenStore


@dataclass
class Office:
    """Where tokens are given out."""

    given: list[str] = field(default_factory=list)
    refuses: bool = False

    async def __call__(self) -> AccessToken:
        await asyncio.sleep(0)
        if self.refuses:
            raise ConnectionBroken("The secret is wrong", code=1)
        self.given.append(f"token{len(self.given) + 1}")
        return AccessToken(self.given[-1], 7000)


class Promises:
    """The promises, for whichever there is."""

    async def test_there_is_none_before_one_is_fetched(self, store: TokenStore) -> None:
        assert await store.current() is None
        assert await store.renew(None, Office()) == "token1"
        assert await store.current() == "token1"

    async def test_all_who_find_none_wait_for_one_fetch(self, store: TokenStore) -> None:
        office = Office()
        assert set(await asyncio.gather(*(store.renew(None, office) for _ in range(5)))) == {"token1"}
        assert office.given == ["token1"]

    async def test_who_was_refused_with_one_gets_another_and_the_others_get_that(self, store: TokenStore) -> None:
        office = Office()
        first = await store.renew(None, office)
        found = await asyncio.gather(*(store.renew(first, office) for _ in range(3)))
        assert set(found) == {"token2"}
        assert await store.current() == "token2"
        assert await store.renew(first, office) == "token2"  # refused long ago, and renewed meanwhile

    async def test_it_grows_old(self, store: TokenStore, clock: SetClock) -> None:
        office = Office()
        await store.renew(None, office)
        clock.advance(timedelta(seconds=6999))
        assert await store.current() == "token1"
        clock.advance(timedelta(seconds=2))
        assert await store.current() is None
        assert await store.renew(None, office) == "token2"

    async def test_what_went_wrong_is_told_and_keeps_nobody_out(self, store: TokenStore) -> None:
        office = Office(refuses=True)
        with pytest.raises(ConnectionBroken):
            await store.renew(None, office)
        office.refuses = False
        assert await store.renew(None, office) == "token1"

    async def test_who_is_stopped_while_fetching_keeps_nobody_out(self, store: TokenStore) -> None:
        begun: asyncio.Event = asyncio.Event()

        async def never() -> AccessToken:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        waiting: Callable[[], object] = asyncio.ensure_future(store.renew(None, never)).cancel
        await begun.wait()
        waiting()
        async with asyncio.timeout(30):
            assert await store.renew(None, Office()) == "token1"


class TestMemory(Promises):
    """Of one process."""

    @pytest.fixture
    def store(self, clock: SetClock) -> TokenStore:
        return MemoryTokens(monotonic=lambda: clock.now().timestamp())


class TestShared(Promises):
    """Of all processes."""

    @pytest.fixture
    async def store(self, db: Database, workspace: int, clock: SetClock) -> TokenStore:
        async with db.transaction(workspace) as tx:
            id_ = await tx.value(
                "insert into connection (workspace_id, public_id, vendor, name, secrets) "
                "values (%(w)s, 'memory', 'memory', '内存', '') returning id",
                w=workspace,
            )
        return SharedTokens(db, Vault(["a key for tests only"]), clock, workspace_id=workspace, connection_id=id_)
