"""Calling the API: tokens, patience, files, and what goes wrong on the way. Over real sockets."""

from __future__ import annotations

import asyncio
import logging

import pytest

from zhiban.integrations.wecom.api import WeComApi, multipart
from zhiban.integrations.wecom.errors import error_for, may_mean_repeat
from zhiban.integrations.wecom.tokens import MemoryTokens, access_token
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.http import Http
from zhiban.ports import AccessToken, ConnectionBroken, Refusal, SendRefused, TryLater
from zhiban.testing.wecom import CORP_ID, SECRET, WeComSimulator

PATH = "kf/account/list"


async def pieces(api: WeComApi, media_id: str, limit: int = 1 << 26) -> bytes:
    return b"".join([piece async for piece in api.download(media_id, limit=limit).pieces])


async def test_one_token_serves_many_calls(api: WeComApi, sim: WeComSimulator) -> None:
    await asyncio.gather(*(api.call(PATH, {}) for _ in range(20)))
    assert sim.gate.granted == 1


@pytest.mark.parametrize("forget", [True, False], ids=["40014", "42001"])
async def test_a_refused_token_is_renewed_once_for_everybody(api: WeComApi, sim: WeComSimulator, forget: bool) -> None:
    await api.call(PATH, {})
    sim.expire_tokens(forget=forget)
    await asyncio.gather(*(api.call(PATH, {}) for _ in range(20)))
    assert sim.gate.granted == 2


@pytest.mark.parametrize("code", [40014, 42001])
async def test_hostile_69_a_token_that_never_counts_stops_after_one_retry(
    api: WeComApi, sim: WeComSimulator, code: int
) -> None:
    sim.fail(PATH, errcode=code, times=None)
    with pytest.raises(TryLater) as caught:
        await api.call(PATH, {})
    assert caught.value.after >= 60
    assert sim.journal.counts == {"gettoken": 2, PATH: 2}


async def test_a_wrong_secret_is_said_and_not_tried_again(http: Http, base: str, sim: WeComSimulator) -> None:
    api = WeComApi(http, CORP_ID, "wrong", base)
    for _ in range(10):
        with pytest.raises(ConnectionBroken) as caught:
            await api.call(PATH, {})
    assert caught.value.code == 40001
    assert sim.journal.counts == {"gettoken": 1}


async def test_40001_of_a_call_never_loops(api: WeComApi, sim: WeComSimulator) -> None:
    sim.fail(PATH, errcode=40001, times=None)
    with pytest.raises(ConnectionBroken):
        await api.call(PATH, {})
    assert sim.journal.counts == {"gettoken": 1, PATH: 1}


async def test_hostile_70_busy_is_asked_three_times(api: WeComApi, sim: WeComSimulator, naps: list[float]) -> None:
    sim.fail(PATH, errcode=-1, times=2)
    assert (await api.call(PATH, {}))["errcode"] == 0
    sim.fail(PATH, errcode=45033, times=3)
    with pytest.raises(TryLater) as caught:
        await api.call(PATH, {})
    assert not caught.value.unknown
    assert sim.journal.counts[PATH] == 6
    assert len(naps) == 4
    assert all(0 < nap < 3 for nap in naps)


async def test_hostile_70_too_often_blocks_this_class_of_calls(http: Http, base: str, sim: WeComSimulator) -> None:
    clock = [0.0]
    breakers = LocalBreakers(now=lambda: clock[0], chance=lambda: 0.0)
    api = WeComApi(http, CORP_ID, SECRET, base, breakers=breakers)
    sim.fail(PATH, errcode=45009, times=2)
    with pytest.raises(TryLater) as caught:
        await api.call(PATH, {})
    assert (caught.value.after, caught.value.code) == (60, 45009)
    for _ in range(3):
        with pytest.raises(TryLater) as caught:
            await api.call(PATH, {})
        assert caught.value.after > 60  # those who come after the probe
        assert caught.value.code == 45009
    assert sim.journal.counts[PATH] == 1
    assert await api.call("externalcontact/get_follow_user_list")
    clock[0] = 61
    with pytest.raises(TryLater) as caught:
        await api.call(PATH, {})
    assert caught.value.after == 120
    clock[0] = 182
    assert await api.call(PATH, {})


