"""A reply with marks that its writer meant: written, kept, looked at beforehand, and shown to colleagues so."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from tests.browser import Visit, holds
from tests.desk.conftest import Site
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import BOX, CONTRAST, opened

MEANT = "**急**：见[说明](https://a.example/b)，`*x*`"
WORDS = "急：见说明（https://a.example/b），*x*"


async def last(site: Site) -> tuple[str, str | None]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        rows = await tx.rows(
            "select text, content ->> 'rich' from message where author = 'agent' and direction = 'out' "
            "order by id desc limit 1"
        )
    return rows[0]


async def test_its_words_are_what_is_said_and_its_marks_are_kept_beside_them(site: Site) -> None:
    lin, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    path = f"/conversations/{zhou}"
    assert (await lin.post(f"{path}/replies", {"text": MEANT, "key": "a", "formatted": "true"})).status == 204
    assert await last(site) == (WORDS, MEANT)
    page = (await lin.get(path)).text
    assert "<strong>急</strong>：见<a class=" in page
    assert 'href="https://a.example/b" target="_blank" rel="noopener noreferrer nofollow">说明</a>' in page
    assert "<code>*x*</code>" in page
    assert "**急" not in page  # also not in the list
    assert WORDS in (await lin.get(f"{path}/transcript")).text
    assert (await lin.post(f"{path}/replies", {"text": MEANT, "key": "b"})).status == 204
    assert await last(site) == (MEANT, None)  # nobody said that these are marks
    evil = "<img src=x onerror=alert(1)> ![x](https://a.example/x.png) [y](javascript:alert(1))"
    assert (await lin.post(f"{path}/replies", {"text": evil, "key": "c", "formatted": "true"})).status == 204
    shown = (await lin.get(path)).text
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    assert "<img src=x" not in shown
    assert 'href="javascript' not in shown
    # What takes several messages goes without; what is nothing but marks is nothing to send.
    long = "**很长**的一段话。" * 120
    assert (await lin.post(f"{path}/replies", {"text": long, "key": "d", "formatted": "true"})).status == 204
    text, rich = await last(site)
    assert (rich, "**" in text, "很长的一段话。" in text) == (None, False, True)
    assert (await lin.post(f"{path}/replies", {"text": "```\n```", "key": "e", "formatted": "true"})).status == 409


async def test_what_is_quoted_above_has_no_marks_of_the_writer(site: Site) -> None:
    lin, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        first = await tx.value("select min(id) from message where conversation_id = %(id)s", id=zhou)
    form = {"text": "**好**", "key": "q", "formatted": "true", "reply_to": str(first)}
    assert (await lin.post(f"/conversations/{zhou}/replies", form)).status == 204
    text, rich = await last(site)
    assert text.startswith("「")
    assert text.endswith("好")
    assert rich == "**好**"


async def test_a_draft_says_whether_its_marks_are_meant_and_what_it_will_take(site: Site) -> None:
    lin, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    path = f"/conversations/{zhou}/draft"
    one = "**一** " * 300  # more than a message with its marks, less without
    kept = await lin.post(path, {"text": one, "formatted": "true"})
    assert json.loads(kept.text) == {"parts": 1}
    assert 'data-id="1" data-formatted>' in (await lin.get(f"/conversations/{zhou}")).text
    assert json.loads((await lin.post(path, {"text": one})).text) == {"parts": 2}
    assert "data-formatted>" not in (await lin.get(f"/conversations/{zhou}")).text
    seen = (await lin.post(f"{path}/preview", {"text": MEANT})).text
    assert "这个渠道不显示格式，只发文字" in seen
    assert "急：见说明（" in seen


@pytest.mark.browser
async def test_marks_are_set_by_keys_and_a_bar_and_letters_stay_letters(site: Site, enter: Visit) -> None:
    page = await enter()
    await opened(page, "周予安")
    box, preview = page.locator(BOX), page.locator("#rich-see")
    await page.keyboard.type("2*3*4 见 *注")
    await page.keyboard.press("Control+b")
    await expect(page.locator("#rich")).to_be_visible()
    await expect(box).to_have_value(r"2\*3\*4 见 \*注****")
    await page.keyboard.type("急")
    await expect(box).to_have_value(r"2\*3\*4 见 \*注**急**")
    await expect(preview).to_contain_text("2*3*4 见 *注急")
    await expect(page.locator("[data-rich]")).to_have_attribute("aria-pressed", "true")
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    await page.keyboard.press("End")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("甲")
    await page.locator("[data-mark=bullets]").click()
    await expect(box).to_have_value("2\\*3\\*4 见 \\*注**急**\n- 甲")
    # It is the same after the page was left, and in a narrow window.
    await expect(page.locator("#compose")).to_have_attribute("data-formatted", "")
    await page.wait_for_function(
        "() => !Object.keys(JSON.parse(localStorage['zhiban:unsaved:1'] || '{}').drafts || {}).length"
    )
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.emulate_media(color_scheme="dark")
    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await expect(preview).to_contain_text("甲")
    await holds(page, STILL)
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await box.press("Enter")
    sent = page.locator("#messages .msg", has_text="2*3*4")
    await expect(sent.locator("strong")).to_have_text("急")
    await expect(sent.locator("li")).to_have_text("甲")
    assert (await last(site))[0] == "2*3*4 见 *注急\n\n- 甲"
    await expect(preview).to_have_text("")
    # What could not be sent is a draft again, with its marks meant.
    await page.route("**/replies", lambda route: route.abort())
    await box.fill("**later**")
    await box.press("Enter")
    await expect(page.locator("#sending .msg[data-state=failed]")).to_be_visible()
    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await expect(box).to_have_value("**later**")
    await expect(page.locator("[data-rich]")).to_have_attribute("aria-pressed", "true")
    await expect(preview).to_contain_text("later")
    await page.unroute("**/replies")
    # Without it, every letter is what it is.
    await page.locator("[data-rich]").click()
    await expect(page.locator("#rich")).to_have_count(0)
    await box.fill("**不是**")
    await box.press("Enter")
    await expect(page.locator("#messages .msg", has_text="**不是**")).to_have_count(1)
    assert await last(site) == ("**不是**", None)
