"""A small team: inviting, joining, changing, and who may do what."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Answer, Site
from zhiban.conversations.assignment import release_unanswerable
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict, NotFound
from zhiban.people import agents as colleagues
from zhiban.people import first_owner, invitations, service
from zhiban.people.invitations import JoinLinkSpent
from zhiban.people.models import Role
from zhiban.people.permissions import NotAllowed, check_may_answer

NEW = {"email": "GuYun@qinghe.example", "name": "顾云", "role": "agent", "account.wecom": "guyun"}
WORDS = "a long sentence"


def link_in(answer: Answer) -> str:
    found = re.search(r'value="http[^"]*(/join/[^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


async def promote(site: Site, who: str, role: Role) -> int:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set role = %(role)s where id = %(id)s", role=role, id=site.seed.agents[who])
    return site.seed.agents[who]


async def test_a_colleague_is_invited_and_chooses_a_password(site: Site) -> None:
    await promote(site, "林晓", Role.OWNER)
    owner = await site.signed_in()
    assert "添加同事" in (await owner.get("/settings/people")).text
    invited = await owner.post("/settings/people", NEW)
    assert invited.status == 200
    link = link_in(invited)
    page = (await owner.get("/settings/people")).text
    assert "guyun@qinghe.example" in page
    assert "还没设置密码" in page
    assert link not in page

    newcomer = site.client()
    assert "顾云，您好" in (await newcomer.get(link)).text
    short = await newcomer.post(link, {"password": "short"})
    assert (short.status, "密码至少要10个字符" in short.text) == (422, True)
    done = await newcomer.post(link, {"password": WORDS})
    assert (done.status, done.headers["location"]) == (303, "/")
    assert "顾云" in (await newcomer.get("/me")).text
    assert (await site.client().sign_in("guyun", WORDS)).status == 303
    again = await site.client().get(link)
    assert (again.status, "链接不能用了" in again.text) == (410, True)
    assert (await site.client().post(link, {"password": WORDS})).status == 410
    assert (await site.client().get("/join/1.nonsense")).status == 410


async def test_what_cannot_be_done_is_said_and_what_was_typed_stays(site: Site) -> None:
    await promote(site, "林晓", Role.OWNER)
    owner = await site.signed_in()
    await owner.post("/settings/people", NEW)
    taken = await owner.post("/settings/people", {**NEW, "name": "另一位"})
    assert taken.status == 422
    assert 'value="另一位"' in taken.text
    same = await owner.post("/settings/people", {**NEW, "email": "other@qinghe.example", "account.wecom": "GuYun"})
    assert same.status == 422
    assert "other@qinghe.example · " not in (await owner.get("/settings/people")).text


async def test_an_agent_sees_the_team_and_changes_nothing(site: Site) -> None:
    await promote(site, "林晓", Role.AGENT)
    agent = await site.signed_in()
    page = (await agent.get("/settings/people")).text
    assert "只有负责人和管理员" in page
    assert '<details class="mate"' not in page
    other = site.seed.agents["陈默"]
    for path, form in (
        ("", NEW),
        (f"/{other}", {"name": "x"}),
        (f"/{other}/disable", {}),
        (f"/{other}/enable", {}),
        (f"/{other}/link", {}),
    ):
        refused = await agent.post(f"/settings/people{path}", form)
        assert refused.status == 422
        assert "/join/" not in refused.text


async def test_an_admin_cannot_get_at_the_owner(site: Site) -> None:
    owner = await promote(site, "陈默", Role.OWNER)
    me = await promote(site, "林晓", Role.ADMIN)
    admin = await site.signed_in()
    for what in ("link", "disable"):
        refused = await admin.post(f"/settings/people/{owner}/{what}")
        assert (refused.status, "/join/" in refused.text) == (422, False)
    assert (await admin.post(f"/settings/people/{owner}", {"name": "x"})).status == 422
    for path, form in ((f"{me}/disable", {}), (f"{me}", {"name": "林晓", "role": "agent"})):
        assert (await admin.post(f"/settings/people/{path}", form)).status == 422
    assert (await admin.post("/settings/people", {**NEW, "role": "owner"})).status == 422
    assert (await admin.post("/settings/people/999999/disable")).status == 404
    page = (await admin.get("/settings/people")).text
    assert f'action="/settings/people/{owner}' not in page


async def test_whoever_is_disabled_is_out_at_once_and_their_work_waits_for_others(site: Site) -> None:
    seed = site.seed
    await promote(site, "林晓", Role.OWNER)
    owner, gone = await site.signed_in(), await site.signed_in("chenmo")
    chen, conversation = seed.agents["陈默"], seed.conversations["顾南乔"]
    assert (await owner.post(f"/settings/people/{chen}/disable")).status == 303
    assert (await gone.get("/")).status == 303
    assert (await site.client().sign_in("chenmo")).status == 401
    async with seed.database.transaction(seed.workspace_id) as tx:
        with pytest.raises(NotFound):
            await check_may_answer(tx, chen, seed.inbox.inbox_id)
        assert await tx.value("select count(*) from jobs.procrastinate_jobs where task_name = 'release_conversations'")
    async with seed.database.transaction(seed.workspace_id) as tx:
        await release_unanswerable(tx, chen, now=seed.clock.now())
        assert await tx.value("select assignee_id from conversation where id = %(id)s", id=conversation) is None
    page = (await owner.get("/settings/people")).text
    assert "已停用" in page
    assert (await owner.post(f"/settings/people/{chen}/link")).status == 422
    assert (await owner.post(f"/settings/people/{chen}/enable")).status == 303
    assert (await site.client().sign_in("chenmo")).status == 303


async def test_a_new_link_replaces_the_old_one_and_the_new_password_ends_old_sessions(
    db: Database, workspace: int, clock: SetClock
) -> None:
    async with db.page_transaction(workspace) as tx:
        id_, first = await invitations.invite(tx, email="a@b.example", name="阿宁", now=clock.now())
        second = await invitations.new_join_link(tx, id_, now=clock.now())
        with pytest.raises(JoinLinkSpent):
            await invitations.check_join_link(tx, first, now=clock.now())
        session = await service.open_session(tx, agent_id=id_, now=clock.now())
        # The link of a first set-up is another thing, and neither opens the other's page.
        with pytest.raises(first_owner.SetupLinkSpent):
            await first_owner.check_setup_link(tx, second, now=clock.now())
        setup = await first_owner.new_setup_link(tx, now=clock.now())
        with pytest.raises(JoinLinkSpent):
            await invitations.check_join_link(tx, setup, now=clock.now())
        with pytest.raises(JoinLinkSpent):
            await invitations.join(tx, setup, password_hash="x", locale="zh", now=clock.now())
        assert await invitations.join(tx, second, password_hash="x", locale="en", now=clock.now()) == id_
        with pytest.raises(JoinLinkSpent):
            await invitations.join(tx, second, password_hash="y", locale="en", now=clock.now())
    assert await service.signed_in_agent(db, session, now=clock.now()) is None
    async with db.page_transaction(workspace) as tx:
        late = await invitations.new_join_link(tx, id_, now=clock.now())
    clock.advance(timedelta(hours=25))
    async with db.page_transaction(workspace) as tx:
        with pytest.raises(JoinLinkSpent):
            await invitations.check_join_link(tx, late, now=clock.now())


async def test_the_owner_cannot_be_locked_out(db: Database, workspace: int, clock: SetClock) -> None:
    async with db.page_transaction(workspace) as tx:
        owner = await service.add_agent(tx, email="o@b.example", name="欧阳", role=Role.OWNER, password_hash=None)
        with pytest.raises(NotAllowed):
            await colleagues.disable(tx, owner, now=clock.now())
        with pytest.raises(NotAllowed):
            await colleagues.set_access(tx, owner, role=Role.AGENT, inbox_ids=None, now=clock.now())
        with pytest.raises(NotAllowed):
            await invitations.invite(
                tx, email="p@b.example", name="潘", role=Role.OWNER, giver=Role.ADMIN, now=clock.now()
            )
        with pytest.raises(Conflict):
            await colleagues.change(tx, owner, name=" ", now=clock.now())
        await colleagues.change(tx, owner, accounts={"wecom": " ou "}, now=clock.now())
        assert (await colleagues.agent_row(tx, owner)).accounts == {"wecom": "ou"}
        await colleagues.change(tx, owner, name="欧阳青", now=clock.now())
        row = await colleagues.agent_by_email(tx, " O@b.example")
        assert (row.name, row.accounts, row.role) == ("欧阳青", {"wecom": "ou"}, "owner")
        await colleagues.change(tx, owner, accounts={"wecom": ""}, now=clock.now())
        assert (await colleagues.agent_row(tx, owner)).accounts == {}
        with pytest.raises(NotFound):
            await colleagues.agent_by_email(tx, "nobody@b.example")


@pytest.mark.browser
async def test_a_team_grows_in_the_browser(site: Site, visit: Visit, enter: Visit) -> None:
    await promote(site, "林晓", Role.OWNER)
    page = await enter()
    await page.get_by_role("link", name="设置").first.click()
    await page.get_by_role("link", name="团队").first.click()
    form = page.locator("form[action='/settings/people']")
    await form.get_by_label("名字").fill("顾云")
    await form.get_by_label("邮箱").fill("guyun@qinghe.example")
    await form.get_by_role("button", name="添加").click()
    link = await page.locator("#link").input_value()
    await page.get_by_role("button", name="复制").click()
    await expect(page.get_by_role("button", name="已复制")).to_be_visible()

    newcomer = await visit(link)
    await newcomer.fill("[name=password]", WORDS)
    await newcomer.press("[name=password]", "Enter")
    await newcomer.wait_for_selector("html[data-ready]")

    await page.goto(site.url + "/settings/people")
    row = page.locator("details.mate", has_text="顾云")
    await row.locator("summary").click()
    await row.get_by_label("企业微信账号").fill("guyun")
    await row.get_by_role("button", name="保存").click()
    await expect(page.locator("details.mate", has_text="顾云")).to_contain_text("企业微信账号：guyun")
    # What is open elsewhere follows at once: first without a reply box, then without the conversation.
    await newcomer.goto(f"{site.url}/conversations/{site.seed.conversations['马骁']}?queue=all")
    await expect(newcomer.locator("#compose")).to_be_visible()
    await row.locator("summary").click()
    await row.get_by_label("角色").select_option("read_only")
    await row.get_by_role("button", name="保存").click()
    await expect(newcomer.get_by_text("您可以看这里的会话，不能回复或改动")).to_be_visible()
    await expect(newcomer.locator("#compose, #menu-owner, #resolve")).to_have_count(0)
    await row.locator("summary").click()
    await row.get_by_label("只有这些").check()
    await row.get_by_role("button", name="保存").click()
    await expect(newcomer.get_by_text("没有这一页")).to_be_visible()
    await expect(row).to_contain_text("没有可看的收件箱")

    await page.locator("details.mate", has_text="顾云").locator("summary").click()
    await page.locator("details.mate", has_text="顾云").get_by_role("button", name="停用").click()
    await expect(page.locator("details.mate", has_text="顾云")).to_contain_text("已停用")
    await newcomer.goto(site.url + "/")
    await expect(newcomer.locator("[name=password]")).to_be_visible()
