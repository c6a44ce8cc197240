"""The pages of tickets as people use them: the board by mouse and keys, the list, one ticket and what hangs on it."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_accessibility import faults
from tests.desk.test_tickets import rows
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.tickets.models import NewTicket
from zhiban.tickets.service import open_ticket

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


async def three(site: Site) -> list[int]:
    """Tickets of a conversation of 周予安."""
    seed, found = site.seed, []
    async with seed.database.transaction(seed.workspace_id) as tx:
        for n, title in enumerate(("验签失败", "授权码过期", "导出乱码")):
            new = NewTicket(
                title,
                priority=Priority.HIGH if n else Priority.NONE,
                owner_id=seed.agents["陈默"] if n else None,
                labels=(seed.labels["缺陷"],),
                conversation_id=seed.conversations["周予安"],
                inbox_id=seed.inbox.inbox_id,
            )
            found.append((await open_ticket(tx, new, key=f"t{n}", by=SYSTEM, now=seed.clock.now())).id)
    return found


async def test_one_lives_with_tickets(site: Site, visit: Visit) -> None:
    first, second, _ = await three(site)
    cookie = (COOKIE, await site.session())
    page = await visit(site.url + "/tickets?view=board", cookie=cookie)
    column = page.locator(".col[data-state=in_progress]")
    await page.locator(f".slip[data-id='{first}']").drag_to(column)
    await expect(column.locator(".slip b")).to_have_text("验签失败")
    await page.locator(f".slip[data-id='{second}']").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator(f".slip[data-id='{first}']")).to_be_focused()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Shift+ArrowRight")
    await expect(column.locator(".slip")).to_have_count(2)
    await expect(page.locator("#board-said")).to_have_text("已移到处理中")
    await page.keyboard.press("Shift+ArrowRight")
    await expect(page.locator(".col[data-state=waiting] .slip b")).to_have_text("授权码过期")
    await expect(page.locator(f".slip[data-id='{second}']")).to_be_focused()
    assert await faults(page) == []
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "board.png")
    assert await rows(site, "select state from ticket order by id") == [("in_progress",), ("waiting",), ("open",)]

    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/tickets/{second}")
    await page.locator("[name=comment]").fill("等对方给日志 13800006021")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".cm__say")).to_have_text("等对方给日志 138****6021")
    await page.locator("[name=link]").fill(f"#{site.seed.conversations['赵一鸣']}")
    await page.get_by_role("button", name="关联", exact=True).click()
    await expect(page.get_by_role("button", name="取消关联赵一鸣")).to_be_visible()
    await page.select_option("[name=watcher]", label="苏禾")
    await page.get_by_role("button", name="加进去").click()
    await expect(page.get_by_role("button", name="苏禾不再关注")).to_be_visible()
    assert await faults(page) == []
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "ticket.png")
    await page.get_by_role("button", name="取消关联赵一鸣").click()
    await expect(page.get_by_role("button", name="取消关联赵一鸣")).to_have_count(0)
    await page.get_by_role("button", name="苏禾不再关注").click()
    assert await rows(site, "select count(*)::int from ticket_conversation where ticket_id = 2") == [(1,)]
    assert await rows(site, "select count(*)::int from ticket_watcher") == [(0,)]
    if PICTURES:
        for name, how in (
            ("dark", {"dark": True}),
            ("en", {"locale": "en-US"}),
            ("390", {"width": 390, "height": 844}),
        ):
            other = await visit(f"{site.url}/tickets/{second}", cookie=cookie, **how)
            await other.screenshot(path=Path(PICTURES) / f"ticket-{name}.png")


async def test_only_what_one_sees_is_tied_to_a_ticket(site: Site) -> None:
    seed = site.seed
    ticket, *_ = await three(site)
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=seed.agents["陈默"])
        await tx.run("update agent set role = %(r)s where id = %(id)s", r=Role.READ_ONLY, id=seed.agents["苏禾"])
        general = await open_ticket(tx, NewTicket("大家的"), key="g", by=SYSTEM, now=seed.clock.now())
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    theirs = str(seed.conversations["周予安"])
    assert (await chen.post(f"/tickets/{general.id}", {"link": theirs})).status == 422
    assert (await lin.post(f"/tickets/{ticket}", {"link": "999999"})).status == 422
    assert (await lin.post(f"/tickets/{ticket}", {"unlink": theirs})).status == 422  # where it comes from
    assert (await lin.post(f"/tickets/{ticket}", {"watcher": str(seed.agents["陈默"])})).status == 422
    assert (await lin.post(f"/tickets/{ticket}", {"watcher": str(seed.agents["苏禾"])})).status == 303
    assert await rows(site, "select agent_id from ticket_watcher") == [(seed.agents["苏禾"],)]
