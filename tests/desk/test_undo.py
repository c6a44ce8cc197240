"""What was resolved by mistake stands again as it was."""

from __future__ import annotations

import re

from tests.desk.conftest import Client, Site


async def shown(agent: Client, conversation: int) -> tuple[str, str]:
    """The row in the list and the pane beside the thread, without what time alone changes."""
    rows = (await agent.get("/desk/rows?queue=mine&status=open")).text
    row = rows.split(f'<li id="row-{conversation}">')[1].split("</li>")[0]
    page = (await agent.get(f"/conversations/{conversation}")).text
    side = page.split('id="facts"')[1].split("</aside>")[0]
    return re.sub(r"等\d+分", "等", row), side


async def test_undoing_restores_the_row_the_reason_and_the_past(site: Site) -> None:
    agent, conversation = await site.signed_in(), site.seed.conversations["沈嘉宁"]
    await agent.get(f"/conversations/{conversation}")  # read, so that only the resolution changes anything
    before = await shown(agent, conversation)
    assert "data-sla" in before[0]
    assert "知识里没有答案" in before[1]
    await agent.post(f"/conversations/{conversation}/resolve", {"queue": "mine"}, hx_request="true")
    undone = await agent.post(f"/conversations/{conversation}/undo-resolve", {"queue": "mine"}, hx_request="true")
    assert undone.headers["hx-redirect"] == f"/conversations/{conversation}?queue=mine&status=open"
    assert await shown(agent, conversation) == before
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert (
            await tx.value(
                "select count(*) from message where state = 'queued' and conversation_id = %(id)s", id=conversation
            )
            == 0
        )
