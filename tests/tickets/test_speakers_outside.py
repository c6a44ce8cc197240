"""How speakers are named outside of their group: as it wants, and never by their own names where everybody reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.tickets.chat import START, Chat, group_chat
from tests.tickets.stand import TrackerStand, tracker_stand
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.tickets import repositories

REAL, ALIAS, NUMBER = "杨帆", "老杨", "成员1"


@pytest.fixture
async def stand(db: Database, workspace: int) -> AsyncIterator[TrackerStand]:
    async with tracker_stand(db, workspace, clock=SetClock(START)) as found:
        yield found


@pytest.fixture
async def chat(db: Database, workspace: int, stand: TrackerStand) -> AsyncIterator[Chat]:
    async with group_chat(db, workspace, clock=stand.clock) as found:
        await stand.repository()
        async with db.transaction(workspace) as tx:
            await repositories.link(tx, found.conversation_id, "acme/shop", by=SYSTEM, now=stand.now)
        yield found


@pytest.mark.parametrize(
    ("signature", "private", "name"),
    [
        ("real", True, REAL),
        ("real", False, ALIAS),
        ("alias", True, ALIAS),
        ("alias", False, ALIAS),
        ("anonymous", True, NUMBER),
        ("anonymous", False, NUMBER),
    ],
)
async def test_a_public_repository_reads_no_real_name_and_no_group(
    chat: Chat, stand: TrackerStand, signature: str, private: bool, name: str
) -> None:
    stand.board.repositories[0] = replace(stand.board.repositories[0], private=private)
    await stand.repository()
    await chat.rows("update contact set name = %(real)s where name = %(alias)s returning 1", real=REAL, alias=ALIAS)
    await chat.behaves(signature=signature)
    preview = await chat.asks("liang", "以上1条开工单，标题：丢数据")
    assert f"1 {name}：+1，等修" in preview  # as it will stand there
    await chat.asks("liang", "确认")
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert f"**{name}**" in issue.body
    assert not any(other in issue.body for other in {REAL, ALIAS, NUMBER} - {name})
    assert ("青禾交流" in issue.body) == private