async def test_an_outage_is_probed_by_one_call(http: Http, base: str, sim: WeComSimulator) -> None:
    clock = [0.0]
    breakers = LocalBreakers(now=lambda: clock[0], chance=lambda: 0.0)
    api = WeComApi(http, CORP_ID, SECRET, base, breakers=breakers)
    sim.fail(PATH, status=502, times=None)
    for _ in range(20):
        with pytest.raises(TryLater):
            await api.call(PATH, {})
    assert sim.journal.counts[PATH] == 5
    clock[0] = 1
    for _ in range(5):
        with pytest.raises(TryLater):
            await api.call(PATH, {})
    assert sim.journal.counts[PATH] == 6
    sim.faults.clear()
    clock[0] = 4
    assert await api.call(PATH, {})
    assert await api.call(PATH, {})


async def test_a_refusal_is_no_outage(api: WeComApi, sim: WeComSimulator) -> None:
    sim.fail(PATH, errcode=40058, times=None)
    for _ in range(10):
        with pytest.raises(SendRefused):
            await api.call(PATH, {})
    assert sim.journal.counts[PATH] == 10


async def test_hostile_70_an_untrusted_address_is_named(api: WeComApi, sim: WeComSimulator) -> None:
    sim.fail(PATH, errcode=60020, errmsg="not allow to access from your ip")
    with pytest.raises(ConnectionBroken) as caught:
        await api.call(PATH, {})
    assert "192.0.2.7" in caught.value.hint


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"null", b'"x"', b"[" * 100_000, b"\xff\xfe"])
async def test_hostile_68_no_object_is_an_unknown_outcome(api: WeComApi, sim: WeComSimulator, body: bytes) -> None:
    sim.fail(PATH, body=body)
    with pytest.raises(TryLater) as caught:
        await api.call(PATH, {})
    assert caught.value.unknown


@pytest.mark.parametrize("status", [502, 503, 500, 429])
async def test_hostile_68_a_gateway_in_between(api: WeComApi, sim: WeComSimulator, status: int) -> None:
    sim.fail(PATH, status=status)
    with pytest.raises(TryLater) as caught:
        await api.call(PATH, {})
    assert caught.value.unknown


async def test_hostile_68_a_connection_that_breaks_off(api: WeComApi, sim: WeComSimulator) -> None:
    sim.fail(PATH, drop=True, accept=True)
    with pytest.raises(TryLater) as caught:
        await api.call(PATH, {})
    assert caught.value.unknown


async def test_nothing_was_sent_when_nobody_listens(http: Http) -> None:
    with pytest.raises(TryLater) as caught:
        await WeComApi(http, CORP_ID, SECRET, "http://127.0.0.1:9/cgi-bin").call(PATH, {})
    assert not caught.value.unknown


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"errcode":"0","errmsg":"ok"}', None),
        (b'{"errmsg":"failed"}', None),
        (b'{"errcode":0,"errmsg":"a\x01\nb"}', None),
        (b'{"errcode":"95001"}', 95001),
        (b'{"errcode":95001.0}', 95001),
    ],
)
async def test_hostile_68_odd_error_codes(api: WeComApi, sim: WeComSimulator, body: bytes, code: int | None) -> None:
    sim.fail(PATH, body=body)
    if code is None:
        assert isinstance(await api.call(PATH, {}), dict)
    else:
        with pytest.raises(SendRefused) as caught:
            await api.call(PATH, {})
        assert caught.value.code == code


async def test_an_address_that_is_not_wecoms(api: WeComApi, sim: WeComSimulator) -> None:
    with pytest.raises(ConnectionBroken, match="does not answer like"):
        await api.call("no/such/endpoint", {})


@pytest.mark.parametrize(
    ("stated", "seconds"), [(0, 6480), (1, 60), (7200.0, 6480), ("7200", 6480), (None, 6480), ("x", 6480), (-5, 6480)]
)
def test_hostile_71_any_life_span_of_a_token(stated: object, seconds: float) -> None:
    assert access_token("t", stated).seconds == seconds


