"""The page of a contact: filled in, shown beside the conversation, made one with another."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_accessibility import faults

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


async def contact_of(site: Site, who: str) -> int:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return int(
            await tx.value("select contact_id from conversation where id = %(id)s", id=site.seed.conversations[who])
        )


async def test_two_who_change_a_contact_at_once_lose_nothing(site: Site) -> None:
    lin, chen, zhou = await site.signed_in(), await site.signed_in("chenmo"), await contact_of(site, "周予安")
    shown = {"name_was": "周予安", "remark_was": "", "name": "周予安", "remark": "", "was.phone": "", "was.company": ""}
    first = {**shown, "field.phone": "13800001111", "field.company": ""}
    assert (await lin.post(f"/contacts/{zhou}", first)).status == 303
    # Another field of the same page: both stay.
    assert (await chen.post(f"/contacts/{zhou}", {**shown, "field.phone": "", "field.company": "青禾"})).status == 303
    both = (await lin.get(f"/contacts/{zhou}")).text
    assert ('value="13800001111"' in both, 'value="青禾"' in both) == (True, True)
    # The same field: who comes second is told what stands there, and may say so again.
    late = await chen.post(
        f"/contacts/{zhou}", {**shown, "remark": "周老师", "field.phone": "139", "field.company": ""}
    )
    assert late.status == 422
    assert "现在写着：电话：13800001111" in late.text
    assert 'name="was.phone" value="13800001111"' in late.text
    for kept in ('value="139"', 'value="周老师"', 'value="青禾"'):
        assert kept in late.text
    # Whatever the page is shown again for, what was left alone is not set back by saving it.
    assert (await lin.post(f"/contacts/{zhou}", {**shown, "name": "周予安博士"})).status == 303
    long = await chen.post(f"/contacts/{zhou}", {**shown, "remark": "长" * 81, "field.company": ""})
    assert long.status == 422
    for there in ('name="name" value="周予安博士"', 'value="青禾"', "长" * 81):
        assert there in long.text
    assert (await lin.post(f"/contacts/{zhou}", {**shown, "name_was": "周予安博士"})).status == 303
    again = {**shown, "remark": "周老师", "was.phone": "13800001111", "was.company": "青禾"}
    assert (
        await chen.post(f"/contacts/{zhou}", {**again, "field.phone": "139", "field.company": "青禾"})
    ).status == 303
    assert 'value="139"' in (await lin.get(f"/contacts/{zhou}")).text


async def test_yes_is_a_tick_of_a_box_and_a_word_elsewhere(site: Site) -> None:
    agent, zhou = await site.signed_in(), await contact_of(site, "周予安")
    here = f"/conversations/{site.seed.conversations['周予安']}"
    for name, kind in (("签约", "checkbox"), ("口头禅", "text")):
        assert (await agent.post("/settings/contact-fields", {"name": name, "kind": kind})).status == 303
    form = {"name": "周予安", "shown.签约": "1", "field.签约": "yes", "field.口头禅": "yes", "field.company": "yes"}
    assert (await agent.post(f"/contacts/{zhou}", form)).status == 303
    for language, tick in (("zh", "是"), ("en", "Yes")):
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await tx.run("update agent set locale = %(locale)s", locale=language)
        beside = (await agent.get(here)).text
        assert re.search(rf"签约</dt><dd>{tick}</dd>", beside)
        assert re.search(r"口头禅</dt><dd>yes</dd>", beside)
        assert re.search(r"(公司|Company)</dt><dd>yes</dd>", beside)


async def test_a_contact_is_filled_in_and_merged(site: Site) -> None:
    agent, zhou, ma = await site.signed_in(), await contact_of(site, "周予安"), await contact_of(site, "马骁")
    added = await agent.post("/settings/contact-fields", {"name": "会员", "kind": "list", "choices": "金\n<b>银</b>\n"})
    assert added.status == 303
    assert (await agent.post("/settings/contact-fields", {"name": "签约", "kind": "checkbox"})).status == 303
    again = await agent.post("/settings/contact-fields", {"name": "会员", "kind": "text"})
    assert again.status == 422
    assert "已经有“会员”了。" in again.text
    form = {
        "name": "周予安",
        "remark": "",
        "field.phone": "13800001111",
        "field.会员": "<b>银</b>",
        "field.签约": "yes",
    }
    form |= {"shown.签约": "1", "field.notes": "<script>x</script>"}
    assert (await agent.post(f"/contacts/{zhou}", form)).status == 303
    page = (await agent.get(f"/contacts/{zhou}")).text
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "<option selected>&lt;b&gt;银&lt;/b&gt;</option>" in page
    assert 'name="field.签约" value="yes" checked' in page
    beside = (await agent.get(f"/conversations/{site.seed.conversations['周予安']}")).text
    assert re.search(r"电话</dt><dd>13800001111", beside)
    assert re.search(r"签约</dt><dd>是", beside)
    assert f'href="/contacts/{zhou}"' in beside
    refused = await agent.post(f"/contacts/{zhou}", {"name": "x", "field.会员": "铜"})
    assert refused.status == 422
    assert "“会员”不能填“铜”。" in refused.text
    assert 'name="name" value="x"' in refused.text
    unticked = {"name": "周予安", "shown.签约": "1"}
    assert (await agent.post(f"/contacts/{zhou}", unticked)).status == 303
    assert "checked" not in (await agent.get(f"/contacts/{zhou}")).text
    found = (await agent.get(f"/contacts/{zhou}?q=马骁")).text
    assert f'name="other" value="{ma}"' in found
    assert f'name="other" value="{zhou}"' not in (await agent.get(f"/contacts/{zhou}?q=周予安")).text
    assert (await agent.post(f"/contacts/{zhou}/merge", {"other": str(ma)})).status == 303
    assert "2个会话" in (await agent.get(f"/contacts/{zhou}")).text
    away = await agent.get(f"/contacts/{ma}")
    assert (away.status, away.headers["location"]) == (303, f"/contacts/{zhou}")
    moved = (await agent.get(f"/conversations/{site.seed.conversations['马骁']}")).text
    assert "<b>林晓</b>把联系人合并了" in moved
    assert "周予安" in moved


@pytest.mark.browser
async def test_the_pages_of_a_contact_keep_the_rules(site: Site, enter: Visit) -> None:
    page = await enter()
    zhou = await contact_of(site, "周予安")
    if PICTURES:
        await page.goto(f"{site.url}/conversations/{site.seed.conversations['周予安']}")
        await page.locator("#menu-transcript summary").click()
        await page.screenshot(path=Path(PICTURES) / "transcript.png")
    await page.goto(f"{site.url}/contacts/{zhou}?q=马骁")
    await page.get_by_label("公司").fill("云帆科技")
    await page.get_by_role("button", name="保存").click()
    await expect(page.get_by_label("公司")).to_have_value("云帆科技")
    await page.goto(f"{site.url}/contacts/{zhou}?q=马骁")
    await page.locator(".found summary").click()
    assert await faults(page) == []
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "contact-light.png")
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.context.add_cookies([{"name": "zhiban_locale", "value": "en", "url": site.url}])
    for address in ("/settings/contact-fields", f"/contacts/{zhou}?q=马骁"):
        await page.goto(site.url + address)
        assert await faults(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if PICTURES:
            await page.screenshot(path=Path(PICTURES) / f"contact-{address[:6].strip('/')}.png")
