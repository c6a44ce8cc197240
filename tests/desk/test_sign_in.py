"""Guessing passwords: what the login throttle, the hash queue and the list of easy passwords are good for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.passwords import quickly_hashed
from tests.stories.conftest import AheadClock, settings_for
from zhiban.container import App, ensure_workspace
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict
from zhiban.main import application
from zhiban.people import passwords, throttle
from zhiban.people.models import Role
from zhiban.people.passwords import HashQueue, HashQueueFull, check_strength
from zhiban.people.service import add_agent
from zhiban.people.throttle import LoginThrottle, TooManyAttempts, network_of
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served

PASSWORD = "correct horse battery"
LIN = "lin@example.test"


class House:
    """An installation with 林晓, answering at one or more addresses."""

    def __init__(self, urls: list[str], database: Database, clock: AheadClock) -> None:
        self.urls = urls
        self.database = database
        self.clock = clock

    async def tries(
        self, password: str, *, email: str = LIN, at: int = 0, jar: aiohttp.CookieJar | None = None, **headers: str
    ) -> int:
        """The status of one attempt to sign in, from a browser that kept `jar`."""
        url = self.urls[at]
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True) if jar is None else jar) as session,
            session.post(
                f"{url}/login",
                data={"email": email, "password": password},
                headers={"origin": url, **{name.replace("_", "-"): value for name, value in headers.items()}},
                allow_redirects=False,
            ) as answer,
        ):
            return answer.status


@asynccontextmanager
async def _house(
    urls: DatabaseUrls, folder: Path, *, processes: int = 1, patient: bool = False, **more: str
) -> AsyncIterator[House]:
    """`patient`: looking at her password takes as long as it does outside of tests."""
    clock = AheadClock()
    apps = [App.build(settings_for(folder, "http://127.0.0.1:9", **more), urls, clock=clock) for _ in range(processes)]
    async with served(application(apps[0])) as first:
        (workspace,) = await apps[0].database.workspaces()
        async with apps[0].database.transaction(workspace) as tx:
            hashed = await HashQueue().hash(PASSWORD) if patient else quickly_hashed(PASSWORD)
            await add_agent(tx, email=LIN, name="林晓", role=Role.OWNER, password_hash=hashed)
        if processes == 2:
            async with served(application(apps[1])) as second:
                yield House([first, second], apps[0].database, clock)
        else:
            yield House([first], apps[0].database, clock)


@pytest.fixture
async def house(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with _house(urls, tmp_path) as found:
        yield found


async def test_sixty_guesses_at_once_are_eight(urls: DatabaseUrls, tmp_path: Path) -> None:
    """The attempt is reserved before the password is looked at, so that being quick does not help."""
    async with _house(urls, tmp_path, patient=True) as house:
        statuses = Counter(await asyncio.gather(*(house.tries(f"guess number {n}") for n in range(60))))
        assert statuses == {401: throttle.PER_ACCOUNT, 429: 60 - throttle.PER_ACCOUNT}
        assert await house.tries(PASSWORD) == 429
        house.clock.ahead = throttle.WINDOW + timedelta(seconds=1)
        assert await house.tries(PASSWORD) == 303


async def test_two_processes_count_together(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with _house(urls, tmp_path, processes=2, patient=True) as house:
        statuses = Counter(
            await asyncio.gather(
                *(house.tries(f"guess number {n}", at=n % 2, email="LIN@example.test ") for n in range(30))
            )
        )
        assert statuses == {401: throttle.PER_ACCOUNT, 429: 30 - throttle.PER_ACCOUNT}


async def test_who_signed_in_here_before_is_not_locked_out_by_strangers(house: House) -> None:
    own = aiohttp.CookieJar(unsafe=True)
    assert await house.tries(PASSWORD, jar=own) == 303
    for n in range(throttle.PER_ACCOUNT + 1):
        await house.tries(f"guess number {n}")
    assert await house.tries(PASSWORD) == 429
    assert await house.tries(PASSWORD, jar=own) == 303


async def test_a_known_device_may_not_guess_for_ever_either(house: House) -> None:
    own = aiohttp.CookieJar(unsafe=True)
    assert await house.tries(PASSWORD, jar=own) == 303
    statuses = [await house.tries(f"guess number {n}", jar=own) for n in range(throttle.PER_DEVICE + 1)]
    assert Counter(statuses) == {401: throttle.PER_DEVICE, 429: 1}


async def test_a_made_up_device_is_a_stranger(house: House) -> None:
    for cookie in ("x", "A" * 64, "%%%"):
        for n in range(3):
            await house.tries(f"guess number {n}", cookie=f"zhiban_device={cookie}")
    assert await house.tries(PASSWORD, cookie="zhiban_device=" + "B" * 64) == 429


@pytest.fixture
def _few_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt costs a hash, and what is counted depends neither on how many it takes nor on their work."""
    monkeypatch.setattr(throttle, "PER_ADDRESS", 10)
    decoy = quickly_hashed("of nobody")
    monkeypatch.setattr(passwords, "_decoy", lambda: decoy)


@pytest.mark.usefixtures("_few_for_an_address")
async def test_one_password_on_many_accounts_is_counted_by_address(house: House) -> None:
    for n in range(throttle.PER_ADDRESS):
        assert await house.tries("one password", email=f"agent{n}@example.test") == 401
    assert await house.tries("one password", email="another@example.test") == 429


