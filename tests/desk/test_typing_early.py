"""What is typed before the scripts of a page are there: searches, previews and drafts begin with it all the same."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser import Visit
from tests.desk.conftest import Site
from tests.desk.test_browser import BOX, opened
from tests.desk.test_composer import cut_off, drafted
from tests.desk.test_knowledge import gap_of
from tests.desk.test_typing_ahead import held

pytestmark = pytest.mark.browser


async def typed_early(page: Page, url: str, scripts: str, field: str, words: str) -> None:
    """Load a page whose scripts come after these words."""
    going = await held(page, scripts)
    await page.goto(url, wait_until="commit")
    await page.locator(field).press("End")
    await page.locator(field).press_sequentially(words)
    assert await page.evaluate("document.readyState") != "complete"
    going.set()
    await page.wait_for_load_state()


@pytest.mark.parametrize("scripts", ["**/vendor/htmx.js*", "**/js/early.js*"])
async def test_a_search_finds(site: Site, enter: Visit, scripts: str) -> None:
    page, gap = await enter(), await gap_of(site)
    await typed_early(page, f"{site.url}/knowledge/gaps/{gap}", scripts, "[name=text]", "宇宙")
    await expect(page.locator("#picks")).to_contain_text("没有哪种问法")


async def test_an_editor_says_what_it_will_do(site: Site, enter: Visit) -> None:
    page = await enter()
    await page.goto(f"{site.url}/settings/macros/new")
    await page.locator("[name='a.0.kind']").select_option("add_note")
    await page.locator("#editor textarea").fill("先查物流")
    await page.locator(".name").fill("查物流")
    await page.locator(".name").press("Enter")
    await page.wait_for_url("**/settings/macros/1")
    await typed_early(page, page.url, "**/vendor/htmx.js*", "#editor textarea", "和仓库")
    await expect(page.locator("#said")).to_contain_text("先查物流和仓库")


async def test_a_reply_is_kept_and_a_slash_offers(site: Site, enter: Visit) -> None:
    lin, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    await lin.post("/settings/snippets", {"name": "发票说明", "text": "发票在订单里申请。", "shared": "true"})
    page = await enter()
    await typed_early(page, f"{site.url}/conversations/{zhou}", "**/js/desk.js*", BOX, "您好 /fp")
    await expect(page.locator("#slash .opt")).to_have_text(["发票说明"])
    await drafted(site, "周予安", {"reply": "您好 /fp"})


@pytest.mark.parametrize(("cursor", "both"), [("End", "先看一下，再回您。"), ("Home", "。先看一下，再回您")])
async def test_it_stands_beside_a_draft_that_the_server_had_not(
    site: Site, enter: Visit, cursor: str, both: str
) -> None:
    page = await enter()
    await opened(page, "周予安")
    await page.keyboard.type("先看一下")
    await drafted(site, "周予安", {"reply": "先看一下"})
    await page.route("**/draft", cut_off)
    await page.keyboard.type("，再回您")
    going = await held(page, "**/js/desk.js*")
    await page.goto(page.url, wait_until="commit")
    await page.locator(BOX).press(cursor)
    await expect(page.locator(BOX)).to_have_value("先看一下")
    await page.keyboard.type("。")
    await page.unroute("**/draft")
    going.set()
    await expect(page.locator(BOX)).to_have_value(both)
    await drafted(site, "周予安", {"reply": both})
