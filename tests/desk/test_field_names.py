"""Rules, macros and views choose among the fields that there are; a name that is nobody's is refused, or shown so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Client, Site
from tests.desk.test_accessibility import faults

PLACES: dict[str, tuple[str, dict[str, str]]] = {
    "rule": ("/rules", {"on": "message_created", "c.match": "all", "c.0.kind": "contact_attribute",
                        "a.0.kind": "unassign"}),
    "rule about the conversation": ("/rules", {"on": "message_created", "c.match": "all", "c.0.kind": "attribute",
                                               "a.0.kind": "unassign"}),
    "view": ("/settings/views", {"c.match": "all", "c.0.kind": "attribute"}),
    "macro": ("/settings/macros", {"a.0.kind": "set_attribute", "a.0.value": "x"}),
}  # fmt: skip


def names_in(page: str, path: str) -> list[str]:
    """What the editor lets choose."""
    found = re.search(rf'<select[^>]* name="{path}.name".*?</select>', page, re.DOTALL)
    assert found, path
    return re.findall(r'<option value="([^"]*)"', found[0])


async def with_fields(site: Site) -> Client:
    agent = await site.signed_in()
    assert (await agent.post("/settings/contact-fields", {"name": "会员", "kind": "text"})).status == 303
    assert (await agent.post("/settings/conversation-fields", {"name": "版本", "kind": "text"})).status == 303
    return agent


@pytest.mark.parametrize("what", PLACES)
async def test_what_names_no_field_is_refused_and_what_there_is_can_be_chosen(site: Site, what: str) -> None:
    agent = await with_fields(site)
    address, form = PLACES[what]
    path = "a.0" if "a.0.value" in form else "c.0"
    of_contacts = form.get("c.0.kind") == "contact_attribute"
    form = {"name": "试一试", **form, **({} if path == "a.0" else {f"{path}.values": "x"})}
    refused = await agent.post(address, {**form, f"{path}.name": "电话"})
    assert refused.status == 422
    assert f"没有{'联系人' if of_contacts else '会话'}资料“电话”" in refused.text
    known = ["", "phone", "email", "company", "notes", "会员"] if of_contacts else ["", "版本"]
    assert names_in(refused.text, path) == [*known, "电话"]
    assert "电话（没有这一项）" in refused.text
    assert (await agent.post(address, {**form, f"{path}.name": ""})).status == 422
    made = await agent.post(address, {**form, f"{path}.name": "会员" if of_contacts else "版本"})
    assert made.status == 303, made.text


async def test_what_vendors_tell_can_be_asked_and_a_standard_field_is_called_as_on_the_card(site: Site) -> None:
    agent = await with_fields(site)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run('update contact set attributes = \'{"plan": "pro"}\'')
    _, form = PLACES["rule"]
    for name, called in (("plan", "plan"), ("phone", "电话")):
        wish = {"name": f"问{name}", **form, "c.0.name": name, "c.0.operator": "present"}
        made = await agent.post("/rules", wish)
        assert made.status == 303, made.text
        assert f"有联系人的“{called}”" in (await agent.get(made.headers["location"])).text


async def test_an_old_rule_whose_field_is_gone_goes_on_and_says_so(site: Site) -> None:
    agent = await with_fields(site)
    _, form = PLACES["rule"]
    wish = {"name": "老规则", **form, "c.0.name": "会员", "c.0.operator": "not_present"}
    here = (await agent.post("/rules", wish)).headers["location"]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        field = await tx.value("select id from contact_field where name = '会员'")
        plain: dict[str, Any] = await tx.value("select definition from rule where name = '老规则'")
    assert (await agent.post(f"/settings/contact-fields/{field}/remove")).status == 303
    page = (await agent.get(here)).text
    assert "会员（没有这一项）" in page
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        stays = await tx.value("select definition from rule where name = '老规则'")
    assert json.dumps(stays) == json.dumps(plain)
    revision = re.search(r'name="revision" value="(\d+)"', page)
    assert revision
    # A new name is stored; the condition is only asked about when it changes.
    renamed = await agent.post(here, {**wish, "name": "老规则二", "revision": revision[1]})
    assert renamed.status == 303, renamed.text
    changed = {**wish, "name": "老规则二", "c.0.operator": "present", "revision": str(int(revision[1]) + 1)}
    assert (await agent.post(here, changed)).status == 422


@pytest.mark.browser
async def test_the_field_is_chosen_from_a_list(site: Site, enter: Visit) -> None:
    await with_fields(site)
    page = await enter()
    await page.goto(f"{site.url}/rules/new")
    await page.get_by_role("button", name="加条件", exact=True).click()
    await page.locator("select[name='c.0.kind']").select_option("contact_attribute")
    name = page.locator("select[name='c.0.name']")
    await expect(name).to_have_value("")
    await name.select_option(label="电话")
    await page.locator("select[name='c.0.operator']").select_option("present")
    await expect(page.locator("body")).to_contain_text("有联系人的“电话”")
    assert await faults(page) == []
