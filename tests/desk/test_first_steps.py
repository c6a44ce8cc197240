"""An empty desk says what is left to do, to whoever can do it, and nothing once it is done."""

from __future__ import annotations

import re
from pathlib import Path

from yarl import URL

from tests.desk.conftest import Client, Site
from tests.desk.seed import LIMITS, new_workspace
from tests.twin import open_inbox
from zhiban.conversations import service
from zhiban.events import ASSISTANT
from zhiban.knowledge import service as knowledge
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.people.service import add_agent, open_session
from zhiban.testing.script import Script


async def colleague(site: Site, workspace: int, name: str, role: Role) -> Client:
    async with site.seed.database.transaction(workspace) as tx:
        agent = await add_agent(tx, email=f"{name}@new.example", name=name, role=role, password_hash=None)
        token = await open_session(tx, agent_id=agent, now=site.seed.clock.now())
    client = site.client()
    client.cookies.update_cookies({COOKIE: token}, URL(site.url))
    return client


async def done(client: Client) -> list[bool]:
    page = (await client.get("/")).text
    return [bool(mark) for mark in re.findall(r"<li( data-done)?><a href=", page.partition('class="first"')[2])]


async def test_they_are_ticked_one_by_one_and_go_when_all_are(site: Site, tmp_path: Path) -> None:
    database, now = site.seed.database, site.seed.clock.now()
    workspace = await new_workspace(database, "new", "新的")
    owner = await colleague(site, workspace, "li", Role.OWNER)
    assert await done(owner) == [False, False, False, False, False]
    script = Script(workspace_id=workspace, limits=LIMITS)
    script.inbox = await open_inbox(database, workspace, public_id="new")
    assert await done(owner) == [True, False, False, False, False]
    agent = await colleague(site, workspace, "wang", Role.AGENT)
    assert await done(owner) == [True, False, True, False, False]
    assert await done(agent) == []  # who cannot do them is not told to
    (tmp_path / "faq.md").write_text("# 常见问题\n\n## 怎么退款？\n\n在订单里点退款。\n")
    await knowledge.import_paths(database, workspace, "default", [tmp_path / "faq.md"], now=now)
    assert await done(owner) == [True, True, True, False, False]
    async with database.transaction(workspace) as tx:
        await script.says(tx, "周予安", "怎么退款", at=now)
        await service.hand_off(tx, script.conversations["周予安"], reason="asked", actor=ASSISTANT, now=now)
    assert await done(owner) == [True, True, True, True, False]  # it stays, though there is work
    assert (await owner.post("/me/notifications", {"minutes": "10", "waiting.page": "on"})).status == 303
    assert await done(owner) == []
    assert "没有人在等您。看看未分配里的1个会话。" in (await owner.get("/")).text


async def test_whoever_closes_them_sees_them_no_more(site: Site) -> None:
    workspace = await new_workspace(site.seed.database, "new", "新的")
    owner = await colleague(site, workspace, "li", Role.OWNER)
    admin = await colleague(site, workspace, "bai", Role.ADMIN)
    assert len(await done(owner)) == 5
    assert "不再显示" in (await owner.get("/")).text
    assert (await owner.post("/first-steps/close", {})).status == 303
    assert await done(owner) == []
    assert len(await done(admin)) == 5  # what one has closed, others may still need


async def test_being_told_is_each_ones_own(site: Site) -> None:
    owner = await site.signed_in()
    assert (await done(owner))[-1] is False
    assert (await owner.post("/me/notifications", {"minutes": "10"})).status == 303
    assert (await done(owner))[-1] is True


async def test_on_a_phone_they_stand_above_the_list(site: Site) -> None:
    workspace = await new_workspace(site.seed.database, "new", "新的")
    owner = await colleague(site, workspace, "li", Role.OWNER)
    page = (await owner.get("/")).text
    card = page.split('class="first-phone"')[1].split("</details>")[0]
    assert ("做好了0步，共5步" in card, card.count("<li>")) == (True, 5)


async def test_the_organisation_is_renamed_by_whoever_manages_people(site: Site) -> None:
    owner = await site.signed_in()
    assert (await owner.post("/settings/workspace", {"name": "  青禾　新店 "})).status == 303
    assert "青禾 新店" in (await owner.get("/")).text
    assert (await owner.post("/settings/workspace", {"name": " "})).status == 422
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        told = await tx.values("select data ->> 'name' from event where kind = 'workspace_renamed'")
    assert told == ["青禾 新店"]
