"""An inbox that answers from a base of its own, which is removed while it serves."""

from __future__ import annotations

from pathlib import Path

from tests.stories.conftest import Shop
from tests.stories.test_first_answer import text_of
from tests.stories.test_group_chat import GroupTalk
from tests.stories.test_webhook_channel import connected

from zhiban.channels import configuring
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge

OWN = "# 加急\n\n## 怎么申请退款？\n\n加急柜台当面退。\n"
KNOWN = "怎么申请退款？"


async def own_base(shop: Shop, folder: Path, inbox_id: int) -> int:
    """The inbox answers from a base that has other words for the same question."""
    document = folder / "加急.md"
    document.write_text(OWN)
    now = SystemClock().now()
    async with shop.work() as tx:
        base_id = await knowledge.ensure_base(tx, "加急", "加急")
    await knowledge.import_paths(shop.app.database, shop.workspace_id, "加急", [document], now=now)
    async with shop.work() as tx:
        await configuring.set_base(tx, inbox_id, base_id, now=now)
    return base_id


async def test_a_contact_is_answered_from_the_default_base(shop: Shop, tmp_path: Path) -> None:
    inbox_id = await shop.behaves()
    base_id = await own_base(shop, tmp_path, inbox_id)
    (answer,) = await shop.says("wmLIXIAO", KNOWN)
    assert "加急柜台" in text_of(answer)
    async with shop.work() as tx:
        await knowledge.remove_base(tx, base_id, now=SystemClock().now())
    (answer,) = await shop.says("wmLIXIAO", KNOWN)
    assert "7 天内都可以申请" in text_of(answer)
    await shop.idle()
    assert (await shop.conversation()).status == "pending"
    told = await shop.rows("select data -> 'before', data -> 'after' from event where data -> 'before' ? 'base_id'")
    assert told == [({"base_id": None}, {"base_id": base_id}), ({"base_id": base_id}, {"base_id": None})]


async def test_a_group_is_answered_from_the_default_base(shop: Shop, tmp_path: Path) -> None:
    async with connected(shop) as crm:
        talk = GroupTalk(crm)
        await talk.says("zhou", f"@值班 {KNOWN}", us=True)
        assert "申请售后" in talk.heard[-1]
        ((inbox_id,),) = await shop.rows("select inbox_id from conversation where external_id = 'g-1'")
        base_id = await own_base(shop, tmp_path, inbox_id)
        await talk.says("zhou", f"@值班 {KNOWN}", us=True)
        assert "加急柜台" in talk.heard[-1]
        async with shop.work() as tx:
            await knowledge.remove_base(tx, base_id, now=SystemClock().now())
        await talk.says("wang", f"@值班 {KNOWN}", us=True)
        assert "申请售后" in talk.heard[-1]


async def test_a_process_that_heard_of_no_removal_answers(shop: Shop, tmp_path: Path) -> None:
    """What another process says of a removal may come late: the turn asks what answers now."""
    inbox_id = await shop.behaves()
    base_id = await own_base(shop, tmp_path, inbox_id)
    await shop.says("wmLIXIAO", KNOWN)
    inbox = await shop.app.connections.inbox(shop.workspace_id, inbox_id)
    async with shop.work() as tx:
        await tx.run("delete from knowledge_base where id = %(id)s", id=base_id)
    assert shop.app.connections.known(shop.workspace_id, inbox_id) is inbox
    (answer,) = await shop.says("wmLIXIAO", KNOWN)
    assert "7 天内都可以申请" in text_of(answer)
    assert await shop.rows("select base_id from inbox where id = %(id)s", id=inbox_id) == [(None,)]
