"""What agents typed and did not send, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from tests.desk.conftest import Client, Site
from zhiban.desk import typing_notices
from zhiban.desk.typing_notices import TypingNotice, TypingNotices
from zhiban.kit.db import Transaction


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


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[aiohttp.StreamReader]:
    async with aiohttp.ClientSession(cookie_jar=client.cookies) as session:
        stream = await session.get(client.url + "/stream")
        yield stream.content
        stream.close()


async def heard(stream: aiohttp.StreamReader) -> dict[str, object]:
    """What is told of typing next. Fails after thirty seconds."""
    async with asyncio.timeout(30):
        while (await stream.readline()).strip() != b"event: typing":
            pass
        return dict(json.loads((await stream.readline()).removeprefix(b"data: ")))


async def test_colleagues_who_have_it_open_see_each_other(site: Site) -> None:
    lin, chen = [await site.signed_in(who) for who in ("linxiao", "chenmo")]
    zhou = site.seed.conversations["周予安"]
    here = f"/conversations/{zhou}"
    assert "也开着" not in (await lin.post(f"{here}/viewing")).text
    async with listening(lin) as hers:
        assert "林晓也开着这个会话" in (await chen.post(f"{here}/viewing")).text
        assert await heard(hers) == {"conversation": zhou, "typing": [], "viewing": True}
        assert "陈默也开着这个会话" in (await lin.post(f"{here}/viewing")).text
        await chen.post(f"{here}/viewing")  # again and again, which is no news
        assert "陈默也开着这个会话" in (await lin.get(here)).text
        await chen.post(f"{here}/left")
        assert await heard(hers) == {"conversation": zhou, "typing": [], "viewing": True}
        assert "也开着" not in (await lin.post(f"{here}/viewing")).text
    await chen.post(f"{here}/viewing")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update conversation_viewer set seen_at = seen_at - interval '1 minute'")
    assert "也开着" not in (await lin.post(f"{here}/viewing")).text  # closed without a word


async def test_colleagues_who_see_a_conversation_hear_who_types_in_it_and_that_it_ended(site: Site) -> None:
    lin, chen, suhe = [await site.signed_in(who) for who in ("linxiao", "chenmo", "suhe")]
    zhou, ma = (site.seed.conversations[name] for name in ("周予安", "马骁"))
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set inbox_ids = '{}' where id = %(id)s", id=site.seed.agents["苏禾"])
    async with listening(lin) as hers, listening(chen) as his, listening(suhe) as elsewhere:
        await chen.post(f"/conversations/{zhou}/draft", {"text": "稍等，"})
        assert await heard(hers) == {"conversation": zhou, "typing": [{"name": "陈默", "mode": "reply"}]}
        assert await heard(his) == {"conversation": zhou, "typing": []}  # nobody is told of their own words
        # More of it is not told before two seconds are over, other conversations are meanwhile.
        await chen.post(f"/conversations/{zhou}/draft", {"text": "稍等，我查一下"})
        await lin.post(f"/conversations/{ma}/draft", {"text": "给同事", "mode": "note"})
        assert await heard(his) == {"conversation": ma, "typing": [{"name": "林晓", "mode": "note"}]}
        assert await heard(hers) == {"conversation": ma, "typing": []}
        await chen.post(f"/conversations/{zhou}/replies", {"text": "稍等，我查一下", "key": "k-1"})
        assert await heard(hers) == {"conversation": zhou, "typing": []}
        # Who only looks types nothing, and who has not the inbox hears nothing.
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            await tx.run("update agent set role = 'read_only' where id = %(id)s", id=site.seed.agents["陈默"])
        assert (await chen.post(f"/conversations/{zhou}/draft", {"text": "我"})).status == 409
        site.broker.close()
        assert b"typing" not in await elsewhere.read()


async def test_who_comes_while_others_are_looked_up_is_told_of_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, told = site.seed, dict[int, bool]()
    zhou, ma = seed.conversations["周予安"], seed.conversations["叶知秋"]
    both = asyncio.Event()

    def tell(_workspace_id: int, notice: TypingNotice) -> None:
        told[notice.conversation_id] = notice.viewing
        if len(told) == 2:
            both.set()

    notices, looked_up = TypingNotices(seed.database, seed.clock, tell), typing_notices.typists

    async def slowly(tx: Transaction, ids: Sequence[int], *, since: datetime) -> Sequence[Any]:
        if zhou in ids:
            notices.viewers_changed(seed.workspace_id, ma)
        return await looked_up(tx, ids, since=since)

    monkeypatch.setattr(typing_notices, "typists", slowly)
    notices.viewers_changed(seed.workspace_id, zhou)
    async with asyncio.timeout(30):
        await both.wait()
    assert told == {zhou: True, ma: True}
    notices.close()
