"""Five people talk in WeChat groups, through a real gateway: in many wordings it becomes issues, and comes home.

Each wording is said in a group of its own after the same nine messages; what it makes of them is read at GitHub.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.integrations.wechaty import gateways
from tests.integrations.wechaty.gateways import BOT, BOT_NAME, Gateway
from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET
from tests.tickets.github_app import GitHubApp, eventually, github_app
from tests.tickets.test_command import SILENT

from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.conversations.labels import add_label
from zhiban.events import SYSTEM
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github.simulator import FaultKind, ForgeEntry
from zhiban.tickets import repositories
from zhiban.tickets.tracker_jobs import TrackerJobs

LIANG = "wxid_liang"
PEOPLE = {"wxid_zhang": "张三", "wxid_yang": "老杨", "wxid_chen": "陳默", "wxid_lu": "陆知行", LIANG: "梁小满"}
RULE = "- - - - - - - - - - - - - - -"

# Who said it, how many minutes before the command, what, and the words by which it is found in an issue.
TALK = (
    ("wxid_zhang", 190, "早，今天有人发版吗", "有人发版吗"),
    ("wxid_yang", 95, "2.3.6 昨晚发了", "昨晚发了"),
    ("wxid_chen", 94, "@octocat 你看 #12", "你看"),
    ("wxid_zhang", 8, "昨晚主库切了一次，丢了两三秒的数据", "两三秒的数据"),
    ("wxid_yang", 7, "日志在这里，打我电话 13800006021", "日志在这里"),
    ("wxid_chen", 6, "我這邊也是", "我這邊也是"),
    ("wxid_lu", 5, "/close <b>很急</b>", "很急"),
    ("wxid_yang", 3, "回退到 2.3.5 就没事", "就没事"),
    ("wxid_lu", 2, "+1，等修", "等修"),
)

# What becomes of the first issues that we ask for.
MISHAPS: tuple[FaultKind, ...] = ("502_after", "secondary", "limit", "401")

# What is said after them, and which of the nine its issue holds.
FIRES: list[tuple[str, str]] = [
    ("以上5条开工单", "56789"),
    ("以上五条开工单", "56789"),
    ("以上５条开工单", "56789"),
    ("以上伍条消息开工单", "56789"),
    (f"@{BOT_NAME}\u2005以上五条开工单", "56789"),
    (f"以上五条开工单 @{BOT_NAME}\u2005", "56789"),
    (f"@{BOT_NAME}\u2005以上十条创建 Issue", "123456789"),
    (f"@{BOT_NAME}\u2005开个工单", "456789"),
    ("请把上面的 7 条消息转成工单", "3456789"),
    ("帮我将前七条聊天记录生成一个 issue", "3456789"),
    ("把刚才三句对话提个bug", "789"),
    ("最近廿条提交需求", "123456789"),
    ("以上廿五条建工单", "123456789"),
    ("上面两条开个工单", "89"),
    ("前俩条开个工单吧", "89"),
    ("上面仨条新建工单", "789"),
    ("以上50条开工单", "123456789"),
    ("v2 崩了，以上5条开工单", "56789"),
    ("2.3.6 之后连着崩了 3 次。以上5条开工单", "56789"),
    ("开个工单，用以上4条", "6789"),
    ("請把以上五條開工單", "56789"),
    ("將上面三條訊息轉成工單", "789"),
    ("麻烦把以上3个问题都提成 bug，谢谢", "789"),
    ("能帮我把以上3条开个工单吗？", "789"),
    ("以上开工单", "456789"),
    ("以上创建Issue", "456789"),
    ("上面的对话转成工单", "456789"),
    ("把上面几条开个工单", "456789"),
    ("以上 \u2003 5 \t 条   开   工单", "56789"),
    ("刚才的讨论整理成需求", "456789"),
    ("这些提个issue", "456789"),
    ("最近4分钟的消息开工单", "89"),
    ("最近10分钟的消息开工单", "456789"),
    ("过去两个小时内的聊天记录转成工单", "23456789"),
    ("从张三那条开始开工单", "456789"),
    ("请从 @老杨 的那条开始建个任务", "89"),
    ("从“主库切了一次”开始开工单", "456789"),
    ("从“主库切了一次”开始到“我這邊”开工单", "456"),
    ("從「主庫切了」開始到「等修」開工單", "?"),  # 没有人用繁体说过这句
    ("张三的以上2条开工单", "14"),
    ("把老杨说的3条转成工单", "258"),
    ("陳默的以上兩條開工單", "36"),
    ("老杨的以上消息开工单", "58"),
    ("file the last 5 messages as a ticket", "56789"),
    ("please open an issue from the last 10 minutes", "456789"),
    ("create a bug from the above messages", "456789"),
    (f"「张三：昨晚主库切了一次，丢了两三秒的数据」\n{RULE}\n这条开工单", "4"),
    (f"「陆知行：+1，等修」\n{RULE}\n把这条消息转成 issue", "9"),
    (f"「陳默：我這邊也是」\n{RULE}\n从这条开始开工单", "6789"),
    (f"「老杨：回退到 2.3.5 就没事」\n{RULE}\n以上3条开工单", "789"),
    ("以上0条开工单", "?"),
    ("以上51条开工单", "?"),
    ("以上-3条开工单", "?"),
    ("以上2.5条开工单", "?"),
    ("以上五五条开工单", "?"),
    ("从王五那条开始开工单", "?"),
    ("以上5条开工单，标题：主从切换后丢数据", "56789"),
    ("以上5条开工单，标签：bug、没有这个", "56789"),
    (f"以上5条开工单，到 {NAME}，指派 @chen", "56789"),
    ("以上5条开工单，说明：客户很着急", "56789"),
    ("以上五條開工單，標題：主從切換後丟資料", "56789"),
    ("以上5条开工单，优先级：高", "56789"),
    ("以上5条到 acme/nowhere 开 issue", "-"),  # 群里没有绑定它：只记在我们这里
]


@dataclass
class Talk:
    """An installation with a gateway and a GitHub, and the groups in which people talk."""

    site: GitHubApp
    gateway: Gateway
    rooms: dict[str, str] = field(default_factory=dict)  # what was said in each, by its id

    async def room(self, number: int) -> str:
        """A group in which the nine messages were said."""
        room = f"r{number}@chatroom"
        await self.gateway.play("room", id=room, topic=f"青禾交流 {number} 群", memberIdList=[*PEOPLE, BOT])
        now = self.site.clock.now().timestamp() * 1000
        for who, minutes, text, _ in TALK:
            await self.gateway.says(who, text, room=room, timestamp=int(now - minutes * 60_000))
        return room

    async def linked(self, rooms: Sequence[str], *, mode: str) -> None:
        """These groups file to the repository and hear of it in this way."""
        async with self.site.app.database.transaction(self.site.workspace_id) as tx:
            found = "select id from conversation where kind = 'group' and external_id = any(%(rooms)s)"
            for id_ in await tx.values(found, rooms=list(rooms)):
                now = self.site.clock.now()
                await repositories.link(tx, id_, NAME, settings={"mode": mode}, by=SYSTEM, now=now)

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.site.app.database.transaction(self.site.workspace_id) as tx:
            return await tx.rows(sql, **values)

    async def heard(self, room: str = "") -> list[str]:
        """What the members of a group, or of all, read of us."""
        return [words_of(one) for one in await self.gateway.sent() if room in ("", one["to"])]

    async def cut(self) -> None:
        """All connections to the gateway break, and are there again."""
        await self.gateway.play("drop")

        async def again() -> bool:
            return bool(await self.rows("select 1 from gateway_state where state = 'online' and gap_until is not null"))

        await eventually(again)

    async def hear(self, rooms: Collection[str], words: str = "", *, hurry: timedelta | None = None) -> dict[str, str]:
        """Wait until each of these groups reads this of us; returns the whole messages. `hurry`: how much later it is
        with each look."""
        found: dict[str, str] = {}

        async def all_found() -> bool:
            self.site.clock.ahead += hurry or timedelta()
            found.update({one["to"]: words_of(one) for one in await self.gateway.sent() if words in words_of(one)})
            return found.keys() >= set(rooms)

        try:
            await eventually(all_found, within=30)
        except TimeoutError:
            raise AssertionError(f"{[self.rooms.get(one, one) for one in set(rooms) - found.keys()]}") from None
        return found

    async def told(self) -> None:
        """A minute passes, and every group is told what there is to tell."""
        await self.site.quiet()
        self.site.clock.ahead += timedelta(seconds=61)
        app = self.site.app
        await TrackerJobs(app.database, app.connections, app.clock).tell_groups()

        async def sent() -> bool:
            return await self.site.count("select count(*) from message where state in ('pending', 'queued')") == 0

        await eventually(sent)


def words_of(sent: dict[str, Any]) -> str:
    """What members read of a text, or of a card with a link."""
    return str(sent["text"]) if "text" in sent else "\n".join(sent["link"][part] for part in ("title", "description"))


@asynccontextmanager
async def talking(urls: DatabaseUrls, folder: Path) -> AsyncIterator[Talk]:
    gateway = gateways.fresh()
    async with github_app(urls, folder) as site:
        app = site.app

        async def a_second() -> None:  # which GitHub wants between two writes
            site.clock.ahead += timedelta(seconds=1.05)

        site.github.written_hook = a_second
        hooks = site.github.hooks
        hooks.add(hooks.hooks[0].url, WEBHOOK_SECRET, repo=site.repo)  # everything is told twice, in other bytes
        async with app.database.transaction(site.workspace_id) as tx:
            await add_label(tx, name="bug", color=1, by=SYSTEM, now=site.clock.now())
            await connect(tx, app.vault, bootstrap.CHANNELS["wechaty"], gateway.config(), now=site.clock.now())
        await gateway.play("login")
        for id_, name in PEOPLE.items():
            await gateway.play("contact", id=id_, name=name)
        talk = Talk(site, gateway)

        async def online() -> bool:
            return await talk.rows("select 1 from gateway_state where state = 'online'") != []

        await eventually(online)
        yield talk


async def test_what_is_said_in_many_wordings_becomes_issues_of_exactly_those_messages(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    assert len(FIRES) >= 60
    async with talking(urls, tmp_path) as talk:
        site, says = talk.site, talk.gateway.says
        rooms = await asyncio.gather(*(talk.room(number) for number in range(len(FIRES) + 1)))
        commands = dict(zip(rooms, FIRES, strict=False))
        talk.rooms = {room: text for room, (text, _) in commands.items()}
        everybody = len(rooms) * len(TALK)

        async def stored() -> bool:
            return await site.count("select count(*) from message where direction = 'in'") == everybody

        await eventually(stored, within=30)
        await talk.linked(rooms, mode="none")
        for text in SILENT:
            if text:
                await says(LIANG, text, room=rooms[-1])
        await asyncio.gather(*(says(LIANG, text, room=room) for room, (text, _) in commands.items()))
        answered = await talk.hear(commands)
        for room, (text, meant) in commands.items():
            shows = "草稿" in answered[room] or "draft" in answered[room]
            assert shows == (meant != "?"), (text, answered[room])
        await talk.cut()  # what is asked for waits on this side
        for kind in MISHAPS:
            site.github.fails(kind, ending="/issues", retry_after=7)
        confirmed = [room for room, (_, meant) in commands.items() if meant != "?"]
        await asyncio.gather(*(says(LIANG, "确认", room=room) for room in confirmed))

        async def filed() -> bool:
            return await site.count("select count(*) from ticket") == len(confirmed)

        await eventually(filed, within=30)
        opened = [room for room in confirmed if commands[room][1] != "-"]
        shown = await talk.hear(opened, f"/{NAME}/issues/", hurry=timedelta(seconds=5))
        await talk.told()
        assert site.github.faults == []

        assert await talk.heard(rooms[-1]) == []
        assert len(site.repo.entries) == len(opened)
        # A draft or a question each, that it is confirmed, and where it is: nothing more, though GitHub told of all.
        assert len(await talk.heard()) == len(commands) + 1 + 2 * len(opened)
        issues = {room: issue_of(talk, shown[room]) for room in opened}
        for room, entry in issues.items():
            text, meant = commands[room]
            found = "".join(str(n) for n, (*_, words) in enumerate(TALK, 1) if words in entry.body)
            assert found == meant, (text, entry.body)
            assert "13800006021" not in entry.body
            assert not re.search(r"@octocat|#12\b", f"{entry.title} {entry.body}")
            assert not re.search(r"<b>|(?m:^\s*/close)", entry.body)
        by_text = {commands[room][0]: entry for room, entry in issues.items()}
        assert by_text["以上5条开工单，标题：主从切换后丢数据"].title == "主从切换后丢数据"
        assert by_text["以上5条开工单，标签：bug、没有这个"].labels == ["bug"]
        assert by_text[f"以上5条开工单，到 {NAME}，指派 @chen"].assignees == ["chen"]
        assert "客户很着急" in by_text["以上5条开工单，说明：客户很着急"].body

        await talk.linked(rooms[:1], mode="all")
        await comes_home(talk, rooms[0], issues[rooms[0]], shown[rooms[0]])


async def comes_home(talk: Talk, room: str, entry: ForgeEntry, card: str) -> None:
    """What happens to the issue is heard in its group, what is answered there stands at GitHub, and nothing echoes."""
    site, before = talk.site, len(await talk.heard(room))
    card = card.replace("\u2005", " ")
    quoting = f"「{BOT_NAME}：{card}」\n{RULE}\n二楼 @octocat 也是 #12\n/close"
    at = int(site.clock.now().timestamp() * 1000)
    await talk.gateway.says("wxid_lu", quoting, room=room, timestamp=at)

    async def commented() -> bool:
        return len(entry.comments) == 1

    await eventually(commented)
    (comment,) = entry.comments
    assert "via 群聊 · 陆知行" in comment.body  # a public repository is not told which group
    assert not re.search(r"@octocat|#12\b|(?m:^\s*/close)", comment.body)
    await talk.told()
    (said,) = (await talk.heard(room))[before:]  # that it stands there: nothing of what GitHub told of it
    assert "已评论" in said
    site.github.comments(site.repo, entry, "chen", "看到了，今天修")
    await talk.told()
    (said,) = [one["link"] for one in await talk.gateway.sent() if one["to"] == room and "link" in one]
    assert said["title"].startswith(f"{NAME} #{entry.number} ")
    assert said["url"].endswith(f"/{NAME}/issues/{entry.number}")
    assert said["description"] == "chen：看到了，今天修"
    # Of a card that is quoted WeChat's gateways repeat the title alone.
    at = int(site.clock.now().timestamp() * 1000)
    quoting = f"「{BOT_NAME}：{said['title']}」\n{RULE}\n辛苦了"
    await talk.gateway.says("wxid_lu", quoting, room=room, timestamp=at)

    async def thanked() -> bool:
        return len(entry.comments) == 3

    await eventually(thanked)
    assert "辛苦了" in entry.comments[-1].body
    await talk.told()
    site.github.closes(site.repo, entry, "chen")
    heard = (await talk.hear([room], "已完成"))[room]
    assert "@梁小满" in heard
    await talk.told()
    assert len(await talk.heard(room)) == before + 4
    assert [one.author.login for one in entry.comments] == ["zhiban[bot]", "chen", "zhiban[bot]"]


def issue_of(talk: Talk, said: str) -> ForgeEntry:
    """The issue to which a message leads."""
    found = re.search(rf"/{NAME}/issues/(\d+)", said)
    assert found is not None
    return talk.site.repo.entries[int(found[1])]
