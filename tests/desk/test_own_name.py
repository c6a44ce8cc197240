"""Everybody changes their own name, and whoever forgot their password reads whom to ask."""

from __future__ import annotations

import pytest

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_accessibility import faults


async def test_ones_own_name_is_changed_everywhere_and_stands_in_the_log(site: Site) -> None:
    chen, zhou = await site.signed_in("chenmo"), site.seed.conversations["周予安"]
    await chen.post(f"/conversations/{zhou}/notes", {"text": "我看过了"})
    for name in ("", "  "):
        refused = await chen.post("/me/name", {"name": name})
        assert (refused.status, "名字不能空着。" in refused.text) == (422, True)
    assert (await chen.post("/me/name", {"name": "长" * 81})).status == 422
    done = await chen.post("/me/name", {"name": " <b>陈墨</b> "})
    assert (done.status, done.headers["location"]) == (303, "/me")
    assert 'value="&lt;b&gt;陈墨&lt;/b&gt;"' in (await chen.get("/me")).text
    owner = await site.signed_in()
    assert "&lt;b&gt;陈墨&lt;/b&gt;" in (await owner.get(f"/conversations/{zhou}")).text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        (told,) = await tx.values("select data from event where kind = 'agent_changed'")
    assert (told["before"], told["after"]) == ({"name": "陈默"}, {"name": "<b>陈墨</b>"})


async def test_whoever_forgot_their_password_reads_whom_to_ask(site: Site) -> None:
    assert "忘了密码？请管理员给您一个设置密码的链接" in (await site.client().get("/login")).text


@pytest.mark.browser
async def test_the_page_of_oneself_keeps_the_rules(site: Site, enter: Visit) -> None:
    page = await enter()
    await page.goto(f"{site.url}/me")
    await page.get_by_label("我的名字").fill("林小晓")
    await page.locator("form[action='/me/name'] button").click()
    await page.wait_for_load_state()
    assert await page.get_by_label("我的名字").input_value() == "林小晓"
    assert await faults(page) == []
