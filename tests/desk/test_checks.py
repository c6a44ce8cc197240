"""One list of checks for the page, its red mark and the terminal."""

from __future__ import annotations

import json

from tests.desk.conftest import Site
from tests.desk.seed import PASSWORD, new_workspace
from tests.passwords import quickly_hashed
from zhiban.desk.checks import NoticeSetup, findings
from zhiban.kit.i18n import Texts
from zhiban.people.models import Role
from zhiban.people.service import add_agent


async def test_a_new_installation_says_what_keeps_it_from_working(site: Site) -> None:
    workspace = await new_workspace(site.seed.database, "fresh", "新店")
    hashed = quickly_hashed(PASSWORD)
    async with site.seed.database.transaction(workspace) as tx:
        await add_agent(tx, email="first@qinghe.example", name="初", role=Role.OWNER, password_hash=hashed)
        silent = await findings(tx, NoticeSetup(), Texts("zh"))
        muted = await findings(tx, NoticeSetup(notices=False), Texts("zh"))
    assert [one.said for one in silent if one.level == "fail"] == [
        "没有接入任何账号，收不到消息",
        "转人工时没有人会收到通知",
    ]
    assert all(one.cure for one in silent if one.level in ("fail", "warn"))
    assert [one.check for one in muted if one.level == "fail"] == ["账号"]
    agent = site.client()
    assert (await agent.sign_in("first")).status == 303
    page = (await agent.get("/settings/health")).text
    assert "1处要处理" in page
    assert "一切正常" not in page
    assert '<span class="sr">1处要处理</span>' in (await agent.get("/")).text


async def test_the_red_mark_counts_dead_jobs_too(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run(
            "insert into procrastinate_jobs (queue_name, task_name, args, status, attempts) "
            "values ('quick', 'tell_people', %(args)s::jsonb, 'failed', 8)",
            args=json.dumps({"workspace_id": seed.workspace_id}),
        )
    assert '<span class="sr">1处要处理</span>' in (await agent.get("/")).text
    assert "1个任务没有做成：tell_people" in (await agent.get("/settings/health")).text
