"""Whoever asks for a person reaches one who is there: from the contact's phone to the desk and back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
from tests.stories.conftest import AheadClock, Shop, running_shop

from zhiban.people import service as people
from zhiban.people.auth import COOKIE
from zhiban.postgres.provisioning import DatabaseUrls

HOLDER = "select assignee_id from conversation where external_id = %(thread)s and assignee_id is not null"

FREE = "select 1 from conversation where status = 'open' and assignee_id is null"


@dataclass
class Desk:
    """A browser in which an agent is signed in."""

    shop: Shop
    agent_id: int
    token: str

    @classmethod
    async def of(cls, shop: Shop, name: str, member: str) -> Desk:
        agent_id = await shop.agent(name, member=member)
        async with shop.work() as tx:
            return cls(shop, agent_id, await people.open_session(tx, agent_id=agent_id, now=shop.app.clock.now()))

    async def post(self, path: str, **form: str) -> None:
        async with (
            aiohttp.ClientSession(cookies={COOKIE: self.token}) as session,
            session.post(self.shop.url + path, data=form, headers={"origin": self.shop.url}) as answer,
        ):
            assert answer.status < 300, await answer.text()

    async def has(self, thread: str) -> None:
        """At once, not only when the timer looks."""
        assert await self.shop.eventually(HOLDER, thread=thread) == self.agent_id


async def test_conversations_find_the_people_who_are_there(urls: DatabaseUrls, tmp_path: Path) -> None:
    clock = AheadClock()
    async with running_shop(urls, tmp_path, clock=clock) as shop:
        await shop.behaves(assignment={"by": "balanced", "most": 1, "offline_minutes": 1})
        lin, chen = await Desk.of(shop, "林晓", "linxiao"), await Desk.of(shop, "陈默", "chenmo")
        await chen.post("/presence/beat")
        await shop.says("wmLI", "转人工")
        await chen.has("wmLI")
        await shop.says("wmWANG", "转人工")
        assert (await shop.conversation("wmWANG")).assignee_id is None  # chen has all he may
        await lin.post("/presence/beat")
        await lin.has("wmWANG")

        await shop.says("wmZHAO", "转人工")
        first = await shop.conversation("wmLI")
        await chen.post(f"/conversations/{first.id}/replies", text="您好，我是陈默", key="k1")
        await shop.wecom.until_sent("wmLI", 2)
        await chen.post(f"/conversations/{first.id}/resolve")
        await chen.has("wmZHAO")

        clock.ahead += timedelta(minutes=2)  # both laptops are closed, and lin opens hers again
        await shop.eventually("select 1 from agent_presence having bool_and(status = 'offline')")
        clock.ahead += timedelta(minutes=2)
        await lin.post("/presence/beat")
        await shop.eventually(f"{FREE} and external_id = 'wmZHAO'")  # chen did not come back
        await lin.has("wmWANG")
        waiting = await shop.conversation("wmWANG")
        await lin.post(f"/conversations/{waiting.id}/resolve")
        await lin.has("wmZHAO")
        said = await shop.rows("select data ->> 'reason' from event where kind = 'agent_went_offline'")
    assert said == [("silent",), ("silent",)]
