"""Two people who answer one contact: whoever has not read the other's reply is told before theirs goes out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from tests.desk.seed import LIMITS, Seed, create_seed

from zhiban.bootstrap import reactions
from zhiban.conversations import replies
from zhiban.conversations.outbox import ReplyCollision
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import Database


@dataclass
class Talk:
    seed: Seed
    conversation: int

    async def last(self) -> int:
        async with self.seed.database.transaction(self.seed.workspace_id) as tx:
            return int(
                await tx.value("select max(id) from message where conversation_id = %(id)s", id=self.conversation)
            )

    async def reply(self, who: str, text: str, *, seen: int | None, key: str | None = None) -> list[int]:
        async with self.seed.database.transaction(self.seed.workspace_id) as tx:
            return await replies.reply(
                tx,
                self.conversation,
                text=text,
                by=self.seed.agents[who],
                limits=LIMITS,
                now=self.seed.clock.now(),
                client_key=key,
                seen=seen,
            )


@pytest.fixture
async def talk(db: Database) -> Talk:
    db.reactions = reactions()
    seed = await create_seed(db, SystemClock())
    return Talk(seed, seed.conversations["周予安"])


async def test_an_unread_reply_of_a_colleague_stops_ours_and_a_read_one_does_not(talk: Talk) -> None:
    seen = await talk.last()
    assert await talk.reply("林晓", "可以，我先搁置", seen=seen)
    with pytest.raises(ReplyCollision) as told:
        await talk.reply("陈默", "不能搁置", seen=seen, key="k")
    assert told.value.name == "林晓"
    assert await talk.reply("林晓", "今晚十点见", seen=seen)  # one's own are read
    now_seen = await talk.last()
    assert await talk.reply("陈默", "补充一句", seen=now_seen, key="k")
    assert await talk.reply("陈默", "补充一句", seen=seen, key="k") == []  # sent already, whatever came since
    assert await talk.reply("林晓", "程序不说读到哪里", seen=None)


async def test_what_is_no_answer_to_the_contact_stops_nothing(talk: Talk) -> None:
    seen, seed = await talk.last(), talk.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await seed.says(tx, "周予安", "在吗", at=seed.clock.now())
        await replies.add_note(tx, talk.conversation, text="我来看", by=seed.by("陈默"), now=seed.clock.now())
    assert await talk.reply("林晓", "在的", seen=seen)


async def test_the_assistants_answer_counts_and_a_dropped_one_does_not(talk: Talk) -> None:
    seen, seed = await talk.last(), talk.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await seed.answers(tx, "周予安", "可以的。", at=seed.clock.now(), confidence=0.9)
    with pytest.raises(ReplyCollision, match="assistant"):
        await talk.reply("林晓", "可以", seen=seen)
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update message set state = 'dropped' where id = %(id)s", id=await talk.last())
    assert await talk.reply("林晓", "可以", seen=seen)


async def test_of_two_at_the_same_moment_one_goes_out(talk: Talk) -> None:
    seen = await talk.last()
    outcomes = await asyncio.gather(
        *(talk.reply(who, f"我是{who}", seen=seen) for who in ("林晓", "陈默", "苏禾")), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["ReplyCollision", "ReplyCollision", "list"]
