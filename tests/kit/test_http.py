"""The one HTTP client, against servers that misbehave on a real loopback socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit.http import (
    AddressRefused,
    AnswerTooLarge,
    Http,
    MaybeDone,
    NotJson,
    Unreachable,
    encoded,
    is_public,
    redact,
)

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[str]:
    """A server that reads one request and then does what `behaviour` says."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            body = await reader.readexactly(int(length[0])) if length else b""
            await behaviour(reader, writer, head + body)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answering(body: bytes, status: str = "200 OK", *headers: str) -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return behave


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as client:
        yield client


async def test_json_goes_out_as_utf8_and_comes_back(http: Http) -> None:
    seen: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        seen.append(request)
        await answering(b'{"errcode":0,"words":"a\x01\tb"}', "200 OK", "X-Trace: 7")(reader, writer, request)

    async with serving(behave) as base:
        answer = await http.request("POST", base + "/x", json={"text": "怎么退货😀"}, params={"a": "b c"})
    assert answer.status == 200
    assert answer.headers["x-trace"] == "7"
    assert answer.json() == {"errcode": 0, "words": "a\x01\tb"}
    assert '{"text":"怎么退货😀"}'.encode() in seen[0]
    assert b"POST /x?a=b+c HTTP/1.1" in seen[0]


@pytest.mark.parametrize("status", ["500 Oops", "404 Gone", "302 Found\r\nLocation: http://127.0.0.1:9/"])
async def test_every_status_is_an_answer(http: Http, status: str) -> None:
    async with serving(answering(b"x", status)) as base:
        assert (await http.request("GET", base)).status == int(status[:3])


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 200_000, b"{"])
async def test_what_is_no_json_says_so(http: Http, body: bytes) -> None:
    async with serving(answering(body)) as base:
        answer = await http.request("GET", base)
    with pytest.raises(NotJson):
        answer.json()
    assert isinstance(answer.text, str)


async def test_nothing_was_sent_when_nobody_listens(http: Http) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            await http.request("POST", f"http://127.0.0.1:{unused.getsockname()[1]}/?access_token=SECRET", json={})


async def test_a_request_may_be_done_when_the_connection_breaks(http: Http) -> None:
    async def slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.transport.abort()

    async with serving(slam) as base:
        with pytest.raises(MaybeDone):
            await http.request("POST", base, json={})


async def test_a_request_may_be_done_when_the_answer_is_too_slow(http: Http) -> None:
    release = asyncio.Event()

    async def dawdle(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _request: bytes) -> None:
        await release.wait()

    async with serving(dawdle) as base:
        with pytest.raises(MaybeDone):
            await http.request("POST", base, json={}, timeout=0.1)
        release.set()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        b"nonsense\r\n\r\n",
    ],
)
async def test_hostile_68_broken_answers_leave_it_open(http: Http, raw: bytes) -> None:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(raw)
        await writer.drain()

    async with serving(behave) as base:
        with pytest.raises(MaybeDone):
            await http.request("POST", base, json={})


async def test_an_answer_is_read_no_further_than_its_limit(http: Http) -> None:
    async with serving(answering(b"x" * 2000)) as base:
        assert len((await http.request("GET", base, limit=2000)).body) == 2000
        with pytest.raises(AnswerTooLarge):
            await http.request("GET", base, limit=1999)


async def test_hostile_10_a_packed_bomb_stops_at_the_limit(http: Http) -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))
    async with serving(answering(bomb, "200 OK", "Content-Encoding: gzip")) as base:
        with pytest.raises(AnswerTooLarge):
            await http.request("GET", base, limit=1 << 20)


async def test_a_stream_can_be_looked_into_and_still_read(http: Http) -> None:
    async with serving(answering(b"beginning and end")) as base:
        async with http.stream("GET", base, limit=100) as stream:
            assert (await stream.peek(9)) == b"beginning"
            assert (await stream.body()) == b"beginning and end"
        async with http.stream("GET", base, limit=5) as stream:
            await stream.peek(9)
            with pytest.raises(AnswerTooLarge):
                await stream.body()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a.pdf"', "a.pdf"),
        ("attachment; filename*=UTF-8''%E5%90%88%E5%90%8C.pdf", "合同.pdf"),
        ("attachment; filename=\"x.pdf\"; filename*=UTF-8''%E5%90%88%E5%90%8C.pdf", "合同.pdf"),
        ('attachment; filename="合同.pdf"', "合同.pdf"),
        ('attachment; filename="%E5%90%88%E5%90%8C.pdf"', "合同.pdf"),
        ('attachment; filename="100%.pdf"', "100%.pdf"),
        ('attachment; filename="%ff%fe.pdf"', "%ff%fe.pdf"),
        ('attachment; filename="a;b.pdf"', "a;b.pdf"),
        ("attachment; filename=a b.pdf", None),
        ('attachment; filename="open', None),
        ("attachment", None),
    ],
)
async def test_the_name_of_a_file_is_read_as_servers_write_it(http: Http, header: str, name: str | None) -> None:
    async with (
        serving(answering(b"x", "200 OK", f"Content-Disposition: {header}")) as url,
        http.stream("GET", url) as stream,
    ):
        assert stream.filename == name


