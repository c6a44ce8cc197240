"""The callback door as the world meets it: hostile inputs over HTTP, storms, repeats, and a database that is away."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.channels.conftest import Callback, WebhookClient, bell, webhook_client_at
from tests.conftest import FAST
from zhiban.channels import webhooks as hooks
from zhiban.channels.credentials import place_of_secrets
from zhiban.channels.topics import CONFIG
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.db import NO_WORKSPACE
from zhiban.postgres.provisioning import DatabaseUrls, migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, SECRET, TOKEN
from zhiban.testing.wecom.callbacks import Envelope, Target, document

MEGABYTE = 1 << 20


def head(webhook_client: WebhookClient, call: Callback, *lines: str, method: str = "POST") -> bytes:
    """The first part of a request, as we want it."""
    host = urlsplit(webhook_client.url).netloc
    text = [f"{method} {webhook_client.path}?{call.query} HTTP/1.1", f"Host: {host}", "Content-Type: text/xml", *lines]
    return "\r\n".join(text).encode() + b"\r\n\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def _refused(webhook_client: WebhookClient, call: Callback, expected: int, **headers: str) -> None:
    answer = await webhook_client.post(call, **headers)
    assert (answer.status, answer.body) == (expected, b"")


# --------------------------------------------------------------------------------------------------- what is right


async def test_a_doorbell_is_stored_before_it_is_acknowledged(webhook_client: WebhookClient) -> None:
    answer = await webhook_client.post(webhook_client.call())
    assert (answer.status, answer.body) == (200, b"success")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert await webhook_client.deliveries() == [("pending", True, "wkTEST0001", bell())]


async def test_the_verification_is_answered_bare(webhook_client: WebhookClient) -> None:
    query = webhook_client.envelope.check("7215034476110938421", timestamp=int(time.time()), nonce="1372623149")
    for asked in (query, query.replace("%2B", "+")):
        answer = await webhook_client.ask("GET", f"/wecom/callback?{asked}")
        assert (answer.status, answer.body) == (200, b"7215034476110938421")
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert await webhook_client.deliveries() == []


# ------------------------------------------------------------------------------------------ hostile: the HTTP layer


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_hostile_01_no_query_at_the_door(webhook_client: WebhookClient, method: str) -> None:
    answer = await webhook_client.ask(
        method, "/wecom/callback", data=webhook_client.call().body if method == "POST" else None
    )
    assert (answer.status, answer.body) == (400, b"")


async def test_hostile_02_03_04_parameters_at_the_door(webhook_client: WebhookClient) -> None:
    query = webhook_client.envelope.check("123", timestamp=int(time.time()), nonce="5")
    unsigned = "&".join(part for part in query.split("&") if not part.startswith("msg_signature"))
    assert (await webhook_client.ask("GET", f"/wecom/callback?{unsigned}")).status == 403
    call = webhook_client.call()
    for repeated in ("&nonce=904211537", "&nonce=a", "&timestamp=1"):
        await _refused(webhook_client, Callback(call.query + repeated, call.body), 403)
    assert (await webhook_client.post(Callback(call.query + "&from=x&=y&&z", call.body))).status == 200


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_hostile_05_other_methods(webhook_client: WebhookClient, method: str) -> None:
    answer = await webhook_client.ask(method, f"/wecom/callback?{webhook_client.call().query}")
    assert answer.status == 405
    assert {one.strip() for one in answer.headers["Allow"].split(",")} >= {"GET", "POST"}


async def test_hostile_06_an_empty_body_at_the_door(webhook_client: WebhookClient) -> None:
    await _refused(webhook_client, Callback(webhook_client.call().query, b""), 400)


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "text/xml; charset=gbk", "multipart/form-data", "x" * 999],
)
async def test_hostile_07_the_type_says_nothing(webhook_client: WebhookClient, kind: str) -> None:
    assert (await webhook_client.post(webhook_client.call(), **{"Content-Type": kind})).status == 200


async def test_hostile_08_too_large_bodies(webhook_client: WebhookClient) -> None:
    call = webhook_client.call()
    stated = await webhook_client.speak(head(webhook_client, call, f"Content-Length: {1 << 30}"))
    assert status(stated) == 413
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    endless = await webhook_client.speak(head(webhook_client, call, "Transfer-Encoding: chunked"), *[piece] * 160)
    assert endless == b"" or status(endless) == 413
    for size in (MEGABYTE, MEGABYTE + 1):
        answer = await webhook_client.post(Callback(call.query, b" " * (size - len(call.body)) + call.body))
        assert answer.status == (200 if size == MEGABYTE else 413)


async def test_hostile_09_a_body_that_does_not_come(
    webhook_client: WebhookClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "BODY_SECONDS", 0.3)
    call = webhook_client.call()
    started = time.monotonic()
    answer = await webhook_client.speak(head(webhook_client, call, f"Content-Length: {len(call.body)}"), call.body[:10])
    assert status(answer) == 408
    assert time.monotonic() - started < 9  # of the ten seconds that a body has otherwise


async def test_hostile_10_no_encodings(webhook_client: WebhookClient) -> None:
    call = webhook_client.call()
    for encoding in ("gzip", "deflate", "br", "GZIP", "identity, gzip"):
        packed = Callback(call.query, gzip.compress(b"\0" * 10_000_000))
        answer = await webhook_client.speak(
            head(webhook_client, packed, f"Content-Length: {len(packed.body)}", f"Content-Encoding: {encoding}"),
            packed.body,
        )
        assert status(answer) == 400
    assert await webhook_client.deliveries() == []


async def test_hostile_11_a_length_that_lies(webhook_client: WebhookClient, caplog: pytest.LogCaptureFixture) -> None:
    call = webhook_client.call()
    short = await webhook_client.speak(
        head(webhook_client, call, f"Content-Length: {len(call.body) - 20}", "Connection: close"), call.body[:-20]
    )
    assert status(short) == 400
    for line in ("Content-Length: -1", "Content-Length: 1e3", "Content-Length: 5\r\nContent-Length: 6"):
        answer = await webhook_client.speak(head(webhook_client, call, line), call.body)
        assert answer == b"" or status(answer) == 400
    # It promises more than it sends, and hangs up.
    target = urlsplit(webhook_client.url)
    _, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(head(webhook_client, call, f"Content-Length: {len(call.body) + 20}") + call.body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await webhook_client.post(webhook_client.call(bell(2)))).status == 200
    assert len(await webhook_client.deliveries()) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_hostile_12_13_marks_blanks_and_other_encodings(webhook_client: WebhookClient) -> None:
    call = webhook_client.call()
    text = call.body.decode()
    for before in (b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"):
        assert (await webhook_client.post(Callback(call.query, before + call.body))).status == 200
    for body in (
        text.encode("utf-16"),
        text.encode("utf-16-le"),
        b'<?xml version="1.0" encoding="GBK"?>' + text.replace("<xml>", "<xml><a>中</a>").encode("gbk"),
        b'<?xml version="1.0" encoding="nonsense"?>' + call.body,
        b"\xff\xfe\x00",
        b"{}",
        call.body[:-9],
    ):
        await _refused(webhook_client, Callback(call.query, body), 400)


async def test_hostile_14_endless_queries(webhook_client: WebhookClient) -> None:
    call = webhook_client.call()
    await _refused(webhook_client, Callback(call.query + "&x=" + "y" * 8192, call.body), 414)
    signature = "f" * 10_000_000
    huge = Callback(f"msg_signature={signature}&timestamp=1&nonce=2", call.body)
    started = time.monotonic()
    answer = await webhook_client.speak(head(webhook_client, huge, f"Content-Length: {len(call.body)}"), call.body)
    assert answer == b"" or status(answer) in (400, 414, 431)
    assert time.monotonic() - started < 5
    assert (await webhook_client.post(call)).status == 200


async def test_hostile_15_unknown_addresses_look_the_same(webhook_client: WebhookClient) -> None:
    call = webhook_client.call()
    found: set[tuple[int, bytes, str]] = set()
    for name in ("unknown", "a" * 64, "a" * 5000, "%00", "%ff%fe", "..%2f..%2fetc", "' or 1=1 --".replace(" ", "%20")):
        for method in ("GET", "POST"):
            answer = await webhook_client.ask(
                method, f"/wecom/callback/{name}?{call.query}", data=call.body if method == "POST" else None
            )
            found.add((answer.status, answer.body, answer.headers.get("Content-Type", "")))
    assert {one[0] for one in found} == {404}
    assert len({one[1:] for one in found}) <= 2  # an id, and what is no id at all


# ------------------------------------------------------------------------------------- hostile: signature and time


async def test_hostile_16_to_20_what_is_not_signed(webhook_client: WebhookClient) -> None:
    call = webhook_client.call()
    parts = dict(part.split("=", 1) for part in call.query.split("&"))

    def changed(**values: str) -> Callback:
        return Callback("&".join(f"{name}={value}" for name, value in {**parts, **values}.items()), call.body)

    signature = parts["msg_signature"]
    for spoilt in (
        *({"msg_signature": one} for one in ("", "0" * 40, signature.upper(), signature + "%20", signature + "%0a")),
        *({"msg_signature": one} for one in ("é" * 40, "%C3%A9" * 40, signature[:-1] + "%00", "%ff" * 40)),
        *({"nonce": one} for one in ("", "%00", "%E4%BD%A0", "%ff", "9" * 2000)),
        *({"timestamp": one} for one in ("", "-1", "0", "17672256610", "1e9", "1767225661.0", "4102444800", "%D9%A1")),
    ):
        await _refused(webhook_client, changed(**spoilt), 403)
    assert await webhook_client.deliveries() == []


async def test_hostile_21_55_a_repeat_is_acknowledged_and_stored_once(webhook_client: WebhookClient) -> None:
    call = webhook_client.call(document({"MsgType": "event", "Event": "enter_agent", "CreateTime": 1}))
    for _ in range(3):
        assert (await webhook_client.post(call)).status == 200
    # Sealed anew, as WeCom's own repeats may be.
    again = webhook_client.call(document({"MsgType": "event", "Event": "enter_agent", "CreateTime": 1}), nonce="1")
    answers = await asyncio.gather(*(webhook_client.post(one) for one in (call, again) * 10))
    assert {answer.status for answer in answers} == {200}
    assert len(await webhook_client.deliveries()) == 1


async def test_hostile_22_23_83_old_calls_and_wrong_clocks(urls: DatabaseUrls, tmp_path: Path) -> None:
    clock = SetClock(SystemClock().now())
    async with webhook_client_at(urls, tmp_path, clock=clock) as webhook_client:
        call = webhook_client.call()
        for minutes in (10, -20):  # our clock goes wrong, forwards and backwards
            clock.advance(timedelta(minutes=minutes))
            assert (await webhook_client.post(call)).status == 200
        clock.advance(timedelta(days=1))
        await _refused(webhook_client, call, 403)
        assert len(await webhook_client.deliveries()) == 1


async def test_hostile_24_another_connections_token(webhook_client: WebhookClient) -> None:
    other = Envelope(Target("", "AnotherToken", AES_KEY, CORP_ID, AGENT_ID))
    foreign = Callback(*other.post(bell(), timestamp=int(time.time()), nonce="1"))
    await _refused(webhook_client, foreign, 403)
    corp = Envelope(Target("", TOKEN, AES_KEY, "ww_somebody_else", AGENT_ID))
    await _refused(webhook_client, Callback(*corp.post(bell(), timestamp=int(time.time()), nonce="1")), 403)
    second = await _second_connection(webhook_client)
    await _refused_at(webhook_client, webhook_client.call(), second)
    answer = await webhook_client.post(foreign, path=f"/wecom/callback/{second}")
    assert answer.status == 200


async def _refused_at(webhook_client: WebhookClient, call: Callback, public_id: str) -> None:
    answer = await webhook_client.post(call, path=f"/wecom/callback/{public_id}")
    assert (answer.status, answer.body) == (403, b"")


async def _second_connection(webhook_client: WebhookClient) -> str:
    hidden = {"secret": "another", "token": "AnotherToken", "encoding_aes_key": AES_KEY}
    async with webhook_client.app.database.transaction(webhook_client.workspace_id) as tx:
        id_ = await tx.value(
            "insert into connection (workspace_id, public_id, vendor, name, config, secrets) "
            "values (%(w)s, 'second', 'wecom', '二店', %(config)s::jsonb, %(secrets)s) returning id",
            w=tx.workspace_id,
            config=json.dumps({"corp_id": CORP_ID, "agent_id": "1000009"}),
            secrets=webhook_client.app.vault.seal(hidden, bound_to=place_of_secrets(tx.workspace_id, "second")),
        )
        await tx.run(
            "insert into directory (kind, key, workspace_id, ref) values ('callback', 'second', %(w)s, %(id)s)",
            w=tx.workspace_id,
            id=id_,
        )
        tx.publish_after_commit(CONFIG, id_)
    return "second"


async def test_hostile_25_the_former_key_has_a_grace_time(urls: DatabaseUrls, tmp_path: Path) -> None:
    clock = SetClock(SystemClock().now())
    async with webhook_client_at(urls, tmp_path, clock=clock) as webhook_client:
        old = webhook_client.call(bell(1))
        async with webhook_client.app.database.transaction(webhook_client.workspace_id) as tx:
            hidden = {
                "secret": SECRET,
                "token": "FreshToken",
                "encoding_aes_key": AES_KEY[::-1],
                "previous_token": TOKEN,
                "previous_encoding_aes_key": AES_KEY,
                "previous_until": (clock.now() + timedelta(minutes=30)).isoformat(),
            }
            public_id = await tx.value("select public_id from connection")
            id_ = await tx.value(
                "update connection set secrets = %(secrets)s returning id",
                secrets=webhook_client.app.vault.seal(hidden, bound_to=place_of_secrets(tx.workspace_id, public_id)),
            )
            tx.publish_after_commit(CONFIG, id_)
        assert (await webhook_client.post(old)).status == 200
        fresh = Envelope(Target("", "FreshToken", AES_KEY[::-1], CORP_ID, AGENT_ID))
        new = Callback(*fresh.post(bell(2), timestamp=int(clock.now().timestamp()), nonce="1"))
        assert (await webhook_client.post(new)).status == 200
        clock.advance(timedelta(minutes=31))
        await _refused(webhook_client, webhook_client.call(bell(3)), 403)
        assert len(await webhook_client.deliveries()) == 2


# --------------------------------------------------------------------------------------- hostile: what is delivered


async def test_hostile_37_genuine_but_unreadable_is_parked_at_the_door(webhook_client: WebhookClient) -> None:
    for text in ("<xml><a>&#0;</a></xml>", "<!DOCTYPE x><xml/>", '{"msgid": "1"}', "<xml><a></xml>", "x\x00y"):
        assert (await webhook_client.post(webhook_client.call(text))).status == 200
    found = await webhook_client.deliveries()
    assert [row[:2] for row in found] == [("parked", False)] * 5
    assert "\x00" not in "".join(row[3] for row in found)


async def test_hostile_55_three_processes_one_effect(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(webhook_client_at(urls, tmp_path)) for _ in range(3)]
        for number in range(5):
            call = doors[0].call(bell(number))
            answers = await asyncio.gather(*(door.post(call) for door in doors))
            assert [answer.status for answer in answers] == [200] * 3
        assert len(await doors[0].deliveries()) == 5


async def test_hostile_56_two_events_of_one_second(webhook_client: WebhookClient) -> None:
    for contact in ("wmONE", "wmTWO"):
        text = document(
            {
                "FromUserName": "sys",
                "CreateTime": 1767225661,
                "MsgType": "event",
                "Event": "change_external_contact",
                "ChangeType": "add_external_contact",
                "ExternalUserID": contact,
            }
        )
        assert (await webhook_client.post(webhook_client.call(text))).status == 200
    assert len(await webhook_client.deliveries()) == 2


async def test_hostile_59_a_thousand_doorbells_at_once(webhook_client: WebhookClient) -> None:
    calls = [webhook_client.call(bell(number, kfid=f"wk{number % 500}")) for number in range(1000)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=300)) as client:

        async def ring(call: Callback) -> int:
            """What is not acknowledged in time is sent again."""
            status = 0
            while status != 200:
                with suppress(aiohttp.ClientError):
                    answer = await webhook_client.asked(
                        client, "POST", f"{webhook_client.path}?{call.query}", data=call.body
                    )
                    status = answer.status
            return status

        async with asyncio.timeout(120):
            answers = await asyncio.gather(*map(ring, calls))
    assert answers == [200] * 1000
    async with webhook_client.app.database.transaction(webhook_client.workspace_id) as tx:
        assert await tx.value("select count(*) from delivery where state = 'pending'") == 1000


async def test_hostile_79_two_apps_of_one_corp_hear_the_same_event(webhook_client: WebhookClient) -> None:
    await _second_connection(webhook_client)
    text = document({"FromUserName": "sys", "MsgType": "event", "Event": "change_external_contact", "CreateTime": 1})
    other = Envelope(Target("", "AnotherToken", AES_KEY, CORP_ID, 1000009))
    foreign = Callback(*other.post(text, timestamp=int(time.time()), nonce="1"))
    assert (await webhook_client.post(webhook_client.call(text))).status == 200
    assert (await webhook_client.post(foreign, path="/wecom/callback/second")).status == 200
    assert len(await webhook_client.deliveries()) == 1


async def test_hostile_80_nothing_secret_is_logged(
    webhook_client: WebhookClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    call = webhook_client.call()
    await webhook_client.post(call)
    await webhook_client.post(Callback(call.query.replace("nonce=9", "nonce=8"), call.body))
    await webhook_client.post(Callback(call.query, b"<xml>"))
    signature = call.query.split("msg_signature=")[1][:40]
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("zhiban"))
    assert "refused" in text
    for secret in (TOKEN, AES_KEY, SECRET, "ENCtoken1", signature):
        assert secret not in text


@pytest.mark.process
async def test_hostile_82_without_the_database_the_vendor_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    postgres = BundledPostgres(tmp_path / "postgres", settings={**FAST, "shared_buffers": "32MB"})
    urls = await provision_bundled((await postgres.start()).superuser)
    await migrate(urls)
    try:
        async with webhook_client_at(urls, tmp_path) as webhook_client:
            assert (await webhook_client.post(webhook_client.call(bell(1)))).status == 200
            await postgres.stop()
            for path in ("/wecom/callback", "/wecom/callback/never-seen"):
                started = time.monotonic()
                answer = await webhook_client.post(webhook_client.call(bell(2)), path=path)
                assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, b"", "1")
                assert time.monotonic() - started < 5  # before WeCom hangs up
            errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
            assert any("answered 503" in said for said in errors)
            await postgres.start()
            deadline = time.monotonic() + 60
            while (await webhook_client.post(webhook_client.call(bell(2)))).status != 200:
                assert time.monotonic() < deadline
            assert len(await webhook_client.deliveries()) == 2
            async with webhook_client.app.database.transaction(NO_WORKSPACE) as tx:
                assert await tx.value("select 1") == 1
    finally:
        await postgres.stop()
