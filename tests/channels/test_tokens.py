"""One access token for all processes: fetched by one of them, and thrown away only by its own value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.stories.conftest import running_shop, settings_for, until
from zhiban.channels.connections import TOKEN_LEASE, SharedTokens
from zhiban.channels.credentials import place_of_token
from zhiban.container import App, ensure_default
from zhiban.integrations.wecom.config import WeComSettings
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.kit.settings import load
from zhiban.kit.vault import Vault
from zhiban.ports import AccessToken, ConnectionBroken, TryLater
from zhiban.postgres.provisioning import DatabaseUrls

VAULT = Vault.from_settings(load(env_file=None, zhiban_secret_key="a key for tests only"))


@dataclass
class Office:
    """Where tokens are given out. Counts, and can be slow or refuse."""

    given: list[str] = field(default_factory=list)
    asked: int = 0
    pause: asyncio.Event | None = None
    refusal: Exception | None = None
    seconds: float = 7200

    async def __call__(self) -> AccessToken:
        self.asked += 1
        number = self.asked
        if self.pause is not None:
            await self.pause.wait()
        await asyncio.sleep(0.02)
        if self.refusal is not None:
            raise self.refusal
        self.given.append(f"token{number}")
        return AccessToken(self.given[-1], self.seconds)


@dataclass
class Processes:
    """Several processes' views of one connection."""

    db: Database
    workspace: int
    connection: int
    stores: list[SharedTokens]

    async def row(self) -> tuple[object, ...] | None:
        async with self.db.transaction(self.workspace) as tx:
            return await tx.row(
                "select token, token_leased_by, token_lease_expires_at from connection where id = %(id)s",
                id=self.connection,
            )

    async def stored(self) -> str | None:
        row = await self.row()
        assert row is not None
        place = place_of_token(self.workspace, self.connection)
        return str(VAULT.open(row[0], bound_to=place)["token"]) if isinstance(row[0], bytes) else None


@pytest.fixture
async def processes(urls: DatabaseUrls, db: Database, workspace: int, clock: SetClock) -> AsyncIterator[Processes]:
    async with db.transaction(workspace) as tx:
        connection = int(
            await tx.value(
                "insert into connection (workspace_id, public_id, vendor, name, secrets) "
                "values (%(w)s, 'wecom', 'wecom', '青禾', '') returning id",
                w=workspace,
            )
        )
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(Database(urls.app, work_size=2)) for _ in range(3)]
        stores = [
            SharedTokens(database, VAULT, clock, workspace_id=workspace, connection_id=connection)
            for database in databases
        ]
        yield Processes(db, workspace, connection, stores)


async def test_everybody_uses_what_one_fetched(processes: Processes) -> None:
    office = Office()
    assert [await store.current() for store in processes.stores] == [None] * 3
    tokens = await asyncio.gather(*(store.renew(None, office) for store in processes.stores * 4))
    assert set(tokens) == {"token1"}
    assert office.asked == 1
    assert [await store.current() for store in processes.stores] == ["token1"] * 3


async def test_a_token_is_thrown_away_by_its_own_value_only(processes: Processes) -> None:
    office = Office()
    one, two, three = processes.stores
    await asyncio.gather(*(store.renew(None, office) for store in processes.stores))
    assert await one.renew("token1", office) == "token2"
    # These two saw the first one fail, and must not take the second one from everybody.
    assert await asyncio.gather(two.renew("token1", office), three.renew("token1", office)) == ["token2", "token2"]
    tokens = await asyncio.gather(*(store.renew("token2", office) for store in processes.stores * 2))
    assert set(tokens) == {"token3"}
    assert office.asked == 3


async def test_it_is_stored_sealed(processes: Processes) -> None:
    await processes.stores[0].renew(None, Office())
    row = await processes.row()
    assert row is not None
    assert b"token1" not in row[0]  # type: ignore[operator]
    assert await processes.stored() == "token1"
    assert row[1:] == (None, None)


async def test_it_grows_old_for_everybody(processes: Processes, clock: SetClock) -> None:
    office = Office(seconds=600)
    one, two, _ = processes.stores
    await one.renew(None, office)
    await two.renew(None, office)
    clock.advance(timedelta(seconds=599))
    assert await one.current() == await two.current() == "token1"
    clock.advance(timedelta(seconds=1))
    assert await one.current() is await two.current() is None
    assert await two.renew(None, office) == "token2"
    assert await one.renew(None, office) == "token2"
    assert office.asked == 2


