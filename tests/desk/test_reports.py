"""The page of reports: who sees it, what it shows and exports, and how it is drawn."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from datetime import timedelta

import pytest
from playwright.async_api import expect

from tests.desk.conftest import Client, Site, Visit
from tests.desk.test_accessibility import faults
from tests.twin import open_inbox
from zhiban.conversations import service, transitions
from zhiban.conversations.changes import NoteRating, NoteSurvey
from zhiban.desk.report_view import ReportNames
from zhiban.events import SYSTEM, Actor
from zhiban.insights.queries import Dimension
from zhiban.kit.i18n import Texts
from zhiban.people import teams
from zhiban.people.models import Role
from zhiban.workers.report_counter import ReportCounter


@pytest.fixture
async def counted(site: Site) -> Site:
    """An afternoon on which 陈默, called like a formula, resolved what 马骁 asked and was given four stars."""
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update agent set name = '=1+1' where id = %(id)s", id=seed.agents["陈默"])
        by = Actor("agent", seed.agents["陈默"])
        asked, now = seed.conversations["马骁"], seed.clock.now()
        await service.resolve(tx, asked, by=by, now=now)
        of = {"survey_id": 1, "agent_id": by.id, "way": "menu"}
        await transitions.apply(tx, asked, NoteSurvey(**of), actor=SYSTEM, now=now)
        for rating, previous in ((2, None), (4, 2)):  # and thinks better of it
            said = NoteRating(**of, cycle=1, team_id=None, rating=rating, previous=previous, comment=None)
            await transitions.apply(tx, asked, said, actor=Actor("contact"), now=now)
    await count(site)
    return site


async def count(site: Site) -> None:
    """Everything that happened is in the reports."""
    seed, done = site.seed, False
    async with asyncio.timeout(60):
        while not done:
            await ReportCounter(seed.database, seed.clock).run_once(pause=0, settling=timedelta(0))
            async with seed.database.transaction(seed.workspace_id) as tx:
                done = await tx.value("select counted_to = (select max(id) from event) from report_progress")


async def test_times_by_hours_that_are_gone_are_still_shown(site: Site) -> None:
    owner, seed, now = await site.signed_in(), site.seed, site.seed.clock.now()
    assert "营业时间内" not in (await owner.get("/reports")).text
    async with seed.database.transaction(seed.workspace_id) as tx:
        team = await teams.create(tx, name="白班", now=now)
        await teams.set_hours(tx, team, {"weekly": {"daily": "09:00-18:00"}}, now=now)
        await service.assign_team(tx, seed.conversations["马骁"], to=team, by=SYSTEM, now=now)
        await service.resolve(tx, seed.conversations["马骁"], by=Actor("agent", seed.agents["陈默"]), now=now)
        await teams.set_hours(tx, team, None, now=now)
    await count(site)
    assert "营业时间内" in (await owner.get("/reports")).text


async def test_supervisors_read_and_export_what_they_see(counted: Site) -> None:
    seed, owner = counted.seed, await counted.signed_in()
    page = (await owner.get("/reports?period=7d")).text
    assert 'href="/reports"' in page
    assert "=1+1" in page
    assert "Asia/Shanghai" in page
    assert "echarts" in page
    assert "echarts" not in (await owner.get("/")).text
    form = {"what": "parts", "period": "7d", "by": "agent"}
    answer = await owner.post("/reports/export", form)
    assert answer.headers["content-disposition"].startswith('attachment; filename="report-')
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    at = rows[0].index("解决数")
    mine = next(row for row in rows if row[0] == "'=1+1")
    assert (mine[at], mine[rows[0].index("满意度")], mine[rows[0].index("收到的评价")]) == ("1", "4.00", "1")
    assert sum(int(row[at]) for row in rows[1:-1]) == int(rows[-1][at])
    steps = list(csv.reader(io.StringIO((await owner.post("/reports/export", {**form, "what": "steps"})).text)))
    assert len(steps) == 9
    assert sum(int(row[at]) for row in steps[1:-1]) == int(steps[-1][at]) == int(rows[-1][at])
    async with seed.database.transaction(seed.workspace_id) as tx:
        told = await tx.values("select data ->> 'what' from event where kind = 'data_exported' order by id")
    assert [one.split()[:2] for one in told] == [["report", "parts"], ["report", "steps"]]


async def test_others_see_less_or_nothing(counted: Site) -> None:
    seed = counted.seed
    agent = await counted.signed_in("suhe")
    assert (await agent.get("/reports")).status == 409
    assert 'href="/reports"' not in (await agent.get("/")).text
    other = await open_inbox(seed.database, seed.workspace_id, public_id="other", name="别处")
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run(
            "update agent set role = %(role)s, inbox_ids = %(ids)s where email like 'chenmo@%%'",
            role=Role.SUPERVISOR,
            ids=[other.inbox_id],
        )
    limited = await counted.signed_in("chenmo")
    page = (await limited.get("/reports?by=inbox")).text
    assert "别处" in page
    assert seed.inbox.name not in page
    assert "这段时间什么也没有发生" in page
    for path in ("/reports", "/reports/now"):
        assert (await limited.get(f"{path}?inbox={seed.inbox.inbox_id}")).status == 404
    form = {"inbox": str(seed.inbox.inbox_id)}
    assert (await limited.post("/reports/export", form)).status == 404


async def test_what_cannot_be_read_is_said_or_left_out(counted: Site) -> None:
    owner = await counted.signed_in()
    wrong = await owner.get("/reports?period=custom&since=2026-02-30&until=x")
    assert wrong.status == 200
    assert "请写明从哪天到哪天" in wrong.text
    assert (
        "结束的日子早于开始的日子" in (await owner.get("/reports?period=custom&since=2026-02-03&until=2026-02-01")).text
    )
    for query in ("period=never&by=nothing&inbox=x&team=-1&label=99999999999999999999", "label=12345&agent=777&team=9"):
        assert (await owner.get(f"/reports?{query}")).status == 200, query
    years = await owner.get("/reports?period=custom&since=2019-01-01&until=2027-12-31&clock=business&by=label")
    assert (years.status, "2019-01-01 – 2027-12-31" in years.text) == (200, True)
    names = ReportNames({7: "林晓"}, {}, {}, {}, {})
    assert [names.of(Dimension.AGENT, key, Texts()) for key in ("7", "99", "0")] == [
        "林晓",
        "已删除，编号99",
        "不归哪位同事",
    ]


@pytest.mark.browser
async def test_charts_are_drawn_and_choices_act_at_once(counted: Site, enter: Visit) -> None:
    page = await enter()
    await page.click(".dock a[href='/reports']")
    await expect(page.locator(".plot svg")).to_have_count(6)
    assert await faults(page) == []
    await page.select_option("select[name=period]", "today")
    await page.wait_for_url("**/reports?period=today**")
    await page.click("nav a:has-text('按标签')")
    await expect(page.locator("#parts tfoot")).to_be_visible()
    assert "period=today" in page.url
    await page.click("details.card > summary")
    await expect(page.locator("details.card tbody tr")).to_have_count(24)
    assert await faults(page) == []
    await page.set_viewport_size({"width": 390, "height": 844})
    await expect(page.locator(".plot svg").first).to_be_visible()
    fits = "document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight"
    assert await page.evaluate(fits)
    assert await faults(page) == []


async def now_of(client: Client, query: str = "") -> tuple[list[int], dict[str, int]]:
    """The numbers of the board (open, waiting, nobody's, put off, online), and how many each colleague has."""
    page = (await client.get(f"/reports/now{query}")).text
    holders = re.findall(r'<li>.*?title="([^"]+)".*?now__n">(\d+)', page)
    return [int(one) for one in re.findall(r"<dd>(\d+)", page)], {name: int(n) for name, n in holders}


async def test_the_board_tells_how_things_stand_now(site: Site) -> None:
    owner, seed, now = await site.signed_in(), site.seed, site.seed.clock.now()
    sql = (
        "select count(*) filter (where status = 'open'), "
        "count(*) filter (where status = 'open' and waiting_since is not null), "
        "count(*) filter (where status = 'open' and assignee_id is null), "
        "count(*) filter (where status = 'snoozed') from conversation"
    )
    whose = (
        "select a.name, count(*) from conversation c join agent a on a.id = c.assignee_id "
        "where c.status = 'open' group by 1"
    )

    async def right() -> None:
        async with seed.database.transaction(seed.workspace_id) as tx:
            wanted, holding = list(await tx.row(sql) or ()), dict(await tx.rows(whose))
        numbers, held = await now_of(owner)
        assert (numbers[:4], {name: n for name, n in held.items() if n}) == (wanted, holding)

    await right()
    async with seed.database.transaction(seed.workspace_id) as tx:
        await service.assign(tx, seed.conversations["周予安"], to=None, by=SYSTEM, now=now)
        later = now + timedelta(hours=1)
        await service.snooze(tx, seed.conversations["赵一鸣"], until=later, by=SYSTEM, now=now)
        await service.resolve(tx, seed.conversations["顾南乔"], by=SYSTEM, now=now)
    await right()
    online = (await now_of(owner))[0][4]
    await (await site.signed_in("chenmo")).post("/presence/beat")
    assert (await now_of(owner))[0][4] == online + 1
    other = await open_inbox(seed.database, seed.workspace_id, public_id="other", name="别处")
    assert (await now_of(owner, f"?inbox={other.inbox_id}"))[0][:4] == [0, 0, 0, 0]
    async with seed.database.transaction(seed.workspace_id) as tx:
        limited = "update agent set role = 'supervisor', inbox_ids = %(ids)s where email like 'chenmo@%%'"
        await tx.run(limited, ids=[other.inbox_id])
    assert (await now_of(await site.signed_in("chenmo")))[0][:4] == [0, 0, 0, 0]
