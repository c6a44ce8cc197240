"""Whatever a tracker refuses, the group that asked hears why, in a sentence; and what a closed issue still takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.tickets.cards import CardChat, card_chat
from tests.tickets.test_logins import bound
from zhiban.integrations.forges import client
from zhiban.kit.db import Database
from zhiban.ports import TrackerRefused

REFUSALS = [
    (TrackerRefused("not_found", code=404), "找不到这个仓库"),
    (TrackerRefused("issues_disabled", code=410), "这个仓库关掉了议题"),
    (TrackerRefused("invalid", code=422, hint="title is too long"), "那边没有接受这份内容"),
    (TrackerRefused("forbidden", code=403), "那边不让我们写"),
]


@pytest.fixture
async def group(db: Database, workspace: int) -> AsyncIterator[CardChat]:
    async with card_chat(db, workspace) as found:
        yield found


@pytest.mark.parametrize(("error", "why"), REFUSALS)
async def test_why_a_comment_is_not_written_is_said(group: CardChat, error: TrackerRefused, why: str) -> None:
    card = await group.card()
    group.stand.board.faults.append((error, False))
    await group.chat.asks("lu", "还在丢", reply_to=card)
    (told,) = await group.settles()
    assert f"没能写成：{why}" in told
    assert group.said() == []


@pytest.mark.parametrize(("error", "why"), REFUSALS)
async def test_why_an_issue_is_not_opened_is_said_and_the_ticket_stays(
    group: CardChat, error: TrackerRefused, why: str
) -> None:
    chat = group.chat
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    group.stand.board.faults.append((error, False))
    (told,) = await group.settles()
    assert f"工单1没能建到仓库：{why}" in told
    assert await chat.rows("select state, tracker_state from ticket") == [("open", "refused")]
    assert group.stand.board.issues == {}


async def test_what_is_said_at_a_closed_issue_is_written_and_how_to_open_it_again_is_told(group: CardChat) -> None:
    card, board, place = await group.card(), group.stand.board, ("acme/shop", 7)
    board.issues[place] = replace(board.issues[place], state="closed")
    await group.happens("closed", state="closed", at=group.stand.now.timestamp() + 1)
    await group.chat.asks("lu", "还在丢", reply_to=card)
    (told,) = await group.settles()
    assert "已评论到acme/shop #7" in told
    assert "这条议题是关闭的；要重开" in told
    assert len(group.said()) == 1
    assert board.issues[place].state == "closed"
    await group.chat.asks("liang", "重开", reply_to=card)
    await group.settles()
    assert board.issues[place].state == "open"


async def test_what_github_answers_for_good_is_heard_in_the_group_once(db: Database, workspace: int) -> None:
    """Over HTTP, from the group's words to the group."""
    async with bound(db, workspace) as there:
        there.entry.locked = True
        for installation in there.app.installations.values():
            installation.pushes = False
        assert "那条议题锁住了" in await there.writes("锁住以后")
        there.entry.locked, there.entry.deleted = False, True
        assert "那条议题已经不在了" in await there.writes("删除以后")
        there.entry.deleted, there.repo.has_issues = False, False
        await there.chat.asks("liang", "以上5条开工单")
        await there.chat.asks("liang", "确认")
        (told,) = await there.settles()
        assert "工单1没能建到仓库：这个仓库关掉了议题" in told
        assert (len(there.repo.entries), there.entry.comments) == (1, [])


async def test_a_comment_that_github_takes_after_we_hung_up_is_written_and_told_once(
    db: Database, workspace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bound(db, workspace) as there:
        there.github.fails("slow", ending="/comments")
        with monkeypatch.context() as patched:
            patched.setattr(client, "TIMEOUT", 0.2)  # GitHub takes 0.3
            assert await there.chat.asks("lu", "还在丢", reply_to=there.card_id) == ""
            assert await there.settles() == []
        async with asyncio.timeout(30):
            while not there.entry.comments:  # noqa: ASYNC110 - it goes on over there
                await asyncio.sleep(0.01)
        told: list[str] = []
        for _ in range(3):
            there.chat.clock.advance(timedelta(minutes=1))
            told += [text for text in await there.settles() if "已评论" in text]
        assert (len(there.entry.comments), len(told)) == (1, 1)
