"""Whatever a tracker refuses, the group that asked hears why, in a sentence; and what a closed issue still takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.tickets.cards import CardChat, card_chat
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
