"""Searching at the desk: what is shown of a hit, what the fields do, and the way to the message."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_accessibility import faults
from zhiban.conversations import replies
from zhiban.events import Actor
from zhiban.people.contacts import set_blocked

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


def hits(page: str) -> list[str]:
    """What is shown of each hit, marks as they are."""
    found = re.findall(r'<span class="hit__text">(.*?)</span>\s*<small', page, re.DOTALL)
    return [re.sub(r"\s+", " ", one).strip() for one in found]


async def test_hits_are_shown_marked_and_escaped_and_lead_to_the_message(site: Site) -> None:
    seed, agent = site.seed, await site.signed_in("chenmo")
    async with seed.database.transaction(seed.workspace_id) as tx:
        zhou = seed.conversations["周予安"]
        said = await seed.says(
            tx, "周予安", '<img src=x onerror="alert(1)">工單 <b>ＱＨ１２</b>', at=seed.ago(minutes=1)
        )
        by = Actor("agent", seed.agents["林晓"])
        await replies.add_note(tx, zhou, text="工单qh12已经转研发", by=by, now=seed.clock.now())
        contact = await tx.value("select contact_id from conversation where id = %(id)s", id=zhou)
        await set_blocked(tx, contact, blocked=True, now=seed.clock.now())
    page = (await agent.get("/search?q=工单 qh12")).text
    assert hits(page) == [
        "<mark>工单qh12</mark>已经转研发",
        "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;<mark>工單</mark> &lt;b&gt;<mark>ＱＨ１２</mark>&lt;/b&gt;",
    ]
    assert "备注 · 林晓" in page
    assert "已屏蔽" in page
    assert f'href="/conversations/{zhou}?queue=all&amp;status=open&amp;message={said}"' in page
    assert hits((await agent.get("/search?q=工单&notes=without")).text)[0].startswith("&lt;img")
    assert len(hits((await agent.get("/search?q=工单&notes=only")).text)) == 1
    assert len(hits((await agent.get(f"/search?q=工单&by=agent-{seed.agents['林晓']}")).text)) == 1
    assert hits((await agent.get("/search?q=工单&until=2020-01-01")).text) == []
    assert hits((await agent.get("/search?q=工单&inbox=99&since=yesterday&conversation=x&before=abc")).text) == []
    named = (await agent.get("/search?q=周予")).text
    assert '<b class="cut"><mark>周予</mark>安</b>' in named
    nothing = (await agent.get("/search?q=%3Cscript%3E量子")).text
    assert "没有找到“&lt;script&gt;量子”。" in nothing
    assert "只有标点" in (await agent.get("/search?q=？！")).text


async def test_an_old_message_is_opened_with_what_was_said_around_it(site: Site) -> None:
    seed, agent = site.seed, await site.signed_in()
    async with seed.database.transaction(seed.workspace_id) as tx:
        ids = [await seed.says(tx, "马骁", f"第{n}句", at=seed.ago(minutes=5)) for n in range(60)]
    there = seed.conversations["马骁"]
    page = (await agent.get(f"/conversations/{there}?message={ids[5]}")).text
    assert "第5句" in page
    assert 'id="older"' not in page
    middle = (await agent.get(f"/conversations/{there}?message={ids[15]}")).text
    assert "第5句" in middle
    assert "第59句" in middle
    assert 'id="older"' in middle
    for message in (ids[59], 10**9):
        assert "第5句" not in (await agent.get(f"/conversations/{there}?message={message}")).text


@pytest.mark.browser
async def test_a_journey_from_a_word_to_the_message(site: Site, enter: Visit) -> None:
    page = await enter()
    await page.goto(site.url + "/search")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("gunzip")
    await page.keyboard.press("Enter")
    await expect(page.locator(".hit mark")).to_have_text(["gunzip"])
    assert await faults(page) == []
    await page.locator(".hit").click()
    found = page.locator("#messages .msg", has_text="gunzip")
    await expect(found).to_be_focused()
    await expect(found).to_be_in_viewport()
    assert "message=" not in page.url
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.context.add_cookies([{"name": "zhiban_locale", "value": "en", "url": site.url}])
    for address in (
        "/search?q=2",
        *(("/search?q=发票 抬头", "/search?q=周予安", "/search?q=量子") if PICTURES else ()),
    ):
        await page.goto(site.url + address)
        if PICTURES:
            await page.screenshot(path=Path(PICTURES) / f"search-{address[-2:]}.png")
    assert await faults(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
