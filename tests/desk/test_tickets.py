"""Tickets at the desk: opened by hand and from messages that somebody picked, given away, finished, talked about."""

from __future__ import annotations

import csv
import io
import re

import pytest

from tests.desk.conftest import Client, Site
from zhiban.events import SYSTEM
from zhiban.people.models import Role
from zhiban.tickets.models import NewTicket
from zhiban.tickets.service import open_ticket


@pytest.fixture
async def lin(site: Site) -> Client:
    client = site.client()
    await client.sign_in()
    return client


async def rows(site: Site, sql: str) -> list[tuple[object, ...]]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return list(await tx.rows(sql))


async def test_a_ticket_is_opened_given_away_talked_about_and_finished(lin: Client, site: Site) -> None:
    assert "还没有工单" in (await lin.get("/tickets")).text
    refused = await lin.post("/tickets", {"title": "  "})
    assert refused.status == 422
    assert "工单要有标题" in refused.text
    chen = str(site.seed.agents["陈默"])
    form = {
        "title": "<img src=x onerror=alert(1)>授权码激活后仍提示过期 13800006021",
        "owner": chen,
        "priority": "4",
        "due": "2020-01-31",
        "key": "k",
    }
    opened = await lin.post("/tickets", {**form, "label": str(site.seed.labels["缺陷"])})
    assert opened.status == 303
    again = await lin.post("/tickets", form)  # a form that was sent twice
    address = opened.headers["location"]
    assert again.headers["location"] == address

    page = (await lin.get(address)).text
    assert "138****6021" in page
    assert "超了" in page
    assert "陈默" in page
    assert "1张未完成，1张超了" in page
    for shown in (page, (await lin.get("/tickets")).text, (await lin.get("/tickets?view=board")).text):
        assert "&lt;img src=x onerror=alert(1)&gt;授权码" in shown
        assert "<img src=x" not in shown
    await lin.post(address, {"comment": "先看日志", "key": "c1"})
    await lin.post(address, {"comment": "先看日志", "key": "c1"})
    assert await rows(site, "select text, audience, name from ticket_comment") == [("先看日志", "desk", "林晓")]
    assert (await lin.post(address, {"comment": " "})).status == 422
    await lin.post(address, {"watch": "yes"})
    assert (await lin.post(address, {"state": "done"})).status == 303
    assert "没有" not in (await lin.get("/tickets?state=done")).text.split("data-live")[1][:200]
    assert "已完成" in (await lin.get(address)).text
    assert address in (await lin.get("/tickets?view=board")).text
    assert await rows(site, "select state, done_at is not null from ticket") == [("done", True)]
    history = re.sub(r"<[^>]+>", "", (await lin.get(address)).text.partition(">经过<")[2])
    assert all(f"{said}林晓" in history for said in ("开了工单", "改为已完成")), history[:500]


async def test_a_ticket_is_opened_from_messages_that_were_picked(lin: Client, site: Site) -> None:
    conversation = site.seed.conversations["周予安"]
    page = (await lin.get(f"/tickets/new?conversation={conversation}")).text
    ids = re.findall(r'name="message" value="(\d+)"', page)
    assert len(ids) > 2
    begun = await lin.post(f"/conversations/{conversation}/ticket-drafts", [("message", ids[0]), ("message", ids[1])])
    form = [("title", ""), ("message", ids[0]), ("message", ids[1]), ("do", "open")]
    opened = await lin.post(begun.headers["location"], form)
    assert opened.status == 303
    shown = (await lin.get(opened.headers["location"])).text
    assert "升级到 2.4 之后 Webhook 一直报 401" in shown
    assert "周予安提出" in shown
    assert "原话，2条" in shown
    assert f"/conversations/{conversation}" in shown


async def test_filters_keep_what_was_asked_for(lin: Client, site: Site) -> None:
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        for n, (title, owner) in enumerate((("有人管", "林晓"), ("没人管", ""), ("100%_的", ""))):
            new = NewTicket(title, owner_id=seed.agents.get(owner))
            await open_ticket(tx, new, key=f"t{n}", by=SYSTEM, now=seed.clock.now())

    async def found(query: str) -> list[str]:
        return re.findall(r'<b class="cut">([^<]+)</b>', (await lin.get(f"/tickets?{query}")).text)

    assert await found("owner=me") == ["有人管"]
    assert await found("owner=nobody") == ["没人管", "100%_的"]
    assert await found("q=%25_") == ["100%_的"]
    assert await found("q=%232") == ["没人管"]
    assert await found("due=none&owner=me") == ["有人管"]
    assert await found("due=late") == []
    assert await found("label=99999&owner=x&state=nonsense&due=nonsense") == []


async def test_the_list_is_taken_along_as_a_table_that_runs_nothing(lin: Client, site: Site) -> None:
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        for n, title in enumerate(("=HYPERLINK(1)", "打我电话 13800006021", "别的")):
            new = NewTicket(title, owner_id=seed.agents["林晓"] if n < 2 else None, requester="+老杨")
            await open_ticket(tx, new, key=f"t{n}", by=SYSTEM, now=seed.clock.now())
    told = await lin.post("/tickets/export", {"owner": "me"})
    assert told.headers["content-type"].startswith("text/csv")
    first, *lines = csv.reader(io.StringIO(told.text.removeprefix("\ufeff")))
    assert first[:3] == ["工单", "标题", "状态"]
    assert [line[1] for line in lines] == ["'=HYPERLINK(1)", "打我电话 138****6021"]
    assert lines[0][7] == "'+老杨"
    assert await rows(site, "select data ->> 'what', data ->> 'rows' from event where kind = 'data_exported'") == [
        ("tickets", "2")
    ]


async def test_who_does_not_see_an_inbox_sees_none_of_its_tickets(site: Site) -> None:
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        new = NewTicket("别处的", conversation_id=seed.conversations["周予安"], inbox_id=seed.inbox.inbox_id)
        ticket = await open_ticket(tx, new, key="t", by=SYSTEM, now=seed.clock.now())
        await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=seed.agents["陈默"])
        await tx.run("update agent set role = %(r)s where id = %(id)s", r=Role.READ_ONLY, id=seed.agents["苏禾"])
    chen, su = site.client(), site.client()
    await chen.sign_in("chenmo")
    await su.sign_in("suhe")
    assert "别处的" not in (await chen.get("/tickets")).text
    assert (await chen.get(f"/tickets/{ticket.id}")).status == 404
    assert (await chen.post(f"/tickets/{ticket.id}", {"state": "done"})).status == 404
    assert "别处的" in (await su.get(f"/tickets/{ticket.id}")).text
    assert (await su.get("/tickets/new")).status in (403, 409)
    assert (await su.post(f"/tickets/{ticket.id}", {"state": "done"})).status in (403, 409)