async def test_hostile_80_no_secret_in_any_error(http: Http) -> None:
    dead = "http://127.0.0.1:9/x?access_token=SECRET&corpsecret=SECRET&key=SECRET&code=SECRET&a=shown"
    caught: list[BaseException] = []
    for address in (dead, "http://user:SECRET@127.0.0.1:9/", "http://127.0.0.1:9/bot123:SECRET/sendMessage"):
        with pytest.raises(Unreachable) as failed:
            await http.request("GET", address)
        caught.append(failed.value)
    assert "a=shown" in str(caught[0])
    assert all("SECRET" not in str(error) for error in caught)
    assert all(error.__suppress_context__ for error in caught)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://h/p?access_token=abc&x=1", "https://h/p?access_token=…&x=1"),
        ("https://h/p?x=1&KEY=abc", "https://h/p?x=1&KEY=…"),
        ("says https://h/?code=a&corpsecret=b end", "says https://h/?code=…&corpsecret=… end"),
        ("https://h/p?monkey=1", "https://h/p?monkey=1"),
    ],
)
def test_redacting(address: str, shown: str) -> None:
    assert redact(address) == shown


@given(st.text(alphabet=st.characters(exclude_characters="&#\"' \t\r\n…"), min_size=3, max_size=30))
def test_no_value_of_a_secret_survives(value: str) -> None:
    if value.strip() == value and not any(character.isspace() for character in value):
        assert redact(f"https://h/?access_token={value}&z=1") == "https://h/?access_token=…&z=1"


# ---------------------------------------------------------------------------------- the fence of private networks


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "192.0.2.1",
        "198.18.0.1",
        "nonsense",
        "",
    ],
)
def test_hostile_52_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "101.226.103.1", "2400:3200::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://127.1:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.0.0.1:{port}/",
        "http://0:{port}/",
    ],
)
async def test_hostile_52_an_address_of_this_machine_is_not_fetched(http: Http, address: str) -> None:
    seen: list[bytes] = []

    async def behave(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, request: bytes) -> None:
        seen.append(request)

    async with serving(behave) as base:
        with pytest.raises((AddressRefused, Unreachable)):
            await http.fetch_public(address.format(port=base.rpartition(":")[2]))
    assert not seen


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "ftp://h/x", "data:text/html,x", "//h/x", "", "h", "http://", "http://[bad", "javascript:x"],
)
async def test_hostile_52_only_web_addresses(http: Http, address: str) -> None:
    with pytest.raises(AddressRefused):
        await http.fetch_public(address)


class _Names(AbstractResolver):
    """Names that lead where the test wants, another place with every question."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["169.254.169.254", "127.0.0.1"], ["10.0.0.1", "10.0.0.2"]])
async def test_hostile_52_a_name_that_leads_inside(addresses: list[str]) -> None:
    async with Http(resolver=_Names(addresses)) as http:
        with pytest.raises(AddressRefused, match="private network"):
            await http.fetch_public("http://innocent.example.test:9/x?key=SECRET")


async def test_hostile_52_a_redirect_that_leads_inside(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    async with (
        serving(answering(b"secret")) as inside,
        serving(answering(b"", "302 Found", f"Location: {inside}/metadata")) as outside,
    ):
        port = int(outside.rpartition(":")[2])

        def fence(info: tuple[Any, ...]) -> socket.socket:
            """The real fence, taking the one port of `outside` for a public place."""
            from zhiban.kit import http as module

            seen.append(f"{info[4][0]}:{info[4][1]}")
            if info[4][1] == port:
                return socket.socket(info[0], info[1], info[2])
            return module._public_socket(info)

        http._public = http._open(fence)
        with pytest.raises(AddressRefused):
            await http.fetch_public(outside)
    assert len(seen) == 2


async def test_redirects_are_followed_five_times(http: Http) -> None:
    counts: list[int] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        counts.append(1)
        if b"GET /end" in request:
            await answering(b"there")(reader, writer, request)
        elif b"GET /once" in request:
            await answering(b"", "301 Moved", "Location: ../end")(reader, writer, request)
        else:
            await answering(b"", "302 Found", "Location: /again")(reader, writer, request)

    async with serving(behave) as base:
        answer = await http.fetch_public(base + "/once", allow_private=True)
        assert answer.body == b"there"
        counts.clear()
        with pytest.raises(AddressRefused, match="too often"):
            await http.fetch_public(base + "/again", allow_private=True)
    assert len(counts) == 6


async def test_closing_twice_does_no_harm() -> None:
    http = Http()
    async with serving(answering(b"x")) as base:
        await http.request("GET", base)
    await http.close()
    await http.close()


async def test_connections_are_used_again(http: Http) -> None:
    opened: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(5):
            assert (await http.request("GET", base)).body == b"ok"
        await http.close()
    assert len(opened) == 1


def test_json_is_compact_and_never_fails_on_odd_text() -> None:
    assert encoded({"a": "退", "b": [1, None]}) == '{"a":"退","b":[1,null]}'.encode()
    assert json.loads(encoded({"a": "x\ud83d"}))["a"].startswith("x")
