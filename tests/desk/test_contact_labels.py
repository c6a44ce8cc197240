"""Labels of contacts at the desk: in the pane beside the thread, on their page, in search and in views."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site


def box(page: str) -> list[str]:
    """What the contact's labels beside the thread are."""
    found = re.search(r'id="contact-labels".*?</section>', page, re.DOTALL)
    assert found is not None
    return re.findall(r'<span class="tag" data-color="\d">([^<]+)<', found[0])


async def contact_of(site: Site, name: str) -> int:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        id_ = site.seed.conversations[name]
        return int(await tx.value("select contact_id from conversation where id = %(id)s", id=id_))


async def test_a_label_is_put_on_in_the_pane_and_stands_on_the_page_in_search_and_in_a_view(site: Site) -> None:
    agent, zhou, bug = await site.signed_in(), site.seed.conversations["周予安"], site.seed.labels["缺陷"]
    path = f"/conversations/{zhou}/contact-labels"
    done = await agent.post(path, {"add": str(bug)})
    assert "<b>林晓</b>给联系人加上标签<b>缺陷</b>" in done.text
    page = (await agent.get(f"/conversations/{zhou}")).text
    assert box(page) == ["缺陷"]
    assert box((await agent.get(f"/conversations/{site.seed.conversations['沈嘉宁']}")).text) == []
    contact = await contact_of(site, "周予安")
    theirs = (await agent.get(f"/contacts/{contact}")).text
    assert f'name="remove" value="{bug}" aria-pressed="true"' in theirs
    found = (await agent.get(f"/search?label={bug}")).text
    assert re.findall(r'<b class="cut">([^<]*)</b>', found) == ["周予安"]
    assert '<span class="tag" data-color="5">缺陷</span>' in found
    assert "没有这样的联系人带这个标签" in (await agent.get(f"/search?label={bug}&q=沈")).text
    assert "还没有联系人带这个标签" in (await agent.get(f"/search?label={site.seed.labels['授权续费']}")).text
    assert (await agent.get("/search?label=x&before=3")).status == 200
    form = {"name": "大客户", "whose": "mine", "c.match": "all", "c.0.kind": "contact_label", "c.0.labels": str(bug)}
    saved = await agent.post("/settings/views", form)
    assert saved.status == 303
    view = re.findall(r"view=(\d+)", (await agent.get("/")).text)[-1]
    rows = (await agent.get(f"/desk/rows?queue=all&view={view}")).text
    assert re.findall(r'<b class="cut">([^<]+)</b>', rows) == ["周予安"]
    off = await agent.post(f"/contacts/{contact}/labels", {"remove": str(bug)})
    assert (off.status, off.headers["location"]) == (303, f"/contacts/{contact}#h-labels")
    assert box((await agent.get(f"/conversations/{zhou}")).text) == []
    assert "<b>林晓</b>去掉联系人的标签<b>缺陷</b>" in (await agent.get(f"/conversations/{zhou}")).text


async def test_what_is_not_there_and_who_may_not_changes_nothing(site: Site) -> None:
    agent, zhou = await site.signed_in("chenmo"), site.seed.conversations["周予安"]
    contact = await contact_of(site, "周予安")
    for path in (f"/conversations/{zhou}/contact-labels", f"/contacts/{contact}/labels"):
        assert (await agent.post(path, {"add": "4711"})).status == 404
        assert (await agent.post(path, {"add": "x"})).status == 422
        assert (await agent.post(path, {"add": str(2**70)})).status == 422
    assert (await agent.post("/contacts/4711/labels", {"add": str(site.seed.labels["缺陷"])})).status == 404
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await tx.value("select count(*) from contact_label") == 0


async def test_by_mouse_without_leaving_the_conversation(site: Site, enter: Visit) -> None:
    zhou = site.seed.conversations["周予安"]
    page = await enter(f"/conversations/{zhou}")
    await page.locator("#menu-contact-labels summary").click()
    await page.locator("#menu-contact-labels button", has_text="缺陷").click()
    await expect(page.locator("#contact-labels > .tags")).to_have_text("缺陷")
    await expect(page.locator(".act", has_text="给联系人加上标签缺陷")).to_be_visible()
    await page.locator("#menu-followers summary").click()
    await page.locator("#menu-followers button", has_text="陈默").click()
    await expect(page.locator("#followers .tags")).to_have_text("陈默")
    await page.locator("#menu-contact-labels summary").click()  # it knows what has changed
    await page.locator("#menu-contact-labels button[name=remove]", has_text="缺陷").click()
    await expect(page.locator("#contact-labels > .tags")).to_have_count(0)
    # What was offered for one contact is never there for another.
    await page.locator(f"a[href*='/conversations/{site.seed.conversations['沈嘉宁']}']").first.click()
    await expect(page.locator(".who h2")).to_have_text("沈嘉宁")
    await expect(page.locator("#menu-contact-labels .pop")).to_be_empty()
