"""Who follows a conversation: added by hand, by a mention, by a macro; told of what happens, and of nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.automation import macros
from zhiban.automation.macro_definition import load_macro
from zhiban.bootstrap import limits_of
from zhiban.conversations import followers, queries, replies, service
from zhiban.conversations.followers import MOST, add_followers, followers_of, remove_follower
from zhiban.events import Actor, ConversationFollowersChanged
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import Texts
from zhiban.notifications.queries import notifications
from zhiban.notifications.service import read_about
from zhiban.notifications.wording import title_of
from zhiban.people.models import Role
from zhiban.people.permissions import Access, NotAllowed
from zhiban.people.service import add_agent
from zhiban.workers.maintenance import Maintenance

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def told(tx: Transaction, agent_id: int) -> list[str]:
    """What they were told about what they follow, oldest first."""
    rows = await notifications(tx, Access(agent_id, Role.AGENT))
    return [title_of(one, Texts("zh")) for one in reversed(rows) if one.kind == "followed"]


async def names(tx: Transaction, conversation_id: int) -> list[str]:
    return [one.name for one in await followers_of(tx, conversation_id)]


async def test_followers_hear_of_notes_words_and_the_end_and_never_of_their_own_doing(desk: Desk) -> None:
    lin, chen = Actor("agent", desk.lin), Actor("agent", desk.chen)
    clock = SetClock(NOON)
    timer = Maintenance(desk.database, limits_of, clock)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        assert list(await add_followers(tx, state.id, [desk.chen], by=lin, now=NOON)) == [desk.chen]
        assert list(await add_followers(tx, state.id, [desk.chen], by=lin, now=NOON)) == []
        await replies.add_note(tx, state.id, text="像是缓存", by=lin, now=NOON)
        await replies.add_note(tx, state.id, text="我看看", by=chen, now=NOON)
    await timer.run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert len(await told(tx, desk.chen)) == 1  # what was written before they followed is no news
        await desk.writes(tx, "wm1", "好了吗", at=NOON + MINUTE)
        await desk.writes(tx, "wm1", "还是不行", at=NOON + 2 * MINUTE)
    clock.advance(3 * MINUTE)
    await asyncio.gather(timer.run_once(), Maintenance(desk.database, limits_of, clock).run_once())
    await timer.run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        await service.resolve(tx, state.id, by=lin, now=NOON + 4 * MINUTE)
        assert [one[:3] for one in await told(tx, desk.chen)] == ["林晓在", "您关注", "您关注"]
        assert await told(tx, desk.lin) == []
        changed = [one for one in await queries.history(tx, state.id) if isinstance(one, ConversationFollowersChanged)]
        assert [(one.added, one.actor.id) for one in changed] == [((desk.chen,), desk.lin)]


async def test_a_chatting_contact_is_told_of_once_until_that_is_read(desk: Desk) -> None:
    clock = SetClock(NOON)
    timer = Maintenance(desk.database, limits_of, clock)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await add_followers(tx, state.id, [desk.chen], by=Actor("agent", desk.lin), now=NOON)
    for read in (False, False, True, False):
        clock.advance(MINUTE)
        async with desk.database.transaction(desk.workspace_id) as tx:
            if read:
                await read_about(tx, desk.chen, state.id, now=clock.now())
            await desk.writes(tx, "wm1", "还有", at=clock.now())
        await timer.run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert len(await told(tx, desk.chen)) == 2


async def test_who_has_it_in_hand_is_not_told_that_its_contact_wrote(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await add_followers(tx, state.id, [desk.lin], by=Actor("agent", desk.lin), now=NOON)
        await desk.writes(tx, "wm1", "在吗", at=NOON + MINUTE)
    await Maintenance(desk.database, limits_of, SetClock(NOON + 2 * MINUTE)).run_once()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await told(tx, desk.lin) == []


async def test_whom_a_note_names_follows_and_hears_of_it_once(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        for _ in range(2):
            await replies.add_note(tx, state.id, text="@陈默 看一下", by=Actor("agent", desk.lin), now=NOON)
        assert await names(tx, state.id) == ["陈默"]
        assert await told(tx, desk.chen) == []  # the mention said it
        lines = await tx.values("select content ->> 'what' from message where kind = 'activity'")
        assert "followed" not in lines
        await replies.add_note(tx, state.id, text="好了", by=Actor("agent", desk.lin), now=NOON)
        assert len(await told(tx, desk.chen)) == 1


async def test_nobody_follows_what_they_may_not_answer(desk: Desk) -> None:
    by = Actor("agent", desk.lin)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        email = "reader@qinghe.example"
        reader = await add_agent(tx, email=email, name="只读", role=Role.READ_ONLY, password_hash=None)
        with pytest.raises(NotAllowed):
            await add_followers(tx, state.id, [reader], by=by, now=NOON)
        with pytest.raises(NotFound):
            await add_followers(tx, state.id, [999], by=by, now=NOON)
        await add_followers(tx, state.id, [desk.chen], by=by, now=NOON)
        await tx.run("update agent set inbox_ids = '{999}' where id = %(id)s", id=desk.chen)
        assert await names(tx, state.id) == []
        await replies.add_note(tx, state.id, text="不给他看", by=by, now=NOON)
        await tx.run("update agent set inbox_ids = null where id = %(id)s", id=desk.chen)
        assert (await names(tx, state.id), await told(tx, desk.chen)) == (["陈默"], [])


async def test_following_ends_once_and_too_many_are_refused(desk: Desk) -> None:
    by = Actor("agent", desk.lin)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await add_followers(tx, state.id, [desk.lin], by=by, now=NOON)
        assert await remove_follower(tx, state.id, desk.lin, by=by, now=NOON)
        assert not await remove_follower(tx, state.id, desk.lin, by=by, now=NOON)
        lines = await tx.values(
            "select content ->> 'what' from message where kind = 'activity' order by id desc limit 2"
        )
        assert lines == ["unfollowed_self", "followed_self"]
        many = [
            await add_agent(tx, email=f"{n}@qinghe.example", name=f"同事{n}", role=Role.AGENT, password_hash=None)
            for n in range(MOST)
        ]
        with pytest.raises(Conflict, match="At most"):
            await add_followers(tx, state.id, [desk.chen, *many], by=by, now=NOON)
        await add_followers(tx, state.id, many, by=by, now=NOON)
        await replies.add_note(tx, state.id, text="@陈默 看一下", by=by, now=NOON)  # the note stands all the same
        assert desk.chen not in await followers.follower_ids(tx, state.id)


async def test_a_macro_lets_colleagues_follow(desk: Desk) -> None:
    lin = Actor("agent", desk.lin)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        definition = load_macro([{"kind": "add_followers", "agents": [desk.chen]}])
        id_ = await macros.add_macro(tx, name="叫上陈默", definition=definition, owner_id=None, by=lin, now=NOON)
        macro = await macros.access_macro(tx, id_, agent_id=desk.lin)
        how = {"agent_id": desk.lin, "limits_of": lambda _: desk.inbox.channel.limits, "now": NOON}
        assert await macros.run_macro(tx, macro, state.id, key="1", **how) == ("done",)
        assert await macros.run_macro(tx, macro, state.id, key="2", **how) == ("unchanged",)
        assert await names(tx, state.id) == ["陈默"]
