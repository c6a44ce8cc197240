"""Labels and priorities at the desk: put on, looked through, managed, taken off."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Client, Site
from tests.desk.seed import create_seed


async def rows(agent: Client, query: str) -> list[str]:
    page = (await agent.get(f"/desk/rows?{query}")).text
    return re.findall(r'<b class="cut">([^<]+)</b>', page)


async def test_a_label_is_put_on_seen_looked_through_and_taken_off(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    bug = site.seed.labels["缺陷"]
    done = await agent.post(f"/conversations/{zhou}/labels", {"add": str(bug)})
    assert done.status == 200
    assert "<b>林晓</b>加上标签<b>缺陷</b>" in done.text
    assert await rows(agent, f"queue=all&label={bug}") == ["周予安"]
    assert await rows(agent, f"queue=all&label={site.seed.labels['授权续费']}") == ["沈嘉宁"]
    assert '<span class="tag cut" data-color="5">缺陷</span>' in (await agent.get("/desk/rows")).text
    # Twice is once.
    assert (await agent.post(f"/conversations/{zhou}/labels", {"add": str(bug)})).text.count("加上标签") == 1
    off = await agent.post(f"/conversations/{zhou}/labels", {"remove": str(bug)})
    assert "<b>林晓</b>去掉标签<b>缺陷</b>" in off.text
    assert await rows(agent, f"queue=all&label={bug}") == []
    assert "没有带这个标签的会话" in (await agent.get(f"/?queue=all&label={bug}")).text


async def test_a_renamed_label_has_its_new_name_everywhere_and_a_removed_one_is_gone(site: Site) -> None:
    agent, renewal = await site.signed_in(), site.seed.labels["授权续费"]
    shen = site.seed.conversations["沈嘉宁"]
    assert (await agent.post(f"/settings/labels/{renewal}", {"name": "续费", "color": "2"})).status == 303
    page = (await agent.get(f"/conversations/{shen}")).text
    assert "授权续费" not in page
    assert '<span class="tag" data-color="2">续费</span>' in page
    assert "加上标签<b>续费</b>" in page
    assert (await agent.post(f"/settings/labels/{renewal}/remove")).status == 303
    page = (await agent.get(f"/conversations/{shen}")).text
    assert 'data-color="2"' not in page
    assert "加上标签<b>续费</b>" in page  # what happened stays said
    assert (await agent.get(f"/?queue=all&label={renewal}")).status == 200
    assert (await agent.post(f"/conversations/{shen}/labels", {"add": str(renewal)})).status == 404
    assert (await agent.post("/settings/labels", {"name": "续费", "color": "1"})).status == 303


async def test_owners_and_admins_manage_labels_and_everybody_uses_them(site: Site) -> None:
    agent, bug = await site.signed_in("chenmo"), site.seed.labels["缺陷"]
    page = (await agent.get("/settings/labels")).text
    assert "缺陷" in page
    assert 'action="/settings/labels' not in page
    for path, data in (
        ("/settings/labels", {"name": "新的"}),
        (f"/settings/labels/{bug}", {"name": "新的", "color": "1"}),
        (f"/settings/labels/{bug}/remove", {}),
    ):
        assert (await agent.post(path, data)).status == 409
    assert (
        await agent.post(f"/conversations/{site.seed.conversations['马骁']}/labels", {"add": str(bug)})
    ).status == 200
    assert "管理标签" not in (await agent.get("/")).text
    assert "管理标签" in (await (await site.signed_in()).get("/")).text


async def test_a_mistake_is_said_and_what_was_typed_stays(site: Site) -> None:
    agent = await site.signed_in()
    refused = await agent.post("/settings/labels", {"name": "缺陷", "color": "1"})
    assert refused.status == 422
    assert "已经有标签“缺陷”。" in refused.text
    assert 'value="缺陷"' in refused.text
    markup = await agent.post("/settings/labels", {"name": "<b>x</b>", "color": "1"})
    assert markup.status == 303
    assert "&lt;b&gt;x&lt;/b&gt;" in (await agent.get("/")).text


async def test_labels_of_another_organisation_do_not_exist(site: Site) -> None:
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    theirs = other.labels["缺陷"]
    assert (await agent.post(f"/conversations/{zhou}/labels", {"add": str(theirs)})).status == 404
    assert (await agent.post(f"/settings/labels/{theirs}/remove")).status == 404
    assert await rows(agent, f"queue=all&label={theirs}") == []


@pytest.mark.parametrize("label", ["nonsense", "-1", "9" * 30, "²"])
async def test_a_label_that_cannot_be_is_no_filter(site: Site, label: str) -> None:
    agent = await site.signed_in()
    assert (await agent.get(f"/?queue=all&label={label}")).status == 200


async def test_a_priority_is_set_shown_and_taken_away(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    high = await agent.post(f"/conversations/{zhou}/priority", {"to": "3"})
    assert "<b>林晓</b>把优先级改为高" in high.text
    row = (await agent.get("/desk/rows")).text.split("周予安")[1].split("</a>")[0]
    assert 'data-p="high"' in row
    none = await agent.post(f"/conversations/{zhou}/priority", {"to": "0"})
    assert "<b>林晓</b>去掉了优先级" in none.text
    row = (await agent.get("/desk/rows")).text.split("周予安")[1].split("</a>")[0]
    assert "data-p" not in row
    for wrong in ("5", "-1", "x"):
        assert (await agent.post(f"/conversations/{zhou}/priority", {"to": wrong})).status == 422


async def test_resolving_goes_on_within_the_label(site: Site) -> None:
    agent, bug = await site.signed_in(), site.seed.labels["缺陷"]
    for who in ("周予安", "赵一鸣"):
        await agent.post(f"/conversations/{site.seed.conversations[who]}/labels", {"add": str(bug)})
    shown = {"queue": "all", "status": "open", "label": str(bug)}
    resolved = await agent.post(f"/conversations/{site.seed.conversations['赵一鸣']}/resolve", shown)
    assert f'data-id="{site.seed.conversations["周予安"]}"' in resolved.text  # 沈嘉宁 waits longer, without the label


@pytest.mark.browser
async def test_the_keyboard_puts_labels_on_and_the_list_keeps_to_its_label(site: Site, enter: Visit) -> None:
    page = await enter("/?queue=mine")
    await page.click("text=周予安")
    await expect(page.locator("#thread-name")).to_have_text("周予安")
    await page.keyboard.press("Alt+g")
    await page.locator("#menu-labels .opt", has_text="缺陷").click()
    await expect(page.locator("#labelled .tags")).to_have_text("缺陷")
    await expect(page.locator(".act").last).to_contain_text("加上标签缺陷")
    await page.click("#labels .nav >> text=缺陷")
    await expect(page.locator("#rows .conv")).to_have_count(1)
    await expect(page.locator("#labels .nav[aria-current]")).to_have_text("缺陷")
    await expect(page.locator("#queues .nav[aria-current]")).to_have_count(0)
    # Another agent labels one more: the list on the screen follows, within its label.
    colleague = await site.signed_in("chenmo")
    await page.mouse.move(900, 400)
    ma = site.seed.conversations["马骁"]
    await colleague.post(f"/conversations/{ma}/labels", {"add": str(site.seed.labels["缺陷"])})
    await expect(page.locator("#rows .conv")).to_have_count(2)
    await expect(page.locator("#list h1")).to_contain_text("缺陷")


@pytest.mark.browser
async def test_on_a_phone_labels_are_in_the_contacts_drawer(site: Site, enter: Visit) -> None:
    page = await enter(f"/conversations/{site.seed.conversations['周予安']}", width=390, height=844, touch=True)
    await page.click(".thread__card")
    await page.click("#menu-labels summary")
    await page.locator("#menu-labels .opt", has_text="授权续费").click()
    await expect(page.locator("#labelled .tags")).to_have_text("授权续费")