@pytest.mark.usefixtures("_few_for_an_address")
async def test_behind_a_proxy_that_nobody_named_strangers_do_not_lock_everybody_out(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    """All visitors have the proxy's address there; then accounts alone are counted."""
    async with _house(urls, tmp_path, zhiban_trusted_proxies="192.0.2.1") as house:
        for n in range(throttle.PER_ADDRESS + 5):
            status = await house.tries("one password", email=f"agent{n}@example.test", x_forwarded_for="198.51.100.7")
            assert status == 401
        assert await house.tries(PASSWORD, x_forwarded_for="203.0.113.9") == 303


@pytest.mark.usefixtures("_few_for_an_address")
async def test_behind_a_trusted_proxy_everybody_has_their_own_address(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with _house(urls, tmp_path, zhiban_trusted_proxies="127.0.0.0/8, ::1") as house:
        for n in range(throttle.PER_ADDRESS + 1):
            # What a visitor writes into the header himself stands on the left, and is not believed.
            forged = f"203.0.113.{n}, 198.51.100.7"
            status = await house.tries("one password", email=f"agent{n}@example.test", x_forwarded_for=forged)
        assert status == 429
        assert await house.tries(PASSWORD, x_forwarded_for="203.0.113.200") == 303


async def test_one_address_in_two_workspaces_chooses(house: House) -> None:
    other = await ensure_workspace(house.database, "banshan", "半山茶社", "zh")
    async with house.database.transaction(other) as tx:
        hashed = quickly_hashed(PASSWORD)
        await add_agent(tx, email=LIN, name="林晓", role=Role.AGENT, password_hash=hashed)
        with pytest.raises(Conflict):
            await add_agent(tx, email=LIN, name="另一个", role=Role.AGENT, password_hash=None)
    url = house.urls[0]
    form = {"email": LIN, "password": PASSWORD}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.post(f"{url}/login", data=form, headers={"origin": url}, allow_redirects=False) as answer:
            assert answer.status == 409
            page = await answer.text()
        assert "半山茶社" in page
        chosen = {**form, "workspace": str(other)}
        async with session.post(f"{url}/login", data=chosen, headers={"origin": url}, allow_redirects=False) as answer:
            assert answer.status == 303
        async with session.get(f"{url}/me") as answer:
            assert "半山茶社" in await answer.text()


async def test_two_passwords_in_two_workspaces_need_no_choice(house: House) -> None:
    other = await ensure_workspace(house.database, "banshan", "半山茶社", "zh")
    async with house.database.transaction(other) as tx:
        hashed = quickly_hashed("another long sentence")
        await add_agent(tx, email=LIN, name="林晓", role=Role.AGENT, password_hash=hashed)
    assert await house.tries(PASSWORD) == 303
    assert await house.tries("another long sentence") == 303
    assert await house.tries("a third sentence") == 401


async def test_failures_are_forgotten_in_time_and_by_success(db: Database, clock: SetClock) -> None:
    counter = LoginThrottle(db, b"secret" * 6)
    attempt = counter.attempt("a@b.example")
    for _ in range(throttle.PER_ACCOUNT):
        await counter.reserve(attempt, now=clock.now())
    with pytest.raises(TooManyAttempts):
        await counter.reserve(attempt, now=clock.now())
    clock.advance(throttle.WINDOW)
    await counter.reserve(attempt, now=clock.now())
    await counter.succeeded(attempt)
    for _ in range(throttle.PER_ACCOUNT):
        await counter.reserve(attempt, now=clock.now())
    clock.advance(throttle.WINDOW)
    await counter.reserve(counter.attempt("c@d.example"), now=clock.now())
    async with db.transaction(0) as tx:
        assert await tx.value("select count(*) from login_attempt") == 1


async def test_a_full_hash_queue_refuses_at_once() -> None:
    queue = HashQueue(at_once=1, most_waiting=1)
    first, second = asyncio.create_task(queue.matches("a", None)), asyncio.create_task(queue.matches("b", None))
    await asyncio.sleep(0)
    with pytest.raises(HashQueueFull):
        await queue.matches("c", None)
    assert not await first
    assert not await second
    assert not await queue.matches("d", None)


def test_an_address_of_ipv6_stands_for_its_network() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("unix") is network_of(None) is None


def _easy() -> Iterator[str]:
    yield from ("1111111111", "1234567890", "0987654321", "aaaaaaaaaa", "ababababab", "13812345678", "20261120")
    yield from (
        "password123",
        "P@ssw0rd2026",
        "Admin@123456",
        "qwertyuiop",
        "1qaz2wsx3edc",
        "1q2w3e4r5t",
        "iloveyou520",
    )
    yield from (
        "woaini1314520",
        "zhiban2026!",
        "Welcome2026!",
        "abc123456789",
        "asdfghjkl;",
        "abcabcabcabc",
        "letmein!!!",
    )
    yield from ("linxiao2026", "qinghe@123", "LinXiao!!!!", "ｐａｓｓｗｏｒｄ１２３", "５２０１３１４５２０")


@pytest.mark.parametrize("password", list(_easy()))
def test_what_guessers_try_first_is_refused(password: str) -> None:
    with pytest.raises(Conflict):
        check_strength(password, about=("林晓", "linxiao@qinghe.example", "青禾商店"))


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "a long sentence", "einszweidrei", "今天下雨没有带伞就出门", "x7#kQ2!mZp", "k3nzTq9vWb"],
)
def test_what_guessers_do_not_try_is_taken(password: str) -> None:
    check_strength(password, about=("林晓", "linxiao@qinghe.example", "青禾商店"))
    assert len(password) >= passwords.SHORTEST
