"""What contacts send is kept where every process reads it, keeps its name, and does no harm at the desk."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import unquote

import aiohttp
import pytest
from tests.browser import Visit
from tests.passwords import quickly_hashed
from tests.recordings import png, tone
from tests.stories.conftest import Shop

from zhiban.conversations.attachment_jobs import AttachmentJobs
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.file_store import PostgresFileStore
from zhiban.people import service as people
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role

LI = "wmLIXIAO"
PASSWORD = "correct horse battery"


@dataclass
class Desk:
    """The browser of an agent who is signed in."""

    http: aiohttp.ClientSession
    url: str

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.url + path, headers=named) as answer:
            return answer.status, answer.headers, await answer.read()

    async def page(self, conversation_id: int, *, language: str = "zh-CN") -> str:
        return (await self.get(f"/conversations/{conversation_id}", accept_language=language))[2].decode()


@asynccontextmanager
async def at_desk(shop: Shop, *, locale: str = "zh") -> AsyncIterator[Desk]:
    async with shop.work() as tx:
        agent = await people.add_agent(
            tx,
            email="chen@example.test",
            name="陈默",
            role=Role.AGENT,
            password_hash=quickly_hashed(PASSWORD),
        )
        await tx.run("update agent set locale = %(locale)s where id = %(id)s", locale=locale, id=agent)
    headers = {"origin": shop.url, "accept": "text/html"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers=headers) as http:
        data = {"email": "chen@example.test", "password": PASSWORD}
        async with http.post(f"{shop.url}/login", data=data, allow_redirects=False) as answer:
            assert answer.status == 303
        yield Desk(http, shop.url)


async def sends(
    shop: Shop,
    data: bytes,
    *,
    kind: str = "file",
    name: str = "",
    naming: Literal["plain", "encoded"] = "plain",
    within: float = 30,
) -> Any:
    """A contact sends a file; returns its attachment once it is stored or given up.

    `naming` is how the platform names it. Of a file that is too large for itself it sends us only a notice; here such
    a file comes all the same.
    """
    ((newest,),) = await shop.rows("select coalesce(max(id), 0) from attachment")
    shop.wecom.media.naming = naming
    shop.wecom.contact_says(LI, kind=kind, media_id=shop.wecom.media.store(data, kind=kind, name=name))
    return await shop.eventually(
        "select to_jsonb(a) from attachment a where state <> 'pending' and id > %(newest)s",
        within=within,
        newest=newest,
    )


@pytest.mark.parametrize("naming", ["plain", "encoded"])
async def test_a_file_keeps_its_name_and_comes_back_as_it_was(shop: Shop, naming: Literal["plain", "encoded"]) -> None:
    data = b"%PDF-1.7\n" + bytes(range(256)) * 3000
    found = await sends(shop, data, name="../../合同 2026.pdf", naming=naming)
    assert (found.filename, found.content_type, found.size) == ("合同 2026.pdf", "application/pdf", len(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    async with at_desk(shop) as desk:
        status, headers, body = await desk.get(f"/attachments/{found.id}")
        assert (status, body) == (200, data)
        kind, _plain, utf8 = headers["content-disposition"].split("; ")
        assert (kind, unquote(utf8)) == ("attachment", "filename*=UTF-8''合同 2026.pdf")
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]
        conversation = (await shop.conversation()).id
        shown = await desk.page(conversation)
        assert "合同 2026.pdf" in shown
        assert f'href="/attachments/{found.id}?download=1"' in shown


async def test_parts_of_a_film_are_sent_as_browsers_ask_for_them(shop: Shop) -> None:
    data = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(range(256)) * 4000
    found = await sends(shop, data, kind="video", name="")
    size, path = len(data), f"/attachments/{found.id}"
    async with at_desk(shop) as desk:
        status, headers, body = await desk.get(path, range="bytes=1000-1999")
        assert (status, body, headers["content-range"]) == (206, data[1000:2000], f"bytes 1000-1999/{size}")
        assert headers["content-type"] == "video/mp4"
        assert (await desk.get(path, range="bytes=-5"))[2] == data[-5:]
        assert (await desk.get(path, range=f"bytes={size - 3}-"))[2] == data[-3:]
        status, headers, body = await desk.get(path, range=f"bytes={size}-")
        assert (status, headers["content-range"]) == (416, f"bytes */{size}")
        for odd in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-"):
            assert (await desk.get(path, range=odd))[0] == 200
        tag = (await desk.get(path, method="HEAD"))[1]["etag"]
        assert (await desk.get(path, if_none_match=tag))[0] == 304
        assert (await desk.get(path, range="bytes=0-9", if_range='"another"'))[0] == 200
        assert f'<video controls preload="none" src="{path}"' in await desk.page((await shop.conversation()).id)


async def test_what_is_no_picture_is_never_shown_as_one(shop: Shop) -> None:
    found = await sends(shop, b"<html><script>alert(1)</script></html>", kind="image", name="photo.jpg")
    assert found.content_type == "application/octet-stream"
    async with at_desk(shop) as desk:
        _status, headers, _body = await desk.get(f"/attachments/{found.id}")
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith("attachment")
        shown = await desk.page((await shop.conversation()).id)
        assert f'<img class="shot" src="/attachments/{found.id}"' not in shown
        assert "photo.jpg" in shown


async def test_a_picture_is_shown_through_our_own_address(shop: Shop) -> None:
    found = await sends(shop, png(40, 30), kind="image", name="")
    assert (found.filename, found.width, found.height) == (f"image-{found.id}.png", 40, 30)
    async with at_desk(shop) as desk:
        shown = await desk.page((await shop.conversation()).id)
        assert f'src="/attachments/{found.id}"' in shown
        status, headers, body = await desk.get(f"/attachments/{found.id}")
        assert (status, headers["content-type"], body) == (200, "image/png", png(40, 30))
        assert headers["content-disposition"].startswith("inline")
        assert (await desk.get(f"/attachments/{found.id}?download=1"))[1]["content-disposition"].startswith(
            "attachment"
        )


async def test_a_picture_too_large_for_a_browser_is_offered_as_a_file(shop: Shop) -> None:
    found = await sends(shop, png(claims=(60_000, 50_000)), kind="image", name="bomb.png")
    assert (found.width, found.height) == (60_000, 50_000)
    async with at_desk(shop) as desk:
        shown = await desk.page((await shop.conversation()).id)
        assert '<img class="shot"' not in shown
        assert "60000×50000" in shown


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "文件是空的"), (bytes(31 << 20), f"文件超过{30 << 20}字节")], ids=["empty", "too large"]
)
async def test_a_file_that_cannot_be_kept_says_why(shop: Shop, data: bytes, why: str) -> None:
    found = await sends(shop, data, kind="file", name="film.bin")
    assert (found.state, found.filename) == ("failed", "film.bin")
    assert await shop.rows("select 1 from stored_file") == []
    async with at_desk(shop) as desk:
        assert why in await desk.page((await shop.conversation()).id)


async def test_a_file_that_the_platform_has_forgotten_is_written_down_as_failed(shop: Shop) -> None:
    shop.wecom.contact_says(LI, kind="image", media_id="MEDIAGONE")
    assert "media" in (await shop.eventually("select failure from attachment where state = 'failed'")).lower()


async def test_a_file_that_does_not_come_is_given_up_and_can_be_fetched_later(shop: Shop) -> None:
    shop.wecom.fail("media/get", status=500, times=None)
    shop.wecom.media.naming = "plain"
    shop.wecom.contact_sends_file(LI, png(), name="图.png")
    attachment = await shop.eventually("select id from attachment where state = 'pending'")
    later = SetClock(SystemClock().now() + timedelta(hours=2))
    jobs = AttachmentJobs(shop.app.database, shop.app.connections, later, shop.app.files)
    await jobs.give_up_on_files()
    async with at_desk(shop) as desk:
        assert "平台没有给出这个文件" in await desk.page((await shop.conversation()).id)
    shop.wecom.faults.clear()
    await jobs.fetch_attachment(shop.workspace_id, attachment)
    assert await shop.rows("select filename from attachment where state = 'stored'") == [("图.png",)]


async def test_the_same_picture_is_kept_once_and_forgotten_with_its_last_message(shop: Shop) -> None:
    one, two = await sends(shop, png(9, 9), kind="image"), await sends(shop, png(9, 9), kind="image")
    assert one.sha256 == two.sha256
    assert len(await shop.rows("select 1 from stored_file")) == 1
    tomorrow = SetClock(SystemClock().now() + timedelta(days=2))
    jobs = AttachmentJobs(
        shop.app.database, shop.app.connections, tomorrow, PostgresFileStore(shop.app.database, tomorrow)
    )
    for gone, left in ((one, 1), (two, 0)):
        async with shop.work() as tx:
            await tx.run("delete from attachment where id = %(id)s", id=gone.id)
        await jobs.remove_unreferenced_files()
        assert len(await shop.rows("select 1 from stored_file")) == left


async def test_a_voice_can_be_heard_at_the_desk(shop: Shop) -> None:
    found = await sends(shop, tone(2.4), kind="voice", name="")
    await shop.eventually("select 1 from attachment where seconds is not null")
    async with at_desk(shop) as desk:
        status, headers, body = await desk.get(f"/attachments/{found.id}/playback")
        assert (status, headers["content-type"]) == (200, "audio/mpeg")
        assert body[:3] == b"ID3"
        assert (await desk.get(f"/attachments/{found.id}/playback", range="bytes=0-2"))[2] == b"ID3"
        status, headers, body = await desk.get(f"/attachments/{found.id}")
        assert body == tone(2.4)
        assert headers["content-disposition"].startswith("attachment")
        shown = await desk.page((await shop.conversation()).id)
        assert f'<audio controls preload="none" src="/attachments/{found.id}/playback"' in shown
        assert "0:02" in shown


async def test_a_voice_that_browsers_know_is_played_as_it_is(shop: Shop) -> None:
    found = await sends(shop, tone(1.2, form="mp3", codec="libmp3lame", rate=16_000), kind="voice", name="")
    seconds = await shop.eventually("select seconds from attachment where seconds is not null")
    assert 1.0 < seconds < 1.6
    async with at_desk(shop) as desk:
        assert (await desk.get(f"/attachments/{found.id}/playback"))[0] == 404
        assert f'src="/attachments/{found.id}"' in await desk.page((await shop.conversation()).id)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"#!AMR\n" + b"\xff" * 600, "这段录音已损坏"),
        (b"\x02#!SILK_V3" + b"\x10" * 600, "这种格式的录音不能在这里播放"),
        (b"nothing that sounds", "这种格式的录音不能在这里播放"),
    ],
    ids=["damaged", "silk", "noise"],
)
async def test_a_voice_that_cannot_be_heard_says_why_and_can_be_downloaded(shop: Shop, data: bytes, why: str) -> None:
    found = await sends(shop, data, kind="voice", name="")
    await shop.eventually("select 1 from attachment where playback_failure is not null")
    async with at_desk(shop) as desk:
        shown = await desk.page((await shop.conversation()).id)
        assert why in shown
        assert f'href="/attachments/{found.id}?download=1"' in shown
        assert (await desk.get(f"/attachments/{found.id}"))[2] == data


@pytest.mark.browser
async def test_a_browser_plays_the_voice_and_asks_nobody_else(shop: Shop, visit: Visit) -> None:
    await sends(shop, tone(2.4), kind="voice")
    await sends(shop, png(40, 30), kind="image")
    shop.wecom.contact_says(LI, kind="location", latitude=31.2, longitude=121.4, name="人民广场", address="上海")
    shop.wecom.contact_says(
        LI, kind="link", title="好物", url="http://127.0.0.1:9/x", pic_url="http://127.0.0.1:9/x.png"
    )
    await shop.eventually("select 1 from attachment where seconds is not null")
    await shop.eventually("select 1 from message where kind = 'link'")
    conversation = (await shop.conversation()).id
    elsewhere: list[str] = []
    async with at_desk(shop) as desk:
        token = next(cookie.value for cookie in desk.http.cookie_jar if cookie.key == COOKIE)
        page = await visit(f"{shop.url}/login", width=390, height=800, cookie=(COOKIE, token))
        page.on("console", lambda message: elsewhere.append(message.text))
        page.on(
            "request", lambda request: elsewhere.append(request.url) if not request.url.startswith(shop.url) else None
        )
        await page.goto(f"{shop.url}/conversations/{conversation}")
        seconds = await page.evaluate(
            "new Promise((resolve, reject) => { const audio = document.querySelector('audio');"
            " audio.onloadedmetadata = () => resolve(audio.duration);"
            " audio.onerror = () => reject(audio.error.message);"
            " audio.preload = 'metadata'; audio.load(); })"
        )
        # Images below the fold are loaded when they come near it.
        width = await page.evaluate(
            "(async () => { const shot = document.querySelector('img.shot'); shot.scrollIntoView();"
            " if (!shot.complete) await new Promise(done => { shot.onload = shot.onerror = done; });"
            " return shot.naturalWidth; })()"
        )
        over = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert 2.2 < seconds < 2.7
    assert (width, over, elsewhere) == (40, 0, [])


async def test_a_stranger_gets_no_file(shop: Shop) -> None:
    found = await sends(shop, png(), kind="image")
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{shop.url}/attachments/{found.id}", allow_redirects=False) as answer,
    ):
        assert answer.status in (303, 401)
    async with at_desk(shop) as desk:
        statuses = await asyncio.gather(*(desk.get(f"/attachments/{found.id + more}") for more in (1, 1000)))
        assert [status for status, _, _ in statuses] == [404, 404]
