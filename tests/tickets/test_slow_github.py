"""GitHub fails for an hour while a group asks for tickets: each becomes one issue, and the group hears of each once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.tickets.test_logins import bound
from zhiban.kit.db import Database
from zhiban.testing.github.simulator import FaultKind


@pytest.mark.parametrize("kind", ["502_after", "broken_after", "502", "429", "401", "limit", "secondary"])
async def test_an_hour_of_failures_costs_no_ticket_and_doubles_none(
    db: Database, workspace: int, kind: FaultKind
) -> None:
    """`_after`: it opens the issue, and we do not hear so."""
    wanted = {"liang": "丢数据", "lu": "位点会跳", "yang": "日志太多", "bei": "等修"}
    heard: list[str] = []
    async with bound(db, workspace) as group:
        chat, faults = group.chat, group.github.faults
        for minute in range(60):
            faults.clear()
            group.github.fails(kind, ending="/issues", times=99, retry_after=30)
            group.github.fails("502", method="GET", ending="/issues", times=99)
            if minute % 15 == 0:
                who, title = list(wanted.items())[minute // 15]
                await chat.asks(who, f"以上1条开工单，标题：{title}")
                assert "已开工单" in await chat.asks(who, "确认")
            chat.clock.advance(timedelta(minutes=1))
            heard += await group.settles()
        assert heard == []
        assert await chat.rows("select distinct tracker_state from ticket") == [("waiting",)]
        faults.clear()
        for _ in range(40):
            chat.clock.advance(timedelta(minutes=1))
            heard += await group.settles()
        opened = [one.title for one in group.repo.entries.values()]
        assert sorted(opened) == sorted(["增量同步丢数据", *wanted.values()])
        assert await chat.rows("select distinct tracker_state from ticket") == [("opened",)]
        assert [sum(title in text and "已建到" in text for text in heard) for title in wanted.values()] == [1, 1, 1, 1]
        assert len(heard) == 4
