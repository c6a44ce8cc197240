"""Fields of conversations: made in the settings, filled in beside the thread, seen and said there."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Site
from zhiban.conversations.attributes import add_conversation_field, attributes_of
from zhiban.events import SYSTEM

HERE = "/settings/conversation-fields"


async def filled(site: Site, conversation_id: int) -> dict[str, str]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return await attributes_of(tx, conversation_id)


async def test_a_supervisor_makes_fields_and_an_agent_fills_them_in(site: Site) -> None:
    owner, seed = await site.signed_in(), site.seed
    id_ = seed.conversations["周予安"]
    assert 'id="attributes"' not in (await owner.get(f"/conversations/{id_}")).text  # nothing to fill in
    assert (await owner.post(HERE, {"name": "版本", "kind": "list", "choices": "企业版\n个人版"})).status == 303
    assert (await owner.post(HERE, {"name": "加急", "kind": "checkbox"})).status == 303
    again = await owner.post(HERE, {"name": "版本", "kind": "text"})
    assert (again.status, 'value="版本"' in again.text) == (422, True)
    assert "企业版、个人版" in (await owner.get(HERE)).text
    agent = await site.signed_in("chenmo")
    path = f"/conversations/{id_}/attributes"
    saved = await agent.post(path, {"field.版本": "企业版", "shown.加急": "1", "field.加急": "yes"})
    assert (saved.status, "改了会话资料" in saved.text) == (200, True)
    assert await filled(site, id_) == {"版本": "企业版", "加急": "yes"}
    await agent.post(path, {"shown.加急": "1"})  # no longer ticked; what the form does not hold stays
    assert await filled(site, id_) == {"版本": "企业版"}
    assert (await agent.post(path, {"field.版本": "旗舰版"})).status == 409
    assert "版本" in (await owner.get("/settings/audit?about=conversation_attributes_changed")).text


async def test_two_at_once_lose_nothing_of_each_other(site: Site) -> None:
    seed, now = site.seed, site.seed.clock.now()
    async with seed.database.transaction(seed.workspace_id) as tx:
        for name in ("版本", "备忘"):
            await add_conversation_field(tx, name=name, kind="text", by=SYSTEM, now=now)
    id_, agent = seed.conversations["周予安"], await site.signed_in("chenmo")
    path, drawn = (
        f"/conversations/{id_}/attributes",
        {"was.版本": "", "was.备忘": "", "field.版本": "", "field.备忘": ""},
    )
    assert (await agent.post(path, {**drawn, "field.版本": "yes"})).status == 200
    assert (await agent.post(path, {**drawn, "field.备忘": "周二回电"})).status == 200  # drawn before
    assert await filled(site, id_) == {"版本": "yes", "备忘": "周二回电"}
    page = (await agent.get(f"/conversations/{id_}")).text
    assert "<dd>yes</dd>" in page  # what somebody wrote, in no checkbox
    assert 'name="was.备忘" value="周二回电"' in page
    other = await agent.post(path, {**drawn, "field.版本": "2.0"})
    assert (other.status, "版本" in other.text) == (409, True)
    assert (await agent.post(path, {**drawn, "field.版本": "yes"})).status == 200  # both mean the same
    assert await filled(site, id_) == {"版本": "yes", "备忘": "周二回电"}


async def test_it_is_filled_in_beside_the_thread(site: Site, enter: Visit) -> None:
    seed, now = site.seed, site.seed.clock.now()
    async with seed.database.transaction(seed.workspace_id) as tx:
        for name, kind, choices in (("版本", "list", ["企业版", "个人版"]), ("期限", "date", [])):
            await add_conversation_field(tx, name=name, kind=kind, choices=choices, by=SYSTEM, now=now)
    id_ = seed.conversations["周予安"]
    page = await enter(f"/conversations/{id_}")
    await page.click("#menu-attributes > summary")
    await page.focus('#menu-attributes select[name="field.版本"]')
    await page.keyboard.press("ArrowDown")  # chooses in the field, as everywhere
    await page.click("#menu-attributes button")
    await expect(page.locator("#attributes dd")).to_have_text(["企业版"])
    await expect(page.locator("#messages .act").last).to_contain_text("改了会话资料：版本")
    assert await filled(site, id_) == {"版本": "企业版"}
