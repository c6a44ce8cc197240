"""Saved views in the browser: written in the editor of rules, looked through, counted in the rail."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from tests.browser import Visit, holds
from tests.desk.conftest import Fields, Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import CONTRAST
from tests.desk.test_labelling import rows
from zhiban.conversations import lists

HERE = "/settings/views"
FORM: Fields = [("name", "重要的"), ("shared", "true"), ("c.match", "all"), ("c.0.kind", "priority"),
                ("c.0.operator", "at_least"), ("c.0.priority", "3")]  # fmt: skip


async def test_a_view_is_written_seen_counted_and_refused(site: Site) -> None:
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    zhou = site.seed.conversations["周予安"]
    assert "列出这样的会话：优先级不低于高" in (await lin.post(HERE + "/preview", FORM)).text
    here = (await lin.post(HERE, FORM)).headers["location"]
    view = here.rsplit("/", 1)[-1]
    assert await rows(chen, f"queue=all&view={view}") == ["沈嘉宁"]
    await lin.post(f"/conversations/{zhou}/priority", {"to": "3"})
    assert await rows(chen, f"queue=all&view={view}") == ["沈嘉宁", "周予安"]
    page = (await chen.get(f"/?queue=all&view={view}")).text
    link = page.split(f'id="view-{view}"')[1].split("</a>")[0]
    assert ('aria-current="page"' in link, '<span class="count">2</span>' in link) == (True, True)
    assert f"view={view}" in page.split('class="states"')[1].split("</nav>")[0]  # its tabs keep to it
    # Resolving goes on within the view, and what is selected of it is what is in it.
    shown = {"queue": "all", "status": "open", "view": view}
    resolved = await lin.post(f"/conversations/{site.seed.conversations['沈嘉宁']}/resolve", shown)
    assert f'data-id="{zhou}"' in resolved.text
    assert resolved.headers["hx-push-url"] == f"/conversations/{zhou}?queue=all&status=open&view={view}"
    assert f'"ids":[{zhou}]' in (await lin.get(f"/desk/matching?queue=all&view={view}")).text
    assert (await chen.post(here, FORM)).status == 422
    own = (await chen.post(HERE, [one for one in FORM if one[0] != "shared"])).headers["location"].rsplit("/", 1)[-1]
    assert (await lin.get(f"{HERE}/{own}")).status == 404
    assert await rows(lin, f"queue=all&view={own}") == []  # somebody else's
    for wrong in ("nonsense", "-1", "9" * 30):
        assert (await lin.get(f"/?queue=all&view={wrong}")).status == 200
    refused = await lin.post(here, [("name", "x"), ("c.match", "all")])
    assert (refused.status, "有条件还没有填好" in refused.text) == (422, True)
    assert (await lin.post(here + "/remove")).status == 303
    assert "重要的" not in (await lin.get("/")).text


@pytest.mark.browser
async def test_a_view_is_built_and_followed(site: Site, enter: Visit) -> None:
    page = await enter()
    await page.goto(site.url + HERE + "/new")
    await expect(page.locator("#said")).to_contain_text("等待分钟数不低于10")
    await page.get_by_role("button", name="加条件", exact=True).click()
    await page.select_option('[name="c.1.kind"]', "priority")
    # What is chosen while a slow server draws the editor anew is not drawn over.
    asked, chosen = asyncio.Event(), asyncio.Event()

    async def slow(route: Route) -> None:
        asked.set()
        await chosen.wait()
        await route.continue_()

    await page.route("**/draft", slow)
    await page.select_option('[name="c.1.operator"]', "at_least")
    await asked.wait()
    await page.select_option('[name="c.1.priority"]', "3")
    await page.fill('[name="c.0.minutes"]', "12")
    async with page.expect_event("requestfinished", lambda request: request.url.endswith("/draft")):
        chosen.set()
    await expect(page.locator('[name="c.1.operator"] + [name="c.1.priority"]')).to_have_value("3")
    await expect(page.locator('[name="c.0.minutes"]')).to_have_value("12")
    await expect(page.locator("#said")).to_contain_text("等待分钟数不低于12，且优先级不低于高")
    await page.fill(".name", "久等的要紧事")
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    await page.press(".name", "Enter")
    await page.wait_for_url(re.compile(HERE + r"/\d+$"))
    await expect(page.locator(".runs .run")).to_have_text(re.compile("沈嘉宁"))
    await page.emulate_media(color_scheme="dark")
    await holds(page, STILL)
    assert await page.evaluate(CONTRAST) == []
    await page.get_by_role("link", name="打开", exact=True).click()
    await page.wait_for_selector("html[data-ready]")
    await expect(page.locator("#views .nav[aria-current]")).to_contain_text("久等的要紧事")
    await expect(page.locator("#queues .nav[aria-current]")).to_have_count(0)
    await expect(page.locator("#rows .conv")).to_have_count(1)
    # A colleague makes another one urgent: list and count follow.
    colleague = await site.signed_in("chenmo")
    await page.mouse.move(900, 400)
    await colleague.post(f"/conversations/{site.seed.conversations['赵一鸣']}/priority", {"to": "4"})
    await expect(page.locator("#rows .conv")).to_have_count(2)
    await expect(page.locator("#views .nav .count")).to_have_text("2")
    await expect(page.locator("#list h1")).to_contain_text("久等的要紧事")


async def test_what_a_view_was_not_looked_for_in_is_said_and_looked_through(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more is open than a view is looked for in at once, nothing is left out in silence."""
    lin = await site.signed_in()
    named: Fields = [("name", "姓周的"), ("c.match", "all"), ("c.0.kind", "contact_name"),
                     ("c.0.operator", "contains"), ("c.0.values", "周予安")]  # fmt: skip
    view = (await lin.post(HERE, named)).headers["location"].rsplit("/", 1)[-1]
    there = f"queue=all&view={view}"
    whole = (await lin.get(f"/desk/rows?{there}")).text
    assert ('id="more"' in whole, await rows(lin, there)) == (False, ["周予安"])
    first = (await rows(lin, "queue=all"))[0]
    assert first != "周予安"
    monkeypatch.setattr(lists, "LOOKED_THROUGH", 1)  # whoever waits longest, and that is somebody else
    page = (await lin.get(f"/?{there}")).text
    assert "在排在前面的1个会话里没有找到。" in page
    assert "这个视图里没有会话" not in page
    assert f'hx-get="/desk/rows?queue=all&amp;status=open&amp;view={view}&amp;limit=50"' in page
    assert await rows(lin, f"{there}&limit=75") == ["周予安"]  # and stays there while the list is live
    live = (await lin.get(f"/desk/list?{there}&limit=75&live=true")).text
    assert ('name="limit" value="75"' in live, "周予安" in live) == (True, True)
    zhou = site.seed.conversations["周予安"]
    assert f'"ids":[{zhou}]' in (await lin.get(f"/desk/matching?{there}")).text  # all of it is selected
    assert "在排在前面的1个会话里没有找到。" in (await lin.get(f"{HERE}/{view}")).text
    # Resolving goes on to whoever is next in the view, however far down.
    form = {"queue": "all", "status": "open", "view": view}
    done = await lin.post(f"/conversations/{site.seed.conversations[first]}/resolve", form)
    assert f'data-id="{zhou}"' in done.text
    # A count of what was looked through says that there are others.
    await lin.post(HERE, [("name", "等着的"), ("c.match", "all"), ("c.0.kind", "waiting"), ("c.0.minutes", "0")])
    rail = (await lin.get("/")).text
    assert '<span class="count">2+</span>' in rail.split("等着的")[-1].split("</a>")[0]


async def test_a_list_ends_in_words(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lin = await site.signed_in()
    monkeypatch.setattr(lists, "MOST_ROWS", 2)
    page = (await lin.get("/desk/rows?queue=all&limit=2")).text
    assert "只列出前2个。" in page
    assert 'class="count">2+</span>' in page
    assert "继续" not in page
