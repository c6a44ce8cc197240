"""What a contact asked in vain, answered by a colleague in the browser, and told to the next one who asks otherwise."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.browser import Visit
from tests.stories.conftest import Shop
from tests.stories.test_gaps import asks_in_vain

from zhiban.people.auth import COOKIE

pytestmark = pytest.mark.browser

LI, WANG, ZHAO = "wmLIXIAO", "wmWANG", "wmZHAO"
ASKED, AGAIN, OTHERWISE = "你们门店附近能停车吗", "店里有停车场没有", "店附近可以停车吗"
ANSWER = "门店对面就是**地下停车场**，消费后免费停两小时。"
TOLD = "门店对面就是地下停车场，消费后免费停两小时。"


async def test_it_is_answered_once_in_the_browser_and_the_next_contact_is_told(shop: Shop, visit: Visit) -> None:
    owner = await shop.session()
    await asks_in_vain(shop, LI, ASKED)
    await asks_in_vain(shop, WANG, AGAIN)
    await shop.eventually("select 1 from gap where status = 'open' and times = 2")  # it is one question

    page = await visit(shop.url, cookie=(COOKIE, owner.token))
    await page.get_by_role("link", name="知识", exact=True).click()
    await page.locator("a.nav", has_text="缺口").click()
    await expect(page.locator(".entry-gap")).to_have_count(1)
    await expect(page.locator("h1.name")).to_have_text(ASKED)
    await expect(page.locator(".said")).to_contain_text(AGAIN)
    await page.locator("#answer [name=question]").fill("门店附近能停车吗？")
    await page.get_by_label("答案").fill(ANSWER)
    await expect(page.locator(".md__see")).to_contain_text(TOLD)  # what contacts will read
    await page.get_by_role("button", name="写成新文章").click()
    await expect(page.get_by_text("现在由“门店附近能停车吗？”来答")).to_be_visible()
    await expect(page.locator(".entry-gap")).to_have_count(0)

    await shop.eventually(
        "select 1 where not exists (select from phrasing p where not exists "
        "(select from phrasing_vector v where v.phrasing_id = p.id))",
        within=120,  # all of the sample base, by a model that is loaded first
    )
    (told,) = await shop.says(ZHAO, OTHERWISE)
    assert TOLD in str(told.body)
    talk = await shop.conversation(ZHAO)
    assert talk.status == "pending"  # nobody had to come
    assert await shop.rows("select 1 from gap where status = 'open'") == []
    # Its sources stand below the answer on the desk, and lead to what was written.
    await page.goto(f"{shop.url}/conversations/{talk.id}?queue=assistant")
    await expect(page.locator(".msg[data-by=assistant]").last).to_contain_text("门店附近能停车吗？")
