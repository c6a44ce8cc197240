"""At the desk one sees which files everybody would see, picks them one by one, and takes them back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from tests.desk.conftest import Answer, Client, Site
from tests.desk.test_groups import talks
from tests.desk.test_ticket_drafts import begun, pickable, repository, sent
from tests.desk.test_tickets import rows
from tests.kit.test_pictures import SECRET, drawn, exif, saved
from zhiban.conversations import groups
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.events import SYSTEM
from zhiban.kit.file_store import PostgresFileStore, spooled
from zhiban.kit.file_types import HEAD
from zhiban.people.models import Role
from zhiban.tickets import repositories
from zhiban.tickets.publishing_jobs import PublishingJobs
from zhiban.web import request_rate

URL = "https://desk.example"
PHOTO = saved(drawn(), "JPEG", exif=exif(6))


@pytest.fixture
async def lin(site: Site) -> Client:
    """Who has an address for everybody."""
    site.app.state.desk = replace(site.app.state.desk, surveys=SurveyLinks(URL, b"a key"))
    return await site.signed_in()


async def with_picture(site: Site, message_id: int) -> int:
    """Let this message show a photograph; returns the attachment."""
    seed = site.seed

    async def pieces() -> AsyncIterator[bytes]:
        yield PHOTO

    async with spooled(pieces(), limit=1 << 20, head=HEAD) as spool:
        await PostgresFileStore(seed.database, seed.clock).keep(seed.workspace_id, spool)
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update message set kind = 'image' where id = %(id)s", id=message_id)
        return int(
            await tx.value(
                "insert into attachment (workspace_id, message_id, kind, reference, filename, content_type, size, "
                "state, sha256, created_at) values (%(w)s, %(message)s, 'image', 'r', 'IMG_1.jpg', 'image/jpeg', "
                "%(size)s, 'stored', %(sha)s, %(now)s) returning id",
                w=seed.workspace_id,
                message=message_id,
                size=spool.size,
                sha=spool.sha256,
                now=seed.clock.now(),
            )
        )


async def publish(site: Site) -> None:
    seed = site.seed
    jobs = PublishingJobs(seed.database, PostgresFileStore(seed.database, seed.clock), seed.clock, url=URL)
    for (ticket_id,) in await rows(site, "select distinct ticket_id from published_file where state = 'waiting'"):
        await jobs.publish_files(seed.workspace_id, ticket_id)


def with_files(page: Answer, do: str, **changes: str) -> list[tuple[str, str]]:
    """The form of the page, with the boxes of files as they stand."""
    ticked = re.findall(r'name="file" value="(\d+)" checked', page.text)
    return [*sent(page, do, **changes), *(("file", id_) for id_ in ticked)]


async def test_of_a_chat_of_two_nothing_is_published_that_nobody_ticked(lin: Client, site: Site) -> None:
    where, conversation = await repository(site), site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    file = await with_picture(site, ids[0])
    address = await begun(lin, conversation, ids[:1])
    page = await lin.get(address)
    assert f'name="file" value="{file}">' in page.text  # offered, and not ticked
    assert "公开这张图片" in page.text
    await lin.post(address, [*with_files(page, "save", repository=str(where)), ("file", str(file))])
    page = await lin.get(address)
    assert f'name="file" value="{file}" checked' in page.text
    assert "会公开的：图片1张。仓库是公开的，谁都看得到。" in page.text
    opened = await lin.post(address, with_files(page, "open", repository=str(where)))
    assert opened.status == 303, opened.text[-300:]
    await publish(site)

    ticket = opened.headers["location"]
    page = await lin.get(ticket)
    (link,) = re.findall(rf'href="{URL}(/f/[0-9a-z-]+)"', page.text)
    assert "谁拿到链接都能看" in page.text
    stranger = site.client()
    seen = await stranger.get(link)
    assert (seen.status, seen.headers["content-type"], SECRET.decode() in seen.text) == (200, "image/jpeg", False)
    assert await rows(site, "select count(*)::int from tracker_call where content ->> 'body' like '%/f/%'") == [(1,)]
    facts = "select actor_kind, actor_id is not null from event where kind = 'file_published'"
    assert await rows(site, facts) == [("agent", True)]
    assert "公开了文件" in (await lin.get("/settings/audit")).text

    (file_id,) = re.findall(r'name="withdraw" value="(\d+)"', page.text)
    assert (await lin.post(ticket, {"withdraw": file_id})).status == 303
    assert (await stranger.get(link)).status == 410
    assert await rows(site, "select count(*)::int from tracker_call where content ->> 'body' like '%/f/%'") == [(0,)]
    assert "已撤下" in (await lin.get(ticket)).text
    assert (await lin.post(ticket, {"withdraw": file_id})).status == 303  # said twice


async def test_a_group_that_publishes_nothing_offers_no_box(lin: Client, site: Site) -> None:
    await repository(site)
    conversation = await talks(site)
    ids = await pickable(lin, conversation)
    await with_picture(site, ids[0])
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        by = SYSTEM
        await repositories.link(tx, conversation, "qinghe/sync", by=by, now=site.seed.clock.now())
    address = await begun(lin, conversation, ids[:1])
    page = await lin.get(address)
    assert 'name="file"' not in page.text
    assert "这个群设的是：不公开，只写名称和大小。" in page.text
    forged = [*sent(page, "open", repository="1"), ("file", "1")]
    assert (await lin.post(address, forged)).status == 303
    assert await rows(site, "select 1 from published_file") == []

    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        policy, now = GroupPolicy(publish_files="pictures"), site.seed.clock.now()
        await groups.configure(tx, conversation, policy, by=SYSTEM, now=now)
    address = await begun(lin, conversation, ids[:1], key="again")
    page = await lin.get(address)
    assert re.search(r'name="file" value="\d+" checked', page.text)  # as the group chose
    assert (await lin.post(address, sent(page, "save", repository="1"))).status == 303  # and was unticked
    assert not re.search(r'name="file" value="\d+" checked', (await lin.get(address)).text)


async def test_without_an_address_for_everybody_it_says_so(site: Site) -> None:
    agent = await site.signed_in()
    conversation = site.seed.conversations["周予安"]
    ids = await pickable(agent, conversation)
    await with_picture(site, ids[0])
    page = await agent.get(await begun(agent, conversation, ids[:1]))
    assert 'name="file"' not in page.text
    assert "ZHIBAN_URL" in page.text


async def test_who_may_only_look_takes_nothing_back(lin: Client, site: Site) -> None:
    where, conversation = await repository(site), site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    file = await with_picture(site, ids[0])
    address = await begun(lin, conversation, ids[:1])
    form = [*sent(await lin.get(address), "open", repository=str(where)), ("file", str(file))]
    ticket = (await lin.post(address, form)).headers["location"]
    await publish(site)
    (page,) = [await lin.get(ticket)]
    (file_id,) = re.findall(r'name="withdraw" value="(\d+)"', page.text)
    reader = await site.signed_in("chenmo")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set role = %(role)s where email like 'chenmo@%%'", role=Role.READ_ONLY.value)
    assert (await reader.post(ticket, {"withdraw": file_id})).status == 409
    assert 'name="withdraw"' not in (await reader.get(ticket)).text
    (link,) = re.findall(rf'href="{URL}(/f/[0-9a-z-]+)"', page.text)
    assert (await site.client().get(link)).status == 200


async def test_whoever_asks_without_end_is_told_to_wait(lin: Client, site: Site, monkeypatch: Any) -> None:
    from zhiban.desk.pages import published_files

    monkeypatch.setattr(published_files, "_RATE", request_rate.RequestRate(5, 60.0))
    path = f"/f/1-1-{'0' * 32}"
    statuses = [(await site.client().get(path)).status for _ in range(7)]
    assert statuses == [404] * 5 + [429] * 2
    assert (await site.client().get(path)).headers["retry-after"] == "60"
    assert (await lin.get("/tickets")).status == 200


def test_who_asks_without_end_is_let_in_as_often_as_agreed() -> None:
    """Many readers behind one proxy among them, who do not wait for each other."""
    rate, let_in = request_rate.RequestRate(16, 64.0), 0
    for second in range(600):
        with suppress(request_rate.TooManyRequests):
            rate.count("192.0.2.1", now=float(second))
            let_in += 1
    assert let_in == 16 + 599 // 4