async def test_an_old_token_is_not_given_out_while_another_process_fetches(
    processes: Processes, clock: SetClock
) -> None:
    office = Office(seconds=600)
    one, two, _ = processes.stores
    await one.renew(None, office)
    await two.renew(None, office)
    clock.advance(timedelta(seconds=601))
    office.pause = asyncio.Event()
    fetching = asyncio.create_task(one.renew(None, office))
    await until(lambda: office.asked == 2)
    waiting = asyncio.create_task(two.renew(None, office))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    office.pause.set()
    assert await fetching == await waiting == "token2"
    assert office.asked == 2


async def test_the_lease_of_a_dead_process_ends(processes: Processes, clock: SetClock) -> None:
    office = Office(pause=asyncio.Event())
    one, two, _ = processes.stores
    # It dies with the lease in its hands: what a killed process leaves is a row that nobody clears.
    assert await one._take(None)
    waiting = asyncio.create_task(two.renew(None, office))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    assert office.asked == 0
    clock.advance(TOKEN_LEASE + timedelta(seconds=1))
    assert office.pause is not None
    office.pause.set()
    assert await waiting == "token1"


async def test_a_failing_fetch_lets_others_try(processes: Processes) -> None:
    office = Office(refusal=TryLater("They are busy.", after=3))
    one, two, three = processes.stores
    with pytest.raises(TryLater):
        await one.renew(None, office)
    row = await processes.row()
    assert row is not None
    assert row[1:] == (None, None)
    assert await one.current() is None
    office.refusal = ConnectionBroken("The secret is wrong.", code=40001, hint="Check it.")
    with pytest.raises(ConnectionBroken):
        await two.renew(None, office)
    office.refusal = None
    assert await three.renew(None, office) == await one.renew(None, office) == "token3"


async def test_who_is_stopped_while_fetching_lets_others_try(processes: Processes) -> None:
    office = Office(pause=asyncio.Event())
    one, two, _ = processes.stores
    fetching = asyncio.create_task(one.renew(None, office))
    await until(lambda: office.asked == 1)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert office.pause is not None
    office.pause.set()
    assert await asyncio.wait_for(two.renew(None, office), 30) == "token2"


async def test_a_removed_connection_has_no_token(processes: Processes) -> None:
    async with processes.db.transaction(processes.workspace) as tx:
        await tx.run("delete from connection")
    office = Office()
    with pytest.raises(NotFound):
        await processes.stores[0].renew(None, office)
    assert office.asked == 0


# ------------------------------------------------------------------------------------------- with WeCom on the wire


@asynccontextmanager
async def _home(urls: DatabaseUrls, folder: Path, address: str, **more: str) -> AsyncIterator[App]:
    app = App.build(settings_for(folder, address, **more), urls)
    async with app:
        yield app


async def test_a_wrong_secret_is_said_and_its_correction_mends_it(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop:
        right = shop.app.settings
        address = right.part(WeComSettings).wecom_api_base.removesuffix("/cgi-bin")
        shop.app.settings = settings_for(tmp_path, address, wecom_agent_secret="a-wrong-secret")
        await ensure_default(shop.app)
        shop.wecom.contact_says("wmLIXIAO", "怎么申请退款？")

        async def broken() -> str | None:
            ((why,),) = await shop.rows("select broken from connection")
            return str(why) if why else None

        why = await shop.eventually("select broken from connection where broken is not null")
        assert "a-wrong-secret" not in why
        assert not shop.wecom.sent("wmLIXIAO")
        shop.app.settings = right
        await ensure_default(shop.app)
        async with shop.work() as tx:  # an operator who does not want to wait a minute
            await tx.run("update pull_state set retry_at = null")
        shop.wecom.contact_says("wmLIXIAO", "在吗")
        await until(lambda: shop.wecom.sent("wmLIXIAO"))
        assert await broken() is None


async def test_two_processes_ask_wecom_for_one_token(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path) as shop, AsyncExitStack() as stack:
        address = shop.app.settings.part(WeComSettings).wecom_api_base.removesuffix("/cgi-bin")
        homes = [await stack.enter_async_context(_home(urls, tmp_path, address)) for _ in range(2)]
        links = [await app.connections.connection(shop.workspace_id, 1) for app in homes]
        await asyncio.gather(*(link.vendor.accounts() for link in links * 5))
        assert shop.wecom.journal.counts["gettoken"] == 1
        shop.wecom.expire_tokens()
        await asyncio.gather(*(link.vendor.accounts() for link in links * 5))
        assert shop.wecom.journal.counts["gettoken"] == 2
