"""Five people talk in WeChat groups, through a real gateway: in many wordings it becomes issues, and comes home.

Each wording is said in a group of its own after the same nine messages; what it makes of them is read at GitHub.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

from tests.integrations.wechaty.gateways import BOT_NAME
from tests.ports.tracker_stands import NAME
from tests.stories.wechat_talk import LIANG, RULE, TALK, Talk, issue_of, talking
from tests.tickets.github_app import eventually
from tests.tickets.test_command import SILENT

from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github.simulator import FaultKind, ForgeEntry

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
    await talk.hear([room], "已评论")  # said by a job, for which nothing else waits
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
