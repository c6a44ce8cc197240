"""How long what is kept: owners decide, the page says before what would go, and a thread says what is gone."""

from __future__ import annotations

from tests.desk.conftest import Site
from zhiban.conversations import service as conversations
from zhiban.events import SYSTEM
from zhiban.kit.file_store import PostgresFileStore
from zhiban.people.models import Role
from zhiban.people.retention import RetentionTimes, retention_times, set_retention
from zhiban.workers.retention import Retention

HERE = "/settings/retention"


async def one_that_is_over(site: Site) -> tuple[int, int]:
    """A conversation of last year with some messages. Returns it, and how many there are."""
    seed, then = site.seed, site.seed.ago(days=400)
    async with seed.database.transaction(seed.workspace_id) as tx:
        await seed.says(tx, "去年的人", "怎么升级", at=then)
        await seed.hands_off(tx, "去年的人", at=then)
        await seed.replies(tx, "去年的人", "看文档第三节", by="林晓", at=then)
        id_ = seed.conversations["去年的人"]
        await conversations.resolve(tx, id_, by=seed.by("林晓"), now=then)
        n = await tx.value("select count(*) from message where conversation_id = %(id)s", id=id_)
    return id_, int(n)


async def test_an_owner_chooses_and_sees_before_what_would_go(site: Site) -> None:
    owner, seed = await site.signed_in(), site.seed
    _, n = await one_that_is_over(site)
    page = (await owner.get(HERE)).text
    assert "按现在填的，没有要删除的。" in page
    would = (await owner.post(f"{HERE}/preview", {"messages": "365"})).text
    assert f"{n}条，属于1个会话" in would
    assert "<html" not in would
    assert "没有要删除的" in (await owner.post(f"{HERE}/preview", {"messages": "500"})).text
    for wrong in ("29", "x", "-5", "99999"):
        answer = await owner.post(HERE, {"messages": wrong, "deliveries": "4"})
        assert (answer.status, f'value="{wrong}"' in answer.text) == (422, True), wrong
    assert (await owner.post(HERE, {"messages": "365", "events": "", "deliveries": "7"})).status == 303
    async with seed.database.transaction(seed.workspace_id) as tx:
        assert await retention_times(tx) == RetentionTimes(messages=365, deliveries=7)
    log = (await owner.get("/settings/audit?about=retention_changed")).text
    assert "消息、备注和文件：一直 → 365" in log


async def test_an_admin_sees_it_and_cannot_change_it(site: Site) -> None:
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update agent set role = %(role)s where id = %(id)s", role=Role.ADMIN, id=seed.agents["陈默"])
    admin = await site.signed_in("chenmo")
    page = (await admin.get(HERE)).text
    assert ("只有负责人能改" in page, "disabled" in page, 'form="retention"' in page) == (True, True, False)
    assert (await admin.post(HERE, {"messages": "30"})).status in (403, 409)
    async with seed.database.transaction(seed.workspace_id) as tx:
        assert await retention_times(tx) == RetentionTimes()


async def test_a_thread_says_that_its_beginning_is_gone(site: Site) -> None:
    seed, agent = site.seed, await site.signed_in()
    id_, n = await one_that_is_over(site)
    assert 'id="forgotten"' not in (await agent.get(f"/conversations/{id_}")).text
    async with seed.database.transaction(seed.workspace_id) as tx:
        await set_retention(tx, RetentionTimes(messages=365), by=SYSTEM, now=seed.clock.now())
    deleter = Retention(seed.database, PostgresFileStore(seed.database, seed.clock), seed.clock)
    await deleter.run_once(seed.workspace_id, pause=0)
    page = (await agent.get(f"/conversations/{id_}")).text
    assert f"这里以前的{n}条消息到了保留期限，已经删除（今天）" in page
    assert "还没有消息" not in page
    for form in ("text", "html"):
        file = (await agent.get(f"/conversations/{id_}/transcript?form={form}")).text
        assert f"这里以前的{n}条消息到了保留期限，已经删除（今天）" in file, form
    english = (await agent.get(HERE, accept_language="en")).text
    assert "上一次" in english or "Last:" in english
    assert f"{n}条，属于1个会话" in (await agent.get(HERE)).text
