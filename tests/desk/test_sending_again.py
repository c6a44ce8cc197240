"""Messages that failed, or may have: the desk says why, and people may send them again."""

from __future__ import annotations

from tests.desk.conftest import Site
from zhiban.conversations.sending import SendRejected, SendSucceeded
from zhiban.ports import Refusal


async def test_a_message_that_failed_is_shown_with_its_reason_and_sent_again(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    zhou = seed.conversations["周予安"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        blocked = SendRejected(Refusal.BLOCKED, 0)
        ids = await seed.replies(tx, "周予安", "诊断工具在这里", by="林晓", at=seed.clock.now(), outcome=blocked)
    page = (await agent.get(f"/conversations/{zhou}")).text
    assert "没有发出：对方拒收，或平台拦下了这条" in page
    again = await agent.post(f"/messages/{ids[0]}/again", hx_request="true")
    assert "正在发送" in again.text
    assert (await agent.post(f"/messages/{ids[0]}/again")).status == 409
    assert (await agent.post("/messages/999999/again")).status == 404


async def test_what_nobody_knows_to_have_arrived_says_so_and_people_may_send_it_again(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    zhou = seed.conversations["周予安"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        (sent,) = await seed.replies(tx, "周予安", "诊断工具在这里", by="林晓", at=seed.clock.now())
        unknown = SendSucceeded(confirmed=False)
        ids = await seed.replies(tx, "周予安", "也可以看文档", by="林晓", at=seed.clock.now(), outcome=unknown)
    assert (await agent.post(f"/messages/{sent}/again")).status == 409
    assert "可能没送到" in (await agent.get(f"/conversations/{zhou}")).text
    again = await agent.post(f"/messages/{ids[0]}/again", hx_request="true")
    assert ("正在发送" in again.text, "可能没送到" in again.text) == (True, False)
    assert (await agent.post(f"/messages/{ids[0]}/again")).status == 409
