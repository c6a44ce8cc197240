"""客户群 on the desk: they appear by themselves, members come and go, and nobody can talk there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stories.conftest import Shop, running_shop

from zhiban.conversations import replies
from zhiban.conversations.outbox import GroupClosed
from zhiban.kit.clock import SystemClock
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.wecom.simulator import WeComSimulator

MEMBERS = """
select p.external_id from participant p join conversation c on c.id = p.conversation_id
where c.external_id = %(chat)s and p.left_at is null order by 1"""


async def members(shop: Shop, chat: str) -> list[str]:
    return [name for (name,) in await shop.rows(MEMBERS, chat=chat)]


async def test_groups_that_were_there_and_those_that_come(urls: DatabaseUrls, tmp_path: Path) -> None:
    made: list[str] = []

    def before(wecom: WeComSimulator) -> None:
        wecom.contacts.names["wm1"] = "林晓"
        made.append(wecom.customer_groups.create("青禾客户 1 群", "chen", "wm1"))

    async with running_shop(urls, tmp_path, before=before) as shop:
        (chat,) = made
        groups = shop.wecom.customer_groups
        found = await shop.eventually(
            "select to_jsonb(c) from conversation c where external_id = %(chat)s and subject = '青禾客户 1 群'",
            chat=chat,
        )
        assert (found.kind, found.status) == ("group", "resolved")
        assert await members(shop, chat) == ["member:chen", "wm1"]
        # A customer comes: the event, and two seconds later who it is.
        shop.wecom.contacts.names["wm2"] = "周予安"
        groups.join(chat, "wm2")
        groups.rename(chat, "青禾客户一群")
        joined = await shop.eventually(
            "select to_jsonb(p) from participant p where external_id = 'wm2' and joined_at is not null", within=20
        )
        assert joined.nickname == "周予安"
        await shop.eventually("select 1 from conversation where subject = '青禾客户一群'")
        groups.leave(chat, "wm1")
        await shop.eventually("select 1 from participant where external_id = 'wm1' and left_at is not null")
        assert await members(shop, chat) == ["member:chen", "wm2"]
        kinds = {kind for (kind,) in await shop.rows("select kind from event where kind like 'group_members%%'")}
        assert kinds == {"group_members_joined", "group_members_left"}
        # Nobody can talk there, and that is said before anything is stored.
        agent = await shop.agent()
        inbox = await shop.app.connections.inbox(shop.workspace_id, found.inbox_id)
        with pytest.raises(GroupClosed, match="no messages in groups"):
            async with shop.work() as tx:
                await replies.reply(
                    tx,
                    found.id,
                    by=agent,
                    text="大家好",
                    limits=inbox.channel.limits,
                    now=SystemClock().now(),
                )
        assert not await shop.rows("select 1 from message where direction = 'out'")
        # What is dismissed stays to be read.
        groups.dismiss(chat)
        await shop.eventually("select 1 from group_chat where left_at is not null")