async def test_hostile_71_a_token_without_life_span_works(api: WeComApi, sim: WeComSimulator) -> None:
    sim.gate.life = None
    await api.call(PATH, {})
    await api.call(PATH, {})
    assert sim.gate.granted == 1


async def test_a_slow_caller_does_not_kill_a_fresh_token() -> None:
    tokens, made = MemoryTokens(), []

    async def fetch() -> AccessToken:
        made.append(len(made))
        await asyncio.sleep(0)
        return AccessToken(f"t{len(made)}", 100)

    first = await tokens.renew(None, fetch)
    assert await asyncio.gather(*(tokens.renew(first, fetch) for _ in range(5))) == ["t2"] * 5
    assert await tokens.renew(first, fetch) == "t2"
    assert len(made) == 2


async def test_a_token_grows_old() -> None:
    clock = [0.0]
    tokens = MemoryTokens(monotonic=lambda: clock[0])

    async def fetch() -> AccessToken:
        return AccessToken("t", 100)

    await tokens.renew(None, fetch)
    clock[0] = 99
    assert await tokens.current() == "t"
    clock[0] = 100
    assert await tokens.current() is None


# ------------------------------------------------------------------------------------------------------ files


async def test_a_file_goes_up_and_comes_down(api: WeComApi, sim: WeComSimulator) -> None:
    data = b"\xff\xd8\xff" + bytes(range(256)) * 100
    media_id = await api.upload("image", data, filename="产品 图片.jpg", content_type="image/jpeg")
    for naming in ("plain", "encoded", "nameless", "absent"):
        sim.media.naming = naming
        assert await pieces(api, media_id) == data


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("image", b"GIF89a......"),
        ("image", b"\xff\xd8\xff"),
        ("voice", b"RIFF........"),
        ("video", b"\x00\x00\x00\x18moov...."),
        ("voice", b"#!AMR" + bytes(2 << 20)),
    ],
)
async def test_a_file_that_wecom_does_not_take(api: WeComApi, sim: WeComSimulator, kind: str, data: bytes) -> None:
    with pytest.raises(SendRefused) as caught:
        await api.upload(kind, data, filename="a", content_type="")
    assert caught.value.refusal is Refusal.BAD_MESSAGE


@pytest.mark.parametrize("name", ["../../x", "a" * 500, "a\0b", "\u202egpj.exe", 'x";y=".jpg', "\r\nX: y", ""])
def test_hostile_53_any_filename_becomes_harmless(name: str) -> None:
    _, form = multipart(b"data", filename=name, content_type="image/jpeg\r\nX: y")
    head = form.split(b"\r\n\r\n")[0].decode()
    assert "\u202e" not in head
    assert head.count("\r\n") == 2
    assert head.count('"') == 4
    assert "/" not in head.split("filename=")[1].split(";")[0]


def test_a_contact_reads_the_name_that_a_file_has() -> None:
    _, form = multipart(b"data", filename="合同 2026（终稿）.pdf", content_type="application/pdf")
    assert 'filename="合同 2026（终稿）.pdf"' in form.decode()


async def test_a_large_file_comes_in_ranges(api: WeComApi, sim: WeComSimulator) -> None:
    data = b"0123456789abcdef" * (5 << 16) + b"tail"
    sim.media.one_piece = 1 << 20
    media_id = sim.media.store(data)
    assert await pieces(api, media_id) == data
    assert sim.journal.counts["media/get"] == 3


async def test_a_file_over_the_callers_limit(api: WeComApi, sim: WeComSimulator) -> None:
    media_id = sim.media.store(b"x" * 100_000)
    with pytest.raises(SendRefused) as caught:
        await pieces(api, media_id, limit=50_000)
    assert caught.value.refusal is Refusal.BAD_MESSAGE


async def test_a_file_that_is_gone(api: WeComApi, sim: WeComSimulator) -> None:
    media_id = sim.media.store(b"x" * 10)
    sim.clock.advance(3 * 86400 + 1)
    with pytest.raises(SendRefused):
        await pieces(api, media_id)


