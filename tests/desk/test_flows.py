"""Flows in the browser: written and tried in the editor, started from a conversation and the command bar."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser import Visit, holds
from tests.desk.conftest import Fields, Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import CONTRAST, opened

HERE = "/settings/flows"
FORM: Fields = [("name", "退换登记"), ("s.0.kind", "choice"), ("s.0.question", "{{contact.name}}您好，要怎么处理？"),
                ("s.0.options", "退货，换货"), ("s.0.name", "处理方式"), ("s.1.kind", "phone"),
                ("s.1.question", "手机号是多少？"), ("s.1.name", "手机号"), ("s.1.save", "contact:phone"),
                ("a.0.kind", "hand_off"), ("a.0.to", "people"), ("minutes", "30"),
                ("when_silent", "people")]  # fmt: skip


async def test_it_is_written_kept_switched_and_started(site: Site) -> None:
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    zhou = site.seed.conversations["周予安"]
    said = "依次问处理方式（选一个：退货或换货）、手机号（电话），然后转交人工；对方超过30分钟没有回复，就转交人工"
    assert said in (await lin.post(HERE + "/preview", FORM)).text
    here = (await lin.post(HERE, FORM)).headers["location"]
    number = here.rsplit("/", 1)[-1]
    page = (await lin.get(here)).text
    assert '<option value="contact:phone" selected>联系人的电话' in page
    assert "新流程" not in page
    # Who only answers sees it, and changes nothing.
    assert "只有负责人、管理员和看全部收件箱的主管可以修改流程" in (await chen.get(here)).text
    for path in (here, here + "/on", here + "/remove", HERE):
        assert (await chen.post(path, [*FORM, ("revision", "1")])).status == 422
    # It is off at first, and says so.
    off = await lin.post(f"/conversations/{zhou}/flows/{number}", hx_request="true")
    assert (off.status, off.text) == (409, "这个流程已停用。")
    assert (await lin.post(here + "/on")).status == 303
    refused = await lin.post(here, [*FORM, ("s.2.kind", "code"), ("s.2.question", "单号？"), ("revision", "2")])
    assert (refused.status, "第3个问题还没有填好：还没写编号是什么样子。" in refused.text) == (422, True)
    assert (await lin.post(here, [*FORM[1:], ("name", "退换"), ("revision", "1")])).status == 422  # changed meanwhile
    # An agent starts it: the contact is asked, and the assistant's side has the conversation.
    started = await chen.post(f"/conversations/{zhou}/flows/{number}", {"queue": "all"})
    assert (started.status, "已开始流程“退换登记”" in started.text) == (200, True)
    thread = (await chen.get(f"/conversations/{zhou}")).text
    assert "<b>陈默</b>开始了流程<b>退换登记</b>" in thread
    assert "周予安您好，要怎么处理？" in thread
    again = await chen.post(f"/conversations/{zhou}/flows/{number}", hx_request="true")
    assert (again.status, again.text) == (409, "这里已经有流程在进行。")
    assert "还在问" in (await lin.get(here)).text
    # Whoever takes the conversation over ends it.
    assert (await chen.post(f"/conversations/{zhou}/assign", {"to": "me"})).status == 200
    thread = (await chen.get(f"/conversations/{zhou}")).text
    assert "流程中断了" in thread
    assert "被中断" in (await lin.get(here)).text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set inbox_ids = '{}' where name = '陈默'")
    page = (await chen.get(here)).text  # whom it asked is not for who may not see that inbox
    assert ("退换登记" in page, "被中断" in page) == (True, False)
    assert (await chen.post(f"/conversations/{zhou}/flows/{number}")).status == 404
    assert (await lin.post(here + "/remove")).status == 303
    assert (await lin.get(here)).status == 404
    for kind in ("flow_added", "flow_changed", "flow_removed", "flow_started"):
        assert "退换登记" in (await lin.get(f"/settings/audit?about={kind}")).text, kind


async def test_it_is_tried_without_leaving_a_trace(site: Site) -> None:
    lin = await site.signed_in()
    begun = (await lin.post(HERE + "/try", FORM)).text
    assert "周予安您好，要怎么处理？" in begun
    assert 'value="换货"' in begun
    said = [("said", "换货"), ("said", "不知道"), ("say", "13800138000")]
    tried = (await lin.post(HERE + "/try", [*FORM, *said])).text
    for words in ("这看起来不是完整的电话号码", "问完了", "手机号</span>：13800138000"):
        assert words in tried
    assert "对方要求人工" in (await lin.post(HERE + "/try", [*FORM, ("say", "转人工")])).text
    assert "还没有填好" in (await lin.post(HERE + "/try", FORM[:1])).text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await tx.value("select count(*) from flow") == 0
        assert await tx.value("select count(*) from message where author = 'flow'") == 0


@pytest.mark.browser
async def test_a_flow_is_written_tried_and_started_by_keyboard(site: Site, enter: Visit) -> None:
    page = await enter()
    await page.goto(site.url + HERE + "/new")
    await expect(page.locator("#said")).to_contain_text("第1个问题还没有填好")
    await page.fill('[name="s.0.question"]', "订单号是多少？")
    await page.select_option('[name="s.0.kind"]', "code")
    await page.fill('[name="s.0.pattern"]', r"DD\d{8}")
    await page.get_by_role("button", name="加问题").click()
    await page.fill('[name="s.1.question"]', "要怎么处理？")
    await page.select_option('[name="s.1.kind"]', "choice")
    await page.fill('[name="s.1.options"]', "退货，换货")
    await page.get_by_role("group", name="第2个问题").get_by_role("button", name="上移").click()
    await expect(page.locator("#said")).to_contain_text(
        "依次问要怎么处理？（选一个：退货或换货）、订单号是多少？（编号）"
    )
    await page.fill(".name", "退换登记")
    await page.get_by_role("button", name="开始", exact=True).click()
    await page.locator("#trial").get_by_role("button", name="换货").click()
    await expect(page.locator("#trial")).to_contain_text("订单号是多少？")
    await page.fill('#trial [name="say"].pill', "DD20261120")
    await page.press('#trial [name="say"].pill', "Enter")
    await expect(page.locator("#trial")).to_contain_text("问完了")
    await expect(page.locator("#trial")).to_contain_text("DD20261120")
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    await page.emulate_media(color_scheme="dark")
    await holds(page, STILL)
    assert await page.evaluate(CONTRAST) == []
    await page.press(".name", "Enter")
    await page.wait_for_url(re.compile(HERE + r"/\d+$"))
    await page.get_by_role("switch", name="启用退换登记").click()
    await expect(page.locator(".rules__main .chip").first).to_contain_text("已启用")
    await page.goto(site.url + "/?queue=all")
    await page.wait_for_selector("html[data-ready]")
    await opened(page, "马骁")
    await page.keyboard.press("Control+k")
    await page.fill("#cmd-q", "退换登记")
    await page.get_by_role("option", name="开始流程退换登记").click()
    await expect(page.locator(".act", has_text="林晓开始了流程退换登记")).to_have_count(1)
    await expect(page.locator("#thread")).to_contain_text("要怎么处理？")
