"""Emoji in the composer: found by name in both languages, put where one writes, and nothing of it loaded before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Request, expect

import zhiban
from tests.browser import Visit, holds
from tests.desk.conftest import Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import BOX, CONTRAST, opened

LIKE, HEART = re.compile("^👍"), re.compile("^❤")
DATA = Path(zhiban.__file__).parent / "web" / "static" / "vendor" / "emoji.json"


def test_every_emoji_has_names_in_both_languages() -> None:
    rows = json.loads(DATA.read_text("utf-8"))
    assert len(rows) > 1500
    assert len({row[1] for row in rows}) == len(rows)
    for group, emoji, chinese, also, english, others in rows:
        assert group in {0, 1, 3, 4, 5, 6, 7, 8, 9}
        assert emoji
        assert re.search(r"[\u3400-\u9fff]|[A-Z0-9]", chinese), emoji
        assert english, emoji
        assert isinstance(also, str)
        assert isinstance(others, str)


async def test_who_may_not_answer_needs_none(site: Site) -> None:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set role = 'read_only' where id = %(id)s", id=site.seed.agents["陈默"])
    assert (await (await site.signed_in("chenmo")).get("/desk/emoji")).status == 409


@pytest.mark.browser
async def test_by_keys_in_both_languages_those_used_last_first(site: Site, enter: Visit) -> None:
    page = await enter()
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    await opened(page, "沈嘉宁")
    box, options = page.locator(BOX), page.locator("#emo [role=option]")
    await page.keyboard.type("好的请放心")
    for _ in range(3):
        await page.keyboard.press("ArrowLeft")
    assert not [url for url in asked if "emoji" in url or "/lazy/" in url]
    await page.keyboard.press("Alt+s")
    await expect(page.locator("#emo-q")).to_be_focused()
    assert await options.count() > 1500
    assert all(url.startswith(site.url) for url in asked)  # no font and no data of others
    await page.keyboard.type("点赞")
    await expect(options.first).to_have_text(LIKE)
    await expect(page.locator("#emo-said")).to_contain_text("找到")
    await page.keyboard.press("Enter")
    await expect(box).to_have_value(re.compile("^好的👍.?请放心$"))
    await expect(box).to_be_focused()
    await page.keyboard.press("Control+z")
    await expect(box).to_have_value("好的请放心")
    await page.keyboard.press("Alt+s")
    await expect(page.locator(".emo__g").first).to_have_attribute("aria-label", "最近用过")
    await expect(options.first).to_have_text(LIKE)
    assert await faults(page) == []
    await page.keyboard.type("red heart")
    await expect(options.first).to_have_text(HEART)
    await page.keyboard.press("Shift+Enter")
    await expect(page.locator("#emo-q")).to_be_focused()  # and another one
    await page.fill("#emo-q", "xk")  # the initials of 笑哭
    await expect(page.locator("#emo [title^=笑哭]")).to_have_count(1)
    await page.fill("#emo-q", "没有这种表情")
    await expect(page.locator("#emo .kb__none")).to_be_visible()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await expect(box).to_have_value(re.compile("^好的❤.?请放心$"))
    await expect(box).to_be_focused()
    # In a note, with the pointer; rows are walked through as they stand.
    await page.keyboard.press("Alt+p")
    await page.click("[data-emoji]")
    await expect(options.first).to_have_text(HEART)
    await page.keyboard.press("ArrowDown")
    down = await page.locator("#emo [aria-selected=true]").bounding_box()
    first = await options.first.bounding_box()
    assert down is not None
    assert first is not None
    assert down["y"] > first["y"]
    assert abs(down["x"] - first["x"]) < 2
    await options.nth(1).click()
    await expect(box).to_have_value(LIKE)
    await expect(page.locator("#emo")).to_have_count(0)


@pytest.mark.browser
async def test_it_fits_a_phone_and_a_lost_network_is_told(site: Site, enter: Visit) -> None:
    page = await enter(width=390, height=844, dark=True)
    await opened(page, "沈嘉宁")
    await page.route("**/emoji.json", lambda route: route.abort())
    await page.click("[data-emoji]")
    await expect(page.locator("#toasts")).to_contain_text("没有打开")
    await page.unroute("**/emoji.json")
    await page.click("[data-emoji]")
    await expect(page.locator("#emo-q")).to_be_focused()
    await holds(page, STILL)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate("document.querySelector('.emo__1').getBoundingClientRect().width >= 36")