async def test_a_token_that_ends_before_the_download(api: WeComApi, sim: WeComSimulator) -> None:
    media_id = sim.media.store(b"x" * 10)
    await api.call(PATH, {})
    sim.expire_tokens()
    assert await pieces(api, media_id) == b"x" * 10


async def test_hostile_72_a_json_file_is_a_file_and_a_json_error_is_an_error(
    api: WeComApi, sim: WeComSimulator
) -> None:
    media_id = sim.media.store(b'{"errcode":40007}', name="x.json", content_type="application/json")
    assert await pieces(api, media_id) == b'{"errcode":40007}'
    sim.fail("media/get", body=b'{"errcode":40007,"errmsg":"invalid media_id"}')
    with pytest.raises(SendRefused):
        await pieces(api, media_id)
    sim.fail("media/get", status=502)
    with pytest.raises(TryLater):
        await pieces(api, media_id)
    sim.fail("media/get", status=403)
    with pytest.raises(TryLater):
        await pieces(api, media_id)
    sim.fail("media/get", drop=True)
    with pytest.raises(TryLater):
        await pieces(api, media_id)


# ------------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-1, TryLater),
        (45009, TryLater),
        (45033, TryLater),
        (40001, ConnectionBroken),
        (40013, ConnectionBroken),
        (48002, ConnectionBroken),
        (60030, ConnectionBroken),
        (95004, ConnectionBroken),
        (95017, ConnectionBroken),
        (93000, ConnectionBroken),
        (95001, Refusal.ALLOWANCE_USED),
        (95002, Refusal.WINDOW_CLOSED),
        (95013, Refusal.SESSION_ENDED),
        (95016, Refusal.MOVE_REFUSED),
        (95018, Refusal.HUMAN_ACTIVE),
        (40096, Refusal.UNKNOWN_CONTACT),
        (40201, Refusal.BLOCKED),
        (41050, Refusal.CODE_EXPIRED),
        (123456, Refusal.BAD_MESSAGE),
    ],
)
def test_every_code_says_what_helps(code: int, kind: type | Refusal) -> None:
    error = error_for(code, "some words, hint: [123]")
    if isinstance(kind, Refusal):
        assert isinstance(error, SendRefused)
        assert error.refusal is kind
    else:
        assert isinstance(error, kind)


@pytest.mark.parametrize(
    ("words", "seconds"), [("", 60), ("per hour limit", 3600), ("day limit", 86400), ("month", 2_592_000)]
)
def test_the_window_of_a_limit(words: str, seconds: float) -> None:
    error = error_for(45009, words)
    assert isinstance(error, TryLater)
    assert error.after == seconds


@pytest.mark.parametrize(
    ("code", "possible"),
    [(95099, True), (40058, True), (40063, True), (0, False), (-1, False), (45009, False), (95001, False)],
)
def test_what_wecom_explains_is_no_repeat(code: int, possible: bool) -> None:
    assert may_mean_repeat(code) is possible


async def test_hostile_80_no_secret_in_errors_or_logs(
    http: Http, base: str, sim: WeComSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    words: list[str] = []
    api = WeComApi(http, CORP_ID, SECRET, base)
    await api.call(PATH, {})
    token = await api._token()
    for plan in (
        {"status": 502},
        {"drop": True},
        {"body": b"<"},
        {"errcode": 40058, "errmsg": f"x?access_token={token}"},
    ):
        sim.fail(PATH, **plan)
        with pytest.raises((TryLater, SendRefused, ConnectionBroken)) as caught:
            await api.call(PATH, {})
        words.append(repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__))
    dead = WeComApi(http, CORP_ID, SECRET, "http://127.0.0.1:9/cgi-bin")
    with pytest.raises(TryLater) as gone:
        await dead.call(PATH, {})
    words.append(repr(gone.value) + repr(gone.value.__cause__))
    said = "".join(words) + caplog.text
    assert token not in said
    assert SECRET not in said
