"""Teams and how inboxes give conversations away, as an owner sets them up and an agent uses them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Client, Site
from zhiban.channels.configuring import notified, set_policy
from zhiban.channels.inboxes import settings_of
from zhiban.channels.policy import AssignmentPolicy
from zhiban.conversations import assignment
from zhiban.conversations.labels import add_label
from zhiban.desk.checks import NoticeSetup, findings
from zhiban.events import SYSTEM
from zhiban.kit.i18n import Texts
from zhiban.kit.vault import Vault
from zhiban.people import teams

HERE = "/settings/teams"
VAULT = Vault(["a key for tests only"])


async def rows(site: Site) -> list[teams.TeamRow]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return await teams.team_rows(tx)


async def policy_of(site: Site) -> AssignmentPolicy:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return (await settings_of(tx, site.seed.inbox.inbox_id)).assignment


async def log(site: Site) -> list[tuple[str, Any]]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return list(
            await tx.rows("select kind, data from event where kind like 'team%%' or kind like '%%_team_%%' order by id")
        )


async def make(client: Client, name: str, *members: int) -> int:
    """Returns the status."""
    return (await client.post(HERE, [("name", name), *(("members", str(id_)) for id_ in members)])).status


async def test_a_team_from_its_making_to_its_end(site: Site) -> None:
    owner, seed = await site.signed_in(), site.seed
    chen, su, conversation = seed.agents["陈默"], seed.agents["苏禾"], seed.conversations["马骁"]
    assert await make(owner, "  售后  二组 ", chen, su) == 303
    assert [await make(owner, name) for name in ("售后 二组", " ", "长" * 41)] == [422, 422, 422]
    assert await make(owner, "售前", 999) == 404
    [team] = await rows(site)
    assert (team.name, set(team.members)) == ("售后 二组", {chen, su})
    page = (await owner.get(HERE)).text
    assert "1个小组" in page
    path = f"{HERE}/{team.id}"
    for _ in range(2):  # the second time changes nothing, so nothing happened
        changed = await owner.post(path, {"name": "售后", "members": str(chen)})
        assert (changed.status, changed.headers["location"]) == (303, HERE)

    where = f"/conversations/{conversation}/team"
    given = await owner.post(where, {"to": str(team.id)})
    assert "已交给小组售后" in given.text
    assert "林晓</b>交给小组<b>售后</b>" in given.text
    # Who is in the team has a list of what is open in it; the others have none.
    listed = (await (await site.signed_in("chenmo")).get("/?queue=teams")).text
    assert 'id="queue-teams"' in listed
    assert re.findall(r'id="row-(\d+)"', listed) == [str(conversation)]
    assert 'id="queue-teams"' not in (await owner.get("/")).text
    assert (await owner.post(where, {"to": "none"})).status == 200
    assert [(await owner.post(where, {"to": to})).status for to in ("999", "x", str(team.id))] == [404, 409, 200]
    assert (await owner.post("/conversations/999/team", {"to": str(team.id)})).status == 404

    assert (await owner.post(f"{path}/remove")).status == 303
    assert await rows(site) == []
    assert (await owner.post(f"{path}/remove")).status == 404
    assert (await owner.post(where, {"to": str(team.id)})).status == 404
    assert await make(owner, "售后") == 303  # the name is free again
    async with seed.database.transaction(seed.workspace_id) as tx:
        assert await tx.value("select 1 from jobs.procrastinate_jobs where task_name = 'release_team'")
        assert await assignment.release_team(tx, team.id, now=seed.clock.now()) == 1
        assert await assignment.release_team(tx, team.id, now=seed.clock.now()) == 0
    kinds = [kind for kind, _ in await log(site)]
    assert kinds == [
        "team_created",
        "team_changed",
        "conversation_team_assigned",
        "conversation_team_assigned",
        "conversation_team_assigned",
        "team_removed",
        "team_created",
        "conversation_team_assigned",
    ]


async def test_how_an_inbox_gives_away_is_a_form(site: Site) -> None:
    owner, seed = await site.signed_in(), site.seed
    await make(owner, "售后", seed.agents["陈默"])
    [team] = await rows(site)
    inbox = seed.inbox.inbox_id
    address = "wecom-robot:00000000-0000-0000-0000-000000000000"
    policy = {"closing": "再见", "handoff": {"notify": [address]}, "assignment": {"except_labels": [7]}}
    async with seed.database.transaction(seed.workspace_id) as tx:
        await set_policy(tx, VAULT, inbox, policy, by=SYSTEM, now=seed.clock.now())
    path = f"/settings/inboxes/{inbox}/assignment"
    form = {"by": "balanced", "first": "oldest", "team": str(team.id), "most": "8", "most_here": "", "weight": ""}
    form |= {"fair_limit": "", "fair_minutes": "", "offline_minutes": ""}
    assert (await owner.post(path, form)).status == 303
    wanted = AssignmentPolicy(
        by="balanced", first="oldest", team=team.id, most=8, offline_minutes=None, except_labels=(7,)
    )
    assert await policy_of(site) == wanted
    async with seed.database.transaction(seed.workspace_id) as tx:
        first, second = [
            await add_label(tx, name=name, color=1, by=SYSTEM, now=seed.clock.now()) for name in ("退款", "投诉")
        ]
    ticked = [*form.items(), ("labels_shown", "1"), ("except_labels", str(first)), ("except_labels", str(second))]
    assert (await owner.post(path, ticked)).status == 303
    assert (await policy_of(site)).except_labels == (first, second)
    assert (await owner.post(path, [*ticked, ("except_labels", "999")])).status == 404
    assert (await owner.post(path, [*ticked, ("except_labels", "x")])).status == 422
    assert (await owner.post(path, {**form, "labels_shown": "1"})).status == 303
    wanted = wanted.model_copy(update={"except_labels": ()})
    async with seed.database.transaction(seed.workspace_id) as tx:  # everything else is as it was
        assert (await settings_of(tx, inbox)).closing == "再见"
        assert await notified(tx, VAULT, inbox) == [address]
    page = (await owner.get(HERE)).text
    assert "给在线且手上最少的 · 售后 · 每人最多8个" in page
    for wrong, field in (({"most": "0"}, "每人最多"), ({"weight": "much"}, "一个会话算几个"), ({"by": "x"}, "怎样分")):
        refused = await owner.post(path, {**form, **wrong})
        assert (refused.status, f"{field}：" in refused.text) == (422, True), wrong
    assert (await owner.post(path, {**form, "team": "999"})).status == 404
    assert (await owner.post("/settings/inboxes/999/assignment", form)).status == 404
    assert await policy_of(site) == wanted
    async with seed.database.transaction(seed.workspace_id) as tx:
        assert not [one for one in await findings(tx, NoticeSetup(), Texts("zh")) if one.check == "分配"]
        await teams.change(tx, team.id, members=[], now=seed.clock.now())
        [warned] = [one for one in await findings(tx, NoticeSetup(), Texts("zh")) if one.check == "分配"]
    assert (warned.level, "没有人会分到会话" in warned.said) == ("warn", True)
    used = await owner.post(f"{HERE}/{team.id}/remove")
    assert (used.status, "请先在那里换一个小组" in used.text) == (422, True)
    assert (await owner.post(path, {"team": ""})).status == 303
    assert (await owner.post(f"{HERE}/{team.id}/remove")).status == 303


async def test_an_agent_sees_it_and_changes_nothing(site: Site) -> None:
    owner = await site.signed_in()
    await make(owner, "售后")
    [team] = await rows(site)
    agent = await site.signed_in("chenmo")
    page = (await agent.get(HERE)).text
    assert "售后" in page
    assert '<details class="mate"' not in page
    inbox = site.seed.inbox.inbox_id
    for path, form in (
        (HERE, {"name": "新的"}),
        (f"{HERE}/{team.id}", {"name": "新的"}),
        (f"{HERE}/{team.id}/remove", {}),
        (f"/settings/inboxes/{inbox}/assignment", {"by": "balanced"}),
    ):
        assert (await agent.post(path, form)).status == 422
        assert (await site.client().post(path, form)).status == 303
        assert (await agent.post(path, form, origin="https://evil.example")).status == 403
    assert [row.name for row in await rows(site)] == ["售后"]
    assert (await policy_of(site)).by == "off"
    assert (
        await agent.post(f"/conversations/{site.seed.conversations['马骁']}/team", {"to": str(team.id)})
    ).status == 200


async def test_a_disabled_member_comes_back_as_one(site: Site) -> None:
    seed = site.seed
    owner, chen = await site.signed_in(), seed.agents["陈默"]
    await make(owner, "售后", chen)
    [team] = await rows(site)
    await owner.post(f"/settings/people/{chen}/disable")
    assert (await rows(site))[0].members == []
    await owner.post(f"{HERE}/{team.id}", {"name": "售后", "members": str(seed.agents["苏禾"])})
    assert await make(owner, "另一组", chen) == 404
    await owner.post(f"/settings/people/{chen}/enable")
    assert set((await rows(site))[0].members) == {chen, seed.agents["苏禾"]}


async def test_giving_an_agent_too_much_is_said(site: Site) -> None:
    owner, seed = await site.signed_in(), site.seed
    await owner.post(f"/settings/inboxes/{seed.inbox.inbox_id}/assignment", {"most": "1"})
    conversation = seed.conversations["马骁"]
    given = await owner.post(f"/conversations/{conversation}/assign", {"to": str(seed.agents["陈默"])})
    assert "已分配给陈默，超出了上限：手上2个，上限1个" in given.text
    assert "由您处理，超出了上限" in (await owner.post(f"/conversations/{conversation}/assign", {"to": "me"})).text


@pytest.mark.browser
async def test_a_team_in_the_browser(site: Site, enter: Visit) -> None:
    page = await enter(HERE.replace("/settings/teams", "/"))
    await page.get_by_role("link", name="设置").first.click()
    await page.get_by_role("link", name="团队").first.click()
    await page.get_by_role("link", name="小组和分配").click()
    form = page.locator(f"form[action='{HERE}']")
    await form.get_by_label("名字").fill("售后")
    await form.get_by_label("陈默").check()
    await form.get_by_role("button", name="添加").click()
    await expect(page.locator("details.mate", has_text="售后").first).to_contain_text("陈默")
    inbox = page.locator("details.mate", has_text="青禾官方客服")
    await inbox.locator("summary").click()
    await inbox.get_by_label("怎样分").select_option("balanced")
    await inbox.get_by_label("只分给小组").select_option(label="售后")
    await inbox.get_by_role("button", name="保存").click()
    await expect(page.locator("details.mate", has_text="青禾官方客服")).to_contain_text("售后")
    await page.goto(site.url + "/")
    await page.click(".conv:has-text('周予安')")
    await page.click("#menu-owner summary")
    await page.locator("#menu-owner .opt", has_text="售后").click()
    await expect(page.locator("#thread-head small").first).to_contain_text("售后")
    await expect(page.locator("#toasts")).to_contain_text("已交给小组售后")
