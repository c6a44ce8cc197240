"""An admin of a group says which repository it belongs with; nobody else does, and nothing private is given away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.tickets.chat import START, Chat, group_chat
from tests.tickets.stand import TrackerStand, tracker_stand
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.tickets import repositories
from zhiban.tickets.binding import BindingWord, parse_binding


@pytest.fixture
async def stand(db: Database, workspace: int) -> AsyncIterator[TrackerStand]:
    async with tracker_stand(db, workspace, clock=SetClock(START)) as found:
        yield found


@pytest.fixture
async def chat(db: Database, workspace: int, stand: TrackerStand) -> AsyncIterator[Chat]:
    async with group_chat(db, workspace, clock=stand.clock) as found:
        await stand.repository()
        await found.turn()
        yield found


async def linked(chat: Chat) -> list[str]:
    async with chat.database.transaction(chat.workspace_id) as tx:
        return [one.pattern for one in await repositories.links_of(tx, chat.conversation_id)]


async def to_us(chat: Chat, who: str, text: str, **more: Any) -> str:
    return await chat.asks(who, f"@值班助手 {text}", mentions_us=True, **more)


async def test_an_admin_binds_a_repository_and_unbinds_it(chat: Chat) -> None:
    assert "已绑定acme/shop" in await to_us(chat, "liang", "绑定 ACME/shop")
    assert "已经绑定了acme/shop" in await to_us(chat, "liang", "绑定仓库：acme/shop。")
    assert await linked(chat) == ["acme/shop"]
    assert "仓库：acme/shop" in await chat.asks("liang", "以上2条开工单")
    assert "已解绑acme/shop" in await to_us(chat, "liang", "解绑 https://tracker.test/acme/shop")
    assert "没有绑定acme/shop" in await to_us(chat, "liang", "解绑acme/shop")
    assert await linked(chat) == []
    facts = await chat.rows(
        "select kind, actor_kind from event where kind in ('repository_linked', 'repository_unlinked') order by id"
    )
    assert facts == [("repository_linked", "contact"), ("repository_unlinked", "contact")]


async def test_nobody_else_binds_and_nothing_said_to_others_counts(chat: Chat) -> None:
    assert "只有群管理" in await to_us(chat, "yang", "绑定 acme/shop")
    await chat.asks("liang", "绑定 acme/shop")  # said to the group
    await chat.behaves(files="nobody")
    assert "没有开放" in await to_us(chat, "liang", "绑定 acme/shop")
    assert await linked(chat) == []


async def test_what_is_private_is_answered_like_what_there_is_not(chat: Chat, stand: TrackerStand) -> None:
    async with chat.database.transaction(chat.workspace_id) as tx:
        secret = replace(stand.board.repository("acme/shop"), external_id="2", name="acme/secret", private=True)
        await repositories.keep(tx, stand.connection_id, secret, now=stand.now)
    hidden = await to_us(chat, "liang", "绑定 acme/secret")
    assert hidden.replace("secret", "nothing") == await to_us(chat, "liang", "绑定 acme/nothing")
    assert await linked(chat) == []
    # What a colleague has bound, the group may let go.
    async with chat.database.transaction(chat.workspace_id) as tx:
        await repositories.link(tx, chat.conversation_id, "acme/secret", by=SYSTEM, now=stand.now)
    assert "已解绑acme/secret" in await to_us(chat, "liang", "解绑 acme/secret")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("绑定 acme/shop", BindingWord("acme/shop", bind=True)),
        ("@bot unbind acme/shop", BindingWord("acme/shop", bind=False)),
        ("绑定acme/*", None),  # all there will ever be, only a colleague binds
        ("怎么绑定手机号？", None),
        ("绑定 acme/shop 可以吗", None),
        ("绑定" + " a/b" * 200, None),
    ],
)
def test_only_a_whole_sentence_binds(text: str, meant: BindingWord | None) -> None:
    assert parse_binding(text) == meant
