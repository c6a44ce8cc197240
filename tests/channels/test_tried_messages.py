"""A process ends while a OneBot program has our words in its hands: they are not said again."""

from __future__ import annotations

import pytest

from tests.channels.test_sockets import LI, Desk, desk
from zhiban.conversations import replies
from zhiban.kit.clock import SystemClock
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.workers import conversation_worker

__all__ = ["desk"]


async def test_what_the_program_had_in_its_hands_when_a_process_ended_is_not_said_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_worker, "RENEW_SECONDS", 0.2)
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    await desk.program.says(LI, "在吗")
    await desk.eventually("select count(*) > 0 from message where direction = 'in' and state = 'handled'")
    await desk.eventually("select count(*) = 0 from message where state = 'queued'")
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        lin = await add_agent(tx, email="lin@example.com", name="林", role=Role.AGENT, password_hash=None)
        limits, conversation_id = (
            (await desk.inbox()).channel.limits,
            await tx.value("select id from conversation where kind <> 'group'"),
        )
        desk.program.faults.append("held")
        now = SystemClock().now()
        await replies.reply(tx, conversation_id, text="明天寄", by=lin, limits=limits, now=now)
    await desk.program.until(lambda: desk.program.sent and desk.program.sent[-1].text == "明天寄")
    before = len(desk.program.sent)
    # However long it takes, no other process may take it for lost.
    ((until,),) = await desk.rows("select lease_expires_at from conversation_work where leased_by is not null")
    await desk.eventually(f"select true from conversation_work where lease_expires_at > '{until}'")
    assert desk.app.workers is not None
    await desk.app.workers.conversation_worker.close(within=0.1)
    assert await desk.rows("select state, tried_at is null from message where text = '明天寄'") == [("queued", False)]
    await desk.restart()
    await desk.eventually("select state = 'sent' from message where text = '明天寄'")
    assert await desk.rows("select failure from message where text = '明天寄'") == [("unconfirmed",)]
    assert len(desk.program.sent) == before
