"""Rules, flows and snippets as YAML in the browser: taken along, tried, taken over."""

from __future__ import annotations

import html

import pytest

from tests.desk.conftest import Client, Site
from tests.desk.walking import begin_walk
from zhiban.people.models import Role

RULES = "/settings/yaml/rules"


@pytest.fixture
async def owner(site: Site) -> Client:
    return await site.signed_in()


async def names(site: Site, table: str) -> list[str]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return sorted(await tx.values(f"select name from {table} where removed_at is null"))


async def test_rules_are_exported_tried_and_taken_over(site: Site, owner: Client) -> None:
    await begin_walk(site)
    whole = await owner.get(f"{RULES}/download")
    assert whole.status == 200, whole.text[-900:]
    assert whole.headers["content-disposition"].startswith("attachment")
    assert "- name: 规则\n  enabled: false" in whole.text
    before = await names(site, "rule")
    text = whole.text.replace("enabled: false", "enabled: true", 1)
    text += "- name: 夜里标紧急\n  when: [conversation_opened]\n  then:\n  - {kind: set_priority, priority: 4}\n"
    tried = html.unescape((await owner.post(RULES, {"text": text})).text)
    assert "新建1，更新1，不变" in tried
    assert "把优先级设为紧急" in tried  # what it does, in a sentence
    assert await names(site, "rule") == before  # trying changes nothing
    done = await owner.post(RULES, {"text": text, "do": "apply"})
    assert "新建1，更新1" in done.text
    assert await names(site, "rule") == sorted([*before, "夜里标紧急"])
    again = html.unescape((await owner.post(RULES, {"text": text})).text)
    assert "新建0，更新0，不变" in again
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        rule = await tx.value("select id from rule where name = '夜里标紧急'")
        assert await tx.value("select count(*) from event where kind = 'rule_added' and actor_kind = 'agent'") == 1
    one = (await owner.get(f"{RULES}/download?id={rule}")).text
    assert one.startswith("- name: 夜里标紧急")
    assert one.count("- name:") == 1
    assert (await owner.get(f"{RULES}/download?id=4711")).status == 404


async def test_what_is_refused_is_named_and_nothing_is_taken(site: Site, owner: Client) -> None:
    good = "- name: 好的\n  when: [conversation_resolved]\n  then: [{kind: unassign}]\n"
    before = await names(site, "rule")
    for bad, why in (
        ("- name: 坏的\n  when: [conversation_resolved]\n  then: [{kind: add_labels, labels: [没有的]}]\n", "没有的"),
        ("- name: 坏的\n  whne: []\n", "whne"),
        ("- name: 坏的\n  when: [conversation_resolved]\n", "actions"),
        (good, "同名"),
    ):
        tried = html.unescape((await owner.post(RULES, {"text": good + bad})).text)
        assert "整个文件都不读入" in tried
        assert why in tried, why
        assert 'value="apply"' not in tried
        assert (await owner.post(RULES, {"text": good + bad, "do": "apply"})).status == 422
    for text in ("{", "name: x", "- &a [*a]", "x" * 200_001):
        refused = await owner.post(RULES, {"text": text})
        assert (refused.status, "没有改动" in refused.text) == (422, True)
    assert await names(site, "rule") == before


async def test_what_would_fail_or_take_long_is_refused_in_words(site: Site, owner: Client) -> None:
    rule = "- name: 一\n  when: [conversation_resolved]\n  then: "
    for text in (
        "a: !!timestamp x",
        "a: !!int ''",
        "a: " + "1:" * 300 + "1.5",
        "a: " + "1:" * 90_000 + "1",
        rule + "5\n",
        rule + '[{kind: add_note, text: "a\\0b"}]\n',
        rule + "[{kind: add_labels, labels: [9223372036854775808]}]\n",
        "- {}\n" * 201,
    ):
        tried = await owner.post(RULES, {"text": text})
        assert tried.status in (200, 422), text[:80]
        assert 'value="apply"' not in tried.text
    many = "".join(f"- {{name: s{number}, text: x}}\n" for number in range(301))
    refused = await owner.post("/settings/yaml/snippets", {"text": many})
    assert (refused.status, "300" in refused.text) == (422, True)


async def test_what_was_looked_at_is_what_is_taken_over(site: Site, owner: Client) -> None:
    text, here = "- name: 再见\n  text: 再见\n", "/settings/yaml/snippets"
    await owner.post(here, {"text": text, "do": "apply"})
    looked = (await owner.post(here, {"text": text})).text
    seen = looked.split('name="tried" value="')[1].split('"')[0]
    # It would change nothing, and somebody changes it before the second click.
    await owner.post(here, {"text": "- name: 再见\n  text: 慢走\n", "do": "apply"})
    late = await owner.post(here, {"text": text, "do": "apply", "tried": seen})
    assert (late.status, "再看一遍" in late.text, "更新1" in late.text) == (409, True, True)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await tx.values("select text from snippet") == ["慢走"]
    seen = late.text.split('name="tried" value="')[1].split('"')[0]
    assert (await owner.post(here, {"text": text, "do": "apply", "tried": seen})).status == 200
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await tx.values("select text from snippet") == ["再见"]


async def test_snippets_are_ones_own_where_one_may_not_change_what_all_share(site: Site, owner: Client) -> None:
    text = "- name: 再见\n  text: 再见，{{contact.name}}\n"
    here = "/settings/yaml/snippets"
    agent = await site.signed_in("chenmo")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        chen = site.seed.agents["陈默"]
        await tx.run("update agent set role = %(role)s where id = %(id)s", role=Role.AGENT, id=chen)
    await agent.post(here, {"text": text, "do": "apply"})
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await tx.values("select owner_id from snippet where name = '再见'") == [chen]
    await owner.post(here, {"text": "name,text\n再见,走好\n", "do": "apply"})
    await owner.post(f"{here}?whose=own", {"text": text, "do": "apply"})
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        found = await tx.rows("select owner_id, text from snippet where name = '再见' order by id")
    assert found[1:] == [(None, "走好"), (site.seed.agents["林晓"], "再见，{{contact.name}}")]
    assert (await agent.get(f"{here}/download")).text == text
    bad = html.unescape((await agent.post(here, {"text": "- name: 坏\n  text: '{{contact.nmae}}'\n"})).text)
    assert "contact.nmae" in bad
