"""What agents typed and did not send, asked over HTTP."""

from __future__ import annotations

import json

from tests.desk.conftest import Site


async def test_a_reply_and_a_note_are_drafts_of_their_own(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    measured = await agent.post(f"/conversations/{zhou}/draft", {"text": "一段话。" * 250, "mode": "reply"})
    assert json.loads(measured.text) == {"parts": 2}
    await agent.post(f"/conversations/{zhou}/draft", {"text": "只给同事", "mode": "note"})
    page = (await agent.get(f"/conversations/{zhou}")).text
    assert "一段话。</textarea>" in page
    assert "只给同事</textarea>" in page
    assert 'data-mode="note"' in page  # what was written last is in front
    await agent.post(f"/conversations/{zhou}/notes", {"text": "只给同事"})
    page = (await agent.get(f"/conversations/{zhou}")).text
    assert "一段话。</textarea>" in page
    assert "只给同事</textarea>" not in page


async def test_a_reply_of_a_person_is_sent_whole_or_not_at_all(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    words = "很长的一段话。" * 600
    refused = await agent.post(f"/conversations/{zhou}/replies", {"text": words, "key": "k-7"}, hx_request="true")
    assert (refused.status, refused.text) == (409, "这段话要7条才发得完，只剩5条。请缩短一些。")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await tx.value("select count(*) from message where state = 'queued'") == 0
    assert (await agent.post(f"/conversations/{zhou}/replies", {"text": words[:2000], "key": "k-8"})).status == 204
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        parts = await tx.rows("select text from message where state = 'queued' order by id")
    assert "".join(text for (text,) in parts) == words[:2000]
