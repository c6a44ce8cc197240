"""What a stranger may cost us: huge and half-sent requests, connections that do nothing, streams without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.desk.conftest import Site
from tests.stories.conftest import AheadClock, settings_for
from zhiban.container import App
from zhiban.desk import sse_broker
from zhiban.main import application
from zhiban.people import agents, service
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.people.service import add_agent, open_session
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.web.limits import RequestLimit, RequestLimits
from zhiban.web.protocol import ConnectionLimit, protocol
from zhiban.web.proxies import Networks

SOON = 30.0  # seconds within which a connection must have been closed: only a test that fails waits so long
LIMIT = RequestLimit(body=10_000, buffered=25_000, body_seconds=0.3)


class Wire:
    """A connection on which one sends what one likes."""

    def __init__(self, viewer: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.viewer = viewer
        self.writer = writer

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode() if isinstance(text, str) else text)
        await self.writer.drain()

    async def status(self) -> int:
        line = await asyncio.wait_for(self.viewer.readline(), SOON)
        return int(line.split()[1]) if line else 0

    async def closed(self) -> bool:
        """Whether the other side hangs up soon; what it says before is thrown away."""
        try:
            await asyncio.wait_for(self.viewer.read(), SOON)
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    host, port = url.removeprefix("http://").split(":")
    viewer, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(viewer, writer)
    finally:
        writer.close()


async def _status_of(url: str) -> int:
    async with wire(url) as one:
        await one.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return await one.status()
        except ConnectionError:
            return 0


@pytest.fixture
async def url(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[str]:
    """A whole installation with small limits."""
    app = App.build(settings_for(tmp_path, "http://127.0.0.1:9"), urls)
    limit = ConnectionLimit(header_seconds=0.3, most=8, trusted=Networks("127.0.0.1"))
    async with served(application(app, limit=LIMIT), http=protocol(limit)) as address:
        yield address


def _post(path: str, headers: str) -> str:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n\r\n"


@pytest.mark.parametrize("path", ["/api/test_kb", "/login", "/nowhere", "/static/x", "/setup/1.x", "/settings/people"])
async def test_a_body_that_says_it_is_huge_is_not_read(url: str, path: str) -> None:
    async with wire(url) as one:
        await one.send(_post(path, "Content-Length: 200000000"))
        assert await one.status() == 413
        assert await one.closed()


async def test_a_body_without_a_length_is_read_up_to_the_limit(url: str) -> None:
    async with wire(url) as one:
        await one.send(_post("/api/test_kb", "Transfer-Encoding: chunked"))
        for _ in range(3):
            await one.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        assert await one.status() == 413
        assert await one.closed()


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10", "5, 5"])
async def test_a_length_that_is_no_number_is_refused(url: str, length: str) -> None:
    async with wire(url) as one:
        await one.send(_post("/login", f"Content-Length: {length}"))
        assert await one.status() == 400
        assert await one.closed()


async def test_half_a_body_does_not_stay_for_ever(url: str) -> None:
    async with wire(url) as one:
        await one.send(_post("/login", "Content-Length: 100") + "email=")
        assert await one.status() == 408
        assert await one.closed()


async def test_dripping_does_not_prolong_the_deadline(url: str) -> None:
    async with wire(url) as one:
        await one.send(_post("/login", "Content-Length: 5000"))

        async def drip() -> None:
            while True:
                await one.send("x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await one.status() == 408
        dripping.cancel()


async def test_all_bodies_together_have_a_budget(url: str) -> None:
    async with wire(url) as first, wire(url) as second, wire(url) as third:
        for one in (first, second):
            await one.send(_post("/login", "Content-Length: 10000") + "x" * 9_900)
        await third.send(_post("/login", "Content-Length: 10000") + "x" * 9_900)
        assert sorted([await first.status(), await second.status(), await third.status()]) == [408, 408, 503]
    async with aiohttp.ClientSession() as session, session.post(f"{url}/login", data={"email": "a@b.c"}) as answer:
        assert answer.status != 503  # what was held is given back


@pytest.mark.parametrize("said", ["", "GET /health HT", "GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ", "\r\n\r\n"])
async def test_half_a_header_does_not_stay_for_ever(url: str, said: str) -> None:
    async with wire(url) as one:
        await one.send(said)
        assert await one.closed()


async def test_a_second_request_has_the_same_deadline(url: str) -> None:
    async with wire(url) as one:
        await one.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await one.status() == 200
        await one.send("GET /health HTTP/1.1\r\nHo")
        assert await one.closed()


async def test_there_is_a_last_connection() -> None:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))])
    patient = ConnectionLimit(header_seconds=600, most=8)  # nobody is let go for saying nothing
    async with served(app, http=protocol(patient)) as url:
        async with (
            wire(url),
            wire(url),
            wire(url),
            wire(url),
            wire(url),
            wire(url),
            wire(url),
            wire(url),
            wire(url) as ninth,
        ):
            assert await asyncio.wait_for(ninth.viewer.read(), SOON) == b""
        async with asyncio.timeout(SOON):
            while await _status_of(url) != 200:  # noqa: ASYNC110 - until the server has seen the others leave
                await asyncio.sleep(0.01)


async def test_one_address_does_not_take_all_connections() -> None:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))])
    async with served(app, http=protocol(ConnectionLimit(header_seconds=600, most_per_address=2))) as url:
        async with wire(url), wire(url), wire(url) as third:
            assert await third.closed()
        async with asyncio.timeout(SOON):
            while await _status_of(url) != 200:  # noqa: ASYNC110 - until the server has seen the others leave
                await asyncio.sleep(0.01)
    trusting = ConnectionLimit(most_per_address=2, trusted=Networks("127.0.0.0/8"))
    async with served(app, http=protocol(trusting)) as url, wire(url), wire(url), wire(url) as third:
        await third.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await third.status() == 200


async def test_sockets_count_as_long_as_they_are_open() -> None:
    """Also before whoever opens one has proved anything."""
    proved = asyncio.Event()
    knocking: asyncio.Queue[WebSocket] = asyncio.Queue()

    async def slow(websocket: WebSocket) -> None:
        await knocking.put(websocket)
        await proved.wait()
        await websocket.accept()
        await websocket.receive()

    routes = [WebSocketRoute("/streams/x", slow), Route("/", lambda _: PlainTextResponse("ok"))]
    limit = ConnectionLimit(header_seconds=600, most_per_address=2)
    async with served(Starlette(routes=routes), http=protocol(limit)) as url, aiohttp.ClientSession() as session:
        opening = [asyncio.create_task(session.ws_connect(f"{url}/streams/x")) for _ in range(2)]
        async with asyncio.timeout(SOON):
            await knocking.get()
            await knocking.get()
        async with wire(url) as third:
            assert await third.closed()
        proved.set()
        sockets = await asyncio.gather(*opening)
        async with wire(url) as third:
            assert await third.closed()
        await asyncio.gather(*(one.close() for one in sockets))
        async with asyncio.timeout(SOON):
            while await _status_of(url) != 200:  # noqa: ASYNC110 - until the server has seen the others leave
                await asyncio.sleep(0.01)


async def test_a_socket_that_is_not_read_is_not_taken_for_dead() -> None:
    """While the database is away we fall behind, and answers to pings wait with the rest. One that hangs is ended."""
    reading = asyncio.Event()
    heard: list[str] = []

    async def behind(websocket: WebSocket) -> None:
        await websocket.accept()
        await reading.wait()
        while (message := await websocket.receive())["type"] == "websocket.receive":
            heard.append(message["text"])

    app = Starlette(routes=[WebSocketRoute("/streams/x", behind)])
    quick = {"ws_ping_interval": 0.03, "ws_ping_timeout": 0.03}
    async with (
        served(app, http=protocol(ConnectionLimit()), **quick) as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/streams/x", autoping=False) as socket,
    ):
        await socket.send_str("first")
        await socket.send_str("second")
        for _ in range(4):
            assert (await socket.receive(SOON)).type is aiohttp.WSMsgType.PING
        reading.set()
        while (message := await socket.receive(SOON)).type is aiohttp.WSMsgType.PING:
            pass
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)
        assert heard == ["first", "second"]


async def test_who_does_not_read_is_let_go() -> None:
    async def endless(_request: Request) -> Response:
        return Response(b"x" * 50_000_000)

    app = Starlette(routes=[Route("/", endless)])
    async with served(app, http=protocol(ConnectionLimit(write_seconds=0.3))) as url, wire(url) as one:
        await one.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1.5)  # a reader that pauses for longer than it may, on a busy machine too
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(one.viewer.readexactly(50_000_000), SOON)


async def test_uploads_have_a_limit_of_their_own_and_must_keep_moving() -> None:
    async def size(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    limit = RequestLimit(body=100, body_seconds=0.3, uploads={"/files/": 5_000}, upload_rate=1_000_000)
    app = RequestLimits(Starlette(routes=[Route("/files/new", size, methods=["POST"])]), limit)
    async with served(app) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/files/new", data=b"x" * 4_000) as answer:
            assert (answer.status, await answer.text()) == (200, "4000")
        async with wire(url) as one:
            await one.send(_post("/files/new", "Content-Length: 6000"))
            assert await one.status() == 413
        async with wire(url) as one:
            await one.send(_post("/files/new", "Transfer-Encoding: chunked"))
            for _ in range(2):
                await one.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            assert await one.status() == 413
        async with wire(url) as one:
            await one.send(_post("/files/new", "Content-Length: 4000") + "x")
            assert await one.status() == 408


async def test_too_many_requests_at_once_are_told_to_come_back() -> None:
    going = asyncio.Event()

    async def slow(_request: Request) -> Response:
        await going.wait()
        return PlainTextResponse("ok")

    app = RequestLimits(Starlette(routes=[Route("/", slow)]), RequestLimit(at_once=2))
    async with served(app) as url, aiohttp.ClientSession() as session:

        async def ask() -> int:
            async with session.get(url) as answer:
                return answer.status

        asked = [asyncio.create_task(ask()) for _ in range(3)]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert [one.result() for one in done] == [503]
        going.set()
        assert sorted(await asyncio.gather(*asked)) == [200, 200, 503]
        assert await ask() == 200


# ------------------------------------------------------------------------------------------------------- streams


async def _first(answer: aiohttp.ClientResponse) -> bytes:
    return await asyncio.wait_for(answer.content.readuntil(b"\n\n"), SOON)


async def _ends(answer: aiohttp.ClientResponse) -> bool:
    try:
        await asyncio.wait_for(answer.content.read(), SOON)
    except TimeoutError:
        return False
    return True


async def test_an_agent_opens_so_many_streams_and_no_more(site: Site) -> None:
    agent, other = await site.signed_in(), await site.signed_in("chenmo")
    async with (
        aiohttp.ClientSession(cookie_jar=agent.cookies) as session,
        aiohttp.ClientSession(cookie_jar=other.cookies) as theirs,
    ):
        opened = [await session.get(f"{site.url}/stream") for _ in range(sse_broker.MOST_TABS)]
        assert {answer.status for answer in opened} == {200}
        for answer in opened:
            await _first(answer)
        assert (await session.get(f"{site.url}/stream")).status == 429
        assert (await theirs.get(f"{site.url}/stream")).status == 200
        for answer in opened:
            answer.close()


async def test_a_stream_ends_with_its_session(site: Site) -> None:
    """By signing out here, by being disabled, and not by what others do."""
    agent, elsewhere, other = await site.signed_in(), await site.signed_in(), await site.signed_in("chenmo")
    async with (
        aiohttp.ClientSession(cookie_jar=agent.cookies) as one,
        aiohttp.ClientSession(cookie_jar=elsewhere.cookies) as two,
        aiohttp.ClientSession(cookie_jar=other.cookies) as three,
    ):
        first, second, third = [await client.get(f"{site.url}/stream") for client in (one, two, three)]
        for answer in (first, second, third):
            await _first(answer)
        await agent.post("/logout")
        assert await _ends(first)
        assert site.broker.listeners == 2
        seed = site.seed
        async with seed.database.transaction(seed.workspace_id) as tx:
            await agents.disable(tx, seed.agents["陈默"], now=seed.clock.now())
        assert await _ends(third)
        assert site.broker.listeners == 1
        second.close()


async def test_a_stream_ends_when_its_session_grows_old(
    urls: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse_broker, "BEAT_SECONDS", 0.1)
    clock = AheadClock()
    app = App.build(settings_for(tmp_path, "http://127.0.0.1:9"), urls, clock=clock)
    async with served(application(app)) as url:
        (workspace,) = await app.database.workspaces()
        async with app.database.transaction(workspace) as tx:
            agent = await add_agent(tx, email="a@b.example", name="阿宁", role=Role.AGENT, password_hash=None)
            token = await open_session(tx, agent_id=agent, now=clock.now())
        async with aiohttp.ClientSession(cookies={COOKIE: token}) as session:
            answer = await session.get(f"{url}/stream")
            await _first(answer)
            clock.ahead = service.SESSION_LIFE + timedelta(seconds=1)
            assert await _ends(answer)


async def test_the_api_takes_an_ordinary_body_as_before(url: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/test_kb", data=json.dumps({"query": "退款"}), headers={"origin": url}) as answer,
    ):
        assert answer.status == 401
