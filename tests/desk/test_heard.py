"""What a contact writes while an agent resolves is not resolved away: told once, done when asked again."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.browser import Visit
from tests.desk.conftest import Client, Site
from tests.desk.test_browser import opened, says

JUST = "对方刚又说了。先看一眼，还要这样做就再点一次。"


async def status(site: Site, who: str) -> str:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        id_ = site.seed.conversations[who]
        return str(await tx.value("select status from conversation where id = %(id)s", id=id_))


async def shown(agent: Client, conversation: int) -> str:
    page = (await agent.get(f"/conversations/{conversation}")).text
    found = re.search(r'id="messages"[^>]*data-last="(\d+)"', page)
    assert found
    return found[1]


async def macro_that_resolves(site: Site, agent: Client) -> int:
    form = {"name": "结案", "a.0.kind": "set_priority", "a.0.priority": "1"}
    form |= {"a.1.kind": "set_status", "a.1.status": "resolved"}
    made = await agent.post("/settings/macros", form)
    assert made.status == 303, made.text
    return int(made.headers["location"].rsplit("/", 1)[1])


async def test_resolving_tells_of_words_that_were_not_seen(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    seen = await shown(agent, zhou)
    await says(site, "周予安", "等等，又不行了")
    for form in ({"seen": seen}, {"seen": seen, "key": "k"}):
        address = f"/conversations/{zhou}/resolve"
        if "key" in form:
            address = f"/conversations/{zhou}/macros/{await macro_that_resolves(site, agent)}"
        refused = await agent.post(address, form, hx_request="true")
        assert (refused.status, refused.text) == (409, JUST)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        # Nothing of the macro was done.
        left = await tx.row("select status, priority from conversation where id = %(id)s", id=zhou)
        assert left is not None
        assert tuple(left) == ("open", 0)
    seen = await shown(agent, zhou)
    done = await agent.post(f"/conversations/{zhou}/resolve", {"seen": seen}, hx_request="true")
    assert (done.status, await status(site, "周予安")) == (200, "resolved")


async def test_what_colleagues_write_and_what_is_of_no_account_stands_in_nobodys_way(site: Site) -> None:
    agent, chen, zhou = (
        await site.signed_in(),
        await site.signed_in("chenmo"),
        site.seed.conversations["周予安"],
    )
    seen = await shown(agent, zhou)
    await chen.post(f"/conversations/{zhou}/notes", {"text": "我看过了"})
    assert (await agent.post(f"/conversations/{zhou}/resolve", {"seen": seen})).status == 200
    assert (await agent.post(f"/conversations/{zhou}/resolve", {"seen": "x"})).status == 422


@pytest.mark.parametrize("do", ["resolve", "macro"])
async def test_several_at_once_leave_out_who_wrote_since_the_list_was_read(site: Site, do: str) -> None:
    agent, ids = await site.signed_in(), [site.seed.conversations[who] for who in ("周予安", "赵一鸣")]
    to = str(await macro_that_resolves(site, agent)) if do == "macro" else ""
    listed = (await agent.get("/desk/rows?queue=mine&status=open")).text
    stamps = dict(re.findall(r'type="checkbox" value="(\d+)" data-seen="(\d+)"', listed))
    asked = json.loads((await agent.get("/desk/matching?queue=mine&status=open")).text)
    assert {id_: str(at) for id_, at in asked["seen"].items()} == stamps
    await says(site, "周予安", "等等，又不行了")

    async def act(seen: dict[str, Any]) -> dict[str, Any]:
        told = ",".join(f"{id_}:{at}" for id_, at in seen.items())
        form = {"do": do, "to": to, "ids": ",".join(map(str, ids)), "seen": told}
        return dict(json.loads((await agent.post("/desk/bulk", form)).text))

    done = await act(stamps)
    assert done["refused"] == [ids[0]]
    assert "2个里有1个没有改：对方刚又说了" in done["words"]
    assert (await status(site, "周予安"), await status(site, "赵一鸣")) == ("open", "resolved")
    again = await act({**stamps, **done["seen"]})
    assert (again["refused"], await status(site, "周予安")) == ([], "resolved")


@pytest.mark.browser
async def test_the_page_says_so_and_the_second_click_resolves(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    held = asyncio.Event()

    async def late(route: Route) -> None:
        await held.wait()
        await route.continue_()

    # Nothing is fetched anew while the contact writes and the agent clicks.
    await page.route("**/live*", late)
    await says(site, "周予安", "等等，又不行了")
    await page.locator("#resolve").click()
    await expect(page.locator("#toasts")).to_contain_text(JUST)
    assert await status(site, "周予安") == "open"
    held.set()
    await expect(page.locator("#messages")).to_contain_text("等等，又不行了")
    await page.locator("#resolve").click()
    await expect(page.locator("#toasts")).to_contain_text("已解决")
    assert await status(site, "周予安") == "resolved"


@pytest.mark.browser
async def test_those_left_out_stay_chosen_and_the_second_click_takes_them(site: Site, enter: Visit) -> None:
    page, rows = await enter(), "**/desk/rows*"
    await page.route(rows, lambda route: route.abort())
    await page.locator(".conv:has-text('周予安')").hover()
    await page.get_by_label("选择周予安").check()
    await expect(page.locator("#bulk [data-do=resolve]")).to_be_visible()
    await says(site, "周予安", "等等，又不行了")
    await page.locator("#bulk [data-do=resolve]").click()
    await expect(page.locator("#toasts")).to_contain_text("对方刚又说了")
    assert await status(site, "周予安") == "open"
    await page.locator("#bulk [data-do=resolve]").click()
    await expect(page.locator("#toasts")).to_contain_text("已解决1个")
    assert await status(site, "周予安") == "resolved"
