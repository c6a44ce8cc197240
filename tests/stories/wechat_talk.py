"""An installation with a real WeChat gateway and a simulated GitHub, and the groups in which people talk."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.integrations.wechaty import gateways
from tests.integrations.wechaty.gateways import BOT, Gateway
from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET
from tests.tickets.github_app import GitHubApp, eventually, github_app

from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.conversations.labels import add_label
from zhiban.events import SYSTEM
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github.simulator import ForgeEntry
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


@dataclass
class Talk:
    """An installation with a gateway and a GitHub, and the groups in which people talk."""

    site: GitHubApp
    gateway: Gateway
    rooms: dict[str, str] = field(default_factory=dict)  # what was said in each, by its id

    async def room(self, number: int, *others: str) -> str:
        """A group in which the nine messages were said; `others` are in it, too."""
        room = f"r{number}@chatroom"
        await self.gateway.play("room", id=room, topic=f"青禾交流 {number} 群", memberIdList=[*PEOPLE, BOT, *others])
        now = self.site.clock.now().timestamp() * 1000
        each = [
            {"talker": who, "text": text, "room": room, "timestamp": int(now - minutes * 60_000)}
            for who, minutes, text, _ in TALK
        ]
        await self.gateway.play("messages", each=each)
        return room

    async def linked(self, rooms: Sequence[str], *, mode: str) -> None:
        """These groups file to the repository and hear of it in this way."""
        async with self.site.app.database.transaction(self.site.workspace_id) as tx:
            found = "select id from conversation where kind = 'group' and external_id = any(%(rooms)s)"
            for id_ in await tx.values(found, rooms=list(rooms)):
                now = self.site.clock.now()
                await repositories.link(tx, id_, NAME, settings={"mode": mode}, by=SYSTEM, now=now)

    async def group(self, *others: str) -> str:
        """A group that hears at once what happens to the issues of the repository."""
        room = await self.room(1, *others)
        await self.until(f"select count(*) = {len(TALK)} from message where direction = 'in'")
        await self.linked([room], mode="all")
        return room

    async def says(self, who: str, text: str, room: str, **more: Any) -> str:
        """Somebody writes now, which may be later than it is for the gateway."""
        at = int(self.site.clock.now().timestamp() * 1000)
        return await self.gateway.says(who, text, room=room, timestamp=at, **more)

    async def answer(self, room: str, who: str, text: str, words: str, **more: Any) -> str:
        """Somebody writes, and of what the group reads of us then, the first with these words."""
        before = len(await self.heard(room))
        await self.says(who, text, room, **more)
        found: list[str] = []

        async def answered() -> bool:
            found[:] = [one for one in (await self.heard(room))[before:] if words in one]
            return found != []

        try:
            await eventually(answered)
        except TimeoutError:
            raise AssertionError(f"{words} was not among {(await self.heard(room))[before:]}") from None
        return found[0]

    async def until(self, sql: str) -> None:
        """Wait until this query says yes."""

        async def holds() -> bool:
            rows = await self.rows(sql)
            return bool(rows and rows[0][0])

        await eventually(holds)

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.site.app.database.transaction(self.site.workspace_id) as tx:
            return await tx.rows(sql, **values)

    async def heard(self, room: str = "") -> list[str]:
        """What the members of a group, or of all, read of us."""
        return [words_of(one) for one in await self.gateway.sent() if room in ("", one["to"])]

    async def cut(self, *meanwhile: tuple[str, dict[str, Any]]) -> None:
        """All connections to the gateway break, and are there again; nobody hears what happens at WeChat meanwhile."""
        gaps = "select count(*) from event where kind = 'gateway_gap_noted'"
        before = await self.rows(gaps)
        await self.gateway.play("drop", meanwhile=meanwhile)

        async def again() -> bool:
            online = await self.rows("select from gateway_state where state = 'online'")
            return bool(online) and await self.rows(gaps) != before

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
            await eventually(all_found, within=30, every=0.1)  # each look asks the gateway for all that it sent
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


def issue_of(talk: Talk, said: str) -> ForgeEntry:
    """The issue to which a message leads."""
    found = re.search(rf"/{NAME}/issues/(\d+)", said)
    assert found is not None
    return talk.site.repo.entries[int(found[1])]
