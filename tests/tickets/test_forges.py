"""The whole way at every forge: said in a group, opened there once, closed there, and heard in the group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET
from tests.tickets.chat import START, Chat, group_chat
from tests.tickets.stand import TrackerStand, idle, tracker_stand
from tests.tickets.test_chat_tracker import heard
from zhiban import bootstrap
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.ports import Webhook
from zhiban.testing import gitea as gitea_simulator
from zhiban.testing import gitee as gitee_simulator
from zhiban.testing import gitlab as gitlab_simulator
from zhiban.testing.forge import Forge, ForgeEntry, Repo
from zhiban.testing.serving import served
from zhiban.tickets import group_news, repositories
from zhiban.tickets.telling import TicketNews
from zhiban.tickets.tracker_jobs import TrackerJobs


@dataclass
class Site:
    forge: Forge
    repo: Repo
    stand: TrackerStand
    chat: Chat

    async def hears(self) -> None:
        """Every call that the forge would have made arrives, twice."""
        for delivery in [*self.forge.hooks.waiting] * 2:
            headers = {name.lower(): [value] for name, value in self.forge.hooks.headers(delivery).items()}
            await self.stand.receives(Webhook("POST", {}, delivery.body, self.stand.now, headers))
        self.forge.hooks.waiting.clear()

    async def told(self) -> list[str]:
        """What the group is told of its repositories by now."""
        self.chat.clock.advance(timedelta(minutes=2))
        async with self.chat.database.transaction(self.chat.workspace_id) as tx:
            await group_news.tell(tx, self.chat.inbox, self.chat.conversation_id, now=self.chat.clock.now())
        said = await self.chat.rows("select text from message where author = 'tracker' order by id")
        return [str(text) for (text,) in said]

    @property
    def entry(self) -> ForgeEntry:
        (found,) = self.repo.entries.values()
        return found


def _forge(name: str, clock: SetClock) -> tuple[Forge, Any, str, dict[str, Any]]:
    """The simulator, its application, where its API begins, and the rest of the values."""
    match name:
        case "gitlab":
            gitlab = gitlab_simulator.GitLabSimulator(now=clock.now)
            repo = gitlab.repository(NAME, pushers={"chen", "desk"})
            return gitlab, gitlab_simulator.application(gitlab), "/api/v4", {"token": gitlab.token("desk", repo)}
        case "gitea":
            gitea = gitea_simulator.GiteaSimulator(now=clock.now)
            repo = gitea.repository(NAME, pushers={"chen", "desk"})
            return gitea, gitea_simulator.application(gitea), "/api/v1", {"token": gitea.token("desk", repo)}
        case "gitee":
            gitee = gitee_simulator.GiteeSimulator(now=clock.now)
            repo = gitee.repository(NAME, pushers={"chen", "desk"})
            return gitee, gitee_simulator.application(gitee), "/api/v5", {"token": gitee.token("desk", repo)}
        case _:
            raise AssertionError(name)


@asynccontextmanager
async def _site(name: str, db: Database, workspace: int) -> AsyncIterator[Site]:
    clock = SetClock(START)
    forge, application, place, values = _forge(name, clock)
    forge.account("chen")
    async with forge, served(application) as url:
        values |= {"account": "acme", "webhook_secret": WEBHOOK_SECRET, "api_base": url + place}
        integration = bootstrap.TRACKERS[name]
        async with tracker_stand(db, workspace, integration=integration, values=values, clock=clock) as stand:
            await TrackerJobs(db, stand.connections, clock).sync_tracker(workspace, stand.connection_id)
            async with group_chat(db, workspace, clock=clock) as chat:
                async with db.transaction(workspace) as tx:
                    await repositories.link(tx, chat.conversation_id, NAME, by=SYSTEM, now=clock.now())
                forge.hooks.paused = True
                forge.hooks.add("http://127.0.0.1:9/", WEBHOOK_SECRET)
                yield Site(forge, forge.named(NAME), stand, chat)  # type: ignore[arg-type]


FORGES = ["gitlab", "gitea", "gitee"]


@pytest.mark.parametrize("name", FORGES)
async def test_from_a_group_to_an_issue_and_back(name: str, db: Database, workspace: int) -> None:
    async with _site(name, db, workspace) as site:
        chat, forge, repo = site.chat, site.forge, site.repo
        assert "仓库：acme/shop（公开）" in await chat.asks("liang", "以上5条开工单，标题：!12 丢数据 @all")
        await chat.asks("liang", "1")
        forge.fails("502_after", ending="/issues")
        await site.stand.work()
        await site.hears()  # its own echo, before the answer that is lost
        chat.clock.advance(timedelta(minutes=2))
        await site.stand.work()
        assert "**老杨**" in site.entry.body  # one issue
        assert "13800006021" not in site.entry.body
        assert "丢数据" in site.entry.title
        assert "!12" not in site.entry.title
        shown = await heard(chat, TicketNews.OPENED)
        assert forge.url(repo, site.entry) in shown
        assert "工单1已建到acme/shop #" in shown

        chat.clock.advance(timedelta(hours=1))
        forge.comments(repo, site.entry, "chen", "看到了，今天修")
        forge.closes(repo, site.entry, "chen")
        await site.hears()
        assert await chat.rows("select state from ticket") == [("done",)]
        assert "工单1已完成" in await heard(chat, TicketNews.DONE)
        assert any("chen：看到了，今天修" in one for one in await site.told())


@pytest.mark.parametrize("name", FORGES)
async def test_what_no_hook_told_is_found_and_a_change_is_another_thing(
    name: str, db: Database, workspace: int
) -> None:
    async with _site(name, db, workspace) as site:
        forge, repo, jobs = site.forge, site.repo, TrackerJobs(db, site.stand.connections, site.chat.clock)
        issue = forge.opens(repo, "chen", "导出乱码")
        change = forge.opens(repo, "chen", "修好导出", pull_request=True)
        await site.hears()
        site.chat.clock.advance(timedelta(minutes=10))
        forge.closes(repo, issue, "chen")
        forge.hooks.waiting.clear()  # lost
        await jobs.sync_tracker(workspace, site.stand.connection_id)
        forge.merges(repo, change, "lin")
        await site.hears()
        said = "\n".join(await site.told())
        for words in ("导出乱码", "chen新开", "\n关闭了", "修好导出", "lin合并了"):
            assert words in said, said
        assert forge.url(repo, change) in said
        states = await site.chat.rows("select title, state, reason, is_change from issue order by id")
        assert states == [("导出乱码", "closed", "", False), ("修好导出", "closed", "merged", True)]


async def test_of_what_is_confidential_only_the_ticket_hears_that_it_came_from(db: Database, workspace: int) -> None:
    async with _site("gitlab", db, workspace) as site:
        chat, forge, repo, now = site.chat, site.forge, site.repo, site.chat.clock
        known = forge.opens(repo, "chen", "导出乱码")
        await site.hears()
        assert await chat.asks("liang", "以上5条开工单，标题：能看到别人的订单")
        await chat.asks("liang", "1")
        await site.stand.work()
        (ours,) = (one for one in repo.entries.values() if one is not known)
        await site.hears()
        await site.told()

        # Two become so, one always was; no word of what they say now gets here, also not by looking.
        secret = forge.opens(repo, "chen", "机密：越权漏洞")
        forge.hooks.waiting.clear()
        for entry in (known, ours, secret):
            entry.confidential = True
            now.advance(timedelta(minutes=1))
            forge.changes(repo, entry, "chen", title="机密：越权漏洞", body="机密：怎么做到的")
        await site.hears()
        jobs = TrackerJobs(db, site.stand.connections, now)
        await jobs.sync_tracker(workspace, site.stand.connection_id)
        found = "exists (select from issue_index x where x.issue_id = issue.id)"
        rows = f"select title, state, removed_at is null, {found} from issue order by id"
        assert await chat.rows(rows) == [("导出乱码", "open", False, False), ("能看到别人的订单", "open", True, False)]
        for entry in (known, ours, secret):
            now.advance(timedelta(minutes=1))
            forge.closes(repo, entry, "chen")
        before = await site.told()
        await site.hears()
        assert await chat.rows("select state from ticket") == [("done",)]
        assert await chat.rows("select title, state from issue order by id") == [
            ("导出乱码", "open"),
            ("能看到别人的订单", "closed"),
        ]
        assert await site.told() == before
        assert "机密" not in str(
            await chat.rows("select i::text from issue i union all select e.data::text from event e")
        )


async def test_what_cannot_be_confirmed_waits_and_is_found_otherwise(db: Database, workspace: int) -> None:
    async with _site("gitee", db, workspace) as site:
        forge, repo, stand = site.forge, site.repo, site.stand
        issue = forge.opens(repo, "chen", "导出乱码")
        forge.fails("502", method="GET", ending=forge.url(repo, issue).rpartition("/")[2], times=99)
        await site.hears()
        forge.opens(repo, "chen", "登录不了")
        await site.hears()
        assert await stand.rows("select state from delivery order by id") == [("pending",), ("pending",)]
        for _ in range(5):
            stand.reader.wake(workspace, stand.connection_id)
            await idle(stand.reader)
        assert await stand.rows("select state from delivery order by id") == [("failed",), ("done",)]
        assert await stand.rows("select title from issue") == [("登录不了",)]
        forge.faults.clear()
        await TrackerJobs(db, stand.connections, site.chat.clock).sync_tracker(workspace, stand.connection_id)
        assert await stand.rows("select title from issue order by title") == [("导出乱码",), ("登录不了",)]
