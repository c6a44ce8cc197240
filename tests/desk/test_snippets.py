"""Snippets at the desk: kept on a page, offered behind a slash, filled for the open conversation and no other."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import expect

from tests.browser import Visit, holds
from tests.desk.conftest import Client, Site
from tests.desk.seed import create_seed
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import BOX, CONTRAST, opened

HERE = "/settings/snippets"


async def offered(agent: Client, conversation: int) -> dict[str, str]:
    told = json.loads((await agent.get(f"/conversations/{conversation}/snippets")).text)
    return {one["name"]: "".join(part["text"] for part in one["parts"]) for one in told}


async def test_they_are_filled_for_one_conversation_and_leak_nothing(site: Site) -> None:
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    zhou, ma = site.seed.conversations["周予安"], site.seed.conversations["马骁"]
    text = "{{contact.name}}您好，我是{{agent.name}}，编号{{conversation.number}}，{{team.name|值班的人}}"
    assert (await lin.post(HERE, {"name": "问候", "text": text, "shared": "true"})).status == 303
    assert (await lin.post(HERE, {"name": "我的", "text": "只有我"})).status == 303
    # What colleagues call a contact is not for the contact's eyes.
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update contact set remark = '难缠的周总' where name = '周予安'")
        await tx.run("update contact set name = '{{agent.name}}<b>' where name = '马骁'")
    assert await offered(lin, zhou) == {"问候": f"周予安您好，我是林晓，编号{zhou}，值班的人", "我的": "只有我"}
    assert await offered(chen, ma) == {"问候": f"{{{{agent.name}}}}<b>您好，我是陈默，编号{ma}，值班的人"}
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    assert (await lin.get(f"/conversations/{other.conversations['周予安']}/snippets")).status == 404


async def test_everybody_keeps_their_own_and_managers_those_of_all(site: Site) -> None:
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    await lin.post(HERE, {"name": "发票说明", "text": "在订单里申请", "shared": "true"})
    await lin.post(HERE, {"name": "私下", "text": "别人看不到"})
    ids = re.findall(HERE + r"/(\d+)\"", (await lin.get(HERE)).text)
    shared, private = int(ids[0]), int(ids[-1])
    page = (await chen.get(HERE)).text
    assert "发票说明" in page
    assert "私下" not in page
    assert f'action="{HERE}/' not in page
    for path, data, status in (
        (HERE, {"name": "x", "text": "x", "shared": "true"}, 422),
        (f"{HERE}/{shared}", {"name": "x", "text": "x"}, 422),
        (f"{HERE}/{shared}/remove", {}, 422),
        (f"{HERE}/{private}", {"name": "x", "text": "x"}, 404),
        (f"{HERE}/{private}/remove", {}, 404),
    ):
        assert (await chen.post(path, data)).status == status, path
    assert (await chen.post(HERE, {"name": "我的<i>", "text": "<script>"})).status == 303
    assert "我的&lt;i&gt;" in (await chen.get(HERE)).text
    refused = await lin.post(f"{HERE}/{shared}", {"name": "发票说明", "text": "{{contact.phone}}"})
    assert (refused.status, "没有变量“contact.phone”" in refused.text) == (422, True)
    assert "{{contact.phone}}" in refused.text  # what was typed stays
    assert (await lin.post(f"{HERE}/{shared}", {"name": "开票", "text": "申请"})).status == 303
    assert (await lin.post(f"{HERE}/{shared}/remove")).status == 303
    assert (await lin.post(f"{HERE}/{shared}/remove")).status == 404
    assert "开票" not in (await lin.get(HERE)).text


@pytest.mark.browser
async def test_a_slash_offers_them_and_what_was_empty_is_said_before_sending(site: Site, enter: Visit) -> None:
    lin = await site.signed_in()
    texts = {
        "发票说明": "{{contact.name}}您好，发票在订单里申请。",
        "发版确认": "{{team.name}}会在今晚确认。",
        "稍候": "请稍候",
    }
    for name, text in texts.items():
        await lin.post(HERE, {"name": name, "text": text, "shared": "true"})
    page = await enter()
    await opened(page, "周予安")
    box, options = page.locator(BOX), page.locator("#slash .opt")
    await page.keyboard.type("/")
    await expect(options).to_have_count(3)
    await page.keyboard.type("fp")
    await expect(options).to_have_text(["发票说明"])
    await expect(page.locator("#slash-text")).to_have_text("周予安您好，发票在订单里申请。")
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("周予安您好，发票在订单里申请。")
    await expect(page.locator("#compose-warn")).to_be_hidden()
    await page.keyboard.press("Control+z")
    await expect(box).to_have_value("/fp")
    await page.keyboard.press("Escape")
    await expect(page.locator("#slash")).to_be_hidden()
    await page.keyboard.press("Control+a")
    await page.keyboard.type("和/或 http://x 您看 /")
    await expect(options).to_have_count(3)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("和/或 http://x 您看 我们的同事会在今晚确认。")
    await expect(page.locator("#compose-warn")).to_contain_text("会话的小组是空的，写成了“我们的同事”，发送前看一眼")
    # The next conversation knows nothing of this one, and what is offered there is its own.
    await opened(page, "沈嘉宁")
    await expect(page.locator("#compose-warn")).to_be_hidden()
    await page.keyboard.type("/发票")
    await expect(page.locator("#slash-text")).to_contain_text("沈嘉宁您好")
    await page.emulate_media(color_scheme="dark")
    await holds(page, STILL)
    assert await page.evaluate(CONTRAST) == []
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages .msg", has_text="沈嘉宁您好，发票在订单里申请。")).to_have_count(1)
    await page.goto(site.url + HERE)
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
