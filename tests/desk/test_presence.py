"""Saying whether one is there, in the desk's own frame, and seeing it of colleagues without a reload."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import unquote

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site


async def test_the_switch_the_heartbeat_and_what_colleagues_see(site: Site) -> None:
    lin, chen = (str(site.seed.agents[name]) for name in ("林晓", "陈默"))
    agent, colleague = await site.signed_in(), await site.signed_in("chenmo")
    assert (await agent.post("/presence/beat")).status == 204
    seen = json.loads((await colleague.get("/presence")).text)
    assert (seen[lin], seen[chen]) == (["online", "在线"], ["offline", "离线"])
    back = await agent.post("/presence", {"status": "busy", "back": "/me"})
    assert (back.status, back.headers["location"]) == (303, "/me")
    assert (await agent.post("/presence", {"status": "busy"}, accept="application/json")).status == 204
    assert (await agent.post("/presence", {"status": "busy", "back": "//evil"})).headers["location"] == "/"
    assert json.loads((await colleague.get("/presence")).text)[lin][0] == "busy"
    assert 'value="busy" aria-pressed="true"' in (await agent.get("/me")).text
    assert (await agent.post("/presence", {"status": "away"})).status == 422
    assert (await agent.post("/presence/beat", origin="https://evil.example")).status == 403
    stranger = site.client()
    assert (await stranger.post("/presence/beat")).status == 401
    assert (await stranger.get("/presence")).status == 303
    assert (await stranger.post("/presence", {"status": "online"})).status == 303


async def test_two_windows_that_open_conversations_do_not_wait_for_each_other(site: Site) -> None:
    agent, zhou, other = await site.signed_in(), *list(site.seed.conversations.values())[:2]
    assert (await agent.post(f"/conversations/{zhou}/viewing")).status == 200
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update conversation_viewer set seen_at = seen_at - interval '5 minutes'")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        # The other window says that it shows the first again, and is not done with it.
        await tx.run("update conversation_viewer set seen_at = now()")
        async with asyncio.timeout(20):
            assert (await agent.post(f"/conversations/{other}/viewing")).status == 200
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        shown = await tx.rows("select conversation_id from conversation_viewer order by conversation_id")
    assert shown == [(one,) for one in sorted((zhou, other))]


@pytest.mark.browser
async def test_a_colleague_who_comes_and_goes_is_seen_at_once(site: Site, visit: Visit, enter: Visit) -> None:
    page = await enter()
    await page.click(".conv:has-text('周予安')")
    await page.click("#menu-owner summary")
    colleague = page.locator("#menu-owner .opt", has_text="陈默")
    await expect(colleague).to_contain_text("离线")
    own = page.locator("#menu-me summary .dot")
    await expect(own).to_have_attribute("data-on", "online")

    other = await site.signed_in("chenmo")
    assert (await other.post("/presence/beat")).status == 204
    await expect(colleague).to_contain_text("在线")
    await expect(colleague.locator(".dot")).to_have_attribute("data-on", "online")
    assert (await other.post("/presence", {"status": "busy"})).status == 303
    await expect(colleague).to_contain_text("忙碌")
    await expect(page.locator("#menu-owner")).to_have_attribute("open", "")

    # Who has it open stands in its head, without a reload.
    viewers, here = page.locator("#viewers"), f"/conversations/{site.seed.conversations['周予安']}"
    await other.post(f"{here}/viewing")
    await expect(viewers).to_contain_text("也开着这个会话：陈默")
    await other.post(f"{here}/left")
    await expect(viewers).to_be_empty()

    # What they type is told while they do; it ends when they send it, and by itself when they go away.
    zhou, line = site.seed.conversations["周予安"], page.locator("#typing")
    await other.post(f"/conversations/{zhou}/draft", {"text": "我来查一下", "mode": "note"})
    await expect(line).to_have_text("陈默正在写备注…")
    await other.post(f"/conversations/{zhou}/notes", {"text": "我来查一下"})
    await expect(line).to_be_empty()
    suhe = await site.signed_in("suhe")
    await page.clock.install()
    await suhe.post(f"/conversations/{zhou}/draft", {"text": "您好，"})
    await expect(line).to_have_text("苏禾正在输入…")
    await page.clock.fast_forward(7000)
    await expect(line).to_be_empty()
    async with page.expect_request(f"**/conversations/{zhou}/draft") as saved:
        for _ in range(5):  # typing on without a rest is told, too
            await page.locator("#compose-reply").press_sequentially("好")
            await page.clock.run_for(500)
    assert 0 < unquote((await saved.value).post_data or "").count("好") < 5

    await page.click("#menu-me summary")
    await expect(page.locator("#menu-owner")).not_to_have_attribute("open", "")
    await page.locator("#menu-me .opt", has_text="离线").click()
    await expect(own).to_have_attribute("data-on", "offline")
    await expect(page.locator("#menu-me")).not_to_have_attribute("open", "")
    await page.goto(site.url + "/me")
    await expect(page.locator("main [name=status][value=offline]")).to_have_attribute("aria-pressed", "true")
    await page.locator("main [name=status][value=online]").click()
    await expect(page.locator("#menu-me summary .dot")).to_have_attribute("data-on", "online")
