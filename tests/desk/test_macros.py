"""Macros in the browser: written in the editor of rules, run from a conversation."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser import Visit, holds
from tests.desk.conftest import Fields, Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import CONTRAST, opened

HERE = "/settings/macros"
FORM: Fields = [("name", "收尾"), ("shared", "true"), ("a.0.kind", "set_priority"), ("a.0.priority", "4"),
                ("a.1.kind", "set_status"), ("a.1.status", "resolved")]  # fmt: skip


async def test_it_is_written_kept_run_and_refused(site: Site) -> None:
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    zhou = site.seed.conversations["周予安"]
    assert "把优先级设为紧急，再解决会话" in (await lin.post(HERE + "/preview", FORM)).text
    here = (await lin.post(HERE, FORM)).headers["location"]
    number = here.rsplit("/", 1)[-1]
    assert (await chen.post(HERE, FORM)).status == 422
    assert "由负责人、管理员和主管修改" in (await chen.get(here)).text
    for path in (here, here + "/remove"):
        assert (await chen.post(path, [*FORM, ("revision", "1")])).status == 422
    own = (await chen.post(HERE, [one for one in FORM if one[0] != "shared"])).headers["location"]
    assert (await lin.get(own)).status == 404
    assert (await lin.post(f"/conversations/{zhou}/macros/{own.rsplit('/', 1)[-1]}", {"key": "1"})).status == 404
    # An agent runs what is shared, and the next conversation opens.
    done = await chen.post(f"/conversations/{zhou}/macros/{number}", {"key": "1", "queue": "all"})
    assert (done.status, "已执行宏“收尾”，会话已解决" in done.text) == (200, True)
    assert f"/conversations/{zhou}/undo-resolve" in done.text
    thread = (await chen.get(f"/conversations/{zhou}")).text
    assert "<b>陈默</b>执行了宏<b>收尾</b>" in thread
    assert (await chen.post(f"/conversations/{zhou}/undo-resolve")).status == 204
    refused = await lin.post(here, [*FORM, ("a.2.kind", "snooze"), ("revision", "1")])
    assert (refused.status, "第3个动作还没有填好" in refused.text) == (422, True)
    saved = await lin.post(here, [*FORM, ("a.2.kind", "snooze"), ("a.2.minutes", "5"), ("revision", "1")])
    assert saved.status == 303
    failed = await lin.post(f"/conversations/{zhou}/macros/{number}", {"key": "2"}, hx_request="true")
    assert (failed.status, failed.text) == (
        409,
        "没有执行，什么也没有改。第3个动作：会话已解决，请先重新打开再搁置。",
    )
    assert "<b>林晓</b>执行了宏" not in (await lin.get(f"/conversations/{zhou}")).text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set inbox_ids = '{}' where name = '陈默'")
    page = (await chen.get(here)).text  # where it was used is not for who may not see that inbox
    assert ("收尾" in page, "周予安" in page, "周予安" in (await lin.get(here)).text) == (True, False, True)
    assert (await lin.post(here + "/remove")).status == 303
    assert (await lin.get(here)).status == 404


@pytest.mark.browser
async def test_a_macro_is_written_and_run_by_keyboard(site: Site, enter: Visit) -> None:
    page = await enter()
    await page.goto(site.url + HERE + "/new")
    await expect(page.locator("#said")).to_contain_text("分配给自己")
    await page.get_by_role("button", name="加动作").click()
    await page.select_option('[name="a.1.kind"]', "set_priority")
    await page.select_option('[name="a.1.priority"]', "4")
    await expect(page.locator("#said")).to_contain_text("分配给自己，再把优先级设为紧急")
    await page.fill(".name", "我来，紧急")
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    await page.press(".name", "Enter")
    await page.wait_for_url(re.compile(HERE + r"/\d+$"))
    await page.emulate_media(color_scheme="dark")
    await holds(page, STILL)
    assert await page.evaluate(CONTRAST) == []
    await page.goto(site.url + "/?queue=all")
    await page.wait_for_selector("html[data-ready]")
    await opened(page, "马骁")
    for times in (1, 2):  # a second time is a second time
        await page.keyboard.press("Alt+r")
        await page.keyboard.press("Enter")
        await expect(page.locator(".act", has_text="林晓执行了宏我来，紧急")).to_have_count(times)
    await expect(page.locator("#menu-owner summary")).to_contain_text("林晓")
    await expect(page.locator("#menu-priority summary")).to_have_attribute("data-p", "urgent")
