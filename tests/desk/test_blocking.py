"""A contact is blocked and unblocked by hand: beside a conversation, on their page, in the command bar."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_accessibility import faults
from tests.desk.test_browser import opened, says
from tests.desk.test_command import do
from tests.desk.test_contact import contact_of
from tests.desk.test_groups import talks
from tests.twin import open_inbox
from zhiban.conversations.ingest import ingest
from zhiban.ports import IncomingMessage, Kind, SenderRole

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


async def standing(site: Site, who: str) -> tuple[str, bool, int | None]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        found = await tx.row(
            "select status, muted_at is not null, assignee_id from conversation where id = %(id)s",
            id=site.seed.conversations[who],
        )
    assert found is not None
    return tuple(found)  # type: ignore[return-value]


async def test_who_is_blocked_calls_nobody_until_they_are_unblocked(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    here = f"/conversations/{zhou}"
    before = (await agent.get(here)).text
    assert "对方在各处的会话都会解决" in before  # asked and told before it happens
    done = await agent.post(f"{here}/block", {"queue": "mine"}, hx_request="true")
    assert "已屏蔽，会话已解决" in done.text
    assert f'hx-post="{here}/undo-block"' in done.text
    assert (await standing(site, "周予安"))[:2] == ("resolved", True)
    await says(site, "周予安", "在吗在吗")
    assert (await standing(site, "周予安"))[:2] == ("resolved", True)
    page = (await agent.get(here)).text
    assert "<b>林晓</b>屏蔽了对方" in page
    assert "在吗在吗" in page
    assert 'id="unblock"' in page
    assert 'id="menu-block"' not in page
    again = await agent.post(f"{here}/block", {"queue": "mine"}, hx_request="true")
    assert again.status == 200
    unblocked = await agent.post(f"{here}/unblock", hx_request="true")
    assert "已取消屏蔽" in unblocked.text
    assert "<b>林晓</b>取消了屏蔽" in unblocked.text
    assert (await standing(site, "周予安"))[:2] == ("resolved", False)
    await says(site, "周予安", "还在吗")
    assert (await standing(site, "周予安"))[:2] == ("pending", False)


async def test_a_block_is_undone_with_what_it_resolved_by_whoever_did_it_in_time(site: Site) -> None:
    agent, chen, zhou = (
        await site.signed_in(),
        await site.signed_in("chenmo"),
        site.seed.conversations["周予安"],
    )
    here, before = f"/conversations/{zhou}", await standing(site, "周予安")
    await agent.post(f"{here}/block", hx_request="true")
    assert (await chen.post(f"{here}/undo-block", hx_request="true")).status == 409
    assert (await standing(site, "周予安"))[:2] == ("resolved", True)
    undone = await agent.post(f"{here}/undo-block", {"queue": "mine"}, hx_request="true")
    assert undone.headers["hx-redirect"] == f"{here}?queue=mine&status=open"
    assert await standing(site, "周予安") == before
    await agent.post(f"{here}/block", hx_request="true")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update contact set blocked_at = blocked_at - %(late)s", late=timedelta(seconds=10))
    late = await agent.post(f"{here}/undo-block", hx_request="true")
    assert (late.status, late.text) == (409, "来不及撤销了，可以取消屏蔽。")


async def test_the_page_of_a_contact_blocks_and_unblocks_them_and_merging_asks_for_it(site: Site) -> None:
    agent, zhou, ma = await site.signed_in(), await contact_of(site, "周予安"), await contact_of(site, "马骁")
    assert "对方发骚扰消息时屏蔽" in (await agent.get(f"/contacts/{zhou}")).text
    done = await agent.post(f"/contacts/{zhou}/block")
    assert (done.status, done.headers["location"]) == (303, f"/contacts/{zhou}#h-block")
    page = (await agent.get(f"/contacts/{zhou}")).text
    assert f'action="/contacts/{zhou}/unblock"' in page
    assert (await standing(site, "周予安"))[:2] == ("resolved", True)
    refused = await agent.post(f"/contacts/{zhou}/merge", {"other": str(ma)})
    assert refused.status == 422
    assert "屏蔽" in refused.text
    assert (await agent.post(f"/contacts/{zhou}/unblock")).status == 303
    assert f'action="/contacts/{zhou}/block"' in (await agent.get(f"/contacts/{zhou}")).text
    assert (await agent.post(f"/contacts/{zhou}/merge", {"other": str(ma)})).status == 303


async def test_who_sees_some_of_their_inboxes_alone_blocks_nobody(site: Site) -> None:
    """It would resolve what is kept from them."""
    now, who = site.seed.clock.now(), site.seed.threads["周予安"]
    other = await open_inbox(
        site.seed.database, site.seed.workspace_id, channel=site.seed.inbox.kind, public_id="other", name="别处"
    )
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        elsewhere = IncomingMessage("elsewhere", who, who, SenderRole.CONTACT, Kind.TEXT, "在吗", now)
        await ingest(tx, other, [elsewhere], now=now, process_id=1)
        await tx.run(
            "update agent set inbox_ids = %(ids)s where id = %(id)s",
            ids=[site.seed.inbox.inbox_id],
            id=site.seed.agents["陈默"],
        )
    chen = await site.signed_in("chenmo")
    refused = await chen.post(f"/conversations/{site.seed.conversations['周予安']}/block", hx_request="true")
    assert (refused.status, "您看不到的收件箱" in refused.text) == (409, True)
    assert (await standing(site, "周予安"))[1] is False
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        theirs = await tx.values(
            "select muted_at from conversation where contact_id = %(id)s", id=await contact_of(site, "周予安")
        )
    assert theirs == [None, None]


async def test_a_group_is_not_blocked_and_a_member_is_on_their_page(site: Site) -> None:
    agent, group = await site.signed_in(), await talks(site)
    refused = await agent.post(f"/conversations/{group}/block", hx_request="true")
    assert (refused.status, refused.text) == (409, "不能屏蔽一个群；要屏蔽某个成员，在成员的页面上做。")
    assert (await agent.post(f"/conversations/{group}/undo-block", hx_request="true")).status == 409
    assert "menu-block" not in (await agent.get(f"/conversations/{group}")).text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        yang = await tx.value("select contact_id from participant where external_id = 'yang'")
    assert (await agent.post(f"/contacts/{yang}/block")).status == 303
    assert "在群里说的话，助手不理" in (await agent.get(f"/contacts/{yang}")).text
    assert (await agent.post(f"/contacts/{yang}/unblock")).status == 303
    log = (await agent.get("/settings/audit?group=conversations")).text
    assert ("屏蔽了群成员" in log, "取消屏蔽群成员" in log) == (True, True)
    # One that was blocked as a whole, as rules once could, is let speak again.
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update conversation set muted_at = now() where id = %(id)s", id=group)
    assert "这个群已被屏蔽" in (await agent.get(f"/conversations/{group}")).text
    assert "已取消屏蔽" in (await agent.post(f"/conversations/{group}/unblock", hx_request="true")).text
    assert "这个群已被屏蔽" not in (await agent.get(f"/conversations/{group}")).text


@pytest.mark.browser
async def test_the_command_bar_asks_before_it_blocks(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await do(page, "屏蔽", "屏蔽联系人")
    sure = page.locator("#menu-block form button")
    await expect(sure).to_be_focused()
    assert (await standing(site, "周予安"))[1] is False
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "block.png")
    await page.keyboard.press("Escape")
    await expect(sure).to_be_hidden()
    assert await faults(page) == []
    await do(page, "屏蔽", "屏蔽联系人")
    await expect(sure).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#toasts")).to_contain_text("已屏蔽，会话已解决")
    await page.locator("#toasts button").click()
    await expect(page.locator("#thread")).to_have_attribute("data-id", str(site.seed.conversations["周予安"]))
    await expect(page.locator("#menu-block")).to_be_attached()
    assert (await standing(site, "周予安"))[1] is False
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.context.add_cookies([{"name": "zhiban_locale", "value": "en", "url": site.url}])
    for address in (
        f"/conversations/{site.seed.conversations['周予安']}",
        f"/contacts/{await contact_of(site, '周予安')}",
    ):
        await page.goto(site.url + address)
        summary = page.locator("#menu-block summary, #block-contact summary")
        if "conversations" in address:
            await page.locator(".thread__card").click()
        await summary.click()
        if PICTURES:
            await page.wait_for_timeout(400)
            await page.screenshot(path=Path(PICTURES) / f"block-{address[1:6]}.png")
        assert await faults(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
