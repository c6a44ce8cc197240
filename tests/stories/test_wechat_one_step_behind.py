"""What happens a moment before or after it should, in a WeChat group behind a real gateway and at GitHub over HTTP."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from tests.integrations.wechaty.gateways import BOT, BOT_NAME
from tests.ports.tracker_stands import NAME
from tests.stories.wechat_talk import LIANG, RULE, Talk, talking
from tests.tickets.github_app import eventually

from zhiban.postgres.provisioning import DatabaseUrls

ZHANG, YANG, CHEN, LU = "wxid_zhang", "wxid_yang", "wxid_chen", "wxid_lu"
LINK = f"/{NAME}/issues/"


def quoting(name: str, text: str, said: str) -> str:
    """How WeChat's gateways write a message that quotes another one."""
    return f"「{name}：{text}」\n{RULE}\n{said}"


async def card(talk: Talk, room: str) -> dict[str, Any]:
    """The last card that the group read."""
    found = [one["link"] for one in await talk.gateway.sent() if one["to"] == room and "link" in one]
    return dict(found[-1])


async def test_the_gateway_comes_back_with_another_account(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with talking(urls, tmp_path) as talk:
        site, room = talk.site, await talk.group("wxid_spare")
        entry = site.github.opens(site.repo, "chen", "增量同步丢数据")
        await talk.told()
        title = (await card(talk, room))["title"]
        await talk.answer(room, LIANG, "以上2条开工单", "工单草稿")
        await talk.cut(("logout", {}), ("login", {"id": "wxid_spare", "name": "备用号"}))
        await talk.until("select account = 'wxid_spare' from gateway_state")
        # Who asked is answered by whoever speaks for us now, in the same group.
        assert await talk.answer(room, LIANG, "确认", LINK)
        assert [one.title for one in site.repo.entries.values()][1:] != []
        # What the old account showed is still ours when it is quoted; its owner is a member like others from now on.
        await talk.says(LU, quoting(BOT_NAME, title, "我也是"), room)
        await eventually(lambda: _true(len(entry.comments) == 1))
        assert "我也是" in entry.comments[0].body
        await talk.says(BOT, "我换了手机", room)
        await talk.until("select count(*) = 1 from message where text = '我换了手机' and direction = 'in'")
        assert "我换了手机" in await talk.answer(room, LU, "@备用号\u2005以上1条开工单", "工单草稿")
        assert await talk.rows("select count(*) from conversation where kind = 'group'") == [(1,)]


async def test_a_group_that_puts_us_out_and_back_is_renamed_and_loses_a_member(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with talking(urls, tmp_path) as talk:
        site, gateway, room = talk.site, talk.gateway, await talk.group()
        # Somebody leaves between what they said and the command about it, while nobody listens.
        await talk.says(LU, "重启以后也丢", room)
        await talk.until("select count(*) = 1 from message where text = '重启以后也丢'")
        await talk.cut(("leave", {"room": room, "who": [LU], "by": ZHANG}))
        said = quoting("陆知行", "重启以后也丢", "这条开工单，标题：切换以后")
        assert "陆知行：重启以后也丢" in await talk.answer(room, LIANG, said, "工单草稿")
        # We are put out of the group. Nothing that happens then is said there, and what waits keeps waiting.
        await gateway.play("leave", room=room, who=[BOT], by=ZHANG)
        await talk.until("select left_at is not null from group_chat")
        before = len(await talk.heard())
        entry = site.github.opens(site.repo, "chen", "还有一个")
        await talk.told()
        assert len(await talk.heard()) == before
        assert await talk.rows("select count(*) from message where state = 'failed'") == [(0,)]
        await gateway.play("join", room=room, who=[BOT], by=ZHANG)
        await talk.until("select left_at is null from group_chat")
        mine = site.repo.entries[issue_number(await talk.answer(room, LIANG, "确认", LINK))]
        assert (mine.title, "重启以后也丢" in mine.body) == ("切换以后", True)
        # It gets another name, heard and unheard; a private repository reads the one that it has now.
        site.repo.private = True
        await gateway.play("topic", room=room, topic="青禾老友群", by=ZHANG)
        await talk.until("select count(*) = 1 from conversation where subject = '青禾老友群'")
        await talk.cut(("topic", {"room": room, "topic": "青禾新友群", "by": ZHANG}))
        site.github.comments(site.repo, entry, "chen", "看到了")
        await talk.told()
        title = (await card(talk, room))["title"]
        await talk.says(YANG, quoting(BOT_NAME, title, "辛苦了"), room)
        await eventually(lambda: _true(len(entry.comments) == 2))
        assert "via 青禾新友群 · 老杨" in entry.comments[1].body
        # Nobody tells of what happened while nobody listened. Whoever writes there then hears it, and so do colleagues.
        await talk.cut(("leave", {"room": room, "who": [BOT], "by": ZHANG}))
        site.github.comments(site.repo, entry, "chen", "修好了")
        await talk.told()
        latest = "select state, failure from message where author = 'tracker' order by id desc limit 1"
        assert await talk.rows(latest) == [("failed", "not_in_group")]
        # From then on nothing more is tried there.
        assert await talk.rows("select left_at is not null from group_chat") == [(True,)]
        lines = "select count(*) from message where kind = 'activity' and content ->> 'what' = 'we_left'"
        assert await talk.rows(lines) == [(2,)]
        before = len(await talk.heard())
        failed = await talk.rows("select count(*) from message where state = 'failed'")
        site.github.comments(site.repo, entry, "chen", "再看看")
        await talk.told()
        assert await talk.rows("select count(*) from message where state = 'failed'") == failed
        # Somebody invites us again, which nobody hears either: the next word there says so, and is answered.
        await talk.cut(("join", {"room": room, "who": [BOT], "by": ZHANG}))
        assert "工单草稿" in await talk.answer(room, LIANG, "以上2条开工单", "工单草稿")
        assert await talk.rows("select left_at is null from group_chat") == [(True,)]
        assert len(await talk.heard()) == before + 1
        site.github.comments(site.repo, entry, "chen", "这次好了")
        await talk.told()
        assert (await card(talk, room))["title"] == title


async def test_two_ask_at_once_names_are_traps_and_what_is_frozen_is_recalled(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with talking(urls, tmp_path) as talk:
        site, room = talk.site, await talk.group("wxid_trap")
        trap = "以上5条开工单"
        await talk.gateway.play("contact", id="wxid_trap", name=trap)
        await talk.says("wxid_trap", "还是丢数据", room)
        await talk.says(YANG, quoting(trap, "还是丢数据", "我也是"), room)
        for text in (f"@{trap}\u2005你看看", f"@{trap} 你看看", f"你看看 @{trap}"):
            await talk.says(YANG, text, room)
        wrong = await talk.says(YANG, "这句别写进去", room)
        # The same words of two at once: a draft for each, without the commands, and an issue for each.
        await asyncio.gather(*(talk.says(who, "以上2条开工单", room) for who in (LIANG, LU)))
        await talk.until("select count(*) = 2 from ticket_draft")
        await talk.until("select count(*) = 2 from message where direction = 'out' and state = 'sent'")
        drafts = await talk.heard(room)
        assert len(drafts) == 2  # nobody answered what only looked like a command
        assert all("别写进去" in one and "以上2条" not in one for one in drafts)
        await talk.says(YANG, wrong, room, type=13)
        await talk.until("select count(*) = 1 from message where recalled_at is not null")
        await asyncio.gather(*(talk.says(who, "确认", room) for who in (LIANG, LU)))
        await talk.until("select count(*) = 2 from ticket where tracker_state = 'opened'")
        assert len(site.repo.entries) == 2
        assert not any("别写进去" in f"{one.title}{one.body}" for one in site.repo.entries.values())
        assert "还是丢数据" in await talk.answer(room, LU, quoting(trap, "还是丢数据", "这条开工单"), "工单草稿")
        # A title that is markup is words in the group, and its card is its issue.
        title = "<img src=x onerror=alert(1)> [CQ:at,qq=all] &lt;b&gt; 丢数据\n/close"
        entry = site.github.opens(site.repo, "chen", title)
        await talk.told()
        shown = (await card(talk, room))["title"]
        assert shown == f"{NAME} #{entry.number} {' '.join(title.split())}"
        await talk.says(CHEN, quoting(BOT_NAME, shown, "我也是"), room)
        await eventually(lambda: _true(len(entry.comments) == 1))
        assert "onerror" not in entry.comments[0].body
        assert not re.search(r"(?m:^\s*/close)", entry.comments[0].body)


def issue_number(said: str) -> int:
    found = re.search(rf"{LINK}(\d+)", said)
    assert found is not None
    return int(found[1])


async def _true(holds: bool) -> bool:
    return holds
