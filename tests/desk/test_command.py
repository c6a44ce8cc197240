"""The command bar: what is done and where one gets to without a pointer."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page, expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_accessibility import faults
from tests.desk.test_browser import opened
from tests.desk.walking import addresses

PICTURES = os.environ.get("ZHIBAN_PICTURES", "")


async def test_it_offers_what_is_called_so_and_only_what_one_may_see(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    bar = (await agent.get("/command")).text
    assert '<a class="opt" role="option" tabindex="-1" href="/settings/macros">' in bar
    found = (await agent.get("/command?q=周予")).text
    assert re.findall(r'href="(/conversations/[^"]+)"', found) == [f"/conversations/{zhou}?queue=all&amp;status=open"]
    assert "<mark>周予</mark>安" in found
    assert f"#{zhou} 周予安" in (await agent.get(f"/command?q=%23{zhou}")).text
    assert "gunzip</mark>" in (await agent.get("/command?q=gunzip")).text
    assert "&lt;b&gt;" in (await agent.get("/command?q=<b>")).text
    assert (await agent.get(f"/command?q={10**17}")).status == 200
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run(
            "update agent set role = 'read_only', inbox_ids = '{}' where id = %(id)s", id=site.seed.agents["陈默"]
        )
    nobody = await site.signed_in("chenmo")
    assert "/settings/macros" not in (await nobody.get("/command")).text
    for typed in ("周予", f"{zhou}", "gunzip"):
        assert "/conversations/" not in (await nobody.get(f"/command?q={typed}")).text


async def test_it_finds_every_page_of_the_settings_that_their_rail_shows_and_no_other(site: Site) -> None:
    def in_rail(page: str) -> set[str]:
        return set(re.findall(r'<a class="nav" href="([^"]+)"', page.split('id="rail"')[1].split("</aside>")[0]))

    for role in ("owner", "admin", "supervisor", "agent", "read_only"):
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await tx.run("update agent set role = %(role)s where id = %(id)s", role=role, id=site.seed.agents["陈默"])
        agent = await site.signed_in("chenmo")
        bar = set(re.findall(r'role="option" tabindex="-1" href="([^"]+)"', (await agent.get("/command")).text))
        rail = in_rail((await agent.get("/settings/labels")).text)
        assert "/settings/labels" in rail
        assert {one for one in bar if one.startswith("/settings/")} - {"/settings/teams", "/settings/health"} == rail
        if role == "owner":
            routes = {one.removeprefix("GET ") for one in addresses(site) if one.startswith("GET /settings/")}
            pages = {one for one in routes if one.count("/") == 2 and "{" not in one}
            assert (pages | {"/tickets"}) <= bar


async def do(page: Page, typed: str, choice: str) -> None:
    """Open the bar, type, and press Enter on the first option, which has these words."""
    await page.keyboard.press("Control+k")
    await expect(page.get_by_role("combobox", name="搜索或跳转")).to_be_focused()
    await page.keyboard.type(typed)
    first = page.locator("#cmd .opt[aria-selected=true]")
    await expect(first).to_contain_text(choice)
    assert await page.get_attribute("#cmd-q", "aria-activedescendant") == await first.get_attribute("id")
    await page.keyboard.press("Enter")


@pytest.mark.browser
async def test_it_snoozes_until_a_time_that_is_typed_or_chosen(site: Site, enter: Visit) -> None:
    page, zone = await enter(), ZoneInfo("Asia/Shanghai")
    await opened(page, "周予安")
    await do(page, "自己选", "搁置：自己选时间")
    await expect(page.locator("#snooze-at")).to_be_focused()
    await page.keyboard.press("Escape")
    await do(page, "搁置 2020-01-01 9:00", "搁置：到2020年1月1日 09:00")
    await expect(page.locator("#snooze-why")).to_have_text("回来的时间要在以后。")
    await page.keyboard.press("Escape")
    back = (site.seed.clock.now() + timedelta(days=3)).astimezone(zone)
    await do(page, f"搁置 {back:%m-%d} 9点半", f"搁置：到{back.year}年{back.month}月{back.day}日 09:30")
    await expect(page.locator("#toasts")).to_contain_text("09:30")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        until = await tx.value(
            "select snoozed_until from conversation where id = %(id)s", id=site.seed.conversations["周予安"]
        )
    assert until == back.replace(hour=9, minute=30, second=0, microsecond=0)
    # What is only looked for snoozes nothing.
    await page.keyboard.press("Control+k")
    await page.locator("#cmd-q").fill(f"{back:%Y-%m-%d}")
    await expect(page.locator("#cmd-said")).to_have_text(re.compile("项"))
    await expect(page.locator("#cmd .opt:visible", has_text="搁置：到")).to_have_count(0)


READ = """async ([cases, zone, now]) => {
  const bar = document.querySelector("script[src*='command.js']").src;
  const times = await import(bar.replace("command.js", "lazy/times.js"));
  return cases.map((one) => times.read(one, zone, new Date(now))?.value ?? null);
}"""


@pytest.mark.browser
async def test_times_are_read_on_the_clock_of_the_desk(enter: Visit) -> None:
    page = await enter()
    cases = {
        "搁置 15:30": "2026-12-01T15:30",  # it is over for today
        "搁置17:00": "2026-11-30T17:00",
        ">明天 9点半": "2026-12-01T09:30",
        "snooze tomorrow 3pm": "2026-12-01T15:00",
        "搁置：2027-01-02": "2027-01-02T09:00",
        "gz 下午3点": "2026-12-01T15:00",
        "搁置 1月3号": "2027-01-03T09:00",
        "> 12/5 24:00": None,
        "搁置 2-30 9:00": None,
        "搁置 12": None,
        "搁置": None,
        "12-05 9:00": None,
    }
    said = await page.evaluate(READ, [[*cases], "Asia/Shanghai", "2026-11-30T08:10:00Z"])
    assert dict(zip(cases, said, strict=True)) == cases
    away = await page.evaluate(READ, [["搁置 15:30", "搁置 明天"], "Pacific/Honolulu", "2026-11-30T08:10:00Z"])
    assert away == ["2026-11-30T15:30", "2026-11-30T09:00"]


@pytest.mark.browser
async def test_everything_by_keys_alone(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.keyboard.press("Control+k")
    await expect(page.locator("#cmd-now")).to_have_text("当前会话 · 周予安")
    assert await faults(page) == []
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "command-light.png")
    await page.keyboard.type("zzzz")
    await expect(page.locator("#cmd-said")).to_have_text(re.compile("1项"))  # to search all messages for it
    await page.keyboard.press("Escape")
    await expect(page.locator("#compose-reply")).to_be_focused()
    await do(page, "yxjjj", "优先级：紧急")
    await expect(page.locator("#menu-priority summary")).to_have_attribute("aria-label", "优先级：紧急")
    await do(page, "> 标签缺陷", "加上标签缺陷")
    await expect(page.locator("#labelled .tags")).to_contain_text("缺陷")
    await do(page, "fpgcm", "分配给陈默")
    await expect(page.locator("summary.owner")).to_have_accessible_name("处理人：陈默")
    await do(page, "xbz", "写备注")
    await expect(page.locator("#compose-note")).to_be_focused()
    await do(page, "@沈嘉", "沈嘉宁")
    await expect(page.locator("#thread-name")).to_have_text("沈嘉宁")
    await expect(page.locator("html[data-ready]")).to_be_attached()  # it was opened anew
    await do(page, "解决", "解决")
    await expect(page.locator("#toasts")).to_contain_text("已解决")
    await do(page, "深色", "深色外观")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.wait_for_selector("html[data-ready]")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.keyboard.press("Control+k")
    await expect(page.locator("#cmd-q")).to_be_focused()
    await page.keyboard.type("发票")
    await expect(page.locator("#cmd [aria-labelledby=cmd-messages] .opt")).to_have_count(2)
    assert await faults(page) == []
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / "command-dark.png")
