"""A picture of a group is seen at the issue by whoever reads it, and nowhere any more once it is recalled."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.kit.test_pictures import SECRET, drawn, exif, saved
from tests.ports.tracker_stands import NAME
from tests.tickets.github_app import GitHubApp, eventually, github_app
from tests.tickets.test_publishing import LINK, URL, links

from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.conversations import groups
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.events import SYSTEM
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET as KEY
from zhiban.testing.webhook import WebhookProgram
from zhiban.tickets import repositories

PHOTO = saved(drawn(), "JPEG", exif=exif(6))
GROUP = {"id": "g1", "name": "青禾交流群"}
PEOPLE = {"yang": "老杨", "liang": "梁小满"}


@dataclass
class Group:
    """A group that writes to us over the webhook channel, and the GitHub that its tickets go to."""

    site: GitHubApp
    program: WebhookProgram
    serial: int = 0

    async def event(self, type_: str, **more: Any) -> None:
        self.serial += 1
        status, said = await self.program.call({"type": type_, **more}, id_=f"e{self.serial}")
        assert status == 202, said

    async def says(self, who: str, text: str = "", **more: Any) -> str:
        id_ = f"m{self.serial}"
        message = {"id": id_, "text": text, **more}
        await self.event("message", group=GROUP, contact={"id": who, "name": PEOPLE[who]}, message=message)
        return id_

    async def shows(self, who: str, data: bytes, *, name: str = "", kind: str = "image") -> str:
        file = {"data": base64.b64encode(data).decode(), "name": name, "kind": kind, "content_type": "image/jpeg"}
        return await self.says(who, kind=kind, files=[file])

    async def hears(self, words: str) -> None:
        async def said() -> bool:
            return any(words in one.text for one in self.program.replies("g1"))

        try:
            await eventually(said)
        except TimeoutError:
            pytest.fail(f"{words!r} was never said, but {[one.text for one in self.program.replies('g1')]}")
        self.program.heard.clear()

    async def conversation(self) -> int:
        await eventually(self._known)
        return await self.site.count("select id from conversation where external_id = 'g1'")

    async def _known(self) -> bool:
        return await self.site.count("select count(*) from conversation where external_id = 'g1'") == 1

    async def behaves(self, **policy: Any) -> None:
        id_, site = await self.conversation(), self.site
        async with site.app.database.transaction(site.workspace_id) as tx:
            await groups.configure(tx, id_, GroupPolicy(**policy), by=SYSTEM, now=site.clock.now())

    async def body(self, number: int = 1) -> str:
        """The issue as GitHub has it, once there is nothing more to write."""

        async def nothing_waits() -> bool:
            waiting = "select count(*) from published_file where state = 'waiting'"
            return await self.site.count(waiting) == 0 and number in self.site.repo.entries

        await eventually(nothing_waits)
        await self.site.quiet()
        return str(self.site.repo.entries[number].body)

    async def get(self, address: str, *, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        """As a stranger's browser: without a cookie, from another site."""
        path = address.removeprefix(URL)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as stranger,
            stranger.request(method, self.site.url + path, headers=named) as answer,
        ):
            return answer.status, answer.headers, await answer.read()


@asynccontextmanager
async def group(urls: DatabaseUrls, folder: Path) -> AsyncIterator[Group]:
    program = WebhookProgram()
    async with served(program.app) as other, github_app(urls, folder, zhiban_url=URL) as site:
        values = {"source": "chat", "url": f"{other}/inbox", "secret": KEY, "allow_private": "true"}
        async with site.app.database.transaction(site.workspace_id) as tx:
            done = await connect(tx, site.app.vault, bootstrap.CHANNELS["webhook"], values, now=site.clock.now())
            public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
        program.hooks = f"{site.url}/hooks/{public_id}"
        found = Group(site, program)
        people = [
            {"id": id_, "name": name, "role": "owner" if id_ == "liang" else "member"} for id_, name in PEOPLE.items()
        ]
        await found.event("group", group=GROUP, members=people)
        id_ = await found.conversation()
        async with site.app.database.transaction(site.workspace_id) as tx:
            await repositories.link(tx, id_, NAME, settings={"mode": "none"}, by=SYSTEM, now=site.clock.now())
        yield found


async def test_a_picture_from_the_group_to_the_issue_and_gone_again(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with group(urls, tmp_path) as talk:
        await talk.behaves(publish_files="all")
        picture = await talk.shows("yang", PHOTO)
        await talk.shows("yang", b"2027-01-01 error\n", name="app.log", kind="file")
        await talk.says("yang", "杯口有个缺口")
        await talk.says("liang", "以上3条开工单")
        await talk.hears("图片1张、文件1份")
        await talk.says("liang", "确认")
        image, log = links(await talk.body())

        status, headers, data = await talk.get(image)
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert data.startswith(b"\xff\xd8\xff")
        assert SECRET in PHOTO
        assert SECRET not in data
        assert headers["content-disposition"].startswith("inline")
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]
        assert "noindex" in headers["x-robots-tag"]
        assert headers["cache-control"] == "no-cache"
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert "set-cookie" not in headers
        assert (await talk.get(image, if_none_match=headers["etag"]))[0] == 304
        assert (await talk.get(image, method="HEAD"))[2] == b""

        status, headers, data = await talk.get(log)
        assert (status, data) == (200, b"2027-01-01 error\n")
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith('attachment; filename="app.log"')

        for wrong in (image[:-1], image[:-1] + "g", f"{URL}/f/9-9-{'0' * 32}", f"{URL}/f/../login", f"{URL}/f/%00"):
            assert (await talk.get(wrong))[0] in (404, 200 if "login" in wrong else 404), wrong
        await talk.event("recall", message_id=picture)

        async def gone() -> bool:
            return (await talk.get(image))[0] == 410

        await eventually(gone)
        assert links(await talk.body()) == [log]
        assert (await talk.get(log))[0] == 200
        assert "noindex" in (await talk.get(image))[1]["x-robots-tag"]


async def test_a_group_that_chose_nothing_publishes_nothing(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with group(urls, tmp_path) as talk:
        await talk.shows("yang", PHOTO)
        await talk.says("liang", "以上1条开工单")
        await talk.hears("草稿")
        await talk.says("liang", "确认")
        body = await talk.body()
        assert LINK.search(body) is None
        assert "图片" in body


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_hostile_picture_keeps_no_issue_from_being_opened(
    urls: DatabaseUrls, tmp_path: Path, at_once: bool
) -> None:
    async with group(urls, tmp_path) as talk:
        await talk.behaves(publish_files="pictures", files_at_once=at_once)
        await talk.shows("yang", b"\xff\xd8\xff\xe1<script>alert(1)</script>")
        await talk.says("liang", "以上1条开工单")
        if not at_once:
            await talk.hears("草稿")
            await talk.says("liang", "确认")
        assert LINK.search(await talk.body()) is None
