"""Commands in a flood of messages, while everything between WeChat and us is cut and killed.

Everybody talks in six groups at once. Our connections are cut four times, the gateway is killed and started again, and
so is the process of ours that listens. What the gateway handed to us is stored once and in order; what stands in it is
obeyed once; and what nobody heard lies in a gap that was told.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integrations.wechaty import gateways
from tests.integrations.wechaty.cut_proxy import CutProxy, cut_proxy
from tests.integrations.wechaty.gateways import BOT, BOT_NAME, Gateway
from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET
from tests.stories.wechat_talk import LIANG, PEOPLE, RULE, words_of
from tests.tickets.github_app import GitHubApp, build_app, eventually, github_app

from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.conversations import groups
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.events import SYSTEM
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.tickets import repositories
from zhiban.tickets.tracker_jobs import TrackerJobs

ROOT = Path(__file__).resolve().parents[2]
ROOMS = [f"r{number}@chatroom" for number in range(6)]
TALKERS = ["wxid_zhang", "wxid_yang", "wxid_chen"]
WAITING = 200  # lines; a machine that is slower than the flood would be further and further behind
TICK = 1.0  # seconds to which the moments of a gap are written
ONLINE = "select count(*) from gateway_state where state = 'online'"
GAPS = "select count(*) from event where kind = 'gateway_gap_noted'"


@dataclass(frozen=True)
class Said:
    """A message as WeChat has it: when it was said lies between the two moments."""

    room: str
    text: str
    after: float
    before: float


@dataclass
class Flood:
    """Six groups in which everybody talks at once, until it is told to stop."""

    site: GitHubApp
    gateway: Gateway
    proxy: CutProxy
    folder: Path
    said: dict[str, Said] = field(default_factory=dict)
    stopped: bool = False
    _speaking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def say(self, each: list[tuple[str, str, str]]) -> list[str]:
        """These are said, by whom and where; their ids."""
        async with self._speaking:  # nothing is half said when the gateway is killed
            ids = [f"m{len(self.said) + place}" for place in range(len(each))]
            after = time.time()
            messages = [
                {"id": id_, "room": room, "talker": who, "text": text}
                for id_, (room, who, text) in zip(ids, each, strict=True)
            ]
            await self.gateway.play("messages", each=messages)
            before = time.time()
            self.said |= {id_: Said(room, text, after, before) for id_, (room, _, text) in zip(ids, each, strict=True)}
        return ids

    async def flow(self) -> None:
        number = 0
        while not self.stopped:
            batch = []
            for place in range(2 * len(ROOMS)):
                batch.append((ROOMS[place % len(ROOMS)], TALKERS[place % len(TALKERS)], f"第{number}句"))
                number += 1
            await self.say(batch)
            await asyncio.sleep(0.1)
            await eventually(self.keeps_up, within=600, every=0.1)

    async def keeps_up(self) -> bool:
        """Whether not too many lines were said since the last one that is stored."""
        number = "select coalesce(max(substr(external_id, 2)::integer), 0) from message where direction = 'in'"
        return self.stopped or len(self.said) - await self.site.count(number) < WAITING

    async def say_one(self, room: str, who: str, text: str, *, stored: bool) -> str:
        """Somebody says this in the midst of it; `stored`: wait until we have it."""
        talk = [(one, TALKERS[0], f"插一句{len(self.said)}") for one in ROOMS]
        ids = await self.say([*talk, (room, who, text), *talk])
        if stored:
            await self.until(f"select count(*) from message where external_id = '{ids[len(talk)]}'")
        return ids[len(talk)]

    async def until(self, sql: str, least: int = 1) -> None:
        async def holds() -> bool:
            return await self.site.count(sql) >= least

        await eventually(holds, within=60)

    async def begin(self) -> None:
        """The account is there, in all groups."""
        for id_, name in PEOPLE.items():
            await self.gateway.play("contact", id=id_, name=name)
        for number, room in enumerate(ROOMS):
            members = [*PEOPLE, BOT]
            await self.gateway.play("room", id=room, topic=f"青禾交流 {number} 群", memberIdList=members)
        await self.gateway.play("login")

    async def is_heard(self, gaps: int) -> None:
        """Wait until somebody listens again after so many gaps: until what is said then is stored."""
        await self.until(GAPS, gaps + 1)
        asked: list[str] = []

        async def stored() -> bool:
            asked.extend(await self.say([(ROOMS[-1], TALKERS[0], f"听得到吗{len(self.said)}")]))
            found = await self.rows("select count(*) from message where external_id = any(%(ids)s)", ids=asked)
            return found[0][0] > 0

        await eventually(stored, within=60, every=0.2)

    async def cut(self) -> None:
        """Our connections are reset, and it goes on."""
        before = await self.site.count(GAPS)
        self.proxy.cut()
        await self.is_heard(before)

    async def kill_the_gateway(self) -> None:
        """Its process is gone, with all that it knew, and another one begins."""
        before = await self.site.count(GAPS)
        async with self._speaking:
            self.gateway.process.kill()
            self.gateway.process.wait()
            self.gateway = await asyncio.to_thread(started, self.folder)
            self.proxy.target = self.gateway.port
            await self.begin()
        await self.is_heard(before)

    def heard(self, room: str) -> list[str]:
        """What the members of a group read of us, from all gateways that there were."""
        lines = (self.folder / "sent").read_text().splitlines()
        return [words_of(one) for one in map(json.loads, lines) if one["to"] == room]

    async def issue_of(self, room: str, title: str) -> tuple[int, str]:
        """The issue of a command, and the words in which we tell the group of it."""
        found: list[tuple[int, str]] = []

        async def told() -> bool:
            for (text,) in await self.rows("select text from message where direction = 'out' and state = 'sent'"):
                number = re.search(rf"/{NAME}/issues/(\d+)$", text)
                if number and f"：{title}\n" in text:
                    found.append((int(number[1]), text))
            return found != []

        await eventually(told, within=60, every=0.1)
        return found[0]

    async def read_once(self, room: str, words: str) -> None:
        """The group read these words of ours once. They may not have arrived when the connection was cut right behind
        them: then they are not said again, and colleagues see that nobody knows."""
        times = len([one for one in self.heard(room) if words in one])
        doubtful = "select count(*) from message where failure = 'unconfirmed' and position(%(words)s in text) > 0"
        assert times == 1 or (times == 0 and (await self.rows(doubtful, words=words)) == [(1,)]), (room, words, times)

    async def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.site.app.database.transaction(self.site.workspace_id) as tx:
            return await tx.rows(sql, **values)


def started(folder: Path) -> Gateway:
    return gateways.start({"GATEWAY_SENT": str(folder / "sent")})


@asynccontextmanager
async def flooded(urls: DatabaseUrls, folder: Path) -> AsyncIterator[Flood]:
    """Groups that file at once to the repository and hear of everything. Nobody works yet."""
    (folder / "sent").touch()
    gateway = await asyncio.to_thread(started, folder)
    async with cut_proxy(gateway.port) as proxy, github_app(urls, folder, work=False) as site:
        hooks = site.github.hooks
        hooks.add(hooks.hooks[0].url, WEBHOOK_SECRET, repo=site.repo)  # everything is told twice, in other bytes
        async with site.app.database.transaction(site.workspace_id) as tx:
            config = gateway.config(endpoint=f"127.0.0.1:{proxy.port}")
            await connect(tx, site.app.vault, bootstrap.CHANNELS["wechaty"], config, now=site.clock.now())
        flood = Flood(site, gateway, proxy, folder)
        try:
            yield flood
        finally:
            with suppress(ProcessLookupError):
                flood.gateway.process.kill()
            flood.gateway.process.wait()


async def prepared(flood: Flood) -> None:
    await flood.begin()
    await flood.until(ONLINE)
    await flood.say([(room, TALKERS[0], "大家好") for room in ROOMS])
    await flood.until("select count(*) from message", len(ROOMS))
    site, policy = flood.site, GroupPolicy(files_at_once=True, files_per_member=50, files_per_group=100)
    async with site.app.database.transaction(site.workspace_id) as tx:
        for id_ in await tx.values("select id from conversation where kind = 'group'"):
            now = site.clock.now()
            await repositories.link(tx, id_, NAME, settings={"mode": "all"}, by=SYSTEM, now=now)
            await groups.configure(tx, id_, policy, by=SYSTEM, now=now)


def command(number: int) -> tuple[str, str]:
    """A command, and the title of what it opens."""
    return f"以上1条开工单，标题：洪水里的第{number}件", f"洪水里的第{number}件"


def quoting(notice: str, number: int) -> str:
    return f"「{BOT_NAME}：{notice.replace(chr(0x2005), ' ')}」\n{RULE}\n第{number}件我也遇到了"


@pytest.mark.process
async def test_in_a_flood_that_is_cut_and_killed_everything_is_done_once_and_nothing_is_lost_unsaid(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with flooded(urls, tmp_path) as flood:
        site = flood.site
        arguments = ["-m", "tests.tickets.github_app", urls.app, urls.owner, str(tmp_path)]
        owner = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
        flowing: asyncio.Task[None] | None = None
        second = build_app(urls, tmp_path, site.clock)
        second.start_workers()
        commands, comments = {}, {}
        try:
            await prepared(flood)
            flowing = asyncio.create_task(flood.flow())
            # Cut right behind a command that we have, and right behind one that may have got lost on the way.
            commands[0] = await flood.say_one(ROOMS[0], LIANG, command(0)[0], stored=True)
            await flood.cut()
            commands[1] = await flood.say_one(ROOMS[1], LIANG, command(1)[0], stored=False)
            await flood.cut()
            # Right behind a quotation that is to become a comment.
            notice = (await flood.issue_of(ROOMS[0], command(0)[1]))[1]
            comments[0] = await flood.say_one(ROOMS[0], "wxid_lu", quoting(notice, 0), stored=True)
            await flood.cut()
            # The gateway dies, with what it has not handed on.
            commands[2] = await flood.say_one(ROOMS[2], LIANG, command(2)[0], stored=True)
            await flood.kill_the_gateway()
            # The process that listens dies, and another one takes over.
            async with second:
                commands[3] = await flood.say_one(ROOMS[3], LIANG, command(3)[0], stored=True)
                before = await site.count(GAPS)
                owner.send_signal(signal.SIGKILL)
                await owner.wait()
                site.github.written_hook = lambda: a_second(site)
                await flood.is_heard(before)
                commands[4] = await flood.say_one(ROOMS[4], LIANG, command(4)[0], stored=True)
                await flood.cut()
                flood.stopped = True
                await flowing
                await ends(flood, second, commands, comments)
        finally:
            flood.stopped = True
            if owner.returncode is None:
                owner.kill()
                await owner.wait()
            if flowing is not None:
                await asyncio.wait({flowing}, timeout=10)


async def a_second(site: GitHubApp) -> None:  # which GitHub wants between two writes
    site.clock.ahead += site.clock.ahead.resolution * 1_050_000


async def ends(flood: Flood, app: Any, commands: dict[int, str], comments: dict[int, str]) -> None:
    site = flood.site
    last = await flood.say([(room, TALKERS[0], "说完了") for room in ROOMS])
    await flood.until(f"select count(*) from message where external_id = any('{{{','.join(last)}}}')", len(ROOMS))
    stored = [tuple(row) for row in await flood.rows(
        "select m.external_id, m.text, c.external_id from message m join conversation c on c.id = m.conversation_id "
        "where m.direction = 'in' order by m.id"
    )]  # fmt: skip
    have = [id_ for id_, *_ in stored]

    # Once each, in the order of its group, with its own words.
    assert len(have) == len(set(have))
    assert set(have) <= flood.said.keys()
    assert all(flood.said[id_].room == room and flood.said[id_].text.endswith(text) for id_, text, room in stored)
    for room in ROOMS:
        numbers = [int(id_[1:]) for id_, _, where in stored if where == room]
        assert numbers == sorted(numbers)
    # Whatever is missing was said while nobody listened, and an operator was told of that time.
    gaps = [
        tuple(datetime.fromisoformat(data[end]).timestamp() for end in ("since", "until"))
        for (data,) in await flood.rows("select data from event where kind = 'gateway_gap_noted' order by id")
    ]
    assert len(gaps) >= 6  # four cuts and two deaths
    for id_ in flood.said.keys() - set(have):
        one = flood.said[id_]
        assert any(since <= one.before and one.after <= until + TICK for since, until in gaps), (one, gaps)

    # Every command that we have made one issue, of which its group hears once; none that we have not made any.
    done = [number for number, id_ in commands.items() if id_ in have]
    assert {0, 2, 3, 4} <= set(done)
    notices = {number: await flood.issue_of(ROOMS[number], command(number)[1]) for number in done}
    for number in done:
        if number not in comments:
            text = quoting(notices[number][1], number)
            comments[number] = await flood.say_one(ROOMS[number], "wxid_lu", text, stored=True)
    await eventually(lambda: commented(flood, notices), within=60)
    await site.quiet()
    assert sorted(one.title for one in site.repo.entries.values()) == [command(number)[1] for number in done]
    for number, (issue, _) in notices.items():
        (comment,) = site.repo.entries[issue].comments
        assert f"第{number}件我也遇到了" in comment.body

    # What happens at GitHub is heard in its group, once.
    for issue, _ in notices.values():
        site.github.comments(site.repo, site.repo.entries[issue], "chen", f"{issue}号看到了")
    await site.quiet()
    site.clock.ahead += site.clock.ahead.resolution * 61_000_000
    await TrackerJobs(app.database, app.connections, app.clock).tell_groups()
    await flood.until("select count(*) from message where kind = 'link' and state in ('sent', 'failed')", len(notices))
    waiting = "select count(*) = 0 from message where state in ('pending', 'queued')"
    await eventually(lambda: says_yes(flood, waiting), within=60)
    for number, (issue, _) in notices.items():
        for words in (
            f"已开工单{issue}：{command(number)[1]}",
            f"已建到{NAME} #{issue}：",
            f"已评论到{NAME} #{issue}",
            f"{issue}号看到了",
        ):
            await flood.read_once(ROOMS[number], words)


async def commented(flood: Flood, notices: dict[int, tuple[int, str]]) -> bool:
    return all(flood.site.repo.entries[issue].comments for issue, _ in notices.values())


async def says_yes(flood: Flood, sql: str) -> bool:
    return bool((await flood.rows(sql))[0][0])
