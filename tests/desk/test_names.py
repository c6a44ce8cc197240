"""Names on the desk are what people are called, in every language."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser import Visit, holds
from tests.desk.conftest import Site

ONE_LINE = """(() => {
  const tools = document.querySelector(".list__tools");
  const lines = (one) => {
    const words = document.createRange();
    words.selectNodeContents(one);
    return new Set([...words.getClientRects()].map((rect) => Math.round(rect.bottom / 8))).size;
  };
  const states = [...document.querySelectorAll("#states a")];
  return tools.scrollWidth <= tools.clientWidth && states.every((one) => lines(one) === 1);
})()"""


async def test_nobody_is_called_by_a_word_of_ours(site: Site) -> None:
    """A contact and a colleague whose names are words that we translate elsewhere."""
    zhou = site.seed.conversations["周予安"]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run(
            "update contact set name = '标签' where id = (select contact_id from conversation where id = %(id)s)",
            id=zhou,
        )
        await tx.run("update agent set locale = 'en'")
    page = (await (await site.signed_in()).get(f"/conversations/{zhou}?queue=all")).text
    assert "<b>标签</b>" in page
    assert "<b>Labels</b>" not in page
    assert "<b>Assistant</b>" in page


@pytest.mark.browser
async def test_states_of_a_list_stand_in_one_line_in_english(site: Site, enter: Visit) -> None:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set locale = 'en'")
    for width in (1440, 390):
        page = await enter(width=width)
        await expect(page.locator("#states")).to_contain_text("Snoozed")
        await page.evaluate("document.querySelector('#states .count').textContent = '999+'")
        await holds(page, ONE_LINE)
